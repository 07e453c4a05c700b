//! Choosing a sampler without calling the network: surrogates of the data, searched spacings, a warm
//! start, a ranked list.

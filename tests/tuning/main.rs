//! Choosing without the network: fitted mixtures, spectra, searched spacings, the warm start and the
//! ranked list, each against brute force, a closed form or an independent computation.

// clippy.toml allows these in test functions; here the helpers need them too.
#![allow(clippy::unwrap_used, clippy::panic)]
// An index over coordinates reads like the formula.
#![allow(clippy::needless_range_loop)]

mod choice;
mod fit;
mod search;
mod spectrum;
mod starts;
mod warm_start;

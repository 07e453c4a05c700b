//! Choosing a sampler without calling the network: surrogates of the data, searched spacings, a warm
//! start, a ranked list.
//!
//! | question | answer |
//! |---|---|
//! | which sampler, of all that have a name? | [`Choice`] ranks solver × spacing by exact error |
//! | which spacing, of all that there are? | [`SpacingSearch`] searches one on a [`Surrogate`] of the data |
//! | what do I know of the data? | [`Spectrum`]: of a Gaussian, of a network's M_t, of images in general |
//! | can the first steps be saved? | [`WarmStart`]: the exact flow of mean and low-rank covariance |
//!
//! Nothing here calls the network. The [guide](crate::guide::tuning) shows all of it with measured
//! figures, where it does not pay too.

mod choice;
mod gaussianity;
mod nnls;
mod pattern;
mod ranking;
mod search;
mod searched;
mod spectrum;
mod surrogate;
mod warm_start;

pub use choice::Choice;
pub use gaussianity::{last_gaussian_level, non_gaussian_share, non_gaussian_shares};
pub use ranking::{Candidate, Ranking, Reason, Refusal};
pub use search::SpacingSearch;
pub use searched::{FixedSpacing, SearchedSpacing};
pub use spectrum::{Spectrum, SpectrumFit};
pub use surrogate::Surrogate;
pub use warm_start::WarmStart;

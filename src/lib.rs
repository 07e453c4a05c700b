//! From a denoiser to samples.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod combination;
mod denoiser;
mod error;
mod kernel;
mod level;
mod linalg;
mod noise;
mod oracle;
mod prediction;
mod real;

pub use combination::{Combination, MAX_OUTPUTS};
pub use denoiser::{Denoiser, FromFn, Query, from_fn, try_from_fn};
pub use error::{Error, RunError};
pub use level::NoiseLevel;
pub use noise::{KeyedNoise, NoiseKey, NoiseSource, NormalElement, RngNoise, Stream};
pub use oracle::{
    Draws, Empirical, ExactClassifier, ExactDenoiser, Gaussian, GaussianMixture, LabelledOracle,
    Oracle, frechet_distance, sample_moments,
};
pub use prediction::{Conversion, Linear, Prediction, Target};
pub use real::Real;

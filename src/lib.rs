//! From a denoiser to samples.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod combination;
mod denoiser;
mod error;
mod kernel;
mod level;
mod noise;
mod prediction;
mod real;
mod simd;

pub use combination::{Combination, MAX_OUTPUTS};
pub use denoiser::{Denoiser, FromFn, Query, from_fn, try_from_fn};
pub use error::{Error, RunError};
pub use level::NoiseLevel;
pub use noise::{KeyedNoise, NoiseKey, NoiseSource, NormalElement, RngNoise, Stream};
pub use prediction::{Conversion, Linear, Prediction, Target};
pub use real::Real;
#[doc(hidden)]
pub use simd::{SimdLevel, force_simd_level, simd_level};

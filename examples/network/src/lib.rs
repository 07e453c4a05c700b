//! A class-conditional diffusion network on the 8×8 handwritten digits, in plain ndarray.
//!
//! It was trained by the package in `examples/training` with diffusion-sampler's own forward
//! process, targets and loss weights; its weights are compiled in. The README of this package says
//! exactly what it computes, tensor by tensor, for those who run it elsewhere.
//!
//! ```
//! use diffusion_sampler::denoiser::Guided;
//! use diffusion_sampler::{guidance::ClassifierFree, registry, schedule::TableSchedule};
//! use ndarray::Array2;
//!
//! let network = digits_network::Network::trained()?;
//! let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
//! let sampler = registry::sampler("DPM++ 2M trailing")?.sampler(&schedule, 8)?;
//! let guidance = ClassifierFree::with_scale(2.0)?;
//! let mut model = Guided::new(network.denoiser(&[3, 1, 4])?, guidance);
//! let digits: Array2<f32> = sampler.sample(&mut model, (3, digits_network::PIXELS), 42)?;
//! assert_eq!(digits.dim(), (3, 64));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod activation;
mod architecture;
mod condition;
mod denoiser;
mod error;
mod half;
mod network;
mod norm;
mod weights;

pub use architecture::{
    BLOCKS, CLASSES, EMBEDDING, FREQUENCIES, HIDDEN, LAMBDA_LIMIT, NO_CLASS, NORM_FLOOR, PIXELS,
    PREDICTION, WIDTH, tensors,
};
pub use denoiser::ByClass;
pub use error::Error;
pub use network::Network;

//! From a denoiser to samples: everything between a trained diffusion model and its results.
//!
//! A [schedule] and a [grid](Grid) say which noise levels a run visits, a [solver] compiles them to
//! a [plan](plan::Plan) of plain scalars, and a [run](Trajectory) applies the plan to arrays with
//! the help of any [`Denoiser`].
//!
//! ```
//! use diffusion_sampler::{Grid, Prediction, Sampler};
//! use diffusion_sampler::oracle::{Gaussian, Oracle};
//! use diffusion_sampler::{schedule::TableSchedule, solver::FirstOrder};
//! use ndarray::Array2;
//!
//! let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
//! let grid = Grid::trailing(&schedule, 50)?;
//! let sampler = Sampler::new(&schedule, &grid, &FirstOrder::ddim())?;
//! let mut model = Gaussian::diagonal(&[1.0, -2.0], &[0.1, 0.5])?.denoiser(Prediction::Noise);
//! let samples: Array2<f32> = sampler.sample(&mut model, (8, 2), 42)?;
//! # assert_eq!(samples.dim(), (8, 2));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Map
//!
//! Most programs need the names at the root; the modules hold the rest.
//!
//! *What is sampled*
//! - [`schedule`]: α and σ over time: tables of betas, continuous VP and VE, EDM, rectified flow
//!   with its shifts and the network's times.
//! - [`grid`]: the knots of a run: trailing, leading, linspace, uniform λ, Karras, SGM-uniform, beta,
//!   KL-optimal, Align Your Steps and two dozen more, by name too; lists, those of flows as the
//!   libraries make them; parts; other schedules.
//! - [`prediction`]: what a network predicts (ε, x₀, v, score, flow, EDM), and conversions.
//! - [`posterior`]: q(x_s | x_t, x₀) between any two levels, its κ policies, forward transitions.
//!
//! *How*
//! - [`registry`]: samplers by the names of ComfyUI, AUTOMATIC1111, diffusers, candle and others.
//! - [`solver`]: DDIM, DDPM and every κ between; DPM-Solver and DPM-Solver++, UniPC, SA-Solver, RES,
//!   DEIS, LMS, iPNDM, ER-SDE, Heun, SEEDS, LCM, TCD, Restart, BELM and others; custom ones.
//! - [`plan`]: a sampler as data: the scalars of every step.
//! - [`denoiser`]: models, closures, several models or outputs, classifiers.
//! - [`guidance`]: classifier-free, classifier, projected, rescaled and a dozen more, as scalars.
//! - [`clip`]: clipping and dynamic thresholding of x₀.
//! - [`noise`]: keyed normals, a Brownian path, any `rand` generator.
//! - [`run`]: ask/tell, whole runs, snapshots, single steps, the machine beneath.
//! - [`editing`]: inpainting, exact inversion, recovered noise, latents between two others.
//! - [`tensor`]: runs on flat slices and on the tensors of other libraries.
//!
//! *Theory and training*
//! - [`moments`]: the exact distribution of a plan's state on Gaussian data, guided too; weak order;
//!   the mean defect.
//! - [`modes`]: the exact distribution of a result in one and two dimensions: masses of modes.
//! - [`stability`]: what a plan does to errors, and how far it misses, before it runs.
//! - [`likelihood`]: the cost of every edge, the cheapest strides, ln p by the probability flow.
//! - [`tuning`]: which sampler, which spacing: decided on a surrogate of the data.
//! - [`forward`]: noising data. [`training`]: loss weights.
//! - [`oracle`]: exact models, for your tests and ours.
//! - [`kernel`]: the linear combination in place.
//!
//! The [guide] has the pages choosing, samplers, recipes, extending, law, distribution, likelihood,
//! reverse variance, flow likelihood, tuning, parallel, mathematics, verification, performance and
//! known wrong samplers; with the feature `diffusers` models, migrating and checkpoints; with
//! `proptest` testing.
//!
//! # Conventions
//!
//! - Time 0 is clean; sampling runs time downwards, from the noisy to the clean end of a grid.
//!   `alpha` and `sigma` are amplitudes: q(x_t | x₀) = N(α x₀, σ² I), DDPM's ᾱ is α². λ = ln(α/σ)
//!   is *half* the log signal-to-noise ratio, ρ = σ/α is what EDM and k-diffusion call sigma.
//! - Axis 0 of every array is the sample. Elements are `f32` or `f64` ([`Real`]); coefficients are
//!   `f64` and cast once. Arrays handed to a model in a run are row-major.
//! - The guidance weight w is 0 for the plain conditional model; a library's scale is s = 1 + w
//!   ([`GuidanceWeight`](guidance::GuidanceWeight)).
//! - Bad input gives an [`Error`] with its values; nothing panics.
//!
//! # Features
//!
//! - `rayon` (off by default): large arrays and their keyed noise are shared by the threads of
//!   rayon's current pool, with the same bits.
//! - `proptest` (off by default): the module `testing`, checks and strategies for tests of other
//!   samplers.
//! - `serde` (off by default): settings, plans and snapshots can be stored and read back, bit for
//!   bit and checked: module `stored`.
//! - `diffusers` (off by default): samplers from the `scheduler_config.json` of published
//!   checkpoints: module `diffusers`.
//! - `half` (off by default): outputs of `half::f16` and `half::bf16` for a state of `f32`
//!   ([`ModelElement`]).

mod apply;
pub mod clip;
pub mod denoiser;
#[cfg(feature = "diffusers")]
pub mod diffusers;
pub mod editing;
mod element;
mod error;
mod fnv;
mod fold;
pub mod forward;
pub mod grid;
pub mod guidance;
pub mod guide;
pub mod kernel;
mod level;
pub mod likelihood;
mod linalg;
mod memory;
pub mod modes;
pub mod moments;
mod names;
pub mod noise;
mod on_arrays;
pub mod oracle;
pub mod plan;
pub mod posterior;
pub mod prediction;
mod real;
pub mod registry;
pub mod run;
mod sampler;
pub mod schedule;
mod simd;
pub mod solver;
mod special;
pub mod stability;
#[cfg(feature = "serde")]
pub mod stored;
pub mod tensor;
#[cfg(feature = "proptest")]
pub mod testing;
pub mod training;
pub mod tuning;

pub use clip::Clip;
pub use denoiser::{Denoiser, Query, from_fn, try_from_fn};
pub use element::ModelElement;
pub use error::{Error, RunError};
pub use grid::Grid;
pub use level::{Levels, NoiseLevel};
pub use noise::KeyedNoise;
pub use prediction::Prediction;
pub use real::Real;
pub use run::Trajectory;
pub use sampler::Sampler;

pub use ndarray;
pub use num_traits;
pub use rand;

/// The README's code blocks, compiled and run with the documentation tests; those of the guides are
/// in [`guide`].
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

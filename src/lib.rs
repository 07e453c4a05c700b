//! From a denoiser to samples: everything between a trained diffusion model and its results.
//!
//! A [schedule](schedule::NoiseSchedule) and a [stride](Grid) say which noise levels a run visits, a [solver](solver::Solver) compiles them to a
//! [plan](plan::Plan) of plain scalars, and a [run](Trajectory) applies the plan to arrays with the help of any [`Denoiser`].
//!
//! ```
//! use diffusion_sampler::{Grid, Prediction, Sampler, oracle::{Gaussian, Oracle}, schedule::TableSchedule, solver::FirstOrder};
//! use ndarray::Array2;
//!
//! let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
//! let sampler = Sampler::new(&Grid::trailing(&schedule, 50)?, &FirstOrder::ddim())?;
//! let mut model = Gaussian::diagonal(&[1.0, -2.0], &[0.1, 0.5])?.denoiser(Prediction::Noise);
//! let samples: Array2<f32> = sampler.sample(&mut model, (8, 2), 42)?;
//! # assert_eq!(samples.dim(), (8, 2));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Map
//!
//! | what | items |
//! |---|---|
//! | noise levels and schedules | [`NoiseLevel`], [`NoiseSchedule`](schedule::NoiseSchedule), [`TableSchedule`](schedule::TableSchedule), [`VariancePreserving`](schedule::VariancePreserving), [`VarianceExploding`](schedule::VarianceExploding), [`Edm`](schedule::Edm), [`RectifiedFlow`](schedule::RectifiedFlow) |
//! | strides | [`Grid`], [`LambdaRange`](schedule::LambdaRange) |
//! | the posterior on an edge | [`StridedPosterior`](posterior::StridedPosterior), [`Kappa`](posterior::Kappa), [`ReverseVariance`](posterior::ReverseVariance), [`Upward`](posterior::Upward) |
//! | what a network predicts | [`Prediction`], [`Conversion`](prediction::Conversion), [`Linear`](prediction::Linear), [`Target`](prediction::Target), [`LossWeight`](training::LossWeight) |
//! | solvers and plans | [`Solver`](solver::Solver), [`FirstOrder`](solver::FirstOrder), [`DpmSolverPp2M`](solver::DpmSolverPp2M), [`Heun`](solver::Heun), [`DdimInversion`](solver::DdimInversion), [`Plan`](plan::Plan), [`Step`](plan::Step), [`Stage`](plan::Stage), [`Update`](plan::Update), [`Store`](plan::Store) |
//! | models | [`Denoiser`], [`Query`], [`from_fn`], [`try_from_fn`] |
//! | guidance | [`ClassifierFree`](guidance::ClassifierFree), [`BatchedClassifierFree`](guidance::BatchedClassifierFree), [`ClassifierGuided`](guidance::ClassifierGuided), [`Classifier`](guidance::Classifier), [`GuidanceWeight`](guidance::GuidanceWeight), [`Combination`](guidance::Combination) |
//! | runs | [`Sampler`], [`Trajectory`], [`Question`](run::Question), [`StepReport`](run::StepReport), [`Snapshot`](run::Snapshot), [`Clip`], [`DdimStep`](run::DdimStep) |
//! | noise | [`KeyedNoise`], [`RngNoise`](noise::RngNoise), [`NoiseSource`](noise::NoiseSource), [`NoiseKey`](noise::NoiseKey), [`Stream`](noise::Stream), [`fill_normal`](forward::fill_normal) |
//! | training and the forward chain | [`diffuse`](forward::diffuse), [`diffuse_with`](forward::diffuse_with), [`Prediction::write_target`], [`LossWeight`](training::LossWeight) |
//! | exact models | [`Oracle`](oracle::Oracle), [`LabelledOracle`](oracle::LabelledOracle), [`Gaussian`](oracle::Gaussian), [`GaussianMixture`](oracle::GaussianMixture), [`Empirical`](oracle::Empirical), [`ExactDenoiser`](oracle::ExactDenoiser), [`ExactClassifier`](oracle::ExactClassifier), [`frechet_distance`](oracle::frechet_distance) |
//! | moments and likelihood | [`DiagonalGaussian`](moments::DiagonalGaussian), [`Sampler::moments`], [`Plan::moments`](plan::Plan::moments), [`Elbo`](likelihood::Elbo), [`Bound`](likelihood::Bound), [`Decoder`](likelihood::Decoder), [`discretised_gaussian_nats`](likelihood::discretised_gaussian_nats) |
//! | arrays | [`linear_combination`](kernel::linear_combination) |
//! | errors | [`Error`], [`RunError`] |
//!
//! # Conventions
//!
//! - Time 0 is clean; sampling runs time downwards, from the noisy to the clean end of a grid. `alpha` and `sigma` are
//!   amplitudes: q(x_t | x₀) = N(α x₀, σ² I), DDPM's ᾱ is α². λ = ln(α/σ) is *half* the log signal-to-noise ratio, ρ = σ/α
//!   is what EDM and k-diffusion call sigma.
//! - Axis 0 of every array is the sample. Elements are `f32` or `f64` ([`Real`]); coefficients are `f64` and cast once.
//! - The guidance weight w is 0 for the plain conditional model; a library's scale is s = 1 + w ([`GuidanceWeight`](guidance::GuidanceWeight)).
//! - Bad input gives an [`Error`] with its values; nothing panics.
//!
//! # Features
//!
//! - `rayon` (off by default): large arrays and their keyed noise are shared by the threads of rayon's current pool, with the
//!   same bits.

pub mod clip;
mod combination;
pub mod denoiser;
mod error;
mod fold;
pub mod forward;
pub mod grid;
pub mod guidance;
pub mod kernel;
mod level;
pub mod likelihood;
mod linalg;
mod memory;
pub mod moments;
pub mod noise;
pub mod oracle;
pub mod plan;
pub mod posterior;
pub mod prediction;
mod real;
pub mod run;
mod sampler;
pub mod schedule;
mod simd;
pub mod solver;
mod special;
pub mod training;

pub use clip::Clip;
pub use denoiser::{Denoiser, Query, from_fn, try_from_fn};
pub use error::{Error, RunError};
pub use grid::Grid;
pub use level::NoiseLevel;
pub use noise::KeyedNoise;
pub use prediction::Prediction;
pub use real::Real;
pub use run::Trajectory;
pub use sampler::Sampler;

pub use ndarray;
pub use num_traits;
pub use rand;

/// The guides' code blocks, compiled and run with the documentation tests.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../README.md")]
    struct Readme;

    #[doc = include_str!("../docs/choosing.md")]
    struct Choosing;

    #[doc = include_str!("../docs/extending.md")]
    struct Extending;

    #[doc = include_str!("../docs/mathematics.md")]
    struct Mathematics;
}

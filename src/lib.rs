//! From a denoiser to samples: everything between a trained diffusion model and its results.
//!
//! A [schedule](NoiseSchedule) and a [stride](Grid) say which noise levels a run visits, a [solver](Solver) compiles them to a
//! [plan](Plan) of plain scalars, and a [run](Trajectory) applies the plan to arrays with the help of any [`Denoiser`].
//!
//! ```
//! use diffusion_sampler::{FirstOrder, Gaussian, Grid, Oracle, Prediction, Sampler, TableSchedule};
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
//! | noise levels and schedules | [`NoiseLevel`], [`NoiseSchedule`], [`TableSchedule`], [`VariancePreserving`], [`VarianceExploding`], [`Edm`], [`RectifiedFlow`] |
//! | strides | [`Grid`], [`LambdaRange`] |
//! | the posterior on an edge | [`StridedPosterior`], [`Kappa`], [`ReverseVariance`], [`Upward`] |
//! | what a network predicts | [`Prediction`], [`Conversion`], [`Linear`], [`Target`], [`LossWeight`] |
//! | solvers and plans | [`Solver`], [`FirstOrder`], [`DpmSolverPp2M`], [`Heun`], [`DdimInversion`], [`Plan`], [`Step`], [`Stage`], [`Update`], [`Store`] |
//! | models | [`Denoiser`], [`Query`], [`from_fn`], [`try_from_fn`] |
//! | guidance | [`ClassifierFree`], [`BatchedClassifierFree`], [`ClassifierGuided`], [`Classifier`], [`GuidanceWeight`], [`Combination`] |
//! | runs | [`Sampler`], [`Trajectory`], [`Question`], [`StepReport`], [`Snapshot`], [`Clip`], [`DdimStep`] |
//! | noise | [`KeyedNoise`], [`RngNoise`], [`NoiseSource`], [`NoiseKey`], [`Stream`], [`fill_normal`] |
//! | training and the forward chain | [`diffuse`], [`diffuse_with`], [`Prediction::write_target`], [`LossWeight`] |
//! | exact models | [`Oracle`], [`LabelledOracle`], [`Gaussian`], [`GaussianMixture`], [`Empirical`], [`ExactDenoiser`], [`ExactClassifier`], [`frechet_distance`] |
//! | moments and likelihood | [`DiagonalGaussian`], [`Sampler::moments`], [`Plan::moments`], [`Elbo`], [`Bound`], [`Decoder`], [`discretised_gaussian_nats`] |
//! | arrays | [`linear_combination`] |
//! | errors | [`Error`], [`RunError`] |
//!
//! # Conventions
//!
//! - Time 0 is clean; sampling runs time downwards, from the noisy to the clean end of a grid. `alpha` and `sigma` are
//!   amplitudes: q(x_t | x₀) = N(α x₀, σ² I), DDPM's ᾱ is α². λ = ln(α/σ) is *half* the log signal-to-noise ratio, ρ = σ/α
//!   is what EDM and k-diffusion call sigma.
//! - Axis 0 of every array is the sample. Elements are `f32` or `f64` ([`Real`]); coefficients are `f64` and cast once.
//! - The guidance weight w is 0 for the plain conditional model; a library's scale is s = 1 + w ([`GuidanceWeight`]).
//! - Bad input gives an [`Error`] with its values; nothing panics.
//!
//! # Features
//!
//! - `rayon` (off by default): large arrays and their keyed noise are shared by the threads of rayon's current pool, with the
//!   same bits.

mod chain;
mod clip;
mod combination;
mod ddim_step;
mod denoiser;
mod error;
mod fold;
mod grid;
mod guidance;
mod kernel;
mod level;
mod likelihood;
mod linalg;
mod moments;
mod noise;
mod oracle;
mod plan;
mod posterior;
mod prediction;
mod real;
mod sampler;
mod schedule;
mod simd;
mod solver;
mod special;
mod training;
mod trajectory;

pub use chain::{diffuse, diffuse_with, fill_normal};
pub use clip::{Clip, ClipNoise};
pub use combination::{Combination, MAX_OUTPUTS};
pub use ddim_step::DdimStep;
pub use denoiser::{Denoiser, FromFn, Query, TryFromFn, from_fn, try_from_fn};
pub use error::{Error, RunError};
pub use grid::Grid;
pub use guidance::{
    BatchedClassifierFree, Classifier, ClassifierFree, ClassifierGuided, GuidanceWeight,
};
pub use kernel::linear_combination;
pub use level::NoiseLevel;
pub use likelihood::{Bound, Decoder, EdgeVariance, Elbo, discretised_gaussian_nats};
pub use moments::{AffineEstimate, DiagonalGaussian};
pub use noise::{KeyedNoise, NoiseKey, NoiseSource, NormalElement, RngNoise, Stream};
pub use oracle::{
    Draws, Empirical, ExactClassifier, ExactDenoiser, Gaussian, GaussianMixture, LabelledOracle,
    Oracle, frechet_distance, sample_moments,
};
pub use plan::{MAX_SLOTS, Plan, Stage, Step, Store, Update};
pub use posterior::{Kappa, ReverseVariance, StridedPosterior, Upward};
pub use prediction::{Conversion, Linear, Prediction, Target};
pub use real::Real;
pub use sampler::Sampler;
pub use schedule::{
    Edm, LambdaRange, NoiseSchedule, RectifiedFlow, TableSchedule, VarianceExploding,
    VariancePreserving,
};
#[doc(hidden)]
pub use simd::{SimdLevel, force_simd_level, simd_level};
pub use solver::{DdimInversion, DpmSolverPp2M, FirstOrder, Heun, SecondOrderForm, Solver};
pub use training::LossWeight;
pub use trajectory::{Question, Snapshot, StepReport, Trajectory};

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

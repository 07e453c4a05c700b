//! From a denoiser to samples.

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
pub use solver::{DdimInversion, DpmSolverPp2M, FirstOrder, Heun, SecondOrderForm, Solver};
pub use training::LossWeight;
pub use trajectory::{Question, StepReport, Trajectory};

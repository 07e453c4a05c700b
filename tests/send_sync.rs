//! Every public type is `Send`, `Sync` and `Debug`, and `Clone` unless it lends or runs something;
//! `Debug` only where it lends a source of noise, which may stay on one thread.

use std::fmt::Debug;

use diffusion_sampler as ds;
use ndarray::Ix2;

fn shared<T: Send + Sync + Debug>() {}
fn shown<T: Debug>() {}
fn copied<T: Send + Sync + Debug + Clone>() {}

/// One test for each list of types.
macro_rules! types {
    ($test:ident, $check:ident: $($name:ty),+ $(,)?) => {
        #[test]
        fn $test() {
            $($check::<$name>();)+
        }
    };
}

types!(the_root_is_shared_and_copied, copied:
    ds::Clip,
    ds::Error,
    ds::RunError<ds::Error>,
    ds::Grid,
    ds::Levels<'static>,
    ds::NoiseLevel,
    ds::KeyedNoise,
    ds::noise::BrownianPath,
    ds::noise::Interval,
    ds::noise::TorchCpu,
    ds::noise::TorchCuda,
    ds::noise::TorchNoise<ds::noise::TorchCpu>,
    ds::Prediction,
    ds::Query<'static>,
    ds::Sampler,
    ds::Trajectory<f32, Ix2>,
);

types!(scalars_are_shared_and_copied, copied:
    ds::clip::ClipNoise,
    ds::grid::AlignYourSteps,
    ds::grid::FlowSigmas,
    ds::grid::SigmaRange,
    ds::grid::Spacing,
    ds::grid::SpacingEntry,
    ds::guidance::ClassifierFree,
    ds::guidance::ClassifierGuidance<ds::guidance::ClassifierFree>,
    ds::guidance::Combination,
    ds::guidance::Composed,
    ds::guidance::Evaluation,
    ds::guidance::GuidanceWeight,
    ds::guidance::Memory,
    ds::guidance::OnInterval<ds::guidance::ClassifierFree>,
    ds::guidance::PerpendicularNegative,
    ds::guidance::Perturbed,
    ds::guidance::PlusPlus,
    ds::guidance::Products,
    ds::guidance::Projected,
    ds::guidance::Rescaled<ds::guidance::ClassifierFree>,
    ds::guidance::Tangential,
    ds::guidance::Unguided,
    ds::guidance::WeightedSum,
    ds::guidance::ZeroStar,
    ds::likelihood::Bound,
    ds::likelihood::Decoder,
    ds::likelihood::EdgeCosts,
    ds::likelihood::EdgeVariance,
    ds::likelihood::Elbo,
    ds::modes::ModeReport,
    ds::likelihood::Likelihood,
    ds::likelihood::Measured,
    ds::likelihood::Measurement,
    ds::likelihood::PixelCosts,
    ds::likelihood::Strides<'static>,
    ds::likelihood::FiniteDifferences<ds::Clip>,
    ds::likelihood::FlowDensity,
    ds::likelihood::FlowLikelihood,
    ds::likelihood::Probes,
    ds::moments::AffineEstimate,
    ds::moments::GuidedGaussian,
    ds::moments::MomentReport,
    ds::moments::StepMoments,
    ds::moments::WeakOrder,
    ds::noise::Demand<'static>,
    ds::noise::LearnedNoise<f32>,
    ds::noise::NoiseKey,
    ds::noise::NoiseScales,
    ds::noise::PerSample,
    ds::noise::RngNoise<rand::rngs::SmallRng>,
    ds::noise::SampleNoise,
    ds::noise::ScaledNoise,
    ds::noise::Stream,
    ds::plan::Kept,
    ds::plan::Plan,
    ds::plan::Stage,
    ds::plan::Step,
    ds::plan::Store,
    ds::plan::Update,
    ds::posterior::DataErrors,
    ds::posterior::AnalyticVariance,
    ds::posterior::DiagonalVariance,
    ds::posterior::ElementErrors,
    ds::posterior::Kappa,
    ds::posterior::ReverseVariance,
    ds::posterior::StridedPosterior,
    ds::posterior::Transition,
    ds::prediction::Conversion,
    ds::prediction::Linear,
    ds::prediction::Target,
    ds::training::LossWeight,
);

types!(editing_is_shared_and_copied, copied:
    ds::editing::DdpmInversion,
    ds::editing::ExactInversion,
    ds::editing::Inpaint<f32, Ix2>,
    ds::editing::Inverted<f32, Ix2>,
    ds::editing::InvertedStep,
    ds::editing::RecoveredNoise<f32>,
    ds::editing::RecoveredRun<f32, Ix2>,
    ds::stability::StabilityReport,
    ds::stability::StabilityWarning,
    ds::stability::StepStability,
);

types!(schedules_are_shared_and_copied, copied:
    ds::schedule::Edm,
    ds::schedule::LambdaRange,
    ds::schedule::ModelTime,
    ds::schedule::RectifiedFlow,
    ds::schedule::Sublevels<ds::schedule::RectifiedFlow>,
    ds::schedule::UnitVariance<ds::schedule::Edm>,
    ds::schedule::TableSchedule,
    ds::schedule::VarianceExploding,
    ds::schedule::VariancePreserving,
);

types!(solvers_are_shared_and_copied, copied:
    ds::solver::Basis,
    ds::solver::Belm,
    ds::solver::BelmInversion,
    ds::solver::CfgPlusPlus,
    ds::solver::CfgPlusPlusSinglestep,
    ds::solver::Churn,
    ds::solver::DdimInversion,
    ds::solver::Deis,
    ds::solver::Dpm2,
    ds::solver::DpmFast,
    ds::solver::DpmPlusPlusSde,
    ds::solver::DpmSolver,
    ds::solver::DpmSolverPlusPlus,
    ds::solver::DpmSolverPlusPlusSinglestep,
    ds::solver::DpmSolverSinglestep,
    ds::solver::ErNoise,
    ds::solver::ErSde,
    ds::solver::Euler,
    ds::solver::ExponentialAdams,
    ds::solver::ExponentialRungeKutta,
    ds::solver::FirstOrder,
    ds::solver::GradientEstimation,
    ds::solver::GroupedSinglestep,
    ds::solver::HeavyBall,
    ds::solver::Heun,
    ds::solver::HeunPlusPlus,
    ds::solver::Ipndm,
    ds::solver::Lcm,
    ds::solver::LinearMultistep,
    ds::solver::Path<'static>,
    ds::solver::Pndm,
    ds::solver::RePaint<ds::solver::FirstOrder>,
    ds::solver::Restart<ds::solver::Heun>,
    ds::solver::SaSolver,
    ds::solver::SecondOrderForm,
    ds::solver::Tcd,
    ds::solver::UniPc,
);

types!(what_a_registry_lists_is_shared_and_copied, copied:
    ds::registry::Entry,
    ds::registry::Library,
    ds::registry::Names,
    ds::registry::Refused,
);

types!(what_a_name_means_is_shared, shared:
    ds::registry::Named,
);

types!(what_a_catalogue_lists_is_shared, shared:
    ds::solver::Entry,
);

types!(oracles_are_shared_and_copied, copied:
    ds::oracle::Draws,
    ds::oracle::Empirical,
    ds::oracle::ExactClassifier<ds::oracle::GaussianMixture>,
    ds::oracle::ExactDenoiser<ds::oracle::Gaussian>,
    ds::oracle::PositionDenoiser<ds::oracle::Gaussian>,
    ds::oracle::Gaussian,
    ds::oracle::GaussianMixture,
);

types!(models_are_shared_and_copied, copied:
    ds::denoiser::Guided<ds::oracle::ExactDenoiser<ds::oracle::Gaussian>, ds::guidance::ZeroStar>,
    ds::denoiser::Models<(ds::Clip, ds::Clip)>,
    ds::denoiser::PerPosition<ds::Clip>,
    ds::denoiser::PerRow<ds::Clip>,
    ds::denoiser::SliceModel<fn(&[f32], &ds::Query<'_>, &mut [f32])>,
    ds::denoiser::WithClassifier<ds::Clip, ds::Clip>,
);

types!(runs_are_shared_and_copied, copied:
    ds::run::AdaptiveDpm,
    ds::run::AdaptiveOutcome<f32, Ix2>,
    ds::run::Coefficients,
    ds::run::Cursor,
    ds::run::DdimStep,
    ds::run::ParallelReport,
    ds::run::ParallelRun<f32, Ix2>,
    ds::run::ParallelSampler,
    ds::run::PositionRun<f32, Ix2>,
    ds::run::PositionSampler,
    ds::run::PositionSchedule,
    ds::run::Instruction<'static>,
    ds::run::Machine<f32, Ix2>,
    ds::run::Snapshot<ndarray::Array2<f32>>,
    ds::run::TensorRun<ds::tensor::FlatOps<f32>>,
    ds::run::TensorSampler<ds::tensor::FlatOps<f32>>,
    ds::tensor::ArrayOps<f32, Ix2>,
    ds::tensor::Flat<f32>,
    ds::tensor::FlatOps<f32>,
    ds::tensor::RowProducts,
    ds::tensor::Scale<'static>,
);

types!(what_a_run_lends_is_shared, shared:
    ds::run::Question<'static, ndarray::Array2<f32>>,
    ds::run::StepReport<'static, f32, Ix2>,
);

types!(what_lends_a_source_of_noise_is_shown, shown:
    ds::tensor::Normals<'static, f32>,
);

#[cfg(feature = "proptest")]
types!(what_tests_of_others_use_is_shared_and_copied, copied:
    ds::testing::AnySchedule,
    ds::testing::Failure,
    ds::testing::GuidanceLaw,
);

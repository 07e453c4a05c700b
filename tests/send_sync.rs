//! Every public type is `Send`, `Sync` and `Debug`, and `Clone` unless it lends or runs something.

use std::fmt::Debug;

use diffusion_sampler as ds;
use ndarray::Ix2;

fn shared<T: Send + Sync + Debug>() {}
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
    ds::NoiseLevel,
    ds::KeyedNoise,
    ds::Prediction,
    ds::Query<'static>,
    ds::Sampler,
    ds::Trajectory<f32, Ix2>,
);

types!(scalars_are_shared_and_copied, copied:
    ds::clip::ClipNoise,
    ds::guidance::Combination,
    ds::guidance::GuidanceWeight,
    ds::likelihood::Bound,
    ds::likelihood::Decoder,
    ds::likelihood::EdgeVariance,
    ds::likelihood::Elbo,
    ds::moments::AffineEstimate,
    ds::noise::NoiseKey,
    ds::noise::RngNoise<rand::rngs::SmallRng>,
    ds::noise::Stream,
    ds::plan::Plan,
    ds::plan::Stage,
    ds::plan::Step,
    ds::plan::Store,
    ds::plan::Update,
    ds::posterior::Kappa,
    ds::posterior::ReverseVariance,
    ds::posterior::StridedPosterior,
    ds::posterior::Upward,
    ds::prediction::Conversion,
    ds::prediction::Linear,
    ds::prediction::Target,
    ds::training::LossWeight,
);

types!(schedules_are_shared_and_copied, copied:
    ds::schedule::Edm,
    ds::schedule::LambdaRange,
    ds::schedule::RectifiedFlow,
    ds::schedule::TableSchedule,
    ds::schedule::VarianceExploding,
    ds::schedule::VariancePreserving,
);

types!(solvers_are_shared_and_copied, copied:
    ds::solver::DdimInversion,
    ds::solver::DpmSolverPlusPlus,
    ds::solver::FirstOrder,
    ds::solver::Heun,
    ds::solver::SecondOrderForm,
);

types!(oracles_are_shared_and_copied, copied:
    ds::oracle::Draws,
    ds::oracle::Empirical,
    ds::oracle::ExactClassifier<ds::oracle::GaussianMixture>,
    ds::oracle::ExactDenoiser<ds::oracle::Gaussian>,
    ds::oracle::Gaussian,
    ds::oracle::GaussianMixture,
);

types!(models_are_shared_and_copied, copied:
    ds::denoiser::FromFn<fn()>,
    ds::denoiser::TryFromFn<fn()>,
    ds::guidance::BatchedClassifierFree<ds::oracle::ExactDenoiser<ds::oracle::Gaussian>>,
    ds::guidance::ClassifierFree<ds::Clip, ds::Clip>,
    ds::guidance::ClassifierGuided<ds::Clip, ds::Clip>,
);

types!(runs_are_shared_and_copied, copied:
    ds::run::DdimStep,
    ds::run::Snapshot<f32, Ix2>,
);

types!(what_a_run_lends_is_shared, shared:
    ds::run::Question<'static, f32, Ix2>,
    ds::run::StepReport<'static, f32, Ix2>,
);

//! Levels, edges, policies, predictions.

use proptest::prelude::*;

use super::schedules;
use crate::level::NoiseLevel;
use crate::posterior::{Kappa, ReverseVariance, StridedPosterior};
use crate::prediction::Prediction;
use crate::schedule::NoiseSchedule;

/// A share of a schedule's time: both ends, and all between.
fn shares() -> BoxedStrategy<f64> {
    prop_oneof![1 => Just(0.0), 6 => 0.0..1.0, 1 => Just(1.0)].boxed()
}

/// Levels of any schedule: the clean end (σ = 0), the noisy end (α = 0 for a flow and for zero
/// terminal SNR), knots of tables and what lies between.
///
/// ```
/// use diffusion_sampler::testing::{proptest::prelude::*, strategies::levels};
///
/// proptest! {
///     fn snr_and_lambda_agree(level in levels()) {
///         prop_assert_eq!(level.is_clean(), level.lambda() == f64::INFINITY);
///         prop_assert_eq!(level.alpha() == 0.0, level.snr() == 0.0);
///     }
/// }
/// snr_and_lambda_agree();
/// ```
pub fn levels() -> BoxedStrategy<NoiseLevel> {
    (schedules(), shares(), any::<bool>())
        .prop_filter_map("level", |(schedule, share, rounded)| {
            level(&schedule, share, rounded)
        })
        .boxed()
}

/// The level at a share of the time, on a table's knot if it is to be.
fn level(schedule: &dyn NoiseSchedule, share: f64, rounded: bool) -> Option<NoiseLevel> {
    let time = share * schedule.last_time();
    let on_knot = rounded && schedule.table_len().is_some();
    schedule
        .level(if on_knot { time.round() } else { time })
        .ok()
}

/// Edges: two levels of one schedule, the first noisier, as a step of a sampler leads. Onto the
/// clean end, from α = 0, between adjacent knots, and over any distance.
///
/// ```
/// use diffusion_sampler::{Prediction, posterior::{Kappa, StridedPosterior}};
/// use diffusion_sampler::testing::{check_marginals, proptest::prelude::*, strategies::edges};
///
/// proptest! {
///     fn marginals_match((t, s) in edges()) {
///         let q = StridedPosterior::new(t, s, Kappa::Ddpm)?.transition();
///         check_marginals(&t, &s, Prediction::Data, 1e-12, |x, x0, z, out: &mut [f64]| {
///             for i in 0..out.len() {
///                 out[i] = q.state * x[i] + q.data * x0[i] + q.noise * z[i];
///             }
///         })?;
///     }
/// }
/// marginals_match();
/// ```
pub fn edges() -> BoxedStrategy<(NoiseLevel, NoiseLevel)> {
    // The end as a share of the start's time; 2 stands for the knot before.
    let ends = prop_oneof![1 => Just(0.0), 6 => 0.0..0.999, 2 => Just(2.0)];
    (schedules(), 0.001..=1.0, any::<bool>(), ends, any::<bool>())
        .prop_filter_map("edge", |(schedule, share, noisiest, end, rounded)| {
            let from = level(&schedule, if noisiest { 1.0 } else { share }, rounded)?;
            let to = match (end, schedule.table_len()) {
                (2.0, Some(_)) => schedule.level((from.time() - 1.0).max(0.0)).ok()?,
                (2.0, None) => schedule.level(0.99 * from.time()).ok()?,
                _ => schedule.level(end * from.time()).ok()?,
            };
            let valid =
                to.lambda() > from.lambda() && StridedPosterior::new(from, to, Kappa::Ddpm).is_ok();
            valid.then_some((from, to))
        })
        .boxed()
}

/// Noise policies that every edge to less noise allows: DDIM, DDPM, η in \[0, 1\], τ in \[0, 5\],
/// fresh, capped η in \[0, 3\], flow and ancestral η in \[0, 1\]. An explicit γ depends on the edge: see [`posteriors`].
///
/// ```
/// use diffusion_sampler::{Grid, schedule::TableSchedule, solver::{FirstOrder, Path, Solver}};
/// use diffusion_sampler::testing::{proptest::prelude::*, strategies::kappas};
///
/// let table = TableSchedule::cosine(100)?;
/// let grid = Grid::trailing(&table, 7)?;
/// proptest!(|(kappa in kappas())| {
///     let plan = FirstOrder::new(kappa).plan(&Path::new(&table, &grid)?)?;
///     prop_assert_eq!(plan.steps().len(), 7);
/// });
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
pub fn kappas() -> BoxedStrategy<Kappa> {
    prop_oneof![
        Just(Kappa::Ddim),
        Just(Kappa::Ddpm),
        prop_oneof![Just(0.0), 0.0..1.0, Just(1.0)].prop_map(Kappa::Eta),
        prop_oneof![Just(0.0), 0.0..5.0, Just(1.0)].prop_map(Kappa::Tau),
        Just(Kappa::Fresh),
        prop_oneof![Just(0.0), 0.0..3.0, Just(1.0)].prop_map(Kappa::CappedEta),
        prop_oneof![Just(0.0), 0.0..1.0, Just(1.0)].prop_map(Kappa::FlowEta),
        prop_oneof![Just(0.0), 0.0..1.0, Just(1.0)].prop_map(Kappa::Ancestral),
    ]
    .boxed()
}

/// Posteriors q(x_s | x_t, x₀): one of the [`edges`] with one of the [`kappas`], or an explicit γ
/// in \[0, σ_s\].
///
/// ```
/// use diffusion_sampler::testing::{proptest::prelude::*, strategies::posteriors};
///
/// proptest! {
///     fn noise_stays_below_the_levels(q in posteriors()) {
///         prop_assert!(q.gamma() <= q.to().sigma());
///     }
/// }
/// noise_stays_below_the_levels();
/// ```
pub fn posteriors() -> BoxedStrategy<StridedPosterior> {
    let shares = prop_oneof![3 => Just(None), 1 => shares().prop_map(Some)];
    (edges(), kappas(), shares)
        .prop_filter_map("posterior", |((from, to), kappa, gamma)| {
            let kappa = gamma.map_or(kappa, |share| Kappa::Gamma(share * to.sigma()));
            StridedPosterior::new(from, to, kappa).ok()
        })
        .boxed()
}

/// Reverse variances: the posterior's, "fixed large", an explicit one from 0 to 4.
///
/// ```
/// use diffusion_sampler::testing::proptest::prelude::*;
/// use diffusion_sampler::testing::strategies::{posteriors, reverse_variances};
///
/// proptest! {
///     fn a_standard_deviation_is_a_number(q in posteriors(), policy in reverse_variances()) {
///         prop_assert!(q.reverse_variance(policy)?.sqrt().is_finite());
///     }
/// }
/// a_standard_deviation_is_a_number();
/// ```
pub fn reverse_variances() -> BoxedStrategy<ReverseVariance> {
    prop_oneof![
        Just(ReverseVariance::Posterior),
        Just(ReverseVariance::FixedLarge),
        prop_oneof![Just(0.0), 0.0..4.0].prop_map(ReverseVariance::Explicit),
    ]
    .boxed()
}

/// Predictions of every kind: x₀, ε, v, a flow's u in both directions, score, EDM with a data
/// deviation from 0.05 to 2, any combination px₀ + qε with |p| and |q| from 0.1 to 2.
///
/// Some are undefined at some levels: `prop_assume!(prediction.conversion(&level).is_ok())`.
///
/// ```
/// use diffusion_sampler::testing::proptest::prelude::*;
/// use diffusion_sampler::testing::strategies::{levels, predictions};
///
/// proptest! {
///     fn the_target_is_what_is_converted_back(kind in predictions(), level in levels()) {
///         prop_assume!(kind.conversion(&level).is_ok() && kind.target(&level).is_ok());
///         let (c, target) = (kind.conversion(&level)?, kind.target(&level)?);
///         // x₀ = 1 and ε = 0.
///         let terms = [c.data.x * level.alpha(), c.data.output * target.data];
///         let size = terms[0].abs() + terms[1].abs();
///         prop_assert!((terms[0] + terms[1] - 1.0).abs() <= 1e-14 * size);
///     }
/// }
/// the_target_is_what_is_converted_back();
/// ```
pub fn predictions() -> BoxedStrategy<Prediction> {
    let signed = || (any::<bool>(), 0.1..2.0f64).prop_map(|(minus, v)| if minus { -v } else { v });
    prop_oneof![
        Just(Prediction::Data),
        Just(Prediction::Noise),
        Just(Prediction::Velocity),
        Just(Prediction::Flow),
        Just(Prediction::Linear {
            data: 1.0,
            noise: -1.0
        }),
        Just(Prediction::Score),
        (0.05..2.0).prop_map(|data_std| Prediction::Edm { data_std }),
        (0.05..2.0).prop_map(|data_std| Prediction::EdmVelocity { data_std }),
        (signed(), signed()).prop_map(|(data, noise)| Prediction::Linear { data, noise }),
    ]
    .boxed()
}

//! Marginal matching: whatever the schedule, the stride and κ, x_s given x₀ is N(α_s x₀, σ_s² I).
//! Exact moments, no sampling.

use diffusion_sampler::{
    Error, Grid, KeyedNoise, NoiseLevel, Prediction,
    oracle::Gaussian,
    plan::Plan,
    posterior::{Kappa, StridedPosterior, Transition},
    run::{DdimStep, Machine},
    schedule::{
        Edm, NoiseSchedule, RectifiedFlow, TableSchedule, VarianceExploding, VariancePreserving,
    },
    solver::{FirstOrder, Path, Solver},
};
use ndarray::array;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

/// A schedule of every kind.
#[derive(Clone, Debug)]
enum Kind {
    Linear(usize, bool),
    ScaledLinear(usize),
    Cosine(usize, bool),
    Sigmoid(usize),
    OwnTable(Vec<f64>),
    Preserving(f64, f64),
    Exploding(f64, f64),
    Edm(f64, f64),
    Flow(f64),
}

impl Kind {
    fn schedule(&self) -> Result<Box<dyn NoiseSchedule>, Error> {
        let table = |table: TableSchedule, zero: bool| -> Result<Box<dyn NoiseSchedule>, Error> {
            Ok(if zero {
                Box::new(table.zero_terminal_snr()?)
            } else {
                Box::new(table)
            })
        };
        match self {
            Self::Linear(steps, zero) => table(TableSchedule::linear(*steps, 1e-4, 0.02)?, *zero),
            Self::ScaledLinear(steps) => {
                table(TableSchedule::scaled_linear(*steps, 0.00085, 0.012)?, false)
            }
            Self::Cosine(steps, zero) => table(TableSchedule::cosine(*steps)?, *zero),
            Self::Sigmoid(steps) => table(TableSchedule::sigmoid(*steps, 1e-4, 0.02)?, false),
            Self::OwnTable(betas) => table(TableSchedule::from_betas(betas)?, false),
            Self::Preserving(low, more) => Ok(Box::new(VariancePreserving::new(*low, low + more)?)),
            Self::Exploding(low, factor) => {
                Ok(Box::new(VarianceExploding::new(*low, low * factor)?))
            }
            Self::Edm(low, factor) => Ok(Box::new(Edm::new(*low, low * factor)?)),
            Self::Flow(log_shift) => Ok(Box::new(RectifiedFlow::shifted_by_mu(*log_shift)?)),
        }
    }
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        (2usize..1200, any::<bool>()).prop_map(|(steps, zero)| Kind::Linear(steps, zero)),
        (1usize..1200).prop_map(Kind::ScaledLinear),
        (2usize..1200, any::<bool>()).prop_map(|(steps, zero)| Kind::Cosine(steps, zero)),
        (1usize..1200).prop_map(Kind::Sigmoid),
        vec(1e-6..0.5f64, 1..60).prop_map(Kind::OwnTable),
        (0.01..2.0f64, 0.0..25.0f64).prop_map(|(low, more)| Kind::Preserving(low, more)),
        (1e-3..0.1f64, 2.0..1e4f64).prop_map(|(low, factor)| Kind::Exploding(low, factor)),
        (1e-3..0.1f64, 2.0..1e4f64).prop_map(|(low, factor)| Kind::Edm(low, factor)),
        (-2.0..2.0f64).prop_map(Kind::Flow),
    ]
}

/// Policies that are valid on every downward edge; explicit γ's are a fraction of σ_s, set later.
#[derive(Clone, Copy, Debug)]
enum Choice {
    Policy(Kappa),
    GammaFraction(f64),
}

impl Choice {
    fn on(self, to: &NoiseLevel) -> Kappa {
        match self {
            Self::Policy(kappa) => kappa,
            Self::GammaFraction(fraction) => Kappa::Gamma(fraction * to.sigma()),
        }
    }
}

fn choices() -> impl Strategy<Value = Choice> {
    prop_oneof![
        Just(Choice::Policy(Kappa::Ddim)),
        Just(Choice::Policy(Kappa::Ddpm)),
        Just(Choice::Policy(Kappa::Fresh)),
        (0.0..=1.0f64).prop_map(|eta| Choice::Policy(Kappa::Eta(eta))),
        (0.0..3.0f64).prop_map(|tau| Choice::Policy(Kappa::Tau(tau))),
        (0.0..=1.0f64).prop_map(Choice::GammaFraction),
    ]
}

/// Strictly decreasing times of a schedule, by fractions of its last time; on a table any real time
/// between the knots.
fn stride(
    schedule: &dyn NoiseSchedule,
    mut fractions: Vec<f64>,
    clean: bool,
) -> Result<Grid, Error> {
    fractions.sort_by(|a, b| b.total_cmp(a));
    fractions.dedup_by(|a, b| (*a - *b).abs() < 1e-6);
    let mut times: Vec<f64> = fractions.iter().map(|u| u * schedule.last_time()).collect();
    if clean {
        times.push(0.0);
    }
    Grid::from_times(schedule, &times)
}

fn fractions() -> impl Strategy<Value = Vec<f64>> {
    // The last time itself is among them in half of the cases.
    (vec(1e-3..1.0f64, 2..30), any::<bool>()).prop_map(|(mut list, whole)| {
        if whole {
            list.push(1.0);
        }
        list
    })
}

fn failed(error: Error) -> TestCaseError {
    TestCaseError::fail(error.to_string())
}

/// Relative error; absolute where nothing is expected.
fn off(found: f64, expected: f64) -> f64 {
    (found - expected).abs() / if expected == 0.0 { 1.0 } else { expected.abs() }
}

/// A plan's law given x₀ against the marginals of its levels.
fn keeps_marginals(plan: &Plan, data: f64) -> Result<(), TestCaseError> {
    let point = Gaussian::diagonal(&[data], &[0.0]).map_err(failed)?;
    let start = point.at_level(&plan.start()).map_err(failed)?;
    let laws = plan.moments(&point, &start).map_err(failed)?;
    for (law, step) in laws.iter().zip(plan.steps()) {
        let expected = point.at_level(&step.to).map_err(failed)?;
        let (mean, variance) = (law.mean()[0], law.variances()[0]);
        prop_assert!(off(mean, expected.mean()[0]) < 1e-13, "{mean} {expected:?}");
        prop_assert!(
            off(variance, expected.variances()[0]) < 1e-13,
            "{variance} {expected:?}"
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    /// The law of the module, on whole chains.
    #[test]
    fn marginals_match_for_every_schedule_stride_and_kappa(
        kind in kinds(),
        list in fractions(),
        clean in any::<bool>(),
        picks in vec(choices(), 31),
        data in prop_oneof![-3.0..-0.01f64, 0.01..3.0f64],
    ) {
        let schedule = kind.schedule().map_err(failed)?;
        let grid = stride(&*schedule, list, clean).map_err(failed)?;
        let kappas = grid.levels()[1..].iter().zip(&picks).map(|(to, pick)| pick.on(to)).collect();
        let plan = FirstOrder::per_edge(kappas).plan(&Path::without_schedule(&grid)).map_err(failed)?;
        keeps_marginals(&plan, data)?;
    }

    /// The same for one policy on the usual spacings, through their own constructors.
    #[test]
    fn marginals_match_on_the_named_spacings(
        kind in kinds(),
        steps in 1usize..40,
        eta in 0.0..=1.0f64,
        data in 0.1..3.0f64,
    ) {
        let schedule = kind.schedule().map_err(failed)?;
        let steps = schedule.table_len().map_or(steps, |len| steps.min(len));
        for grid in [Grid::trailing(&*schedule, steps), Grid::quadratic(&*schedule, steps)] {
            let grid = grid.map_err(failed)?;
            let plan = FirstOrder::new(Kappa::Eta(eta)).plan(&Path::without_schedule(&grid)).map_err(failed)?;
            prop_assert_eq!(plan.steps().len(), steps);
            keeps_marginals(&plan, data)?;
        }
    }

    /// Between any two levels at all, whether one schedule has both or not; in f64 and through the
    /// kernel in f32.
    #[test]
    fn marginals_match_between_any_two_levels(
        lambdas in (-6.0..8.0f64, -6.0..8.0f64),
        alphas in (0.05..20.0f64, 0.05..20.0f64),
        pick in choices(),
        data in 0.1..3.0f64,
    ) {
        let (low, high) = (lambdas.0.min(lambdas.1), lambdas.0.max(lambdas.1));
        let level = |time, alpha: f64, lambda: f64| NoiseLevel::new(time, alpha, alpha * (-lambda).exp());
        let t = level(2.0, alphas.0, low).map_err(failed)?;
        let s = level(1.0, alphas.1, high).map_err(failed)?;
        // Two levels with the same λ but for rounding may not be ordered.
        prop_assume!(s.lambda() > t.lambda());
        let q = StridedPosterior::new(t, s, pick.on(&s)).map_err(failed)?;
        prop_assert!((0.0..=1.0).contains(&q.kappa()));
        prop_assert!(q.gamma() >= 0.0 && q.gamma() <= s.sigma() * (1.0 + 1e-15));
        let mean = q.state_coefficient() * t.alpha() + q.data_coefficient();
        let variance = (q.state_coefficient() * t.sigma()).powi(2) + q.variance();
        prop_assert!(off(mean, s.alpha()) < 1e-13);
        prop_assert!(off(variance, s.sigma().powi(2)) < 1e-13);
        // The state x_t = α_t x₀ is carried to the mean α_s x₀ by the array path.
        let step = DdimStep::new(t, s, Kappa::Ddim).map_err(failed)?;
        let mut machine = Machine::new(array![(t.alpha() * data) as f32], 0).map_err(failed)?;
        let output = array![data as f32];
        step.tell(&mut machine, Prediction::Data, &output, &mut KeyedNoise::new(0), 0)
            .map_err(failed)?;
        prop_assert!(off(f64::from(machine.state()[0]), s.alpha() * data) < 2e-6);
    }

    /// A fine chain is its strided one exactly where κ multiplies.
    #[test]
    fn fine_and_strided_chains_agree_exactly_where_kappa_multiplies(
        kind in kinds(),
        list in fractions(),
        clean in any::<bool>(),
        tau in 0.0..2.0f64,
    ) {
        let schedule = kind.schedule().map_err(failed)?;
        let grid = stride(&*schedule, list, clean).map_err(failed)?;
        let levels = grid.levels();
        let (t, s) = (grid.start(), grid.end());
        for kappa in [Kappa::Ddim, Kappa::Ddpm, Kappa::Eta(0.0), Kappa::Eta(1.0), Kappa::Tau(tau), Kappa::Fresh] {
            let mut chain: Option<StridedPosterior> = None;
            for pair in levels.windows(2) {
                let next = StridedPosterior::new(pair[0], pair[1], kappa).map_err(failed)?;
                chain = Some(match chain {
                    None => next,
                    Some(before) => before.compose(&next).map_err(failed)?,
                });
            }
            let chain = chain.ok_or_else(|| TestCaseError::fail("no edge"))?;
            let strided = StridedPosterior::new(t, s, kappa).map_err(failed)?;
            prop_assert!((chain.kappa() - strided.kappa()).abs() < 1e-13, "{kappa:?}");
            let unit = s.sigma() / t.sigma();
            prop_assert!((chain.state_coefficient() - strided.state_coefficient()).abs() <= 1e-13 * unit);
            prop_assert!(off(chain.data_coefficient(), strided.data_coefficient()) < 1e-12 / f64::min(1.0, strided.data_coefficient() / s.alpha()));
            prop_assert!((chain.variance() - strided.variance()).abs() <= 1e-13 * s.sigma().powi(2));
        }
    }

    /// DDIM's η strictly between 0 and 1 does not multiply: the strided chain is another process
    /// with the same marginals.
    #[test]
    fn eta_between_0_and_1_does_not_compose(
        lambdas in (-3.0..-1.0f64, -0.5..0.5f64, 1.0..3.0f64),
        eta in 0.3..0.9f64,
    ) {
        let level = |time, lambda: f64| {
            NoiseLevel::from_logs(time, -0.5 * (-2.0 * lambda).exp().ln_1p(), -0.5 * (2.0 * lambda).exp().ln_1p())
        };
        let t = level(3.0, lambdas.0).map_err(failed)?;
        let u = level(2.0, lambdas.1).map_err(failed)?;
        let s = level(1.0, lambdas.2).map_err(failed)?;
        let q = |a, b| StridedPosterior::new(a, b, Kappa::Eta(eta)).map_err(failed);
        let two = q(t, u)?.compose(&q(u, s)?).map_err(failed)?;
        let one = q(t, s)?;
        // κ²: (1 − η²(1−r₁²))(1 − η²(1−r₂²)) − (1 − η²(1−r₁²r₂²)) = −η²(1 − η²)(1 − r₁²)(1 − r₂²).
        let part = |h: f64| -f64::exp_m1(-2.0 * h);
        let gap = -eta * eta * (1.0 - eta * eta) * part(lambdas.1 - lambdas.0) * part(lambdas.2 - lambdas.1);
        prop_assert!((two.kappa().powi(2) - one.kappa().powi(2) - gap).abs() < 1e-13);
        prop_assert!(two.kappa() < one.kappa());
    }

    /// The forward step is the same joint distribution: x_t given x_s has the marginal of t.
    #[test]
    fn the_forward_step_keeps_marginals_and_inverts_the_joint_distribution(
        lambdas in (-6.0..0.9f64, 1.0..8.0f64),
        alphas in (0.05..20.0f64, 0.05..20.0f64),
        pick in choices(),
    ) {
        let level = |time, alpha: f64, lambda: f64| NoiseLevel::new(time, alpha, alpha * (-lambda).exp());
        let t = level(2.0, alphas.0, lambdas.0).map_err(failed)?;
        let s = level(1.0, alphas.1, lambdas.1).map_err(failed)?;
        let q = StridedPosterior::new(t, s, pick.on(&s)).map_err(failed)?;
        let up = q.forward_step().map_err(failed)?;
        let scale = t.alpha() + up.state.abs() * s.alpha();
        prop_assert!((up.state * s.alpha() + up.data - t.alpha()).abs() < 1e-13 * scale);
        let variance = (up.state * s.sigma()).powi(2) + up.noise.powi(2);
        prop_assert!(off(variance, t.sigma().powi(2)) < 1e-13);
        // Both directions have the covariance κ σ_t σ_s.
        let covariance = q.state_coefficient() * t.sigma().powi(2);
        prop_assert!((up.state * s.sigma().powi(2) - covariance).abs() < 1e-13 * t.sigma() * s.sigma());
        let ddpm = StridedPosterior::new(t, s, Kappa::Ddpm).map_err(failed)?.forward_step().map_err(failed)?;
        let step = Transition::forward_step(&s, &t).map_err(failed)?;
        prop_assert_eq!(ddpm.data, 0.0);
        prop_assert!(off(ddpm.state, step.state) < 1e-13);
        prop_assert!(off(ddpm.noise, step.noise) < 1e-13);
    }
}

//! Row 16: the ends of the range.

use diffusion_sampler::{
    Error as Refused, Grid, KeyedNoise, NoiseLevel, Prediction, RunError, Sampler, from_fn,
    plan::Plan,
    posterior::{Kappa, ReverseVariance, StridedPosterior},
    schedule::TableSchedule,
    solver::{DdimInversion, DpmSolverPlusPlus, FirstOrder, Heun, Path, SecondOrderForm, Solver},
};
use ndarray::{Array2, ArrayRef, Ix2};
use rand::{SeedableRng, rngs::SmallRng};

use super::super::Accept;
use super::super::Claim;
use super::common::{Outcome, edge, off};
use super::predictions::PREDICTIONS;

/// Row 16.
pub(crate) fn limits() -> Outcome<Vec<Claim>> {
    let mut rng = SmallRng::seed_from_u64(16);
    let policies = [
        Kappa::Ddim,
        Kappa::Ddpm,
        Kappa::Eta(0.5),
        Kappa::Eta(1.0),
        Kappa::Tau(0.3),
        Kappa::Tau(0.0),
        Kappa::Gamma(0.0),
        Kappa::Fresh,
        Kappa::CappedEta(0.5),
        Kappa::CappedEta(7.0),
        Kappa::FlowEta(0.5),
        Kappa::Ancestral(1.0),
    ];
    // Onto σ_s = 0, from any level.
    let mut clean = 0.0f64;
    for _ in 0..1000 {
        let (t, _) = edge(&mut rng)?;
        // An η that is too large anywhere else is none here.
        for kappa in policies.into_iter().chain([Kappa::FlowEta(7.0)]) {
            let q = StridedPosterior::new(t, NoiseLevel::clean(), kappa)?;
            clean = clean
                .max(q.state_coefficient().abs())
                .max((q.data_coefficient() - 1.0).abs())
                .max(q.gamma().abs());
        }
    }
    // From α_t = 0: r = 0, x_s = (σ_s/σ_t)κ x_t + α_s D + γz.
    let noise = NoiseLevel::new(1.0, 0.0, 1.0)?;
    let mut zero = 0.0f64;
    for _ in 0..1000 {
        let (_, s) = edge(&mut rng)?;
        for kappa in policies {
            let q = StridedPosterior::new(noise, s, kappa)?;
            let total = q.state_coefficient().powi(2) + q.variance();
            zero = zero
                .max(off(q.data_coefficient(), s.alpha(), s.alpha()))
                .max(off(total, s.sigma().powi(2), s.sigma().powi(2)));
        }
    }
    // κ = 0: nothing of x_t is kept, whichever way it is asked for.
    let mut fresh = 0.0f64;
    for _ in 0..1000 {
        let (t, s) = edge(&mut rng)?;
        for kappa in [Kappa::Fresh, Kappa::Gamma(s.sigma())] {
            let q = StridedPosterior::new(t, s, kappa)?;
            fresh = fresh
                .max(q.state_coefficient().abs())
                .max((q.data_coefficient() - s.alpha()).abs())
                .max((q.gamma() - s.sigma()).abs());
        }
    }
    let (runs, wrong) = extreme_runs()?;
    let exact = Accept::Below(1e-300);
    Ok(vec![
        Claim::new(
            "onto σ = 0 every policy returns D, exactly",
            "limit",
            clean,
            exact,
        ),
        Claim::new(
            "from α = 0 marginals match for every policy",
            "limit r = 0",
            zero,
            Accept::Below(1e-13),
        ),
        Claim::new("κ = 0 keeps nothing of x, exactly", "limit", fresh, exact),
        Claim::new(
            "runs with K = 1, zero terminal SNR and a clean end, every solver × prediction",
            "count",
            runs as f64,
            Accept::AtLeast(500.0),
        ),
        Claim::new(
            "of these neither finite nor refused with the right error",
            "ε, score and EDM are refused exactly where α = 0 is evaluated",
            wrong as f64,
            exact,
        ),
    ])
}

/// Every solver × prediction × extreme grid: (runs tried, runs that were neither finite nor rightly
/// refused).
fn extreme_runs() -> Outcome<(usize, usize)> {
    let linear = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let schedules = [
        linear.clone(),
        linear.zero_terminal_snr()?,
        TableSchedule::cosine(1000)?.zero_terminal_snr()?,
        TableSchedule::from_betas(&[1.0])?,
    ];
    let solvers: Vec<Box<dyn Solver>> = vec![
        Box::new(FirstOrder::ddim()),
        Box::new(FirstOrder::ddpm()),
        Box::new(FirstOrder::new(Kappa::Eta(0.5))),
        Box::new(FirstOrder::new(Kappa::Tau(0.5))),
        Box::new(FirstOrder::new(Kappa::Fresh)),
        Box::new(FirstOrder::ddpm().with_reverse_variance(ReverseVariance::FixedLarge)),
        Box::new(FirstOrder::ddpm().with_reverse_variance(ReverseVariance::Explicit(0.1))),
        Box::new(Heun::new()),
        Box::new(DpmSolverPlusPlus::new()),
        Box::new(DpmSolverPlusPlus::new().with_form(SecondOrderForm::Exact)),
        Box::new(DpmSolverPlusPlus::new().guarded()),
        Box::new(DpmSolverPlusPlus::new().with_tau(1.0)?),
        Box::new(DdimInversion::new()),
    ];
    let (mut tried, mut wrong) = (0, 0);
    for schedule in &schedules {
        for steps in [1usize, 2, 3, 10] {
            let Ok(grid) = Grid::trailing(schedule, steps) else {
                continue;
            };
            for solver in &solvers {
                let sampler = Sampler::along(&Path::without_schedule(&grid), &**solver)?;
                for prediction in PREDICTIONS {
                    tried += 1;
                    wrong += usize::from(!extreme_run(&sampler, prediction));
                }
            }
        }
    }
    Ok((tried, wrong))
}

/// Whether a run is finite, or refused because it evaluates ε, score or EDM at α = 0.
fn extreme_run(sampler: &Sampler, prediction: Prediction) -> bool {
    let evaluates_pure_noise = |plan: &Plan| {
        plan.stages()
            .any(|stage| stage.evaluate.is_some_and(|level| level.alpha() == 0.0))
    };
    let undefined_there = matches!(
        prediction,
        Prediction::Noise
            | Prediction::Score
            | Prediction::Edm { .. }
            | Prediction::EdmVelocity { .. }
    );
    let mut model = from_fn(
        prediction,
        |x: &ArrayRef<f64, Ix2>, _: &NoiseLevel, out: &mut ArrayRef<f64, Ix2>| {
            out.zip_mut_with(x, |o, &x| *o = (0.5 * x).tanh());
        },
    );
    // From a state that every plan can start from, inversion's too.
    let state = Array2::from_shape_fn((2, 3), |(i, j)| i as f64 - 0.4 * j as f64);
    let run = sampler
        .start_from(state, prediction, KeyedNoise::new(160))
        .map_err(RunError::Sampler)
        .and_then(|mut run| run.complete(&mut model).map(|()| run.into_state()));
    match run {
        Ok(x) => {
            x.iter().all(|value| value.is_finite())
                && !(undefined_there && evaluates_pure_noise(sampler.plan()))
        }
        Err(RunError::Sampler(Refused::PredictionUndefined { alpha, .. })) => {
            alpha == 0.0 && undefined_there && evaluates_pure_noise(sampler.plan())
        }
        Err(_) => false,
    }
}

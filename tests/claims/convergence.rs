//! Orders of convergence: every solver against an exact solution, and samplers in distribution against
//! exact moments.

use std::error::Error;

use diffusion_sampler::{
    Grid, KeyedNoise, NoiseLevel, Prediction, Sampler,
    moments::{weak_errors, weak_order},
    oracle::{Gaussian, GaussianMixture, Oracle},
    schedule::{NoiseSchedule, TableSchedule, VariancePreserving},
    solver::{DdimInversion, Entry, FirstOrder, Path, Solver, catalogue},
};
use ndarray::{Array2, array};

use super::{Accept, Claim};

/// The states at λ = −3 from which every solver runs.
const STARTS: [f64; 3] = [0.3, -1.1, 0.8];
/// The two modes are at ± this.
const MODE: f64 = 0.7;
/// The modes' variances: sharp, smooth, and nearly one Gaussian. A solver may show a higher order
/// on one of them.
const VARIANCES: [f64; 3] = [0.05, 0.5, 3.0];
pub(crate) const LAMBDA: (f64, f64) = (-3.0, 3.0);

/// The claims of this topic.
pub(crate) fn claims() -> Result<Vec<Claim>, Box<dyn Error>> {
    let mut claims = strong()?;
    claims.extend(weak()?);
    claims.extend(round_trip()?);
    claims.push(mean_defect()?);
    Ok(claims)
}

/// The largest mean defect of every built-in solver on five spacings, K = 2 to 50.
fn mean_defect() -> Result<Claim, Box<dyn Error>> {
    let table = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let mut worst = 0.0f64;
    for steps in [2, 7, 20, 50] {
        let range = table.lambda_range();
        for grid in [
            Grid::trailing(&table, steps)?,
            Grid::leading(&table, steps, 1)?,
            Grid::quadratic(&table, steps)?,
            Grid::uniform_lambda(&table, steps, range)?,
            Grid::karras(&table, steps, range, 7.0)?,
        ] {
            let path = Path::new(&table, &grid)?;
            // LCM misses the mean by its boundary scalings, by design.
            for entry in catalogue().iter().filter(|entry| entry.name != "LCM") {
                let plan = entry.solver.plan(&path)?;
                worst = plan.mean_defect()?.into_iter().fold(worst, f64::max);
            }
        }
    }
    Ok(Claim::new(
        "given x₀ exactly, every solver's every step but LCM's reaches its mean, five spacings",
        "α_s x₀, relative to the terms",
        worst,
        Accept::Below(1e-12),
    ))
}

/// α² of the variance-preserving level at λ.
fn alpha_squared(lambda: f64) -> f64 {
    1.0 / (1.0 + (-2.0 * lambda).exp())
}

/// K steps of equal size in λ, variance preserving, without a clean end.
pub(crate) fn uniform_lambda(steps: usize, (from, to): (f64, f64)) -> Result<Grid, Box<dyn Error>> {
    let levels = (0..=steps)
        .map(|k| {
            let lambda = from + (to - from) * k as f64 / steps as f64;
            let log_alpha_squared = -(-2.0 * lambda).exp().ln_1p();
            NoiseLevel::variance_preserving((steps - k) as f64, log_alpha_squared)
        })
        .collect::<Result<_, _>>()?;
    Ok(Grid::from_levels(levels, 1.0)?)
}

/// log₂ of how much the error shrinks from 160 steps to 320.
pub(crate) fn slope(
    error: impl Fn(usize) -> Result<f64, Box<dyn Error>>,
) -> Result<f64, Box<dyn Error>> {
    Ok((error(160)? / error(320)?).log2())
}

/// The largest of some errors.
fn largest(errors: &[f64]) -> f64 {
    errors.iter().fold(0.0, |largest, e| largest.max(e.abs()))
}

/// The slope from 160 steps to 320 of errors that a solver of this order makes, with their sign, without
/// their term of the next order: of 2^(p+1) e(h/2) − e(h).
fn slope_without_next(
    order: usize,
    errors: impl Fn(usize) -> Result<Vec<f64>, Box<dyn Error>>,
) -> Result<f64, Box<dyn Error>> {
    let factor = 2.0f64.powi(order as i32 + 1);
    let [coarse, middle, fine] = [errors(160)?, errors(320)?, errors(640)?];
    let rest = |coarse: &[f64], fine: &[f64]| {
        let pairs = coarse.iter().zip(fine);
        largest(&pairs.map(|(c, f)| factor * f - c).collect::<Vec<_>>())
    };
    Ok((rest(&coarse, &middle) / rest(&middle, &fine)).log2())
}

/// The flow dx/dλ = αD − α²x of ½N(±m, v), by `steps` steps of the classical fourth-order
/// Runge–Kutta method.
///
/// For two equal modes D = (αv x + σ²m tanh(αmx/s²))/s² with s² = α²v + σ²: written out here, not
/// taken from the crate.
fn reference(start: f64, variance: f64, (from, to): (f64, f64), steps: usize) -> f64 {
    let velocity = |lambda: f64, x: f64| {
        let a2 = alpha_squared(lambda);
        let alpha = a2.sqrt();
        let spread = a2 * variance + (1.0 - a2);
        let towards = (alpha * MODE * x / spread).tanh();
        let data = (alpha * variance * x + (1.0 - a2) * MODE * towards) / spread;
        alpha * data - a2 * x
    };
    let h = (to - from) / steps as f64;
    (0..steps).fold(start, |x, k| {
        let lambda = from + h * k as f64;
        let k1 = velocity(lambda, x);
        let k2 = velocity(lambda + 0.5 * h, x + 0.5 * h * k1);
        let k3 = velocity(lambda + 0.5 * h, x + 0.5 * h * k2);
        let k4 = velocity(lambda + h, x + h * k3);
        x + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
    })
}

const REFERENCE_STEPS: usize = 16_000;

fn mixture(variance: f64) -> Result<GaussianMixture, Box<dyn Error>> {
    let modes = vec![
        Gaussian::isotropic(&[-MODE], variance)?,
        Gaussian::isotropic(&[MODE], variance)?,
    ];
    Ok(GaussianMixture::new(&[0.5, 0.5], modes, vec![0, 1])?)
}

/// K steps of equal size in λ on a schedule, which knows the levels between them.
pub(crate) fn scheduled(
    schedule: &VariancePreserving,
    steps: usize,
) -> Result<Grid, Box<dyn Error>> {
    Ok(Grid::from_lambdas(schedule, &lambdas(steps))?)
}

/// λ of every knot.
fn lambdas(steps: usize) -> Vec<f64> {
    (0..=steps)
        .map(|k| LAMBDA.0 + (LAMBDA.1 - LAMBDA.0) * k as f64 / steps as f64)
        .collect()
}

/// The way that a solver takes in λ.
fn way(entry: &Entry) -> (f64, f64) {
    if entry.inverts {
        (LAMBDA.1, LAMBDA.0)
    } else {
        LAMBDA
    }
}

/// Families that reach their order from their own first steps: single-step ones, and multistep ones
/// that correct the first steps, or take them by a single-step method.
const SELF_STARTING: &[&str] = &["UniPC", "SA-Solver", "warmed up"];

/// How many first steps are replaced by the exact flow.
///
/// A multistep method of order p has p − 1 first steps of lower orders, and the error that these
/// leave would be all that is seen. The state is replaced, so that the next estimates are exact. A
/// single-step method does not mind. After a predictor-corrector's steps the state is the predicted
/// one, which the exact flow must not replace.
fn exact_steps(entry: &Entry) -> usize {
    let own = SELF_STARTING.iter().any(|name| entry.name.contains(name));
    if own || entry.inverts {
        0
    } else {
        entry.solver.order() - 1
    }
}

/// The largest error of the three runs at the end.
fn error(entry: &Entry, variance: f64, steps: usize) -> Result<f64, Box<dyn Error>> {
    error_after(entry, exact_steps(entry), variance, steps)
}

/// The same where the first `exact` steps are replaced by the exact flow.
fn error_after(
    entry: &Entry,
    exact: usize,
    variance: f64,
    steps: usize,
) -> Result<f64, Box<dyn Error>> {
    error_of(&entry.solver, way(entry), exact, variance, steps)
}

/// The same of any solver.
pub(crate) fn error_of(
    solver: &dyn Solver,
    way: (f64, f64),
    exact: usize,
    variance: f64,
    steps: usize,
) -> Result<f64, Box<dyn Error>> {
    Ok(largest(&errors_after(solver, way, exact, variance, steps)?))
}

/// The errors of the three runs, with their sign.
fn errors_after(
    solver: &dyn Solver,
    way: (f64, f64),
    exact: usize,
    variance: f64,
    steps: usize,
) -> Result<Vec<f64>, Box<dyn Error>> {
    let schedule = VariancePreserving::default();
    let grid = scheduled(&schedule, steps)?;
    let sampler = Sampler::new(&schedule, &grid, &solver)?;
    let mut model = mixture(variance)?.denoiser(Prediction::Noise);
    let x = array![[STARTS[0]], [STARTS[1]], [STARTS[2]]];
    let mut run = sampler.start_from(x, Prediction::Noise, KeyedNoise::new(0))?;
    for level in grid.levels().iter().skip(1).take(exact) {
        run.advance(&mut model)?;
        for (x, start) in run.state_mut().iter_mut().zip(STARTS) {
            *x = reference(
                start,
                variance,
                (LAMBDA.0, level.lambda()),
                REFERENCE_STEPS / 8,
            );
        }
    }
    run.complete(&mut model)?;
    let exact = |start| reference(start, variance, way, REFERENCE_STEPS);
    Ok(run
        .state()
        .iter()
        .zip(STARTS)
        .map(|(&end, start)| end - exact(start))
        .collect())
}

fn is_stochastic(entry: &Entry) -> Result<bool, Box<dyn Error>> {
    let schedule = VariancePreserving::default();
    let grid = scheduled(&schedule, 4)?;
    Ok(entry
        .solver
        .plan(&Path::new(&schedule, &grid)?)?
        .is_stochastic())
}

/// Solvers whose slope is not accepted around the order that they state, and why.
const EXCEPTIONS: &[(&str, Accept)] = &[
    // Half of the second difference is right, which shows on smooth data.
    ("DPM-Solver++(3M), as published", Accept::Within(1.9, 2.2)),
    // Its first steps have errors of order 3 and 4 only.
    ("UniPC-3", Accept::Within(3.0, 4.1)),
    // Its weights sum to one where neighbouring steps have one ratio, as here; else its order is 2.
    ("iPNDM-v 4, as published", Accept::Within(2.7, 3.1)),
    // Its weights pass by second order's where the noise is half the run's: the first-order
    // errors before and after have opposite signs and nearly cancel.
    ("Heun++ in flow time", Accept::Within(0.7, 1.2)),
];

/// Solvers whose error of the next order is large beside that of their own, so that a plain slope would
/// say little: it falls towards the order at thousands of steps only.
const NEXT_ORDER_SHOWS: &[&str] = &["DPM-Solver++(3M)", "UniP-3", "SA-Solver 2/2", "ER-SDE 3"];

/// The slopes that are accepted for a solver of this name and order: 5 % around orders 1 and 2; of
/// higher orders more of the next term is seen at these step sizes.
pub(crate) fn accepted(name: &str, order: usize) -> Accept {
    if let Some((_, accept)) = EXCEPTIONS.iter().find(|(known, _)| *known == name) {
        return *accept;
    }
    match order {
        3 => Accept::Within(2.8, 3.4),
        4 => Accept::Within(3.6, 4.2),
        _ => Accept::near(order as f64, 0.05),
    }
}

/// The number of steps near `steps`: groups of two and three edges need a multiple of both, or the
/// order of the last ones is lower.
fn whole_groups(entry: &Entry, steps: usize) -> usize {
    if entry.name.starts_with("grouped") {
        steps / 160 * 162
    } else {
        steps
    }
}

/// Order of the states: every deterministic solver, up as well as down.
fn strong() -> Result<Vec<Claim>, Box<dyn Error>> {
    let halving = VARIANCES
        .iter()
        .flat_map(|&v| STARTS.map(|x| (v, x)))
        .flat_map(|(v, x)| [LAMBDA, (LAMBDA.1, LAMBDA.0)].map(|way| (v, x, way)))
        .map(|(v, x, way)| {
            let [whole, half] = [REFERENCE_STEPS, REFERENCE_STEPS / 2];
            (reference(x, v, way, whole) - reference(x, v, way, half)).abs()
        })
        .fold(0.0, f64::max);
    let mut claims = vec![Claim::new(
        "the reference solution is accurate",
        "twice its step",
        halving,
        Accept::Below(1e-12),
    )];
    for entry in catalogue() {
        if is_stochastic(&entry)? {
            continue;
        }
        for variance in VARIANCES {
            if entry.name.contains("warmed up") {
                // The start's error and the rest may cancel, so that a slope says little. Without
                // the warm-up this is a second-order error over one of a higher order.
                let order = entry.solver.order();
                claims.push(Claim::new(
                    format!(
                        "error of {} on ½N(±0.7, {variance}), of that from an exact start",
                        entry.name
                    ),
                    "Runge–Kutta solution to 1e-12, 640 steps",
                    error_after(&entry, 0, variance, 640)?
                        / error_after(&entry, order - 1, variance, 640)?,
                    Accept::Below(1.15),
                ));
                continue;
            }
            if NEXT_ORDER_SHOWS.contains(&entry.name) {
                let order = entry.solver.order();
                claims.push(Claim::new(
                    format!("order of {} on ½N(±0.7, {variance})", entry.name),
                    "Runge–Kutta solution to 1e-12, log₂(e₁₆₀/e₃₂₀) without the next order",
                    slope_without_next(order, |steps| {
                        errors_after(
                            &entry.solver,
                            way(&entry),
                            exact_steps(&entry),
                            variance,
                            steps,
                        )
                    })?,
                    Accept::near(order as f64, 0.05),
                ));
                continue;
            }
            claims.push(Claim::new(
                format!("order of {} on ½N(±0.7, {variance})", entry.name),
                "Runge–Kutta solution to 1e-12, log₂(e₁₆₀/e₃₂₀)",
                slope(|steps| error(&entry, variance, whole_groups(&entry, steps)))?,
                accepted(entry.name, entry.solver.order()),
            ));
        }
    }
    Ok(claims)
}

/// Four variances: a solver may show a higher order on one of them.
fn spectrum() -> Result<Gaussian, Box<dyn Error>> {
    Ok(Gaussian::diagonal(&[0.0; 4], &[0.05, 0.3, 1.0, 3.0])?)
}

/// log₂ of how much the largest relative error of the variance shrinks from 160 steps to 320, from the
/// exact distribution at the start.
pub(crate) fn weak_slope(solver: &dyn Solver) -> Result<f64, Box<dyn Error>> {
    let schedule = VariancePreserving::default();
    let grid = |steps| Grid::from_lambdas(&schedule, &lambdas(steps));
    Ok(weak_order(solver, &schedule, grid, &spectrum()?, 160)?.slope())
}

/// The errors of the four variances, with their sign.
fn signed_weak_errors(solver: &dyn Solver, steps: usize) -> Result<Vec<f64>, Box<dyn Error>> {
    let schedule = VariancePreserving::default();
    let grid = scheduled(&schedule, steps)?;
    Ok(weak_errors(
        solver,
        &Path::new(&schedule, &grid)?,
        &spectrum()?,
    )?)
}

/// Order of the distribution: every stochastic solver.
///
/// Fresh noise (κ = 0) is the exception. It forgets x_t, and draws x_s around α_s D(x_t): as h → 0
/// the variance tends to the fixed point of v = α²g²v + σ², g being the slope of D, which is not
/// the marginal's α²v_data + σ². It has the right marginals given x₀, and no limit to converge to.
/// TCD is as it: its κ does not tend to 1 with h. So is LCM, whose boundary scalings mean nothing
/// on this schedule's times besides.
fn weak() -> Result<Vec<Claim>, Box<dyn Error>> {
    let mut claims = Vec::new();
    for entry in catalogue() {
        if !is_stochastic(&entry)? || entry.name == "LCM" {
            continue;
        }
        let Entry { name, solver, .. } = entry;
        if NEXT_ORDER_SHOWS.contains(&name) {
            let expected = solver.order();
            claims.push(Claim::new(
                format!("weak order of {name} on Gaussians"),
                "exact moments, log₂(e₁₆₀/e₃₂₀) without the next order",
                slope_without_next(expected, |steps| signed_weak_errors(&solver, steps))?,
                Accept::near(expected as f64, 0.05),
            ));
            continue;
        }
        let order = weak_slope(&solver)?;
        let oracle = "exact moments, log₂(e₁₆₀/e₃₂₀)";
        claims.push(if name == "TCD" {
            Claim::new(
                format!("{name} does not converge on Gaussians: its order is far below 1"),
                oracle,
                order,
                Accept::Below(0.5),
            )
        } else if name == "fresh noise" {
            Claim::new(
                format!("{name} does not converge: its order on Gaussians is 0"),
                oracle,
                order,
                Accept::Within(-0.05, 0.05),
            )
        } else {
            Claim::new(
                format!("weak order of {name} on Gaussians"),
                oracle,
                order,
                accepted(name, solver.order()),
            )
        });
    }
    Ok(claims)
}

/// DDIM inversion up to noise and DDIM back down, on data of the mixture: the largest error of the
/// round trip.
fn inversion_error(variance: f64, grid: &Grid) -> Result<f64, Box<dyn Error>> {
    let mut model = mixture(variance)?.denoiser(Prediction::Noise);
    let data: Array2<f64> = array![[-1.1], [-0.7], [-0.2], [0.3], [0.8], [1.3]];
    let mut up = Sampler::along(&Path::without_schedule(grid), &DdimInversion::new())?.start_from(
        data.clone(),
        Prediction::Noise,
        KeyedNoise::new(0),
    )?;
    up.complete(&mut model)?;
    let mut down = Sampler::along(&Path::without_schedule(grid), &FirstOrder::ddim())?.start_from(
        up.into_state(),
        Prediction::Noise,
        KeyedNoise::new(0),
    )?;
    down.complete(&mut model)?;
    Ok((&data - &down.into_state())
        .iter()
        .fold(0.0, |largest, d| f64::max(largest, d.abs())))
}

fn round_trip() -> Result<Vec<Claim>, Box<dyn Error>> {
    let table = Grid::trailing(&TableSchedule::linear(1000, 1e-4, 0.02)?, 50)?;
    let continuous = VariancePreserving::default();
    let mut claims = Vec::new();
    for variance in VARIANCES {
        claims.push(Claim::new(
            format!("order of the DDIM round trip between λ = ±3 on ½N(±0.7, {variance})"),
            "exact mixture, log₂(e₁₆₀/e₃₂₀)",
            slope(|steps| inversion_error(variance, &uniform_lambda(steps, LAMBDA)?))?,
            Accept::Within(0.9, 1.1),
        ));
        let error = |steps| inversion_error(variance, &Grid::trailing(&continuous, steps)?);
        claims.push(Claim::new(
            format!("order of the DDIM round trip x₀ → x_T → x₀ on ½N(±0.7, {variance})"),
            "exact mixture, continuous schedule, log₂(e₂₀₀₀/e₄₀₀₀)",
            (error(2000)? / error(4000)?).log2(),
            Accept::Within(0.9, 1.1),
        ));
        claims.push(Claim::new(
            format!("largest error of the DDIM round trip in 50 steps on ½N(±0.7, {variance})"),
            "exact mixture, linear schedule of 1000, data in [−1.1, 1.3]",
            inversion_error(variance, &table)?,
            Accept::Below(0.2),
        ));
    }
    Ok(claims)
}

//! Distributions without a sample drawn: guided ones, whatever the axes; masses of modes by
//! quadrature, beside samples.

use std::error::Error;

use diffusion_sampler::{
    Grid, KeyedNoise, NoiseLevel, Prediction, Sampler,
    denoiser::{Guided, Models},
    guidance::{ClassifierFree, Guidance, PlusPlus},
    moments::GuidedGaussian,
    oracle::{Gaussian, GaussianMixture, Oracle},
    schedule::{TableSchedule, VariancePreserving},
    solver::{DpmSolverPlusPlus, FirstOrder, Heun, Path, Solver, catalogue},
};
use ndarray::{Array2, array};

use super::convergence::{slope, uniform_lambda};
use super::{Accept, Claim};

/// The claims of this topic.
pub(crate) fn claims() -> Result<Vec<Claim>, Box<dyn Error>> {
    let mut claims = vec![across_axes()?, affine_map()?];
    claims.extend(guided_flow()?);
    claims.extend(modes()?);
    Ok(claims)
}

/// The largest difference of means and covariances, relative to the larger of their size and one:
/// some of the catalogue's solvers blow up in seven steps.
fn difference(a: &Gaussian, b: &Gaussian) -> f64 {
    let (Ok((m, c)), Ok((n, e))) = (a.moments(), b.moments()) else {
        return f64::INFINITY;
    };
    let size = e.iter().fold(1.0, |size: f64, v| size.max(v.abs()));
    let means = m.iter().zip(&n).map(|(a, b)| (a - b).abs() / size.sqrt());
    let covariances = c.iter().zip(&e).map(|(a, b)| (a - b).abs() / size);
    means.chain(covariances).fold(0.0, f64::max)
}

/// The plane turned by 0.7.
fn turned(gaussian: &Gaussian) -> Result<Gaussian, Box<dyn Error>> {
    let (c, s) = (0.7f64.cos(), 0.7f64.sin());
    let turn = array![[c, -s], [s, c]];
    let (mean, covariance) = gaussian.moments()?;
    let covariance: Array2<f64> = turn.dot(&covariance).dot(&turn.t());
    let mean = turn.dot(&ndarray::Array1::from(mean)).to_vec();
    Ok(Gaussian::new(
        &mean,
        &((&covariance + &covariance.t()) * 0.5),
    )?)
}

/// Guided by two Gaussians whose axes are shared to rounding only, every solver goes through as
/// matrices; with the same ones unturned, axis by axis.
fn across_axes() -> Result<Claim, Box<dyn Error>> {
    let data = [
        Gaussian::diagonal(&[1.0, -1.0], &[0.3, 0.05])?,
        Gaussian::diagonal(&[0.1, 0.4], &[1.0, 2.0])?,
    ];
    let initial = Gaussian::diagonal(&[0.1, -0.1], &[1.0, 0.8])?;
    let other = [turned(&data[0])?, turned(&data[1])?];
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let grid = Grid::trailing(&schedule, 7)?;
    let forms: [&dyn Guidance; 2] = [&ClassifierFree::with_scale(2.5)?, &PlusPlus::new(0.6)?];
    let mut worst = 0.0f64;
    for entry in catalogue().into_iter().filter(|entry| !entry.inverts) {
        let plan = entry.solver.plan(&Path::new(&schedule, &grid)?)?;
        for form in forms {
            let along = plan.guided_moments(form, Prediction::Noise, &data, &initial)?;
            let turned_start = turned(&initial)?;
            let across = plan.guided_moments(form, Prediction::Noise, &other, &turned_start)?;
            for (a, b) in along.iter().zip(&across) {
                worst = worst.max(difference(&turned(a)?, b));
            }
        }
    }
    Ok(Claim::new(
        "guided moments across axes are those along axes, every solver, CFG and CFG++, relative",
        "the same Gaussians turned by a rotation",
        worst,
        Accept::Below(1e-12),
    ))
}

/// A guided run that draws nothing is one affine map of x_T, read off its runs from 0 and from the unit
/// vectors. tests/distributions/guided.rs does the same with the noises of the stochastic solvers.
fn affine_map() -> Result<Claim, Box<dyn Error>> {
    let data = [
        Gaussian::new(&[1.0, -1.0], &array![[0.5, 0.2], [0.2, 0.4]])?,
        Gaussian::new(&[0.2, 0.0], &array![[2.0, -0.6], [-0.6, 1.0]])?,
    ];
    let [class, all] = &data;
    let grid = uniform_lambda(8, (-2.5, 3.0))?;
    let schedule = VariancePreserving::default();
    let knots: Vec<f64> = grid.levels().iter().map(NoiseLevel::lambda).collect();
    let grid = Grid::from_lambdas(&schedule, &knots)?;
    let mut worst = 0.0f64;
    for entry in catalogue().into_iter().filter(|entry| !entry.inverts) {
        let sampler = Sampler::new(&schedule, &grid, &entry.solver)?;
        if sampler.plan().is_stochastic() {
            continue;
        }
        let form = PlusPlus::new(0.6)?;
        let models = Models((
            class.denoiser(Prediction::Noise),
            all.denoiser(Prediction::Noise),
        ));
        let x = array![[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]];
        let mut run = sampler.start_from(x, Prediction::Noise, KeyedNoise::new(0))?;
        run.complete(&mut Guided::new(models, form))?;
        let x = run.into_state();
        let map = array![
            [x[[1, 0]] - x[[0, 0]], x[[2, 0]] - x[[0, 0]]],
            [x[[1, 1]] - x[[0, 1]], x[[2, 1]] - x[[0, 1]]]
        ];
        let covariance: Array2<f64> = map.dot(&map.t()) * sampler.start_variance();
        let states = sampler.guided_moments(&form, Prediction::Noise, &data)?;
        let found = Gaussian::new(&[x[[0, 0]], x[[0, 1]]], &covariance)?;
        worst = worst.max(difference(&states[7], &found));
    }
    Ok(Claim::new(
        "moments under CFG++ are the affine map of its runs, every deterministic solver",
        "runs from 0 and from the unit vectors, axes of the two Gaussians differ, relative",
        worst,
        Accept::Below(1e-12),
    ))
}

/// λ of both ends, and of the guided pair: means apart, so that the flow's integral counts.
const RANGE: (f64, f64) = (-6.0, 6.0);

fn guided_flow() -> Result<Vec<Claim>, Box<dyn Error>> {
    let mut claims = Vec::new();
    let (noise, clean) = (NoiseLevel::new(1.0, 0.0, 1.0)?, NoiseLevel::clean());
    let class = Gaussian::isotropic(&[0.0], 0.25)?;
    let all = Gaussian::centred(1, 1.0)?;
    for w in [1.0, 2.0, 4.0] {
        let exact = GuidedGaussian::classifier_free(w, class.clone(), all.clone())?;
        let expected = 0.25f64.powf(0.5 * (1.0 + w));
        let flow = exact.flow(&all, &noise, &clean)?;
        claims.push(Claim::new(
            format!("standard deviation of the guided flow at w = {w}, from α = 0 to σ = 0"),
            "v_c^((1+w)/2) v_u^(−w/2): .25, .125, .03125",
            (flow.variances()[0].sqrt() - expected).abs(),
            Accept::Below(1e-14),
        ));
        let path = uniform_lambda(4000, RANGE)?;
        let plan = FirstOrder::ddim().plan(&Path::without_schedule(&path))?;
        let form = ClassifierFree::with_weight(w)?;
        let outputs = [class.clone(), all.clone()];
        let states = plan.guided_moments(&form, Prediction::Noise, &outputs, &all)?;
        claims.push(Claim::new(
            format!("standard deviation of guided DDIM in 4000 steps at w = {w}, by moments"),
            "closed form, ±1e-3",
            states[3999].variances()[0].sqrt(),
            Accept::Within(expected - 1e-3, expected + 1e-3),
        ));
    }
    let apart = [
        Gaussian::diagonal(&[1.0, -0.5], &[0.25, 0.1])?,
        Gaussian::diagonal(&[-0.5, 0.3], &[1.0, 0.8])?,
    ];
    let [c, u] = apart.clone();
    let exact = GuidedGaussian::classifier_free(2.0, c, u)?;
    let solvers: [(&str, &dyn Solver, f64); 3] = [
        ("DDIM", &FirstOrder::ddim(), 1.0),
        ("DPM-Solver++(2M)", &DpmSolverPlusPlus::new(), 2.0),
        ("Heun", &Heun::new(), 2.0),
    ];
    for (name, solver, order) in solvers {
        let found = slope(|steps| {
            let grid = uniform_lambda(steps, RANGE)?;
            let plan = solver.plan(&Path::without_schedule(&grid))?;
            let form = ClassifierFree::with_weight(2.0)?;
            let initial = Gaussian::centred(2, 1.0)?;
            let states = plan.guided_moments(&form, Prediction::Noise, &apart, &initial)?;
            let truth = exact.flow(&initial, &grid.start(), &grid.end())?;
            Ok(states[steps - 1].wasserstein_squared(&truth)?.sqrt())
        })?;
        claims.push(Claim::new(
            format!("order of {name} towards the guided flow of Gaussians apart, w = 2"),
            "closed form with its integral, W₂, log₂(e₁₆₀/e₃₂₀)",
            found,
            Accept::near(order, 0.05),
        ));
    }
    Ok(claims)
}

/// Three tenths at −1.5, seven at 1.
fn two_modes() -> Result<GaussianMixture, Box<dyn Error>> {
    let modes = vec![
        Gaussian::isotropic(&[-1.5], 0.05)?,
        Gaussian::isotropic(&[1.0], 0.1)?,
    ];
    Ok(GaussianMixture::new(&[0.3, 0.7], modes, vec![0, 1])?)
}

const DRAWS: (usize, usize) = (1_000_000, 1);
/// The critical value of √n·D at 0.1 %: 2·Σ(−1)^(j+1) e^(−2j²x²) = 0.001.
const CRITICAL: f64 = 1.9495;

fn modes() -> Result<Vec<Claim>, Box<dyn Error>> {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let grid = Grid::trailing(&schedule, 8)?;
    let (data, mut claims) = (two_modes()?, Vec::new());
    let one = Gaussian::isotropic(&[0.7], 0.3)?;
    let single = GaussianMixture::new(&[1.0], vec![one.clone()], vec![0])?;
    let sde = DpmSolverPlusPlus::sde();
    let solvers: [(&str, &dyn Solver); 3] = [
        ("DDIM", &FirstOrder::ddim()),
        ("DDPM", &FirstOrder::ddpm()),
        ("2M SDE", &sde),
    ];
    for (name, solver) in solvers {
        let sampler = Sampler::new(&schedule, &grid, solver)?;
        let report = sampler.modes(&mut (&one).denoiser(Prediction::Noise), &single, 1e-10)?;
        let states = sampler.moments(&one)?;
        let miss = (report.mean()[0] - states[7].mean()[0]).abs();
        let spread = (report.covariance()[[0, 0]] - states[7].variances()[0]).abs();
        claims.push(Claim::new(
            format!("quadrature of {name} in 8 steps on one Gaussian"),
            "moments",
            miss.max(spread),
            Accept::Below(1e-9),
        ));
    }
    for (name, solver) in &solvers[..2] {
        let sampler = Sampler::new(&schedule, &grid, *solver)?;
        let mut model = (&data).denoiser(Prediction::Noise);
        let report = sampler.modes(&mut model, &data, 1e-8)?;
        let draws: Array2<f64> = sampler.sample(&mut model, DRAWS, 2026)?;
        let draws = draws.into_raw_vec_and_offset().0;
        claims.push(Claim::new(
            format!("mass of the mode of weight 0.3 in 10⁶ samples of {name} in 8 steps"),
            "quadrature, in standard errors",
            mass_error(&draws, &data, report.masses()[0])?,
            Accept::Below(3.3),
        ));
        let (points, weights) = report.points();
        let points: Vec<f64> = points.iter().copied().collect();
        claims.push(Claim::new(
            format!("10⁶ samples of {name} in 8 steps on two modes"),
            "Kolmogorov–Smirnov √n·D to the quadrature, critical value at 0.1 %",
            kolmogorov_smirnov(draws, &points, weights),
            Accept::Below(CRITICAL),
        ));
    }
    Ok(claims)
}

/// The mean responsibility of mode 0 against `expected`, in standard errors.
fn mass_error(draws: &[f64], data: &GaussianMixture, expected: f64) -> Result<f64, Box<dyn Error>> {
    let (mut sum, mut squares) = (0.0, 0.0);
    for &x in draws {
        let share = data.responsibilities(&[x], &NoiseLevel::clean())?[0];
        sum += share;
        squares += share * share;
    }
    let n = draws.len() as f64;
    let variance = squares / n - (sum / n).powi(2);
    Ok((sum / n - expected).abs() / (variance / n).sqrt())
}

/// √n times the largest distance between the samples' distribution function and that of weighted
/// points, linear between the middles of their masses.
fn kolmogorov_smirnov(mut draws: Vec<f64>, points: &[f64], weights: &[f64]) -> f64 {
    let mut order: Vec<usize> = (0..points.len()).collect();
    order.sort_by(|&a, &b| points[a].total_cmp(&points[b]));
    let mut sum = 0.0;
    let steps: Vec<(f64, f64)> = order
        .iter()
        .map(|&i| {
            sum += weights[i];
            (points[i], sum - 0.5 * weights[i])
        })
        .collect();
    draws.sort_unstable_by(f64::total_cmp);
    let (n, mut at, mut distance) = (draws.len() as f64, 0, 0.0f64);
    for (i, &x) in draws.iter().enumerate() {
        while at + 1 < steps.len() && steps[at + 1].0 <= x {
            at += 1;
        }
        let (low, high) = (steps[at], steps[(at + 1).min(steps.len() - 1)]);
        let p = if high.0 > low.0 {
            low.1 + (high.1 - low.1) * (x - low.0) / (high.0 - low.0)
        } else {
            low.1
        };
        distance = distance.max(p - i as f64 / n).max((i + 1) as f64 / n - p);
    }
    distance * n.sqrt()
}

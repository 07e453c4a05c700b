//! Rows 11 and 13, and the bound below the flow's log-likelihood: reverse variances, and the
//! probability flow.

use std::error::Error;
use std::f64::consts::PI;

use diffusion_sampler::{
    Grid, NoiseLevel, Prediction,
    likelihood::{Decoder, EdgeVariance, Elbo, FlowLikelihood, Probes},
    oracle::{Gaussian, GaussianMixture, Oracle},
    posterior::{AnalyticVariance, DataErrors, Kappa, ReverseVariance, StridedPosterior},
    schedule::{
        NoiseSchedule, RectifiedFlow, TableSchedule, VarianceExploding, VariancePreserving,
    },
    solver::{FirstOrder, Path, Solver},
};
use ndarray::{Array2, array};

use super::{Accept, Claim};

/// The claims of this topic.
pub(crate) fn claims() -> Result<Vec<Claim>, Box<dyn Error>> {
    let mut claims = vec![exact_distribution()?, least_cost()?, learned_form()?];
    claims.extend(ring_density()?);
    claims.extend([order()?, schedules_agree()?]);
    claims.extend(hutchinson()?);
    claims.extend(bound_below_flow()?);
    Ok(claims)
}

fn linear() -> Result<TableSchedule, diffusion_sampler::Error> {
    TableSchedule::linear(1000, 1e-4, 0.02)
}

/// vσ²/(α²v + σ²) by the precisions of data and noise.
fn posterior_variance(v: f64, level: &NoiseLevel) -> f64 {
    1.0 / (1.0 / v + level.snr())
}

fn exact_distribution() -> Result<Claim, Box<dyn Error>> {
    let schedule = linear()?;
    let strides: [&[f64]; 5] = [
        &[1000.0, 0.0],
        &[1000.0, 17.0, 0.0],
        &[1000.0, 999.0, 500.0, 3.0, 0.0],
        &[1000.0, 800.0, 600.0, 400.0, 200.0, 0.0],
        &[
            1000.0, 912.0, 911.0, 402.0, 300.0, 120.0, 40.0, 2.0, 1.0, 0.0,
        ],
    ];
    let kappas = [
        Kappa::Ddim,
        Kappa::Ddpm,
        Kappa::Eta(0.5),
        Kappa::Tau(0.7),
        Kappa::Fresh,
    ];
    let mut largest = 0.0f64;
    for times in strides {
        let grid = Grid::from_times(&schedule, times)?;
        let path = Path::new(&schedule, &grid)?;
        for kappa in kappas {
            for v in [1e-4, 0.03, 0.7, 4.0] {
                let levels = grid.levels()[..grid.steps()].to_vec();
                let errors = levels.iter().map(|level| posterior_variance(v, level));
                let table = DataErrors::new(1, v, levels.clone(), errors.collect())?;
                let variance = AnalyticVariance::new(table)?.with_final_noise();
                let plan = FirstOrder::new(kappa)
                    .with_analytic_variance(variance)
                    .plan(&path)?;
                let data = Gaussian::isotropic(&[1.5], v)?;
                let states = plan.moments(&data, &data.at_level(&grid.start())?)?;
                for (state, step) in states.iter().zip(plan.steps()) {
                    let expected = step.to.marginal_variance(v);
                    let miss = (state.variances()[0] / expected - 1.0).abs();
                    largest = largest.max(miss);
                }
            }
        }
    }
    Ok(Claim::new(
        "the analytic variance of each direction samples Gaussian data exactly, after every step \
         of any K, stride and κ (relative variance)",
        "N(αm, α²v + σ²) at every level, from the exact start, noise also onto σ = 0",
        largest,
        Accept::Below(1e-12),
    ))
}

fn least_cost() -> Result<Claim, Box<dyn Error>> {
    let schedule = linear()?;
    let mut smallest = f64::INFINITY;
    for (from, to) in [(1000.0, 700.0), (500.0, 499.0), (40.0, 3.0)] {
        let (t, s) = (schedule.level(from)?, schedule.level(to)?);
        for kappa in [Kappa::Ddpm, Kappa::Eta(0.5), Kappa::Tau(0.7), Kappa::Fresh] {
            let q = StridedPosterior::new(t, s, kappa)?;
            let error = 0.8 * t.sigma();
            let table = DataErrors::new(3, 1.0, vec![t], vec![error])?;
            let best = AnalyticVariance::new(table)?.of(&q)?;
            let least = q.kl(3, error, best)?;
            for k in 1..400 {
                let away = 1.0 + 1e-3 * 1.02f64.powi(k);
                for v in [best * away, best / away] {
                    smallest = smallest.min(q.kl(3, error, v)? / least - 1.0);
                }
            }
        }
    }
    Ok(Claim::new(
        "any other reverse variance than γ² + c²M/d costs more (the least relative excess of a \
         fine search)",
        "the edge's KL at 798 other variances of 12 edges",
        smallest,
        Accept::AtLeast(f64::MIN_POSITIVE),
    ))
}

fn learned_form() -> Result<Claim, Box<dyn Error>> {
    let schedule = linear()?;
    let (mut product, mut largest) = (1.0, 0.0f64);
    for index in 0..1000 {
        let beta = 1e-4 + (0.02 - 1e-4) * f64::from(index) / 999.0;
        let before = product;
        product *= 1.0 - beta;
        if index == 0 {
            continue;
        }
        let posterior: f64 = beta * (1.0 - before) / (1.0 - product);
        let t = f64::from(index) + 1.0;
        let (from, to) = (schedule.level(t)?, schedule.level(t - 1.0)?);
        let q = StridedPosterior::new(from, to, Kappa::Ddpm)?;
        for f in [-1.0, -0.4, 0.3, 1.0] {
            let frac = (f + 1.0) / 2.0;
            let expected = (frac * beta.ln() + (1.0 - frac) * posterior.ln()).exp();
            largest = largest.max((q.learned_variance(f)? / expected - 1.0).abs());
        }
    }
    Ok(Claim::new(
        "the variance of a network's output f, at all neighbouring knots of a table",
        "exp(u ln β + (1 − u) ln β̃) from the betas alone, as guided-diffusion has it",
        largest,
        Accept::Below(1e-10),
    ))
}

/// A schedule that reaches λ = ±9.
fn wide() -> Result<VariancePreserving, diffusion_sampler::Error> {
    VariancePreserving::new(1e-9, 40.0)
}

fn flow(
    schedule: &dyn NoiseSchedule,
    (noisy, clean): (f64, f64),
    steps: u32,
) -> Result<(FlowLikelihood, Grid), diffusion_sampler::Error> {
    let at = |k: u32| noisy + (clean - noisy) * f64::from(k) / f64::from(steps);
    let grid = Grid::from_lambdas(schedule, &(0..=steps).map(at).collect::<Vec<_>>())?;
    Ok((FlowLikelihood::new(&Path::new(schedule, &grid)?)?, grid))
}

fn ring() -> Result<GaussianMixture, diffusion_sampler::Error> {
    let centre = |k: u32| {
        let angle = std::f64::consts::FRAC_PI_4 * f64::from(k);
        Gaussian::isotropic(&[angle.cos(), angle.sin()], 0.0225)
    };
    let components = (0..8).map(centre).collect::<Result<Vec<_>, _>>()?;
    GaussianMixture::new(&[1.0; 8], components, vec![0; 8])
}

fn ring_points() -> Array2<f64> {
    array![
        [1.0, 0.0],
        [0.6, 0.2],
        [-0.3, 0.9],
        [0.05, -0.02],
        [-1.2, -0.4],
        [0.0, 0.1]
    ]
}

/// The largest |ln p − exact| over the rows of x.
fn largest_miss(
    data: &impl Oracle,
    x: &Array2<f64>,
    (flow, grid): &(FlowLikelihood, Grid),
    exact_start: bool,
) -> Result<f64, Box<dyn Error>> {
    let mut density = flow.exact(data, x)?;
    if exact_start {
        density = density.with_exact_start(data)?;
    }
    let mut largest = 0.0f64;
    for (row, found) in x.rows().into_iter().zip(density.log_densities()) {
        let expected = data.log_density(&row.to_vec(), &grid.end())?;
        largest = largest.max((found - expected).abs());
    }
    Ok(largest)
}

fn ring_density() -> Result<[Claim; 2], Box<dyn Error>> {
    let path = flow(&wide()?, (-8.0, 8.0), 400)?;
    let (data, x) = (ring()?, ring_points());
    let oracle = "exact density at λ = 8, nats, largest of 6 points";
    Ok([
        Claim::new(
            "ln p of a ring of 8 Gaussians by the probability flow, λ from 8 to −8 in 400 steps",
            oracle,
            largest_miss(&data, &x, &path, false)?,
            Accept::Below(5e-6),
        ),
        Claim::new(
            "the same from the exact density at λ = −8 instead of N(0, I)",
            oracle,
            largest_miss(&data, &x, &path, true)?,
            Accept::Below(5e-6),
        ),
    ])
}

fn order() -> Result<Claim, Box<dyn Error>> {
    let (data, x) = (ring()?, ring_points());
    let mut misses = [0.0; 2];
    for (miss, steps) in misses.iter_mut().zip([800, 1600]) {
        *miss = largest_miss(&data, &x, &flow(&wide()?, (-8.0, 8.0), steps)?, true)?;
    }
    Ok(Claim::new(
        "order of convergence of ln p by the probability flow",
        "log₂ of the error's ratio at 800 and 1600 steps, ring of 8 Gaussians",
        (misses[0] / misses[1]).log2(),
        Accept::Within(3.9, 4.15),
    ))
}

fn schedules_agree() -> Result<Claim, Box<dyn Error>> {
    let schedules: [Box<dyn NoiseSchedule>; 3] = [
        Box::new(wide()?),
        Box::new(VarianceExploding::new(1e-4, 1e4)?),
        Box::new(RectifiedFlow::new()),
    ];
    let data = ring()?;
    let mut found = Vec::new();
    for schedule in &schedules {
        let (flow, grid) = flow(schedule.as_ref(), (-6.0, 5.0), 100)?;
        let norm = grid.end().marginal_variance(1.0).sqrt();
        let density = flow.exact(&data, &ring_points().mapv(|x| norm * x))?;
        let density = density.with_exact_start(&data)?;
        let logs = density.log_densities().iter();
        found.push(logs.map(|log| log + 2.0 * norm.ln()).collect::<Vec<f64>>());
    }
    let misses = found.iter().flat_map(|other| other.iter().zip(&found[0]));
    Ok(Claim::new(
        "variance-preserving, variance-exploding and flow schedules give one ln p",
        "change of variables, nats",
        misses.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max),
        Accept::Below(1e-9),
    ))
}

fn hutchinson() -> Result<[Claim; 2], Box<dyn Error>> {
    const SAMPLES: usize = 400;
    let data = Gaussian::new(&[0.3, -0.2], &array![[1.0, 0.5], [0.5, 0.4]])?;
    let (flow, _) = flow(&wide()?, (-4.0, 4.0), 24)?;
    let x = Array2::from_shape_fn((SAMPLES, 2), |(row, i)| {
        (0.37 * row as f64 + i as f64).sin()
    });
    let exact = flow.exact(&data, &x)?;
    let mut model = data.denoiser(Prediction::Noise);
    let found = flow.estimate(&mut model, &x, &Probes::gaussian(8, 6)?)?;
    let misses = found.log_densities().iter().zip(exact.log_densities());
    let misses: Vec<f64> = misses.map(|(a, b)| a - b).collect();
    let n = SAMPLES as f64;
    let mean = |list: &[f64]| list.iter().sum::<f64>() / n;
    let squares: Vec<f64> = misses.iter().map(|m| m * m).collect();
    let told: Vec<f64> = found.standard_errors().iter().map(|e| e * e).collect();
    let ratio = mean(&squares) / mean(&told);
    Ok([
        Claim::new(
            "Hutchinson's estimate of ln p is unbiased (standard errors of the mean of 400 samples)",
            "exact divergence along the same steps",
            (mean(&misses) / (mean(&told) / n).sqrt()).abs(),
            Accept::Below(4.0),
        ),
        // The relative spread of a mean of 400 squares of about normal numbers is √(2/400) = 0.07.
        Claim::new(
            "the squared standard error of Hutchinson's estimate is its mean squared error (ratio)",
            "exact divergence; four of its own standard errors are 0.3",
            ratio,
            Accept::Within(0.7, 1.3),
        ),
    ])
}

/// Weighted nodes of the trapezoidal rule, spectrally accurate for what decays at both ends.
fn nodes() -> impl Iterator<Item = (f64, f64)> {
    (0..801).map(|k| (-8.0 + 0.02 * f64::from(k), 0.02))
}

fn bound_below_flow() -> Result<[Claim; 2], Box<dyn Error>> {
    let schedule = linear()?;
    let (start, last) = (schedule.level(1000.0)?, schedule.level(20.0)?);
    let (flow, _) = flow(&schedule, (start.lambda(), last.lambda()), 150)?;
    let gaussian = GaussianMixture::new(&[1.0], vec![Gaussian::isotropic(&[0.5], 0.3)?], vec![0])?;
    let components = vec![
        Gaussian::isotropic(&[-1.5], 0.1)?,
        Gaussian::isotropic(&[1.0], 0.4)?,
    ];
    let mixture = GaussianMixture::new(&[0.3, 0.7], components, vec![0, 0])?;
    let mut gaps = [f64::INFINITY; 2];
    let cases = [(gaussian, 0.55), (mixture, 1.685)];
    for ((data, second_moment), smallest) in cases.into_iter().zip(&mut gaps) {
        let density = |x: f64, level: &NoiseLevel| data.log_density(&[x], level).map(f64::exp);
        let mut kept = Vec::new();
        for (x, h) in nodes() {
            let weight = h * density(x, &last)?;
            if weight > 1e-20 {
                kept.push((x, weight));
            }
        }
        let x = Array2::from_shape_fn((kept.len(), 1), |(row, _)| kept[row].0);
        let logs = flow.exact(&data, &x)?;
        let terms = kept.iter().zip(logs.log_densities());
        let mean: f64 = terms.map(|((_, weight), log)| weight * log).sum();
        for steps in [1, 5, 20, 98] {
            let knot = |k: u32| (1000.0 - 980.0 * f64::from(k) / f64::from(steps)).round();
            let times: Vec<f64> = (0..=steps).map(knot).chain([0.0]).collect();
            let grid = Grid::from_times(&schedule, &times)?;
            let mut errors = Vec::new();
            for level in &grid.levels()[..grid.steps()] {
                let mut error = 0.0;
                for (x, h) in nodes() {
                    let weight = h * density(x, level)?;
                    error += weight * data.posterior_variance(&[x], level)?;
                }
                errors.push(error);
            }
            for kappa in [Kappa::Ddpm, Kappa::Eta(0.5), Kappa::Tau(0.7), Kappa::Fresh] {
                for variance in [
                    EdgeVariance::Policy(ReverseVariance::Posterior),
                    EdgeVariance::Policy(ReverseVariance::FixedLarge),
                    EdgeVariance::Optimal,
                ] {
                    let elbo = Elbo::new(&grid, kappa, variance)?;
                    let bound = elbo.evaluate(1, &errors, second_moment, Decoder::Density(0.0))?;
                    let entropy = 0.5 * (2.0 * PI * last.sigma().powi(2)).ln() + 0.5;
                    *smallest = smallest.min(mean + bound.nats() + entropy);
                }
            }
        }
    }
    let oracle = "quadrature of the flow's ln p and of M_t; 48 strides, κ and variances";
    Ok([
        Claim::new(
            "the bound at the last noisy level is never above the flow's mean ln p there: least gap \
             in nats on a mixture",
            oracle,
            gaps[1],
            Accept::AtLeast(0.0),
        ),
        // There the chain is the data's own: both are equal.
        Claim::new(
            "the same on a Gaussian, where it is tight for DDPM's κ and the best variance",
            oracle,
            gaps[0],
            Accept::Within(-1e-8, 1e-8),
        ),
    ])
}

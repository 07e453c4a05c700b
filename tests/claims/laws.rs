//! Row 15: the distribution that moments predict at finite K is the one that runs sample.

use std::error::Error;

use diffusion_sampler::{
    Grid, Prediction, Sampler, from_fn, moments::AffineEstimate, oracle::Gaussian,
    posterior::Kappa, schedule::TableSchedule, solver::FirstOrder,
};
use ndarray::{Array2, Ix2};

use super::{Accept, Claim};

/// The claims of this topic.
pub(crate) fn claims() -> Result<Vec<Claim>, Box<dyn Error>> {
    let mut claims = Vec::new();
    for (eta, mean, deviation) in [(1.0, 1.99998, 0.35022), (0.0, 1.99505, 0.38990)] {
        claims.extend(predicted_and_sampled(eta, mean, deviation)?);
    }
    Ok(claims)
}

const STEPS: usize = 12;
const DRAWS: (usize, usize) = (250_000, 4);
/// The critical value of √n·D at 0.1 %: 2·Σ(−1)^(j+1) e^(−2j²x²) = 0.001.
const CRITICAL: f64 = 1.9495;

fn predicted_and_sampled(
    eta: f64,
    mean: f64,
    deviation: f64,
) -> Result<[Claim; 3], Box<dyn Error>> {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let knots: Vec<f64> = (0..=STEPS)
        .map(|k| (1000.0 * (STEPS - k) as f64 / STEPS as f64).round_ties_even())
        .collect();
    let sampler = Sampler::new(
        &schedule,
        &Grid::from_times(&schedule, &knots)?,
        &FirstOrder::new(Kappa::Eta(eta)),
    )?;
    let data = Gaussian::isotropic(&[2.0], 0.25)?;
    let law = &sampler.moments(&data)?[STEPS - 1];
    let (m, s) = (law.mean()[0], law.variances()[0].sqrt());

    let mut model = from_fn::<f64, Ix2>(Prediction::Data, |x, level, out| {
        let estimate = AffineEstimate::of_gaussian(2.0, 0.25, level);
        out.zip_mut_with(x, |o, &x| *o = estimate.gain * x + estimate.offset);
    });
    let draws: Array2<f64> = sampler.sample(&mut model, DRAWS, 2024)?;
    let statistic = kolmogorov_smirnov(draws.into_raw_vec_and_offset().0, |x| {
        0.5 * libm::erfc((m - x) / s * std::f64::consts::FRAC_1_SQRT_2)
    });
    let prototype = "independent prototype, ±1e-5";
    Ok([
        Claim::new(
            format!("predicted mean of 12 steps at η = {eta} on N(2, ½²)"),
            prototype,
            m,
            Accept::Within(mean - 1e-5, mean + 1e-5),
        ),
        Claim::new(
            format!("predicted standard deviation of 12 steps at η = {eta} on N(2, ½²)"),
            prototype,
            s,
            Accept::Within(deviation - 1e-5, deviation + 1e-5),
        ),
        Claim::new(
            format!("10⁶ samples of 12 steps at η = {eta} follow the predicted distribution"),
            "Kolmogorov–Smirnov √n·D, critical value at 0.1 %",
            statistic,
            Accept::Below(CRITICAL),
        ),
    ])
}

/// √n times the largest distance between the empirical and the given distribution function.
fn kolmogorov_smirnov(mut draws: Vec<f64>, cdf: impl Fn(f64) -> f64) -> f64 {
    draws.sort_unstable_by(f64::total_cmp);
    let n = draws.len() as f64;
    let distance = draws
        .iter()
        .enumerate()
        .map(|(i, &x)| {
            let p = cdf(x);
            f64::max(p - i as f64 / n, (i + 1) as f64 / n - p)
        })
        .fold(0.0, f64::max);
    distance * n.sqrt()
}

//! The shape of DDIM's Table 1, on an exact model of the 8×8 digits.

use std::error::Error;

use diffusion_sampler::{
    FirstOrder, Gaussian, GaussianMixture, Grid, Kappa, KeyedNoise, Oracle, Prediction, RunError,
    Sampler, TableSchedule, frechet_distance, sample_moments,
};
use ndarray::{Array2, Axis, s};

use super::{Accept, Claim};

#[path = "../../examples/support/digits.rs"]
#[allow(unreachable_pub)]
mod data;

const DRAWS: usize = 10_000;
/// Two shards, each on a thread of its own: the samples are those of one batch.
const SHARDS: usize = 2;
const ETAS: [f64; 3] = [0.0, 0.5, 1.0];
const STEPS: [usize; 4] = [5, 10, 20, 50];
const SEED: u64 = 17;

/// The claims of this topic.
pub(crate) fn claims() -> Result<Vec<Claim>, Box<dyn Error>> {
    let mixture = mixture()?;
    let (mean, covariance) = mixture.moments();
    // distances[k][e], for K and η.
    let mut distances = [[0.0; ETAS.len()]; STEPS.len()];
    for (row, &steps) in distances.iter_mut().zip(&STEPS) {
        for (distance, &eta) in row.iter_mut().zip(&ETAS) {
            let draws = sample(&mixture, steps, eta)?;
            let (m, c) = sample_moments(&draws)?;
            *distance = frechet_distance(&m, &c, &mean, &covariance)?;
        }
    }
    Ok(shape(&distances))
}

/// A Gaussian of full covariance for each digit, on the scale from −1 (paper) to 1 (ink). Some pixels are the same in
/// all images of a digit, so that 0.01 I is added.
fn mixture() -> Result<GaussianMixture, Box<dyn Error>> {
    let digits = data::Digits::load()?;
    let signed = digits.signed();
    let (mut weights, mut components) = (Vec::new(), Vec::new());
    for label in 0..10 {
        let rows = digits.rows_of(label);
        let (mean, mut covariance) = sample_moments(&signed.select(Axis(0), &rows))?;
        covariance.diag_mut().mapv_inplace(|v| v + 0.01);
        weights.push(rows.len() as f64);
        components.push(Gaussian::new(&mean, &covariance)?);
    }
    Ok(GaussianMixture::new(
        &weights,
        components,
        (0..10).collect(),
    )?)
}

/// `DRAWS` samples of `steps` steps with DDIM's η.
fn sample(
    mixture: &GaussianMixture,
    steps: usize,
    eta: f64,
) -> Result<Array2<f64>, Box<dyn Error>> {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let grid = Grid::trailing(&schedule, steps)?;
    let sampler = Sampler::new(&grid, &FirstOrder::new(Kappa::Eta(eta)))?;
    let rows = DRAWS / SHARDS;
    let shard = |index: usize| -> Result<Array2<f64>, RunError<diffusion_sampler::Error>> {
        let noise = KeyedNoise::new(SEED).first_sample((index * rows) as u64)?;
        let mut run = sampler.start((rows, mixture.dim()), Prediction::Data, noise)?;
        run.run(&mut mixture.denoiser(Prediction::Data))?;
        Ok(run.into_state())
    };
    let mut draws = Array2::zeros((DRAWS, mixture.dim()));
    std::thread::scope(|scope| {
        let shards: Vec<_> = (0..SHARDS)
            .map(|index| scope.spawn(move || shard(index)))
            .collect();
        for (index, handle) in shards.into_iter().enumerate() {
            let part = handle.join().map_err(|_| "a shard panicked")??;
            draws
                .slice_mut(s![index * rows..(index + 1) * rows, ..])
                .assign(&part);
        }
        Ok(draws)
    })
}

fn shape(distances: &[[f64; ETAS.len()]; STEPS.len()]) -> Vec<Claim> {
    const ORACLE: &str = "exact moments of the mixture, 10,000 draws, the same seed";
    let mut claims = Vec::new();
    for (steps, row) in STEPS.iter().zip(distances) {
        claims.push(Claim::new(
            format!("digits, {steps} steps: Fréchet distance at η = 1 over η = 0"),
            ORACLE,
            row[2] / row[0],
            Accept::AtLeast(1.3),
        ));
        for e in 1..ETAS.len() {
            claims.push(Claim::new(
                format!(
                    "digits, {steps} steps: the distance rises from η = {} to {}",
                    ETAS[e - 1],
                    ETAS[e]
                ),
                ORACLE,
                row[e] - row[e - 1],
                Accept::AtLeast(f64::MIN_POSITIVE),
            ));
        }
    }
    for (e, eta) in ETAS.iter().enumerate() {
        for k in 1..STEPS.len() {
            claims.push(Claim::new(
                format!(
                    "digits, η = {eta}: the distance falls from {} to {} steps",
                    STEPS[k - 1],
                    STEPS[k]
                ),
                ORACLE,
                distances[k - 1][e] - distances[k][e],
                Accept::AtLeast(f64::MIN_POSITIVE),
            ));
        }
    }
    for ((eta, distance), prototype) in ETAS.iter().zip(distances[3]).zip([0.062, 0.075, 0.149]) {
        claims.push(Claim::new(
            format!("digits, 50 steps: squared Fréchet distance at η = {eta}"),
            "independent prototype, ±10 %",
            distance,
            Accept::near(prototype, 0.1),
        ));
    }
    claims
}

//! The shape of DDIM's Table 1, on an exact model of the 8×8 digits.

use std::convert::Infallible;
use std::error::Error;

use diffusion_sampler::{
    Denoiser, Grid, KeyedNoise, NoiseLevel, Prediction, Query, RunError, Sampler,
    forward::diffuse,
    from_fn,
    oracle::{Gaussian, GaussianMixture, Oracle, frechet_distance, sample_moments},
    posterior::Kappa,
    schedule::TableSchedule,
    solver::{FirstOrder, Path},
};
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayRef, ArrayView1, Axis, Ix2};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::{Accept, Claim};

#[allow(dead_code)] // The pictures use the rest of it.
#[path = "../data/digits.rs"]
#[allow(unreachable_pub)]
mod data;

const DRAWS: usize = 10_000;
/// Samples in one run: small enough that its arrays stay in the cache. The runs are shards of one
/// batch.
const SHARD: usize = 500;
const THREADS: usize = 2;
const ETAS: [f64; 3] = [0.0, 0.5, 1.0];
const STEPS: [usize; 4] = [5, 10, 20, 50];
const SEED: u64 = 17;

/// The claims of this topic.
pub(crate) fn claims() -> Result<Vec<Claim>, Box<dyn Error>> {
    let mixture = mixture()?;
    let model = Batched::new(&mixture)?;
    let (mean, covariance) = mixture.moments()?;
    // distances[k][e], for K and η.
    let mut distances = [[0.0; ETAS.len()]; STEPS.len()];
    for (row, &steps) in distances.iter_mut().zip(&STEPS) {
        for (distance, &eta) in row.iter_mut().zip(&ETAS) {
            let draws = sample(&model, steps, eta)?;
            let (m, c) = sample_moments(&draws)?;
            *distance = frechet_distance(&m, &c, &mean, &covariance)?;
        }
    }
    let mut claims = vec![agreement(&mixture, &model)?];
    claims.extend(shape(&distances));
    Ok(claims)
}

/// A Gaussian of full covariance for each digit, on the scale from −1 (paper) to 1 (ink). Some
/// pixels are the same in all images of a digit, so that 0.01 I is added.
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

/// The mixture's exact denoiser on a whole batch, as two matrix products in f32: in the coordinates
/// y = Uᵀx of every component at once.
struct Batched {
    /// U of all components side by side, [d, Kd].
    axes: Array2<f32>,
    /// Uᵀm, [Kd].
    means: Vec<f32>,
    /// v, [Kd].
    variances: Vec<f32>,
    log_weights: Vec<f32>,
}

impl Batched {
    fn new(mixture: &GaussianMixture) -> Result<Self, Box<dyn Error>> {
        let axes = mixture.components().iter().map(|one| one.axes());
        let axes: Vec<_> = axes.collect::<Result<_, _>>()?;
        let views: Vec<_> = axes.iter().map(|axes| axes.view()).collect();
        let narrow = |values: &[f64]| -> Vec<f32> { values.iter().map(|v| *v as f32).collect() };
        let (mut means, mut variances) = (Vec::new(), Vec::new());
        for (component, axes) in mixture.components().iter().zip(&axes) {
            let mean = ArrayView1::from(component.mean());
            means.extend(narrow(&axes.t().dot(&mean).to_vec()));
            variances.extend(narrow(component.variances()));
        }
        let side_by_side = ndarray::concatenate(Axis(1), &views).unwrap_or_default();
        Ok(Self {
            axes: side_by_side.mapv(|value| value as f32),
            means,
            variances,
            log_weights: mixture.weights().iter().map(|w| w.ln() as f32).collect(),
        })
    }

    /// D of every row of `x`. `ys`, [B, Kd], is scratch.
    fn estimate(
        &self,
        x: &ArrayRef<f32, Ix2>,
        level: &NoiseLevel,
        ys: &mut Array2<f32>,
        out: &mut ArrayRef<f32, Ix2>,
    ) {
        let dim = x.ncols();
        let (alpha, noise) = (level.alpha() as f32, level.sigma().powi(2) as f32);
        let spread: Vec<f32> = self
            .variances
            .iter()
            .map(|v| alpha * alpha * v + noise)
            .collect();
        let precision: Vec<f32> = spread.iter().map(|s| 1.0 / s).collect();
        let offsets: Vec<f32> = self
            .log_weights
            .iter()
            .zip(spread.chunks(dim))
            .map(|(w, s)| w - 0.5 * s.iter().map(|s| s.ln()).sum::<f32>())
            .collect();
        general_mat_mul(1.0, x, &self.axes, 0.0, ys);
        let mut logits = vec![0.0; offsets.len()];
        for mut row in ys.rows_mut() {
            for (k, mut y) in row.axis_chunks_iter_mut(Axis(0), dim).enumerate() {
                let mut distance = 0.0;
                for (i, y) in y.iter_mut().enumerate() {
                    let at = k * dim + i;
                    let r = *y - alpha * self.means[at];
                    distance += r * r * precision[at];
                    *y = self.means[at] + alpha * self.variances[at] * precision[at] * r;
                }
                logits[k] = offsets[k] - 0.5 * distance;
            }
            let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let total: f32 = logits.iter().map(|l| (l - top).exp()).sum();
            for (mut y, l) in row.axis_chunks_iter_mut(Axis(0), dim).zip(&logits) {
                let responsibility = (l - top).exp() / total;
                y.map_inplace(|y| *y *= responsibility);
            }
        }
        general_mat_mul(1.0, ys, &self.axes.t(), 0.0, out);
    }

    /// As the crate's denoiser.
    fn denoiser(&self) -> impl Denoiser<f32, Ix2, Error = Infallible> {
        let mut ys = Array2::zeros((SHARD, self.axes.ncols()));
        from_fn::<f32, Ix2>(Prediction::Data, move |x, level, out| {
            self.estimate(x, level, &mut ys, out);
        })
    }
}

/// The batched denoiser against the crate's own, on noised draws at every level of the runs.
fn agreement(mixture: &GaussianMixture, model: &Batched) -> Result<Claim, Box<dyn Error>> {
    let mut rng = SmallRng::seed_from_u64(SEED);
    let data = mixture.sample(SHARD, &mut rng)?.points.mapv(|x| x as f32);
    let (mut fast, mut exact) = (data.clone(), data.clone());
    let mut worst = 0.0f32;
    for (step, level) in grid(50)?.levels()[..50].iter().enumerate() {
        let mut x = data.clone();
        diffuse(&mut x, &[*level], &mut KeyedNoise::new(SEED), step as u32)?;
        model
            .denoiser()
            .denoise(&x, &Query::new(level), &mut fast)?;
        mixture
            .denoiser(Prediction::Data)
            .denoise(&x, &Query::new(level), &mut exact)?;
        worst = (&fast - &exact).iter().fold(worst, |w, d| w.max(d.abs()));
    }
    Ok(Claim::new(
        "digits: the batched f32 denoiser is the exact one",
        "GaussianMixture in f64, largest difference",
        f64::from(worst),
        Accept::Below(1e-3),
    ))
}

fn grid(steps: usize) -> Result<Grid, Box<dyn Error>> {
    Ok(Grid::trailing(
        &TableSchedule::linear(1000, 1e-4, 0.02)?,
        steps,
    )?)
}

/// `DRAWS` samples of `steps` steps with DDIM's η, on two threads.
fn sample(model: &Batched, steps: usize, eta: f64) -> Result<Array2<f32>, Box<dyn Error>> {
    let sampler = &Sampler::along(
        &Path::without_schedule(&grid(steps)?),
        &FirstOrder::new(Kappa::Eta(eta)),
    )?;
    let dim = model.axes.nrows();
    let mut draws = Array2::zeros((DRAWS, dim));
    let fill = |first: usize, rows: &mut ArrayRef<f32, Ix2>| -> Result<(), RunError<Infallible>> {
        let noise = KeyedNoise::new(SEED).with_first_sample(first as u64)?;
        let mut run = sampler.start((SHARD, dim), Prediction::Data, noise)?;
        run.complete(&mut model.denoiser())?;
        rows.assign(run.state());
        Ok(())
    };
    let half = DRAWS / THREADS;
    std::thread::scope(|scope| {
        let handles: Vec<_> = draws
            .axis_chunks_iter_mut(Axis(0), half)
            .enumerate()
            .map(|(thread, mut part)| {
                scope.spawn(move || {
                    part.axis_chunks_iter_mut(Axis(0), SHARD)
                        .enumerate()
                        .try_for_each(|(i, mut rows)| fill(thread * half + i * SHARD, &mut rows))
                })
            })
            .collect();
        for handle in handles {
            handle.join().map_err(|_| "a thread panicked")??;
        }
        Ok::<(), Box<dyn Error>>(())
    })?;
    Ok(draws)
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
            // Seeds differ by 3 to 5 %; the prototype's draws and its number of them are not known,
            // so the order counts.
            "independent prototype, ±25 %",
            distance,
            Accept::near(prototype, 0.25),
        ));
    }
    claims
}

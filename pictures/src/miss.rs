//! How far a sampler misses its data, without sampling noise.
//!
//! Gaussian data are propagated as means and variances ([`Sampler::moments`]). For the two-mode
//! data, a deterministic sampler in one dimension is monotone in its start unless it fails badly,
//! and is run on quantiles of the initial distribution.

use std::error::Error;

use diffusion_sampler::{KeyedNoise, Prediction, Sampler, from_fn, oracle::Gaussian};
use ndarray::{Array1, ArrayRef, Ix1};

/// d = 64 coordinates of mean 0 and variances v_i ∝ i⁻², scaled to the mean variance 0.25: a
/// spectrum like that of images, a few strong directions and many weak ones.
pub fn spectrum() -> Result<Gaussian, diffusion_sampler::Error> {
    let raw: Vec<f64> = (1..=64).map(|i| 1.0 / f64::from(i * i)).collect();
    let scale = 0.25 * raw.len() as f64 / raw.iter().sum::<f64>();
    let variances: Vec<f64> = raw.iter().map(|v| scale * v).collect();
    Gaussian::diagonal(&vec![0.0; raw.len()], &variances)
}

/// The 2-Wasserstein distance between what the sampler draws and the Gaussian data, in percent of
/// the data's rms.
pub fn gaussian(sampler: &Sampler) -> Result<f64, Box<dyn Error>> {
    let data = spectrum()?;
    let states = sampler.moments(&data)?;
    let power: f64 = data.variances().iter().sum();
    let drawn = states.last().ok_or("a plan without steps")?;
    Ok(100.0 * (drawn.wasserstein_squared(&data)? / power).sqrt())
}

/// The standard deviation of each of the two modes, which stand at ±1 with equal weights.
pub const MODE: f64 = 0.1;

/// The standard normal's quantile at `p`, by bisection of its distribution function.
fn normal_quantile(p: f64) -> f64 {
    let (mut low, mut high) = (-9.0, 9.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if 0.5 * libm::erfc(-middle / std::f64::consts::SQRT_2) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// The same for two modes at ±1 in one dimension: the distance between the sorted images of the
/// start's quantiles and the data's quantiles.
pub fn two_modes(sampler: &Sampler) -> Result<f64, Box<dyn Error>> {
    two_modes_from(sampler, sampler.start_variance().sqrt())
}

/// The same from another initial distribution, a centred Gaussian of this deviation.
pub fn two_modes_from(sampler: &Sampler, deviation: f64) -> Result<f64, Box<dyn Error>> {
    const QUANTILES: usize = 2000;
    let probability = |i: usize| (i as f64 + 0.5) / QUANTILES as f64;
    // The two modes do not overlap to 1e-23: each half of the quantiles is one Gaussian's.
    let wanted = (0..QUANTILES).map(|i| match 2.0 * probability(i) {
        p if p < 1.0 => -1.0 + MODE * normal_quantile(p),
        p => 1.0 + MODE * normal_quantile(p - 1.0),
    });
    // D = m + α v/(α²v + σ²) (x − αm) for each mode, weighted by its posterior probability.
    let mut model = from_fn(
        Prediction::Data,
        |x: &ArrayRef<f64, Ix1>, level, out: &mut ArrayRef<f64, Ix1>| {
            let (alpha, v) = (level.alpha(), MODE * MODE);
            let spread = alpha * alpha * v + level.sigma() * level.sigma();
            out.zip_mut_with(x, |out, &x| {
                let sign = libm::tanh(alpha * x / spread);
                *out = sign + alpha * v / spread * (x - alpha * sign);
            });
        },
    );
    let start: Array1<f64> = (0..QUANTILES)
        .map(|i| deviation * normal_quantile(probability(i)))
        .collect();
    let mut run = sampler.start_from(start, Prediction::Data, KeyedNoise::new(0))?;
    run.complete(&mut model)?;
    let mut drawn = run.into_state().to_vec();
    drawn.sort_by(f64::total_cmp);
    let (mut miss, mut power) = (0.0, 0.0);
    for (drawn, wanted) in drawn.iter().zip(wanted) {
        miss += (drawn - wanted) * (drawn - wanted);
        power += wanted * wanted;
    }
    Ok(100.0 * (miss / power).sqrt())
}

//! Down to which level a Gaussian is as good as the data.

use ndarray::Array2;

use super::spectrum::error_of;
use crate::error::{Error, require, require_length, require_non_negative};
use crate::level::NoiseLevel;
use crate::memory::{Copied, Listed};
use crate::noise::{KeyedNoise, NoiseKey, Stream};
use crate::oracle::{Gaussian, GaussianMixture, Oracle};
use crate::posterior::DataErrors;

/// What the best linear estimate misses beyond the model's, at each level of `errors`, as a share of
/// the data's variance:
///
/// ```text
/// (Σ_i v_iσ²/(α²v_i + σ²) − M_t)/Σ_i v_i = E|D − D_Gaussian|²/E|x₀ − m|²
/// ```
///
/// The equality holds for the exact D: it is the conditional mean, so that what D_Gaussian misses
/// beside it is orthogonal to its own error. `data` has the mean and covariance of the data. Where
/// the share is small, the exact flow of the Gaussian ([`WarmStart`](super::WarmStart)) does what
/// the network would. A network that is worse than linear, and the noise of a measured M_t, can make
/// it negative.
///
/// # Errors
///
/// [`Error::WrongLength`] for another dimension; [`Error::InvalidParameter`] for data without
/// variance.
pub fn non_gaussian_shares(data: &Gaussian, errors: &DataErrors) -> Result<Vec<f64>, Error> {
    require_length("variances", errors.dim(), data.variances().len())?;
    let total = total(data)?;
    let pairs = errors.levels().iter().zip(errors.errors());
    pairs
        .map(|(level, error)| {
            let linear: f64 = data.variances().iter().map(|&v| error_of(v, level)).sum();
            (linear - error) / total
        })
        .listed()
}

/// The least noisy level such that at it, and at all noisier ones, the
/// [share](non_gaussian_shares) is at most `share`; `None` where the first level exceeds it.
///
/// # Errors
///
/// As [`non_gaussian_shares`]; [`Error::InvalidParameter`] unless `share` is finite and at least 0.
pub fn last_gaussian_level(
    data: &Gaussian,
    errors: &DataErrors,
    share: f64,
) -> Result<Option<NoiseLevel>, Error> {
    require_non_negative("share", share)?;
    let shares = non_gaussian_shares(data, errors)?;
    let pairs = errors.levels().iter().zip(shares);
    let within = pairs.take_while(|(_, found)| *found <= share);
    Ok(within.last().map(|(level, _)| *level))
}

/// The same share for a mixture at one level, E|D − D_Gaussian|²/E|x₀ − m|² over keyed draws of x_t:
/// the Gaussian is that of the mixture's moments.
///
/// ```
/// use diffusion_sampler::{NoiseLevel, oracle::{Gaussian, GaussianMixture}};
/// use diffusion_sampler::tuning::non_gaussian_share;
///
/// let modes = vec![Gaussian::isotropic(&[-1.0], 0.01)?, Gaussian::isotropic(&[1.0], 0.01)?];
/// let data = GaussianMixture::new(&[1.0, 1.0], modes, vec![0, 1])?;
/// let share = |alpha, sigma| {
///     non_gaussian_share(&data, &NoiseLevel::new(0.5, alpha, sigma)?, 200, 1)
/// };
/// assert!(share(0.1, 0.995)? < 1e-3 && share(0.8, 0.6)? > 0.05);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::InvalidParameter`] without draws or for data without variance; as [`Oracle`].
pub fn non_gaussian_share(
    data: &GaussianMixture,
    level: &NoiseLevel,
    draws: usize,
    seed: u64,
) -> Result<f64, Error> {
    require(draws > 0, "draws", 0.0, "at least 1")?;
    let (mean, covariance) = data.moments()?;
    let gaussian = Gaussian::new(&mean, &covariance)?;
    let total = total(&gaussian)?;
    let points = keyed_draws(data, draws, seed)?;
    let noise = KeyedNoise::new(seed);
    let (mut scratch, mut z) = (Vec::new(), crate::memory::repeated(0.0, mean.len())?);
    let (mut exact, mut linear) = (z[..].copy()?, z[..].copy()?);
    let mut square = 0.0;
    for (row, point) in points.outer_iter().enumerate() {
        noise.fill_row(NoiseKey::new(row as u64, 2, Stream::User(1)), &mut z);
        for (z, x) in z.iter_mut().zip(point) {
            *z = level.alpha() * x + level.sigma() * *z;
        }
        data.data_estimate_into(&z, level, &mut scratch, &mut exact)?;
        gaussian.data_estimate_into(&z, level, &mut scratch, &mut linear)?;
        let pairs = exact.iter().zip(&linear);
        square += pairs.map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
    }
    Ok(square / (draws as f64 * total))
}

/// Points of the mixture as a function of the seed alone: component and normals are keyed.
fn keyed_draws(data: &GaussianMixture, draws: usize, seed: u64) -> Result<Array2<f64>, Error> {
    let noise = KeyedNoise::new(seed);
    let mut points = crate::memory::zeros(ndarray::Ix2(draws, data.dim()))?;
    for (row, mut point) in points.outer_iter_mut().enumerate() {
        let mut z = crate::memory::repeated(0.0, data.dim())?;
        let key = |step| NoiseKey::new(row as u64, step, Stream::User(1));
        let mut choice = [0.0];
        noise.fill_row(key(0), &mut choice);
        noise.fill_row(key(1), &mut z);
        let mut left = 0.5 * libm::erfc(-choice[0] * std::f64::consts::FRAC_1_SQRT_2);
        let chosen = data.weights().iter().position(|w| {
            left -= w;
            left < 0.0
        });
        let last = data.components().len() - 1;
        if let Some(component) = data.components().get(chosen.unwrap_or(last)) {
            let mut x = crate::memory::repeated(0.0, data.dim())?;
            component.draw(&z, &mut x);
            point.iter_mut().zip(x).for_each(|(out, x)| *out = x);
        }
    }
    Ok(points)
}

fn total(data: &Gaussian) -> Result<f64, Error> {
    let total: f64 = data.variances().iter().sum();
    require(total > 0.0, "variance of the data", total, "positive")?;
    Ok(total)
}

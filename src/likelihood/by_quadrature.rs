//! What the exact model of data in one dimension knows at each level.

use crate::error::{Error, require, require_length};
use crate::grid::Grid;
use crate::level::NoiseLevel;
use crate::memory::Listed;
use crate::oracle::Oracle;
use crate::posterior::DataErrors;

impl DataErrors {
    /// The errors of the exact model of data in one dimension, at the knots of a grid but its clean
    /// end, by quadrature: M_t = ∫ p_t(x) Var\[x₀ | x\] dx, to 1e-10 of itself. m_t follows from it.
    ///
    /// The rule is the trapezoid in u with x = E\[x_t\] + S sinh u, S the deviation of x_t, refined
    /// until two agree and p_t integrates to 1 to 1e-10, so that no part of the data lies between
    /// its points. It takes some 400 S/σ points a level, and more where components are narrow or
    /// far.
    /// Data of several dimensions is measured on its draws
    /// ([`Measurement`](super::Measurement)).
    ///
    /// ```
    /// use diffusion_sampler::oracle::{Gaussian, GaussianMixture};
    /// use diffusion_sampler::{Grid, posterior::DataErrors, schedule::TableSchedule};
    ///
    /// let parts = vec![Gaussian::isotropic(&[-1.0], 0.04)?, Gaussian::isotropic(&[1.0], 0.04)?];
    /// let data = GaussianMixture::new(&[0.5, 0.5], parts, vec![0, 1])?;
    /// let grid = Grid::trailing(&TableSchedule::linear(1000, 1e-4, 0.02)?, 10)?;
    /// let errors = DataErrors::by_quadrature(&data, &grid)?;
    /// // At first all of the variance is unknown.
    /// assert!((errors.errors()[0] - 1.04).abs() < 1e-3);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::WrongLength`] for data of another dimension than 1; [`Error::InvalidParameter`] for a
    /// σ that is too small beside S for a million points, and for a density without integral 1;
    /// what the oracle refuses.
    pub fn by_quadrature(data: &impl Oracle, grid: &Grid) -> Result<Self, Error> {
        require_length("coordinates", 1, data.dim())?;
        let (mean, covariance) = data.moments()?;
        let first = |values: &mut dyn Iterator<Item = f64>| values.next().unwrap_or(0.0);
        let mean = first(&mut mean.iter().copied());
        let variance = first(&mut covariance.iter().copied());
        let noisy = grid.levels().iter().filter(|level| !level.is_clean());
        let levels: Vec<_> = noisy.copied().listed()?;
        let errors = levels
            .iter()
            .map(|level| error_at(data, (mean, variance), level));
        let errors = errors.all_listed()?;
        // 1 − M/ρ².
        let moments = levels.iter().zip(&errors).map(|(level, error)| {
            let ratio = level.alpha() / level.sigma();
            (1.0 - error * ratio * ratio).max(0.0)
        });
        let moments = moments.listed()?;
        Self::new(1, mean * mean + variance, levels, errors)?.with_noise_moments(moments)
    }
}

/// sinh of this, in deviations, is where the rule ends.
const END: f64 = 12.0;
const TOLERANCE: f64 = 1e-10;
const MAX_POINTS: usize = 1 << 20;

fn error_at(
    data: &impl Oracle,
    (mean, variance): (f64, f64),
    level: &NoiseLevel,
) -> Result<f64, Error> {
    let centre = level.alpha() * mean;
    let deviation = level.marginal_variance(variance).sqrt();
    // The mass, and M_t, of a point.
    let integrand = |u: f64| -> Result<[f64; 2], Error> {
        let x = [centre + deviation * libm::sinh(u)];
        let density = libm::exp(data.log_density(&x, level)?);
        if density == 0.0 {
            return Ok([0.0; 2]);
        }
        let spread = data.posterior_covariance(&x, level)?;
        let spread = spread.iter().copied().next().unwrap_or(0.0);
        let mass = density * deviation * libm::cosh(u);
        Ok([mass, mass * spread])
    };
    // At the centre a step is an eighth of σ, or of S.
    let points = 8.0 * END * deviation / level.sigma();
    let mut count = points.ceil().min(MAX_POINTS as f64) as usize;
    require_few(count, level)?;
    let mut step = END / count as f64;
    let mut sums = integrand(0.0)?;
    let add = |sums: &mut [f64; 2], u: f64| -> Result<(), Error> {
        for u in [u, -u] {
            let [mass, error] = integrand(u)?;
            *sums = [sums[0] + mass, sums[1] + error];
        }
        Ok(())
    };
    for k in 1..=count {
        add(&mut sums, k as f64 * step)?;
    }
    let mut value = step * sums[1];
    loop {
        require_few(count, level)?;
        // The points between.
        for k in 0..count {
            add(&mut sums, (k as f64 + 0.5) * step)?;
        }
        count *= 2;
        step *= 0.5;
        let [mass, finer] = sums.map(|sum| step * sum);
        let complete = (mass - 1.0).abs() <= TOLERANCE;
        if complete && (finer - value).abs() <= TOLERANCE * finer.abs() {
            return Ok(finer);
        }
        value = finer;
    }
}

/// Refuses more points than there is patience for.
fn require_few(count: usize, level: &NoiseLevel) -> Result<(), Error> {
    require(
        count <= MAX_POINTS / 4,
        "sigma",
        level.sigma(),
        "large enough beside the deviation of the noisy data, whose density is 1 in all",
    )
}

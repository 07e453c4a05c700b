//! The variance-exploding path of score-based models.

use super::{LambdaRange, NoiseSchedule, check_time};
use crate::error::Error;
use crate::level::NoiseLevel;

/// The variance-exploding schedule: α = 1, σ = σ_min (σ_max/σ_min)^t for 0 < t ≤ 1.
///
/// Song et al. (2021), "Score-Based Generative Modeling through Stochastic Differential Equations".
/// The path never reaches the clean state: σ falls to σ_min as t → 0 and jumps to 0 at t = 0, which
/// is clean as in every schedule. The initial distribution is N(0, σ² I).
///
/// ```
/// use diffusion_sampler::schedule::{NoiseSchedule, VarianceExploding};
///
/// let schedule = VarianceExploding::new(0.01, 50.0)?;
/// assert!((schedule.level(0.5)?.sigma() - 0.5f64.sqrt()).abs() < 1e-15);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VarianceExploding {
    pub(super) range: LambdaRange,
}

impl VarianceExploding {
    /// The path from `sigma_min` to `sigma_max`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless 0 < `sigma_min` < `sigma_max`, both finite.
    pub fn new(sigma_min: f64, sigma_max: f64) -> Result<Self, Error> {
        Ok(Self {
            range: LambdaRange::of_rhos(sigma_max, sigma_min)?,
        })
    }
}

impl NoiseSchedule for VarianceExploding {
    fn level(&self, time: f64) -> Result<NoiseLevel, Error> {
        check_time(time, 1.0)?;
        if time == 0.0 {
            return Ok(NoiseLevel::clean());
        }
        // This form hits both ends exactly, so that their λ's lie in the range.
        let log_sigma = -(self.range.clean * (1.0 - time) + self.range.noisy * time);
        Ok(NoiseLevel::from_parts(
            time,
            (1.0, libm::exp(log_sigma)),
            (0.0, log_sigma),
        ))
    }

    fn last_time(&self) -> f64 {
        1.0
    }

    fn time_of_lambda(&self, lambda: f64) -> Result<f64, Error> {
        if lambda == f64::INFINITY {
            return Ok(0.0);
        }
        self.range.check(lambda)?;
        let time = (self.range.clean - lambda) / (self.range.clean - self.range.noisy);
        // σ_min itself belongs to the limit t → 0, not to the clean time 0.
        Ok(time.clamp(f64::MIN_POSITIVE, 1.0))
    }

    fn lambda_range(&self) -> LambdaRange {
        self.range
    }

    fn start_variance(&self, level: &NoiseLevel) -> f64 {
        level.sigma() * level.sigma()
    }
}

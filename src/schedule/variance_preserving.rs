//! The continuous variance-preserving schedule with linear β.

use super::{LambdaRange, NoiseSchedule, check_time};
use crate::error::{Error, require, require_positive};
use crate::level::NoiseLevel;

/// The variance-preserving schedule with β(t) linear in time: ln α² = −(β_min t + ½(β_max −
/// β_min)t²) for 0 ≤ t ≤ 1.
///
/// Song et al. (2021), "Score-Based Generative Modeling through Stochastic Differential Equations".
/// It reaches the clean state at t = 0 (λ = +∞), so that grids in λ or ρ need an explicit cut.
///
/// ```
/// use diffusion_sampler::schedule::{NoiseSchedule, VariancePreserving};
///
/// let schedule = VariancePreserving::default();
/// let level = schedule.level(0.3)?;
/// assert!((schedule.time_of_lambda(level.lambda())? - 0.3).abs() < 1e-14);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VariancePreserving {
    pub(super) beta_min: f64,
    pub(super) beta_max: f64,
}

impl VariancePreserving {
    /// The schedule with β(0) = `beta_min` and β(1) = `beta_max`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless 0 < `beta_min` ≤ `beta_max`, both finite.
    pub fn new(beta_min: f64, beta_max: f64) -> Result<Self, Error> {
        require_positive("beta_min", beta_min)?;
        require(
            beta_max.is_finite() && beta_max >= beta_min,
            "beta_max",
            beta_max,
            "finite and at least beta_min",
        )?;
        Ok(Self { beta_min, beta_max })
    }
}

impl Default for VariancePreserving {
    /// The usual β_min = 0.1 and β_max = 20.
    fn default() -> Self {
        Self {
            beta_min: 0.1,
            beta_max: 20.0,
        }
    }
}

impl NoiseSchedule for VariancePreserving {
    fn level(&self, time: f64) -> Result<NoiseLevel, Error> {
        check_time(time, 1.0)?;
        let slope = self.beta_max - self.beta_min;
        NoiseLevel::variance_preserving(time, -time * (self.beta_min + 0.5 * slope * time))
    }

    fn last_time(&self) -> f64 {
        1.0
    }

    fn time_of_lambda(&self, lambda: f64) -> Result<f64, Error> {
        let range = self.lambda_range();
        range.check(lambda)?;
        if lambda == range.noisy {
            return Ok(1.0);
        }
        // ½ slope t² + β_min t = −ln α²: the root in the form without cancellation.
        let integral = -log_alpha_squared(lambda);
        let slope = self.beta_max - self.beta_min;
        // √(β_min² + 2 slope integral), without overflow.
        let root = libm::hypot(
            self.beta_min,
            std::f64::consts::SQRT_2 * slope.sqrt() * integral.sqrt(),
        );
        let sum = self.beta_min + root;
        let time = if sum.is_finite() {
            2.0 * integral / sum
        } else {
            // Half of the root, which overflows nowhere, of half of everything.
            let half = libm::hypot(0.5 * self.beta_min, (0.5 * slope).sqrt() * integral.sqrt());
            integral / (0.5 * self.beta_min + half)
        };
        Ok(time.min(1.0))
    }

    fn lambda_range(&self) -> LambdaRange {
        let noisy = self
            .level(1.0)
            .map_or(f64::NEG_INFINITY, |level| level.lambda());
        LambdaRange {
            noisy,
            clean: f64::INFINITY,
        }
    }
}

/// ln α² at half log-snr λ under α² + σ² = 1: −ln(1 + e^−2λ), without overflow.
pub(super) fn log_alpha_squared(lambda: f64) -> f64 {
    // Equivalent mutant: replace < with <=: at 0 both are −ln 2.
    if lambda < 0.0 {
        2.0 * lambda - libm::log1p(libm::exp(2.0 * lambda))
    } else {
        -libm::log1p(libm::exp(-2.0 * lambda))
    }
}

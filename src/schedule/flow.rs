//! Rectified flow with its shifts.

use super::{LambdaRange, NoiseSchedule, check_time};
use crate::error::{Error, require, require_positive};
use crate::level::NoiseLevel;

/// Rectified flow: α = 1 − σ, with σ = t or, shifted by s, σ = st/(1 + (s − 1)t).
///
/// Liu, Gong and Liu (2022), "Flow Straight and Fast"; the shift is Esser et al.'s (2024, "Scaling
/// Rectified Flow Transformers for High-Resolution Image Synthesis"). A shift multiplies ρ = σ/α by
/// s, that is λ → λ − ln s. Time is the unshifted t: a grid uniform in time is a uniform grid of
/// the shifted schedule, and the shift is applied exactly once, here. The network's
/// [`model_time`](NoiseLevel::model_time) is the shifted σ that it was trained with. λ is infinite
/// at both ends, so that grids in λ or ρ need an explicit cut.
///
/// ```
/// use diffusion_sampler::schedule::{NoiseSchedule, RectifiedFlow};
///
/// let level = RectifiedFlow::shifted(3.0)?.level(0.5)?;
/// assert_eq!((level.sigma(), level.model_time()), (0.75, 0.75));
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[doc(alias = "FlowMatchEulerDiscreteScheduler")]
#[doc(alias = "flow matching")]
pub struct RectifiedFlow {
    pub(super) shift: f64,
}

impl RectifiedFlow {
    /// The unshifted flow, σ = t.
    pub fn new() -> Self {
        Self { shift: 1.0 }
    }

    /// A static shift s; 3 is Stable Diffusion 3's.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless `shift` is positive and finite.
    pub fn shifted(shift: f64) -> Result<Self, Error> {
        require_positive("shift", shift)?;
        Ok(Self { shift })
    }

    /// The resolution-dependent shift s = e^μ, as models state it that give μ for an image size.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless `mu` is finite and e^μ does not overflow or vanish.
    pub fn shifted_by_mu(mu: f64) -> Result<Self, Error> {
        let shift = libm::exp(mu);
        require(
            shift.is_finite() && shift > 0.0,
            "mu",
            mu,
            "finite, with a finite and positive exponential",
        )?;
        Ok(Self { shift })
    }

    /// The shift s = e^μ with μ linear in the number of image tokens, through `(tokens, mu)` at two
    /// resolutions; Flux's are (256, 0.5) and (4096, 1.15).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] when the two token counts agree, or μ is not finite.
    pub fn shifted_for_tokens(
        tokens: usize,
        low: (usize, f64),
        high: (usize, f64),
    ) -> Result<Self, Error> {
        require(
            low.0 != high.0,
            "token count of the second resolution",
            high.0 as f64,
            "different from the first's",
        )?;
        let slope = (high.1 - low.1) / (high.0 as f64 - low.0 as f64);
        Self::shifted_by_mu(low.1 + slope * (tokens as f64 - low.0 as f64))
    }

    /// s, the factor on ρ.
    pub fn shift(&self) -> f64 {
        self.shift
    }
}

impl Default for RectifiedFlow {
    fn default() -> Self {
        Self::new()
    }
}

impl NoiseSchedule for RectifiedFlow {
    fn level(&self, time: f64) -> Result<NoiseLevel, Error> {
        check_time(time, 1.0)?;
        // 1 + (s − 1)t as a sum of positive terms: the difference s − 1 loses a small shift's
        // digits, all of them below 1e-16.
        let norm = (1.0 - time) + self.shift * time;
        let (alpha, sigma) = ((1.0 - time) / norm, self.shift * time / norm);
        let excess = (self.shift - 1.0) * time;
        let log_norm = if excess.abs() < 0.5 {
            libm::log1p(excess)
        } else {
            libm::log(norm)
        };
        let logs = (
            libm::log1p(-time) - log_norm,
            libm::log(self.shift) + libm::log(time) - log_norm,
        );
        Ok(NoiseLevel::from_parts(time, (alpha, sigma), logs).with_model_time(sigma))
    }

    fn last_time(&self) -> f64 {
        1.0
    }

    fn time_of_lambda(&self, lambda: f64) -> Result<f64, Error> {
        self.lambda_range().check(lambda)?;
        // t/(1 − t) = ρ/s = e^−(λ + ln s), as a logistic function that overflows nowhere.
        let logit = lambda + libm::log(self.shift);
        Ok(if logit > 0.0 {
            let e = libm::exp(-logit);
            e / (1.0 + e)
        } else {
            1.0 / (1.0 + libm::exp(logit))
        })
    }

    fn lambda_range(&self) -> LambdaRange {
        LambdaRange {
            noisy: f64::NEG_INFINITY,
            clean: f64::INFINITY,
        }
    }
}

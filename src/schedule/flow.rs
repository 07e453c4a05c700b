//! Rectified flow with its shifts.

use super::{LambdaRange, ModelTime, NoiseSchedule, check_flow_sigma, check_time, mu};
use crate::error::{Error, require, require_positive};
use crate::level::NoiseLevel;

/// Rectified flow: α = 1 − σ, with σ = t or, shifted by s, σ = st/(1 + (s − 1)t).
///
/// Liu, Gong and Liu (2022), "Flow Straight and Fast"; the shift is Esser et al.'s (2024, "Scaling
/// Rectified Flow Transformers for High-Resolution Image Synthesis"). A shift multiplies ρ = σ/α by
/// s, that is λ → λ − ln s. Time is the unshifted t: a grid uniform in time is a uniform grid of
/// the shifted schedule, and the shift is applied exactly once, here. Without a shift σ is t and α
/// is 1 − t to the bit. λ is infinite at both ends, so that grids in λ or ρ need an explicit cut.
///
/// The network's [`model_time`](NoiseLevel::model_time) is the shifted σ; a network that was
/// trained with another time says so by [`with_model_time`](Self::with_model_time).
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
    pub(super) model_time: ModelTime,
}

impl RectifiedFlow {
    /// The unshifted flow, σ = t.
    pub fn new() -> Self {
        Self::of(1.0)
    }

    fn of(shift: f64) -> Self {
        Self {
            shift,
            model_time: ModelTime::sigma(),
        }
    }

    /// A static shift s; 3 is Stable Diffusion 3's.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless `shift` is positive and finite.
    #[doc(alias("shift", "flow_shift", "time_snr_shift"))]
    pub fn shifted(shift: f64) -> Result<Self, Error> {
        require_positive("shift", shift)?;
        Ok(Self::of(shift))
    }

    /// The resolution-dependent shift s = e^μ, as models state it that give μ for an image size.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless `mu` is finite and e^μ does not overflow or vanish.
    #[doc(alias("time_shift", "use_dynamic_shifting"))]
    pub fn shifted_by_mu(mu: f64) -> Result<Self, Error> {
        let shift = libm::exp(mu);
        require(
            shift.is_finite() && shift > 0.0,
            "mu",
            mu,
            "finite, with a finite and positive exponential",
        )?;
        Ok(Self::of(shift))
    }

    /// The shift that some models call linear: σ = μt/(1 − t + μt), which is a static shift by s =
    /// μ (CogView4, of `time_shift_type` "linear").
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless `mu` is positive and finite.
    pub fn shifted_linearly(mu: f64) -> Result<Self, Error> {
        require_positive("mu", mu)?;
        Ok(Self::of(mu))
    }

    /// The shift s = e^μ with μ linear in the number of image tokens, through `(tokens, mu)` at two
    /// resolutions; Flux's are (256, 0.5) and (4096, 1.15). Other rules for μ: module [`mu`].
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] when the two token counts agree, or μ is not finite.
    pub fn shifted_for_tokens(
        tokens: usize,
        low: (usize, f64),
        high: (usize, f64),
    ) -> Result<Self, Error> {
        Self::shifted_by_mu(mu::linear(tokens, low, high)?)
    }

    /// The same flow for a network that expects another time than σ, on the grid and off it.
    ///
    /// ```
    /// use diffusion_sampler::schedule::{ModelTime, NoiseSchedule, RectifiedFlow};
    ///
    /// let flow = RectifiedFlow::shifted(3.0)?.with_model_time(ModelTime::sigma().times(1000.0)?);
    /// assert_eq!(flow.level(0.5)?.model_time(), 750.0);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    #[must_use]
    pub fn with_model_time(self, model_time: ModelTime) -> Self {
        Self { model_time, ..self }
    }

    /// s, the factor on ρ.
    pub fn shift(&self) -> f64 {
        self.shift
    }

    /// What the network is told of the noise.
    pub fn model_time(&self) -> ModelTime {
        self.model_time
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
        // digits, all of them below 1e-16. Without a shift it is 1 exactly: 1 − t is rounded by at
        // most half of what the sum is.
        let norm = (1.0 - time) + self.shift * time;
        let shifted = self.shift * time;
        // A product that underflows has lost digits, which the quotient may need; at the end it is 1.
        // Equivalent mutant: replace < with <= (1): the least normal number has all its digits.
        let sigma = if shifted < f64::MIN_POSITIVE && time < 1.0 {
            self.shift * (time / norm)
        } else {
            shifted / norm
        };
        let alpha = (1.0 - time) / norm;
        let excess = (self.shift - 1.0) * time;
        // Equivalent mutant: replace < with <=: at 1/2 both forms are right to rounding.
        let log_norm = if excess.abs() < 0.5 {
            libm::log1p(excess)
        } else {
            libm::log(norm)
        };
        let logs = (
            libm::log1p(-time) - log_norm,
            libm::log(self.shift) + libm::log(time) - log_norm,
        );
        let level = NoiseLevel::from_parts(time, (alpha, sigma), logs);
        Ok(level.with_model_time(self.model_time.at(sigma)))
    }

    fn last_time(&self) -> f64 {
        1.0
    }

    fn time_of_lambda(&self, lambda: f64) -> Result<f64, Error> {
        self.lambda_range().check(lambda)?;
        // t/(1 − t) = ρ/s = e^−(λ + ln s), as a logistic function that overflows nowhere.
        let logit = lambda + libm::log(self.shift);
        // Equivalent mutant: replace > with >=: at 0 both are 1/2.
        Ok(if logit > 0.0 {
            let e = libm::exp(-logit);
            e / (1.0 + e)
        } else {
            1.0 / (1.0 + libm::exp(logit))
        })
    }

    /// t = σ/(σ + s(1 − σ)), which without a shift is σ itself.
    fn time_of_flow_sigma(&self, sigma: f64) -> Result<f64, Error> {
        check_flow_sigma(sigma)?;
        Ok(match self.shift {
            1.0 => sigma,
            shift => sigma / (sigma + shift * (1.0 - sigma)),
        })
    }

    fn lambda_range(&self) -> LambdaRange {
        LambdaRange {
            noisy: f64::NEG_INFINITY,
            clean: f64::INFINITY,
        }
    }
}

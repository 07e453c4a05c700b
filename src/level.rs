//! A noise level: one forward marginal q(x_t | x₀) = N(α x₀, σ² I).

mod along;
#[cfg(feature = "serde")]
mod stored;

pub use along::Levels;

use crate::error::Error;

/// One noise level: the forward marginal q(x_t | x₀) = N(α x₀, σ² I) at one time.
///
/// | symbol | method | meaning |
/// |---|---|---|
/// | t | [`time`](Self::time) | position on the schedule; 0 is clean |
/// | α | [`alpha`](Self::alpha) | amplitude of the data (DDPM's ᾱ is α²) |
/// | σ | [`sigma`](Self::sigma) | standard deviation of the noise |
/// | λ = ln(α/σ) | [`lambda`](Self::lambda) | *half* the log signal-to-noise ratio; +∞ when clean, −∞ when α = 0 |
/// | ρ = σ/α = e^−λ | [`rho`](Self::rho) | what EDM and k-diffusion call sigma |
/// | | [`model_time`](Self::model_time) | the time the network was trained with |
///
/// ln α and ln σ are kept beside α and σ, so that differences of λ are exact to rounding at both
/// ends.
///
/// ```
/// use diffusion_sampler::NoiseLevel;
///
/// let level = NoiseLevel::new(0.5, 0.6, 0.8)?;
/// assert!((level.lambda() - (0.6f64 / 0.8).ln()).abs() < 1e-15);
/// assert!(NoiseLevel::clean().is_clean());
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NoiseLevel {
    time: f64,
    model_time: f64,
    alpha: f64,
    sigma: f64,
    log_alpha: f64,
    log_sigma: f64,
}

impl NoiseLevel {
    /// The clean level: α = 1, σ = 0, at time 0.
    pub fn clean() -> Self {
        Self {
            time: 0.0,
            model_time: 0.0,
            alpha: 1.0,
            sigma: 0.0,
            log_alpha: 0.0,
            log_sigma: f64::NEG_INFINITY,
        }
    }

    /// The level with amplitude `alpha` and noise `sigma` at `time`, which is also the model's
    /// time.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidLevel`] unless all are finite, `alpha` ≥ 0, `sigma` ≥ 0 and not both are 0.
    pub fn new(time: f64, alpha: f64, sigma: f64) -> Result<Self, Error> {
        let valid = time.is_finite()
            && alpha.is_finite()
            && sigma.is_finite()
            && alpha >= 0.0
            && sigma >= 0.0
            && alpha + sigma > 0.0;
        if !valid {
            return Err(Error::InvalidLevel { time, alpha, sigma });
        }
        // Adding 0 turns −0 into 0: ρ = σ/α at α = −0 would be −∞.
        let (alpha, sigma) = (alpha + 0.0, sigma + 0.0);
        let logs = (libm::log(alpha), libm::log(sigma));
        Ok(Self::from_parts(time, (alpha, sigma), logs))
    }

    /// The level with the given ln α and ln σ: the form that is stable at both ends. −∞ stands for
    /// α = 0 or σ = 0.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidLevel`] (which shows α and σ) when a value is NaN or +∞, α or σ overflows,
    /// or both are 0.
    pub fn from_logs(time: f64, log_alpha: f64, log_sigma: f64) -> Result<Self, Error> {
        let (alpha, sigma) = (libm::exp(log_alpha), libm::exp(log_sigma));
        Self::new(time, alpha, sigma)?;
        let logs = (log_alpha, log_sigma);
        Ok(Self::from_parts(time, (alpha, sigma), logs))
    }

    /// The variance-preserving level (α² + σ² = 1) with the given ln α² ≤ 0: σ² = −expm1(ln α²).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidLevel`] when `time` is not finite or `log_alpha_squared` is positive or NaN.
    pub fn variance_preserving(time: f64, log_alpha_squared: f64) -> Result<Self, Error> {
        let la = log_alpha_squared;
        let alpha = libm::exp(0.5 * la);
        // 0 − …, not −…: σ at ln α² = 0 is 0, not −0.
        let variance = 0.0 - libm::expm1(la);
        let sigma = variance.sqrt();
        if !(time.is_finite() && la <= 0.0) {
            return Err(Error::InvalidLevel { time, alpha, sigma });
        }
        // ln σ² = ln(1 − e^la): near σ = 1 the logarithm of a number close to 1 must come from
        // log1p.
        // Equivalent mutant: replace < with <=: at −ln 2 both forms are right to rounding.
        let log_variance = if la < -std::f64::consts::LN_2 {
            libm::log1p(-libm::exp(la))
        } else {
            libm::log(variance)
        };
        let logs = (0.5 * la, 0.5 * log_variance);
        Ok(Self::from_parts(time, (alpha, sigma), logs))
    }

    /// A level from its parts, each in its own stable form. All levels are made here.
    ///
    /// α = 0 and ln α = −∞ are the same statement, and so are σ = 0 and ln σ = −∞: where α or σ
    /// underflows, its logarithm is −∞, so that what is clean in σ is clean in λ.
    pub(crate) fn from_parts(time: f64, alpha_sigma: (f64, f64), logs: (f64, f64)) -> Self {
        let joined = |value: f64, log: f64| {
            if value == 0.0 || log == f64::NEG_INFINITY {
                (0.0, f64::NEG_INFINITY)
            } else {
                (value, log)
            }
        };
        let (alpha, log_alpha) = joined(alpha_sigma.0, logs.0);
        let (sigma, log_sigma) = joined(alpha_sigma.1, logs.1);
        Self {
            time,
            model_time: time,
            alpha,
            sigma,
            log_alpha,
            log_sigma,
        }
    }

    /// The same level with the time that the network expects, for example the index t − 1 at knot t
    /// of a table.
    #[must_use]
    pub fn with_model_time(self, model_time: f64) -> Self {
        Self { model_time, ..self }
    }

    /// The position on the schedule; 0 is clean.
    pub fn time(&self) -> f64 {
        self.time
    }

    /// The time that the network was trained with: the index t − 1 at knot t of a table of betas, a
    /// flow's σ, the time itself otherwise.
    pub fn model_time(&self) -> f64 {
        self.model_time
    }

    /// α, the amplitude of the data.
    pub fn alpha(&self) -> f64 {
        self.alpha
    }

    /// σ, the standard deviation of the noise.
    pub fn sigma(&self) -> f64 {
        self.sigma
    }

    /// ln α; −∞ at α = 0.
    pub fn log_alpha(&self) -> f64 {
        self.log_alpha
    }

    /// ln σ; −∞ at σ = 0.
    pub fn log_sigma(&self) -> f64 {
        self.log_sigma
    }

    /// λ = ln(α/σ), half the log signal-to-noise ratio; +∞ when clean, −∞ at α = 0.
    pub fn lambda(&self) -> f64 {
        self.log_alpha - self.log_sigma
    }

    /// ρ = σ/α = e^−λ, which EDM and k-diffusion call sigma; 0 when clean, +∞ at α = 0 and where σ/α
    /// overflows.
    #[doc(alias = "sigma")]
    pub fn rho(&self) -> f64 {
        self.sigma / self.alpha
    }

    /// snr = (α/σ)², the signal-to-noise ratio; +∞ when clean and where it overflows, 0 at α = 0.
    #[doc(alias = "signal-to-noise ratio")]
    pub fn snr(&self) -> f64 {
        let ratio = self.alpha / self.sigma;
        ratio * ratio
    }

    /// α²v + σ², the variance of x_t for data of variance v, finite and at least 0; +∞ where it
    /// overflows. With v = 1 it is 1 at every level of a variance-preserving schedule.
    pub fn marginal_variance(&self, data_variance: f64) -> f64 {
        // α² may overflow: of data without variance nothing comes to σ².
        if data_variance == 0.0 {
            return self.sigma * self.sigma;
        }
        self.alpha * self.alpha * data_variance + self.sigma * self.sigma
    }

    /// Whether σ = 0, which is λ = +∞.
    pub fn is_clean(&self) -> bool {
        self.sigma == 0.0
    }
}

/// The time, α, σ and λ on one line.
impl std::fmt::Display for NoiseLevel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "time {} (alpha {:.6e}, sigma {:.6e}, lambda {:.6})",
            self.time,
            self.alpha,
            self.sigma,
            self.lambda()
        )
    }
}

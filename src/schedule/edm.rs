//! EDM: time is the noise.

use super::{LambdaRange, NoiseSchedule, check_time};
use crate::error::Error;
use crate::level::NoiseLevel;

/// EDM's schedule: α = 1, σ = t, for t from 0 to σ_max.
///
/// Karras, Aittala, Aila and Laine (2022), "Elucidating the Design Space of Diffusion-Based
/// Generative Models", Table 1. σ_min and σ_max bound the grids in λ and ρ; the network's
/// conditioning c_noise is [`Prediction::edm_noise`](crate::Prediction::edm_noise). The initial
/// distribution is N(0, σ² I).
///
/// ```
/// use diffusion_sampler::schedule::{Edm, NoiseSchedule};
///
/// let level = Edm::default().level(80.0)?;
/// assert_eq!((level.alpha(), level.sigma()), (1.0, 80.0));
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Edm {
    pub(super) sigma_min: f64,
    pub(super) sigma_max: f64,
    range: LambdaRange,
}

impl Edm {
    /// The schedule for noise between `sigma_min` and `sigma_max`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless 0 < `sigma_min` < `sigma_max`, both finite.
    pub fn new(sigma_min: f64, sigma_max: f64) -> Result<Self, Error> {
        Ok(Self {
            sigma_min,
            sigma_max,
            range: LambdaRange::of_rhos(sigma_max, sigma_min)?,
        })
    }
}

impl Default for Edm {
    /// The paper's σ_min = 0.002 and σ_max = 80.
    fn default() -> Self {
        Self {
            sigma_min: 0.002,
            sigma_max: 80.0,
            range: LambdaRange {
                noisy: -libm::log(80.0),
                clean: -libm::log(0.002),
            },
        }
    }
}

impl NoiseSchedule for Edm {
    fn level(&self, time: f64) -> Result<NoiseLevel, Error> {
        check_time(time, self.sigma_max)?;
        NoiseLevel::new(time, 1.0, time)
    }

    fn last_time(&self) -> f64 {
        self.sigma_max
    }

    fn time_of_lambda(&self, lambda: f64) -> Result<f64, Error> {
        LambdaRange {
            clean: f64::INFINITY,
            ..self.range
        }
        .check(lambda)?;
        // Both ends exactly: e^(ln σ) need not give σ back, and may round past the last time.
        Ok(if lambda == self.range.clean {
            self.sigma_min
        } else if lambda == self.range.noisy {
            self.sigma_max
        } else {
            libm::exp(-lambda).min(self.sigma_max)
        })
    }

    fn lambda_range(&self) -> LambdaRange {
        self.range
    }

    fn start_variance(&self, level: &NoiseLevel) -> f64 {
        level.sigma() * level.sigma()
    }
}

//! How strongly to guide, constant or by the level.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, require};
use crate::level::NoiseLevel;

/// The guidance weight w, constant or a function of the level.
///
/// Two conventions are in use, and they differ by one:
///
/// | convention | formula | plain conditional | unconditional |
/// |---|---|---|---|
/// | weight w (Ho and Salimans 2022; this crate) | (1 + w) E_c − w E_u | w = 0 | w = −1 |
/// | scale s = 1 + w (most image libraries) | E_u + s (E_c − E_u) | s = 1 | s = 0 |
///
/// A library's `guidance_scale = 7.5` is [`GuidanceWeight::from_scale`]`(7.5)`, w = 6.5. For
/// classifier guidance w multiplies the classifier's gradient and 0 is unguided: classifier-free
/// guidance with w equals classifier guidance of the *unconditional* model with weight 1 + w, so
/// that the theory's two weights differ by one as well.
///
/// ```
/// use diffusion_sampler::{NoiseLevel, guidance::GuidanceWeight};
///
/// let level = NoiseLevel::new(0.5, 0.8, 0.6)?;
/// assert_eq!(GuidanceWeight::from_scale(7.5)?.at(&level)?, 6.5);
/// assert_eq!(GuidanceWeight::interval(2.0, 1.0, 5.0)?.at(&level)?, 0.0);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone)]
pub struct GuidanceWeight(pub(super) Kind);

#[derive(Clone)]
pub(super) enum Kind {
    Constant(f64),
    Interval { weight: f64, low: f64, high: f64 },
    Function(Arc<dyn Fn(&NoiseLevel) -> f64 + Send + Sync>),
}

impl GuidanceWeight {
    /// The same w at every level.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless `weight` is finite.
    pub fn constant(weight: f64) -> Result<Self, Error> {
        require(weight.is_finite(), "guidance weight", weight, "finite")?;
        Ok(Self(Kind::Constant(weight)))
    }

    /// The scale s = 1 + w of most image libraries.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless `scale` is finite.
    pub fn from_scale(scale: f64) -> Result<Self, Error> {
        require(scale.is_finite(), "guidance scale", scale, "finite")?;
        Self::constant(scale - 1.0)
    }

    /// w for ρ = σ/α in (`rho_low`, `rho_high`\], 0 outside, where the second output is not
    /// computed at all (Kynkäänniemi et al. 2024, "Applying Guidance in a Limited Interval Improves
    /// Sample and Distribution Quality in Diffusion Models").
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless `weight` is finite and 0 ≤ `rho_low` < `rho_high`.
    pub fn interval(weight: f64, rho_low: f64, rho_high: f64) -> Result<Self, Error> {
        require(weight.is_finite(), "guidance weight", weight, "finite")?;
        require(rho_low >= 0.0, "rho_low", rho_low, "at least 0")?;
        require(
            rho_high > rho_low,
            "rho_high",
            rho_high,
            "greater than rho_low",
        )?;
        Ok(Self(Kind::Interval {
            weight,
            low: rho_low,
            high: rho_high,
        }))
    }

    /// w as a function of the level. A value that is not finite stops the run with an error.
    pub fn by_level(function: impl Fn(&NoiseLevel) -> f64 + Send + Sync + 'static) -> Self {
        Self(Kind::Function(Arc::new(function)))
    }

    /// w at a level.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] when the function's value is not finite.
    pub fn at(&self, level: &NoiseLevel) -> Result<f64, Error> {
        match &self.0 {
            Kind::Constant(weight) => Ok(*weight),
            Kind::Interval { weight, low, high } => {
                let rho = level.rho();
                Ok(if rho > *low && rho <= *high {
                    *weight
                } else {
                    0.0
                })
            }
            Kind::Function(function) => {
                let weight = function(level);
                require(weight.is_finite(), "guidance weight", weight, "finite")?;
                Ok(weight)
            }
        }
    }
}

impl fmt::Debug for GuidanceWeight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Constant(weight) => write!(f, "GuidanceWeight({weight})"),
            Kind::Interval { weight, low, high } => {
                write!(f, "GuidanceWeight({weight} for rho in ({low}, {high}])")
            }
            Kind::Function(_) => write!(f, "GuidanceWeight(by level)"),
        }
    }
}

//! Clipping of the x₀ estimate.

use crate::error::{Error, require};

/// What happens to the noise estimate E when D is clipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ClipNoise {
    /// E is recomputed from the clipped D, so that x = αD + σE still holds.
    #[default]
    Recompute,
    /// E stays the model's own: what diffusers' DDIM does by default.
    Keep,
}

/// Clips the model's estimate of x₀ to a range before it is used and stored.
///
/// NaN stays NaN, and a model output that is not finite stops the run as without clipping.
///
/// ```
/// use diffusion_sampler::{Clip, clip::ClipNoise};
///
/// let pixels = Clip::new(-1.0, 1.0)?;
/// assert_eq!(pixels.keeping_noise().noise(), ClipNoise::Keep);
/// assert!(Clip::new(1.0, -1.0).is_err());
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clip {
    low: f64,
    high: f64,
    noise: ClipNoise,
}

impl Clip {
    /// Clips D to \[`low`, `high`\] and recomputes E.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless `low` < `high`, both finite.
    pub fn new(low: f64, high: f64) -> Result<Self, Error> {
        require(low.is_finite(), "low end of the clip", low, "finite")?;
        require(
            high.is_finite() && high > low,
            "high end of the clip",
            high,
            "finite and greater than the low end",
        )?;
        Ok(Self {
            low,
            high,
            noise: ClipNoise::Recompute,
        })
    }

    /// The same range with E left as the model gave it.
    #[must_use]
    pub fn keeping_noise(self) -> Self {
        Self {
            noise: ClipNoise::Keep,
            ..self
        }
    }

    /// The low end.
    pub fn low(&self) -> f64 {
        self.low
    }

    /// The high end.
    pub fn high(&self) -> f64 {
        self.high
    }

    /// What happens to E.
    pub fn noise(&self) -> ClipNoise {
        self.noise
    }
}

//! Clipping and thresholding of the x₀ estimate.

#[cfg(feature = "serde")]
mod stored;

use crate::error::{Error, require};

/// What happens to the noise estimate E when D is clipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ClipNoise {
    /// E is recomputed from the clipped D, so that x = αD + σE still holds.
    #[default]
    Recompute,
    /// E stays the model's own: what diffusers' DDIM does by default.
    Keep,
}

/// Clips the model's estimate of x₀ to a range before it is used and stored.
///
/// | | D becomes |
/// |---|---|
/// | [`new`](Self::new) | clamp(D, low, high): static thresholding |
/// | [`dynamic`](Self::dynamic) | clamp(D, −s, s)/s, s the quantile of \|D\| in each sample, at least 1 |
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
#[doc(alias = "thresholding")]
#[doc(alias = "clip_sample")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clip {
    range: Range,
    noise: ClipNoise,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Range {
    Static { low: f64, high: f64 },
    Dynamic { ratio: f64, max: f64 },
}

/// The range of one sample at one evaluation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bounds {
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// The factor on D after the clamp.
    pub(crate) scale: f64,
    pub(crate) keeps_noise: bool,
}

/// What happens, in words.
impl std::fmt::Display for Clip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.range {
            Range::Static { low, high } => write!(f, "clipped to {low} to {high}")?,
            Range::Dynamic { ratio, max } => write!(
                f,
                "thresholded at the quantile {ratio} of each sample, from 1 to {max}"
            )?,
        }
        match self.noise {
            ClipNoise::Recompute => Ok(()),
            ClipNoise::Keep => f.write_str(", the estimate of the noise kept"),
        }
    }
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
            range: Range::Static { low, high },
            noise: ClipNoise::Recompute,
        })
    }

    /// Dynamic thresholding: s is the `ratio` quantile of |D| over each sample (with linear
    /// interpolation between order statistics), clamped to \[1, `max`\]; D becomes clamp(D, −s,
    /// s)/s. Saharia et al. (2022), "Photorealistic Text-to-Image Diffusion Models with Deep
    /// Language Understanding", section 2.3.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless 0 ≤ `ratio` ≤ 1 and `max` ≥ 1 is finite.
    pub fn dynamic(ratio: f64, max: f64) -> Result<Self, Error> {
        let valid = (0.0..=1.0).contains(&ratio);
        require(valid, "thresholding ratio", ratio, "in [0, 1]")?;
        let valid = max.is_finite() && max >= 1.0;
        require(valid, "largest threshold", max, "finite and at least 1")?;
        Ok(Self {
            range: Range::Dynamic { ratio, max },
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

    /// The range \[low, high\], the same for every sample; `None` for dynamic thresholding.
    pub fn range(&self) -> Option<(f64, f64)> {
        match self.range {
            Range::Static { low, high } => Some((low, high)),
            Range::Dynamic { .. } => None,
        }
    }

    /// What happens to E.
    pub fn noise(&self) -> ClipNoise {
        self.noise
    }

    /// The bounds where they are the same for every sample.
    pub(crate) fn fixed(&self) -> Option<Bounds> {
        self.range().map(|(low, high)| self.bounds(low, high, 1.0))
    }

    /// The bounds of a sample whose |D| are `values`, in any order; they are rearranged.
    pub(crate) fn of_magnitudes<A: crate::real::Real>(&self, values: &mut [A]) -> Bounds {
        match self.range {
            Range::Static { low, high } => self.bounds(low, high, 1.0),
            Range::Dynamic { ratio, max } => {
                // A NaN is no quantile; the update reports it.
                let s = f64::max(quantile(values, ratio), 1.0).min(max);
                self.bounds(-s, s, 1.0 / s)
            }
        }
    }

    fn bounds(&self, low: f64, high: f64, scale: f64) -> Bounds {
        Bounds {
            low,
            high,
            scale,
            keeps_noise: self.noise == ClipNoise::Keep,
        }
    }
}

/// The quantile with linear interpolation between order statistics, by selection.
fn quantile<A: crate::real::Real>(values: &mut [A], ratio: f64) -> f64 {
    let Some(last) = values.len().checked_sub(1) else {
        return 0.0;
    };
    let position = ratio * last as f64;
    let below = position as usize;
    let order = |a: &A, b: &A| a.widen().total_cmp(&b.widen());
    let (_, &mut low, above) = values.select_nth_unstable_by(below.min(last), order);
    let fraction = position - below as f64;
    let high = above
        .iter()
        .copied()
        .fold(None, |least: Option<A>, v| {
            Some(least.map_or(v, |l| l.min(v)))
        })
        .unwrap_or(low);
    low.widen() + fraction * (high.widen() - low.widen())
}

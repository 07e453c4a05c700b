//! Sums with fixed weights.

use super::combination::{Weights, output_count, require_weight};
use super::{Combination, Evaluation, Guidance, GuidanceWeight, MAX_OUTPUTS, Products};
use crate::error::Error;
use crate::memory::Copied;

/// Several conditions: E = E_u + Σ s_i (E_i − E_u). Liu, Li, Du, Torralba and Tenenbaum (2022),
/// "Compositional Visual Generation with Composable Diffusion Models".
///
/// Outputs: the conditions in the order of their scales, then the unconditional one.
///
/// ```
/// use diffusion_sampler::guidance::{Composed, Guidance};
///
/// assert_eq!(Composed::new(&[5.0, 2.5])?.outputs(), 3);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Composed {
    pub(super) weights: Vec<f64>,
}

impl Composed {
    /// One scale for each condition.
    ///
    /// # Errors
    ///
    /// [`Error::OutputCount`] unless there are 1 to 5; [`Error::InvalidParameter`] for a scale that
    /// is not finite or exceeds 1e9.
    pub fn new(scales: &[f64]) -> Result<Self, Error> {
        if !(1..MAX_OUTPUTS).contains(&scales.len()) {
            return Err(Error::OutputCount {
                found: scales.len() + 1,
                max: MAX_OUTPUTS,
            });
        }
        for &scale in scales {
            require_weight("scale of a condition", scale)?;
        }
        let rest = 1.0 - scales.iter().sum::<f64>();
        require_weight("1 less the sum of the scales", rest)?;
        let mut weights = scales.copy()?;
        weights.push(rest);
        Ok(Self { weights })
    }
}

impl Guidance for Composed {
    fn name(&self) -> &'static str {
        "composed guidance"
    }

    fn outputs(&self) -> usize {
        self.weights.len()
    }

    fn combine(&self, _: &Evaluation, _: Option<&Products>) -> Result<Combination, Error> {
        Combination::weighted(&self.weights)
    }
}

/// Guidance away from a perturbed output of the same model: E = E_u + s (E_c − E_u) + p (E_c −
/// E_p), with the weight p constant or by level, and the perturbed output not computed where p = 0.
///
/// What is perturbed is the model's affair: attention (PAG; Ahn et al. 2024, "Self-Rectifying
/// Diffusion Sampling with Perturbed-Attention Guidance"), layers (skip-layer guidance, as Stable
/// Diffusion 3.5 uses it), or layers of a video model (STG; Hyung et al. 2024, "Spatiotemporal Skip
/// Guidance for Enhanced Video Diffusion Sampling"). Outputs: conditional, unconditional,
/// perturbed.
///
/// ```
/// use diffusion_sampler::guidance::{GuidanceWeight, Perturbed};
///
/// // Skip-layer guidance in an interval of noise.
/// let guidance = Perturbed::new(4.0, GuidanceWeight::interval(2.5, 0.5, 20.0)?)?;
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[doc(alias = "PAG")]
#[doc(alias = "SLG")]
#[doc(alias = "STG")]
#[derive(Clone, Debug)]
pub struct Perturbed {
    pub(super) scale: f64,
    pub(super) weight: GuidanceWeight,
}

impl Perturbed {
    /// Scale s of the condition, weight p of the perturbed output.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless |`scale`| ≤ 1e9.
    pub fn new(scale: f64, weight: GuidanceWeight) -> Result<Self, Error> {
        require_weight("guidance scale", scale)?;
        Ok(Self { scale, weight })
    }
}

impl Guidance for Perturbed {
    fn name(&self) -> &'static str {
        "perturbed guidance"
    }

    fn outputs(&self) -> usize {
        3
    }

    fn wanted(&self, at: &Evaluation) -> Result<usize, Error> {
        Ok(match self.weight.at(at.level())? {
            0.0 if self.scale == 1.0 => 1,
            0.0 => 2,
            _ => 3,
        })
    }

    fn combine(&self, at: &Evaluation, _: Option<&Products>) -> Result<Combination, Error> {
        let (s, p) = (self.scale, self.weight.at(at.level())?);
        let weights = [s + p, 1.0 - s, -p];
        Combination::weighted(&weights[..self.wanted(at)?])
    }
}

/// Any fixed weights of up to six outputs, the same at every level. They need not sum to one; then
/// they act on the model's own output.
///
/// ```
/// use diffusion_sampler::guidance::WeightedSum;
///
/// let guidance = WeightedSum::new(&[1.6, -0.4, -0.2])?;
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct WeightedSum {
    pub(super) weights: Vec<f64>,
}

impl WeightedSum {
    /// One weight for each output.
    ///
    /// # Errors
    ///
    /// [`Error::OutputCount`] unless there are 1 to 6; [`Error::InvalidEntry`] for a weight that is
    /// not finite or exceeds 1e9.
    pub fn new(weights: &[f64]) -> Result<Self, Error> {
        output_count(weights.len())?;
        Combination::weighted(weights)?;
        Ok(Self {
            weights: weights.copy()?,
        })
    }
}

impl Guidance for WeightedSum {
    fn name(&self) -> &'static str {
        "a weighted sum"
    }

    fn outputs(&self) -> usize {
        self.weights.len()
    }

    fn combine(&self, _: &Evaluation, _: Option<&Products>) -> Result<Combination, Error> {
        let weights: Weights = self.weights.iter().copied().collect();
        Combination::weighted(&weights)
    }
}

//! Classifier-free guidance.

use super::{Combination, Evaluation, Guidance, GuidanceWeight, Products};
use crate::error::Error;

/// Classifier-free guidance, E = (1 + w) E_c − w E_u with the paper's w, which is
/// E_u + s (E_c − E_u) with the scale s = 1 + w of most libraries ([`GuidanceWeight`]). Ho and
/// Salimans (2022), "Classifier-Free Diffusion Guidance".
///
/// Outputs: conditional, unconditional. With the output of a negative prompt in place of the
/// unconditional one it is negative prompting, with that of a weaker model autoguidance (Karras et
/// al. 2024, "Guiding a Diffusion Model with a Bad Version of Itself"). The weights sum to one, so
/// that the combination is the same on x₀, ε, v and u. Where w = 0 the second output is not
/// computed.
///
/// Guidance does not sample p(x) p(y|x)^w: see the mathematics guide.
///
/// ```
/// use diffusion_sampler::{Prediction, denoiser::{Guided, Models}, from_fn};
/// use diffusion_sampler::guidance::ClassifierFree;
/// use ndarray::Ix2;
///
/// let conditional = from_fn::<f32, Ix2>(Prediction::Data, |_, _, out| out.fill(1.0));
/// let unconditional = from_fn::<f32, Ix2>(Prediction::Data, |_, _, out| out.fill(0.0));
/// let guidance = ClassifierFree::with_scale(7.5)?;
/// let model = Guided::new(Models((conditional, unconditional)), guidance);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[doc(alias = "CFG")]
#[doc(alias = "guidance_scale")]
#[doc(alias = "autoguidance")]
#[doc(alias = "negative_prompt")]
#[derive(Clone, Debug)]
pub struct ClassifierFree {
    pub(super) weight: GuidanceWeight,
}

impl ClassifierFree {
    /// Guidance with weight w, constant or by level.
    pub fn new(weight: GuidanceWeight) -> Self {
        Self { weight }
    }

    /// Guidance with the constant scale s = 1 + w of most libraries; 1 is plain conditional.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless `scale` is finite.
    pub fn with_scale(scale: f64) -> Result<Self, Error> {
        Ok(Self::new(GuidanceWeight::from_scale(scale)?))
    }

    /// Guidance with the paper's constant weight w; 0 is plain conditional.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless `weight` is finite.
    pub fn with_weight(weight: f64) -> Result<Self, Error> {
        Ok(Self::new(GuidanceWeight::constant(weight)?))
    }
}

impl Guidance for ClassifierFree {
    fn name(&self) -> &'static str {
        "classifier-free guidance"
    }

    fn outputs(&self) -> usize {
        2
    }

    fn wanted(&self, at: &Evaluation) -> Result<usize, Error> {
        Ok(1 + usize::from(self.weight.at(at.level())? != 0.0))
    }

    fn combine(&self, at: &Evaluation, _: Option<&Products>) -> Result<Combination, Error> {
        match self.weight.at(at.level())? {
            0.0 => Ok(Combination::single()),
            w => Combination::affine(&[1.0 + w, -w]),
        }
    }
}

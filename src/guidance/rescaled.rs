//! Rescaled guidance.

use super::{Combination, Evaluation, Guidance, Products, required};
use crate::error::{Error, require};

/// Rescaled guidance: o ← φ o·std(o_c)/std(o) + (1 − φ) o, on the model's own output o, with o_c
/// the first output and std taken over each sample. Lin, Liu, Li and Yang (2024), "Common Diffusion
/// Noise Schedules and Sample Steps Are Flawed", section 3.4.
///
/// The inner form must be weights on the model's own outputs: classifier-free, composed, perturbed.
/// Others are refused by name ([`Error::NestedGuidance`]).
///
/// ```
/// use diffusion_sampler::guidance::{ClassifierFree, Rescaled};
///
/// let guidance = Rescaled::new(ClassifierFree::with_scale(7.5)?, 0.7)?;
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[doc(alias = "guidance_rescale")]
#[derive(Clone, Debug)]
pub struct Rescaled<G> {
    pub(super) inner: G,
    pub(super) phi: f64,
}

impl<G: Guidance> Rescaled<G> {
    /// `inner` rescaled by the fraction `phi`: 0 leaves it as it is.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless 0 ≤ φ ≤ 1.
    pub fn new(inner: G, phi: f64) -> Result<Self, Error> {
        require((0.0..=1.0).contains(&phi), "phi", phi, "in [0, 1]")?;
        Ok(Self { inner, phi })
    }
}

impl<G: Guidance> Guidance for Rescaled<G> {
    fn name(&self) -> &'static str {
        "rescaled guidance"
    }

    fn outputs(&self) -> usize {
        self.inner.outputs()
    }

    fn wanted(&self, at: &Evaluation) -> Result<usize, Error> {
        self.inner.wanted(at)
    }

    fn needs_products(&self, at: &Evaluation) -> bool {
        // The scale of one output is known without them.
        self.phi != 0.0 && self.inner.wanted(at).is_ok_and(|outputs| outputs > 1)
    }

    fn is_stateful(&self) -> bool {
        self.inner.is_stateful()
    }

    fn combine(&self, at: &Evaluation, products: Option<&Products>) -> Result<Combination, Error> {
        let inner = self.inner.combine(at, products)?;
        if !inner.is_weights_only() || self.inner.is_stateful() {
            return Err(Error::NestedGuidance {
                outer: self.name(),
                inner: self.inner.name(),
            });
        }
        // One output has the scale of its weight.
        let alone = match *inner.models() {
            [weight] => Some(weight.abs()),
            _ => None,
        };
        if self.phi == 0.0 || matches!(alone, Some(0.0 | 1.0)) {
            return Ok(inner);
        }
        if let Some(weight) = alone {
            return inner.scaled(self.phi / weight + (1.0 - self.phi));
        }
        let products = required(self.name(), products)?;
        let spread = products.spread_of(inner.models());
        // A constant output has no scale to be brought to.
        if spread == 0.0 {
            return Ok(inner);
        }
        let ratio = (products.spread_of(&[1.0]) / spread).sqrt();
        inner.scaled(self.phi * ratio + (1.0 - self.phi))
    }
}

//! Classifier guidance.

use super::{Combination, Evaluation, Guidance, GuidanceWeight, Memory, Products, Unguided};
use crate::error::Error;

/// Classifier guidance: E ← E − w σ ∇ₓ log p(y | x), which is D ← D + w (σ²/α) ∇ₓ log p(y | x).
/// Dhariwal and Nichol (2021), "Diffusion Models Beat GANs on Image Synthesis", Algorithm 2.
///
/// Outputs: those of the inner form, then the gradient
/// ([`WithClassifier`](crate::denoiser::WithClassifier) computes it). w = 0 is unguided; there the
/// classifier is not called. With the exact classifier of an unconditional model, weight 1 + w here
/// equals classifier-free guidance with w. At α = 0 the guided D is undefined, and a run that is
/// guided there stops with [`Error::PredictionUndefined`].
///
/// ```
/// use diffusion_sampler::guidance::{ClassifierFree, ClassifierGuidance, GuidanceWeight};
///
/// let alone = ClassifierGuidance::new(GuidanceWeight::constant(2.0)?);
/// let both = ClassifierGuidance::around(
///     ClassifierFree::with_scale(3.0)?,
///     GuidanceWeight::constant(2.0)?,
/// );
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClassifierGuidance<G = Unguided> {
    pub(super) inner: G,
    pub(super) weight: GuidanceWeight,
}

impl ClassifierGuidance {
    /// A plain model guided by a classifier.
    pub fn new(weight: GuidanceWeight) -> Self {
        Self::around(Unguided, weight)
    }
}

impl<G: Guidance> ClassifierGuidance<G> {
    /// A model that is guided by `inner` already. Where w ≠ 0 all outputs of `inner` are computed,
    /// since the gradient stands behind them.
    pub fn around(inner: G, weight: GuidanceWeight) -> Self {
        Self { inner, weight }
    }
}

impl<G: Guidance> Guidance for ClassifierGuidance<G> {
    fn name(&self) -> &'static str {
        "classifier guidance"
    }

    fn outputs(&self) -> usize {
        self.inner.outputs() + 1
    }

    fn wanted(&self, at: &Evaluation) -> Result<usize, Error> {
        match self.weight.at(at.level())? {
            0.0 => self.inner.wanted(at),
            _ => Ok(self.outputs()),
        }
    }

    fn needs_products(&self, at: &Evaluation) -> bool {
        self.inner.needs_products(at)
    }

    fn memory(&self, at: &Evaluation) -> Option<Memory> {
        self.inner.memory(at)
    }

    fn is_stateful(&self) -> bool {
        self.inner.is_stateful()
    }

    fn combine(&self, at: &Evaluation, products: Option<&Products>) -> Result<Combination, Error> {
        let mut combination = self.inner.combine(at, products)?;
        let weight = self.weight.at(at.level())?;
        if weight == 0.0 {
            return Ok(combination);
        }
        combination = combination.over(self.inner.outputs())?;
        combination.with_gradient(weight)
    }
}

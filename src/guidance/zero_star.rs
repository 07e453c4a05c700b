//! CFG-Zero*.

use super::combination::require_weight;
use super::{Combination, Evaluation, Guidance, Products, required};
use crate::error::Error;
use crate::prediction::Prediction;

/// Keeps the projection's denominator from 0, as published code does.
const TINY: f64 = 1e-8;

/// CFG-Zero*: u = a u_u + s (u_c − a u_u) on the velocity u, a = ⟨u_c, u_u⟩/(|u_u|² + 1e-8) for
/// each sample; and u = 0 on the first steps. Fan et al. (2025), "CFG-Zero*: Improved
/// Classifier-Free Guidance for Flow Matching Models".
///
/// The velocity is that of a flow, u = E − D, unless [`on`](Self::on) says otherwise. Outputs:
/// conditional, unconditional.
///
/// ```
/// use diffusion_sampler::guidance::ZeroStar;
///
/// let guidance = ZeroStar::with_scale(5.0)?.zero_steps(1);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[doc(alias = "CFGZeroStar")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ZeroStar {
    pub(super) scale: f64,
    pub(super) zero_steps: usize,
    pub(super) space: Prediction,
}

impl ZeroStar {
    /// CFG-Zero* with scale s, without zero steps.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless |`scale`| ≤ 1e9.
    pub fn with_scale(scale: f64) -> Result<Self, Error> {
        require_weight("guidance scale", scale)?;
        Ok(Self {
            scale,
            zero_steps: 0,
            space: Prediction::Flow,
        })
    }

    /// Takes the velocity for 0 on the first `steps` steps of a run; published code uses 1.
    #[must_use]
    pub fn zero_steps(self, steps: usize) -> Self {
        Self {
            zero_steps: steps,
            ..self
        }
    }

    /// The same formula on another prediction than the flow's velocity.
    #[must_use]
    pub fn on(self, space: Prediction) -> Self {
        Self { space, ..self }
    }

    fn is_zero(&self, at: &Evaluation) -> bool {
        at.step().is_some_and(|step| step < self.zero_steps)
    }
}

impl Guidance for ZeroStar {
    fn name(&self) -> &'static str {
        "CFG-Zero*"
    }

    fn outputs(&self) -> usize {
        2
    }

    fn wanted(&self, at: &Evaluation) -> Result<usize, Error> {
        Ok(if self.is_zero(at) { 1 } else { 2 })
    }

    fn needs_products(&self, at: &Evaluation) -> bool {
        !self.is_zero(at)
    }

    fn combine(&self, at: &Evaluation, products: Option<&Products>) -> Result<Combination, Error> {
        if self.is_zero(at) {
            return Ok(Combination::weighted(&[0.0])?.in_space(self.space));
        }
        let products = required(self.name(), products)?;
        let space = at.prediction().convert_to(self.space, at.level())?;
        let squared = products.inner_in(space, 1, 1);
        let a = products.inner_in(space, 0, 1) / (squared + TINY);
        let s = self.scale;
        Ok(Combination::weighted(&[s, (1.0 - s) * a])?.in_space(self.space))
    }
}

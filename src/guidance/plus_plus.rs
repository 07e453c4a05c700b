//! CFG++.

use super::combination::require_weight;
use super::{Combination, Evaluation, Guidance, Products};
use crate::error::Error;

/// CFG++: D from E_u + λ (E_c − E_u), noise added back by E_u. Chung et al. (2024), "CFG++:
/// Manifold-constrained Classifier Free Guidance for Diffusion Models".
///
/// For DDIM it equals classifier-free guidance with the scale λ/(1 − r), r = e^−h of the step. λ is
/// usually in \[0, 1\]. Outputs: conditional, unconditional.
///
/// ```
/// use diffusion_sampler::guidance::PlusPlus;
///
/// let guidance = PlusPlus::new(0.6)?;
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[doc(alias = "cfg_pp")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlusPlus {
    pub(super) lambda: f64,
}

impl PlusPlus {
    /// CFG++ with strength `lambda`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless |`lambda`| ≤ 1e9.
    pub fn new(lambda: f64) -> Result<Self, Error> {
        require_weight("lambda", lambda)?;
        Ok(Self { lambda })
    }
}

impl Guidance for PlusPlus {
    fn name(&self) -> &'static str {
        "CFG++"
    }

    fn outputs(&self) -> usize {
        2
    }

    fn combine(&self, _: &Evaluation, _: Option<&Products>) -> Result<Combination, Error> {
        Combination::affine(&[self.lambda, 1.0 - self.lambda])?.with_noise(&[0.0, 1.0])
    }
}

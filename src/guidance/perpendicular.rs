//! Perpendicular negative guidance.

use super::combination::require_weight;
use super::{Combination, Evaluation, Guidance, Products, required};
use crate::error::Error;

/// Perpendicular negative prompting: E = E_u + s (δ − w_n δ⁻_⊥), δ = E_c − E_u, δ⁻ = E_neg − E_u,
/// of which only the part perpendicular to δ counts. Armandpour et al. (2023), "Re-imagine the
/// Negative Prompt Algorithm".
///
/// For each sample, with c = ⟨δ⁻, δ⟩/⟨δ, δ⟩, it is the sum s (1 + w_n c) o_c − s w_n o_neg +
/// (1 − s (1 + w_n c) + s w_n) o_u. Outputs: conditional, unconditional, negative.
///
/// ```
/// use diffusion_sampler::guidance::PerpendicularNegative;
///
/// let guidance = PerpendicularNegative::new(7.5, 1.0)?;
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[doc(alias = "perp_neg")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PerpendicularNegative {
    pub(super) scale: f64,
    pub(super) negative: f64,
}

impl PerpendicularNegative {
    /// Scale s and the weight w_n of the negative condition.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless both are at most 1e9 in magnitude.
    pub fn new(scale: f64, negative: f64) -> Result<Self, Error> {
        require_weight("guidance scale", scale)?;
        require_weight("negative weight", negative)?;
        Ok(Self { scale, negative })
    }
}

impl Guidance for PerpendicularNegative {
    fn name(&self) -> &'static str {
        "perpendicular negative guidance"
    }

    fn outputs(&self) -> usize {
        3
    }

    fn needs_products(&self, _: &Evaluation) -> bool {
        true
    }

    fn combine(&self, _: &Evaluation, products: Option<&Products>) -> Result<Combination, Error> {
        let products = required(self.name(), products)?;
        let towards = [1.0, -1.0, 0.0];
        let squared = products.inner_of(&towards, &towards);
        // A difference that is rounding has no direction.
        let size = products.inner(0, 0) + products.inner(1, 1);
        let c = if squared > 1e-14 * size {
            products.inner_of(&[0.0, -1.0, 1.0], &towards) / squared
        } else {
            // δ = 0: everything is perpendicular to it.
            0.0
        };
        let (s, n) = (self.scale, self.negative);
        let conditional = s * (1.0 + n * c);
        Combination::weighted(&[conditional, 1.0 - conditional + s * n, -s * n])
    }
}

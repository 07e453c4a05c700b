//! Tangential damping.

use super::combination::require_weight;
use super::{Combination, Evaluation, Guidance, Products, required};
use crate::error::Error;

/// Tangential classifier-free guidance: the unconditional output is replaced by its projection on
/// the leading right singular vector of the two rows o_c, o_u, then E = o_u' + s (o_c − o_u'). Kwon
/// et al. (2025), "TCFG: Tangential Damping Classifier-free Guidance".
///
/// With (a, b) the unit leading eigenvector of the Gram matrix of (o_c, o_u), o_u' = b (a o_c + b
/// o_u) for each sample, on the model's own output. Outputs: conditional, unconditional.
///
/// ```
/// use diffusion_sampler::guidance::Tangential;
///
/// let guidance = Tangential::with_scale(7.5)?;
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[doc(alias = "TCFG")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tangential {
    pub(super) scale: f64,
}

impl Tangential {
    /// TCFG with scale s.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless |`scale`| ≤ 1e9.
    pub fn with_scale(scale: f64) -> Result<Self, Error> {
        require_weight("guidance scale", scale)?;
        Ok(Self { scale })
    }
}

impl Guidance for Tangential {
    fn name(&self) -> &'static str {
        "TCFG"
    }

    fn outputs(&self) -> usize {
        2
    }

    fn needs_products(&self, _: &Evaluation) -> bool {
        true
    }

    fn combine(&self, _: &Evaluation, products: Option<&Products>) -> Result<Combination, Error> {
        let products = required(self.name(), products)?;
        let (cc, cu, uu) = (
            products.inner(0, 0),
            products.inner(0, 1),
            products.inner(1, 1),
        );
        // The leading eigenvector of [[cc, cu], [cu, uu]] is (cos θ, sin θ), tan 2θ = 2cu/(cc −
        // uu); half angles of the vector (cc − uu, 2cu), in the form without cancellation.
        let (even, odd) = (cc - uu, 2.0 * cu);
        let length = libm::hypot(even, odd);
        let (bb, ab) = if length == 0.0 {
            // No direction leads: nothing is damped.
            (1.0, 0.0)
            // Equivalent mutant: replace > with >=: at 0 both are 1/2.
        } else if even > 0.0 {
            (
                0.5 * odd * odd / (length * (length + even)),
                0.5 * odd / length,
            )
        } else {
            (0.5 * (length - even) / length, 0.5 * odd / length)
        };
        let s = self.scale;
        Combination::weighted(&[s + (1.0 - s) * ab, (1.0 - s) * bb])
    }
}

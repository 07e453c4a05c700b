//! A bound and its parts.

use crate::error::{Error, require_cost};

/// What a −ln p is of. The two differ by the logarithm of the pixels' spacing, and have no common
/// zero: they must not be compared or added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Likelihood {
    /// −ln p of a continuous density: it may be negative, and depends on the unit of the data.
    Density,
    /// −ln P of discrete data, pixels in grey values: never negative.
    Mass,
}

/// A bound and its parts, in nats.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    /// KL(q(x_T | x₀) ‖ N(0, v_T I)).
    pub prior: f64,
    /// The edges' KL terms, from the noisy end.
    pub edges: Vec<f64>,
    /// The decoder's −ln p.
    pub decoder: f64,
    /// The number of elements d.
    pub dim: usize,
    /// What the decoder's −ln p is of, and with it the bound's.
    pub likelihood: Likelihood,
}

impl Bound {
    /// Refuses a sum that f64 cannot hold.
    pub(super) fn checked(self) -> Result<Self, Error> {
        require_cost("bound", self.nats())?;
        Ok(self)
    }

    /// The bound on −ln p(x₀), in nats.
    pub fn nats(&self) -> f64 {
        self.prior + self.edges.iter().sum::<f64>() + self.decoder
    }

    /// The bound in bits per dimension, nats/(d ln 2); 0 for d = 0. Only of a
    /// [mass](Likelihood::Mass) is it a length of a code: of a density it depends on the unit of
    /// the data.
    pub fn bits_per_dimension(&self) -> f64 {
        if self.dim == 0 {
            return 0.0;
        }
        self.nats() / (self.dim as f64 * std::f64::consts::LN_2)
    }
}

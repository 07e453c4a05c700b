//! The reverse variance of the bound, and what an edge costs under it.

use crate::error::{Error, require_cost};
use crate::posterior::{ReverseVariance, StridedPosterior};

/// The reverse variance v_p of the bound.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum EdgeVariance {
    /// A sampler's policy.
    Policy(ReverseVariance),
    /// The best for the given errors, v_p = γ² + c²M_t/d: L = (d/2) ln(1 + 2ωM_t/d).
    Optimal,
}

impl EdgeVariance {
    /// The edge's KL in nats, for `dim` elements and M_t = `error`.
    pub(super) fn cost(
        self,
        posterior: &StridedPosterior,
        dim: usize,
        error: f64,
    ) -> Result<f64, Error> {
        match self {
            Self::Policy(policy) => posterior.kl(dim, error, posterior.reverse_variance(policy)?),
            Self::Optimal if dim == 0 => Ok(0.0),
            Self::Optimal => {
                let d = dim as f64;
                require_cost(
                    "optimal cost of an edge",
                    0.5 * d * libm::log1p(2.0 * posterior.elbo_weight()? * error / d),
                )
            }
        }
    }

    /// The derivative of the cost by M_t.
    pub(super) fn slope(
        self,
        posterior: &StridedPosterior,
        dim: usize,
        error: f64,
    ) -> Result<f64, Error> {
        match self {
            Self::Policy(policy) => {
                let c = posterior.data_coefficient();
                Ok(0.5 * c * c / posterior.reverse_variance(policy)?)
            }
            Self::Optimal if dim == 0 => Ok(0.0),
            Self::Optimal => {
                let omega = posterior.elbo_weight()?;
                Ok(omega / (1.0 + 2.0 * omega * error / dim as f64))
            }
        }
    }

    /// Refuses an edge that has no bound: γ or v_p is 0.
    pub(super) fn check(self, posterior: &StridedPosterior) -> Result<(), Error> {
        posterior.elbo_weight()?;
        if let Self::Policy(policy) = self
            && posterior.reverse_variance(policy)? == 0.0
        {
            return Err(Error::DeterministicLikelihood {
                from: posterior.from().time(),
                to: posterior.to().time(),
            });
        }
        Ok(())
    }
}

//! The edge onto the clean end.

use super::Likelihood;
use crate::error::{Error, require, require_cost, require_positive};
use crate::special::LOG_TAU;

/// The last edge, onto the clean end: what turns the last estimate into a likelihood of data.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Decoder {
    /// N(D, v I) with the best v = M_t/d: (d/2) ln(2πe M_t/d). A density.
    GaussianOptimal,
    /// N(D, v I) with this variance: (d/2) ln(2πv) + M_t/(2v). A density.
    Gaussian(f64),
    /// −ln p of a density, computed elsewhere, in nats.
    Density(f64),
    /// −ln P of discrete data, computed elsewhere, in nats: for pixels
    /// [`PixelCosts`](super::PixelCosts), [`discretised_gaussian_nats`](super::discretised_gaussian_nats).
    Mass(f64),
}

impl Decoder {
    /// What its −ln p is of.
    pub fn likelihood(&self) -> Likelihood {
        match self {
            Self::GaussianOptimal | Self::Gaussian(_) | Self::Density(_) => Likelihood::Density,
            Self::Mass(_) => Likelihood::Mass,
        }
    }

    /// −ln p in nats, for `dim` elements and M_t = `error`.
    pub(super) fn nats(&self, dim: usize, error: f64) -> Result<f64, Error> {
        let d = dim as f64;
        match *self {
            Self::GaussianOptimal if dim == 0 => Ok(0.0),
            Self::GaussianOptimal => {
                require_positive("last data error", error)?;
                // The sum of logarithms: the product 2πe·M/d may overflow.
                Ok(0.5 * d * (LOG_TAU + 1.0 + (libm::log(error) - libm::log(d))))
            }
            Self::Gaussian(variance) => {
                require_positive("decoder variance", variance)?;
                require_cost(
                    "Gaussian decoder's cost",
                    0.5 * (d * (LOG_TAU + libm::log(variance)) + error / variance),
                )
            }
            Self::Density(nats) => {
                require(nats.is_finite(), "decoder nats", nats, "finite")?;
                Ok(nats)
            }
            Self::Mass(nats) => {
                let valid = nats.is_finite() && nats >= 0.0;
                require(
                    valid,
                    "decoder nats",
                    nats,
                    "finite, and of a mass at least 0",
                )?;
                Ok(nats)
            }
        }
    }

    /// The derivative of −ln p by M_t.
    pub(super) fn slope(&self, dim: usize, error: f64) -> f64 {
        match *self {
            Self::GaussianOptimal => 0.5 * dim as f64 / error,
            Self::Gaussian(variance) => 0.5 / variance,
            Self::Density(_) | Self::Mass(_) => 0.0,
        }
    }
}

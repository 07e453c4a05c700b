//! What one edge costs in nats.

use super::StridedPosterior;
use crate::error::{Error, require_cost, require_non_negative};
use crate::special::spread_excess;

impl StridedPosterior {
    /// ω = c_0²/(2γ²), the cost in nats of one unit of squared data error on this edge when v_p =
    /// γ²: the ELBO's weight.
    ///
    /// ω ≥ (snr_s − snr_t)/2, with equality exactly at DDPM's κ = r.
    ///
    /// # Errors
    ///
    /// [`Error::DeterministicLikelihood`] at γ = 0, where the KL is infinite;
    /// [`Error::CostOverflow`] for a γ so small that ω overflows.
    pub fn elbo_weight(&self) -> Result<f64, Error> {
        self.require_density()?;
        let ratio = self.data_coefficient() / self.gamma;
        require_cost("ELBO weight of an edge", 0.5 * ratio * ratio)
    }

    /// KL(q(x_s | x_t, x₀) ‖ N(c_t x_t + c_0 x̂₀, v_p I)) in nats, for `dim` elements and
    /// |x₀ − x̂₀|² = `data_error`: (d/2)\[γ²/v_p − 1 − ln(γ²/v_p)\] + c_0² |x₀ − x̂₀|²/(2v_p).
    ///
    /// # Errors
    ///
    /// [`Error::DeterministicLikelihood`] at γ = 0 or v_p = 0; [`Error::InvalidParameter`] for a
    /// negative or non-finite variance or error; [`Error::CostOverflow`] where the KL overflows.
    pub fn kl(&self, dim: usize, data_error: f64, reverse_variance: f64) -> Result<f64, Error> {
        require_non_negative("data error", data_error)?;
        require_non_negative("reverse variance", reverse_variance)?;
        self.require_density()?;
        if reverse_variance == 0.0 || self.variance() == 0.0 {
            return Err(self.deterministic());
        }
        let c = self.data_coefficient();
        let spread = 0.5 * dim as f64 * spread_excess(self.variance(), reverse_variance);
        require_cost(
            "KL of an edge",
            spread + 0.5 * c * c * data_error / reverse_variance,
        )
    }

    fn require_density(&self) -> Result<(), Error> {
        if self.gamma == 0.0 {
            return Err(self.deterministic());
        }
        Ok(())
    }

    fn deterministic(&self) -> Error {
        Error::DeterministicLikelihood {
            from: self.from.time(),
            to: self.to.time(),
        }
    }
}

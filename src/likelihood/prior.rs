//! What the initial distribution costs.

use crate::error::{Error, require_cost, require_positive};
use crate::level::NoiseLevel;

/// KL(q(x_T | x₀) ‖ N(0, v_T I)) averaged over data: ½[dσ²/v + α²E|x₀|²/v − d − d ln(σ²/v)].
pub(super) fn prior_cost(
    level: &NoiseLevel,
    start_variance: f64,
    dim: usize,
    second_moment: f64,
) -> Result<f64, Error> {
    require_positive("start_variance", start_variance)?;
    let (alpha, v) = (level.alpha(), start_variance);
    // ln(σ²/v) from ln σ, which keeps the difference to 1 where σ² is nearly v.
    let log_ratio = 2.0 * level.log_sigma() - libm::log(v);
    let spread = libm::expm1(log_ratio) - log_ratio;
    let cost = 0.5 * (dim as f64 * spread + alpha * alpha * second_moment / v);
    require_cost("prior's KL", cost)
}

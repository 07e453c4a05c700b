//! The ancestral form of a deterministic step.

use crate::error::Error;
use crate::level::NoiseLevel;
use crate::posterior::{Kappa, StridedPosterior, step_size};

/// A deterministic step to less noise than wanted, (α_s, κσ_s), and then noise σ_s √(1 − κ²).
///
/// In ρ the step leads to κρ_s, k-diffusion's `sigma_down`. Adding noise in x/α keeps marginals, so
/// that the order of the deterministic step is the order in distribution.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ancestral {
    /// Where the deterministic step leads; clean where κ = 0.
    pub(super) down: NoiseLevel,
    /// σ_s √(1 − κ²).
    pub(super) noise: f64,
}

impl Ancestral {
    pub(super) fn new(from: NoiseLevel, to: NoiseLevel, kappa: Kappa) -> Result<Self, Error> {
        let posterior = StridedPosterior::new(from, to, kappa)?;
        Ok(Self {
            down: quieter(&to, posterior.kappa()),
            noise: posterior.gamma(),
        })
    }

    /// The same, but to no less noise than `floor`'s: then κ = ρ_floor/ρ_s.
    pub(super) fn above(
        from: NoiseLevel,
        to: NoiseLevel,
        kappa: Kappa,
        floor: NoiseLevel,
    ) -> Result<Self, Error> {
        let free = Self::new(from, to, kappa)?;
        let span = step_size(&to, &floor);
        if to.is_clean() || free.down.lambda() <= floor.lambda() || span < 0.0 {
            return Ok(free);
        }
        Ok(Self {
            down: quieter(&to, libm::exp(-span)),
            noise: to.sigma() * (-libm::expm1(-2.0 * span)).sqrt(),
        })
    }
}

/// The level (α, κσ).
fn quieter(level: &NoiseLevel, kappa: f64) -> NoiseLevel {
    if kappa == 1.0 {
        return *level;
    }
    let logs = (level.log_alpha(), level.log_sigma() + libm::log(kappa));
    NoiseLevel::from_parts(level.time(), (level.alpha(), kappa * level.sigma()), logs)
        .with_model_time(level.model_time())
}

//! The variables in which Runge–Kutta methods run.

use crate::level::NoiseLevel;
use crate::posterior::step_size;

/// y = x/c against τ = σ/c. In both, the flow is dy/dτ = (y − D)/τ, and Euler's step is DDIM's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum Coordinate {
    /// c = α: τ is ρ, and the slope is E.
    #[default]
    Rho,
    /// c = α + σ: τ is the time of a rectified flow, and the slope is E − D. Pure noise has τ = 1,
    /// where ρ is infinite.
    FlowTime,
}

impl Coordinate {
    /// c.
    pub(super) fn scale(self, level: &NoiseLevel) -> f64 {
        match self {
            Self::Rho => level.alpha(),
            Self::FlowTime => level.alpha() + level.sigma(),
        }
    }

    /// τ.
    pub(super) fn time(self, level: &NoiseLevel) -> f64 {
        level.sigma() / self.scale(level)
    }

    /// τ_t/τ_s − 1; infinite onto σ_s = 0.
    pub(super) fn excess(self, from: &NoiseLevel, to: &NoiseLevel) -> f64 {
        let h = step_size(from, to);
        match self {
            // ρ_t/ρ_s = e^h.
            Self::Rho => libm::expm1(h),
            // (1/ρ_s)(1 − ρ_s/ρ_t) τ_t, which is finite at α_t = 0.
            Self::FlowTime => -libm::expm1(-h) * self.time(from) * to.alpha() / to.sigma(),
        }
    }

    /// λ where τ is the geometric mean of τ_t and τ_s.
    pub(super) fn middle(self, from: &NoiseLevel, to: &NoiseLevel) -> f64 {
        match self {
            Self::Rho => from.lambda() + 0.5 * step_size(from, to),
            Self::FlowTime => {
                // ln τ = −ln(1 + e^λ); λ = ln(1 − τ) − ln τ.
                let log_time = |level: &NoiseLevel| -libm::log1p(level.alpha() / level.sigma());
                let middle = 0.5 * (log_time(from) + log_time(to));
                libm::log(-libm::expm1(middle)) - middle
            }
        }
    }
}

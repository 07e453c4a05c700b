//! Any form in a limited interval of noise.

use super::{Combination, Evaluation, Guidance, Memory, Products};
use crate::error::{Error, require};
use crate::level::NoiseLevel;

/// Any form of guidance for ρ = σ/α in (`rho_low`, `rho_high`\] only; outside it the first output,
/// the conditional one, is used alone, and no other is computed. Kynkäänniemi et al. (2024),
/// "Applying Guidance in a Limited Interval Improves Sample and Distribution Quality in Diffusion
/// Models".
///
/// ```
/// use diffusion_sampler::guidance::{OnInterval, ZeroStar};
///
/// let guidance = OnInterval::new(ZeroStar::with_scale(4.0)?, 0.2, 5.0)?;
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct OnInterval<G> {
    pub(super) inner: G,
    pub(super) rho_low: f64,
    pub(super) rho_high: f64,
}

impl<G: Guidance> OnInterval<G> {
    /// `inner` for ρ in (`rho_low`, `rho_high`\].
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless 0 ≤ `rho_low` < `rho_high`.
    pub fn new(inner: G, rho_low: f64, rho_high: f64) -> Result<Self, Error> {
        require(rho_low >= 0.0, "rho_low", rho_low, "at least 0")?;
        let greater = rho_high > rho_low;
        require(greater, "rho_high", rho_high, "greater than rho_low")?;
        Ok(Self {
            inner,
            rho_low,
            rho_high,
        })
    }

    fn guides(&self, level: &NoiseLevel) -> bool {
        let rho = level.rho();
        rho > self.rho_low && rho <= self.rho_high
    }
}

impl<G: Guidance> Guidance for OnInterval<G> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn outputs(&self) -> usize {
        self.inner.outputs()
    }

    fn wanted(&self, at: &Evaluation) -> Result<usize, Error> {
        if self.guides(at.level()) {
            self.inner.wanted(at)
        } else {
            Ok(1)
        }
    }

    fn needs_products(&self, at: &Evaluation) -> bool {
        self.guides(at.level()) && self.inner.needs_products(at)
    }

    fn memory(&self, at: &Evaluation) -> Option<Memory> {
        self.inner.memory(at).filter(|_| self.guides(at.level()))
    }

    fn is_stateful(&self) -> bool {
        self.inner.is_stateful()
    }

    fn combine(&self, at: &Evaluation, products: Option<&Products>) -> Result<Combination, Error> {
        if self.guides(at.level()) {
            self.inner.combine(at, products)
        } else {
            Ok(Combination::single())
        }
    }
}

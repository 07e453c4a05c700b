//! What a network's second output makes of a step's noise, on any kind of array.

use super::driver::Driver;
use crate::error::Error;
use crate::posterior::learned_range;
use crate::real::Real;

/// What errors call a network's second output.
pub(super) const NAME: &str = "variance output";

impl Driver {
    /// ln(β/γ²) of the current step, where γ is its own noise; 0 onto σ = 0, where none is added.
    pub(super) fn learned_range(&self) -> Result<f64, Error> {
        let index = self.step();
        let Some(step) = self.plan().steps().get(index) else {
            return Err(Error::RunFinished { steps: index });
        };
        let [stage] = step.stages.as_slice() else {
            return Err(Error::StageCount {
                step: index,
                found: step.stages.len(),
                max: 1,
            });
        };
        match step.to.is_clean() {
            true => Ok(0.0),
            false => learned_range(step.from, step.to, stage.update.noise),
        }
    }
}

/// √(v/γ²) = exp(½u·ln(β/γ²)), u = (f + 1)/2.
pub(super) fn factor<A: Real>(f: A, range: f64) -> A {
    A::cast(libm::exp(0.25 * (f.widen() + 1.0) * range))
}

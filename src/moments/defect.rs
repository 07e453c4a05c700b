//! How far each step misses the mean when x₀ is known.

use crate::error::Error;
use crate::memory::Listed;
use crate::plan::{MAX_SLOTS, Plan, Step};

impl Plan {
    /// How far each step misses the mean when x₀ is known: with D ≡ x₀ at every stage and no noise,
    /// a step that starts at α_t x₀ must reach α_s x₀. Relative to the sum of the magnitudes of the
    /// terms that make the state.
    ///
    /// A consistent solver has a defect of 0 but for rounding. A wrong coefficient shows here
    /// unless it weighs a *difference* of estimates, which needs a test of the order. A value that
    /// is not finite counts as a defect of +∞.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, schedule::RectifiedFlow};
    /// use diffusion_sampler::solver::{DpmSolverPlusPlus, Path, Solver};
    ///
    /// let flow = RectifiedFlow::new();
    /// let grid = Grid::trailing(&flow, 20)?;
    /// let plan = DpmSolverPlusPlus::new().plan(&Path::new(&flow, &grid)?)?;
    /// assert!(plan.mean_defect()?.iter().all(|defect| *defect < 1e-12));
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    pub fn mean_defect(&self) -> Result<Vec<f64>, Error> {
        if self.given() > 0 {
            return crate::memory::repeated(f64::INFINITY, self.steps().len());
        }
        // Each value beside the sum of the magnitudes that it was made of.
        let mut slots = [(0.0f64, 0.0f64); MAX_SLOTS];
        let defect = |step: &Step| {
            let alpha = step.from.alpha();
            let mut state = (alpha, alpha);
            for stage in &step.stages {
                let update = &stage.update;
                let old = state;
                state = affine(update.state, old, update.data);
                for &(slot, weight) in &update.history {
                    let (value, size) = affine(weight, slots[slot], 0.0);
                    state = (state.0 + value, state.1 + size);
                }
                if let Some((slot, on_state, on_data)) = stage.stored() {
                    slots[slot] = affine(on_state, old, on_data);
                }
            }
            let target = step.to.alpha();
            let size = state.1.max(target);
            let miss = (state.0 - target).abs();
            if !(miss.is_finite() && size.is_finite()) {
                f64::INFINITY
            } else if size == 0.0 {
                miss
            } else {
                miss / size
            }
        };
        self.steps().iter().map(defect).listed()
    }
}

/// a·(value, size) + (b, |b|), sizes by magnitudes.
fn affine(a: f64, (value, size): (f64, f64), b: f64) -> (f64, f64) {
    (a * value + b, a.abs() * size + b.abs())
}

//! What a plan keeps of earlier states.

use super::{Kept, Plan, Stage};

/// What is kept counts as an estimate, and not as a state, where x and D cancel to this share.
const CANCELLED: f64 = 1e-9;

impl Plan {
    /// Whether this stage or a later one reads a history slot that holds an earlier *state*, and not
    /// only estimates of x₀ or ε. Stages are counted from 0 within their step.
    ///
    /// A state that is edited before the stage (inpainting, constraints) agrees with estimates kept
    /// from before, but not with a state kept from before: such a solver would mix the two.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, schedule::TableSchedule};
    /// use diffusion_sampler::solver::{Belm, DpmSolverPlusPlus, Path, Solver};
    ///
    /// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    /// let grid = Grid::trailing(&schedule, 10)?;
    /// let path = Path::new(&schedule, &grid)?;
    /// assert!(!DpmSolverPlusPlus::new().plan(&path)?.reads_earlier_state(5, 0));
    /// assert!(Belm::new().plan(&path)?.reads_earlier_state(5, 0));
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    pub fn reads_earlier_state(&self, step: usize, stage: usize) -> bool {
        // What is given at the start of a run may be states.
        let mut held: Vec<bool> = (0..self.slots).map(|slot| slot < self.given).collect();
        for (index, whole) in self.steps.iter().enumerate() {
            // Whether x is a state: between its stages a step may pass a slot through it.
            let mut state = true;
            for (place, part) in whole.stages.iter().enumerate() {
                let update = &part.update;
                let mut read = update
                    .history
                    .iter()
                    .filter_map(|(slot, _)| held.get(*slot));
                let read = read.any(|held| *held);
                let past = (index, place) < (step, stage);
                if read && !past {
                    return true;
                }
                if let Some(store) = update.store
                    && let Some(slot) = held.get_mut(store.slot)
                {
                    *slot = past && state && keeps_state(part, store.kept);
                }
                state = (state && update.state != 0.0) || update.data != 0.0 || read;
            }
        }
        false
    }
}

/// Whether state·x + data·D is more than a multiple of D or of E = (x − αD)/σ.
fn keeps_state(stage: &Stage, kept: Kept) -> bool {
    let Ok((state, data)) = kept.coefficients(stage.evaluate.as_ref()) else {
        return true;
    };
    let Some(level) = stage.evaluate.filter(|_| data != 0.0) else {
        return state != 0.0;
    };
    let of_state = state * level.alpha();
    state != 0.0 && (of_state + data).abs() > CANCELLED * data.abs()
}

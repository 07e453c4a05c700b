//! What a plan keeps of earlier states.

use super::{Kept, MAX_SLOTS, Plan};

impl Plan {
    /// Whether this stage or a later one reads a history slot that holds an earlier *state*, and not
    /// only estimates: of x₀, of ε, or a combination of both. Stages are counted from 0 within their
    /// step.
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
        let mut held = [false; MAX_SLOTS];
        held[..self.given].fill(true);
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
                    *slot = past && state && keeps_state(store.kept);
                }
                state = (state && update.state != 0.0) || update.data != 0.0 || read;
            }
        }
        false
    }
}

/// Whether a state is kept, or a multiple of one. With D it is an estimate: E, or a slope in another
/// variable, E − D.
fn keeps_state(kept: Kept) -> bool {
    match kept {
        Kept::State => true,
        Kept::Linear { state, data } => state != 0.0 && data == 0.0,
        Kept::Data | Kept::Noise => false,
    }
}

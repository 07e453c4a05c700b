//! Which history slots are still to be read.

use super::{Plan, Stage};

impl Plan {
    /// For every stage, which slots are read after it before they are written again.
    pub(crate) fn live_after(&self) -> Vec<Vec<bool>> {
        let mut live = vec![false; self.slots()];
        let stages: Vec<&Stage> = self.stages().collect();
        let mut after = Vec::with_capacity(stages.len());
        for stage in stages.into_iter().rev() {
            after.push(live.clone());
            if let Some(store) = stage.update.store {
                live[store.slot] = false;
            }
            for &(slot, _) in &stage.update.history {
                live[slot] = true;
            }
        }
        after.reverse();
        after
    }
}

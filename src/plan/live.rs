//! Which history slots are still to be read.

use super::{Plan, Stage};
use crate::error::Error;
use crate::memory::{Copied, Listed};

impl Plan {
    /// For every stage, which slots are read after it before they are written again.
    pub(crate) fn live_after(&self) -> Result<Vec<Vec<bool>>, Error> {
        let mut live = crate::memory::repeated(false, self.slots())?;
        let stages: Vec<&Stage> = self.stages().listed()?;
        let mut after = crate::memory::reserve(&[stages.len()])?;
        for stage in stages.into_iter().rev() {
            after.push(live[..].copy()?);
            if let Some(store) = stage.update.store {
                live[store.slot] = false;
            }
            for &(slot, _) in &stage.update.history {
                live[slot] = true;
            }
        }
        after.reverse();
        Ok(after)
    }
}

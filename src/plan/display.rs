//! A plan as a table.

use super::Plan;
use super::update::Kept;

/// A table of the plan: one line a stage.
impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "{:>4} {:>10} {:>10} {:>10} {:>13} {:>13} {:>13}  history and store",
            "step", "from", "to", "model at", "state", "data", "noise"
        )?;
        for (index, step) in self.steps.iter().enumerate() {
            for stage in &step.stages {
                let update = &stage.update;
                let at = stage
                    .evaluate
                    .map_or_else(|| "-".to_owned(), |level| format!("{:.4}", level.time()));
                write!(
                    f,
                    "{index:>4} {:>10.4} {:>10.4} {at:>10} {:>13.6e} {:>13.6e} {:>13.6e} ",
                    step.from.time(),
                    step.to.time(),
                    update.state,
                    update.data,
                    update.noise
                )?;
                for (slot, weight) in &update.history {
                    write!(f, " {weight:+.6e}·H{slot}")?;
                }
                if let Some(store) = update.store {
                    write!(f, " H{}←", store.slot)?;
                    match store.kept {
                        Kept::Data => write!(f, "D")?,
                        Kept::Noise => write!(f, "E")?,
                        Kept::State => write!(f, "x")?,
                        Kept::Linear { state, data } => write!(f, "{state:+.6e}·x{data:+.6e}·D")?,
                    }
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

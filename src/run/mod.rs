//! Runs: a machine that follows a plan, and single steps.

mod buffers;
mod cursor;
mod ddim_step;
mod estimates;
mod instruction;
mod machine;
mod noise;
mod snapshot;
mod trajectory;

pub use crate::fold::Coefficients;
pub use cursor::Cursor;
pub use ddim_step::DdimStep;
pub use instruction::Instruction;
pub use machine::Machine;
pub use snapshot::Snapshot;
pub use trajectory::{Question, StepReport, Trajectory};

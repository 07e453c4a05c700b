//! Runs: a machine that follows a plan, and single steps.

mod adaptive;
mod blame;
mod buffers;
mod combiner;
mod cursor;
mod ddim_step;
mod driver;
mod estimates;
mod instruction;
mod learned;
mod machine;
mod noise;
mod outputs;
mod parallel;
mod positions;
mod snapshot;
mod tensors;
mod trajectory;

pub(crate) use buffers::check_start;

pub use crate::fold::Coefficients;
pub use adaptive::{AdaptiveDpm, AdaptiveOutcome};
pub use cursor::Cursor;
pub use ddim_step::DdimStep;
pub use instruction::Instruction;
pub use machine::Machine;
pub use parallel::{ParallelReport, ParallelRun, ParallelSampler};
pub use positions::{PositionRun, PositionSampler, PositionSchedule};
pub use snapshot::Snapshot;
pub use tensors::{TensorError, TensorRun, TensorSampler};
pub use trajectory::{Question, StepReport, Trajectory};

//! Parallel in time: many evaluations of one run in one call of the model.

mod lane;
mod noise;
mod report;
mod run;
mod sampler;
mod window;

pub use report::ParallelReport;
pub use run::ParallelRun;
pub use sampler::ParallelSampler;

//! A run as plain data.

#[cfg(feature = "serde")]
mod stored;

use crate::level::NoiseLevel;

/// A run between two evaluations as plain data, with arrays of type `T`, to be stored and resumed
/// elsewhere; made by [`Trajectory::snapshot`](super::Trajectory::snapshot) and taken by
/// [`Sampler::resume`](crate::Sampler::resume), or the same of a
/// [`TensorRun`](super::TensorRun).
///
/// The plan, the prediction and the noise belong to whoever resumes; the plan's
/// [fingerprint](crate::plan::Plan::fingerprint) and the level tell whether it is the same plan.
/// With keyed noise of the same seed the run goes on bit for bit.
///
/// With the feature `serde` it can be written to a file and read back: module `stored`.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot<T> {
    /// The fingerprint of the plan.
    pub plan: u64,
    /// The number of steps taken.
    pub step: usize,
    /// The next stage within the step.
    pub stage: usize,
    /// The level of the step's start, or of the plan's end.
    pub level: NoiseLevel,
    /// The state x.
    pub state: T,
    /// The solver's history slots.
    pub history: Vec<T>,
    /// The memory of the guidance, where it keeps one.
    pub memory: Option<T>,
}

impl<T> Snapshot<T> {
    /// The same run with other arrays, `map` of each: to another library, to the host and back.
    ///
    /// # Errors
    ///
    /// The first error of `map`.
    pub fn try_map<U, E>(self, mut map: impl FnMut(T) -> Result<U, E>) -> Result<Snapshot<U>, E> {
        Ok(Snapshot {
            plan: self.plan,
            step: self.step,
            stage: self.stage,
            level: self.level,
            state: map(self.state)?,
            history: self
                .history
                .into_iter()
                .map(&mut map)
                .collect::<Result<_, _>>()?,
            memory: self.memory.map(map).transpose()?,
        })
    }
}

//! A run as plain data.

#[cfg(feature = "serde")]
mod stored;

use std::sync::Arc;

use ndarray::{Array, Dimension};

use super::cursor::Cursor;
use super::machine::Machine;
use super::trajectory::Trajectory;
use crate::clip::Clip;
use crate::error::Error;
use crate::level::NoiseLevel;
use crate::noise::NoiseSource;
use crate::plan::Plan;
use crate::prediction::Prediction;
use crate::real::Real;

/// A run between two evaluations as plain data, with arrays of type `T`, to be stored and resumed
/// elsewhere; made by [`Trajectory::snapshot`], taken by [`Sampler::resume`](crate::Sampler::resume).
///
/// The plan, the prediction and the noise belong to whoever resumes; the plan's
/// [fingerprint](Plan::fingerprint) and the level tell whether it is the same plan. With keyed
/// noise of the same seed the run goes on bit for bit.
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

impl<A: Real, D: Dimension, N: NoiseSource<A>> Trajectory<A, D, N> {
    /// The run of `plan` that `snapshot` was taken from.
    pub(crate) fn resume(
        plan: Arc<Plan>,
        prediction: Prediction,
        clip: Option<Clip>,
        snapshot: Snapshot<Array<A, D>>,
        noise: N,
    ) -> Result<Self, Error> {
        let expected = plan.fingerprint();
        if snapshot.plan != expected {
            return Err(Error::SnapshotOfAnotherPlan {
                expected,
                found: snapshot.plan,
                time: snapshot.level.time(),
            });
        }
        let misplaced = Error::SnapshotMisplaced {
            step: snapshot.step,
            stage: snapshot.stage,
            steps: plan.steps().len(),
            time: snapshot.level.time(),
        };
        let cursor = Cursor::at(&plan, snapshot.step, snapshot.stage)
            .filter(|cursor| cursor.level(&plan) == snapshot.level)
            .ok_or(misplaced)?;
        if snapshot.history.len() != plan.slots() {
            return Err(Error::WrongLength {
                name: "history",
                expected: plan.slots(),
                found: snapshot.history.len(),
            });
        }
        let machine = Machine::with_history(snapshot.state, snapshot.history, plan.slots())?;
        Self::new(plan, prediction, clip, machine, noise)?.at(cursor, snapshot.memory)
    }

    /// The run as plain data, to be resumed by [`Sampler::resume`](crate::Sampler::resume), in
    /// another process if need be.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, KeyedNoise, Prediction, Sampler};
    /// use diffusion_sampler::oracle::{Gaussian, Oracle};
    /// use diffusion_sampler::{schedule::TableSchedule, solver::DpmSolverPlusPlus};
    /// use ndarray::Array2;
    ///
    /// let schedule = TableSchedule::cosine(1000)?;
    /// let grid = Grid::trailing(&schedule, 6)?;
    /// let sampler = Sampler::new(&schedule, &grid, &DpmSolverPlusPlus::sde())?;
    /// let mut model = Gaussian::isotropic(&[1.0, 2.0], 0.3)?.denoiser(Prediction::Data);
    /// let mut run = sampler.start::<f32, _, _>((3, 2), Prediction::Data, KeyedNoise::new(5))?;
    /// run.advance(&mut model)?;
    /// let mut resumed = sampler.resume(run.snapshot(), Prediction::Data, KeyedNoise::new(5))?;
    /// run.complete(&mut model)?;
    /// resumed.complete(&mut model)?;
    /// assert_eq!(run.state(), resumed.state());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn snapshot(&self) -> Snapshot<Array<A, D>> {
        let machine = self.machine();
        Snapshot {
            plan: self.plan().fingerprint(),
            step: self.cursor().step(),
            stage: self.cursor().stage_index(),
            level: self.level(),
            state: machine.state().to_owned(),
            history: machine.history().to_vec(),
            memory: machine.memory().map(|memory| memory.to_owned()),
        }
    }
}

//! A run as plain data.

use std::sync::Arc;

use ndarray::{Array, Dimension};

use super::Trajectory;
use crate::clip::Clip;
use crate::error::Error;
use crate::noise::NoiseSource;
use crate::plan::Plan;
use crate::prediction::Prediction;
use crate::real::Real;

/// A run between two evaluations as plain data, to be stored and resumed elsewhere; made by [`Trajectory::snapshot`], taken
/// by [`Sampler::resume`](crate::Sampler::resume).
///
/// The plan, the prediction and the noise belong to whoever resumes. With keyed noise of the same seed the run goes on bit
/// for bit.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot<A, D: Dimension> {
    /// The number of steps taken.
    pub step: usize,
    /// The next stage within the step.
    pub stage: usize,
    /// The state x.
    pub state: Array<A, D>,
    /// The solver's history slots.
    pub history: Vec<Array<A, D>>,
}

impl<A: Real, D: Dimension, N: NoiseSource<A>> Trajectory<A, D, N> {
    /// The run of `plan` that `snapshot` was taken from.
    pub(crate) fn resume(
        plan: Arc<Plan>,
        prediction: Prediction,
        clip: Option<Clip>,
        snapshot: Snapshot<A, D>,
        noise: N,
    ) -> Result<Self, Error> {
        let Snapshot {
            step,
            stage,
            state,
            history,
        } = snapshot;
        if history.len() != plan.slots() {
            return Err(Error::WrongLength {
                name: "history",
                expected: plan.slots(),
                found: history.len(),
            });
        }
        if let Some(slot) = history.iter().find(|slot| slot.shape() != state.shape()) {
            return Err(Error::ShapeMismatch {
                name: "history",
                expected: state.shape().to_vec(),
                found: slot.shape().to_vec(),
            });
        }
        let steps = plan.steps();
        let stages = steps.get(step).map_or(1, |step| step.stages.len());
        if step > steps.len() || stage >= stages {
            return Err(Error::RunFinished { steps: steps.len() });
        }
        let mut run = Self::new(plan, prediction, clip, state, noise)?;
        for (own, slot) in run.history.iter_mut().zip(&history) {
            own.assign(slot);
        }
        (run.step, run.stage) = (step, stage);
        Ok(run)
    }

    /// The run as plain data, to be resumed by [`Sampler::resume`](crate::Sampler::resume), in another process if need be.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, KeyedNoise, Prediction, Sampler, oracle::{Gaussian, Oracle}, schedule::TableSchedule, solver::DpmSolverPp2M};
    /// use ndarray::Array2;
    ///
    /// let schedule = TableSchedule::cosine(1000)?;
    /// let sampler = Sampler::new(&Grid::trailing(&schedule, 6)?, &DpmSolverPp2M::stochastic(1.0)?)?;
    /// let mut model = Gaussian::isotropic(&[1.0, 2.0], 0.3)?.denoiser(Prediction::Data);
    /// let mut run = sampler.start::<f32, _, _>((3, 2), Prediction::Data, KeyedNoise::new(5))?;
    /// run.advance(&mut model)?;
    /// let mut resumed = sampler.resume(run.snapshot(), Prediction::Data, KeyedNoise::new(5))?;
    /// run.run(&mut model)?;
    /// resumed.run(&mut model)?;
    /// assert_eq!(run.state(), resumed.state());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn snapshot(&self) -> Snapshot<A, D> {
        Snapshot {
            step: self.step,
            stage: self.stage,
            state: self.x.clone(),
            history: self.history.clone(),
        }
    }
}

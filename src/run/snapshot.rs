//! A run as plain data.

#[cfg(feature = "serde")]
mod stored;

use crate::clip::Clip;
use crate::level::NoiseLevel;
use crate::prediction::Prediction;

/// A run between two evaluations as plain data, with arrays of type `T`, to be stored and resumed
/// elsewhere; made by [`Trajectory::snapshot`](super::Trajectory::snapshot) and taken by
/// [`Sampler::resume`](crate::Sampler::resume), or the same of a
/// [`TensorRun`](super::TensorRun).
///
/// The plan, the model and the noise belong to whoever resumes. The snapshot tells whether they are
/// the same: it carries the plan's [fingerprint](crate::plan::Plan::fingerprint) and the level, the
/// prediction, the clip and, where the plan draws noise, the source's
/// [fingerprint](crate::noise::NoiseSource::fingerprint). Then the run goes on bit for bit. What it
/// cannot tell: whether it is the same network, under the same condition and guidance.
///
/// With the feature `serde` it can be written to a file and read back: module `stored`.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot<T> {
    /// The fingerprint of the plan.
    pub plan: u64,
    /// What the model predicts.
    pub prediction: Prediction,
    /// The clipping of x₀, if any.
    pub clip: Option<Clip>,
    /// The [fingerprint](crate::noise::NoiseSource::fingerprint) of the noise from here on; `None`
    /// where the plan draws none, and of a source that has none.
    pub noise: Option<u64>,
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
    /// The same with other arrays in place of these: to store the tensors of another library as
    /// arrays, and to make tensors of what was read.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, KeyedNoise, Prediction, Sampler};
    /// use diffusion_sampler::{schedule::RectifiedFlow, solver::FirstOrder};
    /// use diffusion_sampler::tensor::{Flat, FlatOps};
    /// use ndarray::Array2;
    ///
    /// let schedule = RectifiedFlow::new();
    /// let grid = Grid::trailing(&schedule, 8)?;
    /// let sampler = Sampler::new(&schedule, &grid, &FirstOrder::ddim())?;
    /// let (like, noise) = (Flat::<f32>::zeros(&[2, 3])?, KeyedNoise::new(1));
    /// let mut run = sampler.on(FlatOps::new()).start(&like, Prediction::Flow, noise)?;
    /// run.tell(&like)?;
    /// let arrays = run.snapshot()?.try_map(|x| Array2::from_shape_vec((2, 3), x.into_vec()))?;
    /// let resumed = sampler.resume(arrays, Prediction::Flow, noise)?;
    /// assert_eq!((resumed.step(), resumed.state().as_slice()), (1, Some(run.state().as_slice())));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The first of `convert`.
    pub fn try_map<U, E>(
        self,
        mut convert: impl FnMut(T) -> Result<U, E>,
    ) -> Result<Snapshot<U>, E> {
        Ok(Snapshot {
            plan: self.plan,
            prediction: self.prediction,
            clip: self.clip,
            noise: self.noise,
            step: self.step,
            stage: self.stage,
            level: self.level,
            state: convert(self.state)?,
            history: self
                .history
                .into_iter()
                .map(&mut convert)
                .collect::<Result<_, _>>()?,
            memory: self.memory.map(convert).transpose()?,
        })
    }
}

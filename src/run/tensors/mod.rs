//! One run on tensors of any library.

mod arrays;
mod functional;
mod learned;
mod start;

pub use start::TensorSampler;

use std::convert::Infallible;
use std::fmt;

use super::cursor::Cursor;
use super::driver::Driver;
use super::outputs::Combine;
use super::snapshot::Snapshot;
use super::trajectory::Question;
use crate::denoiser::Query;
use crate::error::{Error, RunError, require_shape};
use crate::guidance::{Combination, Guidance, Unguided};
use crate::level::NoiseLevel;
use crate::memory::Listed;
use crate::noise::{KeyedNoise, NoiseSource};
use crate::plan::Plan;
use crate::prediction::Prediction;
use crate::tensor::{Flat, TensorOps};
use arrays::Arrays;

/// What stops a run on tensors where no model is called.
pub type TensorError<E> = RunError<Infallible, E>;

/// One run of a sampler on [tensors](TensorOps) of any library.
///
/// It does what a [`Trajectory`](crate::Trajectory) does, with the same scalars and the same noise:
/// ask/tell ([`ask`](Self::ask), [`tell`](Self::tell)), whole steps and runs with a closure
/// ([`advance`](Self::advance), [`complete`](Self::complete)), every form of
/// [guidance](crate::guidance), history, clipping, snapshots. A run on [`Flat`](crate::tensor::Flat)
/// vectors or ndarray arrays gives the bits of a trajectory; other libraries may round differently.
///
/// After an error the position is unchanged. Where the library's arrays are not updated in place,
/// so is the state.
///
/// ```
/// use diffusion_sampler::{Grid, KeyedNoise, Prediction, Sampler, guidance::ClassifierFree};
/// use diffusion_sampler::tensor::{Flat, FlatOps};
/// use diffusion_sampler::{schedule::TableSchedule, solver::DpmSolverPlusPlus};
///
/// let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
/// let grid = Grid::trailing(&schedule, 10)?;
/// let sampler = Sampler::new(&schedule, &grid, &DpmSolverPlusPlus::new())?;
/// let latents = Flat::<f32>::zeros(&[2, 4])?;
/// let noise = KeyedNoise::new(7);
/// let mut run = sampler.on(FlatOps::new()).start(&latents, Prediction::Data, noise)?;
/// let guidance = ClassifierFree::with_scale(5.0)?;
/// run.complete_guided(&guidance, |x, query| {
///     // A network's outputs: with and without the condition, as many as the query wants.
///     let outputs = [1.0, 0.8].map(|value| vec![value; x.as_slice().len()]);
///     let outputs = outputs.into_iter().take(query.outputs());
///     outputs.map(|output| Flat::new(output, x.shape())).collect()
/// })?;
/// assert!((run.state().as_slice()[0] - 1.8).abs() < 1e-5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TensorRun<O: TensorOps, N = KeyedNoise> {
    driver: Driver,
    ops: O,
    arrays: Arrays<O::Tensor>,
    noise: N,
}

impl<O, N> Clone for TensorRun<O, N>
where
    O: TensorOps + Clone,
    N: Clone,
{
    fn clone(&self) -> Self {
        Self {
            driver: self.driver.clone(),
            ops: self.ops.clone(),
            arrays: self.arrays.clone(),
            noise: self.noise.clone(),
        }
    }
}

impl<O, N: fmt::Debug> fmt::Debug for TensorRun<O, N>
where
    O: TensorOps,
    O::Tensor: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TensorRun")
            .field("driver", &self.driver)
            .field("arrays", &self.arrays)
            .field("noise", &self.noise)
            .finish_non_exhaustive()
    }
}

impl<O: TensorOps, N: NoiseSource<O::Element>> TensorRun<O, N> {
    /// What to evaluate next, after running the updates before it that need no model; `None` when
    /// the run is finished.
    ///
    /// # Errors
    ///
    /// [`Error::NonFinite`] when such an update overflows; the library's own.
    pub fn ask(&mut self) -> Result<Option<Question<'_, O::Tensor>>, TensorError<O::Error>> {
        self.settle()?;
        Ok(self.driver.question(self.arrays.state()))
    }

    /// The same for [`tell_guided`](Self::tell_guided): [`query.outputs()`](Query::outputs) says how
    /// many outputs `guidance` wants at this level.
    ///
    /// # Errors
    ///
    /// As [`ask`](Self::ask); what the guidance refuses.
    pub fn ask_guided(
        &mut self,
        guidance: &dyn Guidance,
    ) -> Result<Option<Question<'_, O::Tensor>>, TensorError<O::Error>> {
        self.settle()?;
        Ok(self.driver.guided_question(guidance, self.arrays.state())?)
    }

    /// Takes the model's output at the level that [`ask`](Self::ask) gave, and applies the update.
    ///
    /// # Errors
    ///
    /// [`Error::RunFinished`] after the last step, [`Error::ShapeMismatch`], [`Error::NonFinite`]
    /// where the tensor [looks](TensorOps::all_finite); the library's own.
    pub fn tell(&mut self, output: &O::Tensor) -> Result<(), TensorError<O::Error>> {
        self.settle()?;
        self.take(Combine::By(&Unguided), &[output])
    }

    /// Takes several outputs and the weights by which they combine, for the batch or for each
    /// sample.
    ///
    /// # Errors
    ///
    /// As [`tell`](Self::tell), and [`Error::WrongLength`] unless there is one combination or one
    /// for each sample, with as many outputs as there are.
    pub fn tell_combined(
        &mut self,
        combinations: &[Combination],
        outputs: &[&O::Tensor],
    ) -> Result<(), TensorError<O::Error>> {
        self.settle()?;
        self.take(Combine::Given(combinations), outputs)
    }

    /// Takes the outputs that `guidance` wants at this level, and combines them by it.
    ///
    /// # Errors
    ///
    /// As [`tell`](Self::tell); [`Error::WrongLength`] for fewer outputs than the guidance reads;
    /// what the guidance refuses.
    pub fn tell_guided(
        &mut self,
        guidance: &dyn Guidance,
        outputs: &[&O::Tensor],
    ) -> Result<(), TensorError<O::Error>> {
        self.settle()?;
        self.take(Combine::By(guidance), outputs)
    }

    /// Takes one step with `model(x, query)`: all evaluations and updates of it.
    ///
    /// An empty state takes its steps without calling the model.
    ///
    /// # Errors
    ///
    /// As [`tell`](Self::tell), and the model's own.
    pub fn advance<E>(
        &mut self,
        mut model: impl FnMut(&O::Tensor, &Query<'_>) -> Result<O::Tensor, E>,
    ) -> Result<(), RunError<E, O::Error>> {
        self.step_by(&Unguided, |x, query| Ok([model(x, &query.combined())?]))
    }

    /// The same with guidance: `model` gives as many outputs as
    /// [`query.outputs()`](Query::outputs) says, in the order that the form names.
    ///
    /// # Errors
    ///
    /// As [`tell_guided`](Self::tell_guided), and the model's own.
    pub fn advance_guided<E>(
        &mut self,
        guidance: &dyn Guidance,
        model: impl FnMut(&O::Tensor, &Query<'_>) -> Result<Vec<O::Tensor>, E>,
    ) -> Result<(), RunError<E, O::Error>> {
        self.step_by(guidance, model)
    }

    /// Runs the plan to its end with `model(x, query)`.
    ///
    /// # Errors
    ///
    /// As [`advance`](Self::advance).
    pub fn complete<E>(
        &mut self,
        mut model: impl FnMut(&O::Tensor, &Query<'_>) -> Result<O::Tensor, E>,
    ) -> Result<(), RunError<E, O::Error>> {
        while !self.is_finished() {
            self.advance(&mut model)?;
        }
        Ok(())
    }

    /// Runs the plan to its end with guidance; see [`advance_guided`](Self::advance_guided).
    ///
    /// # Errors
    ///
    /// As [`advance_guided`](Self::advance_guided).
    pub fn complete_guided<E>(
        &mut self,
        guidance: &dyn Guidance,
        mut model: impl FnMut(&O::Tensor, &Query<'_>) -> Result<Vec<O::Tensor>, E>,
    ) -> Result<(), RunError<E, O::Error>> {
        while !self.is_finished() {
            self.step_by(guidance, &mut model)?;
        }
        Ok(())
    }

    /// The state.
    pub fn state(&self) -> &O::Tensor {
        self.arrays.state()
    }

    /// Puts another tensor in the state's place, between steps: inpainting, constraints. A solver
    /// that keeps earlier states ([`Plan::reads_earlier_state`]) would mix it with them.
    ///
    /// # Errors
    ///
    /// [`Error::ShapeMismatch`].
    pub fn set_state(&mut self, x: O::Tensor) -> Result<(), Error> {
        self.arrays.set_state(&self.ops, x)
    }

    /// The state, when the run is over.
    pub fn into_state(self) -> O::Tensor {
        self.arrays.into_parts().0
    }

    /// The state and the solver's history slots.
    pub fn into_parts(self) -> (O::Tensor, Vec<O::Tensor>) {
        self.arrays.into_parts()
    }

    /// The solver's history slots.
    pub fn history(&self) -> &[O::Tensor] {
        self.arrays.history()
    }

    /// The guidance memory, once a form that keeps one has run.
    pub fn memory(&self) -> Option<&O::Tensor> {
        self.arrays.memory()
    }

    /// From now on keeps the estimate of x₀ of every step's first evaluation, guided and clipped:
    /// for previews. Costs one more linear combination a step.
    #[must_use]
    pub fn keeping_data(mut self) -> Self {
        self.arrays.keep_data();
        self
    }

    /// The estimate of x₀ from the last step's first evaluation, where it is
    /// [kept](Self::keeping_data).
    pub fn data(&self) -> Option<&O::Tensor> {
        self.arrays.data()
    }

    /// The operations on the library's tensors.
    pub fn ops(&self) -> &O {
        &self.ops
    }

    /// The number of steps taken, which is the index of the next one.
    pub fn step(&self) -> usize {
        self.driver.step()
    }

    /// The position in the plan.
    pub fn cursor(&self) -> Cursor {
        self.driver.cursor()
    }

    /// Whether all steps have been taken.
    pub fn is_finished(&self) -> bool {
        self.driver.is_finished()
    }

    /// The level of the state between two steps.
    pub fn level(&self) -> NoiseLevel {
        self.driver.level()
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        self.driver.plan()
    }

    /// What the run's model predicts.
    pub fn prediction(&self) -> Prediction {
        self.driver.prediction()
    }

    /// The run as plain data, to be resumed by [`TensorSampler::resume`], in another process if need
    /// be.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`]; what the library refuses to copy.
    pub fn snapshot(&self) -> Result<Snapshot<O::Tensor>, TensorError<O::Error>> {
        self.snapshot_by(|tensor| self.ops.copy(tensor).map_err(RunError::Tensor))
    }

    fn snapshot_by<T>(
        &self,
        copy: impl Fn(&O::Tensor) -> Result<T, TensorError<O::Error>>,
    ) -> Result<Snapshot<T>, TensorError<O::Error>> {
        let arrays = &self.arrays;
        let history = arrays.history().iter().map(&copy).all_listed()?;
        let memory = arrays.memory().map(&copy).transpose()?;
        let arrays = (copy(arrays.state())?, history, memory);
        Ok(self.driver.snapshot(arrays, &self.noise))
    }

    /// The same with the elements on the host, to be stored (feature `serde`) and resumed by
    /// [`TensorSampler::resume_from_host`].
    ///
    /// # Errors
    ///
    /// [`Error::WrongLength`] for a download of another length than the shape says; the library's
    /// own.
    pub fn snapshot_on_host(&self) -> Result<Snapshot<Flat<O::Element>>, TensorError<O::Error>> {
        self.snapshot_by(|tensor| {
            let values = self.ops.download(tensor).map_err(RunError::Tensor)?;
            Ok(Flat::new(values, self.ops.shape(tensor).as_ref())?)
        })
    }

    /// One step with a model that gives several outputs.
    fn step_by<E, L: AsRef<[O::Tensor]>>(
        &mut self,
        guidance: &dyn Guidance,
        mut model: impl FnMut(&O::Tensor, &Query<'_>) -> Result<L, E>,
    ) -> Result<(), RunError<E, O::Error>> {
        self.driver.require_unfinished()?;
        if arrays::is_empty(&self.ops, self.arrays.state()) {
            self.driver.advance_step();
            return Ok(());
        }
        let step = self.driver.step();
        while self.driver.step() == step {
            let Some(query) = self.driver.guided_query(guidance)? else {
                self.take(Combine::Given(&[]), &[])
                    .map_err(RunError::widen)?;
                continue;
            };
            let outputs = model(self.arrays.state(), &query);
            let outputs = outputs.map_err(RunError::Denoiser)?;
            let outputs: Vec<&O::Tensor> = outputs.as_ref().iter().listed()?;
            self.take(Combine::By(guidance), &outputs)
                .map_err(RunError::widen)?;
        }
        Ok(())
    }

    /// Runs the updates that need no model, up to the next evaluation.
    fn settle(&mut self) -> Result<(), TensorError<O::Error>> {
        while self.driver.settles() {
            self.take(Combine::Given(&[]), &[])?;
        }
        Ok(())
    }

    /// Takes the current stage.
    fn take(
        &mut self,
        combine: Combine<'_>,
        outputs: &[&O::Tensor],
    ) -> Result<(), TensorError<O::Error>> {
        let instruction = self.driver.instruction()?;
        let shape = self.ops.shape(self.arrays.state());
        for output in outputs {
            require_shape(
                "model output",
                shape.as_ref(),
                self.ops.shape(output).as_ref(),
            )?;
        }
        drop(shape);
        if !arrays::is_empty(&self.ops, self.arrays.state()) {
            let (prediction, noise) = (self.driver.prediction(), &mut self.noise);
            self.arrays.take(
                &self.ops,
                &instruction,
                prediction,
                (combine, outputs),
                noise,
            )?;
        }
        self.driver.advance();
        Ok(())
    }
}

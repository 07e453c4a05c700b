//! One run: a machine, a plan and the position in it.

mod learned;
mod told;

use std::ops::ControlFlow;

use ndarray::{Array, ArrayRef, ArrayViewMut, Dimension};

use super::buffers::check_start;
use super::cursor::Cursor;
use super::driver::Driver;
use super::machine::Machine;
use super::outputs::{Combine, Outputs};
use super::snapshot::Snapshot;
use crate::apply::{batch_of, start_noise};
use crate::denoiser::{Denoiser, Query};
use crate::error::{Error, RunError, require_shape};
use crate::kernel::Forms;
use crate::level::NoiseLevel;
use crate::memory::{self, Copied, Listed};
use crate::noise::{Demand, KeyedNoise, NoiseSource, Stream};
use crate::plan::Plan;
use crate::prediction::Prediction;
use crate::real::Real;
use crate::sampler::Sampler;

/// One run of a plan: a [`Machine`], the position in the plan, and the noise.
///
/// The primitive is ask/tell: [`ask`](Self::ask) says on which state and at which level the model
/// is wanted, [`tell`](Self::tell) takes its output and applies the update.
/// [`advance`](Self::advance) and [`complete`](Self::complete) do both with a [`Denoiser`]. A
/// trajectory can be cloned at any point, and both copies go on bit for bit alike when the noise is
/// keyed.
///
/// After an error the position is unchanged, [`outputs`](Self::outputs) still holds what the model
/// returned, and the state is what it was, except for [`Error::NonFinite`] and
/// [`Error::OutputNotWritten`], which are found when the update has been written: keep a
/// [`snapshot`](Self::snapshot) or a clone to retry such a step.
///
/// ```
/// use diffusion_sampler::{Grid, KeyedNoise, Prediction, Sampler};
/// use diffusion_sampler::{schedule::TableSchedule, solver::FirstOrder};
/// use ndarray::Array2;
///
/// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
/// let grid = Grid::trailing(&schedule, 10)?;
/// let sampler = Sampler::new(&schedule, &grid, &FirstOrder::ddim())?;
/// let mut run = sampler.start::<f32, _, _>((4, 2), Prediction::Noise, KeyedNoise::new(1))?;
/// while let Some(question) = run.ask()? {
///     // Any model, anywhere: here E[ε | x] of the standard normal, σx.
///     let noise = question.x.mapv(|x| x * question.level().sigma() as f32);
///     run.tell(&noise)?;
/// }
/// assert_eq!(run.into_state().dim(), (4, 2));
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Trajectory<A, D: Dimension, N = KeyedNoise> {
    driver: Driver,
    machine: Machine<A, D>,
    noise: N,
    /// The standard deviation of the initial distribution.
    start_deviation: f64,
    /// The estimate of x₀ at the last evaluation, where it is kept.
    data: Option<Array<A, D>>,
}

/// Where the model is to be evaluated next.
#[derive(Debug)]
pub struct Question<'a, X: ?Sized> {
    /// The state, the model's input. A model of halves is given a copy by
    /// [`kernel::narrow`](crate::kernel::narrow).
    pub x: &'a X,
    /// What the model is asked: level, target level, step.
    pub query: Query<'a>,
    /// The stage within the step.
    pub stage: usize,
}

impl<X: ?Sized> Question<'_, X> {
    /// The level, the same for every sample; in a [`PositionRun`](super::PositionRun) that of the first
    /// position.
    pub fn level(&self) -> NoiseLevel {
        self.query.level()
    }

    /// The step, counted from 0.
    pub fn step(&self) -> usize {
        self.query.step().unwrap_or(0)
    }
}

/// What a per-step callback sees, and may edit.
#[derive(Debug)]
pub struct StepReport<'a, A, D: Dimension> {
    /// The step just taken, counted from 0.
    pub step: usize,
    /// The number of steps in the plan.
    pub steps: usize,
    /// The level that the step left.
    pub from: NoiseLevel,
    /// The level that it reached.
    pub to: NoiseLevel,
    /// The state at `to`, which may be edited: inpainting, constraints.
    pub x: ArrayViewMut<'a, A, D>,
    /// The estimate of x₀ from the step's first evaluation: guided, and clipped where the sampler
    /// clips. A step without an evaluation shows the last one (zeros before the first).
    #[doc(alias("pred_original_sample", "denoised"))]
    pub data: &'a ArrayRef<A, D>,
}

impl<A: Real, D: Dimension, N: NoiseSource<A>> Trajectory<A, D, N> {
    /// A run of `sampler` with what `machine` holds.
    pub(crate) fn new(
        sampler: &Sampler,
        prediction: Prediction,
        machine: Machine<A, D>,
        noise: N,
    ) -> Result<Self, Error> {
        let (plan, clip) = (sampler.shared_plan(), sampler.clip());
        let batch = batch_of(machine.state())?;
        Ok(Self {
            driver: Driver::new(plan, prediction, clip, (batch, &noise))?,
            machine,
            noise,
            start_deviation: sampler.start_variance().sqrt(),
            data: None,
        })
    }

    /// The run of `sampler` that `snapshot` was taken from.
    pub(crate) fn resume(
        sampler: &Sampler,
        prediction: Prediction,
        snapshot: Snapshot<Array<A, D>>,
        noise: N,
    ) -> Result<Self, Error> {
        let (plan, clip) = (sampler.shared_plan(), sampler.clip());
        let batch = batch_of(&snapshot.state)?;
        let driver = Driver::new(plan, prediction, clip, (batch, &noise))?.at(&snapshot, &noise)?;
        let slots = driver.plan().slots();
        let mut machine = Machine::with_history(snapshot.state, snapshot.history, slots)?;
        machine.set_memory(snapshot.memory)?;
        Ok(Self {
            driver,
            machine,
            noise,
            start_deviation: sampler.start_variance().sqrt(),
            data: None,
        })
    }

    /// A copy of the run, where a clone would end the process if there is no memory for its arrays.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, KeyedNoise, Prediction, Sampler};
    /// use diffusion_sampler::{schedule::RectifiedFlow, solver::FirstOrder};
    ///
    /// let schedule = RectifiedFlow::new();
    /// let sampler = Sampler::new(&schedule, &Grid::trailing(&schedule, 8)?, &FirstOrder::ddim())?;
    /// let run = sampler.start::<f32, _, _>((4, 2), Prediction::Flow, KeyedNoise::new(1))?;
    /// assert_eq!(run.try_clone()?.state(), run.state());
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] where the memory is not to be had.
    pub fn try_clone(&self) -> Result<Self, Error>
    where
        N: Clone,
    {
        Ok(Self {
            driver: self.driver.clone(),
            machine: self.machine.try_clone()?,
            noise: self.noise.clone(),
            start_deviation: self.start_deviation,
            data: self.data.as_ref().map(|data| data.copy()).transpose()?,
        })
    }

    /// Begins anew from the initial distribution, with this noise: the run that
    /// [`Sampler::start`](crate::Sampler::start) gives, bit for bit, in the arrays of this one. It
    /// allocates nothing, and neither do the steps after it, the first included, but for the memory
    /// of a form of guidance that keeps one. [`outputs`](Self::outputs) are the old ones until then.
    ///
    /// For callers of many short runs: a controller that plans anew at every observation.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, KeyedNoise, Prediction, Sampler};
    /// use diffusion_sampler::oracle::{Gaussian, Oracle};
    /// use diffusion_sampler::{schedule::TableSchedule, solver::DpmSolverPlusPlus};
    /// use ndarray::Array2;
    ///
    /// let schedule = TableSchedule::cosine(100)?;
    /// let grid = Grid::trailing(&schedule, 10)?;
    /// let sampler = Sampler::new(&schedule, &grid, &DpmSolverPlusPlus::new())?;
    /// let mut model = Gaussian::isotropic(&[1.0, 2.0], 0.3)?.denoiser(Prediction::Noise);
    /// let mut run = sampler.start::<f32, _, _>((1, 2), Prediction::Noise, KeyedNoise::new(0))?;
    /// for seed in 0..3 {
    ///     run.restart(KeyedNoise::new(seed))?;
    ///     run.complete(&mut model)?;
    ///     let new: Array2<f32> = sampler.sample(&mut model, (1, 2), seed)?;
    ///     assert_eq!(*run.state(), new);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Sampler::start`](crate::Sampler::start), and [`Error::WrongLength`] for a plan with
    /// [given slots](Plan::given). The run is then what it was, except after
    /// [`Error::NonFiniteStart`], which is found when the noise has been written: it can only be
    /// restarted.
    pub fn restart(&mut self, mut noise: N) -> Result<(), Error> {
        self.driver.plan().require_denoising()?;
        let batch = batch_of(self.state())?;
        self.driver.check_restart(batch, &noise)?;
        noise.check(&Demand::batch(batch.0, batch.1, 0..1, Stream::Start))?;
        self.rewind();
        self.machine.x.fill(A::zero());
        if !start_noise(&mut self.machine.x, self.start_deviation, &mut noise)? {
            check_start(&self.machine.x, "start state")?;
        }
        self.noise = noise;
        Ok(())
    }

    /// Begins anew from `x` at the plan's first level, with this noise: the run that
    /// [`Sampler::start_from`](crate::Sampler::start_from) gives, otherwise as
    /// [`restart`](Self::restart).
    ///
    /// # Errors
    ///
    /// [`Error::ShapeMismatch`], [`Error::NonFiniteStart`]; what the noise's
    /// [`check`](NoiseSource::check) refuses; [`Error::WrongLength`] for a plan with
    /// [given slots](Plan::given). The run is then what it was.
    pub fn restart_from(&mut self, x: &ArrayRef<A, D>, noise: N) -> Result<(), Error> {
        require_shape("start state", self.state().shape(), x.shape())?;
        check_start(x, "start state")?;
        self.driver.check_restart(batch_of(self.state())?, &noise)?;
        self.rewind();
        self.machine.x.assign(x);
        self.noise = noise;
        Ok(())
    }

    /// The same run, which keeps the estimate of x₀ from every evaluation on: for previews of a run
    /// that is told. It costs one array and one more pass over memory an evaluation, and no bit of
    /// the samples. Neither snapshots nor runs that are resumed from one have it.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, KeyedNoise, Prediction, Sampler};
    /// use diffusion_sampler::{schedule::TableSchedule, solver::FirstOrder};
    /// use ndarray::Array2;
    ///
    /// let schedule = TableSchedule::cosine(1000)?;
    /// let grid = Grid::trailing(&schedule, 10)?;
    /// let sampler = Sampler::new(&schedule, &grid, &FirstOrder::ddim())?;
    /// let run = sampler.start::<f32, _, _>((4, 2), Prediction::Data, KeyedNoise::new(1))?;
    /// let mut run = run.keeping_data()?;
    /// run.tell(&Array2::from_elem((4, 2), 0.25))?;
    /// assert_eq!(run.data().map(|data| data[[3, 1]]), Some(0.25));
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] where the memory is not to be had.
    pub fn keeping_data(self) -> Result<Self, Error> {
        let data = memory::zeros(self.state().raw_dim())?;
        Ok(Self {
            data: Some(data),
            ..self
        })
    }

    /// The estimate of x₀ from the last evaluation, guided and clipped as the update reads it, of a
    /// run that [keeps](Self::keeping_data) it; zeros before the first.
    pub fn data(&self) -> Option<&ArrayRef<A, D>> {
        self.data.as_deref()
    }

    fn rewind(&mut self) {
        self.driver.rewind();
        self.machine.forget();
        if let Some(data) = &mut self.data {
            data.fill(A::zero());
        }
    }

    /// Takes one step with `model`: all evaluations and updates of it.
    ///
    /// An empty state (no samples, or samples without elements) takes its steps without calling the
    /// model.
    ///
    /// # Errors
    ///
    /// [`Error::RunFinished`], [`Error::PredictionMismatch`], [`Error::NonFinite`],
    /// [`Error::OutputNotWritten`], what the model's guidance refuses, or the model's own error.
    pub fn advance<M: Denoiser<A, D> + ?Sized>(
        &mut self,
        model: &mut M,
    ) -> Result<(), RunError<M::Error>> {
        self.advance_observed(model, None)
    }

    /// Runs the plan to its end with `model`.
    ///
    /// # Errors
    ///
    /// As [`advance`](Self::advance).
    pub fn complete<M: Denoiser<A, D> + ?Sized>(
        &mut self,
        model: &mut M,
    ) -> Result<(), RunError<M::Error>> {
        while !self.is_finished() {
            self.advance(model)?;
        }
        Ok(())
    }

    /// Runs the plan with `model` and calls `observe` after every step, which may edit the state
    /// and stop the run by [`ControlFlow::Break`]; the trajectory can go on from there. Keeps one
    /// more array, for the estimate of x₀.
    ///
    /// # Errors
    ///
    /// As [`advance`](Self::advance).
    #[doc(alias("callback", "callback_on_step_end"))]
    pub fn complete_with<M, F>(
        &mut self,
        model: &mut M,
        mut observe: F,
    ) -> Result<ControlFlow<()>, RunError<M::Error>>
    where
        M: Denoiser<A, D> + ?Sized,
        F: FnMut(&mut StepReport<'_, A, D>) -> ControlFlow<()>,
    {
        let mut data = memory::zeros(self.machine.state().raw_dim())?;
        while !self.is_finished() {
            let step = self.driver.step();
            self.advance_observed(model, Some(&mut data))?;
            let steps = self.driver.plan().steps();
            let taken = &steps[step];
            let mut report = StepReport {
                step,
                steps: steps.len(),
                from: taken.from,
                to: taken.to,
                x: self.machine.state_mut(),
                data: &data,
            };
            if observe(&mut report).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The state.
    #[doc(alias = "prev_sample")]
    pub fn state(&self) -> &ArrayRef<A, D> {
        self.machine.state()
    }

    /// The state, for edits between steps: inpainting, constraints.
    pub fn state_mut(&mut self) -> ArrayViewMut<'_, A, D> {
        self.machine.state_mut()
    }

    /// The state, when the run is over.
    pub fn into_state(self) -> Array<A, D> {
        self.machine.into_parts().0
    }

    /// The solver's history slots: what another run of the same solver can be given
    /// ([`Sampler::start_with`](crate::Sampler::start_with)).
    pub fn history(&self) -> &[Array<A, D>] {
        self.machine.history()
    }

    /// The guidance memory, once a form that keeps one has run.
    pub fn memory(&self) -> Option<&ArrayRef<A, D>> {
        self.machine.memory()
    }

    /// The machine, to be driven by hand.
    pub fn into_machine(self) -> Machine<A, D> {
        self.machine
    }

    /// The state and the history slots.
    pub fn into_parts(self) -> (Array<A, D>, Vec<Array<A, D>>) {
        self.machine.into_parts()
    }

    /// The model's outputs at the last evaluation by [`advance`](Self::advance), \[n·B, …\] with n
    /// the largest number of outputs that the model's guidance wants; `None` before the first.
    /// Where the level needed fewer, as outside a guidance interval, the rows behind them are
    /// left from before.
    pub fn outputs(&self) -> Option<&ArrayRef<A, D>> {
        self.machine.outputs()
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

    /// The level of the state between two steps: the next step's start, or the plan's end.
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

    fn advance_observed<M: Denoiser<A, D> + ?Sized>(
        &mut self,
        model: &mut M,
        mut data: Option<&mut Array<A, D>>,
    ) -> Result<(), RunError<M::Error>> {
        self.driver.require_unfinished()?;
        let step = self.driver.step();
        let (expected, found) = (self.driver.prediction(), model.prediction());
        if expected != found {
            return Err(Error::PredictionMismatch {
                expected: expected.name(),
                found: found.name(),
            }
            .into());
        }
        if self.machine.state().is_empty() {
            self.driver.advance_step();
            return Ok(());
        }
        while self.driver.step() == step {
            let instruction = self.driver.instruction()?;
            let evaluates = instruction.query().is_some();
            let first = if evaluates { data.take() } else { None };
            let noise = &mut self.noise;
            match (first, &mut self.data) {
                (Some(first), kept) => {
                    self.machine
                        .take_observed(&instruction, model, noise, Some(&mut *first))?;
                    if let Some(kept) = kept {
                        kept.assign(first);
                    }
                }
                (None, kept) => {
                    self.machine
                        .take_observed(&instruction, model, noise, kept.as_mut())?;
                }
            }
            self.driver.advance();
        }
        Ok(())
    }

    /// Runs the updates that need no model, up to the next evaluation.
    fn settle(&mut self) -> Result<(), Error> {
        while self.driver.settles() {
            let (instruction, noise) = (self.driver.instruction()?, &mut self.noise);
            match self.driver.folded() {
                Some(form) => {
                    let (forms, outputs) = (Forms::Same(form), Outputs::<A, D>::Told(&[]));
                    self.machine
                        .apply_forms(&instruction, forms, outputs, noise)?;
                }
                None => {
                    let (prediction, combine) = (self.driver.prediction(), Combine::Given(&[]));
                    self.machine.tell_all::<A, N>(
                        &instruction,
                        prediction,
                        combine,
                        &[],
                        (noise, None),
                    )?;
                }
            }
            self.driver.advance();
        }
        Ok(())
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
    /// let mut resumed = sampler.resume(run.snapshot()?, Prediction::Data, KeyedNoise::new(5))?;
    /// run.complete(&mut model)?;
    /// resumed.complete(&mut model)?;
    /// assert_eq!(run.state(), resumed.state());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn snapshot(&self) -> Result<Snapshot<Array<A, D>>, Error> {
        let machine = &self.machine;
        let memory = machine.memory().map(|memory| memory.copy()).transpose()?;
        let history = machine.history().iter().map(|slot| slot.copy());
        let (state, history) = (machine.state().copy()?, history.all_listed()?);
        let arrays = (state, history, memory);
        Ok(self.driver.snapshot(arrays, &self.noise))
    }
}

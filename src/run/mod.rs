//! One run: its state, its buffers and its position in the plan.

mod buffers;
mod ddim_step;
mod snapshot;

pub use ddim_step::DdimStep;
pub use snapshot::Snapshot;

use std::ops::ControlFlow;
use std::sync::Arc;

use ndarray::{Array, ArrayRef, Axis, Dimension, Slice};

use crate::clip::Clip;
use crate::combination::{Combination, MAX_OUTPUTS};
use crate::denoiser::{Denoiser, Query};
use crate::error::{Error, RunError};
use crate::fold::{self, Estimate};
use crate::forward::filler;
use crate::kernel::{self, Forms, MAX_INPUTS};
use crate::level::NoiseLevel;
use crate::noise::{KeyedNoise, NoiseSource, Stream};
use crate::plan::{Plan, Stage};
use crate::prediction::Prediction;
use crate::real::Real;

use buffers::{Slots, outputs_of, own_slice, own_slice_mut, update_arrays};

/// One run of a plan: the state x, the solver's history, the model's outputs, and the position.
///
/// The primitive is ask/tell: [`ask`](Self::ask) says on which state and at which level the model is wanted,
/// [`tell`](Self::tell) takes its output and applies the update. [`advance`](Self::advance) and [`run`](Self::run) do both
/// with a [`Denoiser`]. A trajectory can be cloned at any point, and both copies go on bit for bit alike when the noise is
/// keyed.
///
/// After an error the position is unchanged, [`outputs`](Self::outputs) still holds what the model returned, and the state
/// is what it was, except for [`Error::NonFinite`], where the failed update has already been written.
///
/// ```
/// use diffusion_sampler::{Grid, KeyedNoise, Prediction, Sampler, schedule::TableSchedule, solver::FirstOrder};
/// use ndarray::Array2;
///
/// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
/// let sampler = Sampler::new(&Grid::trailing(&schedule, 10)?, &FirstOrder::ddim())?;
/// let mut run = sampler.start::<f32, _, _>((4, 2), Prediction::Noise, KeyedNoise::new(1))?;
/// while let Some(question) = run.ask()? {
///     // Any model, anywhere: here E[ε | x] of the standard normal, σx.
///     let noise = question.x.mapv(|x| x * question.level.sigma() as f32);
///     run.tell(&noise)?;
/// }
/// assert_eq!(run.into_state().dim(), (4, 2));
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Trajectory<A, D: Dimension, N = KeyedNoise> {
    plan: Arc<Plan>,
    prediction: Prediction,
    clip: Option<Clip>,
    /// The shape of x, which nothing that is lent it may change.
    shape: D,
    x: Array<A, D>,
    history: Vec<Array<A, D>>,
    outputs: Option<Array<A, D>>,
    step: usize,
    stage: usize,
    noise: N,
}

/// Where the model is to be evaluated next.
#[derive(Debug)]
pub struct Question<'a, A, D: Dimension> {
    /// The state, the model's input.
    pub x: &'a ArrayRef<A, D>,
    /// The level, the same for every sample.
    pub level: NoiseLevel,
    /// The step, counted from 0.
    pub step: usize,
    /// The stage within the step.
    pub stage: usize,
}

/// What a per-step callback sees.
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
    /// The state at `to`.
    pub x: &'a ArrayRef<A, D>,
    /// The estimate of x₀ from the step's first evaluation: guided, and clipped where the sampler clips. A step without an
    /// evaluation shows the last one (zeros before the first).
    pub data: &'a ArrayRef<A, D>,
}

impl<A: Real, D: Dimension, N: NoiseSource<A>> Trajectory<A, D, N> {
    /// A run of `plan` from the state `x`.
    pub(crate) fn new(
        plan: Arc<Plan>,
        prediction: Prediction,
        clip: Option<Clip>,
        x: Array<A, D>,
        noise: N,
    ) -> Result<Self, Error> {
        if x.ndim() == 0 {
            return Err(Error::NoSampleAxis);
        }
        // Refused here, before anything is evaluated: a prediction that says nothing at one of the plan's levels.
        for level in plan.stages().filter_map(|stage| stage.evaluate) {
            prediction.data(&level)?;
        }
        // Slices are cheaper than strides: the run's arrays are always in standard layout.
        let x = if x.is_standard_layout() {
            x
        } else {
            x.as_standard_layout().into_owned()
        };
        let history = (0..plan.slots())
            .map(|_| Array::zeros(x.raw_dim()))
            .collect();
        Ok(Self {
            plan,
            prediction,
            clip,
            shape: x.raw_dim(),
            x,
            history,
            outputs: None,
            step: 0,
            stage: 0,
            noise,
        })
    }

    /// What to evaluate next, after running the updates before it that need no model; `None` when the run is finished.
    ///
    /// # Errors
    ///
    /// [`Error::NonFinite`] when such an update overflows; [`Error::LayoutChanged`] as [`state_mut`](Self::state_mut).
    pub fn ask(&mut self) -> Result<Option<Question<'_, A, D>>, Error> {
        let Some(level) = self.settle(usize::MAX)? else {
            return Ok(None);
        };
        Ok(Some(Question {
            x: &self.x,
            level,
            step: self.step,
            stage: self.stage,
        }))
    }

    /// Takes the model's output at the level that [`ask`](Self::ask) gave, and applies the update.
    ///
    /// # Errors
    ///
    /// [`Error::RunFinished`] after the last step, [`Error::ShapeMismatch`], [`Error::NonFinite`],
    /// [`Error::LayoutChanged`].
    pub fn tell(&mut self, output: &ArrayRef<A, D>) -> Result<(), Error> {
        self.tell_combined(&Combination::single(), &[output])
    }

    /// Takes several outputs and the weights by which they combine: guidance, folded into the update.
    ///
    /// # Errors
    ///
    /// As [`tell`](Self::tell), and [`Error::WrongLength`] unless there are as many outputs as weights.
    pub fn tell_combined(
        &mut self,
        combination: &Combination,
        outputs: &[&ArrayRef<A, D>],
    ) -> Result<(), Error> {
        if outputs.len() != combination.len() {
            return Err(Error::WrongLength {
                name: "outputs",
                expected: combination.len(),
                found: outputs.len(),
            });
        }
        for output in outputs {
            if output.shape() != self.x.shape() {
                return Err(Error::ShapeMismatch {
                    name: "model output",
                    expected: self.x.shape().to_vec(),
                    found: output.shape().to_vec(),
                });
            }
        }
        let Some(level) = self.settle(usize::MAX)? else {
            return Err(Error::RunFinished {
                steps: self.plan.steps().len(),
            });
        };
        let estimate = self.estimate(&level, combination)?;
        if !self.apply(&estimate, Told::Arrays(outputs))? {
            for output in outputs {
                kernel::find_non_finite(output, self.step, "model output")?;
            }
            self.state_not_finite()?;
        }
        self.next_stage();
        Ok(())
    }

    /// Takes one step with `model`: all evaluations and updates of it.
    ///
    /// An empty state (no samples, or samples without elements) takes its steps without calling the model.
    ///
    /// # Errors
    ///
    /// [`Error::RunFinished`], [`Error::PredictionMismatch`], [`Error::NonFinite`], [`Error::TooManyTerms`],
    /// [`Error::LayoutChanged`], what the model's [`combination`](Denoiser::combination) refuses, or the model's own error.
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
    pub fn run<M: Denoiser<A, D> + ?Sized>(
        &mut self,
        model: &mut M,
    ) -> Result<(), RunError<M::Error>> {
        while !self.is_finished() {
            self.advance(model)?;
        }
        Ok(())
    }

    /// Runs the plan with `model` and calls `observe` after every step, which may stop the run by
    /// [`ControlFlow::Break`]; the trajectory can go on from there. Keeps one more array, for the estimate of x₀.
    ///
    /// # Errors
    ///
    /// As [`advance`](Self::advance).
    pub fn run_with<M, F>(
        &mut self,
        model: &mut M,
        mut observe: F,
    ) -> Result<ControlFlow<()>, RunError<M::Error>>
    where
        M: Denoiser<A, D> + ?Sized,
        F: FnMut(&StepReport<'_, A, D>) -> ControlFlow<()>,
    {
        let mut data = Array::zeros(self.x.raw_dim());
        while !self.is_finished() {
            let step = self.step;
            self.advance_observed(model, Some(&mut data))?;
            let plan = &self.plan.steps()[step];
            let report = StepReport {
                step,
                steps: self.plan.steps().len(),
                from: plan.from,
                to: plan.to,
                x: &self.x,
                data: &data,
            };
            if observe(&report).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The state.
    pub fn state(&self) -> &ArrayRef<A, D> {
        &self.x
    }

    /// The state, for edits between steps: inpainting, constraints. Its values may be edited; a run whose state has another
    /// shape or order of elements afterwards stops with [`Error::LayoutChanged`].
    pub fn state_mut(&mut self) -> &mut ArrayRef<A, D> {
        &mut self.x
    }

    /// The state, when the run is over.
    pub fn into_state(self) -> Array<A, D> {
        self.x
    }

    /// The model's outputs at the last evaluation by [`advance`](Self::advance), \[n·B, …\] with n the model's largest number
    /// of [`outputs`](Denoiser::outputs); `None` before the first. Where the level asked for fewer, as outside a guidance
    /// interval, the rows behind them are left from before.
    pub fn outputs(&self) -> Option<&ArrayRef<A, D>> {
        self.outputs.as_deref()
    }

    /// The number of steps taken, which is the index of the next one.
    pub fn step(&self) -> usize {
        self.step
    }

    /// Whether all steps have been taken.
    pub fn is_finished(&self) -> bool {
        self.step == self.plan.steps().len()
    }

    /// The level of the state between two steps: the next step's start, or the plan's end.
    pub fn level(&self) -> NoiseLevel {
        self.plan
            .steps()
            .get(self.step)
            .map_or_else(|| self.plan.end(), |step| step.from)
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What the run's model predicts.
    pub fn prediction(&self) -> Prediction {
        self.prediction
    }

    fn advance_observed<M: Denoiser<A, D> + ?Sized>(
        &mut self,
        model: &mut M,
        mut data: Option<&mut Array<A, D>>,
    ) -> Result<(), RunError<M::Error>> {
        let step = self.step;
        if self.is_finished() {
            return Err(Error::RunFinished { steps: step }.into());
        }
        let (expected, found) = (self.prediction, model.prediction());
        if expected != found {
            return Err(Error::PredictionMismatch {
                expected: expected.name(),
                found: found.name(),
            }
            .into());
        }
        self.check_state()?;
        if self.x.is_empty() {
            (self.step, self.stage) = (step + 1, 0);
            return Ok(());
        }
        while self.step == step {
            let Some(level) = self.settle(step)? else {
                return Ok(());
            };
            let combination = model.combination(&level)?;
            let estimate = self.estimate(&level, &combination)?;
            self.evaluate(model, &level, combination.len())?;
            if let Some(data) = data.take() {
                self.write_data(&estimate, data)?;
            }
            if !self.apply(&estimate, Told::Buffer)? {
                self.output_not_finite(combination.len())?;
                self.state_not_finite()?;
            }
            self.next_stage();
        }
        Ok(())
    }

    /// Calls the model for its first `outputs` outputs.
    fn evaluate<M: Denoiser<A, D> + ?Sized>(
        &mut self,
        model: &mut M,
        level: &NoiseLevel,
        outputs: usize,
    ) -> Result<(), RunError<M::Error>> {
        let samples = self.x.shape()[0];
        let most = model.outputs().max(outputs);
        if most > MAX_OUTPUTS {
            return Err(Error::TooManyTerms {
                found: most,
                max: MAX_OUTPUTS,
            }
            .into());
        }
        let mut shape = self.x.raw_dim();
        shape[0] = most * samples;
        let buffer = match &mut self.outputs {
            Some(buffer) if buffer.shape() == shape.slice() => buffer,
            stale => stale.insert(Array::zeros(shape.clone())),
        };
        let query = Query::new(level).with_outputs(outputs);
        if outputs == most {
            model.denoise(&self.x, &query, buffer)
        } else {
            let mut part = buffer.slice_axis_mut(Axis(0), Slice::from(0..outputs * samples));
            model.denoise(&self.x, &query, &mut part)
        }
        .map_err(RunError::Denoiser)?;
        if buffer.shape() != shape.slice() || !buffer.is_standard_layout() {
            return Err(Error::LayoutChanged {
                name: "output buffer",
            }
            .into());
        }
        Ok(())
    }

    /// Runs the updates that need no model, up to the next evaluation or the end of the step `last`: the evaluation's
    /// level, or `None` where none was reached.
    fn settle(&mut self, last: usize) -> Result<Option<NoiseLevel>, Error> {
        self.check_state()?;
        while self.step <= last
            && let Some(stage) = self.current_stage()
        {
            if let Some(level) = stage.evaluate {
                return Ok(Some(level));
            }
            if !self.apply(&Estimate::NONE, Told::Arrays(&[]))? {
                self.state_not_finite()?;
            }
            self.next_stage();
        }
        Ok(None)
    }

    /// The state may have been lent out; its shape and layout have to be the run's.
    fn check_state(&self) -> Result<(), Error> {
        if self.x.shape() == self.shape.slice() && self.x.is_standard_layout() {
            Ok(())
        } else {
            Err(Error::LayoutChanged { name: "state" })
        }
    }

    fn current_stage(&self) -> Option<&Stage> {
        self.plan.steps().get(self.step)?.stages.get(self.stage)
    }

    fn next_stage(&mut self) {
        self.stage += 1;
        if self.current_stage().is_none() {
            (self.step, self.stage) = (self.step + 1, 0);
        }
    }

    fn estimate(&self, level: &NoiseLevel, combination: &Combination) -> Result<Estimate, Error> {
        Ok(Estimate {
            row: fold::data_row(self.prediction, level, combination)?,
            outputs: combination.len(),
            alpha: level.alpha(),
            clip: self.clip,
        })
    }

    /// Applies the current stage's update; whether everything in it was finite.
    fn apply(&mut self, estimate: &Estimate, told: Told<'_, A, D>) -> Result<bool, Error> {
        let plan = Arc::clone(&self.plan);
        let update = &plan.steps()[self.step].stages[self.stage].update;
        let form = fold::form(update, estimate);
        let (step, stage) = (self.step as u32, self.stage as u8);
        let mut fill = filler(&mut self.noise, step, Stream::Step(stage));
        let stored = update.store.map(|store| store.slot);
        let (y, others) = Slots::split(&mut self.history, stored);
        let slots = update
            .history
            .iter()
            .filter(|&&(slot, _)| Some(slot) != stored)
            .filter_map(|&(slot, _)| others.get(slot));
        let mut inputs: [&[A]; MAX_INPUTS] = [&[]; MAX_INPUTS];
        match told {
            Told::Buffer => outputs_of(&self.outputs, self.x.len(), &mut inputs)?,
            Told::Arrays(outputs) => {
                for (input, output) in inputs.iter_mut().zip(outputs) {
                    match output.as_slice() {
                        Some(slice) => *input = slice,
                        None => {
                            return update_arrays(&form, &mut self.x, y, outputs, slots, &mut fill);
                        }
                    }
                }
            }
        }
        let mut count = estimate.outputs;
        for slot in slots {
            inputs[count] = own_slice(slot, "history")?;
            count += 1;
        }
        let samples = self.x.shape()[0];
        let y = match y {
            None => None,
            Some(y) => Some(own_slice_mut(y, "history")?),
        };
        Ok(kernel::update_slices(
            Forms::Same(&form),
            samples,
            own_slice_mut(&mut self.x, "state")?,
            y,
            &inputs[..count],
            Some(&mut fill),
        ))
    }

    /// Writes the estimate of x₀ to `data`.
    fn write_data(&self, estimate: &Estimate, data: &mut Array<A, D>) -> Result<(), Error> {
        data.assign(&self.x);
        let mut inputs: [&[A]; MAX_INPUTS] = [&[]; MAX_INPUTS];
        outputs_of(&self.outputs, self.x.len(), &mut inputs)?;
        // What is not finite is reported by the update itself, with its place.
        kernel::update_slices(
            Forms::Same(&fold::data_form(estimate)),
            self.x.shape()[0],
            own_slice_mut(data, "data estimate")?,
            None,
            &inputs[..estimate.outputs],
            None,
        );
        Ok(())
    }

    /// The error for the first of the outputs in the run's buffer that is not finite.
    fn output_not_finite(&self, outputs: usize) -> Result<(), Error> {
        let samples = self.x.shape()[0];
        for output in self
            .outputs
            .iter()
            .flat_map(|buffer| buffer.axis_chunks_iter(Axis(0), samples))
            .take(outputs)
        {
            kernel::find_non_finite(&output, self.step, "model output")?;
        }
        Ok(())
    }

    /// The error for a state or history that is not finite although the model's outputs are. None where only D overflowed
    /// and clipping has brought it back into its range.
    fn state_not_finite(&self) -> Result<(), Error> {
        kernel::find_non_finite(&self.x, self.step, "state")?;
        for slot in &self.history {
            kernel::find_non_finite(slot, self.step, "history")?;
        }
        Ok(())
    }
}

/// Where a stage's model outputs are.
enum Told<'a, A, D> {
    /// In the trajectory's own buffer.
    Buffer,
    /// With the caller.
    Arrays(&'a [&'a ArrayRef<A, D>]),
}

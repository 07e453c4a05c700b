//! One run: a machine, a plan and the position in it.

use std::ops::ControlFlow;
use std::sync::Arc;

use ndarray::{Array, ArrayRef, ArrayViewMut, Dimension};

use super::cursor::Cursor;
use super::instruction::Instruction;
use super::machine::{Combine, Machine, Outputs};
use crate::clip::Clip;
use crate::denoiser::{Denoiser, Query};
use crate::element::ModelElement;
use crate::error::{Error, RunError};
use crate::fold;
use crate::guidance::{Combination, Guidance, Unguided};
use crate::kernel::{Form, Forms};
use crate::level::NoiseLevel;
use crate::memory;
use crate::noise::{Interval, KeyedNoise, NoiseSource};
use crate::plan::Plan;
use crate::prediction::Prediction;
use crate::real::Real;

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
    plan: Arc<Plan>,
    prediction: Prediction,
    clip: Option<Clip>,
    machine: Machine<A, D>,
    cursor: Cursor,
    noise: N,
    /// The folded scalars of the plan's stages for a model with one output.
    forms: Arc<[Form]>,
}

/// The most stages whose scalars are folded when a run is started, some 2 MiB; those of later ones
/// are folded when they come.
const FOLDED: usize = 4096;

/// Where the model is to be evaluated next.
#[derive(Debug)]
pub struct Question<'a, A, D: Dimension> {
    /// The state, the model's input. A model of halves is given a copy by
    /// [`kernel::narrow`](crate::kernel::narrow).
    pub x: &'a ArrayRef<A, D>,
    /// What the model is asked: level, target level, step.
    pub query: Query<'a>,
    /// The stage within the step.
    pub stage: usize,
}

impl<A, D: Dimension> Question<'_, A, D> {
    /// The level, the same for every sample.
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
    pub data: &'a ArrayRef<A, D>,
}

impl<A: Real, D: Dimension, N: NoiseSource<A>> Trajectory<A, D, N> {
    /// A run of `plan` with what `machine` holds.
    pub(crate) fn new(
        plan: Arc<Plan>,
        prediction: Prediction,
        clip: Option<Clip>,
        machine: Machine<A, D>,
        noise: N,
    ) -> Result<Self, Error> {
        let intervals: Vec<Interval> = plan
            .steps()
            .iter()
            .filter(|step| step.stages.iter().any(|stage| stage.update.noise != 0.0))
            .map(|step| Interval::new(step.from.lambda(), step.to.lambda()))
            .collect();
        noise.check(&intervals)?;
        // Refused here, before anything is evaluated: a prediction that says nothing at one of the
        // plan's levels, and scalars that the element type cannot hold.
        let fixed = clip.and_then(|clip| clip.fixed());
        let mut forms = Vec::with_capacity(plan.stages().count().min(FOLDED));
        for (index, step) in plan.steps().iter().enumerate() {
            for stage in &step.stages {
                let form = fold::plain_form(stage, prediction, fixed)?;
                fold::check_cast::<A>(&form, index)?;
                if forms.len() < FOLDED {
                    forms.push(form);
                }
            }
        }
        Ok(Self {
            plan,
            prediction,
            clip,
            machine,
            cursor: Cursor::default(),
            noise,
            forms: forms.into(),
        })
    }

    /// The run at another position of its plan.
    pub(super) fn at(mut self, cursor: Cursor, memory: Option<Array<A, D>>) -> Result<Self, Error> {
        self.machine.set_memory(memory)?;
        self.cursor = cursor;
        Ok(self)
    }

    /// What to evaluate next, after running the updates before it that need no model; `None` when
    /// the run is finished.
    ///
    /// # Errors
    ///
    /// [`Error::NonFinite`] when such an update overflows.
    pub fn ask(&mut self) -> Result<Option<Question<'_, A, D>>, Error> {
        self.settle()?;
        let Some(query) = self.query() else {
            return Ok(None);
        };
        Ok(Some(Question {
            x: self.machine.state(),
            query,
            stage: self.cursor.stage_index(),
        }))
    }

    /// Takes the model's output at the level that [`ask`](Self::ask) gave, and applies the update.
    ///
    /// Its elements may be shorter than the state's: with the feature `half`, a state of `f32` takes
    /// outputs of `half::f16` and `half::bf16`, without a pass or a buffer more, and with the bits of
    /// the same output widened first ([`ModelElement`]). Only what reads the outputs beside the
    /// update is given a widened copy, for which the run keeps one array more: guidance by inner
    /// products or with a memory, dynamic thresholding, and layouts other than the standard one.
    ///
    /// ```
    /// # #[cfg(feature = "half")] {
    /// use diffusion_sampler::{Grid, KeyedNoise, Prediction, Sampler, kernel::narrow};
    /// use diffusion_sampler::{schedule::TableSchedule, solver::DpmSolverPlusPlus};
    /// use half::bf16;
    /// use ndarray::Array2;
    ///
    /// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    /// let grid = Grid::trailing(&schedule, 10)?;
    /// let sampler = Sampler::new(&schedule, &grid, &DpmSolverPlusPlus::new())?;
    /// let mut run = sampler.start::<f32, _, _>((4, 2), Prediction::Noise, KeyedNoise::new(1))?;
    /// let mut input = Array2::<bf16>::default((4, 2));
    /// while let Some(question) = run.ask()? {
    ///     // A half copy of the state, the network, its half output.
    ///     narrow(question.x, &mut input)?;
    ///     let sigma = bf16::from_f64(question.level().sigma());
    ///     let output = input.mapv(|x| x * sigma);
    ///     run.tell(&output)?;
    /// }
    /// assert_eq!(run.into_state().dim(), (4, 2));
    /// # }
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::RunFinished`] after the last step, [`Error::ShapeMismatch`], [`Error::NonFinite`].
    pub fn tell<O: ModelElement<A>>(&mut self, output: &ArrayRef<O, D>) -> Result<(), Error> {
        self.settle()?;
        let plan = &*self.plan;
        let instruction = instruction(plan, self.cursor, self.clip)?;
        let folded = self.forms.get(self.cursor.stages_before());
        let ready = folded.filter(|_| {
            let dynamic = self.clip.is_some_and(|clip| clip.fixed().is_none());
            !dynamic && self.machine.memory().is_none()
        });
        let outputs = &[output];
        let ready = ready.filter(|_| O::same(outputs).is_some() || output.is_standard_layout());
        match ready {
            Some(form) => {
                self.machine.check_told(outputs)?;
                if !output.is_empty() {
                    let (forms, outputs) = (Forms::Same(form), Outputs::Told(outputs));
                    let noise = &mut self.noise;
                    self.machine
                        .apply_forms(&instruction, forms, outputs, noise)?;
                }
            }
            None => {
                let (combine, noise) = (Combine::By(&Unguided), &mut self.noise);
                let prediction = self.prediction;
                self.machine
                    .tell_all(&instruction, prediction, combine, outputs, noise)?;
            }
        }
        self.cursor.advance(plan);
        Ok(())
    }

    /// Takes several outputs, all of one type, and the weights by which they combine, for the batch
    /// or for each sample.
    ///
    /// # Errors
    ///
    /// As [`tell`](Self::tell), and [`Error::WrongLength`] unless there is one combination or one
    /// for each sample, with as many outputs as there are.
    pub fn tell_combined<O: ModelElement<A>>(
        &mut self,
        combinations: &[Combination],
        outputs: &[&ArrayRef<O, D>],
    ) -> Result<(), Error> {
        self.tell_by(Combine::Given(combinations), outputs)
    }

    /// Takes the outputs that `guidance` wants at this level, and combines them by it.
    ///
    /// # Errors
    ///
    /// As [`tell`](Self::tell); [`Error::WrongLength`] for fewer outputs than the guidance reads;
    /// what the guidance refuses.
    pub fn tell_guided<O: ModelElement<A>>(
        &mut self,
        guidance: &dyn Guidance,
        outputs: &[&ArrayRef<O, D>],
    ) -> Result<(), Error> {
        self.tell_by(Combine::By(guidance), outputs)
    }

    fn tell_by<O: ModelElement<A>>(
        &mut self,
        combine: Combine<'_>,
        outputs: &[&ArrayRef<O, D>],
    ) -> Result<(), Error> {
        self.settle()?;
        let instruction = instruction(&self.plan, self.cursor, self.clip)?;
        let noise = &mut self.noise;
        self.machine
            .tell_all(&instruction, self.prediction, combine, outputs, noise)?;
        self.cursor.advance(&self.plan);
        Ok(())
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
            let step = self.cursor.step();
            self.advance_observed(model, Some(&mut data))?;
            let taken = &self.plan.steps()[step];
            let mut report = StepReport {
                step,
                steps: self.plan.steps().len(),
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

    /// The machine, to be driven by hand.
    pub fn into_machine(self) -> Machine<A, D> {
        self.machine
    }

    /// The state and the history slots.
    pub fn into_parts(self) -> (Array<A, D>, Vec<Array<A, D>>) {
        self.machine.into_parts()
    }

    /// The arrays of the run.
    pub(super) fn machine(&self) -> &Machine<A, D> {
        &self.machine
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
        self.cursor.step()
    }

    /// The position in the plan.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Whether all steps have been taken.
    pub fn is_finished(&self) -> bool {
        self.cursor.step() == self.plan.steps().len()
    }

    /// The level of the state between two steps: the next step's start, or the plan's end.
    pub fn level(&self) -> NoiseLevel {
        self.cursor.level(&self.plan)
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What the run's model predicts.
    pub fn prediction(&self) -> Prediction {
        self.prediction
    }

    /// The query of the current stage, where it needs the model.
    fn query(&self) -> Option<Query<'_>> {
        let step = self.cursor.current(&self.plan)?;
        let index = self.cursor.step();
        Instruction::of_plan(step, self.cursor.stage_index(), index)
            .ok()?
            .query()
    }

    fn advance_observed<M: Denoiser<A, D> + ?Sized>(
        &mut self,
        model: &mut M,
        mut data: Option<&mut Array<A, D>>,
    ) -> Result<(), RunError<M::Error>> {
        let step = self.cursor.step();
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
        if self.machine.state().is_empty() {
            self.cursor.advance_step(&self.plan);
            return Ok(());
        }
        while self.cursor.step() == step {
            let instruction = instruction(&self.plan, self.cursor, self.clip)?;
            let evaluates = instruction.query().is_some();
            let observed = if evaluates { data.take() } else { None };
            self.machine
                .take_observed(&instruction, model, &mut self.noise, observed)?;
            self.cursor.advance(&self.plan);
        }
        Ok(())
    }

    /// Runs the updates that need no model, up to the next evaluation.
    fn settle(&mut self) -> Result<(), Error> {
        while let Some(stage) = self.cursor.stage(&self.plan)
            && stage.evaluate.is_none()
        {
            let instruction = instruction(&self.plan, self.cursor, self.clip)?;
            let (folded, noise) = (self.forms.get(self.cursor.stages_before()), &mut self.noise);
            match folded.filter(|_| !self.machine.state().is_empty()) {
                Some(form) => {
                    let (forms, outputs) = (Forms::Same(form), Outputs::<A, D>::Told(&[]));
                    self.machine
                        .apply_forms(&instruction, forms, outputs, noise)?;
                }
                None => {
                    let combine = Combine::Given(&[]);
                    self.machine.tell_all::<A, N>(
                        &instruction,
                        self.prediction,
                        combine,
                        &[],
                        noise,
                    )?;
                }
            }
            self.cursor.advance(&self.plan);
        }
        Ok(())
    }
}

/// The stage at a position.
fn instruction(plan: &Plan, cursor: Cursor, clip: Option<Clip>) -> Result<Instruction<'_>, Error> {
    match cursor.current(plan) {
        Some(step) => {
            let instruction = Instruction::of_plan(step, cursor.stage_index(), cursor.step())?;
            Ok(instruction.with_clip(clip))
        }
        None => Err(Error::RunFinished {
            steps: plan.steps().len(),
        }),
    }
}

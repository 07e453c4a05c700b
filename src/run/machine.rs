//! The arrays of a run, and what is done to them.

use ndarray::{Array, ArrayRef, ArrayViewMut, Axis, Dimension, Slice};

use super::buffers::{self, Inputs, Slots};
use super::combiner;
use super::instruction::Instruction;
use super::outputs::{Combine, Outputs};
use super::positions;
use crate::apply::batch_of;
use crate::denoiser::{Denoiser, Query};
use crate::element::ModelElement;
use crate::error::{Error, RunError, require_shape};
use crate::fold::{self, Estimate};
use crate::guidance::{Combination, MAX_OUTPUTS, Unguided, is_unguided};
use crate::kernel::{self, Form, Forms, Gram, MAX_INPUTS};
use crate::memory::{self, Copied, Listed};
use crate::noise::{Interval, NoiseSource, StepNoise, Stream};
use crate::plan::MAX_SLOTS;
use crate::prediction::Prediction;
use crate::real::Real;

/// The arrays of a run (the state x, the history slots, the model's outputs, the memory of the
/// guidance), on which single stages can be taken by hand.
///
/// A [`Trajectory`](crate::Trajectory) is a machine that follows a plan. Adaptive drivers, parallel
/// methods and users of single steps ([`DdimStep`](super::DdimStep)) drive one themselves. A clone
/// is a full copy: a step that is rejected costs one.
///
/// ```
/// use diffusion_sampler::{KeyedNoise, Prediction, oracle::{Gaussian, Oracle}};
/// use diffusion_sampler::run::{Instruction, Machine};
/// use diffusion_sampler::schedule::{NoiseSchedule, VariancePreserving};
/// use diffusion_sampler::solver::{Heun, Path, Solver};
/// use diffusion_sampler::Grid;
/// use ndarray::array;
///
/// // One step of Heun's method between any two levels.
/// let schedule = VariancePreserving::default();
/// let grid = Grid::from_times(&schedule, &[0.8, 0.5])?;
/// let plan = Heun::new().plan(&Path::new(&schedule, &grid)?)?;
/// let mut model = Gaussian::isotropic(&[1.0, 2.0], 0.3)?.denoiser(Prediction::Noise);
/// let mut machine = Machine::new(array![[0.3f64, -1.0]], plan.slots())?;
/// for stage in 0..plan.steps()[0].stages.len() {
///     let instruction = Instruction::new(&plan.steps()[0], stage, 0)?;
///     machine.take(&instruction, &mut model, &mut KeyedNoise::new(0))?;
/// }
/// println!("{}", machine.state());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Machine<A, D: Dimension> {
    pub(super) x: Array<A, D>,
    pub(super) slots: Vec<Array<A, D>>,
    pub(super) memory: Option<Array<A, D>>,
    /// The memory before the current stage, to go back to where the stage is refused.
    pub(super) memory_before: Option<Array<A, D>>,
    pub(super) outputs: Option<Array<A, D>>,
    pub(super) work: Work<A>,
}

/// Room for what is made anew at every stage.
#[derive(Clone, Debug)]
pub(super) struct Work<A> {
    pub(super) forms: Vec<Form>,
    pub(super) estimates: Vec<Estimate>,
    pub(super) grams: Vec<Gram>,
    pub(super) values: Vec<A>,
    pub(super) intervals: Vec<Interval>,
    /// The intervals of the different stages of positions; none where nothing is drawn.
    pub(super) drawn: Vec<Option<Interval>>,
    /// Whether the current stage has changed the guidance memory.
    pub(super) remembered: bool,
}

impl<A> Default for Work<A> {
    fn default() -> Self {
        Self {
            forms: Vec::new(),
            estimates: Vec::new(),
            grams: Vec::new(),
            values: Vec::new(),
            intervals: Vec::new(),
            drawn: Vec::new(),
            remembered: false,
        }
    }
}

impl<A: Real, D: Dimension> Machine<A, D> {
    /// A machine whose state is `x`, with `slots` history slots.
    ///
    /// # Errors
    ///
    /// [`Error::NoSampleAxis`]; [`Error::NonFiniteStart`] for a state that is not finite;
    /// [`Error::TooManySlots`] beyond [`MAX_SLOTS`]; [`Error::TooLarge`] where the memory is not to be
    /// had.
    pub fn new(x: Array<A, D>, slots: usize) -> Result<Self, Error> {
        Self::with_history(x, Vec::new(), slots)
    }

    /// A copy of the machine, where a clone would end the process if there is no memory for its
    /// arrays. The room for what a stage makes anew is not copied.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] where the memory is not to be had.
    pub fn try_clone(&self) -> Result<Self, Error> {
        let copy = |array: &Option<Array<A, D>>| array.as_ref().map(|a| a.copy()).transpose();
        Ok(Self {
            x: self.x.copy()?,
            slots: self.slots.iter().map(|slot| slot.copy()).all_listed()?,
            memory: copy(&self.memory)?,
            memory_before: None,
            outputs: copy(&self.outputs)?,
            work: Work::default(),
        })
    }

    /// The same with the first slots given.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new); [`Error::WrongLength`] for more given slots than there are;
    /// [`Error::ShapeMismatch`] for one that has not the shape of x.
    pub fn with_history(
        x: Array<A, D>,
        history: Vec<Array<A, D>>,
        slots: usize,
    ) -> Result<Self, Error> {
        if x.ndim() == 0 {
            return Err(Error::NoSampleAxis);
        }
        if slots > MAX_SLOTS {
            return Err(Error::TooManySlots {
                found: slots,
                max: MAX_SLOTS,
            });
        }
        if history.len() > slots {
            return Err(Error::WrongLength {
                name: "history",
                expected: slots,
                found: history.len(),
            });
        }
        buffers::check_start(&x, "start state")?;
        for slot in &history {
            require_shape("history", x.shape(), slot.shape())?;
            buffers::check_start(slot, "history")?;
        }
        // Slices are cheaper than strides: the machine's arrays are always in standard layout.
        let mut own: Vec<_> = history.into_iter().map(buffers::standard).all_listed()?;
        while own.len() < slots {
            own.push(memory::zeros(x.raw_dim())?);
        }
        Ok(Self {
            x: buffers::standard(x)?,
            slots: own,
            memory: None,
            memory_before: None,
            outputs: None,
            work: Work::default(),
        })
    }

    /// The state.
    pub fn state(&self) -> &ArrayRef<A, D> {
        &self.x
    }

    /// The state, for edits.
    pub fn state_mut(&mut self) -> ArrayViewMut<'_, A, D> {
        self.x.view_mut()
    }

    /// The history slots.
    pub fn history(&self) -> &[Array<A, D>] {
        &self.slots
    }

    /// The guidance memory, once a form that keeps one has run.
    pub fn memory(&self) -> Option<&ArrayRef<A, D>> {
        self.memory.as_deref()
    }

    /// The model's outputs at the last evaluation, \[n·B, …\]; `None` before the first.
    pub fn outputs(&self) -> Option<&ArrayRef<A, D>> {
        self.outputs.as_deref()
    }

    /// The state and the history slots.
    pub fn into_parts(self) -> (Array<A, D>, Vec<Array<A, D>>) {
        (self.x, self.slots)
    }

    /// Forgets the history and the guidance memory.
    pub(super) fn forget(&mut self) {
        for slot in &mut self.slots {
            slot.fill(A::zero());
        }
        self.memory = None;
    }

    pub(super) fn set_memory(&mut self, memory: Option<Array<A, D>>) -> Result<(), Error> {
        if let Some(memory) = &memory {
            require_shape("guidance memory", self.x.shape(), memory.shape())?;
            buffers::check_start(memory, "guidance memory")?;
        }
        self.memory = memory.map(buffers::standard).transpose()?;
        Ok(())
    }

    /// Takes one stage with `model`: evaluates it where the stage says so, and applies the update.
    ///
    /// # Errors
    ///
    /// [`Error::NonFinite`], [`Error::OutputNotWritten`], [`Error::CoefficientOverflow`],
    /// [`Error::WrongLength`] unless the stage is one or one for each sample,
    /// [`Error::RowsNotRead`] where samples have levels of their own that the model does not
    /// [read](Denoiser::reads_rows), [`Error::PredictionUndefined`]; what the model's guidance or the noise's
    /// [`check`](NoiseSource::check) refuses; the model's own error.
    pub fn take<M, N>(
        &mut self,
        instruction: &Instruction<'_>,
        model: &mut M,
        noise: &mut N,
    ) -> Result<(), RunError<M::Error>>
    where
        M: Denoiser<A, D> + ?Sized,
        N: NoiseSource<A>,
    {
        self.check_lengths(instruction)?;
        instruction.check_noise(noise, batch_of(&self.x)?)?;
        self.take_observed(instruction, model, noise, None)
    }

    /// Takes one stage without a model, or with its one output, whose elements may be shorter than
    /// the state's ([`ModelElement`]).
    ///
    /// # Errors
    ///
    /// As [`take`](Self::take), and [`Error::ShapeMismatch`].
    pub fn tell<O: ModelElement<A>, N: NoiseSource<A>>(
        &mut self,
        instruction: &Instruction<'_>,
        prediction: Prediction,
        output: &ArrayRef<O, D>,
        noise: &mut N,
    ) -> Result<(), Error> {
        self.check_lengths(instruction)?;
        instruction.check_noise(noise, batch_of(&self.x)?)?;
        let combine = Combine::By(&Unguided);
        self.tell_all(instruction, prediction, combine, &[output], (noise, None))
    }

    /// Takes one stage with several outputs and the weights by which they combine, for the batch or
    /// for each sample: every request of a batch may have a guidance weight of its own.
    ///
    /// # Errors
    ///
    /// As [`tell`](Self::tell), and [`Error::WrongLength`] unless there is one combination or one
    /// for each sample, with as many outputs as there are.
    pub fn tell_combined<O: ModelElement<A>, N: NoiseSource<A>>(
        &mut self,
        instruction: &Instruction<'_>,
        prediction: Prediction,
        combinations: &[Combination],
        outputs: &[&ArrayRef<O, D>],
        noise: &mut N,
    ) -> Result<(), Error> {
        self.check_lengths(instruction)?;
        instruction.check_noise(noise, batch_of(&self.x)?)?;
        let combine = Combine::Given(combinations);
        self.tell_all(instruction, prediction, combine, outputs, (noise, None))
    }

    pub(super) fn take_observed<M, N>(
        &mut self,
        instruction: &Instruction<'_>,
        model: &mut M,
        noise: &mut N,
        data: Option<&mut Array<A, D>>,
    ) -> Result<(), RunError<M::Error>>
    where
        M: Denoiser<A, D> + ?Sized,
        N: NoiseSource<A>,
    {
        self.check_lengths(instruction)?;
        if self.x.is_empty() || instruction.stages.is_empty() {
            return Ok(());
        }
        let prediction = model.prediction();
        let Some(query) = instruction.query_for(self.x.shape())? else {
            let outputs = Outputs::<A, D>::Told(&[]);
            self.apply(
                instruction,
                prediction,
                Combine::Given(&[]),
                outputs,
                None,
                noise,
            )?;
            return Ok(());
        };
        if instruction.rows_differ() && !model.reads_rows() {
            return Err(Error::RowsNotRead.into());
        }
        positions::check_model::<A, D, M>(instruction, model)?;
        let outputs = self.evaluate(model, instruction, &query)?;
        let guidance = model.guidance()?;
        let outputs = Outputs::<A, D>::Buffer(outputs);
        let combine = Combine::By(guidance);
        self.apply(instruction, prediction, combine, outputs, data, noise)?;
        Ok(())
    }

    pub(super) fn tell_all<O: ModelElement<A>, N: NoiseSource<A>>(
        &mut self,
        instruction: &Instruction<'_>,
        prediction: Prediction,
        combine: Combine<'_>,
        outputs: &[&ArrayRef<O, D>],
        (noise, data): (&mut N, Option<&mut Array<A, D>>),
    ) -> Result<(), Error> {
        self.check_lengths(instruction)?;
        self.check_told(outputs)?;
        if self.x.is_empty() || instruction.stages.is_empty() {
            return Ok(());
        }
        // Without an evaluation the history comes first among the kernel's inputs.
        let outputs = if instruction.levels.is_empty() {
            &[]
        } else {
            outputs
        };
        self.apply(
            instruction,
            prediction,
            combine,
            Outputs::Told(outputs),
            data.filter(|_| !instruction.levels.is_empty()),
            noise,
        )
    }

    pub(super) fn check_told<O>(&self, outputs: &[&ArrayRef<O, D>]) -> Result<(), Error> {
        outputs
            .iter()
            .try_for_each(|output| require_shape("model output", self.x.shape(), output.shape()))
    }

    fn check_lengths(&self, instruction: &Instruction<'_>) -> Result<(), Error> {
        let (samples, found) = (self.x.shape()[0], instruction.stages.len());
        if instruction.positions.is_some() {
            instruction.check_positions(self.x.shape())?;
            return instruction.check_slots(self.slots.len());
        }
        if found == 1 || found == samples {
            return instruction.check_slots(self.slots.len());
        }
        Err(Error::WrongLength {
            name: "levels",
            expected: samples,
            found,
        })
    }

    /// Calls the model for the outputs that its guidance wants; returns how many.
    fn evaluate<M: Denoiser<A, D> + ?Sized>(
        &mut self,
        model: &mut M,
        instruction: &Instruction<'_>,
        query: &Query<'_>,
    ) -> Result<usize, RunError<M::Error>> {
        let prediction = model.prediction();
        let guidance = model.guidance()?;
        let (most, plain) = (guidance.outputs(), is_unguided(guidance));
        let wanted = combiner::wanted(guidance, query, prediction)?;
        let most = most.max(wanted);
        crate::guidance::output_count(most)?;
        let mut shape = self.x.raw_dim();
        let samples = shape[0];
        shape[0] = most.saturating_mul(samples);
        let buffer = match &mut self.outputs {
            Some(buffer) if buffer.shape() == shape.slice() => buffer,
            stale => stale.insert(buffers::unwritten(shape)?),
        };
        let rows = wanted * samples;
        match instruction.places(self.x.shape())? {
            Some(places) => positions::mark_unwritten(buffer, rows, samples, places),
            None => buffers::mark_unwritten(buffer, rows),
        }
        // A plain model gives its one answer: a wrapper hands the query on to what it wraps. A form
        // that weighs one output reads it bare.
        let query = if plain {
            query.combined()
        } else {
            query.with_outputs(wanted)
        };
        let mut part = buffer.slice_axis_mut(Axis(0), Slice::from(0..rows));
        let dim = part.raw_dim();
        model
            .denoise(&self.x, &query, &mut part)
            .map_err(RunError::Denoiser)?;
        if part.raw_dim() != dim {
            return Err(Error::LayoutChanged {
                name: "output buffer",
            }
            .into());
        }
        Ok(wanted)
    }

    /// Applies the update of a stage to the outputs.
    fn apply<O: ModelElement<A>, N: NoiseSource<A>>(
        &mut self,
        instruction: &Instruction<'_>,
        prediction: Prediction,
        combine: Combine<'_>,
        outputs: Outputs<'_, O, D>,
        data: Option<&mut Array<A, D>>,
        noise: &mut N,
    ) -> Result<(), Error> {
        let reads = (combine, data.is_some());
        let outputs = self.readable_where_needed(instruction, prediction, reads, outputs)?;
        let own = outputs.own();
        self.work.remembered = false;
        if let Err(error) = self.fold(instruction, prediction, combine, own) {
            self.forget_stage();
            // Weights from products of an output that is not finite say so of themselves only.
            self.blame_outputs(instruction, outputs)?;
            return Err(error);
        }
        if let Some(data) = data {
            self.write_data(data, own)?;
        }
        let forms = std::mem::take(&mut self.work.forms);
        let result = match instruction.places(self.x.shape())? {
            Some(places) => {
                let forms = Forms::Along(&forms, places);
                self.apply_forms(instruction, forms, outputs, noise)
            }
            None => self.apply_forms(instruction, forms_of(&forms), outputs, noise),
        };
        self.work.forms = forms;
        if result.is_err() {
            self.forget_stage();
        }
        result
    }

    /// The guidance memory as it was before the current stage, which is refused.
    fn forget_stage(&mut self) {
        if std::mem::take(&mut self.work.remembered) {
            std::mem::swap(&mut self.memory, &mut self.memory_before);
        }
    }

    /// The forms of the stage, to `work.forms`.
    fn fold(
        &mut self,
        instruction: &Instruction<'_>,
        prediction: Prediction,
        combine: Combine<'_>,
        outputs: Outputs<'_, A, D>,
    ) -> Result<(), Error> {
        self.estimates(instruction, prediction, combine, outputs)?;
        let work = &mut self.work;
        work.forms.clear();
        for (sample, estimate) in work.estimates.iter().enumerate() {
            let form = fold::form(&instruction.stage_of(sample).update, estimate);
            fold::check_cast::<A>(&form, instruction.step)?;
            memory::push(&mut work.forms, form)?;
        }
        if instruction.levels.is_empty() {
            for stage in instruction.stages {
                let form = fold::form_without_model(&stage.update);
                fold::check_cast::<A>(&form, instruction.step)?;
                memory::push(&mut work.forms, form)?;
            }
        }
        Ok(())
    }

    /// Applies forms that are made already. Outputs of another type than the run's own have to be in
    /// standard layout.
    pub(super) fn apply_forms<O: ModelElement<A>, N: NoiseSource<A>>(
        &mut self,
        instruction: &Instruction<'_>,
        forms: Forms<'_>,
        outputs: Outputs<'_, O, D>,
        noise: &mut N,
    ) -> Result<(), Error> {
        let stream = Stream::Step(instruction.stage as u8);
        // The interval of a whole batch needs no memory, so that not even the first step told allocates.
        let single;
        let along = match forms {
            Forms::Along(_, places) => Some(places),
            Forms::Same(_) | Forms::PerSample(_) => None,
        };
        let intervals: &[Interval] = match instruction.stages {
            // Equivalent mutant: replace match guard along.is_some() with false: positions read
            // intervals of their own, where the source reads any.
            _ if along.is_some() => &[],
            [_] => {
                single = instruction.intervals().next();
                single.as_slice()
            }
            _ => {
                self.work.intervals.clear();
                memory::extend(&mut self.work.intervals, instruction.intervals())?;
                &self.work.intervals
            }
        };
        let step = instruction.step as u32;
        let mut fill = StepNoise::new(noise, step, stream, intervals).on_path(instruction.path());
        if let Some(places) = along {
            let intervals = &mut self.work.drawn;
            instruction.drawn(intervals)?;
            fill = fill.along(intervals, places);
        }
        let update = &instruction.stages[0].update;
        let stored = update.store.map(|store| store.slot);
        let (y, others) = Slots::split(&mut self.slots, stored);
        let slots = update
            .history
            .iter()
            .filter(|&&(slot, _)| Some(slot) != stored)
            .filter_map(|&(slot, _)| others.get(slot));
        let memory = self
            .memory
            .as_ref()
            .filter(|_| !instruction.levels.is_empty());
        let behind = memory.into_iter().chain(slots);
        let samples = self.x.shape()[0];
        let finite = match Inputs::new(&self.outputs, self.x.len(), outputs) {
            Some(mut inputs) => {
                for array in behind {
                    inputs.push(O::wide(buffers::own_slice(array, "history")?));
                }
                let y = y
                    .map(|y| buffers::own_slice_mut(y, "history"))
                    .transpose()?;
                kernel::update_slices(
                    forms,
                    samples,
                    buffers::own_slice_mut(&mut self.x, "state")?,
                    y,
                    inputs.slices(),
                    Some(&mut fill),
                )
            }
            None => {
                let Outputs::Told(told) = outputs else {
                    return Err(Error::LayoutChanged {
                        name: "output buffer",
                    });
                };
                let Some(told) = O::same(told) else {
                    return Err(Error::LayoutChanged {
                        name: "model output",
                    });
                };
                buffers::update_arrays(forms, &mut self.x, y, told, behind, &mut fill)?
            }
        };
        if finite {
            return Ok(());
        }
        self.blame(instruction, outputs)
    }
}

pub(super) fn forms_of(forms: &[Form]) -> Forms<'_> {
    match forms {
        [one] => Forms::Same(one),
        many => Forms::PerSample(many),
    }
}

const _: () = assert!(MAX_OUTPUTS + 1 + MAX_SLOTS <= MAX_INPUTS);

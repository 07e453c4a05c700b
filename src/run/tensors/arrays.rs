//! The tensors of a run, and what is done to them.

use num_traits::Float;

use super::super::buffers::Slots;
use super::super::combiner::{self, Combiner, Known};
use super::super::instruction::Instruction;
use super::super::machine::forms_of;
use super::super::outputs::Combine;
use super::TensorError;
use super::functional::{Operands, combined};
use crate::error::{Error, RunError, require_length, require_shape};
use crate::fold::{self, Estimate};
use crate::guidance::Products;
use crate::kernel::{self, Form, Gram};
use crate::memory::{self, Listed};
use crate::noise::{Interval, NoiseSource, RowNoise, StepNoise, Stream};
use crate::plan::Update;
use crate::prediction::Prediction;
use crate::real::Real;
use crate::tensor::{Fused, Normals, RowProducts, Scale, TensorOps};

/// The state, the history slots and the guidance memory.
#[derive(Clone, Debug)]
pub(super) struct Arrays<T> {
    x: T,
    slots: Vec<T>,
    memory: Option<T>,
    /// The estimate of x₀ of the current step's first evaluation, where it is kept.
    data: Kept<T>,
}

#[derive(Clone, Debug)]
enum Kept<T> {
    No,
    /// The step that it is of.
    Yes(Option<(usize, T)>),
}

impl<T> Arrays<T> {
    pub(super) fn state(&self) -> &T {
        &self.x
    }

    pub(super) fn history(&self) -> &[T] {
        &self.slots
    }

    pub(super) fn memory(&self) -> Option<&T> {
        self.memory.as_ref()
    }

    pub(super) fn into_parts(self) -> (T, Vec<T>) {
        (self.x, self.slots)
    }

    pub(super) fn keep_data(&mut self) {
        self.data = Kept::Yes(None);
    }

    pub(super) fn data(&self) -> Option<&T> {
        match &self.data {
            Kept::Yes(Some((_, data))) => Some(data),
            _ => None,
        }
    }
}

impl<T: Clone> Arrays<T> {
    /// The first slots and the memory may be given; the other slots hold zeros.
    pub(super) fn new<O: TensorOps<Tensor = T>>(
        ops: &O,
        x: T,
        (mut slots, memory): (Vec<T>, Option<T>),
        count: usize,
    ) -> Result<Self, TensorError<O::Error>> {
        let shape = ops.shape(&x);
        if shape.as_ref().is_empty() {
            return Err(Error::NoSampleAxis.into());
        }
        for slot in &slots {
            require_shape("history", shape.as_ref(), ops.shape(slot).as_ref())?;
        }
        if let Some(memory) = &memory {
            require_shape(
                "guidance memory",
                shape.as_ref(),
                ops.shape(memory).as_ref(),
            )?;
        }
        drop(shape);
        let given = [("start state", &x)].into_iter();
        let given = given.chain(slots.iter().map(|slot| ("history", slot)));
        for (name, tensor) in given.chain(memory.iter().map(|m| ("guidance memory", m))) {
            check_start(ops, tensor, name)?;
        }
        while slots.len() < count {
            slots.push(zeros(ops, &x)?);
        }
        Ok(Self {
            x,
            slots,
            memory,
            data: Kept::No,
        })
    }

    pub(super) fn set_state<O: TensorOps<Tensor = T>>(
        &mut self,
        ops: &O,
        x: T,
    ) -> Result<(), Error> {
        require_shape("state", ops.shape(&self.x).as_ref(), ops.shape(&x).as_ref())?;
        self.x = x;
        Ok(())
    }

    /// Takes one stage with these outputs, all of the state's shape; none where the stage evaluates
    /// nothing.
    pub(super) fn take<O: TensorOps<Tensor = T>, N: NoiseSource<O::Element>>(
        &mut self,
        ops: &O,
        instruction: &Instruction<'_>,
        prediction: Prediction,
        (combine, outputs): (Combine<'_>, &[&T]),
        noise: &mut N,
    ) -> Result<(), TensorError<O::Error>> {
        let before = self.memory.as_ref().map(|memory| ops.copy(memory));
        let before = before.transpose().map_err(RunError::Tensor)?;
        let result = match self.estimates(ops, instruction, prediction, (combine, outputs)) {
            Ok(estimates) => self.update(ops, instruction, (&estimates, outputs), noise),
            // Weights from products of an output that is not finite say so of themselves only.
            Err(error) => blame(
                ops,
                outputs.iter().copied(),
                "model output",
                instruction.step,
            )
            .and(Err(error)),
        };
        if result.is_err() {
            self.memory = before;
        }
        result
    }

    /// The estimate of the batch, or of each sample.
    fn estimates<O: TensorOps<Tensor = T>>(
        &mut self,
        ops: &O,
        instruction: &Instruction<'_>,
        prediction: Prediction,
        (combine, outputs): (Combine<'_>, &[&T]),
    ) -> Result<Vec<Estimate>, TensorError<O::Error>> {
        if let (Combine::By(guidance), Some(query)) = (combine, instruction.query())
            && guidance.is_stateful()
        {
            let change = combiner::remembering(guidance, &query, prediction, 0)?;
            self.remember(ops, change, outputs)?;
        }
        let known = Known {
            count: outputs.len(),
            samples: samples(ops, &self.x),
            memory: self.memory.is_some(),
        };
        let Some(combiner) = Combiner::new(instruction, prediction, combine, known)? else {
            return Ok(Vec::new());
        };
        let products = match combiner.products {
            true => self.products(ops, outputs, instruction.step)?,
            false => Vec::new(),
        };
        let mut combinations = Vec::new();
        let mut estimates = Vec::new();
        for sample in 0..combiner.entries() {
            let combination = combiner.combination(sample, products.get(sample))?;
            let estimate = combiner.estimate(sample, &combination, None)?;
            memory::push(&mut estimates, estimate)?;
            memory::push(&mut combinations, combination)?;
        }
        if let Some(clip) = combiner.dynamic {
            let magnitudes = self.magnitudes(ops, &estimates, outputs)?;
            for (sample, (estimate, mut row)) in estimates.iter_mut().zip(magnitudes).enumerate() {
                let bounds = clip.of_magnitudes(&mut row);
                *estimate = combiner.estimate(sample, &combinations[sample], Some(bounds))?;
            }
        }
        Ok(estimates)
    }

    /// m ← decay·m + slope·(o₀ − o₁). With one output nothing was guided, and nothing is
    /// remembered.
    fn remember<O: TensorOps<Tensor = T>>(
        &mut self,
        ops: &O,
        (decay, slope): (f64, f64),
        outputs: &[&T],
    ) -> Result<(), TensorError<O::Error>> {
        let memory = match self.memory.take() {
            Some(memory) => memory,
            None => zeros(ops, &self.x)?,
        };
        self.memory = Some(match *outputs {
            [first, second, ..] => {
                let terms = [
                    (Scale::Same(decay), &memory),
                    (Scale::Same(slope), first),
                    (Scale::Same(-slope), second),
                ];
                combined(ops, &terms)?
            }
            _ => memory,
        });
        Ok(())
    }

    /// The outputs, and the memory behind them.
    fn inputs<'a>(&'a self, outputs: &[&'a T]) -> Result<Vec<&'a T>, Error> {
        outputs.iter().copied().chain(&self.memory).listed()
    }

    /// Sums and products of (x, outputs…, memory) for every sample.
    fn products<O: TensorOps<Tensor = T>>(
        &self,
        ops: &O,
        outputs: &[&T],
        step: usize,
    ) -> Result<Vec<Products>, TensorError<O::Error>> {
        let mut tensors = vec![&self.x];
        tensors.extend(self.inputs(outputs)?);
        let (samples, per_sample) = (samples(ops, &self.x), per_sample(ops, &self.x));
        let of_rows = |rows: &RowProducts| {
            let inner: Vec<&[f64]> = rows.inner.iter().map(Vec::as_slice).listed()?;
            let sums = require_length("sums", tensors.len(), rows.sums.len());
            sums.and_then(|()| Products::new(per_sample, outputs.len(), &rows.sums, &inner))
        };
        if let Some(rows) = ops.products(&tensors).map_err(RunError::Tensor)? {
            require_length("rows of products", samples, rows.len())?;
            let all = rows
                .iter()
                .flat_map(|row| row.sums.iter().chain(row.inner.iter().flatten()));
            if !all.into_iter().all(|value| value.is_finite()) {
                // `take` looks for the output to blame first.
                let array = "inner products";
                return Err(Error::NonFiniteTensor { step, array }.into());
            }
            return Ok(rows.iter().map(of_rows).all_listed()?);
        }
        let values = tensors
            .iter()
            .map(|tensor| download(ops, tensor))
            .all_listed()?;
        let slices: Vec<&[O::Element]> = values.iter().map(Vec::as_slice).listed()?;
        let mut grams = crate::memory::repeated(Gram::ZERO, samples)?;
        kernel::gram_slices(samples, &slices, &mut grams);
        let products = grams.iter().map(|gram| fold::products(gram, outputs.len()));
        Ok(products.listed()?)
    }

    /// |D| of every sample.
    fn magnitudes<O: TensorOps<Tensor = T>>(
        &self,
        ops: &O,
        estimates: &[Estimate],
        outputs: &[&T],
    ) -> Result<Vec<Vec<O::Element>>, TensorError<O::Error>> {
        let data = self.estimate(ops, estimates, outputs)?;
        let row = per_sample(ops, &data).max(1);
        let values = download(ops, &data)?;
        let magnitudes = values
            .chunks(row)
            .map(|row| row.iter().map(|v| v.abs()).listed());
        Ok(magnitudes.all_listed()?)
    }

    /// The estimate of x₀.
    fn estimate<O: TensorOps<Tensor = T>>(
        &self,
        ops: &O,
        estimates: &[Estimate],
        outputs: &[&T],
    ) -> Result<T, TensorError<O::Error>> {
        let forms: Vec<Form> = estimates.iter().map(fold::data_form).listed()?;
        let operands = Operands {
            ops,
            forms: &forms,
            x: &self.x,
            y: None,
            inputs: &self.inputs(outputs)?,
            normals: None,
        };
        Ok(operands.apply()?.x)
    }

    /// Applies the stage's update.
    fn update<O: TensorOps<Tensor = T>, N: NoiseSource<O::Element>>(
        &mut self,
        ops: &O,
        instruction: &Instruction<'_>,
        (estimates, outputs): (&[Estimate], &[&T]),
        noise: &mut N,
    ) -> Result<(), TensorError<O::Error>> {
        let (step, update) = (instruction.step, &instruction.stage_of(0).update);
        let forms: Vec<Form> = match estimates {
            [] => vec![fold::form_without_model(update)],
            some => some.iter().map(|e| fold::form(update, e)).listed()?,
        };
        for form in &forms {
            fold::check_cast::<O::Element>(form, step)?;
        }
        let data = match estimates {
            [_, ..] if self.wants_data(step) => Some(self.estimate(ops, estimates, outputs)),
            _ => None,
        };
        let data = data.transpose()?;
        let intervals: Vec<Interval> = instruction.intervals().listed()?;
        let stage = Stage {
            forms: &forms,
            update,
            key: (step as u32, Stream::Step(instruction.stage as u8)),
            place: (&intervals, instruction.path()),
        };
        let memory = self.memory.as_ref().filter(|_| !estimates.is_empty());
        let own = (&mut self.x, self.slots.as_mut_slice(), memory);
        if !stage.apply(ops, own, outputs, noise)? {
            blame(ops, outputs.iter().copied(), "model output", step)?;
            blame(ops, &self.memory, "guidance memory", step)?;
            blame(ops, [&self.x], "state", step)?;
            blame(ops, &self.slots, "history", step)?;
        }
        if let Some(data) = data {
            self.data = Kept::Yes(Some((step, data)));
        }
        Ok(())
    }

    fn wants_data(&self, step: usize) -> bool {
        match &self.data {
            Kept::No => false,
            Kept::Yes(kept) => kept.as_ref().is_none_or(|(of, _)| *of != step),
        }
    }
}

/// The scalars of a stage, and what names its noise.
struct Stage<'a> {
    forms: &'a [Form],
    update: &'a Update,
    key: (u32, Stream),
    /// The intervals and the path.
    place: Place<'a>,
}

/// Where on a path noise is: the intervals, and which path.
type Place<'a> = (&'a [Interval], Option<u8>);

impl Stage<'_> {
    /// Applies the update to x and the slots, with the guidance memory: in place where the crate's
    /// kernel reads the tensors. Returns whether everything is finite.
    fn apply<'t, O: TensorOps, N: NoiseSource<O::Element>>(
        &self,
        ops: &O,
        (x, slots, memory): (&mut O::Tensor, &'t mut [O::Tensor], Option<&'t O::Tensor>),
        outputs: &[&'t O::Tensor],
        noise: &mut N,
    ) -> Result<bool, TensorError<O::Error>> {
        let stored = self.update.store.map(|store| store.slot);
        let (mut y, others) = Slots::split(slots, stored);
        let history = self.update.history.iter().map(|&(slot, _)| slot);
        let history = history.filter(|slot| Some(*slot) != stored);
        let history = history.filter_map(|slot| others.get(slot));
        let inputs: Vec<_> = outputs
            .iter()
            .copied()
            .chain(memory)
            .chain(history)
            .listed()?;
        let ((step, stream), (intervals, path)) = (self.key, self.place);
        let fused = ops.fused(Fused {
            forms: forms_of(self.forms),
            x: &mut *x,
            y: y.as_deref_mut(),
            inputs: &inputs,
            noise: &mut StepNoise::new(&mut *noise, step, stream, intervals).on_path(path),
        });
        if let Some(finite) = fused {
            return Ok(finite);
        }
        let normals = match self.forms.iter().any(|form| form.noise != 0.0) {
            true => Some(normals(ops, x, noise, self.key, self.place)?),
            false => None,
        };
        let operands = Operands {
            ops,
            forms: self.forms,
            x,
            y: y.as_deref(),
            inputs: &inputs,
            normals: normals.as_ref(),
        };
        let new = operands.apply()?;
        if ops.all_finite(&new.x).map_err(RunError::Tensor)? == Some(false) {
            blame(ops, outputs.iter().copied(), "model output", step as usize)?;
            blame(ops, [&new.x], "state", step as usize)?;
            let (step, array) = (step as usize, "state");
            return Err(Error::NonFiniteTensor { step, array }.into());
        }
        *x = new.x;
        if let (Some(y), Some(new_y)) = (y, new.y) {
            *y = new_y;
        }
        Ok(true)
    }
}

/// 0·a − 0·a, which is +0 where a < 0 too.
const ZERO: [f64; 2] = [0.0, -0.0];

fn zeros<O: TensorOps>(ops: &O, like: &O::Tensor) -> Result<O::Tensor, TensorError<O::Error>> {
    combined(ops, &ZERO.map(|scale| (Scale::Same(scale), like)))
}

/// 0 + c·a, as the kernel adds it: a product that is −0 gives +0. Once a run, so that the two products
/// more do not matter.
pub(super) fn scaled<O: TensorOps>(
    ops: &O,
    scale: f64,
    tensor: &O::Tensor,
) -> Result<O::Tensor, TensorError<O::Error>> {
    let [first, second] = ZERO;
    let scales = [first, second, scale];
    combined(ops, &scales.map(|scale| (Scale::Same(scale), tensor)))
}

fn samples<O: TensorOps>(ops: &O, tensor: &O::Tensor) -> usize {
    ops.shape(tensor).as_ref().first().copied().unwrap_or(0)
}

/// The elements of a sample.
fn per_sample<O: TensorOps>(ops: &O, tensor: &O::Tensor) -> usize {
    let shape = ops.shape(tensor);
    let rest = shape.as_ref().iter().skip(1);
    rest.fold(1, |product, &axis| product.saturating_mul(axis))
}

/// The samples, and the elements of each.
pub(super) fn batch_of<O: TensorOps>(ops: &O, tensor: &O::Tensor) -> (usize, usize) {
    (samples(ops, tensor), per_sample(ops, tensor))
}

/// Whether there are no samples, or samples without elements.
pub(super) fn is_empty<O: TensorOps>(ops: &O, tensor: &O::Tensor) -> bool {
    ops.shape(tensor).as_ref().contains(&0)
}

/// The elements on the host, as many as the shape says.
pub(super) fn download<O: TensorOps>(
    ops: &O,
    tensor: &O::Tensor,
) -> Result<Vec<O::Element>, TensorError<O::Error>> {
    let values = ops.download(tensor).map_err(RunError::Tensor)?;
    let len = ops.shape(tensor).as_ref().iter().product();
    require_length("downloaded elements", len, values.len())?;
    Ok(values)
}

/// Standard normals like a tensor.
pub(super) fn normals<O: TensorOps, N: NoiseSource<O::Element>>(
    ops: &O,
    like: &O::Tensor,
    noise: &mut N,
    (step, stream): (u32, Stream),
    (intervals, path): Place<'_>,
) -> Result<O::Tensor, TensorError<O::Error>> {
    let shape = ops.shape(like);
    let (shape, per_sample) = (shape.as_ref(), per_sample(ops, like));
    let mut rows = StepNoise::new(noise, step, stream, intervals).on_path(path);
    let own = ops.normals(&Normals::new(&rows, samples(ops, like)), like);
    if let Some(normals) = own.map_err(RunError::Tensor)? {
        require_shape("normals", shape, ops.shape(&normals).as_ref())?;
        return Ok(normals);
    }
    let mut values = crate::memory::reserve(shape)?;
    values.resize(shape.iter().product(), O::Element::default());
    for (row, values) in values.chunks_mut(per_sample.max(1)).enumerate() {
        for (piece, out) in values.chunks_mut(kernel::NOISE).enumerate() {
            rows.fill(row, piece * kernel::NOISE, out);
        }
    }
    require_finite(&values, per_sample, step as usize, "noise")?;
    let normals = ops.upload(values, like).map_err(RunError::Tensor)?;
    require_shape("uploaded normals", shape, ops.shape(&normals).as_ref())?;
    Ok(normals)
}

/// Refuses values that are not finite before anything runs, where the tensors are looked at.
fn check_start<O: TensorOps>(
    ops: &O,
    tensor: &O::Tensor,
    name: &'static str,
) -> Result<(), TensorError<O::Error>> {
    if ops.all_finite(tensor).map_err(RunError::Tensor)? != Some(false) {
        return Ok(());
    }
    match blame(ops, [tensor], name, 0) {
        Err(RunError::Sampler(Error::NonFinite {
            sample,
            element,
            array,
            value,
            ..
        })) => Err(Error::NonFiniteStart {
            array,
            sample,
            element,
            value,
        }
        .into()),
        Ok(()) => Err(Error::NonFiniteTensor {
            step: 0,
            array: name,
        }
        .into()),
        other => other,
    }
}

/// The error for the first value that is not finite.
#[cold]
fn blame<'t, O: TensorOps>(
    ops: &O,
    tensors: impl IntoIterator<Item = &'t O::Tensor>,
    array: &'static str,
    step: usize,
) -> Result<(), TensorError<O::Error>>
where
    O::Tensor: 't,
{
    for tensor in tensors {
        let values = download(ops, tensor)?;
        require_finite(&values, per_sample(ops, tensor), step, array)?;
    }
    Ok(())
}

/// Refuses values that are not finite, of samples of so many elements.
pub(super) fn require_finite<A: Real>(
    values: &[A],
    elements: usize,
    step: usize,
    array: &'static str,
) -> Result<(), Error> {
    let Some(place) = values.iter().position(|value| !value.is_finite()) else {
        return Ok(());
    };
    Err(Error::NonFinite {
        step,
        sample: place / elements.max(1),
        element: place % elements.max(1),
        array,
        value: values[place].widen(),
    })
}

//! The estimate of x₀ of a batch or of each sample, from the outputs: guidance, its memory, clipping.

use ndarray::{Array, ArrayRef, Axis, Dimension};

use super::buffers::{self, Inputs};
use super::combiner::{self, Combiner};
use super::instruction::Instruction;
use super::machine::{Machine, forms_of};
use super::outputs::{Combine, Outputs};
use super::positions;
use crate::clip::{Bounds, Clip};
use crate::denoiser::Query;
use crate::element::ModelElement;
use crate::error::Error;
use crate::fold::{self, Estimate};
use crate::guidance::{Guidance, MAX_OUTPUTS, is_unguided};
use crate::kernel::{self, Forms, Gram};
use crate::memory;
use crate::prediction::Prediction;
use crate::real::Real;

impl<A: Real, D: Dimension> Machine<A, D> {
    /// Outputs of the caller in another layout or of another type are copied where they are read
    /// beside the update: by products, by a guidance memory, by dynamic thresholding, by the estimate
    /// of x₀ where it is `observed`. Those in another layout and of another type always.
    pub(super) fn readable_where_needed<'o, O: ModelElement<A>>(
        &mut self,
        instruction: &Instruction<'_>,
        prediction: Prediction,
        (combine, observed): (Combine<'_>, bool),
        outputs: Outputs<'o, O, D>,
    ) -> Result<Outputs<'o, O, D>, Error> {
        let Outputs::Told(told) = outputs else {
            return Ok(outputs);
        };
        let dynamic = instruction.clip.is_some_and(|clip| clip.fixed().is_none());
        let standard = told.iter().all(|output| output.is_standard_layout());
        let copied = match O::same(told) {
            // A stage without a model, whatever type it was told.
            _ if told.is_empty() => false,
            Some(_) => {
                let guided = matches!(combine, Combine::By(guidance) if !is_unguided(guidance));
                // Equivalent mutant: replace && with ||: a copy that is not needed has the same bits.
                (dynamic || guided || observed) && !standard
            }
            None => {
                let read = dynamic || observed || !standard;
                read || reads_elements(instruction, prediction, combine)
            }
        };
        if copied { self.copy(told) } else { Ok(outputs) }
    }

    /// Copies outputs to the machine's own buffer, in standard layout and its own type.
    #[inline(never)]
    fn copy<'o, O: ModelElement<A>>(
        &mut self,
        told: &[&ArrayRef<O, D>],
    ) -> Result<Outputs<'o, O, D>, Error> {
        let mut shape = self.x.raw_dim();
        let samples = shape[0];
        crate::guidance::output_count(told.len())?;
        shape[0] = told.len().saturating_mul(samples);
        let buffer = match &mut self.outputs {
            // Equivalent mutant: replace match guard buffer.shape() == shape.slice() with false: a new
            // buffer each time is slower and holds the same.
            Some(buffer) if buffer.shape() == shape.slice() => buffer,
            stale => stale.insert(buffers::unwritten(shape)?),
        };
        for (mut part, output) in buffer.axis_chunks_iter_mut(Axis(0), samples).zip(told) {
            kernel::widen(output, &mut part)?;
        }
        Ok(Outputs::Buffer(told.len()))
    }

    /// The estimate of the batch, or of each sample, to `work.estimates`.
    pub(super) fn estimates(
        &mut self,
        instruction: &Instruction<'_>,
        prediction: Prediction,
        combine: Combine<'_>,
        outputs: Outputs<'_, A, D>,
    ) -> Result<(), Error> {
        self.work.estimates.clear();
        let Some(query) = instruction.query() else {
            return Ok(());
        };
        let count = outputs.count();
        let samples = self.x.shape()[0];
        positions::check_combine(instruction, combine, prediction)?;
        if let Combine::By(guidance) = combine {
            self.remember(guidance, &query, prediction, outputs)?;
        }
        let known = combiner::Known {
            count,
            samples,
            memory: self.memory.is_some(),
        };
        let Some(combiner) = Combiner::new(instruction, prediction, combine, known)? else {
            return Ok(());
        };
        if combiner.products {
            self.reduce(outputs, samples)?;
        }
        for sample in 0..combiner.entries() {
            let gram = self.work.grams.get(sample).filter(|_| combiner.products);
            let products = gram.map(|gram| fold::products(gram, count));
            let combination = combiner.combination(sample, products.as_ref())?;
            let estimate = combiner.estimate(sample, &combination, None)?;
            memory::push(&mut self.work.estimates, estimate)?;
            if let Some(clip) = combiner.dynamic {
                let bounds = self.threshold(clip, sample, &estimate, outputs)?;
                let estimate = combiner.estimate(sample, &combination, Some(bounds))?;
                self.work.estimates[sample] = estimate;
            }
        }
        Ok(())
    }

    /// m ← decay·m + D₀ − D₁, in which x cancels.
    fn remember(
        &mut self,
        guidance: &dyn Guidance,
        query: &Query<'_>,
        prediction: Prediction,
        outputs: Outputs<'_, A, D>,
    ) -> Result<(), Error> {
        if !guidance.is_stateful() {
            return Ok(());
        }
        let count = query.levels().len();
        self.work.forms.clear();
        for sample in 0..count {
            let (decay, slope) = combiner::remembering(guidance, query, prediction, sample)?;
            let form = kernel::affine(decay, &[slope, -slope]);
            memory::push(&mut self.work.forms, form)?;
        }
        let (x_len, samples) = (self.x.len(), self.x.shape()[0]);
        if self.memory.is_none() {
            self.memory = Some(memory::zeros(self.x.raw_dim())?);
        }
        let inputs = Inputs::new(&self.outputs, x_len, outputs);
        // With one output nothing was guided, and nothing is remembered.
        if let (Some(inputs), Some(memory)) = (inputs, &mut self.memory)
            && inputs.slices().len() > 1
        {
            match &mut self.memory_before {
                Some(before) => before.assign(memory),
                None => {
                    let mut before = memory::zeros(memory.raw_dim())?;
                    before.assign(memory);
                    self.memory_before = Some(before);
                }
            }
            self.work.remembered = true;
            let memory = buffers::own_slice_mut(memory, "guidance memory")?;
            let forms = forms_of(&self.work.forms);
            kernel::update_slices(forms, samples, memory, None, &inputs.slices()[..2], None);
        }
        Ok(())
    }

    /// Sums and products of (x, outputs…, memory) for every sample, to `work.grams`.
    fn reduce(&mut self, outputs: Outputs<'_, A, D>, samples: usize) -> Result<(), Error> {
        memory::resize(&mut self.work.grams, samples, Gram::ZERO)?;
        let Some(inputs) = Inputs::new(&self.outputs, self.x.len(), outputs) else {
            return Err(Error::LayoutChanged {
                name: "output buffer",
            });
        };
        let mut arrays: [&[A]; MAX_OUTPUTS + 2] = [&[]; MAX_OUTPUTS + 2];
        let mut count = 0;
        let state = buffers::own_slice(&self.x, "state")?;
        let memory = match &self.memory {
            Some(memory) => Some(buffers::own_slice(memory, "guidance memory")?),
            None => None,
        };
        let all = std::iter::once(state)
            .chain(inputs.slices().iter().copied())
            .chain(memory);
        for (array, slice) in arrays.iter_mut().zip(all) {
            *array = slice;
            count += 1;
        }
        kernel::gram_slices(samples, &arrays[..count], &mut self.work.grams);
        Ok(())
    }

    /// The bounds of one sample under dynamic thresholding.
    fn threshold(
        &mut self,
        clip: Clip,
        sample: usize,
        estimate: &Estimate,
        outputs: Outputs<'_, A, D>,
    ) -> Result<Bounds, Error> {
        let per_sample = self.x.len() / self.x.shape()[0];
        let row = sample * per_sample..(sample + 1) * per_sample;
        let Some(mut inputs) = Inputs::new(&self.outputs, self.x.len(), outputs) else {
            return Err(Error::LayoutChanged {
                name: "output buffer",
            });
        };
        if let Some(memory) = &self.memory {
            inputs.push(buffers::own_slice(memory, "guidance memory")?);
        }
        inputs.cut(row.clone());
        let values = &mut self.work.values;
        values.clear();
        memory::append(values, &buffers::own_slice(&self.x, "state")?[row])?;
        let form = fold::data_form(estimate);
        kernel::update_slices(Forms::Same(&form), 1, values, None, inputs.slices(), None);
        for value in values.iter_mut() {
            *value = value.abs();
        }
        Ok(clip.of_magnitudes(values))
    }

    /// Writes the estimate of x₀ to `data`.
    pub(super) fn write_data(
        &self,
        data: &mut Array<A, D>,
        outputs: Outputs<'_, A, D>,
    ) -> Result<(), Error> {
        data.assign(&self.x);
        let Some(mut inputs) = Inputs::new(&self.outputs, self.x.len(), outputs) else {
            return Ok(());
        };
        if let Some(memory) = &self.memory {
            inputs.push(buffers::own_slice(memory, "guidance memory")?);
        }
        let samples = self.x.shape()[0];
        let per_sample = self.x.len() / samples;
        let estimates = &self.work.estimates;
        let data = buffers::own_slice_mut(data, "data estimate")?;
        // What is not finite is reported by the update itself, with its place.
        if let [one] = estimates.as_slice() {
            let form = fold::data_form(one);
            kernel::update_slices(
                Forms::Same(&form),
                samples,
                data,
                None,
                inputs.slices(),
                None,
            );
            return Ok(());
        }
        for (sample, (row, estimate)) in
            data.chunks_exact_mut(per_sample).zip(estimates).enumerate()
        {
            let mut part = inputs;
            part.cut(sample * per_sample..(sample + 1) * per_sample);
            let form = fold::data_form(estimate);
            kernel::update_slices(Forms::Same(&form), 1, row, None, part.slices(), None);
        }
        Ok(())
    }
}

/// Whether a form of guidance looks at the outputs' elements at this stage.
fn reads_elements(
    instruction: &Instruction<'_>,
    prediction: Prediction,
    combine: Combine<'_>,
) -> bool {
    // Equivalent mutant: replace body with true: a copy that is not needed has the same bits.
    let (Combine::By(guidance), Some(query)) = (combine, instruction.query()) else {
        return false;
    };
    let entries = match instruction.along() {
        Some(_) => instruction.stages.len(),
        None => query.levels().len(),
    };
    guidance.is_stateful()
        || (0..entries).any(|sample| guidance.needs_products(&query.evaluation(sample, prediction)))
}

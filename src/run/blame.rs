//! Which value is to blame for an update that came out not finite.

use ndarray::{Axis, Dimension};

use super::buffers;
use super::instruction::Instruction;
use super::machine::Machine;
use super::outputs::Outputs;
use crate::element::ModelElement;
use crate::error::Error;
use crate::kernel;
use crate::real::Real;

impl<A: Real, D: Dimension> Machine<A, D> {
    /// The error for the first of the outputs' values that is not finite, at a position that moves.
    #[cold]
    pub(super) fn blame_outputs<O: ModelElement<A>>(
        &self,
        instruction: &Instruction<'_>,
        outputs: Outputs<'_, O, D>,
    ) -> Result<(), Error> {
        let (step, counts) = (instruction.step, self.moving(instruction)?);
        match outputs {
            Outputs::Told(outputs) => {
                for output in outputs {
                    kernel::find_non_finite_of::<A, _, _>(*output, step, "model output", &counts)?;
                }
            }
            Outputs::Unread(_) => {}
            Outputs::Buffer(count) => {
                let samples = self.x.shape()[0];
                let parts = self
                    .outputs
                    .iter()
                    .flat_map(|buffer| buffer.axis_chunks_iter(Axis(0), samples));
                for (index, output) in parts.take(count).enumerate() {
                    buffers::find_unwritten(&output, step, index, &counts)?;
                    kernel::find_non_finite_of::<A, _, _>(&*output, step, "model output", &counts)?;
                }
            }
        }
        Ok(())
    }

    /// The error for the first value that is not finite: in the outputs, else in the state.
    #[cold]
    pub(super) fn blame<O: ModelElement<A>>(
        &self,
        instruction: &Instruction<'_>,
        outputs: Outputs<'_, O, D>,
    ) -> Result<(), Error> {
        let step = instruction.step;
        self.blame_outputs(instruction, outputs)?;
        if let Some(memory) = &self.memory {
            kernel::find_non_finite::<A, _, _>(&**memory, step, "guidance memory")?;
        }
        // None of these where only D overflowed and clipping has brought it back into its range.
        kernel::find_non_finite_of::<A, _, _>(&*self.x, step, "state", self.moving(instruction)?)?;
        for slot in &self.slots {
            kernel::find_non_finite::<A, _, _>(&**slot, step, "history")?;
        }
        Ok(())
    }

    /// Whether an element of a sample lies at a position that moves: the others were not looked at.
    fn moving<'i>(
        &self,
        instruction: &Instruction<'i>,
    ) -> Result<impl Fn(usize, usize) -> bool + use<'i, A, D>, Error> {
        let (places, stages) = (
            instruction.places(self.x.shape())?,
            instruction.stages.len(),
        );
        Ok(move |sample, element| {
            places.is_none_or(|places| {
                let entry = places.run(sample, element, 0);
                entry.is_none_or(|(entry, _)| entry < stages)
            })
        })
    }
}

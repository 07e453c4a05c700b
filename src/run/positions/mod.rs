//! Runs in which positions along an axis (tokens, frames) have levels of their own.

mod run;
mod sampler;
mod schedule;

pub use run::PositionRun;
pub use sampler::PositionSampler;
pub use schedule::PositionSchedule;

use ndarray::{Array, Dimension};

use super::instruction::Instruction;
use super::outputs::Combine;
use crate::denoiser::Denoiser;
use crate::error::Error;
use crate::kernel::Places;
use crate::prediction::Prediction;
use crate::real::Real;

/// Refuses a model that would not see the levels, before it is called.
pub(super) fn check_model<A: Real, D: Dimension, M: Denoiser<A, D> + ?Sized>(
    instruction: &Instruction<'_>,
    model: &M,
) -> Result<(), Error> {
    let Some(along) = instruction.along() else {
        return Ok(());
    };
    if !model.reads_positions() {
        return Err(Error::PositionsNotRead { axis: along.axis });
    }
    let combine = Combine::By(model.guidance()?);
    check_combine(instruction, combine, model.prediction())
}

/// Refuses what looks at whole samples, where levels differ over their positions.
pub(super) fn check_combine(
    instruction: &Instruction<'_>,
    combine: Combine<'_>,
    prediction: Prediction,
) -> Result<(), Error> {
    if instruction.along().is_none() {
        return Ok(());
    }
    if instruction.clip.is_some_and(|clip| clip.fixed().is_none()) {
        let name = "dynamic thresholding";
        return Err(Error::NotPerPosition { name });
    }
    let (Combine::By(guidance), Some(query)) = (combine, instruction.query()) else {
        return Ok(());
    };
    let whole = |entry| guidance.needs_products(&query.evaluation(entry, prediction));
    if guidance.is_stateful() || (0..instruction.stages.len()).any(whole) {
        let name = guidance.name();
        return Err(Error::NotPerPosition { name });
    }
    Ok(())
}

/// Marks the ends of neighbouring positions of one step as unwritten, in each of the first `rows` rows:
/// also of those that stay, which are not looked at.
pub(super) fn mark_unwritten<A: Real, D: Dimension>(
    buffer: &mut Array<A, D>,
    rows: usize,
    samples: usize,
    places: Places<'_>,
) {
    let per_row = buffer.len() / buffer.shape()[0].max(1);
    let Some(values) = buffer.as_slice_mut() else {
        return;
    };
    for (index, row) in values
        .chunks_exact_mut(per_row.max(1))
        .take(rows)
        .enumerate()
    {
        let (sample, mut element) = (index % samples.max(1), 0);
        while let Some((_, len)) = places.run(sample, element, usize::MAX) {
            let Some(part) = row.get_mut(element..element + len) else {
                break;
            };
            part[0] = A::unwritten();
            part[len - 1] = A::unwritten();
            element += len;
            if element >= row.len() {
                break;
            }
        }
    }
}

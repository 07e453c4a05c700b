//! The arrays of a run as the kernel wants them: slices, or views where an output was told in another layout.

use ndarray::{Array, ArrayRef, Dimension};

use crate::error::Error;
use crate::kernel::{self, FillNoise, Form, Forms, MAX_INPUTS};
use crate::real::Real;

/// The history slots but the one that is written.
pub(super) struct Slots<'a, A, D: Dimension> {
    before: &'a [Array<A, D>],
    after: &'a [Array<A, D>],
}

impl<'a, A, D: Dimension> Slots<'a, A, D> {
    /// The slot that is written, and the others.
    pub(super) fn split(
        history: &'a mut [Array<A, D>],
        stored: Option<usize>,
    ) -> (Option<&'a mut Array<A, D>>, Self) {
        let (before, rest) = history.split_at_mut(stored.unwrap_or(history.len()));
        match rest.split_first_mut() {
            Some((written, after)) => (Some(written), Self { before, after }),
            None => (None, Self { before, after: &[] }),
        }
    }

    pub(super) fn get(&self, slot: usize) -> Option<&'a Array<A, D>> {
        match slot.checked_sub(self.before.len()) {
            None => self.before.get(slot),
            Some(0) => None,
            Some(behind) => self.after.get(behind - 1),
        }
    }
}

/// The model's outputs in the run's buffer, one after the other.
pub(super) fn outputs_of<'a, A, D: Dimension>(
    buffer: &'a Option<Array<A, D>>,
    len: usize,
    inputs: &mut [&'a [A]; MAX_INPUTS],
) -> Result<(), Error> {
    if let Some(buffer) = buffer {
        let slice = own_slice(buffer, "output buffer")?;
        for (input, output) in inputs.iter_mut().zip(slice.chunks_exact(len)) {
            *input = output;
        }
    }
    Ok(())
}

pub(super) fn own_slice<'a, A, D: Dimension>(
    array: &'a Array<A, D>,
    name: &'static str,
) -> Result<&'a [A], Error> {
    array.as_slice().ok_or(Error::LayoutChanged { name })
}

pub(super) fn own_slice_mut<'a, A, D: Dimension>(
    array: &'a mut Array<A, D>,
    name: &'static str,
) -> Result<&'a mut [A], Error> {
    array.as_slice_mut().ok_or(Error::LayoutChanged { name })
}

/// The update with told outputs in any layout.
pub(super) fn update_arrays<'a, A, D>(
    form: &Form,
    x: &mut Array<A, D>,
    y: Option<&mut Array<A, D>>,
    outputs: &[&'a ArrayRef<A, D>],
    slots: impl Iterator<Item = &'a Array<A, D>>,
    fill: FillNoise<'_, A>,
) -> Result<bool, Error>
where
    A: Real + 'a,
    D: Dimension + 'a,
{
    let Some(&first) = outputs.first() else {
        return Ok(true);
    };
    let mut inputs: [&ArrayRef<A, D>; MAX_INPUTS] = [first; MAX_INPUTS];
    let mut count = 0;
    for input in outputs.iter().copied().chain(slots.map(|slot| &**slot)) {
        inputs[count] = input;
        count += 1;
    }
    kernel::update(
        Forms::Same(form),
        x,
        y.map(|y| &mut **y),
        &inputs[..count],
        Some(fill),
    )
}

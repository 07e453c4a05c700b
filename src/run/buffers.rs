//! The arrays of a run as the kernel wants them: slices, or views where an output was given in
//! another layout.

use std::ops::Range;

use ndarray::{Array, ArrayRef, Dimension};

use super::outputs::Outputs;
use crate::element::ModelElement;
use crate::error::Error;
use crate::kernel::{self, FillNoise, Forms, Input, MAX_INPUTS};
use crate::memory::{self, Copied};
use crate::real::Real;

/// The history slots but the one that is written.
pub(super) struct Slots<'a, T> {
    before: &'a [T],
    after: &'a [T],
}

impl<'a, T> Slots<'a, T> {
    /// The slot that is written, and the others.
    pub(super) fn split(history: &'a mut [T], stored: Option<usize>) -> (Option<&'a mut T>, Self) {
        let (before, rest) = history.split_at_mut(stored.unwrap_or(history.len()));
        match rest.split_first_mut() {
            Some((written, after)) => (Some(written), Self { before, after }),
            None => (None, Self { before, after: &[] }),
        }
    }

    pub(super) fn get(&self, slot: usize) -> Option<&'a T> {
        match slot.checked_sub(self.before.len()) {
            None => self.before.get(slot),
            Some(0) => None,
            Some(behind) => self.after.get(behind - 1),
        }
    }
}

/// The kernel's inputs as slices.
#[derive(Clone, Copy)]
pub(super) struct Inputs<S> {
    slices: [S; MAX_INPUTS],
    count: usize,
}

impl<S> Inputs<S> {
    /// The outputs, each of `len` elements; `None` where one is not in standard layout, or where
    /// their elements are not to be had.
    pub(super) fn new<'a, A, O, D>(
        buffer: &'a Option<Array<A, D>>,
        len: usize,
        outputs: Outputs<'a, O, D>,
    ) -> Option<Self>
    where
        A: Real,
        O: ModelElement<A, Slice<'a> = S>,
        D: Dimension,
        S: Input<A>,
    {
        let mut inputs = Self {
            slices: [S::EMPTY; MAX_INPUTS],
            count: 0,
        };
        match outputs {
            Outputs::Told(told) => {
                for output in told {
                    inputs.push(O::slice(output.as_slice()?));
                }
            }
            Outputs::Buffer(count) => {
                let slice = buffer.as_ref()?.as_slice()?;
                for output in slice.chunks_exact(len.max(1)).take(count) {
                    inputs.push(O::wide(output));
                }
            }
            Outputs::Unread(_) => return None,
        }
        Some(inputs)
    }

    /// One more input, behind the others. A plan's limits leave room for all.
    pub(super) fn push(&mut self, slice: S) {
        self.slices[self.count] = slice;
        self.count += 1;
    }

    /// The same elements of every input.
    pub(super) fn cut<A: Real>(&mut self, range: Range<usize>)
    where
        S: Input<A>,
    {
        for slice in &mut self.slices[..self.count] {
            *slice = slice.part(range.clone());
        }
    }

    pub(super) fn slices(&self) -> &[S] {
        &self.slices[..self.count]
    }
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

/// The array in standard layout.
///
/// # Errors
///
/// [`Error::TooLarge`] where the copy of another layout cannot be had.
pub(super) fn standard<A: Real, D: Dimension>(array: Array<A, D>) -> Result<Array<A, D>, Error> {
    if array.is_standard_layout() {
        Ok(array)
    } else {
        array.copy()
    }
}

/// A buffer that no model has written yet.
pub(super) fn unwritten<A: Real, D: Dimension>(shape: D) -> Result<Array<A, D>, Error> {
    memory::filled(shape, A::unwritten())
}

/// Marks the first and the last element of each of the first `rows` rows as unwritten: a row that
/// the model forgets is then found, at a cost that does not depend on the row's length.
pub(super) fn mark_unwritten<A: Real, D: Dimension>(buffer: &mut Array<A, D>, rows: usize) {
    let per_row = (buffer.len() / buffer.shape()[0].max(1)).max(1);
    let values = buffer.as_slice_mut().unwrap_or_default();
    for row in values.chunks_exact_mut(per_row).take(rows) {
        row[0] = A::unwritten();
        row[per_row - 1] = A::unwritten();
    }
}

/// The error for an element that counts, by sample and place in it, and that no model has written.
pub(super) fn find_unwritten<A: Real, D: Dimension>(
    output: &ArrayRef<A, D>,
    step: usize,
    index: usize,
    counts: impl Fn(usize, usize) -> bool,
) -> Result<(), Error> {
    let per_sample = (output.len() / output.shape()[0].max(1)).max(1);
    let mut values = output.iter().enumerate();
    let unwritten = values.find(|(place, value)| {
        // Equivalent mutant: replace % with +: positions repeat with every sample.
        value.is_unwritten() && counts(place / per_sample, place % per_sample)
    });
    match unwritten.map(|(place, _)| place) {
        None => Ok(()),
        Some(place) => Err(Error::OutputNotWritten {
            step,
            output: index,
            sample: place / per_sample,
            element: place % per_sample,
        }),
    }
}

/// Refuses values that are not finite before anything runs.
pub(crate) fn check_start<A: Real, D: Dimension>(
    array: &ArrayRef<A, D>,
    name: &'static str,
) -> Result<(), Error> {
    match kernel::find_non_finite::<A, A, D>(array, 0, name) {
        Err(Error::NonFinite {
            sample,
            element,
            array,
            value,
            ..
        }) => Err(Error::NonFiniteStart {
            array,
            sample,
            element,
            value,
        }),
        other => other,
    }
}

/// The update with given outputs in any layout.
pub(super) fn update_arrays<'a, A, D>(
    forms: Forms<'_>,
    x: &mut Array<A, D>,
    y: Option<&mut Array<A, D>>,
    outputs: &[&'a ArrayRef<A, D>],
    behind: impl Iterator<Item = &'a Array<A, D>>,
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
    for input in outputs.iter().copied().chain(behind.map(|slot| &**slot)) {
        inputs[count] = input;
        count += 1;
    }
    kernel::update(forms, x, y.map(|y| &mut **y), &inputs[..count], Some(fill))
}

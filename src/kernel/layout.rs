//! From arrays of any layout to slices of equal length.
//!
//! - All in standard layout: the arrays are slices.
//! - Otherwise the axes of all operands are sorted by the strides of x, inverted where x runs
//!   backwards, and merged from the innermost outwards as far as every operand allows. Equal
//!   layouts of any axis order become one row, and sub-arrays become the longest rows they have. A
//!   row that is contiguous in every operand is a slice; other rows are gathered and scattered in
//!   blocks.
//!
//! Noise and positions are defined by the element's place in its sample, in row-major order, so
//! with them the axes stay as they are; with one form per sample the sample axis stays outermost.

use ndarray::iter::{Iter, LanesIter};
use ndarray::{ArrayRef, ArrayView, ArrayViewMut, Axis, Dimension};

use super::pieces::{Noise, Run, with_room};
use super::{FillNoise, Forms, Input, MAX_INPUTS, threads};
use crate::real::Real;

/// Elements that do not lie in rows are gathered in blocks of this length.
const GATHER: usize = 64;

/// Rows shorter than this are gathered too: a call for each would cost more.
const SHORT_ROW: usize = 16;

/// The update of arrays whose shapes agree and that hold at least one element.
#[inline(always)]
pub(super) fn update<A: Real, D: Dimension>(
    forms: Forms<'_>,
    x: &mut ArrayRef<A, D>,
    y: Option<&mut ArrayRef<A, D>>,
    inputs: &[&ArrayRef<A, D>],
    noise: Option<FillNoise<'_, A>>,
) -> bool {
    // Rooms of their own for the block of noise and for the views: a plain call does not pay for
    // either.
    match noise {
        Some(fill) if forms.noisy() => with_noise(forms, x, y, inputs, fill),
        _ => run(forms, x, y, inputs, None),
    }
}

/// The update of slices that hold `samples` rows.
#[inline]
pub(super) fn update_slices<A: Real, S: Input<A>>(
    forms: Forms<'_>,
    samples: usize,
    x: &mut [A],
    mut y: Option<&mut [A]>,
    inputs: &[S],
    noise: Option<FillNoise<'_, A>>,
) -> bool {
    debug_assert!(
        x.len().is_multiple_of(samples.max(1)),
        "slices of whole rows"
    );
    if x.is_empty() {
        return true;
    }
    let per_sample = (x.len() / samples.max(1)).max(1);
    let mut run = Run::new(forms, per_sample, None);
    match noise {
        Some(fill) if forms.noisy() => with_room(fill, per_sample, &mut |noise| {
            let mut run = Run::new(forms, per_sample, Some(noise));
            threads::slices(&mut run, 0, x, y.as_deref_mut(), inputs);
            run.finite
        }),
        _ => {
            threads::slices(&mut run, 0, x, y, inputs);
            run.finite
        }
    }
}

#[inline(never)]
fn with_noise<A: Real, D: Dimension>(
    forms: Forms<'_>,
    x: &mut ArrayRef<A, D>,
    mut y: Option<&mut ArrayRef<A, D>>,
    inputs: &[&ArrayRef<A, D>],
    fill: FillNoise<'_, A>,
) -> bool {
    let per_sample = x.len() / x.shape().first().map_or(1, |&samples| samples.max(1));
    with_room(fill, per_sample, &mut |noise| {
        run(forms, x, y.as_deref_mut(), inputs, Some(noise))
    })
}

#[inline(always)]
fn run<A: Real, D: Dimension>(
    forms: Forms<'_>,
    x: &mut ArrayRef<A, D>,
    mut y: Option<&mut ArrayRef<A, D>>,
    inputs: &[&ArrayRef<A, D>],
    noise: Option<&mut Noise<'_, A>>,
) -> bool {
    let samples = x.shape().first().map_or(1, |&samples| samples.max(1));
    let mut run = Run::new(forms, x.len() / samples, noise);
    // The common case avoids the large stack array.
    if inputs.len() <= 2 {
        standard::<A, D, 2>(&mut run, x, y.as_deref_mut(), inputs)
            .unwrap_or_else(|| strided::<A, D, 2>(run, x, y, inputs))
    } else {
        standard::<A, D, MAX_INPUTS>(&mut run, x, y.as_deref_mut(), inputs)
            .unwrap_or_else(|| strided::<A, D, MAX_INPUTS>(run, x, y, inputs))
    }
}

/// At most N inputs; `None`, and nothing done, unless all is in standard layout.
#[inline(always)]
fn standard<A: Real, D: Dimension, const N: usize>(
    run: &mut Run<'_, '_, A>,
    x: &mut ArrayRef<A, D>,
    y: Option<&mut ArrayRef<A, D>>,
    inputs: &[&ArrayRef<A, D>],
) -> Option<bool> {
    let mut slices: [&[A]; N] = [&[]; N];
    for (slice, input) in slices.iter_mut().zip(inputs) {
        *slice = input.as_slice()?;
    }
    let slices = &slices[..inputs.len().min(N)];
    let y = match y {
        Some(y) => Some(y.as_slice_mut()?),
        None => None,
    };
    threads::slices(run, 0, x.as_slice_mut()?, y, slices);
    Some(run.finite)
}

/// At most N inputs, any layout.
#[inline(never)]
fn strided<A: Real, D: Dimension, const N: usize>(
    run: Run<'_, '_, A>,
    x: &mut ArrayRef<A, D>,
    y: Option<&mut ArrayRef<A, D>>,
    inputs: &[&ArrayRef<A, D>],
) -> bool {
    let mut views = Views::<A, D, N> {
        x: x.view_mut(),
        y: y.map(ArrayRef::view_mut),
        inputs: std::array::from_fn(|j| inputs.get(j).map(|input| input.view())),
    };
    match (&run.noise, run.forms) {
        (None, Forms::Same(_)) => views.sort(0),
        (None, Forms::PerSample(_)) => views.sort(1),
        (Some(_), _) | (None, Forms::Along(..)) => {}
    }
    views.merge();
    if views.all(|shape, strides| match (shape.last(), strides.last()) {
        (Some(&len), Some(&stride)) => len >= SHORT_ROW && stride == 1,
        _ => false,
    }) {
        rows(run, views)
    } else {
        elements(run, views)
    }
}

/// Rows that are slices in every operand.
fn rows<A: Real, D: Dimension, const N: usize>(
    mut run: Run<'_, '_, A>,
    mut views: Views<'_, A, D, N>,
) -> bool {
    let count = views.inputs.iter().flatten().count();
    let mut ys = views.y.as_mut().map(|y| y.rows_mut().into_iter());
    let mut readers: [Option<LanesIter<'_, A, D::Smaller>>; N] = std::array::from_fn(|j| {
        views.inputs[j]
            .as_ref()
            .map(|input| input.rows().into_iter())
    });
    let mut start = 0;
    for mut x in views.x.rows_mut() {
        let mut y = ys.as_mut().and_then(Iterator::next);
        let y = y.as_mut().and_then(|y| y.as_slice_mut());
        let mut slices: [&[A]; N] = [&[]; N];
        let mut whole = y.is_some() == ys.is_some();
        for (slice, reader) in slices.iter_mut().zip(readers.iter_mut().flatten()) {
            match reader.next().and_then(|row| row.to_slice()) {
                Some(row) => *slice = row,
                None => whole = false,
            }
        }
        // Always so: the caller has found every row's stride to be 1, and the shapes agree. If it
        // were not, the rest would stay as it is, which must not pass for a finished update.
        let (Some(x), true) = (x.as_slice_mut(), whole) else {
            debug_assert!(false, "a row is not a slice");
            return false;
        };
        threads::slices(&mut run, start, x, y, &slices[..count]);
        start += x.len();
    }
    run.finite
}

/// Elements of any layout, gathered into blocks and scattered back.
fn elements<A: Real, D: Dimension, const N: usize>(
    mut run: Run<'_, '_, A>,
    mut views: Views<'_, A, D, N>,
) -> bool {
    let count = views.inputs.iter().flatten().count();
    let (len, has_y) = (views.x.len(), views.y.is_some());
    let mut xs = views.x.iter_mut();
    let mut ys = views.y.as_mut().map(|y| y.iter_mut());
    let mut readers: [Option<Iter<'_, A, D>>; N] =
        std::array::from_fn(|j| views.inputs[j].as_ref().map(|input| input.iter()));
    let (mut x, mut y) = ([A::zero(); GATHER], [A::zero(); GATHER]);
    let mut gathered = [[A::zero(); GATHER]; N];
    for start in (0..len).step_by(GATHER) {
        let block = GATHER.min(len - start);
        // The places that the block comes from and goes back to.
        let mut to_x: [Option<&mut A>; GATHER] = [const { None }; GATHER];
        let mut to_y: [Option<&mut A>; GATHER] = [const { None }; GATHER];
        gather(&mut x[..block], &mut to_x, &mut xs);
        if let Some(ys) = &mut ys {
            gather(&mut y[..block], &mut to_y, ys);
        }
        for (values, reader) in gathered.iter_mut().zip(readers.iter_mut().flatten()) {
            for (value, &from) in values[..block].iter_mut().zip(reader) {
                *value = from;
            }
        }
        let mut slices: [&[A]; N] = [&[]; N];
        for (slice, values) in slices.iter_mut().zip(&gathered) {
            *slice = &values[..block];
        }
        let y_block = has_y.then_some(&mut y[..block]);
        threads::slices(&mut run, start, &mut x[..block], y_block, &slices[..count]);
        for (to, &value) in to_x.into_iter().flatten().zip(&x) {
            *to = value;
        }
        for (to, &value) in to_y.into_iter().flatten().zip(&y) {
            *to = value;
        }
    }
    run.finite
}

/// Copies the next elements, and keeps where they came from.
fn gather<'a, A: Real>(
    values: &mut [A],
    places: &mut [Option<&'a mut A>],
    from: &mut impl Iterator<Item = &'a mut A>,
) {
    for ((value, place), from) in values.iter_mut().zip(places).zip(from) {
        *value = *from;
        *place = Some(from);
    }
}

/// Views of the operands whose axes are rearranged together.
struct Views<'a, A, D, const N: usize> {
    x: ArrayViewMut<'a, A, D>,
    y: Option<ArrayViewMut<'a, A, D>>,
    inputs: [Option<ArrayView<'a, A, D>>; N],
}

impl<A, D: Dimension, const N: usize> Views<'_, A, D, N> {
    /// Whether something holds of the shape and strides of every operand.
    fn all(&self, holds: impl Fn(&[usize], &[isize]) -> bool) -> bool {
        holds(self.x.shape(), self.x.strides())
            && self.y.iter().all(|y| holds(y.shape(), y.strides()))
            && self
                .inputs
                .iter()
                .flatten()
                .all(|input| holds(input.shape(), input.strides()))
    }

    /// Puts the axes from `first` on into the memory order of x.
    fn sort(&mut self, first: usize) {
        let ndim = self.x.ndim();
        for axis in first..ndim {
            if self.x.strides()[axis] < 0 {
                self.x.invert_axis(Axis(axis));
                self.y.iter_mut().for_each(|y| y.invert_axis(Axis(axis)));
                self.inputs
                    .iter_mut()
                    .flatten()
                    .for_each(|input| input.invert_axis(Axis(axis)));
            }
        }
        // A selection sort: the axes are few, and swapping two of them is all that a view can do in
        // place.
        for axis in first..ndim {
            let stride = |&k: &usize| match self.x.shape()[k] {
                0 | 1 => isize::MAX, // Its stride means nothing.
                _ => self.x.strides()[k],
            };
            let largest = (axis..ndim).rev().max_by_key(stride).unwrap_or(axis);
            if largest != axis {
                self.x.swap_axes(axis, largest);
                self.y.iter_mut().for_each(|y| y.swap_axes(axis, largest));
                self.inputs
                    .iter_mut()
                    .flatten()
                    .for_each(|input| input.swap_axes(axis, largest));
            }
        }
    }

    /// Merges axes into the last one, from the inside outwards, as long as every operand allows it.
    fn merge(&mut self) {
        let last = self.x.ndim().saturating_sub(1);
        for take in (0..last).rev() {
            let fits = |shape: &[usize], strides: &[isize]| {
                shape[take] <= 1
                    || shape[last] <= 1
                    || strides[take] == shape[last] as isize * strides[last]
            };
            if !self.all(fits) {
                break;
            }
            let (take, into) = (Axis(take), Axis(last));
            self.x.merge_axes(take, into);
            if let Some(y) = &mut self.y {
                y.merge_axes(take, into);
            }
            for input in self.inputs.iter_mut().flatten() {
                input.merge_axes(take, into);
            }
        }
    }
}

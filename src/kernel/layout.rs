//! From arrays of any layout to slices of equal length.
//!
//! - All in standard layout: the arrays are slices.
//! - Otherwise the axes of all operands are sorted by the strides of x, inverted where x runs backwards, and merged from
//!   the innermost outwards as far as every operand allows. Equal layouts of any axis order become one row, and
//!   sub-arrays become the longest rows they have. A row that is contiguous in every operand is a slice; other rows are
//!   gathered and scattered in blocks.
//!
//! Noise is defined by the element's place in its sample, in row-major order, so with noise the axes stay as they are;
//! with one form per sample the sample axis stays outermost.

use ndarray::iter::{Iter, LanesIter};
use ndarray::{ArrayRef, ArrayView, ArrayViewMut, Axis, Dimension};

use super::slices::{self, Operands};
#[cfg(feature = "rayon")]
use super::threads::Threads;
use super::{FillNoise, Forms, MAX_INPUTS};
use crate::real::Real;

/// Elements that do not lie in rows are gathered in blocks of this length.
const GATHER: usize = 64;

/// The noise is asked for in pieces of this length, short enough for L1. A stochastic step of 64 Ki takes 1.14 times as
/// long as its normals alone with pieces of 1024, 1.37 times with 256 (medians of five runs taken in turn).
pub(super) const NOISE: usize = 1024;

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
    // Rooms of their own for the block of noise and for the views: a plain call does not pay for either.
    match noise {
        Some(fill) if is_noisy(forms) => with_noise(forms, x, y, inputs, fill),
        _ => run(forms, x, y, inputs, None),
    }
}

#[inline(always)]
fn is_noisy(forms: Forms<'_>) -> bool {
    match forms {
        Forms::Same(form) => form.noise != 0.0,
        Forms::PerSample(forms) => forms.iter().any(|form| form.noise != 0.0),
    }
}

/// The update of slices that hold `samples` rows.
#[inline]
pub(super) fn update_slices<A: Real>(
    forms: Forms<'_>,
    samples: usize,
    x: &mut [A],
    y: Option<&mut [A]>,
    inputs: &[&[A]],
    noise: Option<FillNoise<'_, A>>,
) -> bool {
    let mut run = Run {
        forms,
        per_sample: (x.len() / samples.max(1)).max(1),
        noise: None,
        finite: true,
    };
    match noise {
        Some(fill) if is_noisy(forms) && !x.is_empty() => {
            let mut noise = Noise::new(fill);
            run.noise = Some(&mut noise);
            run.slices(0, x, y, inputs);
            run.finite
        }
        _ => {
            run.slices(0, x, y, inputs);
            run.finite
        }
    }
}

#[inline(never)]
fn with_noise<A: Real, D: Dimension>(
    forms: Forms<'_>,
    x: &mut ArrayRef<A, D>,
    y: Option<&mut ArrayRef<A, D>>,
    inputs: &[&ArrayRef<A, D>],
    fill: FillNoise<'_, A>,
) -> bool {
    run(forms, x, y, inputs, Some(&mut Noise::new(fill)))
}

#[inline(always)]
fn run<A: Real, D: Dimension>(
    forms: Forms<'_>,
    x: &mut ArrayRef<A, D>,
    y: Option<&mut ArrayRef<A, D>>,
    inputs: &[&ArrayRef<A, D>],
    noise: Option<&mut Noise<'_, A>>,
) -> bool {
    let samples = x.shape().first().map_or(1, |&samples| samples.max(1));
    let run = Run {
        forms,
        per_sample: x.len() / samples,
        noise,
        finite: true,
    };
    // The usual few inputs are not made to pay for the room of the most.
    let few = inputs.len() <= 2;
    if x.is_standard_layout()
        && y.as_ref().is_none_or(|y| y.is_standard_layout())
        && inputs.iter().all(|input| input.is_standard_layout())
    {
        if few {
            standard::<A, D, 2>(run, x, y, inputs)
        } else {
            standard::<A, D, MAX_INPUTS>(run, x, y, inputs)
        }
    } else if few {
        strided::<A, D, 2>(run, x, y, inputs)
    } else {
        strided::<A, D, MAX_INPUTS>(run, x, y, inputs)
    }
}

/// At most N inputs, all in standard layout.
#[inline(always)]
fn standard<A: Real, D: Dimension, const N: usize>(
    mut run: Run<'_, '_, A>,
    x: &mut ArrayRef<A, D>,
    y: Option<&mut ArrayRef<A, D>>,
    inputs: &[&ArrayRef<A, D>],
) -> bool {
    let mut slices: [&[A]; N] = [&[]; N];
    for (slice, input) in slices.iter_mut().zip(inputs) {
        // Always there: the caller has asked for the standard layout; so below.
        *slice = input.as_slice().unwrap_or_default();
    }
    let slices = &slices[..inputs.len().min(N)];
    let x = x.as_slice_mut().unwrap_or_default();
    run.slices(0, x, y.and_then(ArrayRef::as_slice_mut), slices);
    run.finite
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
        (Some(_), _) => {}
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
        // The strides are 1, so every row is a slice.
        let x = x.as_slice_mut().unwrap_or_default();
        let mut y = ys.as_mut().and_then(Iterator::next);
        let y = y.as_mut().and_then(|y| y.as_slice_mut());
        let mut slices: [&[A]; N] = [&[]; N];
        for (slice, reader) in slices.iter_mut().zip(readers.iter_mut().flatten()) {
            *slice = reader
                .next()
                .and_then(|row| row.to_slice())
                .unwrap_or_default();
        }
        run.slices(start, x, y, &slices[..count]);
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
        run.slices(start, &mut x[..block], y_block, &slices[..count]);
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
        // A selection sort: the axes are few, and swapping two of them is all that a view can do in place.
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

/// What stays the same from slice to slice, and the result so far.
pub(super) struct Run<'r, 'n, A> {
    pub(super) forms: Forms<'r>,
    /// The elements of a sample.
    pub(super) per_sample: usize,
    pub(super) noise: Option<&'r mut Noise<'n, A>>,
    /// Whether everything so far is finite.
    pub(super) finite: bool,
}

impl<A: Real> Run<'_, '_, A> {
    /// The elements from `start` on, in slices.
    #[inline(always)]
    fn slices(&mut self, start: usize, x: &mut [A], y: Option<&mut [A]>, inputs: &[&[A]]) {
        #[cfg(feature = "rayon")]
        if let Some(threads) = Threads::worth(self, x.len()) {
            self.finite &= threads.slices(start, x, y, inputs);
            return;
        }
        self.in_order(start, x, y, inputs);
    }

    /// The same by this thread.
    #[inline(always)]
    pub(super) fn in_order(
        &mut self,
        start: usize,
        x: &mut [A],
        y: Option<&mut [A]>,
        inputs: &[&[A]],
    ) {
        if let (Forms::Same(form), None) = (self.forms, &self.noise) {
            let z = None;
            self.finite &= slices::apply(form, Operands { x, y, inputs, z });
        } else {
            self.pieces(start, x, y, inputs);
        }
    }

    /// The same cut where a new sample or a new block of noise begins.
    #[inline(never)]
    fn pieces(&mut self, start: usize, x: &mut [A], mut y: Option<&mut [A]>, inputs: &[&[A]]) {
        let mut sample = start / self.per_sample;
        let mut element = start % self.per_sample;
        let mut done = 0;
        let mut parts: [&[A]; MAX_INPUTS] = [&[]; MAX_INPUTS];
        while done < x.len() {
            let form = match self.forms {
                Forms::Same(form) => form,
                Forms::PerSample(forms) => &forms[sample],
            };
            let mut len = (self.per_sample - element).min(x.len() - done);
            let z = match &mut self.noise {
                Some(noise) if form.noise != 0.0 => {
                    let z = noise.from(sample, element, self.per_sample);
                    len = len.min(z.len());
                    Some(&z[..len])
                }
                _ => None,
            };
            let piece = done..done + len;
            for (part, input) in parts.iter_mut().zip(inputs) {
                *part = &input[piece.clone()];
            }
            self.finite &= slices::apply(
                form,
                Operands {
                    x: &mut x[piece.clone()],
                    y: y.as_deref_mut().map(|y| &mut y[piece]),
                    inputs: &parts[..inputs.len()],
                    z,
                },
            );
            done += len;
            element += len;
            if element == self.per_sample {
                (sample, element) = (sample + 1, 0);
            }
        }
    }
}

/// The noise, a block at a time. Which pieces are asked for depends on the shape alone, not on the layout.
pub(super) struct Noise<'n, A> {
    pub(super) fill: FillNoise<'n, A>,
    /// The sample and first element of the block that is held.
    at: Option<(usize, usize)>,
    block: [A; NOISE],
}

impl<'n, A: Real> Noise<'n, A> {
    pub(super) fn new(fill: FillNoise<'n, A>) -> Self {
        Self {
            fill,
            at: None,
            block: [A::zero(); NOISE],
        }
    }

    /// The normals from `element` to the end of its block.
    fn from(&mut self, sample: usize, element: usize, per_sample: usize) -> &[A] {
        let first = element - element % NOISE;
        let len = NOISE.min(per_sample - first);
        if self.at != Some((sample, first)) {
            self.fill.fill(sample, first, &mut self.block[..len]);
            self.at = Some((sample, first));
        }
        &self.block[element - first..len]
    }
}

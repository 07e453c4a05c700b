//! Inputs of which the first are a model's halves: read where they lie, widened in registers.
//!
//! The loops are those of `fused.rs` with the first H of their N inputs of the short type. One or
//! two halves, alone or with history, old y and noise behind them, have loops of their own; all
//! else runs term by term over blocks, in which the halves are widened as they are read.

use std::ops::Range;

use super::blocks::{Blocks, add_noise};
use super::fused::fused_mixed;
use super::slices::{Operands, SPECIALISED, extend, linear_part};
use super::{Form, Input, MAX_INPUTS};
use crate::element::ModelElement;
use crate::real::Real;
use crate::simd::dispatch;

/// A slice of a model's output, or of the run's own elements. In an update the former come first.
#[derive(Clone, Copy, Debug)]
pub enum Mixed<'s, O> {
    /// The run's own.
    Wide(&'s [f32]),
    /// The model's.
    Half(&'s [O]),
}

/// A model's element that is not the state's own: halves of f32.
pub trait Half: ModelElement<f32> {
    /// As [`Real::update`] for inputs of which the first are of this type: compiled once.
    fn update(operands: Operands<'_, f32, Mixed<'_, Self>>) -> bool;
}

impl Half for half::f16 {
    fn update(operands: Operands<'_, f32, Mixed<'_, Self>>) -> bool {
        mixed(operands)
    }
}

impl Half for half::bf16 {
    fn update(operands: Operands<'_, f32, Mixed<'_, Self>>) -> bool {
        mixed(operands)
    }
}

impl<O: Half> Input<f32> for Mixed<'_, O> {
    const EMPTY: Self = Self::Wide(&[]);

    #[inline(always)]
    fn part(self, range: Range<usize>) -> Self {
        match self {
            Self::Wide(slice) => Self::Wide(&slice[range]),
            Self::Half(slice) => Self::Half(&slice[range]),
        }
    }

    #[inline(always)]
    fn at(self, index: usize) -> f32 {
        match self {
            Self::Wide(slice) => slice[index],
            Self::Half(slice) => slice[index].widened(),
        }
    }

    #[inline]
    fn apply(operands: Operands<'_, f32, Self>) -> bool {
        O::update(operands)
    }
}

/// The two kinds of slices apart, and then the loops.
fn mixed<O: Half>(operands: Operands<'_, f32, Mixed<'_, O>>) -> bool {
    let Operands {
        form,
        x,
        y,
        inputs,
        z,
    } = operands;
    let (mut halves, mut wides) = ([&[][..]; MAX_INPUTS], [&[][..]; MAX_INPUTS]);
    let (mut half, mut wide) = (0, 0);
    for input in inputs {
        match *input {
            Mixed::Half(slice) => {
                // The coefficients are those of halves first.
                debug_assert_eq!(wide, 0, "a half stands behind a wide input");
                halves[half] = slice;
                half += 1;
            }
            Mixed::Wide(slice) => {
                wides[wide] = slice;
                wide += 1;
            }
        }
    }
    let inputs = &wides[..wide];
    if half == 0 {
        return f32::update(Operands {
            form,
            x,
            y,
            inputs,
            z,
        });
    }
    let halves = &halves[..half];
    apply(form, x, y, (halves, inputs), z)
}

/// The model's slices, and those of the run behind them.
type Inputs<'s, O> = (&'s [&'s [O]], &'s [&'s [f32]]);

/// As [`slices::apply`].
fn apply<O: Half>(
    form: &Form,
    x: &mut [f32],
    y: Option<&mut [f32]>,
    inputs: Inputs<'_, O>,
    z: Option<&[f32]>,
) -> bool {
    let old_y = form.x_from_y != 0.0;
    match (y, &form.clip) {
        (Some(y), None) if form.y.is_some() => {
            if old_y {
                plain::<O, true, true>(form, x, y, inputs, z)
            } else {
                plain::<O, true, false>(form, x, y, inputs, z)
            }
        }
        (Some(y), Some(_)) if form.y.is_some() => {
            if old_y {
                clipped::<O, true, true>(form, x, y, inputs, z)
            } else {
                clipped::<O, true, false>(form, x, y, inputs, z)
            }
        }
        (Some(y), Some(_)) if old_y => blocks(form, x, Some(y), inputs, z),
        (_, Some(_)) => clipped::<O, false, false>(form, x, &mut [], inputs, z),
        (y, None) => linear(form, x, y.filter(|_| old_y), inputs, z),
    }
}

/// Writes x alone. The old y and the noise come last in the sum, so they are like any other input.
fn linear<O: Half>(
    form: &Form,
    x: &mut [f32],
    y: Option<&mut [f32]>,
    (halves, inputs): Inputs<'_, O>,
    z: Option<&[f32]>,
) -> bool {
    let count = inputs.len() + usize::from(y.is_some()) + usize::from(z.is_some());
    if count == inputs.len() {
        return plain::<O, false, false>(form, x, &mut [], (halves, inputs), None);
    }
    if halves.len() + count > SPECIALISED {
        return blocks(form, x, y, (halves, inputs), z);
    }
    let (before, mut extended) = (halves.len(), linear_part(form));
    let mut slices: [&[f32]; SPECIALISED] = [&[]; SPECIALISED];
    let extra = [y.as_deref(), z];
    let len = extend(&mut extended.x, form, before, extra, inputs, &mut slices);
    let inputs = (halves, &slices[..len]);
    plain::<O, false, false>(&extended, x, &mut [], inputs, None)
}

/// The plain form, specialised for the usual numbers of inputs.
#[inline(never)]
fn plain<O: Half, const Y: bool, const E: bool>(
    form: &Form,
    x: &mut [f32],
    y: &mut [f32],
    (halves, inputs): Inputs<'_, O>,
    z: Option<&[f32]>,
) -> bool {
    let (o, w): (&[O], &[f32]) = (&[], &[]);
    let finite = match (halves, inputs) {
        (&[h], &[]) => fused_mixed::<f32, O, 1, 1, Y, E, false>(form, x, y, [h], [w]),
        (&[h], &[a]) => fused_mixed::<f32, O, 1, 2, Y, E, false>(form, x, y, [h, o], [w, a]),
        (&[h], &[a, b]) => {
            fused_mixed::<f32, O, 1, 3, Y, E, false>(form, x, y, [h, o, o], [w, a, b])
        }
        (&[h], &[a, b, c]) => {
            fused_mixed::<f32, O, 1, 4, Y, E, false>(form, x, y, [h, o, o, o], [w, a, b, c])
        }
        (&[h, g], &[]) => fused_mixed::<f32, O, 2, 2, Y, E, false>(form, x, y, [h, g], [w, w]),
        (&[h, g], &[a]) => {
            fused_mixed::<f32, O, 2, 3, Y, E, false>(form, x, y, [h, g, o], [w, w, a])
        }
        (&[h, g], &[a, b]) => {
            fused_mixed::<f32, O, 2, 4, Y, E, false>(form, x, y, [h, g, o, o], [w, w, a, b])
        }
        _ => return blocks(form, x, Y.then_some(y), (halves, inputs), z),
    };
    add_noise(form, x, z) && finite
}

/// The clipped form, specialised for one output, with a slot or without, and for two that guide each
/// other.
#[inline(never)]
fn clipped<O: Half, const Y: bool, const E: bool>(
    form: &Form,
    x: &mut [f32],
    y: &mut [f32],
    (halves, inputs): Inputs<'_, O>,
    z: Option<&[f32]>,
) -> bool {
    let (o, w): (&[O], &[f32]) = (&[], &[]);
    let finite = match (halves, inputs) {
        (&[h], &[]) => fused_mixed::<f32, O, 1, 1, Y, E, true>(form, x, y, [h], [w]),
        (&[h], &[a]) => fused_mixed::<f32, O, 1, 2, Y, E, true>(form, x, y, [h, o], [w, a]),
        (&[h, g], &[]) => fused_mixed::<f32, O, 2, 2, Y, E, true>(form, x, y, [h, g], [w, w]),
        _ => return blocks(form, x, Y.then_some(y), (halves, inputs), z),
    };
    add_noise(form, x, z) && finite
}

fn blocks<O: Half>(
    form: &Form,
    x: &mut [f32],
    y: Option<&mut [f32]>,
    (halves, inputs): Inputs<'_, O>,
    z: Option<&[f32]>,
) -> bool {
    dispatch(Blocks {
        form,
        x,
        y,
        halves,
        inputs,
        z,
    })
}

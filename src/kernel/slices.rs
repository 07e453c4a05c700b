//! One update over slices of equal length: which loop takes it.

use super::blocks::{add_noise, blocks};
use super::fused::fused;
use super::{Form, Row};
use crate::real::Real;

/// A form and the slices of one call, all of one length.
#[derive(Debug)]
pub struct Operands<'s, A, S> {
    pub(super) form: &'s Form,
    pub(super) x: &'s mut [A],
    pub(super) y: Option<&'s mut [A]>,
    pub(super) inputs: &'s [S],
    /// Standard normals; `None` where the form has no noise.
    pub(super) z: Option<&'s [A]>,
}

/// Applies a form to slices. Returns whether all that came out is finite. Reached by
/// [`Real::update`], which is compiled once.
#[inline(always)]
pub(crate) fn apply<A: Real>(operands: Operands<'_, A, &[A]>) -> bool {
    let Operands {
        form,
        x,
        y,
        inputs,
        z,
    } = operands;
    let old_y = form.x_from_y != 0.0;
    match (y, &form.clip) {
        (Some(y), None) if form.y.is_some() => {
            if old_y {
                plain::<A, true, true>(form, x, y, inputs, z)
            } else {
                plain::<A, true, false>(form, x, y, inputs, z)
            }
        }
        (Some(y), Some(_)) if form.y.is_some() => {
            if old_y {
                clipped::<A, true, true>(form, x, y, inputs, z)
            } else {
                clipped::<A, true, false>(form, x, y, inputs, z)
            }
        }
        (Some(y), Some(_)) if old_y => blocks(form, x, Some(y), inputs, z),
        (_, Some(_)) => clipped::<A, false, false>(form, x, &mut [], inputs, z),
        (y, None) => linear(form, x, y.filter(|_| old_y), inputs, z),
    }
}

/// Writes x alone. The old y and the noise come last in the sum, so they are like any other input.
#[inline(always)]
fn linear<A: Real>(
    form: &Form,
    x: &mut [A],
    y: Option<&mut [A]>,
    inputs: &[&[A]],
    z: Option<&[A]>,
) -> bool {
    let count = inputs.len() + usize::from(y.is_some()) + usize::from(z.is_some());
    if count == inputs.len() {
        return plain::<A, false, false>(form, x, &mut [], inputs, None);
    }
    if count > SPECIALISED {
        return blocks(form, x, y, inputs, z);
    }
    extended_linear(form, x, y.as_deref(), inputs, z)
}

/// The same with the old y and the noise as inputs; SPECIALISED at most.
#[inline(never)]
fn extended_linear<A: Real>(
    form: &Form,
    x: &mut [A],
    y: Option<&[A]>,
    inputs: &[&[A]],
    z: Option<&[A]>,
) -> bool {
    let mut extended = linear_part(form);
    let mut slices: [&[A]; SPECIALISED] = [&[]; SPECIALISED];
    let len = extend(&mut extended.x, form, 0, [y, z], inputs, &mut slices);
    plain::<A, false, false>(&extended, x, &mut [], &slices[..len], None)
}

/// The form without old y, noise, y and clip.
#[inline(always)]
pub(super) fn linear_part(form: &Form) -> Form {
    Form {
        x: form.x,
        x_from_y: 0.0,
        noise: 0.0,
        y: None,
        clip: None,
    }
}

/// The old y and the noise of `form` as inputs of `row`, for `slices` that begin with `inputs` and
/// stand behind `before` others; returns how many slices there are then.
#[inline(always)]
pub(super) fn extend<'s, A: Real>(
    row: &mut Row,
    form: &Form,
    before: usize,
    [y, z]: [Option<&'s [A]>; 2],
    inputs: &[&'s [A]],
    slices: &mut [&'s [A]; SPECIALISED],
) -> usize {
    slices[..inputs.len()].copy_from_slice(inputs);
    let extra = [(y, form.x_from_y), (z, form.noise)];
    let mut len = inputs.len();
    for (slice, coefficient) in extra {
        if let Some(slice) = slice {
            slices[len] = slice;
            row.inputs[before + len] = coefficient;
            len += 1;
        }
    }
    len
}

/// The most inputs with a loop of their own.
pub(super) const SPECIALISED: usize = 6;

/// The plain form, specialised by the number of inputs.
#[inline(never)]
fn plain<A: Real, const Y: bool, const E: bool>(
    form: &Form,
    x: &mut [A],
    y: &mut [A],
    inputs: &[&[A]],
    z: Option<&[A]>,
) -> bool {
    let finite = match *inputs {
        [a] => fused::<A, 1, Y, E, false>(form, x, y, [a]),
        [a, b] => fused::<A, 2, Y, E, false>(form, x, y, [a, b]),
        [a, b, c] => fused::<A, 3, Y, E, false>(form, x, y, [a, b, c]),
        [a, b, c, d] => fused::<A, 4, Y, E, false>(form, x, y, [a, b, c, d]),
        [a, b, c, d, e] => fused::<A, 5, Y, E, false>(form, x, y, [a, b, c, d, e]),
        [a, b, c, d, e, f] => fused::<A, 6, Y, E, false>(form, x, y, [a, b, c, d, e, f]),
        _ => return blocks(form, x, Y.then_some(y), inputs, z),
    };
    add_noise(form, x, z) && finite
}

/// The clipped form, specialised for the usual numbers of inputs: one model output, or two that
/// guide each other.
#[inline(never)]
fn clipped<A: Real, const Y: bool, const E: bool>(
    form: &Form,
    x: &mut [A],
    y: &mut [A],
    inputs: &[&[A]],
    z: Option<&[A]>,
) -> bool {
    let finite = match *inputs {
        [a] => fused::<A, 1, Y, E, true>(form, x, y, [a]),
        [a, b] => fused::<A, 2, Y, E, true>(form, x, y, [a, b]),
        _ => return blocks(form, x, Y.then_some(y), inputs, z),
    };
    add_noise(form, x, z) && finite
}

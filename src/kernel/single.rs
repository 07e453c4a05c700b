//! One element at a time: where levels change along the innermost axis, so that hardly two neighbours
//! have one form.

use super::{Form, Input, Row};
use crate::real::Real;

/// Runs of one form that are shorter than this are not worth a call of the loops each.
pub(super) const SHORT_RUN: usize = 16;

/// So many elements are taken one by one before the next run is looked at.
pub(super) const STRETCH: usize = 64;

/// Applies a form to one element. Returns whether all that came out is finite.
#[inline(always)]
pub(super) fn single<A: Real, S: Input<A>>(
    form: &Form,
    x: &mut A,
    y: Option<&mut A>,
    (inputs, index): (&[S], usize),
    z: Option<A>,
) -> bool {
    let (old_x, old_y) = (*x, y.as_ref().map(|y| **y));
    let sum = |row: &Row| {
        let terms = inputs.iter().zip(&row.inputs);
        terms.fold(A::cast(row.x) * old_x, |sum, (input, &c)| {
            sum + A::cast(c) * input.at(index)
        })
    };
    let mut finite = true;
    let mut new_x = sum(&form.x);
    let mut new_y = old_y.and(form.y.as_ref()).map(&sum);
    if let Some(clip) = &form.clip {
        let data = sum(&clip.data);
        finite &= data.is_finite();
        let data = super::fused::clamp(data, A::cast(clip.low), A::cast(clip.high));
        new_x += A::cast(clip.into_x) * data;
        new_y = new_y.map(|y| y + A::cast(clip.into_y) * data);
    }
    if let Some(y) = old_y
        && form.x_from_y != 0.0
    {
        new_x += A::cast(form.x_from_y) * y;
    }
    if let Some(z) = z {
        new_x += A::cast(form.noise) * z;
    }
    finite &= new_x.is_finite() && new_y.is_none_or(A::is_finite);
    *x = new_x;
    if let (Some(y), Some(new_y)) = (y, new_y) {
        *y = new_y;
    }
    finite
}

//! The update as it is defined, element by element: the oracle of every faster path.

use ndarray::{ArrayRef, Dimension};

use super::{FillNoise, Form, Forms, Row, check};
use crate::error::Error;
use crate::memory::Listed;
use crate::real::Real;

/// A form with its coefficients in the element type.
struct Scalars<'f> {
    form: &'f Form,
}

impl Scalars<'_> {
    fn row<A: Real>(row: &Row, x: A, inputs: &[A]) -> A {
        inputs
            .iter()
            .zip(&row.inputs)
            .fold(A::cast(row.x) * x, |sum, (&input, &c)| {
                sum + A::cast(c) * input
            })
    }

    /// The new x and y, and whether all is finite. What is absent adds nothing, not even 0.
    fn apply<A: Real>(
        &self,
        x: A,
        y: Option<A>,
        inputs: &[A],
        z: Option<A>,
    ) -> (A, Option<A>, bool) {
        let form = self.form;
        let mut finite = true;
        let mut new_x = Self::row(&form.x, x, inputs);
        let mut new_y = y.and(form.y.as_ref()).map(|row| Self::row(row, x, inputs));
        if let Some(clip) = &form.clip {
            let data = Self::row(&clip.data, x, inputs);
            finite &= data.is_finite();
            let (low, high) = (A::cast(clip.low), A::cast(clip.high));
            let data = if data < low { low } else { data };
            let data = if data > high { high } else { data };
            new_x += A::cast(clip.into_x) * data;
            new_y = new_y.map(|v| v + A::cast(clip.into_y) * data);
        }
        if let Some(y) = y
            && form.x_from_y != 0.0
        {
            new_x += A::cast(form.x_from_y) * y;
        }
        if let Some(z) = z {
            new_x += A::cast(form.noise) * z;
        }
        finite &= new_x.is_finite() && new_y.is_none_or(A::is_finite);
        (new_x, new_y.or(y), finite)
    }
}

pub(super) fn update<A: Real, D: Dimension>(
    forms: Forms<'_>,
    x: &mut ArrayRef<A, D>,
    y: Option<&mut ArrayRef<A, D>>,
    inputs: &[&ArrayRef<A, D>],
    mut noise: Option<FillNoise<'_, A>>,
) -> Result<bool, Error> {
    check(forms, x, y.as_deref(), inputs)?;
    let len = x.len();
    if len == 0 {
        return Ok(true);
    }
    let per_sample = len / x.shape()[0];
    let mut finite = true;
    let mut readers: Vec<_> = inputs.iter().map(|input| input.iter()).listed()?;
    let mut ys = y.map(|y| y.iter_mut());
    let mut values = crate::memory::repeated(A::zero(), inputs.len())?;
    let mut z = crate::memory::repeated(A::zero(), per_sample)?;
    let mut drawn = None;
    for (index, x) in x.iter_mut().enumerate() {
        let (sample, element) = (index / per_sample, index % per_sample);
        let form = match forms {
            Forms::Same(form) => Some(form),
            Forms::PerSample(forms) => Some(&forms[sample]),
            Forms::Along(forms, places) => forms.get(places.entry(sample, element)),
        };
        let noisy = form.is_some_and(|form| form.noise != 0.0) && noise.is_some();
        if noisy
            && drawn != Some(sample)
            && let Some(fill) = &mut noise
        {
            fill.fill(sample, 0, &mut z);
            drawn = Some(sample);
        }
        for (value, reader) in values.iter_mut().zip(&mut readers) {
            *value = reader.next().map_or(A::nan(), |&input| input);
        }
        let y = ys.as_mut().and_then(Iterator::next);
        let Some(form) = form else {
            continue;
        };
        let old_y = y.as_ref().map(|y| **y);
        let z = noisy.then_some(z[element]);
        let (new_x, new_y, all) = Scalars { form }.apply(*x, old_y, &values, z);
        *x = new_x;
        if let (Some(y), Some(new_y)) = (y, new_y) {
            *y = new_y;
        }
        finite &= all;
    }
    Ok(finite)
}

//! The update as it is defined, element by element: the oracle of every faster path.

use ndarray::{ArrayRef, Dimension};

use super::{FillNoise, Form, Forms, MAX_INPUTS, Row};
use crate::error::Error;
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

    fn apply<A: Real>(&self, x: A, y: A, inputs: &[A], z: A) -> (A, A) {
        let form = self.form;
        let mut new_x = Self::row(&form.x, x, inputs);
        let mut new_y = form.y.as_ref().map(|row| Self::row(row, x, inputs));
        if let Some(clip) = &form.clip {
            let data = Self::row(&clip.data, x, inputs);
            let (low, high) = (A::cast(clip.low), A::cast(clip.high));
            let data = if data < low { low } else { data };
            let data = if data > high { high } else { data };
            new_x += A::cast(clip.into_x) * data;
            new_y = new_y.map(|v| v + A::cast(clip.into_y) * data);
        }
        if form.x_from_y != 0.0 {
            new_x += A::cast(form.x_from_y) * y;
        }
        if form.noise != 0.0 {
            new_x += A::cast(form.noise) * z;
        }
        (new_x, new_y.unwrap_or(y))
    }
}

pub(super) fn update<A: Real, D: Dimension>(
    forms: Forms<'_>,
    x: &mut ArrayRef<A, D>,
    y: Option<&mut ArrayRef<A, D>>,
    inputs: &[&ArrayRef<A, D>],
    mut noise: Option<FillNoise<'_, A>>,
) -> Result<bool, Error> {
    let shape = x.shape().to_vec();
    let Some(&samples) = shape.first() else {
        return Err(Error::NoSampleAxis);
    };
    if inputs.len() > MAX_INPUTS {
        return Err(Error::TooManyTerms {
            found: inputs.len(),
            max: MAX_INPUTS,
        });
    }
    let mismatch = |name, found: &[usize]| Error::ShapeMismatch {
        name,
        expected: shape.clone(),
        found: found.to_vec(),
    };
    for input in inputs {
        if input.shape() != shape {
            return Err(mismatch("input", input.shape()));
        }
    }
    if let Some(y) = &y
        && y.shape() != shape
    {
        return Err(mismatch("second output", y.shape()));
    }
    if let Forms::PerSample(forms) = forms
        && forms.len() != samples
    {
        return Err(Error::WrongLength {
            name: "levels",
            expected: samples,
            found: forms.len(),
        });
    }
    let len = x.len();
    if len == 0 {
        return Ok(true);
    }
    let per_sample = len / samples;
    let mut finite = true;
    let mut readers: Vec<_> = inputs.iter().map(|input| input.iter()).collect();
    let mut ys = y.map(|y| y.iter_mut());
    let mut values = vec![A::zero(); inputs.len()];
    let mut z = vec![A::zero(); per_sample];
    for (index, x) in x.iter_mut().enumerate() {
        let (sample, element) = (index / per_sample, index % per_sample);
        let form = match forms {
            Forms::Same(form) => form,
            Forms::PerSample(forms) => &forms[sample],
        };
        if element == 0
            && form.noise != 0.0
            && let Some(fill) = &mut noise
        {
            fill(sample, 0, &mut z);
        }
        for (value, reader) in values.iter_mut().zip(&mut readers) {
            *value = reader.next().copied().unwrap_or_default();
        }
        let y = ys.as_mut().and_then(Iterator::next);
        let old_y = y.as_ref().map_or(A::zero(), |y| **y);
        let (new_x, new_y) = Scalars { form }.apply(*x, old_y, &values, z[element]);
        *x = new_x;
        if let Some(y) = y {
            *y = new_y;
        }
        finite &= new_x.is_finite() && (form.y.is_none() || new_y.is_finite());
    }
    Ok(finite)
}

pub(super) fn update_slices<A: Real>(
    form: &Form,
    samples: usize,
    x: &mut [A],
    mut y: Option<&mut [A]>,
    inputs: &[&[A]],
    mut noise: Option<FillNoise<'_, A>>,
) -> bool {
    let per_sample = x.len() / samples.max(1);
    let mut z = vec![A::zero(); per_sample];
    let mut finite = true;
    for i in 0..x.len() {
        if i % per_sample == 0
            && form.noise != 0.0
            && let Some(fill) = &mut noise
        {
            fill(i / per_sample, 0, &mut z);
        }
        let values: Vec<A> = inputs.iter().map(|input| input[i]).collect();
        let old_y = y.as_ref().map_or(A::zero(), |y| y[i]);
        let (new_x, new_y) = Scalars { form }.apply(x[i], old_y, &values, z[i % per_sample]);
        x[i] = new_x;
        if let Some(y) = &mut y {
            y[i] = new_y;
        }
        finite &= new_x.is_finite() && (form.y.is_none() || new_y.is_finite());
    }
    finite
}

//! ndarray's arrays as tensors, and what they share with flat slices.

use std::marker::PhantomData;

use ndarray::{Array, ArrayRef, Dimension};

use super::{Fused, Scale, TensorOps};
use crate::error::{Error, require_length, require_shape};
use crate::kernel::{self, Form, Forms, MAX_INPUTS};
use crate::memory::{Copied, Listed};
use crate::real::Real;

/// Runs on ndarray's arrays of one type, for code that is generic over [`TensorOps`]. A
/// [`Trajectory`](crate::Trajectory) gives the same bits and also takes views and models that write
/// into its buffers.
///
/// ```
/// use diffusion_sampler::tensor::{ArrayOps, Scale, TensorOps};
/// use ndarray::{Ix1, array};
///
/// let (ops, x) = (ArrayOps::<f64, Ix1>::new(), array![1.0, 2.0]);
/// let y = ops.linear_combination(&[(Scale::Same(2.0), &x), (Scale::Same(1.0), &x)])?;
/// assert_eq!(y, array![3.0, 6.0]);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct ArrayOps<A, D> {
    array: PhantomData<fn() -> (A, D)>,
}

impl<A: Real, D: Dimension> ArrayOps<A, D> {
    /// The operations on arrays of this element type and dimension.
    pub fn new() -> Self {
        Self { array: PhantomData }
    }
}

impl<A: Real, D: Dimension> TensorOps for ArrayOps<A, D> {
    type Tensor = Array<A, D>;
    type Element = A;
    type Error = Error;

    fn shape(&self, tensor: &Array<A, D>) -> impl AsRef<[usize]> {
        tensor.shape()
    }

    fn linear_combination(
        &self,
        terms: &[(Scale<'_>, &Array<A, D>)],
    ) -> Result<Array<A, D>, Error> {
        let first = first(terms)?;
        for (_, term) in terms {
            require_shape("term", first.shape(), term.shape())?;
        }
        let samples = first.shape().first().copied().ok_or(Error::NoSampleAxis)?;
        let mut sum = first.copy()?;
        accumulate::<A, _>(terms, samples, |forms, terms| {
            let mut inputs: [&ArrayRef<A, D>; MAX_INPUTS] = [first; MAX_INPUTS];
            for (input, (_, term)) in inputs.iter_mut().zip(terms) {
                *input = term;
            }
            kernel::update(forms, &mut sum, None, &inputs[..terms.len()], None).map(drop)
        })?;
        Ok(sum)
    }

    fn upload(&self, values: Vec<A>, like: &Array<A, D>) -> Result<Array<A, D>, Error> {
        require_length("elements", like.len(), values.len())?;
        Array::from_shape_vec(like.raw_dim(), values).map_err(|_| Error::TooLarge {
            shape: like.shape().to_vec(),
        })
    }

    fn download(&self, tensor: &Array<A, D>) -> Result<Vec<A>, Error> {
        tensor.iter().copied().listed()
    }

    fn copy(&self, tensor: &Array<A, D>) -> Result<Array<A, D>, Error> {
        Copied::copy(&**tensor)
    }

    fn all_finite(&self, tensor: &Array<A, D>) -> Result<Option<bool>, Error> {
        Ok(Some(tensor.iter().all(|value| value.is_finite())))
    }

    fn fused(&self, update: Fused<'_, Array<A, D>, A>) -> Option<bool> {
        let y = update.y.map(|y| &mut **y);
        // Without inputs the kernel reads none.
        let placeholder;
        let first: &ArrayRef<A, D> = match update.inputs.first() {
            Some(first) => first,
            None => {
                placeholder = Array::zeros(D::zeros(update.x.ndim()));
                &placeholder
            }
        };
        let mut inputs: [&ArrayRef<A, D>; MAX_INPUTS] = [first; MAX_INPUTS];
        for (slot, input) in inputs.iter_mut().zip(update.inputs) {
            *slot = input;
        }
        let inputs = &inputs[..update.inputs.len()];
        kernel::update(update.forms, update.x, y, inputs, Some(update.noise)).ok()
    }
}

/// The first term's tensor.
pub(super) fn first<'t, T>(terms: &[(Scale<'_>, &'t T)]) -> Result<&'t T, Error> {
    terms
        .first()
        .map(|(_, tensor)| *tensor)
        .ok_or(Error::EmptyList { name: "terms" })
}

/// Hands the terms to `add` as the kernel's forms: the first, whose tensor the sum starts as, with
/// as many others as a form holds, then the rest.
pub(super) fn accumulate<A: Real, T>(
    terms: &[(Scale<'_>, &T)],
    samples: usize,
    mut add: impl FnMut(Forms<'_>, &[(Scale<'_>, &T)]) -> Result<(), Error>,
) -> Result<(), Error> {
    let Some(((scale, _), rest)) = terms.split_first() else {
        return Err(Error::EmptyList { name: "terms" });
    };
    for (scale, _) in terms {
        if let Scale::PerSample(scales) = scale {
            require_length("coefficients", samples, scales.len())?;
        }
    }
    let mut state = *scale;
    let mut chunks = rest.chunks(MAX_INPUTS);
    let mut chunk = chunks.next().unwrap_or(&[]);
    loop {
        let form = |sample: usize| {
            let mut form = kernel::affine(state.of(sample), &[]);
            for (slot, (scale, _)) in form.x.inputs.iter_mut().zip(chunk) {
                *slot = scale.of(sample);
            }
            form
        };
        let same = matches!(state, Scale::Same(_))
            && chunk
                .iter()
                .all(|(scale, _)| matches!(scale, Scale::Same(_)));
        if same {
            let form = form(0);
            form.require_fits::<A>(chunk.len())?;
            add(Forms::Same(&form), chunk)?;
        } else {
            let forms: Vec<Form> = (0..samples).map(form).listed()?;
            for form in &forms {
                form.require_fits::<A>(chunk.len())?;
            }
            add(Forms::PerSample(&forms), chunk)?;
        }
        match chunks.next() {
            Some(next) => (state, chunk) = (Scale::Same(1.0), next),
            None => return Ok(()),
        }
    }
}

//! Flat slices with a shape.

use std::marker::PhantomData;

use super::{Fused, Scale, TensorOps, arrays};
use crate::error::{Error, require_length, require_shape, require_size};
use crate::kernel;
use crate::memory::Copied;
use crate::real::Real;

/// A flat vector with a shape: a tensor for programs without an array library. Axis 0 is the
/// sample; the elements lie in row-major order.
///
/// ```
/// use diffusion_sampler::{Grid, KeyedNoise, Prediction, Sampler};
/// use diffusion_sampler::{schedule::RectifiedFlow, solver::FirstOrder};
/// use diffusion_sampler::tensor::{Flat, FlatOps};
///
/// let schedule = RectifiedFlow::new();
/// let grid = Grid::trailing(&schedule, 8)?;
/// let sampler = Sampler::new(&schedule, &grid, &FirstOrder::ddim())?;
/// let mut velocity = Flat::<f32>::zeros(&[2, 3, 4, 4])?;
/// let noise = KeyedNoise::new(1);
/// let mut run = sampler.on(FlatOps::new()).start(&velocity, Prediction::Flow, noise)?;
/// while let Some(question) = run.ask()? {
///     // A model of your own; this one leads every point to 0.5 on a straight line.
///     let sigma = question.level().sigma() as f32;
///     for (v, x) in velocity.as_mut_slice().iter_mut().zip(question.x.as_slice()) {
///         *v = (x - 0.5) / sigma;
///     }
///     run.tell(&velocity)?;
/// }
/// let samples: Vec<f32> = run.into_state().into_vec();
/// assert!(samples.iter().all(|x| (x - 0.5).abs() < 1e-6));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Flat<A> {
    values: Vec<A>,
    shape: Vec<usize>,
}

impl<A: Real> Flat<A> {
    /// The elements `values`, \[samples, …\] in row-major order.
    ///
    /// # Errors
    ///
    /// [`Error::NoSampleAxis`] for a shape without axes, [`Error::TooLarge`] for one that no memory
    /// holds, [`Error::WrongLength`] for another number of elements.
    pub fn new(values: Vec<A>, shape: &[usize]) -> Result<Self, Error> {
        require_length("elements", elements::<A>(shape)?, values.len())?;
        Ok(Self {
            values,
            shape: shape.to_vec(),
        })
    }

    /// Zeros.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn zeros(shape: &[usize]) -> Result<Self, Error> {
        let len = elements::<A>(shape)?;
        let mut values = crate::memory::reserve(shape)?;
        values.resize(len, A::zero());
        Self::new(values, shape)
    }

    /// The lengths of the axes.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements.
    pub fn as_slice(&self) -> &[A] {
        &self.values
    }

    /// The elements, for edits.
    pub fn as_mut_slice(&mut self) -> &mut [A] {
        &mut self.values
    }

    /// The elements.
    pub fn into_vec(self) -> Vec<A> {
        self.values
    }
}

/// The number of elements of a shape.
fn elements<A>(shape: &[usize]) -> Result<usize, Error> {
    if shape.is_empty() {
        return Err(Error::NoSampleAxis);
    }
    require_size::<A>(shape)?;
    Ok(shape.iter().product())
}

/// Runs on [`Flat`] vectors: the fused updates of the crate's kernel, in place.
#[derive(Clone, Copy, Debug, Default)]
pub struct FlatOps<A> {
    elements: PhantomData<A>,
}

impl<A: Real> FlatOps<A> {
    /// The operations on vectors of this element type.
    pub fn new() -> Self {
        Self {
            elements: PhantomData,
        }
    }
}

impl<A: Real> TensorOps for FlatOps<A> {
    type Tensor = Flat<A>;
    type Element = A;
    type Error = Error;

    fn shape(&self, tensor: &Flat<A>) -> impl AsRef<[usize]> {
        &tensor.shape
    }

    fn linear_combination(&self, terms: &[(Scale<'_>, &Flat<A>)]) -> Result<Flat<A>, Error> {
        let first = arrays::first(terms)?;
        for (_, term) in terms {
            require_shape("term", &first.shape, &term.shape)?;
        }
        let samples = first.shape[0];
        let mut sum = TensorOps::copy(self, first)?;
        arrays::accumulate::<A, _>(terms, samples, |forms, terms| {
            let mut inputs: [&[A]; kernel::MAX_INPUTS] = [&[]; kernel::MAX_INPUTS];
            for (input, (_, term)) in inputs.iter_mut().zip(terms) {
                *input = &term.values;
            }
            let inputs = &inputs[..terms.len()];
            kernel::update_slices(forms, samples, &mut sum.values, None, inputs, None);
            Ok(())
        })?;
        Ok(sum)
    }

    fn upload(&self, values: Vec<A>, like: &Flat<A>) -> Result<Flat<A>, Error> {
        Flat::new(values, &like.shape)
    }

    fn download(&self, tensor: &Flat<A>) -> Result<Vec<A>, Error> {
        tensor.values[..].copy()
    }

    fn copy(&self, tensor: &Flat<A>) -> Result<Flat<A>, Error> {
        Flat::new(tensor.values[..].copy()?, &tensor.shape)
    }

    fn all_finite(&self, tensor: &Flat<A>) -> Result<Option<bool>, Error> {
        Ok(Some(tensor.values.iter().all(|value| value.is_finite())))
    }

    fn fused(&self, update: Fused<'_, Flat<A>, A>) -> Option<bool> {
        let mut inputs: [&[A]; kernel::MAX_INPUTS] = [&[]; kernel::MAX_INPUTS];
        for (slice, input) in inputs.iter_mut().zip(update.inputs) {
            *slice = &input.values;
        }
        let samples = update.x.shape[0];
        Some(kernel::update_slices(
            update.forms,
            samples,
            &mut update.x.values,
            update.y.map(|y| &mut y.values[..]),
            &inputs[..update.inputs.len()],
            Some(update.noise),
        ))
    }
}

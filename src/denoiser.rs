//! The `Denoiser` trait and its adapters.

use std::convert::Infallible;

use ndarray::{ArrayRef, Dimension};

use crate::combination::Combination;
use crate::error::Error;
use crate::level::NoiseLevel;
use crate::prediction::Prediction;
use crate::real::Real;

/// A trained model, or anything that stands for one: it turns a noisy state into a [`Prediction`].
///
/// `A` is the element type, `D` the dimension; axis 0 of every array is the sample. The model writes into a buffer that
/// it is given, so that a step allocates nothing, and it takes `&mut self`, so that sessions, scratch buffers and
/// counters are at home in it.
///
/// A model that yields several outputs in one call (conditional and unconditional in one batch) says so by
/// [`outputs`](Self::outputs) and [`combination`](Self::combination): the trajectory folds the weights into its update,
/// and no combined output is ever materialised. [`ClassifierFree`](crate::guidance::ClassifierFree) and
/// [`ClassifierGuided`](crate::guidance::ClassifierGuided) are such models; a plain model leaves both defaults.
///
/// ```
/// use std::convert::Infallible;
/// use diffusion_sampler::{Denoiser, Prediction, Query};
/// use ndarray::{ArrayRef, Ix2};
///
/// /// The exact denoiser of the standard normal under a variance-preserving schedule: E[ε | x] = σx.
/// struct StandardNormal;
///
/// impl Denoiser<f32, Ix2> for StandardNormal {
///     type Error = Infallible;
///     fn prediction(&self) -> Prediction {
///         Prediction::Noise
///     }
///     fn denoise(&mut self, x: &ArrayRef<f32, Ix2>, query: &Query<'_>, out: &mut ArrayRef<f32, Ix2>) -> Result<(), Infallible> {
///         let sigma = query.level().sigma() as f32;
///         out.zip_mut_with(x, |o, &x| *o = sigma * x);
///         Ok(())
///     }
/// }
/// ```
pub trait Denoiser<A: Real, D: Dimension> {
    /// The model's own error. It reaches the caller as [`RunError::Denoiser`](crate::RunError::Denoiser).
    type Error;

    /// What the outputs mean.
    fn prediction(&self) -> Prediction;

    /// Evaluates the model at the state `x` and the level(s) of `query`, and writes the result to `out`.
    ///
    /// `x` has shape \[B, …\], `out` \[n·B, …\] with n = [`query.outputs()`](Query::outputs): output j occupies the rows
    /// j·B..(j+1)·B. For a plain model n = 1 and both shapes agree. What `out` holds before the call is unspecified.
    ///
    /// # Errors
    ///
    /// The model's own.
    fn denoise(
        &mut self,
        x: &ArrayRef<A, D>,
        query: &Query<'_>,
        out: &mut ArrayRef<A, D>,
    ) -> Result<(), Self::Error>;

    /// The largest number of outputs that [`combination`](Self::combination) asks for at any level.
    fn outputs(&self) -> usize {
        1
    }

    /// How the outputs combine at a level; its length is the number of outputs that are computed there.
    ///
    /// # Errors
    ///
    /// [`Error`] where a guidance weight is not finite, or the parts of a composed model do not fit each other.
    fn combination(&self, level: &NoiseLevel) -> Result<Combination, Error> {
        let _ = level;
        Ok(Combination::single())
    }
}

/// What a model is asked: the level of each sample, and how many outputs.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    levels: &'a [NoiseLevel],
    outputs: usize,
}

impl<'a> Query<'a> {
    /// One level for the whole batch, one output.
    pub fn new(level: &'a NoiseLevel) -> Self {
        Self {
            levels: std::slice::from_ref(level),
            outputs: 1,
        }
    }

    /// One level per sample, one output; an empty slice is an empty batch.
    pub fn per_sample(levels: &'a [NoiseLevel]) -> Self {
        Self { levels, outputs: 1 }
    }

    /// The same query for `outputs` outputs.
    #[must_use]
    pub fn with_outputs(self, outputs: usize) -> Self {
        Self { outputs, ..self }
    }

    /// The level of the batch: of the first sample where each has its own, clean for an empty batch. A trajectory always
    /// asks with one level for all.
    pub fn level(&self) -> NoiseLevel {
        self.levels
            .first()
            .copied()
            .unwrap_or_else(NoiseLevel::clean)
    }

    /// The level of one sample.
    pub fn level_of(&self, sample: usize) -> NoiseLevel {
        match self.levels {
            [one] => *one,
            many => many.get(sample).copied().unwrap_or_else(NoiseLevel::clean),
        }
    }

    /// The levels: one for the batch, or one per sample.
    pub fn levels(&self) -> &'a [NoiseLevel] {
        self.levels
    }

    /// How many outputs are wanted, the first ones of the model's [`outputs`](Denoiser::outputs).
    pub fn outputs(&self) -> usize {
        self.outputs
    }
}

/// What holds a denoiser is one.
macro_rules! forward {
    ($($holder:ty),*) => {$(
        impl<A: Real, D: Dimension, M: Denoiser<A, D> + ?Sized> Denoiser<A, D> for $holder {
            type Error = M::Error;

            fn prediction(&self) -> Prediction {
                (**self).prediction()
            }

            fn denoise(
                &mut self,
                x: &ArrayRef<A, D>,
                query: &Query<'_>,
                out: &mut ArrayRef<A, D>,
            ) -> Result<(), Self::Error> {
                (**self).denoise(x, query, out)
            }

            fn outputs(&self) -> usize {
                (**self).outputs()
            }

            fn combination(&self, level: &NoiseLevel) -> Result<Combination, Error> {
                (**self).combination(level)
            }
        }
    )*};
}

forward!(&mut M, Box<M>);

/// A denoiser from a closure; see [`from_fn`].
#[derive(Clone, Copy, Debug)]
pub struct FromFn<F> {
    prediction: Prediction,
    function: F,
}

/// A denoiser from a closure that may fail; see [`try_from_fn`].
#[derive(Clone, Copy, Debug)]
pub struct TryFromFn<F> {
    prediction: Prediction,
    function: F,
}

/// A denoiser from a closure `f(x, level, out)`.
///
/// ```
/// use diffusion_sampler::{Prediction, from_fn};
/// use ndarray::{ArrayRef, Ix2};
///
/// let model = from_fn(Prediction::Data, |x: &ArrayRef<f64, Ix2>, level, out: &mut ArrayRef<f64, Ix2>| {
///     out.zip_mut_with(x, |o, &x| *o = level.alpha() * x);
/// });
/// ```
pub fn from_fn<A, D, F>(prediction: Prediction, function: F) -> FromFn<F>
where
    A: Real,
    D: Dimension,
    F: FnMut(&ArrayRef<A, D>, &NoiseLevel, &mut ArrayRef<A, D>),
{
    FromFn {
        prediction,
        function,
    }
}

/// A denoiser from a closure `f(x, level, out)` that may fail with its own error.
///
/// ```
/// use diffusion_sampler::{Prediction, try_from_fn};
/// use ndarray::{ArrayRef, Ix2};
///
/// let model = try_from_fn(Prediction::Noise, |x: &ArrayRef<f32, Ix2>, level, out: &mut ArrayRef<f32, Ix2>| {
///     if level.sigma() > 1e4 {
///         return Err(std::io::Error::other("out of the network's range"));
///     }
///     out.assign(x);
///     Ok(())
/// });
/// ```
pub fn try_from_fn<A, D, F, E>(prediction: Prediction, function: F) -> TryFromFn<F>
where
    A: Real,
    D: Dimension,
    F: FnMut(&ArrayRef<A, D>, &NoiseLevel, &mut ArrayRef<A, D>) -> Result<(), E>,
{
    TryFromFn {
        prediction,
        function,
    }
}

impl<A, D, F> Denoiser<A, D> for FromFn<F>
where
    A: Real,
    D: Dimension,
    F: FnMut(&ArrayRef<A, D>, &NoiseLevel, &mut ArrayRef<A, D>),
{
    type Error = Infallible;

    fn prediction(&self) -> Prediction {
        self.prediction
    }

    fn denoise(
        &mut self,
        x: &ArrayRef<A, D>,
        query: &Query<'_>,
        out: &mut ArrayRef<A, D>,
    ) -> Result<(), Infallible> {
        (self.function)(x, &query.level(), out);
        Ok(())
    }
}

impl<A, D, F, E> Denoiser<A, D> for TryFromFn<F>
where
    A: Real,
    D: Dimension,
    F: FnMut(&ArrayRef<A, D>, &NoiseLevel, &mut ArrayRef<A, D>) -> Result<(), E>,
{
    type Error = E;

    fn prediction(&self) -> Prediction {
        self.prediction
    }

    fn denoise(
        &mut self,
        x: &ArrayRef<A, D>,
        query: &Query<'_>,
        out: &mut ArrayRef<A, D>,
    ) -> Result<(), E> {
        (self.function)(x, &query.level(), out)
    }
}

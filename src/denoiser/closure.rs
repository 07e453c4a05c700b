//! Denoisers from closures.

use std::convert::Infallible;
use std::fmt;

use ndarray::{ArrayRef, Dimension};

use super::{Denoiser, Query};
use crate::level::NoiseLevel;
use crate::prediction::Prediction;
use crate::real::Real;

/// A denoiser with one output from a closure `f(x, level, out)`.
///
/// With the element type and dimension given, the closure needs no annotations.
///
/// ```
/// use diffusion_sampler::{Prediction, from_fn};
/// use ndarray::Ix2;
///
/// let model = from_fn::<f64, Ix2>(Prediction::Data, |x, level, out| {
///     out.zip_mut_with(x, |o, &x| *o = level.alpha() * x);
/// });
/// ```
pub fn from_fn<A: Real, D: Dimension>(
    prediction: Prediction,
    mut function: impl FnMut(&ArrayRef<A, D>, &NoiseLevel, &mut ArrayRef<A, D>),
) -> impl Denoiser<A, D, Error = Infallible> {
    try_from_fn::<A, D, Infallible>(prediction, move |x, level, out| {
        function(x, level, out);
        Ok(())
    })
}

/// A denoiser with one output from a closure `f(x, level, out)` that may fail with its own error.
///
/// ```
/// use diffusion_sampler::{Prediction, try_from_fn};
/// use ndarray::Ix2;
///
/// let model = try_from_fn::<f32, Ix2, _>(Prediction::Noise, |x, level, out| {
///     if level.sigma() > 1e4 {
///         return Err(std::io::Error::other("out of the network's range"));
///     }
///     out.assign(x);
///     Ok(())
/// });
/// ```
pub fn try_from_fn<A: Real, D: Dimension, E>(
    prediction: Prediction,
    mut function: impl FnMut(&ArrayRef<A, D>, &NoiseLevel, &mut ArrayRef<A, D>) -> Result<(), E>,
) -> impl Denoiser<A, D, Error = E> {
    from_query_fn(prediction, 1, move |x, query, out| {
        function(x, &query.level(), out)
    })
}

/// A denoiser with up to `outputs` outputs from a closure `f(x, query, out)` that may fail with its
/// own error: one call of the network for all that a form of guidance wants.
///
/// `out` has [`query.outputs()`](Query::outputs) times as many rows as `x`, one output behind the
/// other.
///
/// ```
/// use diffusion_sampler::denoiser::{Guided, from_query_fn};
/// use diffusion_sampler::{Prediction, guidance::ClassifierFree};
/// use ndarray::{Axis, Ix2};
///
/// let model = from_query_fn::<f32, Ix2, std::io::Error>(Prediction::Noise, 2, |x, query, out| {
///     let samples = x.nrows();
///     for (mut output, scale) in out.axis_chunks_iter_mut(Axis(0), samples).zip([1.0, 0.9]) {
///         output.zip_mut_with(x, |o, &x| *o = scale * x * query.level().sigma() as f32);
///     }
///     Ok(())
/// });
/// let model = Guided::new(model, ClassifierFree::with_scale(7.5)?);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
pub fn from_query_fn<A: Real, D: Dimension, E>(
    prediction: Prediction,
    outputs: usize,
    function: impl FnMut(&ArrayRef<A, D>, &Query<'_>, &mut ArrayRef<A, D>) -> Result<(), E>,
) -> impl Denoiser<A, D, Error = E> {
    Closure {
        prediction,
        outputs,
        function,
    }
}

struct Closure<F> {
    prediction: Prediction,
    outputs: usize,
    function: F,
}

impl<F> fmt::Debug for Closure<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Closure({:?})", self.prediction)
    }
}

impl<A, D, F, E> Denoiser<A, D> for Closure<F>
where
    A: Real,
    D: Dimension,
    F: FnMut(&ArrayRef<A, D>, &Query<'_>, &mut ArrayRef<A, D>) -> Result<(), E>,
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
        (self.function)(x, query, out)
    }

    fn outputs(&self) -> Option<usize> {
        Some(self.outputs)
    }
}

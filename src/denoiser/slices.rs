//! Denoisers from closures over flat slices.

use std::convert::Infallible;
use std::fmt;

use ndarray::{ArrayRef, Dimension};

use super::{Denoiser, Query};
use crate::level::NoiseLevel;
use crate::memory::Copied;
use crate::prediction::Prediction;
use crate::real::Real;

/// A denoiser with one output from a closure `f(x, level, out)` over flat slices in row-major
/// order, for programs without an array library.
///
/// ```
/// use diffusion_sampler::denoiser::from_slice_fn;
/// use diffusion_sampler::{Grid, Prediction, Sampler, schedule::RectifiedFlow, solver::FirstOrder};
///
/// let schedule = RectifiedFlow::new();
/// let grid = Grid::trailing(&schedule, 8)?;
/// let sampler = Sampler::new(&schedule, &grid, &FirstOrder::ddim())?;
/// let mut model = from_slice_fn(Prediction::Flow, |x: &[f32], level, out: &mut [f32]| {
///     for (velocity, x) in out.iter_mut().zip(x) {
///         *velocity = (x - 0.5) / level.sigma() as f32;
///     }
/// });
/// let samples: Vec<f32> = sampler.sample_vec(&mut model, &[2, 3, 4, 4], 42)?;
/// assert_eq!(samples.len(), 96);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[allow(clippy::type_complexity)] // A closure's type has no shorter name.
pub fn from_slice_fn<A, F>(
    prediction: Prediction,
    mut function: F,
) -> SliceModel<impl FnMut(&[A], &Query<'_>, &mut [A]) -> Result<(), Infallible>>
where
    A: Real,
    F: FnMut(&[A], &NoiseLevel, &mut [A]),
{
    from_slice_query_fn(prediction, 1, move |x: &[A], query, out: &mut [A]| {
        function(x, &query.level(), out);
        Ok(())
    })
}

/// A denoiser with up to `outputs` outputs from a closure `f(x, query, out)` over flat slices that
/// may fail with its own error.
///
/// `out` has [`query.outputs()`](Query::outputs) times as many elements as `x`, one output behind
/// the other: the network can be called once for all of them.
///
/// ```
/// use diffusion_sampler::denoiser::{Guided, from_slice_query_fn};
/// use diffusion_sampler::{Grid, Prediction, Sampler, guidance::ClassifierFree};
/// use diffusion_sampler::{schedule::TableSchedule, solver::DpmSolverPlusPlus};
///
/// let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
/// let grid = Grid::trailing(&schedule, 10)?;
/// let sampler = Sampler::new(&schedule, &grid, &DpmSolverPlusPlus::new())?;
/// let model = from_slice_query_fn(Prediction::Data, 2, |x: &[f32], _query, out: &mut [f32]| {
///     // The conditional output first, then, if it is wanted, the unconditional one.
///     for (output, value) in out.chunks_mut(x.len()).zip([1.0, 0.8]) {
///         output.fill(value);
///     }
///     Ok::<(), std::io::Error>(())
/// });
/// let mut model = Guided::new(model, ClassifierFree::with_scale(5.0)?);
/// let samples: Vec<f32> = sampler.sample_vec(&mut model, &[2, 4], 42)?;
/// assert!((samples[0] - 1.8).abs() < 1e-5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn from_slice_query_fn<A, F, E>(
    prediction: Prediction,
    outputs: usize,
    function: F,
) -> SliceModel<F>
where
    A: Real,
    F: FnMut(&[A], &Query<'_>, &mut [A]) -> Result<(), E>,
{
    SliceModel {
        prediction,
        outputs,
        function,
    }
}

/// A closure over flat slices as a [`Denoiser`] of arrays of any dimension; made by
/// [`from_slice_fn`] and [`from_slice_query_fn`].
#[derive(Clone)]
pub struct SliceModel<F> {
    prediction: Prediction,
    outputs: usize,
    function: F,
}

impl<F> fmt::Debug for SliceModel<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SliceModel")
            .field("prediction", &self.prediction)
            .field("outputs", &self.outputs)
            .finish_non_exhaustive()
    }
}

impl<A, D, F, E> Denoiser<A, D> for SliceModel<F>
where
    A: Real,
    D: Dimension,
    F: FnMut(&[A], &Query<'_>, &mut [A]) -> Result<(), E>,
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
        // In a run both are slices. By hand any layout may come; where its copy cannot be had there
        // is no answer.
        let copied: Vec<A>;
        let slice = match x.as_slice() {
            Some(slice) => slice,
            None => {
                let Ok(copy) = x.copy() else {
                    out.fill(A::unwritten());
                    return Ok(());
                };
                copied = copy.into_raw_vec_and_offset().0;
                &copied
            }
        };
        if let Some(out) = out.as_slice_mut() {
            return (self.function)(slice, query, out);
        }
        let Ok(mut values) = crate::memory::repeated(A::unwritten(), out.len()) else {
            out.fill(A::unwritten());
            return Ok(());
        };
        (self.function)(slice, query, &mut values)?;
        out.iter_mut().zip(values).for_each(|(o, value)| *o = value);
        Ok(())
    }

    fn outputs(&self) -> Option<usize> {
        Some(self.outputs)
    }
}

//! A model that takes rows at levels of their own.

use ndarray::{ArrayRef, Dimension};

use super::{Denoiser, Query};
use crate::error::Error;
use crate::guidance::Guidance;
use crate::prediction::Prediction;
use crate::real::Real;

/// A model of which its author says that it takes rows at levels of their own
/// ([`Query::level_of`]), of which several may belong to one sample ([`Query::sample_of`]): what a
/// closure cannot say of itself. A [`ParallelRun`](crate::run::ParallelRun) asks for it, and a
/// [`DdimStep`](crate::run::DdimStep) whose samples have levels of their own.
///
/// A closure of [`from_fn`](super::from_fn) is told one level and cannot do so: take
/// [`from_query_fn`](super::from_query_fn). A [`WithClassifier`](super::WithClassifier) does not
/// say it either, since its classifier does not: wrap the pair.
///
/// ```
/// use diffusion_sampler::denoiser::{PerRow, from_query_fn};
/// use diffusion_sampler::{Grid, Prediction, Sampler};
/// use diffusion_sampler::{schedule::TableSchedule, solver::FirstOrder};
/// use ndarray::{Array2, Axis, Ix2};
/// use std::convert::Infallible;
///
/// // E[x₀ | x] where sample i is drawn from N(i, 1): αx + σ²i, at α² + σ² = 1.
/// let data = Prediction::Data;
/// let mut model = PerRow(from_query_fn::<f64, Ix2, Infallible>(data, 1, |x, query, out| {
///     let rows = x.axis_iter(Axis(0)).zip(out.axis_iter_mut(Axis(0)));
///     for (row, (x, mut out)) in rows.enumerate() {
///         let level = query.level_of(row).unwrap_or_else(|| query.level());
///         let mean = query.sample_of(row) as f64;
///         let variance = level.sigma() * level.sigma();
///         out.zip_mut_with(&x, |o, x| *o = level.alpha() * x + variance * mean);
///     }
///     Ok(())
/// }));
/// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
/// let grid = Grid::trailing(&schedule, 20)?;
/// let sampler = Sampler::new(&schedule, &grid, &FirstOrder::ddim())?;
/// let sequential: Array2<f64> = sampler.sample(&mut model, (3, 5), 7)?;
/// let (parallel, _) = sampler.parallel(20, 0.0)?.sample(&mut model, (3, 5), 7)?;
/// assert_eq!(parallel, sequential);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct PerRow<M>(pub M);

impl<A: Real, D: Dimension, M: Denoiser<A, D>> Denoiser<A, D> for PerRow<M> {
    type Error = M::Error;

    fn prediction(&self) -> Prediction {
        self.0.prediction()
    }

    fn denoise(
        &mut self,
        x: &ArrayRef<A, D>,
        query: &Query<'_>,
        out: &mut ArrayRef<A, D>,
    ) -> Result<(), M::Error> {
        self.0.denoise(x, query, out)
    }

    fn outputs(&self) -> Option<usize> {
        self.0.outputs()
    }

    fn reads_positions(&self) -> bool {
        self.0.reads_positions()
    }

    fn reads_rows(&self) -> bool {
        true
    }

    fn guidance(&self) -> Result<&dyn Guidance, Error> {
        self.0.guidance()
    }
}

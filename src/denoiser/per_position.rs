//! A model that reads the level of each position.

use ndarray::{ArrayRef, Dimension};

use super::{Denoiser, Query};
use crate::error::Error;
use crate::guidance::Guidance;
use crate::prediction::Prediction;
use crate::real::Real;

/// A model of which its author says that it reads the level of each position
/// ([`Query::level_at`]): what a closure cannot say of itself.
///
/// ```
/// use diffusion_sampler::denoiser::{Denoiser, PerPosition, from_query_fn};
/// use diffusion_sampler::{Levels, NoiseLevel, Prediction, Query};
/// use ndarray::{Array3, Ix3};
/// use std::convert::Infallible;
///
/// // E[x₀ | x] of the standard normal, αx/(α² + σ²), at the level of each token.
/// let model = from_query_fn::<f64, Ix3, Infallible>(Prediction::Data, 1, |x, query, out| {
///     for ((sample, token, feature), x) in x.indexed_iter() {
///         let level = query.level_at(sample, token).unwrap_or_else(|| query.level());
///         let scale = level.alpha() / level.marginal_variance(1.0);
///         out[[sample, token, feature]] = scale * x;
///     }
///     Ok(())
/// });
/// let mut model = PerPosition(model);
/// let levels = [NoiseLevel::clean(), NoiseLevel::new(0.5, 0.8, 0.6)?];
/// let (x, mut out) = (Array3::ones((1, 2, 4)), Array3::zeros((1, 2, 4)));
/// model.denoise(&x, &Query::along(Levels::along(1, &levels), x.shape())?, &mut out)?;
/// assert_eq!((out[[0, 0, 0]], out[[0, 1, 0]]), (1.0, 0.8));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct PerPosition<M>(pub M);

impl<A: Real, D: Dimension, M: Denoiser<A, D>> Denoiser<A, D> for PerPosition<M> {
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
        true
    }

    fn reads_rows(&self) -> bool {
        self.0.reads_rows()
    }

    fn guidance(&self) -> Result<&dyn Guidance, Error> {
        self.0.guidance()
    }
}

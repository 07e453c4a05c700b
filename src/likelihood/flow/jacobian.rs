//! Models that can be differentiated along a direction.

use ndarray::{ArrayRef, Dimension};

use crate::denoiser::{Denoiser, Query};
use crate::real::Real;

/// A model that gives the product of its output's Jacobian with a direction beside its output: one
/// pass of forward-mode differentiation ("jvp").
///
/// Such a model can be asked for log-likelihoods
/// ([`FlowLikelihood::estimate`](super::FlowLikelihood::estimate)). One that cannot is wrapped in
/// [`FiniteDifferences`](super::FiniteDifferences). An
/// [`ExactDenoiser`](crate::oracle::ExactDenoiser) has exact products.
///
/// ```
/// use std::convert::Infallible;
/// use diffusion_sampler::{Denoiser, Prediction, Query, likelihood::JacobianProduct};
/// use ndarray::{ArrayRef, Ix2};
///
/// /// E = σx: the exact model of standard normal data under a variance-preserving schedule.
/// struct StandardNormal;
///
/// impl Denoiser<f64, Ix2> for StandardNormal {
///     type Error = Infallible;
///     fn prediction(&self) -> Prediction {
///         Prediction::Noise
///     }
///     fn denoise(
///         &mut self,
///         x: &ArrayRef<f64, Ix2>,
///         query: &Query<'_>,
///         out: &mut ArrayRef<f64, Ix2>,
///     ) -> Result<(), Infallible> {
///         out.zip_mut_with(x, |o, &x| *o = query.level().sigma() * x);
///         Ok(())
///     }
/// }
///
/// impl JacobianProduct<f64, Ix2> for StandardNormal {
///     fn denoise_along(
///         &mut self,
///         x: &ArrayRef<f64, Ix2>,
///         direction: &ArrayRef<f64, Ix2>,
///         query: &Query<'_>,
///         out: &mut ArrayRef<f64, Ix2>,
///         product: &mut ArrayRef<f64, Ix2>,
///     ) -> Result<(), Infallible> {
///         self.denoise(x, query, out)?;
///         // The Jacobian is σI.
///         product.zip_mut_with(direction, |p, &v| *p = query.level().sigma() * v);
///         Ok(())
///     }
/// }
/// ```
#[doc(alias("jvp", "forward-mode"))]
pub trait JacobianProduct<A: Real, D: Dimension>: Denoiser<A, D> {
    /// Evaluates the model at `x`, as [`denoise`](Denoiser::denoise) does for the one answer, and
    /// writes J·`direction` to `product`, where J is the derivative of the output by `x`.
    ///
    /// All arrays have the shape of `x`, and each sample is one of its own: J is block diagonal.
    ///
    /// # Errors
    ///
    /// The model's own.
    fn denoise_along(
        &mut self,
        x: &ArrayRef<A, D>,
        direction: &ArrayRef<A, D>,
        query: &Query<'_>,
        out: &mut ArrayRef<A, D>,
        product: &mut ArrayRef<A, D>,
    ) -> Result<(), Self::Error>;
}

impl<A: Real, D: Dimension, M: JacobianProduct<A, D> + ?Sized> JacobianProduct<A, D> for &mut M {
    fn denoise_along(
        &mut self,
        x: &ArrayRef<A, D>,
        direction: &ArrayRef<A, D>,
        query: &Query<'_>,
        out: &mut ArrayRef<A, D>,
        product: &mut ArrayRef<A, D>,
    ) -> Result<(), Self::Error> {
        (**self).denoise_along(x, direction, query, out, product)
    }
}

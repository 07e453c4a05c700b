//! The `Denoiser` trait and its adapters.

mod channels;
mod classifier;
mod closure;
mod guided;
mod models;
mod per_position;
mod per_row;
mod query;
mod slices;

pub use channels::split_channels;
pub use classifier::{Classifier, WithClassifier};
pub use closure::{from_fn, from_query_fn, try_from_fn};
pub use guided::Guided;
pub use models::Models;
pub use per_position::PerPosition;
pub use per_row::PerRow;
pub use query::Query;
pub use slices::{SliceModel, from_slice_fn, from_slice_query_fn};

use ndarray::{ArrayRef, Dimension};

use crate::error::Error;
use crate::guidance::{Guidance, Unguided};
use crate::prediction::Prediction;
use crate::real::Real;

/// A trained model, or anything that stands for one: it turns a noisy state into a [`Prediction`].
///
/// `A` is the element type, `D` the dimension; axis 0 of every array is the sample. The model
/// writes into a buffer that it is given, so that a step allocates nothing, and it takes
/// `&mut self`, so that sessions, scratch buffers and counters are at home in it. In a run both
/// arrays are row-major (standard layout): `as_slice` succeeds.
///
/// A model with several outputs writes those that [`Query::outputs`] asks for; [`Guided`] joins it
/// to a form of [guidance](crate::guidance), which the run folds into its update, so that no
/// combined output is ever materialised. A plain model leaves [`guidance`](Self::guidance) alone.
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
///     fn denoise(
///         &mut self,
///         x: &ArrayRef<f32, Ix2>,
///         query: &Query<'_>,
///         out: &mut ArrayRef<f32, Ix2>,
///     ) -> Result<(), Infallible> {
///         let sigma = query.level().sigma() as f32;
///         out.zip_mut_with(x, |o, &x| *o = sigma * x);
///         Ok(())
///     }
/// }
/// ```
#[doc(alias = "model")]
pub trait Denoiser<A: Real, D: Dimension> {
    /// The model's own error. It reaches the caller as
    /// [`RunError::Denoiser`](crate::RunError::Denoiser).
    type Error;

    /// What the outputs mean.
    fn prediction(&self) -> Prediction;

    /// Evaluates the model at the state `x` and the level(s) of `query`, and writes the result to
    /// `out`.
    ///
    /// `x` has shape \[B, …\], `out` \[n·B, …\] with n = [`query.outputs()`](Query::outputs):
    /// output j occupies the rows j·B..(j+1)·B. For a plain model n = 1 and both shapes agree. All
    /// of `out` must be written; what it holds before the call is unspecified.
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

    /// How many outputs the model can write in one call, where it knows: a form of guidance that
    /// wants more is then refused before the model is called.
    fn outputs(&self) -> Option<usize> {
        None
    }

    /// Whether the model reads the level of each position ([`Query::level_at`]), where levels differ
    /// along an axis: tokens, frames. By default it does not, and a run in which they differ refuses
    /// it rather than show it one level for all. [`PerPosition`] says that a closure does.
    fn reads_positions(&self) -> bool {
        false
    }

    /// Whether the model takes rows of which each has a level of its own ([`Query::level_of`]) and
    /// belongs to a sample ([`Query::sample_of`]) that may have several rows in one call, as those
    /// of a [`ParallelRun`](crate::run::ParallelRun) do. By default it does not, and such a run, or
    /// a [`DdimStep`](crate::run::DdimStep) whose samples have levels of their own, refuses it
    /// rather than show it one level for all. [`PerRow`] says that a closure does.
    fn reads_rows(&self) -> bool {
        false
    }

    /// How the model's outputs combine. A wrapper that calls a model inside leaves the default:
    /// [`Query::combined`] then gives it the guided output.
    ///
    /// # Errors
    ///
    /// [`Error::NestedGuidance`] and [`Error::PredictionMismatch`] where the parts of a composed
    /// model do not fit each other.
    fn guidance(&self) -> Result<&dyn Guidance, Error> {
        Ok(&Unguided)
    }
}

/// Pointers to a denoiser are denoisers.
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

            fn outputs(&self) -> Option<usize> {
                (**self).outputs()
            }

            fn reads_positions(&self) -> bool {
                (**self).reads_positions()
            }

            fn reads_rows(&self) -> bool {
                (**self).reads_rows()
            }

            fn guidance(&self) -> Result<&dyn Guidance, Error> {
                (**self).guidance()
            }
        }
    )*};
}

forward!(&mut M, Box<M>);

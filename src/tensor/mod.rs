//! Any tensor: the trait by which a run works on the arrays of another library.
//!
//! [`TensorOps`] asks for what every tensor library has: a shape, a linear combination, and a way
//! from and to the host. With it a [`TensorRun`](crate::run::TensorRun) gives a tensor all that a
//! [`Trajectory`](crate::Trajectory) gives an ndarray array: every solver, history, noise, every
//! form of guidance, clipping, snapshots. The tensors stay where they are.
//!
//! | you have | use |
//! |---|---|
//! | ndarray arrays | [`Sampler::sample`](crate::Sampler::sample), [`Trajectory`](crate::Trajectory): no copies, no allocations |
//! | slices, `Vec<f32>` | [`Sampler::sample_vec`](crate::Sampler::sample_vec) with [`from_slice_fn`](crate::denoiser::from_slice_fn); for ask and tell [`FlatOps`] |
//! | candle, burn, MLX, torch tensors | [`TensorOps`], then [`Sampler::on`](crate::Sampler::on); [extending] has it for candle and burn |
//!
//! [extending]: crate::guide::extending

mod arrays;
mod flat;
mod scale;
#[cfg(feature = "serde")]
mod stored;

pub use arrays::ArrayOps;
pub use flat::{Flat, FlatOps};
pub use scale::Scale;

use std::fmt;

use crate::kernel::{FillNoise, Forms};
use crate::noise::{NoiseKey, RowNoise};
use crate::real::Real;

/// What a [`TensorRun`](crate::run::TensorRun) needs of a tensor library.
///
/// It is implemented on a type of yours (`struct Candle;`), so that the tensors can be those of any
/// library. Axis 0 of a tensor is the sample. Four short methods are enough. What the provided ones
/// do is done on the host unless they are overridden: override [`clamp`](Self::clamp) and
/// [`products`](Self::products) where the elements should not leave a device for clipping or
/// non-linear guidance.
///
/// ```
/// use std::convert::Infallible;
/// use diffusion_sampler::tensor::{Scale, TensorOps};
///
/// /// Batches of points as lists of rows.
/// struct Points;
///
/// impl TensorOps for Points {
///     type Tensor = Vec<[f32; 2]>;
///     type Element = f32;
///     type Error = Infallible;
///
///     fn shape(&self, points: &Self::Tensor) -> impl AsRef<[usize]> {
///         [points.len(), 2]
///     }
///     fn linear_combination(
///         &self,
///         terms: &[(Scale<'_>, &Self::Tensor)],
///     ) -> Result<Self::Tensor, Infallible> {
///         let mut sum = vec![[0.0; 2]; terms[0].1.len()];
///         for (scale, points) in terms {
///             for (row, (sum, point)) in sum.iter_mut().zip(*points).enumerate() {
///                 for (sum, value) in sum.iter_mut().zip(point) {
///                     *sum += scale.of(row) as f32 * value;
///                 }
///             }
///         }
///         Ok(sum)
///     }
///     fn upload(&self, values: Vec<f32>, _: &Self::Tensor) -> Result<Self::Tensor, Infallible> {
///         Ok(values.chunks(2).map(|row| [row[0], row[1]]).collect())
///     }
///     fn download(&self, points: &Self::Tensor) -> Result<Vec<f32>, Infallible> {
///         Ok(points.as_flattened().to_vec())
///     }
/// }
/// ```
pub trait TensorOps {
    /// The tensors. A clone may share the elements: a run never changes a tensor that it did not
    /// make.
    type Tensor: Clone;

    /// The elements on the host: `f64` for tensors of f64, `f32` for all narrower ones.
    type Element: Real;

    /// The library's own error. It reaches the caller as
    /// [`RunError::Tensor`](crate::RunError::Tensor).
    type Error: fmt::Debug + fmt::Display + 'static;

    /// The lengths of the axes, \[samples, …\].
    fn shape(&self, tensor: &Self::Tensor) -> impl AsRef<[usize]>;

    /// Σ c_j·a_j over at least one term, all of one shape. A coefficient is the batch's, or one for
    /// each sample. The result is like the first tensor (its element type, its device), which is the
    /// state's wherever a run has one; model outputs may have another element type.
    ///
    /// A run gives all terms, also those with coefficient 0: 0 · ∞ is NaN, and not to be hidden.
    ///
    /// # Errors
    ///
    /// The library's.
    fn linear_combination(
        &self,
        terms: &[(Scale<'_>, &Self::Tensor)],
    ) -> Result<Self::Tensor, Self::Error>;

    /// A tensor of these elements in row-major order, otherwise like `like`: shape, element type,
    /// device.
    ///
    /// # Errors
    ///
    /// The library's.
    fn upload(
        &self,
        values: Vec<Self::Element>,
        like: &Self::Tensor,
    ) -> Result<Self::Tensor, Self::Error>;

    /// The elements in row-major order.
    ///
    /// # Errors
    ///
    /// The library's.
    fn download(&self, tensor: &Self::Tensor) -> Result<Vec<Self::Element>, Self::Error>;

    /// Standard normals in the shape of `like`, made by the library itself; `None`, the default,
    /// uploads those of the run's noise source, which are the same on every device.
    ///
    /// # Errors
    ///
    /// The library's.
    fn normals(
        &self,
        rows: &Normals<'_, Self::Element>,
        like: &Self::Tensor,
    ) -> Result<Option<Self::Tensor>, Self::Error> {
        let _ = (rows, like);
        Ok(None)
    }

    /// The elements limited to \[`low`, `high`\], where NaN stays NaN; `None`, the default, lets
    /// the run do it on the host.
    ///
    /// # Errors
    ///
    /// The library's.
    fn clamp(
        &self,
        tensor: &Self::Tensor,
        low: f64,
        high: f64,
    ) -> Result<Option<Self::Tensor>, Self::Error> {
        let _ = (tensor, low, high);
        Ok(None)
    }

    /// The sums and inner products of each sample's rows, for non-linear guidance; `None`, the
    /// default, lets the run compute them on the host.
    ///
    /// # Errors
    ///
    /// The library's.
    fn products(&self, tensors: &[&Self::Tensor]) -> Result<Option<Vec<RowProducts>>, Self::Error> {
        let _ = tensors;
        Ok(None)
    }

    /// Whether all elements are finite; `None`, the default, is not to look, since a device would
    /// have to be waited for. Asked of what a run starts from, and once a step of the new state.
    ///
    /// # Errors
    ///
    /// The library's.
    fn all_finite(&self, tensor: &Self::Tensor) -> Result<Option<bool>, Self::Error> {
        let _ = tensor;
        Ok(None)
    }

    /// A copy of a tensor, for snapshots and to go back to; the default is its clone, which the
    /// library makes as it makes clones.
    ///
    /// # Errors
    ///
    /// The library's.
    fn copy(&self, tensor: &Self::Tensor) -> Result<Self::Tensor, Self::Error> {
        Ok(tensor.clone())
    }

    /// The whole update in place, for arrays that the crate's kernel reads; returns whether all is
    /// finite.
    #[doc(hidden)]
    fn fused(&self, update: Fused<'_, Self::Tensor, Self::Element>) -> Option<bool> {
        let _ = update;
        None
    }
}

/// A reference does what it refers to.
impl<O: TensorOps + ?Sized> TensorOps for &O {
    type Tensor = O::Tensor;
    type Element = O::Element;
    type Error = O::Error;

    fn shape(&self, tensor: &Self::Tensor) -> impl AsRef<[usize]> {
        (**self).shape(tensor)
    }

    fn linear_combination(
        &self,
        terms: &[(Scale<'_>, &Self::Tensor)],
    ) -> Result<Self::Tensor, Self::Error> {
        (**self).linear_combination(terms)
    }

    fn upload(
        &self,
        values: Vec<Self::Element>,
        like: &Self::Tensor,
    ) -> Result<Self::Tensor, Self::Error> {
        (**self).upload(values, like)
    }

    fn download(&self, tensor: &Self::Tensor) -> Result<Vec<Self::Element>, Self::Error> {
        (**self).download(tensor)
    }

    fn normals(
        &self,
        rows: &Normals<'_, Self::Element>,
        like: &Self::Tensor,
    ) -> Result<Option<Self::Tensor>, Self::Error> {
        (**self).normals(rows, like)
    }

    fn clamp(
        &self,
        tensor: &Self::Tensor,
        low: f64,
        high: f64,
    ) -> Result<Option<Self::Tensor>, Self::Error> {
        (**self).clamp(tensor, low, high)
    }

    fn products(&self, tensors: &[&Self::Tensor]) -> Result<Option<Vec<RowProducts>>, Self::Error> {
        (**self).products(tensors)
    }

    fn copy(&self, tensor: &Self::Tensor) -> Result<Self::Tensor, Self::Error> {
        (**self).copy(tensor)
    }

    fn all_finite(&self, tensor: &Self::Tensor) -> Result<Option<bool>, Self::Error> {
        (**self).all_finite(tensor)
    }

    fn fused(&self, update: Fused<'_, Self::Tensor, Self::Element>) -> Option<bool> {
        (**self).fused(update)
    }
}

/// The sums and inner products of one sample's rows a_j of several tensors, over its elements.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowProducts {
    /// Σ_i a_j\[i\], one for each tensor.
    pub sums: Vec<f64>,
    /// ⟨a_j, a_k⟩: a row for each tensor, with a column for each.
    pub inner: Vec<Vec<f64>>,
}

/// The keys of the normals that a step needs, one for each sample.
pub struct Normals<'a, A> {
    source: &'a dyn RowNoise<A>,
    samples: usize,
}

impl<'a, A> Normals<'a, A> {
    pub(crate) fn new(source: &'a dyn RowNoise<A>, samples: usize) -> Self {
        Self { source, samples }
    }

    /// What names each sample's row, in the order of the batch.
    pub fn keys(&self) -> impl Iterator<Item = NoiseKey> {
        (0..self.samples).map(|row| self.source.key(row))
    }
}

/// One update of the fused kernel.
#[doc(hidden)]
pub struct Fused<'a, T, A> {
    pub(crate) forms: Forms<'a>,
    pub(crate) x: &'a mut T,
    pub(crate) y: Option<&'a mut T>,
    pub(crate) inputs: &'a [&'a T],
    pub(crate) noise: FillNoise<'a, A>,
}

impl<A> fmt::Debug for Normals<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys()).finish()
    }
}

impl<T, A> fmt::Debug for Fused<'_, T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fused({:?})", self.forms)
    }
}

//! Axes: shared ones, coordinates along them, and Gaussians made of them.

use std::sync::Arc;

use super::{Axes, Gaussian};
use crate::error::Error;
use crate::linalg;
use crate::memory::{Copied, Listed};
use crate::oracle::check;

impl Gaussian {
    /// Both have one dimension.
    pub(crate) fn check_dim(&self, other: &Self) -> Result<(), Error> {
        check::length("coordinates", other.mean.len(), self.mean.len())
    }

    /// Both have the same eigenvectors, in the same order.
    pub(crate) fn same_axes(&self, other: &Self) -> bool {
        match (&self.axes, &other.axes) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b) || a == b,
            (None, None) => true,
            _ => false,
        }
    }

    /// Uᵀ, row-major.
    pub(crate) fn eigenvectors(&self) -> Result<Vec<f64>, Error> {
        match &self.axes {
            Some(axes) => axes.vectors[..].copy(),
            None => linalg::identity(self.mean.len()),
        }
    }

    /// One variance for all directions, so that any axes are its axes.
    pub(crate) fn is_isotropic(&self) -> bool {
        self.variances.iter().all(|v| *v == self.variances[0])
    }

    /// One of `self` and `others` whose axes serve all of them.
    pub(crate) fn frame_with<'a>(
        &'a self,
        others: impl Iterator<Item = &'a Self> + Clone,
    ) -> Result<&'a Self, Error> {
        let mut all = std::iter::once(self).chain(others.clone());
        let frame = all.find(|g| !g.is_isotropic()).unwrap_or(self);
        for other in others {
            frame.shared_frame(other)?;
        }
        Ok(frame)
    }

    /// Whichever of the two has axes that serve both.
    pub(crate) fn shared_frame<'a>(&'a self, other: &'a Self) -> Result<&'a Self, Error> {
        self.check_dim(other)?;
        if self.same_axes(other) || other.is_isotropic() {
            return Ok(self);
        }
        if self.is_isotropic() {
            return Ok(other);
        }
        let (a, b) = (self.eigenvectors()?, other.eigenvectors()?);
        let differs = a.iter().zip(&b).position(|(a, b)| a != b);
        debug_assert!(differs.is_some(), "the axes are not the same");
        Err(Error::AxesDiffer {
            axis: differs.map_or(0, |index| index / self.mean.len()),
        })
    }

    /// Uᵀx, the coordinates of a point along the axes.
    pub(crate) fn to_axes(&self, x: &[f64]) -> Result<Vec<f64>, Error> {
        let mut y = crate::memory::repeated(0.0, x.len())?;
        match &self.axes {
            Some(axes) => linalg::add_rows(&axes.rows, |i| x[i], &mut y),
            None => y.copy_from_slice(x),
        }
        Ok(y)
    }

    /// N(Uy, U diag(`variances`) Uᵀ) with the axes U of this one; the caller keeps the ranges.
    pub(crate) fn with_axes_of(&self, y: &[f64], variances: &[f64]) -> Result<Self, Error> {
        let mut mean = crate::memory::repeated(0.0, y.len())?;
        self.add_rotated(|k| y[k], &mut mean);
        Ok(Self {
            mean,
            variances: variances.copy()?,
            axes: self.axes.clone(),
        })
    }

    /// N(`mean`, U diag(`variances`) Uᵀ) with the unit eigenvectors as rows of Uᵀ, `None` for U =
    /// I; the caller keeps the ranges.
    pub(crate) fn with_axes(
        mean: Vec<f64>,
        variances: Vec<f64>,
        vectors: Option<Vec<f64>>,
    ) -> Result<Self, Error> {
        let d = mean.len();
        let axes = |vectors: Vec<f64>| {
            Ok::<_, Error>(Arc::new(Axes {
                rows: (0..d * d).map(|k| vectors[(k % d) * d + k / d]).listed()?,
                vectors,
            }))
        };
        Ok(Self {
            mean,
            variances,
            axes: vectors.map(axes).transpose()?,
        })
    }

    /// A copy.
    pub(crate) fn copied(&self) -> Result<Self, Error> {
        self.moved(&self.mean)
    }

    /// The same with another mean, in range.
    pub(crate) fn moved(&self, mean: &[f64]) -> Result<Self, Error> {
        Ok(Self {
            mean: mean.copy()?,
            variances: self.variances[..].copy()?,
            axes: self.axes.clone(),
        })
    }

    /// Uᵀ, row-major, unless it is I.
    pub(in crate::oracle) fn own_eigenvectors(&self) -> Option<&[f64]> {
        self.axes.as_ref().map(|axes| &axes.vectors[..])
    }

    /// u_k, the axis number `k`: without the matrix U, which a diagonal Gaussian of many elements
    /// has no room for.
    pub(crate) fn axis(&self, k: usize) -> Result<Vec<f64>, Error> {
        let mut axis = crate::memory::repeated(0.0, self.mean.len())?;
        self.add_rotated(|i| if i == k { 1.0 } else { 0.0 }, &mut axis);
        Ok(axis)
    }

    /// U diag(√v), row-major: its product with its transpose is the covariance.
    pub(crate) fn factor(&self) -> Result<Vec<f64>, Error> {
        let d = self.mean.len();
        let mut factor = match &self.axes {
            Some(axes) => axes.rows[..].copy()?,
            None => linalg::identity(d)?,
        };
        for row in factor.chunks_exact_mut(d) {
            for (f, v) in row.iter_mut().zip(&self.variances) {
                *f *= v.sqrt();
            }
        }
        Ok(factor)
    }
}

//! Distances between Gaussians.

use ndarray::ArrayRef2;

use super::moments::eigen;
use super::{Gaussian, check};
use crate::error::Error;
use crate::linalg::{self, Eigen};
use crate::memory::Listed;
use crate::special::spread_excess;

/// The squared Fréchet distance between N(m₁, C₁) and N(m₂, C₂), which is also their squared
/// 2-Wasserstein distance:
///
/// ```text
/// |m₁ − m₂|² + tr(C₁ + C₂ − 2 (C₁^½ C₂ C₁^½)^½)
/// ```
///
/// The last trace is computed as the nuclear norm of C₁^½ C₂^½, which keeps all digits for singular
/// covariances too. Means of length d, covariances of shape \[d, d\]; O(d³). Dowson and Landau
/// 1982, "The Fréchet distance between multivariate normal distributions".
///
/// ```
/// use diffusion_sampler::oracle::frechet_distance;
/// use ndarray::array;
///
/// let (a, b) = (array![[4.0, 0.0], [0.0, 1.0]], array![[1.0, 0.0], [0.0, 1.0]]);
/// let squared = frechet_distance(&[0.0, 0.0], &a, &[3.0, 0.0], &b)?;
/// assert!((squared - (9.0 + 1.0)).abs() < 1e-14);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::WrongLength`] when the means' lengths differ; [`Error::ShapeMismatch`] unless both
/// covariances are d×d; [`Error::InvalidEntry`] for entries out of range, [`Error::NotACovariance`]
/// for a matrix that is not symmetric and positive semi-definite (up to 1e-12 of its largest
/// eigenvalue), [`Error::InvalidParameter`] for d = 0.
pub fn frechet_distance(
    mean1: &[f64],
    covariance1: &ArrayRef2<f64>,
    mean2: &[f64],
    covariance2: &ArrayRef2<f64>,
) -> Result<f64, Error> {
    let d = mean1.len();
    check::dimension(d)?;
    check::point("mean1", mean1, d)?;
    check::point("mean2", mean2, d)?;
    let first = Root::of(eigen("covariance1", covariance1, d)?)?;
    let second = Root::of(eigen("covariance2", covariance2, d)?)?;
    Ok(linalg::squared_distance(mean1, 1.0, mean2) + first.spread(&second)?)
}

impl Gaussian {
    /// The squared 2-Wasserstein distance |m − m'|² + tr(C + C' − 2 (C^½ C' C^½)^½), which is
    /// |m − m'|² + Σ(√v − √v')² for Gaussians that share their axes; see [`frechet_distance`].
    ///
    /// O(d³) unless the axes are shared.
    ///
    /// ```
    /// use diffusion_sampler::oracle::Gaussian;
    ///
    /// let (a, b) = (Gaussian::isotropic(&[0.0], 4.0)?, Gaussian::isotropic(&[3.0], 1.0)?);
    /// assert_eq!(a.wasserstein_squared(&b)?, 9.0 + 1.0);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::WrongLength`] for another dimension.
    pub fn wasserstein_squared(&self, other: &Self) -> Result<f64, Error> {
        self.check_dim(other)?;
        let spread = if self.same_axes(other) {
            let pairs = self.variances().iter().zip(other.variances());
            pairs.map(|(v, w)| square(v.sqrt() - w.sqrt())).sum()
        } else {
            Root::of_gaussian(self)?.spread(&Root::of_gaussian(other)?)?
        };
        Ok(linalg::squared_distance(self.mean(), 1.0, other.mean()) + spread)
    }

    /// KL(self ‖ other) in nats, for N(m, C) and N(m', C') in d dimensions:
    ///
    /// ```text
    /// ½ [tr(C'⁻¹ C) − d − ln(det C/det C') + (m − m')ᵀ C'⁻¹ (m − m')]
    /// ```
    ///
    /// With the angles θ_ij between the axes of both it is computed as ½ Σ cos²θ_ij (v_j/v'_i − 1 −
    /// ln(v_j/v'_i)), the same number as a sum of terms that are not negative. Kullback and Leibler
    /// 1951, "On Information and Sufficiency".
    ///
    /// ```
    /// use diffusion_sampler::oracle::Gaussian;
    ///
    /// let (a, b) = (Gaussian::isotropic(&[1.0], 2.0)?, Gaussian::isotropic(&[0.0], 2.0)?);
    /// assert_eq!(a.kl(&b)?, 0.25); // (1 − 0)²/(2·2)
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::WrongLength`] for another dimension; [`Error::InvalidEntry`] for a variance of 0 in
    /// either.
    pub fn kl(&self, other: &Self) -> Result<f64, Error> {
        self.check_dim(other)?;
        for variances in [self.variances(), other.variances()] {
            if let Some(index) = variances.iter().position(|v| *v == 0.0) {
                return Err(Error::InvalidEntry {
                    name: "variances",
                    index,
                    value: 0.0,
                    requirement: "positive where a density is needed",
                });
            }
        }
        let difference: Vec<f64> = self
            .mean()
            .iter()
            .zip(other.mean())
            .map(|(m, n)| m - n)
            .listed()?;
        let means = other.to_axes(&difference)?;
        let mut total = 0.0;
        for (m, w) in means.iter().zip(other.variances()) {
            total += m * m / w;
        }
        if self.same_axes(other) {
            for (&v, &w) in self.variances().iter().zip(other.variances()) {
                total += spread_excess(v, w);
            }
        } else {
            let (first, second) = (Root::of_gaussian(self)?, Root::of_gaussian(other)?);
            for (i, &w) in other.variances().iter().enumerate() {
                for (j, &v) in self.variances().iter().enumerate() {
                    let cosine = linalg::dot(second.vector(i), first.vector(j));
                    total += square(cosine) * spread_excess(v, w);
                }
            }
        }
        Ok(0.5 * total)
    }
}

fn square(x: f64) -> f64 {
    x * x
}

/// The square roots of a covariance's eigenvalues, with the eigenvectors as rows.
struct Root {
    roots: Vec<f64>,
    vectors: Vec<f64>,
}

impl Root {
    fn of(eigen: Eigen) -> Result<Self, Error> {
        let d = eigen.values.len();
        Ok(Self {
            roots: eigen.values.iter().map(|v| v.sqrt()).listed()?,
            vectors: eigen.vectors.map_or_else(|| linalg::identity(d), Ok)?,
        })
    }

    fn of_gaussian(gaussian: &Gaussian) -> Result<Self, Error> {
        Ok(Self {
            roots: gaussian.variances().iter().map(|v| v.sqrt()).listed()?,
            vectors: gaussian.eigenvectors()?,
        })
    }

    /// tr(C₁ + C₂ − 2 (C₁^½ C₂ C₁^½)^½).
    fn spread(&self, other: &Self) -> Result<f64, Error> {
        // C₁^½ C₂^½ = U₁ [√v₁ U₁ᵀ U₂ √v₂] U₂ᵀ: rotations leave the nuclear norm as it is.
        let d = self.roots.len();
        let mut inner = crate::memory::repeated(0.0, d * d)?;
        for i in 0..d {
            for j in 0..d {
                let cosine = linalg::dot(self.vector(i), other.vector(j));
                inner[i * d + j] = self.roots[i] * cosine * other.roots[j];
            }
        }
        let trace = |root: &Self| -> f64 { root.roots.iter().map(|r| r * r).sum() };
        let spread = trace(self) + trace(other) - 2.0 * linalg::nuclear_norm(inner, d);
        // Not negative but for rounding.
        Ok(spread.max(0.0))
    }

    fn vector(&self, k: usize) -> &[f64] {
        let d = self.roots.len();
        &self.vectors[k * d..(k + 1) * d]
    }
}

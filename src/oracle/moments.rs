//! Means and covariances.

use ndarray::{Array2, ArrayRef2};

use super::check;
use crate::error::{Error, require};
use crate::linalg::{self, Eigen};
use crate::real::Real;

/// What is taken for rounding in a covariance, relative to its largest entry or eigenvalue.
const TOLERANCE: f64 = 1e-12;

/// The mean and the unbiased covariance (divisor n − 1) of the rows of an array of shape \[n, d\],
/// in f64 and in a fixed order of summation.
///
/// ```
/// use diffusion_sampler::oracle::sample_moments;
/// use ndarray::array;
///
/// let (mean, covariance) = sample_moments(&array![[1.0f32, 0.0], [3.0, 2.0]])?;
/// assert_eq!(mean, [2.0, 1.0]);
/// assert_eq!(covariance, array![[2.0, 2.0], [2.0, 2.0]]);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::InvalidParameter`] for fewer than 2 rows or d = 0; [`Error::InvalidEntry`], with the
/// entry's position in its row, for an entry that is not finite or exceeds 1e30.
pub fn sample_moments<A: Real>(rows: &ArrayRef2<A>) -> Result<(Vec<f64>, Array2<f64>), Error> {
    let (n, d) = rows.dim();
    check::dimension(d)?;
    require(n >= 2, "rows", n as f64, "at least 2")?;
    let mut row = crate::memory::repeated(0.0, d)?;
    let read = |index: usize, row: &mut Vec<f64>| {
        for (slot, value) in row.iter_mut().zip(rows.row(index)) {
            *slot = value.widen();
        }
        check::point("rows", row, d)
    };
    let mut mean = crate::memory::repeated(0.0, d)?;
    for index in 0..n {
        read(index, &mut row)?;
        linalg::axpy(1.0 / n as f64, &row, &mut mean);
    }
    let mut covariance = crate::memory::repeated(0.0, d * d)?;
    for index in 0..n {
        read(index, &mut row)?;
        linalg::axpy(-1.0, &mean, &mut row);
        add_outer(1.0 / (n - 1) as f64, &row, &mut covariance);
    }
    Ok((mean, square(d, &covariance)?))
}

/// C ← C + w·a aᵀ.
pub(super) fn add_outer(w: f64, a: &[f64], covariance: &mut [f64]) {
    // One product for both (i, j) and (j, i): w·(a_i a_j) is bitwise symmetric, (w·a_i)·a_j is
    // not.
    for (row, &ai) in covariance.chunks_exact_mut(a.len()).zip(a) {
        for (c, &aj) in row.iter_mut().zip(a) {
            *c += w * (ai * aj);
        }
    }
}

/// A d×d array from a row-major slice.
pub(super) fn square(d: usize, values: &[f64]) -> Result<Array2<f64>, Error> {
    crate::memory::square_of((d, d), |(i, j)| values[i * d + j])
}

/// The eigenvalues and vectors of a checked covariance; see
/// [`Gaussian::new`](crate::oracle::Gaussian::new) for what is rounding.
pub(super) fn eigen(
    name: &'static str,
    covariance: &ArrayRef2<f64>,
    d: usize,
) -> Result<Eigen, Error> {
    if covariance.dim() != (d, d) {
        return Err(Error::ShapeMismatch {
            name,
            expected: vec![d, d],
            found: covariance.shape().to_vec(),
        });
    }
    let mut largest = 0f64;
    for (index, &value) in covariance.iter().enumerate() {
        if value.is_nan() || value.abs() > 1e60 {
            return Err(Error::InvalidEntry {
                name,
                index,
                value,
                requirement: "finite and at most 1e60 in magnitude",
            });
        }
        largest = largest.max(value.abs());
    }
    let mut matrix = crate::memory::repeated(0.0, d * d)?;
    for i in 0..d {
        for j in 0..d {
            let (a, b) = (covariance[[i, j]], covariance[[j, i]]);
            if (a - b).abs() > TOLERANCE * largest {
                return Err(Error::NotACovariance {
                    index: i,
                    value: a - b,
                });
            }
            matrix[i * d + j] = 0.5 * (a + b);
        }
    }
    let mut eigen = linalg::symmetric_eigen(matrix, d)?;
    let top = eigen.values.iter().fold(0f64, |top, v| top.max(v.abs()));
    for (index, value) in eigen.values.iter_mut().enumerate() {
        if *value < -TOLERANCE * top {
            return Err(Error::NotACovariance {
                index,
                value: *value,
            });
        }
        if *value < 1e-60 {
            *value = 0.0;
        }
    }
    Ok(eigen)
}

//! Doors for the benches and the count of allocations to what is not public; nobody else's.

use ndarray::{Array1, ArrayRef, Dim, Dimension};

use super::{Gram, gram, gram_slices};
use crate::error::Error;
use crate::memory;
use crate::real::Real;

/// The reduction of up to 16 samples; returns the last inner product, so that the work cannot be
/// left out.
pub fn gram_of_slices<A: Real>(samples: usize, arrays: &[&[A]]) -> f64 {
    let mut out = [Gram::ZERO; 16];
    let out = &mut out[..samples.min(16)];
    gram_slices(samples, arrays, out);
    let last = arrays.len().saturating_sub(1);
    out.last().map_or(0.0, |gram| gram.inner[0][last])
}

/// The same of arrays of any layout and at most 16 samples.
///
/// # Errors
///
/// [`Error::ShapeMismatch`] and the like.
pub fn gram_of_arrays<A: Real, D: Dimension>(arrays: &[&ArrayRef<A, D>]) -> Result<f64, Error> {
    let mut out = [Gram::ZERO; 16];
    let samples = arrays
        .first()
        .map_or(0, |array| array.shape().first().map_or(0, |&n| n.min(16)));
    gram(arrays, &mut out[..samples])?;
    let last = arrays.len().saturating_sub(1);
    Ok(out[0].inner[0][last])
}

/// An array as the runs reserve theirs.
///
/// # Errors
///
/// [`Error::TooLarge`].
pub fn run_array<A: Real>(len: usize, value: A) -> Result<Array1<A>, Error> {
    memory::filled(Dim(len), value)
}

//! Sums and inner products of every sample.

use ndarray::{ArrayRef, Dimension};

use crate::real::Real;

/// The most arrays.
pub(crate) const ARRAYS: usize = 8;

/// Element sums and pairwise inner products of one sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Gram {
    pub(crate) elements: usize,
    pub(crate) sums: [f64; ARRAYS],
    pub(crate) inner: [[f64; ARRAYS]; ARRAYS],
}

impl Gram {
    pub(crate) const ZERO: Self = Self {
        elements: 0,
        sums: [0.0; ARRAYS],
        inner: [[0.0; ARRAYS]; ARRAYS],
    };
}

/// The sums and products of standard-layout slices that hold `out.len()` rows.
pub(crate) fn gram_slices<A: Real>(arrays: &[&[A]], out: &mut [Gram]) {
    let elements = arrays.first().map_or(0, |array| array.len()) / out.len().max(1);
    for (sample, gram) in out.iter_mut().enumerate() {
        *gram = Gram {
            elements,
            ..Gram::ZERO
        };
        let row = sample * elements..(sample + 1) * elements;
        for (j, a) in arrays.iter().enumerate() {
            gram.sums[j] = a[row.clone()].iter().map(|v| v.widen()).sum();
            for (k, b) in arrays.iter().enumerate() {
                gram.inner[j][k] = a[row.clone()]
                    .iter()
                    .zip(&b[row.clone()])
                    .map(|(a, b)| a.widen() * b.widen())
                    .sum();
            }
        }
    }
}

/// The same for arrays of any layout, axis 0 being the sample.
pub(crate) fn gram<A: Real, D: Dimension>(arrays: &[&ArrayRef<A, D>], out: &mut [Gram]) {
    let rows: Vec<Vec<A>> = arrays.iter().map(|a| a.iter().copied().collect()).collect();
    let slices: Vec<&[A]> = rows.iter().map(Vec::as_slice).collect();
    gram_slices(&slices, out);
}

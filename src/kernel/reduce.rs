//! Reductions over samples.

use ndarray::{ArrayRef, Dimension};

use crate::element::ModelElement;
use crate::error::{Error, require_shape};
use crate::memory::Listed;
use crate::real::Real;

/// |target − Σ c_j·in_j|² of every sample, in f64, summed in row-major order.
pub(crate) fn squared_residuals<A: Real, D: Dimension>(
    target: &ArrayRef<A, D>,
    terms: &[(f64, &ArrayRef<A, D>)],
) -> Result<Vec<f64>, Error> {
    let Some(&samples) = target.shape().first() else {
        return Err(Error::NoSampleAxis);
    };
    for (_, input) in terms {
        require_shape("input", target.shape(), input.shape())?;
    }
    let per_sample = (target.len() / samples.max(1)).max(1);
    let mut inputs: Vec<_> = terms.iter().map(|(c, input)| (*c, input.iter())).listed()?;
    let mut sums = crate::memory::repeated(0.0, samples)?;
    for (index, value) in target.iter().enumerate() {
        let mean: f64 = inputs
            .iter_mut()
            .map(|(c, input)| *c * input.next().map_or(0.0, |v| v.widen()))
            .sum();
        let residual = value.widen() - mean;
        sums[index / per_sample] += residual * residual;
    }
    Ok(sums)
}

/// The error for the first value that is not finite, if there is one: where an update has reported
/// one.
pub(crate) fn find_non_finite<A: Real, O: ModelElement<A>, D: Dimension>(
    array: &ArrayRef<O, D>,
    step: usize,
    name: &'static str,
) -> Result<(), Error> {
    find_non_finite_of::<A, _, _>(array, step, name, |_, _| true)
}

/// The same among the elements that count, by sample and place in it.
pub(crate) fn find_non_finite_of<A: Real, O: ModelElement<A>, D: Dimension>(
    array: &ArrayRef<O, D>,
    step: usize,
    name: &'static str,
    counts: impl Fn(usize, usize) -> bool,
) -> Result<(), Error> {
    let samples = array.shape().first().copied().unwrap_or(0).max(1);
    let per_sample = (array.len() / samples).max(1);
    match array
        .iter()
        .enumerate()
        .map(|(index, value)| (index, value.widened()))
        .find(|(index, value)| !value.is_finite() && counts(index / per_sample, index % per_sample))
    {
        None => Ok(()),
        Some((index, value)) => Err(Error::NonFinite {
            step,
            sample: index / per_sample,
            element: index % per_sample,
            array: name,
            value: value.widen(),
        }),
    }
}

/// The root of the mean over all elements of ((a − b)/δ)², δ = max(absolute, relative·max(|a|, |c|)):
/// the error estimate of an adaptive solver. In f64, summed in row-major order; 0 without elements.
pub(crate) fn scaled_distance<A: Real, D: Dimension>(
    [a, b, c]: [&ArrayRef<A, D>; 3],
    relative: f64,
    absolute: f64,
) -> f64 {
    let squares = a.iter().zip(b).zip(c).map(|((a, b), c)| {
        let (a, b, c) = (a.widen(), b.widen(), c.widen());
        let scaled = (a - b) / absolute.max(relative * a.abs().max(c.abs()));
        scaled * scaled
    });
    let sum: f64 = squares.sum();
    (sum / a.len().max(1) as f64).sqrt()
}

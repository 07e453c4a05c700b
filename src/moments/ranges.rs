//! The ranges in which a distribution is reported.

use crate::error::Error;
use crate::oracle::in_range;

/// The mean of a state, in range.
pub(super) fn require_means(step: usize, mean: &[f64]) -> Result<(), Error> {
    match mean.iter().find(|m| !in_range(**m)) {
        None => Ok(()),
        Some(&value) => Err(Error::InvalidEntry {
            name: "mean after step",
            index: step,
            value,
            requirement: "finite and at most 1e30 in magnitude",
        }),
    }
}

/// A state's variance, in range; one below 1e-60 counts as 0.
pub(super) fn variance(step: usize, variance: f64) -> Result<f64, Error> {
    if variance.is_nan() || variance > 1e60 {
        return Err(Error::InvalidEntry {
            name: "variance after step",
            index: step,
            value: variance,
            requirement: "finite and at most 1e60",
        });
    }
    Ok(if variance < 1e-60 { 0.0 } else { variance })
}

//! What a measurement has found.

use ndarray::{Array2, ArrayRef2};

use crate::posterior::DataErrors;

/// What a [`Measurement`](super::Measurement) has found: means over the data, and what they are the
/// means of, so that anything that is made of them has a standard error.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    pub(super) errors: DataErrors,
    pub(super) by_row: Array2<f64>,
    pub(super) squares: Vec<f64>,
}

impl Measured {
    /// M_t and m_t at each level, with standard errors.
    pub fn errors(&self) -> &DataErrors {
        &self.errors
    }

    /// |x₀ − D(x_t)|² of each row of the data and each level, shape \[rows, levels\]: M_t is the
    /// mean over the rows.
    pub fn by_row(&self) -> &ArrayRef2<f64> {
        &self.by_row
    }
}

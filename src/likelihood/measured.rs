//! What a measurement has found.

use ndarray::{Array2, ArrayRef2};

use super::edge_costs::Ends;
use super::tally::mean_and_error;
use super::{EdgeCosts, PixelCosts};
use crate::error::Error;
use crate::level::NoiseLevel;
use crate::posterior::DataErrors;

/// What a [`Measurement`](super::Measurement) has found: means over the data, and what they are the
/// means of, so that anything that is made of them has a standard error.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    pub(super) errors: DataErrors,
    pub(super) by_row: Array2<f64>,
    pub(super) squares: Vec<f64>,
    pub(super) pixels: Option<PixelCosts>,
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

    /// What the pixels cost at each level, where that was measured.
    pub fn pixels(&self) -> Option<&PixelCosts> {
        self.pixels.as_ref()
    }

    /// The standard error, in nats, of the bound of a stride: of the sum over its edges, decoder and
    /// prior, which the same rows make, to first order in the errors M_t. Where the matrix was made
    /// from this measurement and v_p does not depend on M_t it is that of the mean of each row's own
    /// bound.
    ///
    /// # Errors
    ///
    /// As [`EdgeCosts::bound`]; [`Error::LambdaOutOfRange`] for a level of the matrix that was not
    /// measured; [`Error::EmptyList`] where the matrix has pixels and this measurement has not.
    pub fn standard_error(&self, costs: &EdgeCosts, path: &[usize]) -> Result<f64, Error> {
        let slopes = costs.slopes(path)?;
        let mut rows: Vec<f64> = self.squares.iter().map(|s| slopes.prior * s).collect();
        for (&level, slope) in path.iter().zip(&slopes.errors) {
            let index = self.index_of(costs, level)?;
            let column = self.by_row.columns().into_iter().nth(index);
            for (sum, error) in rows.iter_mut().zip(column.iter().flatten()) {
                *sum += slope * error;
            }
        }
        if let (Ends::Pixels(deviations), Some(&last)) = (&costs.ends, path.last()) {
            let name = "pixel costs";
            let pixels = self.pixels.as_ref().ok_or(Error::EmptyList { name })?;
            let index = self.index_of(costs, last)?;
            let deviation = deviations.get(last).copied().unwrap_or(0);
            for (sum, costs) in rows.iter_mut().zip(pixels.by_row.outer_iter()) {
                *sum += costs.get((index, deviation)).copied().unwrap_or(f64::NAN);
            }
        }
        Ok(mean_and_error(&rows).1)
    }

    /// The measured level that a level of the matrix is.
    fn index_of(&self, costs: &EdgeCosts, level: usize) -> Result<usize, Error> {
        let own = self.errors.levels();
        let lambda = costs
            .levels()
            .get(level)
            .map_or(f64::NAN, NoiseLevel::lambda);
        let found = own.iter().position(|measured| measured.lambda() == lambda);
        found.ok_or_else(|| Error::LambdaOutOfRange {
            lambda,
            noisy: own.first().map_or(f64::NAN, NoiseLevel::lambda),
            clean: own.last().map_or(f64::NAN, NoiseLevel::lambda),
        })
    }
}

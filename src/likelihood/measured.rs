//! What a measurement has found.

use ndarray::{Array2, ArrayRef2};

use super::edge_costs::Ends;
use super::tally::mean_and_error;
use super::{EdgeCosts, PixelCosts};
use crate::error::{Error, require, require_length};
use crate::level::NoiseLevel;
use crate::memory::Listed;
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

    /// The standard error, in nats, of the bound of a stride: of the sum over its edges, decoder
    /// and prior, which the same rows make, to first order in the errors M_t. Where the matrix was
    /// made from this measurement and v_p does not depend on M_t it is that of the mean of each
    /// row's own bound.
    ///
    /// # Errors
    ///
    /// As [`EdgeCosts::bound`]; [`Error::InvalidEntry`] for a level of the path that was not
    /// measured; [`Error::WrongLength`] for samples of another number of elements;
    /// [`Error::EmptyList`] where the matrix has pixels and this measurement has not, and
    /// [`Error::InvalidParameter`] where its bins or deviations are others.
    pub fn standard_error(&self, costs: &EdgeCosts, path: &[usize]) -> Result<f64, Error> {
        let slopes = costs.slopes(path)?;
        require_length(
            "elements of the measurement",
            costs.dim(),
            self.errors.dim(),
        )?;
        let mut rows: Vec<f64> = self.squares.iter().map(|s| slopes.prior * s).listed()?;
        for (place, slope) in slopes.errors.iter().enumerate() {
            let index = self.index_of(costs, path, place)?;
            let column = self.by_row.columns().into_iter().nth(index);
            for (sum, error) in rows.iter_mut().zip(column.iter().flatten()) {
                *sum += slope * error;
            }
        }
        if let (Ends::Pixels(of, deviations), Some(last)) = (&costs.ends, path.last()) {
            let name = "pixel costs";
            let pixels = self.pixels.as_ref().ok_or(Error::EmptyList { name })?;
            let count = pixels.deviations().len() as f64;
            let requirement = "of the bins and deviations of the matrix";
            require(pixels.pixels == *of, name, count, requirement)?;
            let index = self.index_of(costs, path, path.len() - 1)?;
            let deviation = deviations.get(*last).copied().unwrap_or(0);
            for (sum, costs) in rows.iter_mut().zip(pixels.by_row.outer_iter()) {
                *sum += costs.get((index, deviation)).copied().unwrap_or(f64::NAN);
            }
        }
        Ok(mean_and_error(rows.iter().copied()).1)
    }

    /// The measured level that a level of a path is.
    fn index_of(&self, costs: &EdgeCosts, path: &[usize], place: usize) -> Result<usize, Error> {
        let level = path.get(place).and_then(|&level| costs.levels().get(level));
        let lambda = level.map_or(f64::NAN, NoiseLevel::lambda);
        let mut own = self.errors.levels().iter();
        let found = own.position(|measured| measured.lambda() == lambda);
        found.ok_or(Error::InvalidEntry {
            name: "lambda of the path",
            index: place,
            value: lambda,
            requirement: "that of a level that was measured",
        })
    }
}

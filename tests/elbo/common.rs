//! What the tests share.

use std::error::Error as StdError;

use diffusion_sampler::{Error, oracle::Gaussian, schedule::TableSchedule};
use ndarray::array;

pub(crate) type Outcome = Result<(), Box<dyn StdError>>;

pub(crate) fn table() -> Result<TableSchedule, Error> {
    TableSchedule::linear(1000, 1e-4, 0.02)
}

/// Correlated data of three elements.
pub(crate) fn gaussian() -> Result<Gaussian, Error> {
    Gaussian::new(
        &[0.5, -1.0, 0.2],
        &array![[0.4, 0.1, 0.0], [0.1, 0.2, 0.05], [0.0, 0.05, 0.9]],
    )
}

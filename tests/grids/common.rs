//! Tables, and what every grid must be.

use std::error::Error as StdError;

use diffusion_sampler::{Error, Grid, NoiseLevel, schedule::TableSchedule};

pub(crate) type Outcome = Result<(), Box<dyn StdError>>;

pub(crate) const TABLE: usize = 1000;

pub(crate) fn tables() -> Result<Vec<TableSchedule>, Error> {
    Ok(vec![
        TableSchedule::linear(TABLE, 1e-4, 0.02)?,
        TableSchedule::cosine(TABLE)?,
        TableSchedule::linear(TABLE, 1e-4, 0.02)?.zero_terminal_snr()?,
        TableSchedule::cosine(TABLE)?.zero_terminal_snr()?,
    ])
}

pub(crate) fn times(grid: &Grid) -> Vec<f64> {
    grid.levels().iter().map(NoiseLevel::time).collect()
}

/// Exactly K steps, strictly decreasing noise, onto the clean end.
pub(crate) fn is_sound(grid: &Grid, steps: usize) {
    assert_eq!(grid.steps(), steps);
    assert_eq!(grid.levels().len(), steps + 1);
    for pair in grid.levels().windows(2) {
        assert!(pair[0].lambda() < pair[1].lambda(), "{pair:?}");
        assert!(pair[0].time() > pair[1].time(), "{pair:?}");
    }
    assert!(grid.end().is_clean());
}

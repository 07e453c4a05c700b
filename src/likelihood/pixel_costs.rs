//! What pixels cost under a discretised Gaussian around a model's estimate.

use ndarray::{Array2, Array3, ArrayRef2, ArrayRef3, Axis};

use super::discretised_gaussian_nats;
use super::measurement::Pixels;
use crate::error::Error;
use crate::level::NoiseLevel;

/// −ln P(pixels | x_t) under [`discretised_gaussian_nats`] around D(x_t), in nats, summed over the
/// pixels: a mean over the data and the noise, at each level and each of a list of deviations.
///
/// What is optimised is the deviation alone, one for each level, over the list, on the data that
/// was measured: [`best`](Self::best). Nothing is interpolated between deviations. A finer list
/// finds less, by little: near the best the cost is flat.
///
/// It is made by a [`Measurement`](super::Measurement) that [has
/// pixels](super::Measurement::with_pixels).
#[derive(Clone, Debug, PartialEq)]
pub struct PixelCosts {
    pub(super) pixels: Pixels,
    pub(super) dim: usize,
    pub(super) at: Vec<NoiseLevel>,
    /// \[levels, deviations\]
    nats: Array2<f64>,
    /// \[rows, levels, deviations\]
    pub(super) by_row: Array3<f64>,
}

impl PixelCosts {
    /// The means of what each row costs.
    pub(super) fn new(
        pixels: Pixels,
        dim: usize,
        at: Vec<NoiseLevel>,
        by_row: Array3<f64>,
    ) -> Self {
        let (rows, levels, count) = by_row.dim();
        let nats = by_row.mean_axis(Axis(0));
        debug_assert!(rows > 0, "a measurement has rows");
        Self {
            pixels,
            dim,
            at,
            nats: nats.unwrap_or_else(|| Array2::zeros((levels, count))),
            by_row,
        }
    }

    /// The number of values that a pixel can have, evenly from −1 to 1.
    pub fn bins(&self) -> usize {
        self.pixels.bins
    }

    /// The deviations.
    pub fn deviations(&self) -> &[f64] {
        &self.pixels.deviations
    }

    /// The costs, shape \[levels, deviations\].
    pub fn nats(&self) -> &ArrayRef2<f64> {
        &self.nats
    }

    /// What each row of the data costs, shape \[rows, levels, deviations\].
    pub fn by_row(&self) -> &ArrayRef3<f64> {
        &self.by_row
    }

    /// The number of levels.
    pub fn levels(&self) -> usize {
        self.nats.nrows()
    }

    /// The index of the cheapest deviation at a level, and its cost; the first where there is no
    /// such level.
    pub fn best(&self, level: usize) -> (usize, f64) {
        let costs = self.nats.outer_iter().nth(level);
        let costs = costs.into_iter().flatten().copied().enumerate();
        let least = costs.min_by(|a, b| a.1.total_cmp(&b.1));
        least.unwrap_or((0, f64::INFINITY))
    }
}

/// The sum of one row's costs for each deviation, added to `out` `share` times.
pub(super) fn add_row(
    (pixels, estimates): (impl Iterator<Item = f64>, impl Iterator<Item = f64>),
    (bins, deviations): (usize, &[f64]),
    share: f64,
    out: &mut [f64],
) -> Result<(), Error> {
    let last = (bins - 1) as f64;
    for (pixel, estimate) in pixels.zip(estimates) {
        // The value itself: rounding in f32 may have led beyond ±1.
        let pixel = (2.0 * place_of(pixel, bins).round_ties_even() / last - 1.0).clamp(-1.0, 1.0);
        for (sum, &deviation) in out.iter_mut().zip(deviations) {
            *sum += share * discretised_gaussian_nats(pixel, estimate, deviation, bins)?;
        }
    }
    Ok(())
}

/// Refuses values that are not among `bins` even ones from −1 to 1: the masses of all bins would
/// not add up to 1.
pub(super) fn require_pixels(values: impl Iterator<Item = f64>, bins: usize) -> Result<(), Error> {
    for (index, value) in values.enumerate() {
        let place = place_of(value, bins);
        let rounded = place.round_ties_even();
        if !((place - rounded).abs() <= OFF_GRID && (0.0..=(bins - 1) as f64).contains(&rounded)) {
            return Err(Error::InvalidEntry {
                name: "pixels",
                index,
                value,
                requirement: "one of the evenly spaced values from -1 to 1",
            });
        }
    }
    Ok(())
}

/// Where a value lies among the bins, from 0.
fn place_of(value: f64, bins: usize) -> f64 {
    (value + 1.0) / 2.0 * (bins - 1) as f64
}

/// How far a value may lie from its bin's middle, in bins: more than f32 makes of 65536
/// values.
const OFF_GRID: f64 = 1e-2;

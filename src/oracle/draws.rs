//! Points of a data law, with the same bits on every machine.

use ndarray::Array2;
use rand::Rng;

use crate::error::{Error, require_size};

/// Points drawn from a [`GaussianMixture`](crate::oracle::GaussianMixture) or an [`Empirical`](crate::oracle::Empirical) data set, and
/// where each came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Draws {
    /// The points, shape \[count, d\].
    pub points: Array2<f64>,
    /// The component, or the row of the data set, that each point was drawn from.
    pub components: Vec<usize>,
    /// The label of each point.
    pub labels: Vec<usize>,
}

impl Draws {
    /// `count` times: choose a component, then fill a row from it.
    pub(super) fn collect<R: Rng + ?Sized>(
        (count, dim): (usize, usize),
        labels: &[usize],
        rng: &mut R,
        mut choose: impl FnMut(&mut R) -> usize,
        mut fill: impl FnMut(usize, &mut R, &mut [f64]),
    ) -> Result<Self, Error> {
        let mut components = Vec::new();
        let points = with_rows(count, dim, |_, row| {
            let component = choose(rng);
            components.push(component);
            fill(component, rng, row);
        })?;
        let labels = components.iter().map(|&k| labels[k]).collect();
        Ok(Self {
            points,
            components,
            labels,
        })
    }
}

/// An array of shape \[count, dim\], filled row by row.
pub(super) fn with_rows(
    count: usize,
    dim: usize,
    mut fill: impl FnMut(usize, &mut [f64]),
) -> Result<Array2<f64>, Error> {
    require_size::<f64>(&[count, dim])?;
    let mut points = Array2::zeros((count, dim));
    // A fresh array is contiguous: the slice is always there.
    if let Some(values) = points.as_slice_mut() {
        for (index, row) in values.chunks_exact_mut(dim).enumerate() {
            fill(index, row);
        }
    }
    Ok(points)
}

/// One standard normal by Box and Muller's formula. `rand_distr`'s ziggurat calls the platform's `exp` and `ln`, whose
/// last bits differ between platforms.
pub(super) fn normal<R: Rng + ?Sized>(rng: &mut R) -> f64 {
    let (u, angle): (f64, f64) = (rng.random(), rng.random());
    // u lies in [0, 1), so that 1 − u is never 0.
    (-2.0 * libm::log(1.0 - u)).sqrt() * libm::cos(std::f64::consts::TAU * angle)
}

//! Weighted points that stand for a distribution.

use crate::error::Error;
use crate::memory::{self, Listed};
use ndarray::Array2;

use super::REACH;

/// Weighted points: the expectation of f is Σ w_i f(x_i).
#[derive(Clone, Debug)]
pub(super) struct Points {
    /// \[n, d\].
    pub(super) x: Array2<f64>,
    pub(super) weights: Vec<f64>,
    pub(super) source: Source,
}

/// Whose images the points are.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// In order, of an even grid in one dimension that carries a density; its spacing.
    Even(f64),
    /// In order, of the nodes z of panels: x_T = `deviation`·z ~ N(0, `deviation`²); with the
    /// slopes dx/dx_T.
    Panels {
        z: Vec<f64>,
        slopes: Vec<f64>,
        deviation: f64,
    },
    /// Of nothing that has an order.
    Scattered,
}

/// Weights below this share are left out of products of grids.
pub(super) const NEGLIGIBLE: f64 = 1e-22;

/// The standard normal density.
pub(super) fn normal(z: f64) -> f64 {
    0.398_942_280_401_432_7 * libm::exp(-0.5 * z * z)
}

impl Points {
    /// N(0, `deviation`² I) by the trapezoid rule with this many intervals along an axis.
    pub(super) fn of_normal(dim: usize, intervals: usize, deviation: f64) -> Result<Self, Error> {
        if deviation == 0.0 {
            return Ok(Self {
                x: Array2::zeros((1, dim)),
                weights: vec![1.0],
                source: Source::Scattered,
            });
        }
        let spacing = 2.0 * REACH / intervals as f64;
        let half = (intervals / 2) as f64;
        let nodes: Vec<(f64, f64)> = (0..=intervals)
            .map(|i| {
                let z = spacing * (i as f64 - half);
                (deviation * z, spacing * normal(z))
            })
            .listed()?;
        if dim == 1 {
            let x = nodes.iter().map(|node| node.0).listed()?;
            let weights = nodes.iter().map(|node| node.1).listed()?;
            let x: Vec<f64> = x;
            return Ok(Self {
                x: memory::square_of((x.len(), 1), |(i, _)| x[i])?,
                weights,
                source: Source::Even(deviation * spacing),
            });
        }
        product(&nodes, &nodes, |i, j| nodes[i].1 * nodes[j].1)
    }
}

/// The points of two axes' grids, with the weights that count.
pub(super) fn product(
    first: &[(f64, f64)],
    second: &[(f64, f64)],
    weight: impl Fn(usize, usize) -> f64,
) -> Result<Points, Error> {
    let (mut x, mut weights): (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
    for (i, a) in first.iter().enumerate() {
        for (j, b) in second.iter().enumerate() {
            let w = weight(i, j);
            if w > NEGLIGIBLE {
                memory::append(&mut x, &[a.0, b.0])?;
                memory::push(&mut weights, w)?;
            }
        }
    }
    Ok(Points {
        x: Array2::from_shape_vec((weights.len(), 2), x).map_err(|_| memory::too_large(&[0]))?,
        weights,
        source: Source::Scattered,
    })
}

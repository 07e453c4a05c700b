//! Noise added to weighted points: the new density on an even grid.

use crate::error::Error;
use crate::memory::{self, Listed};
use ndarray::Array2;

use super::REACH;
use super::points::{NEGLIGIBLE, Points, Source, product};

/// An even grid.
#[derive(Clone, Copy, Debug)]
struct Grid {
    first: f64,
    spacing: f64,
    intervals: usize,
}

/// Why there is no density on a new grid.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum NoDensity {
    /// The grid has too wide a spacing for the noise: how many intervals would be as wide as it.
    TooCoarse(usize),
    /// There is no memory for it.
    Refused(Error),
}

impl From<Error> for NoDensity {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl Grid {
    /// The grid that holds the points along one axis, with their noise. Its spacing is at most two
    /// deviations of the noise: nodes further apart would see little of it, or nothing at all.
    fn around(
        points: &Points,
        axis: usize,
        noise: f64,
        intervals: usize,
    ) -> Result<Self, NoDensity> {
        let heaviest = points.weights.iter().fold(0.0, |w: f64, v| w.max(*v));
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for (x, w) in points.x.column(axis).iter().zip(&points.weights) {
            if *w > 1e-20 * heaviest {
                (low, high) = (low.min(*x), high.max(*x));
            }
        }
        let reach = REACH * noise;
        let width = high - low + 2.0 * reach;
        let spacing = width / intervals as f64;
        if spacing > 2.0 * noise {
            return Err(NoDensity::TooCoarse((width / noise).ceil() as usize));
        }
        Ok(Self {
            first: low - reach,
            spacing,
            intervals,
        })
    }

    /// About how many nodes are within reach of a point.
    fn within_reach(&self, noise: f64) -> f64 {
        (2.0 * REACH * noise / self.spacing).min(self.intervals as f64)
    }

    fn at(&self, index: usize) -> f64 {
        self.first + self.spacing * index as f64
    }

    /// Σ of the density N(y; `centre`, `noise`²) times the spacing, given to `add` at every node
    /// within reach.
    ///
    /// From node to node the density's ratio changes by one factor, so that a node costs two
    /// products and no exponential.
    fn kernel(&self, centre: f64, noise: f64, mut add: impl FnMut(usize, f64)) {
        let reach = REACH * noise;
        let last = self.intervals as f64;
        let low = ((centre - reach - self.first) / self.spacing)
            .ceil()
            .max(0.0);
        let high = ((centre + reach - self.first) / self.spacing)
            .floor()
            .min(last);
        let middle = ((centre - self.first) / self.spacing).round();
        if !(low <= high && middle.is_finite()) {
            return;
        }
        let middle = middle.clamp(low, high) as usize;
        let (low, high) = (low as usize, high as usize);
        let offset = (self.at(middle) - centre) / noise;
        let step = self.spacing / noise;
        let top = step * super::points::normal(offset);
        let change = libm::exp(-step * step);
        let mut walk = |sign: f64, nodes: &mut dyn Iterator<Item = usize>| {
            let mut ratio = libm::exp(-step * (sign * offset + 0.5 * step));
            let mut value = top;
            for node in nodes {
                value *= ratio;
                ratio *= change;
                add(node, value);
            }
        };
        walk(1.0, &mut (middle + 1..=high));
        walk(-1.0, &mut (low..middle).rev());
        add(middle, top);
    }

    fn nodes(&self) -> Result<Vec<(f64, f64)>, Error> {
        (0..=self.intervals).map(|i| (self.at(i), 0.0)).listed()
    }
}

/// Points, and how many products it took to make them.
pub(super) type Spread<T> = Result<(T, f64), NoDensity>;

/// The points after noise of this deviation, on a new grid.
pub(super) fn spread(points: &Points, noise: f64, intervals: usize) -> Spread<Points> {
    let first = Grid::around(points, 0, noise, intervals)?;
    let mut work = points.weights.len() as f64 * first.within_reach(noise);
    if points.x.ncols() == 1 {
        let mut weights = memory::repeated(0.0, intervals + 1)?;
        for (x, w) in points.x.iter().zip(&points.weights) {
            first.kernel(*x, noise, |node, share| weights[node] += w * share);
        }
        let spread = Points {
            x: memory::square_of((intervals + 1, 1), |(i, _)| first.at(i))?,
            weights,
            source: Source::Even(first.spacing),
        };
        return Ok((spread, work));
    }
    let second = Grid::around(points, 1, noise, intervals)?;
    work *= second.within_reach(noise);
    let columns = intervals + 1;
    let mut weights = memory::repeated(0.0, columns * columns)?;
    let mut row = memory::reserve(&[columns])?;
    for (x, w) in points.x.rows().into_iter().zip(&points.weights) {
        row.clear();
        second.kernel(x[1], noise, |node, share| row.push((node, share)));
        first.kernel(x[0], noise, |node, share| {
            let base = &mut weights[node * columns..(node + 1) * columns];
            for &(column, other) in &row {
                base[column] += w * share * other;
            }
        });
    }
    let spread = product(&first.nodes()?, &second.nodes()?, |i, j| {
        weights[i * columns + j]
    })?;
    Ok((spread, work))
}

/// The same where a history slot outlives the noise: the joint of the new state and the slot, and
/// what the slot holds at each of its points. Points whose slots hold the same are taken together.
pub(super) fn spread_joint(
    points: &Points,
    slot: &Array2<f64>,
    noise: f64,
    intervals: usize,
) -> Spread<(Points, Array2<f64>)> {
    let grid = Grid::around(points, 0, noise, intervals)?;
    let work = points.weights.len() as f64 * grid.within_reach(noise);
    let mut order: Vec<usize> = (0..points.weights.len()).listed()?;
    let held = |i: usize| slot[[i, 0]];
    order.sort_unstable_by(|&a, &b| held(a).total_cmp(&held(b)));
    let (mut x, mut weights, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    let mut density = memory::repeated(0.0, intervals + 1)?;
    for class in order.chunk_by(|&a, &b| held(a) == held(b)) {
        density.fill(0.0);
        for &i in class {
            let w = points.weights[i];
            grid.kernel(points.x[[i, 0]], noise, |node, share| {
                density[node] += w * share;
            });
        }
        for (node, &w) in density.iter().enumerate() {
            if w > NEGLIGIBLE {
                memory::push(&mut x, [grid.at(node)])?;
                memory::push(&mut weights, w)?;
                memory::push(&mut kept, [held(class[0])])?;
            }
        }
    }
    let points = Points {
        x: x.into(),
        weights,
        source: Source::Scattered,
    };
    Ok(((points, kept.into()), work))
}

//! Distances to the truth in one dimension.

use super::mixture::Line;
use super::panels::tails;
use super::points::{Points, Source};
use crate::error::Error;
use crate::level::NoiseLevel;
use crate::memory::Listed;
use crate::oracle::{GaussianMixture, Oracle};

/// Weights below this share decide nothing of a distance.
const NEGLIGIBLE: f64 = 1e-18;

/// W₁ and W₂ by the coupling of quantiles.
pub(super) fn distances(points: &Points, line: &Line) -> Result<[f64; 2], Error> {
    let x: Vec<f64> = points.x.iter().copied().listed()?;
    let w = &points.weights;
    let mut order: Vec<usize> = (0..w.len()).listed()?;
    order.sort_unstable_by(|&a, &b| x[a].total_cmp(&x[b]).then(a.cmp(&b)));
    let masses = masses_beside(points, &order)?;
    let (mut first, mut second, mut guess) = (0.0, 0.0, f64::NEG_INFINITY);
    for (&i, (below, above)) in order.iter().zip(masses) {
        if w[i] <= NEGLIGIBLE || below <= 0.0 || above <= 0.0 {
            continue;
        }
        guess = line.quantile(below, above, guess);
        let miss = (x[i] - guess).abs();
        first += w[i] * miss;
        second += w[i] * miss * miss;
    }
    Ok([first, second.sqrt()])
}

/// The mass below and above each point, in the order of their values: that of the source, exactly,
/// where the map rises, and sums of weights otherwise.
fn masses_beside(points: &Points, order: &[usize]) -> Result<Vec<(f64, f64)>, Error> {
    let w = &points.weights;
    // Where nothing weighs, rounding may exchange neighbours.
    let heavy = order.iter().filter(|i| w[**i] > NEGLIGIBLE);
    let rises = heavy.clone().zip(heavy.skip(1)).all(|(a, b)| a < b);
    Ok(match &points.source {
        Source::Panels { z, .. } if rises => order.iter().map(|&i| tails(z[i])).listed()?,
        Source::Even(_) if rises => cumulated(w, order, |i| beyond_half(w, i))?,
        _ => cumulated(w, order, |_| 0.0)?,
    })
}

/// Mass up to a node beyond half of its own: Euler and Maclaurin's next two terms, on an even grid.
fn beyond_half(w: &[f64], i: usize) -> f64 {
    let at = |by: isize| {
        let index = i.checked_add_signed(by);
        index.and_then(|index| w.get(index)).copied().unwrap_or(0.0)
    };
    let third = at(2) - 2.0 * at(1) + 2.0 * at(-1) - at(-2);
    (at(-1) - at(1)) / 24.0 + third / 1440.0
}

fn cumulated(
    w: &[f64],
    order: &[usize],
    beyond: impl Fn(usize) -> f64,
) -> Result<Vec<(f64, f64)>, Error> {
    let mut masses = crate::memory::repeated((0.0, 0.0), order.len())?;
    let mut sum = 0.0;
    for (&i, (below, _)) in order.iter().zip(&mut masses) {
        *below = sum + 0.5 * w[i] + beyond(i);
        sum += w[i];
    }
    sum = 0.0;
    for (&i, (_, above)) in order.iter().zip(&mut masses).rev() {
        *above = sum + 0.5 * w[i] - beyond(i);
        sum += w[i];
    }
    Ok(masses)
}

/// KL of the image of a smooth density in one dimension: the source's density over the map's slope.
/// `None` where there is no such source, or the map falls.
pub(super) fn divergence(
    points: &Points,
    truth: &GaussianMixture,
    level: &NoiseLevel,
) -> Result<Option<f64>, Error> {
    let (x, w) = (points.x.column(0), &points.weights);
    let mut sum = 0.0;
    for i in 0..w.len() {
        if w[i] <= NEGLIGIBLE {
            continue;
        }
        let (log_source, slope) = match &points.source {
            Source::Scattered => return Ok(None),
            Source::Even(spacing) => match even_slope(i, w.len(), |i| x[i]) {
                Some(slope) => (libm::log(w[i] / spacing), slope / spacing),
                None => continue,
            },
            Source::Panels {
                z,
                slopes,
                deviation,
            } => {
                let log = -0.5 * (z[i] * z[i] + crate::special::LOG_TAU);
                (log - libm::log(*deviation), slopes[i])
            }
        };
        if slope.is_nan() || slope <= 0.0 {
            return Ok(None);
        }
        let log_density = log_source - libm::log(slope);
        sum += w[i] * (log_density - truth.log_density(&[x[i]], level)?);
    }
    Ok(Some(sum))
}

/// Central differences of eighth order; `None` at the ends.
fn even_slope(i: usize, len: usize, x: impl Fn(usize) -> f64) -> Option<f64> {
    const SLOPE: [f64; 4] = [4.0 / 5.0, -1.0 / 5.0, 4.0 / 105.0, -1.0 / 280.0];
    if i < 4 || i + 4 >= len {
        return None;
    }
    let pairs = SLOPE.iter().zip(1..);
    Some(pairs.map(|(c, k)| c * (x(i + k) - x(i - k))).sum())
}

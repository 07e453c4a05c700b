//! Where a fit begins: clusters of the rows.

use crate::error::Error;
use crate::linalg::squared_distance;
use crate::memory::Listed;
use crate::noise::{KeyedNoise, NoiseKey, Stream};

/// Rounds of Lloyd's algorithm after the seeding.
const LLOYD: usize = 5;

/// Clusters of rows from keyed starts.
pub(super) struct Starts<'r> {
    rows: &'r [f64],
    dim: usize,
    count: usize,
    noise: KeyedNoise,
}

impl<'r> Starts<'r> {
    pub(super) fn new(rows: &'r [f64], dim: usize, count: usize, seed: u64) -> Self {
        Self {
            rows,
            dim,
            count,
            noise: KeyedNoise::new(seed),
        }
    }

    /// The cluster of each row in start number `start`.
    pub(super) fn assign(&self, start: u64) -> Result<Vec<usize>, Error> {
        let mut centres = self.seeds(start)?;
        let mut clusters = self.nearest(&centres)?;
        for _ in 0..LLOYD {
            self.recentre(&clusters, &mut centres)?;
            let next = self.nearest(&centres)?;
            if next == clusters {
                break;
            }
            clusters = next;
        }
        Ok(clusters)
    }

    fn each(&self) -> impl Iterator<Item = &'r [f64]> {
        self.rows.chunks_exact(self.dim)
    }

    /// k-means++: each next centre is a row, drawn with a chance proportional to its squared distance
    /// from the nearest centre so far.
    fn seeds(&self, start: u64) -> Result<Vec<f64>, Error> {
        let mut chances = crate::memory::repeated(1.0, self.rows.len() / self.dim)?;
        let mut centres = crate::memory::reserve(&[self.count * self.dim])?;
        for centre in 0..self.count {
            let row = drawn(&chances, self.uniform(start, centre as u32));
            let row = &self.rows[row * self.dim..(row + 1) * self.dim];
            centres.extend_from_slice(row);
            for (chance, other) in chances.iter_mut().zip(self.each()) {
                let distance = squared_distance(other, 1.0, row);
                *chance = if centre == 0 {
                    distance
                } else {
                    chance.min(distance)
                };
            }
        }
        Ok(centres)
    }

    /// A number in 0..1: the normal distribution function of a keyed normal.
    fn uniform(&self, start: u64, centre: u32) -> f64 {
        let mut z = [0.0];
        let key = NoiseKey::new(start, centre, Stream::User(0));
        self.noise.fill_row(key, &mut z);
        0.5 * libm::erfc(-z[0] * std::f64::consts::FRAC_1_SQRT_2)
    }

    fn nearest(&self, centres: &[f64]) -> Result<Vec<usize>, Error> {
        let closest = |row| {
            let distances = centres
                .chunks_exact(self.dim)
                .map(|centre| squared_distance(row, 1.0, centre));
            let best = distances.enumerate().min_by(|a, b| a.1.total_cmp(&b.1));
            best.map_or(0, |(k, _)| k)
        };
        self.each().map(closest).listed()
    }

    /// Moves each centre to the mean of its rows; one without rows stays.
    fn recentre(&self, clusters: &[usize], centres: &mut [f64]) -> Result<(), Error> {
        let d = self.dim;
        let mut sums = crate::memory::repeated(0.0, centres.len())?;
        let mut sizes = crate::memory::repeated(0.0, self.count)?;
        for (row, &k) in self.each().zip(clusters) {
            sizes[k] += 1.0;
            for (sum, x) in sums[k * d..(k + 1) * d].iter_mut().zip(row) {
                *sum += x;
            }
        }
        let places = centres.chunks_exact_mut(d).zip(sums.chunks_exact(d));
        for ((centre, sum), size) in places.zip(sizes).filter(|(_, size)| *size > 0.0) {
            for (c, s) in centre.iter_mut().zip(sum) {
                *c = s / size;
            }
        }
        Ok(())
    }
}

/// The index at which the running sum of the chances passes `u` of their total; where all are 0 (the
/// rows are fewer different points than centres) the first.
fn drawn(chances: &[f64], u: f64) -> usize {
    let mut left = u * chances.iter().sum::<f64>();
    for (index, chance) in chances.iter().enumerate() {
        left -= chance;
        if left < 0.0 {
            return index;
        }
    }
    chances.iter().position(|chance| *chance > 0.0).unwrap_or(0)
}

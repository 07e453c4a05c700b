//! The terrain network of adaptive-terrain-diffusion, on its own size and in tiles.
//!
//! The network is a consistency model, distilled to one step: at any of EDM's levels it gives the
//! data, not the mean of the data. A run is one step, from a level to the clean end.

use std::f64::consts::TAU;

use diffusion_sampler::ndarray::{Array2, Array4, ArrayRef, Axis, Ix4, s};
use diffusion_sampler::schedule::{Edm, NoiseSchedule};
use diffusion_sampler::solver::FirstOrder;
use diffusion_sampler::{Denoiser, Error, Grid, NoiseLevel, Prediction, Query, Sampler};

use crate::graph::{Graph, Input};

/// Rows and columns of the network's own size.
pub const SIZE: usize = 128;

/// The most terrains of one call.
const BATCH: usize = 16;

/// The level of a strength from 0 to 1: σ_min at 0, σ_max at 1, and geometric between.
///
/// # Errors
///
/// Of a strength beyond that.
pub fn level(strength: f64) -> Result<NoiseLevel, Error> {
    Edm::default().level(0.002 * (80.0_f64 / 0.002).powf(strength))
}

/// One step, from the level of a strength to the clean end.
///
/// # Errors
///
/// As [`level`], and of strength 0.
pub fn sampler(strength: f64) -> Result<Sampler, Error> {
    let schedule = Edm::default();
    let grid = Grid::from_times(&schedule, &[schedule.last_time(), 0.0])?;
    let grid = grid.starting_at(&schedule, level(strength)?)?;
    Sampler::new(&schedule, &grid, &FirstOrder::ddim())
}

/// The network, for terrains \[n, 1, 128, 128\].
#[derive(Clone, Debug)]
pub struct Terrain<G> {
    graph: G,
    conditions: Vec<f32>,
}

impl<G: Graph> Terrain<G> {
    /// Joins the graph to the difficulty of each terrain, or one for all.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEntry`] unless each is 1 to 100.
    pub fn new(graph: G, difficulties: &[u8]) -> Result<Self, Error> {
        let beyond = |difficulty: &u8| !(1..=100).contains(difficulty);
        let beyond = difficulties
            .iter()
            .enumerate()
            .find(|(_, value)| beyond(value));
        if let Some((index, value)) = beyond {
            return Err(Error::InvalidEntry {
                name: "difficulties",
                index,
                value: f64::from(*value),
                requirement: "1 to 100",
            });
        }
        // The network knows them as numbers from 0 to 1.
        let condition = |difficulty: &u8| ((f64::from(*difficulty) - 1.0) / 99.0) as f32;
        let conditions = difficulties.iter().map(condition).collect();
        Ok(Self { graph, conditions })
    }

    /// The network's answer for windows of which terrains.
    fn answer(
        &mut self,
        noisy: &ArrayRef<f32, Ix4>,
        query: &Query<'_>,
        of: &[usize],
        out: &mut ArrayRef<f32, Ix4>,
    ) -> Result<(), G::Error> {
        let sigma = |terrain: &usize| query.level_of(*terrain).map(|level| level.sigma() as f32);
        let condition = |terrain: &usize| match self.conditions.as_slice() {
            [one] => Some(*one),
            many => many.get(*terrain).copied(),
        };
        // Where one is missing, the runtime says so: the sizes do not agree.
        let inputs = [
            Input::array("noisy", noisy),
            Input::rows("sigma", of.iter().filter_map(sigma).collect()),
            Input::rows("difficulty", of.iter().filter_map(condition).collect()),
        ];
        self.graph.run(&inputs, "denoised", out)
    }
}

impl<G: Graph> Denoiser<f32, Ix4> for Terrain<G> {
    type Error = G::Error;

    fn prediction(&self) -> Prediction {
        Prediction::Data
    }

    fn outputs(&self) -> Option<usize> {
        Some(1)
    }

    fn denoise(
        &mut self,
        x: &ArrayRef<f32, Ix4>,
        query: &Query<'_>,
        out: &mut ArrayRef<f32, Ix4>,
    ) -> Result<(), G::Error> {
        let terrains: Vec<usize> = (0..x.len_of(Axis(0))).collect();
        let parts = x.axis_chunks_iter(Axis(0), BATCH);
        let outs = out.axis_chunks_iter_mut(Axis(0), BATCH);
        for ((part, mut out), of) in parts.zip(outs).zip(terrains.chunks(BATCH)) {
            self.answer(&part, query, of, &mut out)?;
        }
        Ok(())
    }
}

/// The network for terrains of any greater size: it denoises overlapping windows of one noisy state,
/// and its answers are averaged with the weights of a Hann window.
#[derive(Clone, Debug)]
pub struct Tiled<G> {
    /// The network for one window.
    pub terrain: Terrain<G>,
    /// By how many rows and columns neighbouring windows overlap, below [`SIZE`].
    pub overlap: usize,
}

impl<G: Graph> Denoiser<f32, Ix4> for Tiled<G> {
    type Error = G::Error;

    fn prediction(&self) -> Prediction {
        Prediction::Data
    }

    fn outputs(&self) -> Option<usize> {
        Some(1)
    }

    fn denoise(
        &mut self,
        x: &ArrayRef<f32, Ix4>,
        query: &Query<'_>,
        out: &mut ArrayRef<f32, Ix4>,
    ) -> Result<(), G::Error> {
        let (terrains, _, rows, columns) = x.dim();
        if rows < SIZE || columns < SIZE {
            // The runtime says that this is no size of the network's.
            return self.terrain.denoise(x, query, out);
        }
        let (down, across) = (self.starts(rows), self.starts(columns));
        let row = |terrain, top| across.iter().map(move |left| (terrain, top, *left));
        let all = |terrain| down.iter().flat_map(move |top| row(terrain, *top));
        let windows: Vec<_> = (0..terrains).flat_map(all).collect();

        let weights = weights();
        let mut sums = Array4::<f32>::zeros((1, 1, rows, columns));
        out.fill(0.0);
        for &(_, top, left) in windows.iter().filter(|window| window.0 == 0) {
            let mut sum = sums.slice_mut(s![0, 0, top..top + SIZE, left..left + SIZE]);
            sum += &weights;
        }
        for windows in windows.chunks(BATCH) {
            let mut noisy = Array4::zeros((windows.len(), 1, SIZE, SIZE));
            let mut answer = noisy.clone();
            let of: Vec<usize> = windows.iter().map(|window| window.0).collect();
            for (mut noisy, &(of, top, left)) in noisy.outer_iter_mut().zip(windows) {
                noisy.assign(&x.slice(s![of, .., top..top + SIZE, left..left + SIZE]));
            }
            self.terrain.answer(&noisy, query, &of, &mut answer)?;
            for (answer, &(of, top, left)) in answer.outer_iter().zip(windows) {
                let mut sum = out.slice_mut(s![of, .., top..top + SIZE, left..left + SIZE]);
                sum += &(&answer * &weights);
            }
        }
        *out /= &*sums;
        Ok(())
    }
}

impl<G> Tiled<G> {
    /// Where the windows begin along an axis: the last one ends where the axis ends.
    fn starts(&self, length: usize) -> Vec<usize> {
        let last = length.saturating_sub(SIZE);
        let stride = SIZE.saturating_sub(self.overlap).max(1);
        let inner = (0..last).step_by(stride);
        inner.chain([last]).collect()
    }
}

/// The Hann window of 128 points, along rows times along columns, and never quite 0.
fn weights() -> Array2<f32> {
    let hann = |i: usize| 0.5 - 0.5 * (TAU * i as f64 / (SIZE - 1) as f64).cos();
    let hann = |i| (hann(i) as f32).max(1e-3);
    Array2::from_shape_fn((SIZE, SIZE), |(i, j)| hann(i) * hann(j))
}

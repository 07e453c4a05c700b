//! Noise from any `rand` generator.

use rand::Rng;

use super::normal::{Block, Drawn, LANES, ROWS_F32, ROWS_F64};
use super::{NoiseKey, NoiseSource, NormalElement};
use crate::simd::dispatch_wide;

/// Noise from a `rand` generator, in the order in which it is asked for.
///
/// The generator's words take the place of [`KeyedNoise`](super::KeyedNoise)'s; the normals made of them are as exact
/// and nearly as fast. The key is ignored, so a sample depends on all the noise that was asked for before it: on the
/// batch, the order and the number of steps. Use `KeyedNoise` where that must not be.
///
/// Normals are made 64 (`f32`) or 32 (`f64`) at a time out of 32 `u64`, and kept until they are asked for: how they
/// are asked for, one by one or all at once, changes nothing. Each element type has normals kept for itself. A clone
/// of a generator that can be cloned goes on as the original does.
///
/// With `&mut rng` a generator can be shared, here with ndarray-rand; what of the last block was not asked for is then
/// dropped:
///
/// ```
/// use diffusion_sampler::noise::{NoiseKey, NoiseSource, RngNoise, Stream};
/// use ndarray::Array2;
/// use ndarray_rand::{RandomExt, rand_distr::Uniform};
/// use rand::{SeedableRng, rngs::StdRng};
///
/// let mut rng = StdRng::seed_from_u64(7);
/// let data = Array2::random_using((4, 3), Uniform::new(-1.0f32, 1.0)?, &mut rng);
/// let mut noise = Array2::<f32>::zeros(data.raw_dim());
/// let mut source = RngNoise::new(&mut rng);
/// for (row, mut out) in (0..).zip(noise.rows_mut()) {
///     let key = NoiseKey { row, step: 0, stream: Stream::Forward };
///     source.fill(key, 0, out.as_slice_mut().expect("rows of a new array are contiguous"));
/// }
/// let later = Array2::random_using((4, 3), Uniform::new(-1.0f32, 1.0)?, &mut rng);
/// assert_ne!(data, later);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct RngNoise<R> {
    rng: R,
    buffers: Buffers,
}

impl<R: Rng> RngNoise<R> {
    /// Noise from `rng`.
    pub fn new(rng: R) -> Self {
        Self {
            rng,
            buffers: Buffers::default(),
        }
    }
}

impl<A: NormalElement, R: Rng> NoiseSource<A> for RngNoise<R> {
    fn fill(&mut self, _key: NoiseKey, _first: u64, out: &mut [A]) {
        A::drawn(&mut self.rng, &mut self.buffers, out);
    }
}

/// The normals that were made and not yet asked for.
#[derive(Clone, Debug, Default)]
pub struct Buffers {
    pub(super) singles: Buffer<f32, ROWS_F32>,
    pub(super) doubles: Buffer<f64, ROWS_F64>,
}

/// The last block of normals of one element type.
#[derive(Clone, Debug)]
pub(super) struct Buffer<A, const ROWS: usize> {
    block: [[A; LANES]; ROWS],
    used: usize,
}

impl<A: Block<ROWS>, const ROWS: usize> Default for Buffer<A, ROWS> {
    fn default() -> Self {
        Self {
            block: [[A::default(); LANES]; ROWS],
            used: ROWS * LANES,
        }
    }
}

impl<A: Block<ROWS>, const ROWS: usize> Buffer<A, ROWS> {
    /// Writes the next normals to `out`: those that are left, then whole blocks in place, then part of a new one.
    pub(super) fn fill<R: Rng>(&mut self, rng: &mut R, out: &mut [A]) {
        let out = self.take(out);
        let (lanes, rest) = out.as_chunks_mut::<LANES>();
        let (blocks, rows) = lanes.as_chunks_mut::<ROWS>();
        for block in blocks {
            draw(rng, block);
        }
        if rows.is_empty() && rest.is_empty() {
            return;
        }
        draw(rng, &mut self.block);
        self.used = 0;
        self.take(rows.as_flattened_mut());
        self.take(rest);
    }

    /// Writes what is left to the front of `out`; returns the part that is still wanted.
    fn take<'a>(&mut self, out: &'a mut [A]) -> &'a mut [A] {
        let left = &self.block.as_flattened()[self.used..];
        let (taken, wanted) = out.split_at_mut(left.len().min(out.len()));
        taken.copy_from_slice(&left[..taken.len()]);
        self.used += taken.len();
        wanted
    }
}

fn draw<A: Block<ROWS>, const ROWS: usize>(rng: &mut impl Rng, out: &mut [[A; LANES]; ROWS]) {
    let mut words = [[0; LANES]; 2];
    for word in words.as_flattened_mut() {
        *word = rng.next_u64();
    }
    dispatch_wide(Drawn { words: &words, out });
}

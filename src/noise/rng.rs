//! Noise from any `rand` generator.

use rand::Rng;

use super::buffers::Buffers;
use super::{NoiseKey, NoiseSource, NormalElement};

/// Noise from a `rand` generator, in the order of the requests.
///
/// The generator's words take the place of [`KeyedNoise`](super::KeyedNoise)'s; the normals made of
/// them are as exact and nearly as fast. The key is ignored, so a sample depends on all the noise
/// that was requested before it: on the batch, the order and the number of steps. Use `KeyedNoise`
/// where that must not be.
///
/// Normals are made 64 (`f32`) or 32 (`f64`) at a time out of 32 `u64`, and kept until they are
/// asked for: how they are asked for, one by one or all at once, changes nothing. Each element type
/// has normals kept for itself. A clone of a generator that can be cloned goes on as the original
/// does.
///
/// With `&mut rng` a generator can be shared, here with ndarray-rand; what of the last block was
/// not asked for is then dropped:
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
///     let key = NoiseKey::new(row, 0, Stream::Forward);
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

    fn reads_intervals(&self) -> bool {
        false
    }
}

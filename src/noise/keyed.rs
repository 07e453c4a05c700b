//! Noise as a pure function of its key.

use super::fingerprint::{self, Fingerprint};
use super::{NoiseKey, NoiseSource, NormalElement, PureNoise, Stream, batch};
use crate::error::{Error, require};

/// Noise as a pure function of (seed, sample, step, element, stream), so that batch size, order and
/// sharding never change a sample.
///
/// The bits are those of Philox4x32-10 under a Box–Muller transform of the crate's own, the same on
/// every machine and at every SIMD level. The seed is Philox's key; sample, step, stream and the
/// place within the row make its counter, so that no two rows share one; the
/// [layout](crate::noise#the-layout-from-key-to-normal) can be reproduced elsewhere. Samples count
/// modulo 2⁵⁴. A row of more than 64 GiB is continued with the key of another seed. The `f32` and
/// `f64` normals of a row are different numbers made of the same words: do not use both where they
/// must be independent.
///
/// A shard that holds the samples n, n+1, … of a larger batch says so by
/// [`with_first_sample`](Self::with_first_sample); then its rows get the noise that they would have
/// had in the whole batch.
///
/// ```
/// use diffusion_sampler::{KeyedNoise, noise::{NoiseKey, NoiseSource, Stream}};
///
/// let (mut whole, mut shard) = (KeyedNoise::new(7), KeyedNoise::new(7).with_first_sample(3)?);
/// let (mut a, mut b) = ([0.0f32; 5], [0.0f32; 5]);
/// whole.fill(NoiseKey::new(3, 0, Stream::Start), 0, &mut a);
/// shard.fill(NoiseKey::new(0, 0, Stream::Start), 0, &mut b);
/// assert_eq!(a, b);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyedNoise {
    pub(super) seed: u64,
    pub(super) first_sample: u64,
}

impl KeyedNoise {
    /// The noise of a seed.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            first_sample: 0,
        }
    }

    /// The same noise for a batch whose row 0 is sample `index` of the whole.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless `index` < 2⁵³.
    pub fn with_first_sample(self, index: u64) -> Result<Self, Error> {
        require_sample("first_sample", index)?;
        Ok(Self {
            first_sample: index,
            ..self
        })
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Writes the first normals of the row `key` to `out`.
    ///
    /// ```
    /// use diffusion_sampler::{KeyedNoise, noise::{NoiseKey, Stream}};
    ///
    /// // The noise of sample 2 at step 11 of a run, in its first 100 elements.
    /// let mut z = [0.0f32; 100];
    /// KeyedNoise::new(7).fill_row(NoiseKey::new(2, 11, Stream::Step(0)), &mut z);
    /// ```
    pub fn fill_row<A: NormalElement>(&self, key: NoiseKey, out: &mut [A]) {
        self.draw(key, 0, out);
    }

    /// Writes the normals of a batch, `samples` rows of equal length one after the other, to `out`;
    /// `key` is that of the first row, and the others follow it.
    ///
    /// A run draws these: x_T is the deviation of the initial distribution times the rows of
    /// [`Stream::Start`] at step 0, and the noise of stage j of step k those of
    /// [`Stream::Step`]`(j)` at step k. Where tensors are not ndarray's, the same samples follow
    /// from these and the plan's scalars.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, KeyedNoise, Prediction, Sampler};
    /// use diffusion_sampler::noise::{NoiseKey, Stream};
    /// use diffusion_sampler::{schedule::TableSchedule, solver::FirstOrder};
    ///
    /// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    /// let grid = Grid::trailing(&schedule, 20)?;
    /// let sampler = Sampler::new(&schedule, &grid, &FirstOrder::ddpm())?;
    /// let noise = KeyedNoise::new(7);
    /// let run = sampler.start::<f32, _, _>((4, 10), Prediction::Noise, noise)?;
    ///
    /// let mut x = vec![0.0f32; 4 * 10];
    /// noise.fill_batch(NoiseKey::new(0, 0, Stream::Start), 4, &mut x)?;
    /// let deviation = sampler.start_variance().sqrt() as f32;
    /// assert!(x.iter().zip(run.state()).all(|(z, x)| deviation * z == *x));
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::WrongLength`] unless the length is a multiple of `samples`.
    pub fn fill_batch<A: NormalElement>(
        &self,
        key: NoiseKey,
        samples: usize,
        out: &mut [A],
    ) -> Result<(), Error> {
        let per_sample = batch::per_sample(samples, out.len())?;
        batch::fill(self, key, per_sample, out);
        Ok(())
    }

    /// The normals of a row, of one of 2¹⁰ streams. The first 514 are those of [`Stream`].
    #[inline]
    pub(super) fn row<A: NormalElement>(
        &self,
        row: u64,
        step: u32,
        stream: u32,
        first: u64,
        out: &mut [A],
    ) {
        let sample = self.first_sample.wrapping_add(row);
        // The counter's last three words: 54 bits of the sample, 32 of the step, 10 of the stream.
        // The first word counts within the row.
        let high = (sample >> 32) as u32 & ((1 << 22) - 1);
        let counter = [sample as u32, step, high | (stream << 22)];
        A::keyed(self.seed, counter, first, out);
    }
}

impl<A: NormalElement> PureNoise<A> for KeyedNoise {
    #[inline]
    fn draw(&self, key: NoiseKey, first: u64, out: &mut [A]) {
        let stream = match key.stream {
            Stream::Start => 0,
            Stream::Forward => 1,
            Stream::Step(n) => 2 + u32::from(n),
            Stream::User(n) => 258 + u32::from(n),
        };
        self.row(key.row, key.step, stream, first, out);
    }
}

impl<A: NormalElement> NoiseSource<A> for KeyedNoise {
    fn fill(&mut self, key: NoiseKey, first: u64, out: &mut [A]) {
        self.draw(key, first, out);
    }

    fn reads_intervals(&self) -> bool {
        false
    }

    fn as_pure(&self) -> Option<&dyn PureNoise<A>> {
        Some(self)
    }

    fn fingerprint(&self) -> Option<u64> {
        let of = Fingerprint::of_kind(fingerprint::KEYED);
        Some(of.word(self.seed).word(self.first_sample).value())
    }
}

/// Checks the number of a sample.
pub(super) fn require_sample(name: &'static str, index: u64) -> Result<(), Error> {
    require(index < 1 << 53, name, index as f64, "less than 2^53")
}

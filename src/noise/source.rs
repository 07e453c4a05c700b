//! What a source of noise must do.

use super::{Demand, NoiseKey, NormalElement, PureNoise, batch};
use crate::error::Error;

/// A source of standard normals.
///
/// The kernels ask for consecutive pieces of a row in ascending order, row after row.
pub trait NoiseSource<A> {
    /// Writes the normals of the elements `first..first + out.len()` of the row `key` to `out`.
    fn fill(&mut self, key: NoiseKey, first: u64, out: &mut [A]);

    /// Whether the source has noise for what is going to be asked; called when a run is started,
    /// and before a single step or call draws.
    ///
    /// [`fill`](Self::fill) cannot fail, so a source that has noise for some batches, steps or
    /// intervals only refuses the others here. The default accepts all.
    ///
    /// # Errors
    ///
    /// The source's own.
    fn check(&self, demand: &Demand<'_>) -> Result<(), Error> {
        let _ = demand;
        Ok(())
    }

    /// Whether the normals depend on the interval of the key, as those of a
    /// [`BrownianPath`](super::BrownianPath) do. Where positions along an axis step between levels of
    /// their own, such a source is asked for the elements of one interval at a time, and one that
    /// says no for whole blocks. The default is yes, which is always right.
    fn reads_intervals(&self) -> bool {
        true
    }

    /// This source as a pure function of the key, if it is one: the same bits, in any order and by
    /// any thread. Such a source implements [`PureNoise`] and returns `Some(self)`.
    ///
    /// Threads (feature `rayon`) ask the returned one instead of [`fill`](Self::fill). `None`, the
    /// default, leaves the noise to one thread.
    fn as_pure(&self) -> Option<&dyn PureNoise<A>> {
        None
    }

    /// A number that tells this source from others, where it can be told: two sources with the same
    /// one draw the same normals from here on. Snapshots carry it, so that a run does not go on
    /// with other noise.
    ///
    /// The crate's own sources have one: of their seeds and settings, and of the state of those
    /// that have one ([`TorchNoise`](super::TorchNoise)). The default, `None`, is of a source that
    /// cannot say which it is: a closure, a generator of `rand`.
    fn fingerprint(&self) -> Option<u64> {
        None
    }

    /// Writes the normals of a batch, `samples` rows of equal length one after the other, to `out`;
    /// `key` is that of the first row, and the others follow it.
    ///
    /// A run draws these: x_T is the deviation of the initial distribution times the rows of
    /// [`Stream::Start`](super::Stream::Start) at step 0, and a step's noise those of
    /// [`Stream::Step`](super::Stream::Step)`(stage)`, in the step's interval.
    ///
    /// ```
    /// use diffusion_sampler::{KeyedNoise, noise::{NoiseKey, NoiseSource, RngNoise, Stream}};
    /// use rand::{SeedableRng, rngs::StdRng};
    ///
    /// let mut noise = RngNoise::new(StdRng::seed_from_u64(7));
    /// let mut z = vec![0.0f32; 4 * 10];
    /// noise.fill_batch(NoiseKey::new(0, 0, Stream::Start), 4, &mut z)?;
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::WrongLength`] unless the length is a multiple of `samples`; what
    /// [`check`](Self::check) refuses. `out` is then as it was.
    fn fill_batch(&mut self, key: NoiseKey, samples: usize, out: &mut [A]) -> Result<(), Error>
    where
        A: NormalElement,
    {
        let per_sample = batch::per_sample(samples, out.len())?;
        self.check(&batch::demand(
            key,
            (samples, per_sample),
            key.interval.as_slice(),
        ))?;
        match self.as_pure() {
            Some(source) => batch::fill(source, key, per_sample, out),
            None => batch::rows(key, per_sample, 0, out, |key, first, row| {
                self.fill(key, first, row);
            }),
        }
        Ok(())
    }
}

/// A pointer to a source is a source.
macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<A, S: NoiseSource<A> + ?Sized> NoiseSource<A> for $pointer {
            fn fill(&mut self, key: NoiseKey, first: u64, out: &mut [A]) {
                (**self).fill(key, first, out);
            }

            fn check(&self, demand: &Demand<'_>) -> Result<(), Error> {
                (**self).check(demand)
            }

            fn reads_intervals(&self) -> bool {
                (**self).reads_intervals()
            }

            fn as_pure(&self) -> Option<&dyn PureNoise<A>> {
                (**self).as_pure()
            }

            fn fingerprint(&self) -> Option<u64> {
                (**self).fingerprint()
            }

            fn fill_batch(
                &mut self,
                key: NoiseKey,
                samples: usize,
                out: &mut [A],
            ) -> Result<(), Error>
            where
                A: NormalElement,
            {
                (**self).fill_batch(key, samples, out)
            }
        }
    )*};
}

forward!(&mut S, Box<S>);

/// A shared reference to a pure source is a source: one list of seeds for several runs.
impl<A, S: PureNoise<A> + ?Sized> NoiseSource<A> for &S {
    fn fill(&mut self, key: NoiseKey, first: u64, out: &mut [A]) {
        self.draw(key, first, out);
    }

    fn check(&self, demand: &Demand<'_>) -> Result<(), Error> {
        (**self).check(demand)
    }

    fn reads_intervals(&self) -> bool {
        (**self).reads_intervals()
    }

    fn as_pure(&self) -> Option<&dyn PureNoise<A>> {
        (**self).as_pure()
    }

    fn fingerprint(&self) -> Option<u64> {
        (**self).fingerprint()
    }
}

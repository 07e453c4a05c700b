//! A batch in which every sample has noise of its own.

use super::fingerprint::{self, Fingerprint};
use super::{Demand, KeyedNoise, NoiseKey, NoiseSource, NormalElement, PureNoise, SampleNoise};
use crate::error::{Error, require_length};

/// A batch in which every sample has noise of its own: requests of different users, each with its
/// seed, in one batch.
///
/// Row r of the batch is the r-th [`SampleNoise`] of the list. Every sample then comes out bit for
/// bit as in a run of its request alone, whatever the others are, wherever it stands, and whatever
/// step the batch was at when it joined; given a model whose answer for a sample does not depend on
/// the others either. Threads (feature `rayon`) change no bit.
///
/// A list whose length is not the batch's is refused when a run is started and before a single step
/// or call draws ([`Error::WrongLength`]), and so is a step before a sample has joined
/// ([`Error::StepBeforeJoining`]). Drawing such a row nevertheless gives NaN.
///
/// ```
/// use diffusion_sampler::{Grid, KeyedNoise, Prediction, Sampler};
/// use diffusion_sampler::{noise::PerSample, schedule::TableSchedule, solver::FirstOrder};
/// use ndarray::s;
///
/// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
/// let grid = Grid::trailing(&schedule, 20)?;
/// let sampler = Sampler::new(&schedule, &grid, &FirstOrder::ddpm())?;
/// let (ada, bob) = (KeyedNoise::new(7), KeyedNoise::new(8));
/// let both = sampler.start::<f32, _, _>((2, 5), Prediction::Noise, PerSample::of([ada, bob]))?;
/// let alone = sampler.start::<f32, _, _>((1, 5), Prediction::Noise, bob)?;
/// let row: Vec<f32> = both.state().slice(s![1, ..]).to_vec();
/// assert_eq!(row, alone.state().slice(s![0, ..]).to_vec());
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PerSample<S = KeyedNoise> {
    pub(super) samples: Vec<SampleNoise<S>>,
}

impl<S> PerSample<S> {
    /// The noise of a batch, sample by sample.
    pub fn new(samples: Vec<SampleNoise<S>>) -> Self {
        Self { samples }
    }

    /// The noise of a batch of requests of one sample each, which start together: sample 0 of each
    /// source.
    pub fn of(sources: impl IntoIterator<Item = S>) -> Self {
        Self::new(sources.into_iter().map(SampleNoise::new).collect())
    }

    /// The samples.
    pub fn samples(&self) -> &[SampleNoise<S>] {
        &self.samples
    }

    /// The samples, for those that join, leave or change places.
    pub fn samples_mut(&mut self) -> &mut Vec<SampleNoise<S>> {
        &mut self.samples
    }
}

impl<A: NormalElement, S: PureNoise<A>> PureNoise<A> for PerSample<S> {
    fn draw(&self, key: NoiseKey, first: u64, out: &mut [A]) {
        let row = usize::try_from(key.row).ok();
        let sample = row.and_then(|row| self.samples.get(row));
        if !sample.is_some_and(|sample| sample.draw(key, first, out)) {
            out.fill(A::narrow(f64::NAN));
        }
    }
}

impl<A: NormalElement, S: PureNoise<A>> NoiseSource<A> for PerSample<S> {
    fn fill(&mut self, key: NoiseKey, first: u64, out: &mut [A]) {
        self.draw(key, first, out);
    }

    fn reads_intervals(&self) -> bool {
        let reads = |sample: &SampleNoise<S>| sample.source.reads_intervals();
        self.samples.iter().any(reads)
    }

    fn check(&self, demand: &Demand<'_>) -> Result<(), Error> {
        let end = usize::try_from(demand.rows.end).unwrap_or(usize::MAX);
        if demand.whole || end > self.samples.len() {
            require_length("list of the samples' noise", end, self.samples.len())?;
        }
        let start = usize::try_from(demand.rows.start).unwrap_or(usize::MAX);
        let samples = self.samples.iter().enumerate().take(end).skip(start);
        for (row, sample) in samples {
            sample.check::<A>(row, demand)?;
        }
        Ok(())
    }

    fn as_pure(&self) -> Option<&dyn PureNoise<A>> {
        Some(self)
    }

    fn fingerprint(&self) -> Option<u64> {
        let mut of = Fingerprint::of_kind(fingerprint::PER_SAMPLE);
        for sample in &self.samples {
            of = of
                .word(sample.source.fingerprint()?)
                .word(sample.sample)
                .word(u64::from(sample.joined))
                .word(u64::from(sample.taken));
        }
        Some(of.value())
    }
}

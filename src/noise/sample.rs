//! The noise of one sample in a batch of others.

use std::ops::Range;

use super::keyed::require_sample;
use super::{Demand, KeyedNoise, NoiseKey, NoiseSource, PureNoise, Stream};
use crate::error::Error;

/// The noise of one sample in a batch of other people's: which source it has, which sample of that
/// source's it is, and how its steps are counted.
///
/// A request that joins a running batch at the batch's step j after having taken n steps elsewhere
/// draws
///
/// ```text
/// row = its own sample number,   step = k − j + n   at the batch's step k ≥ j,
/// ```
///
/// which is what it would draw alone. [`Stream::Start`] has no steps: it is drawn before the first.
///
/// ```
/// use diffusion_sampler::{KeyedNoise, noise::SampleNoise};
///
/// let third = SampleNoise::new(KeyedNoise::new(42)).with_sample(2)?.joining_at(10);
/// assert_eq!((third.own_step(9), third.own_step(10)), (None, Some(0)));
/// let resumed = third.having_taken(5);
/// assert_eq!(resumed.own_step(12), Some(7));
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampleNoise<S = KeyedNoise> {
    pub(super) source: S,
    pub(super) sample: u64,
    pub(super) joined: u32,
    pub(super) taken: u32,
}

impl<S> SampleNoise<S> {
    /// Sample 0 of `source`, whose steps are the batch's.
    pub fn new(source: S) -> Self {
        Self {
            source,
            sample: 0,
            joined: 0,
            taken: 0,
        }
    }

    /// Another sample of the source's: the row that it would be in a batch of the source's own.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless `index` < 2⁵³.
    pub fn with_sample(self, index: u64) -> Result<Self, Error> {
        require_sample("sample", index)?;
        Ok(Self {
            sample: index,
            ..self
        })
    }

    /// The same of a request that joins the batch at the batch's step `step`: it has no noise
    /// before.
    #[must_use]
    pub fn joining_at(self, step: u32) -> Self {
        Self {
            joined: step,
            ..self
        }
    }

    /// The same of a request that has taken so many steps before it joins.
    #[must_use]
    pub fn having_taken(self, steps: u32) -> Self {
        Self {
            taken: steps,
            ..self
        }
    }

    /// The source.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// Which of the source's samples this is.
    pub fn sample(&self) -> u64 {
        self.sample
    }

    /// The request's own step at a step of the batch; `None` before it joined, and beyond 2³² − 1.
    pub fn own_step(&self, step: u32) -> Option<u32> {
        step.checked_sub(self.joined)?.checked_add(self.taken)
    }

    /// The key of this sample's row where the batch's is `key`; `None` where it has no noise.
    fn key(&self, key: NoiseKey) -> Option<NoiseKey> {
        let step = match key.stream {
            Stream::Start => key.step,
            _ => self.own_step(key.step)?,
        };
        Some(NoiseKey {
            row: self.sample,
            step,
            ..key
        })
    }

    /// Refuses what this sample, row `row` of the batch, has no noise for.
    pub(super) fn check<A>(&self, row: usize, demand: &Demand<'_>) -> Result<(), Error>
    where
        S: NoiseSource<A>,
    {
        let steps = match demand.stream {
            Stream::Start => demand.steps.clone(),
            _ => self.own_steps(row, &demand.steps)?,
        };
        let own = Demand::row(self.sample, steps, demand.stream);
        self.source.check(&own.with_intervals(demand.intervals))
    }

    fn own_steps(&self, row: usize, steps: &Range<u64>) -> Result<Range<u64>, Error> {
        if steps.is_empty() {
            return Ok(0..0);
        }
        let (joined, taken) = (u64::from(self.joined), u64::from(self.taken));
        if steps.start < joined {
            return Err(Error::StepBeforeJoining {
                sample: row,
                joined: self.joined,
                step: steps.start,
            });
        }
        let own = |step: u64| (step - joined).saturating_add(taken);
        let end = own(steps.end);
        if end > 1 << 32 {
            return Err(Error::StepCount {
                steps: usize::try_from(end).unwrap_or(usize::MAX),
                min: 0,
                max: u32::MAX as usize,
            });
        }
        Ok(own(steps.start)..end)
    }

    /// Draws this sample's row where the batch's is `key`. Returns whether it has one.
    pub(super) fn draw<A>(&self, key: NoiseKey, first: u64, out: &mut [A]) -> bool
    where
        S: PureNoise<A>,
    {
        let Some(key) = self.key(key) else {
            return false;
        };
        self.source.draw(key, first, out);
        true
    }
}

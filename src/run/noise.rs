//! What a run asks of its noise source.

use std::ops::Range;
use std::sync::Arc;

use crate::error::Error;
use crate::memory::Listed;
use crate::noise::{Demand, Interval, NoiseSource, Stream};
use crate::plan::{Plan, Step};

/// The noise of a plan's steps, whatever the batch.
#[derive(Clone, Debug)]
pub(super) struct RunNoise {
    steps: Range<u64>,
    intervals: Arc<Vec<Interval>>,
}

impl RunNoise {
    pub(super) fn of(plan: &Plan) -> Result<Self, Error> {
        let steps = || {
            (0u64..)
                .zip(plan.steps())
                .filter(|(_, step)| is_noisy(step))
        };
        let intervals = steps().flat_map(|(_, step)| step.noise_intervals());
        let first = steps().next().map_or(0, |(index, _)| index);
        let end = steps().last().map_or(0, |(index, _)| index + 1);
        Ok(Self {
            steps: first..end,
            intervals: Arc::new(intervals.listed()?),
        })
    }

    /// Whether there is any.
    pub(super) fn draws(&self) -> bool {
        !self.steps.is_empty()
    }

    /// Refuses a run on a batch of so many samples and elements of each for which the source has no
    /// noise.
    pub(super) fn check<A>(
        &self,
        (samples, elements): (usize, usize),
        noise: &impl NoiseSource<A>,
    ) -> Result<(), Error> {
        let demand = Demand::batch(samples, elements, self.steps.clone(), Stream::Step(0));
        noise.check(&demand.with_intervals(&self.intervals))
    }
}

fn is_noisy(step: &Step) -> bool {
    step.stages.iter().any(|stage| stage.update.noise != 0.0)
}

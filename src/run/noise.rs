//! Whether a source has the noise of a whole run.

use crate::error::Error;
use crate::noise::{Demand, Interval, NoiseSource, Stream};
use crate::plan::{Plan, Step};

/// Refuses a run of `plan` on a batch of `samples` for which the source has no noise.
pub(super) fn check_run<A>(
    plan: &Plan,
    samples: usize,
    noise: &impl NoiseSource<A>,
) -> Result<(), Error> {
    let steps = || {
        (0u64..)
            .zip(plan.steps())
            .filter(|(_, step)| is_noisy(step))
    };
    let intervals: Vec<Interval> = steps()
        .map(|(_, step)| Interval::new(step.from.lambda(), step.to.lambda()))
        .collect();
    let first = steps().next().map_or(0, |(index, _)| index);
    let end = steps().last().map_or(0, |(index, _)| index + 1);
    let demand = Demand::batch(samples, first..end, Stream::Step(0));
    noise.check(&demand.with_intervals(&intervals))
}

fn is_noisy(step: &Step) -> bool {
    step.stages.iter().any(|stage| stage.update.noise != 0.0)
}

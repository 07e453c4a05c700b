//! What a source is going to be asked for.

use std::ops::Range;

use super::{Interval, Stream};

/// What a run, or one call, is going to ask of a [`NoiseSource`](super::NoiseSource): given to
/// [`check`](super::NoiseSource::check) before anything is drawn.
///
/// ```
/// use diffusion_sampler::noise::{Demand, Stream};
///
/// // A run of 20 steps on 4 samples of 100 elements, whose last step has no noise.
/// let run = Demand::batch(4, 100, 0..19, Stream::Step(0));
/// assert_eq!((run.rows.clone(), run.elements, run.steps.end), (0..4, 100, 19));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Demand<'a> {
    /// The rows.
    pub rows: Range<u64>,
    /// The elements of each row, all of which are drawn.
    pub elements: u64,
    /// Whether these are all the rows of the batch.
    pub whole: bool,
    /// The steps, from the first that draws noise to the last that does; empty where none does.
    pub steps: Range<u64>,
    /// The stream; [`Stream::Step`]`(0)` stands for all streams of a run's steps.
    pub stream: Stream,
    /// The intervals of the steps that draw noise, in their order, with the parts of a step whose
    /// noise additions share a path; empty outside a step.
    pub intervals: &'a [Interval],
}

impl<'a> Demand<'a> {
    /// All rows of a batch of `samples`, each of `elements` elements.
    pub fn batch(samples: usize, elements: usize, steps: Range<u64>, stream: Stream) -> Self {
        Self {
            rows: 0..samples as u64,
            elements: elements as u64,
            whole: true,
            steps,
            stream,
            intervals: &[],
        }
    }

    /// One row of a batch, of `elements` elements.
    pub fn row(row: u64, elements: u64, steps: Range<u64>, stream: Stream) -> Self {
        Self {
            rows: row..row.saturating_add(1),
            whole: false,
            elements,
            ..Self::batch(0, 0, steps, stream)
        }
    }

    /// The same in these intervals.
    #[must_use]
    pub fn with_intervals(self, intervals: &'a [Interval]) -> Self {
        Self { intervals, ..self }
    }
}

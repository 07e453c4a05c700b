//! One stage of one step, as a machine takes it.

use crate::clip::Clip;
use crate::denoiser::Query;
use crate::error::Error;
use crate::level::NoiseLevel;
use crate::noise::{Interval, NoiseSource};
use crate::plan::{Stage, Step};

/// One stage of one step, for the whole batch or with one stage for each sample: what a
/// [`Machine`](super::Machine) takes.
#[derive(Clone, Copy, Debug)]
pub struct Instruction<'a> {
    pub(super) stages: &'a [Stage],
    /// Where the model is evaluated: empty, one level, or one for each stage.
    pub(super) levels: &'a [NoiseLevel],
    /// The levels that the step leaves and reaches, as many as stages.
    pub(super) from: &'a [NoiseLevel],
    pub(super) to: &'a [NoiseLevel],
    pub(super) step: usize,
    pub(super) stage: usize,
    pub(super) clip: Option<Clip>,
}

impl<'a> Instruction<'a> {
    /// A stage of a step for the whole batch; `index` is the step's number, which keys its noise.
    ///
    /// # Errors
    ///
    /// [`Error::StageCount`] unless the step has this stage.
    pub fn new(step: &'a Step, stage: usize, index: usize) -> Result<Self, Error> {
        let found = step.stages.get(stage).ok_or(Error::StageCount {
            step: index,
            found: step.stages.len(),
            max: stage + 1,
        })?;
        Ok(Self {
            stages: std::slice::from_ref(found),
            levels: found.evaluate.as_slice(),
            from: std::slice::from_ref(&step.from),
            to: std::slice::from_ref(&step.to),
            step: index,
            stage,
            clip: None,
        })
    }

    /// The same with the estimate of x₀ clipped.
    #[must_use]
    pub fn with_clip(self, clip: Option<Clip>) -> Self {
        Self { clip, ..self }
    }

    /// What the model is asked; `None` for a stage without the model.
    pub fn query(&self) -> Option<Query<'a>> {
        Query::of_run(self.levels, self.to, self.step).ok()
    }

    /// The interval of each stage's step.
    pub(super) fn intervals(&self) -> impl Iterator<Item = Interval> + 'a {
        let edges = self.from.iter().zip(self.to);
        edges.map(|(from, to)| Interval::new(from.lambda(), to.lambda()))
    }

    /// Refuses noise that the source does not have.
    pub(super) fn check_noise<A>(&self, noise: &impl NoiseSource<A>) -> Result<(), Error> {
        for (stage, interval) in self.stages.iter().zip(self.intervals()) {
            if stage.update.noise != 0.0 {
                noise.check(&[interval])?;
            }
        }
        Ok(())
    }

    /// The stage of one sample.
    pub(super) fn stage_of(&self, sample: usize) -> &'a Stage {
        match self.stages {
            [one] => one,
            many => &many[sample],
        }
    }
}

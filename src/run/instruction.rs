//! One stage of one step, as a machine takes it.

use crate::clip::Clip;
use crate::denoiser::Query;
use crate::error::Error;
use crate::kernel::Places;
use crate::level::NoiseLevel;
use crate::noise::{Demand, Interval, NoiseSource, Stream};
use crate::plan::{self, Stage, Step};

/// One stage of one step, for the whole batch, with one stage for each sample, or with stages by
/// positions along an axis: what a [`Machine`](super::Machine) takes.
#[derive(Clone, Copy, Debug)]
pub struct Instruction<'a> {
    pub(super) stages: &'a [Stage],
    /// Where the model is evaluated: empty, one level, or one for each stage.
    pub(super) levels: &'a [NoiseLevel],
    /// The levels that the step leaves and reaches, as many as stages; by positions, behind them
    /// those of the positions that stay.
    pub(super) from: &'a [NoiseLevel],
    pub(super) to: &'a [NoiseLevel],
    /// The interval and path of the noise of a step's stage; by from, to and stage where it is none.
    pub(super) noise: Option<(Interval, u8)>,
    pub(super) step: usize,
    pub(super) stage: usize,
    pub(super) clip: Option<Clip>,
    pub(super) positions: Option<Along<'a>>,
}

/// Which of the different stages each position along an axis has; with an index beyond the last it
/// stays as it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Along<'a> {
    pub(super) axis: usize,
    pub(super) of: &'a [u32],
}

impl<'a> Instruction<'a> {
    /// A stage of a step for the whole batch; `index` is the step's number, which keys its noise.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchStage`] unless the step has this stage; [`Error::StageCount`] and
    /// [`Error::StepCount`] where its number or the step's is too large to key noise; what
    /// [`Plan::new`](crate::plan::Plan::new) refuses of a stage.
    pub fn new(step: &'a Step, stage: usize, index: usize) -> Result<Self, Error> {
        let instruction = Self::of_plan(step, stage, index)?;
        plan::check_stage(&instruction.stages[0], index, stage)?;
        Ok(instruction)
    }

    /// The same of a plan, which has checked its stages.
    pub(super) fn of_plan(step: &'a Step, stage: usize, index: usize) -> Result<Self, Error> {
        let found = step.stages.get(stage).ok_or(Error::NoSuchStage {
            step: index,
            stage,
            stages: step.stages.len(),
        })?;
        Ok(Self {
            stages: std::slice::from_ref(found),
            levels: found.evaluate.as_slice(),
            from: std::slice::from_ref(&step.from),
            to: std::slice::from_ref(&step.to),
            noise: Some((step.interval_of(stage), step.path_of(stage))),
            step: index,
            stage,
            clip: None,
            positions: None,
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

    /// The same for arrays of this shape, which say where positions lie.
    pub(super) fn query_for(&self, shape: &[usize]) -> Result<Option<Query<'a>>, Error> {
        match (self.query(), self.along()) {
            (Some(query), Some(along)) => query.by_position(along.axis, along.of, shape).map(Some),
            (query, _) => Ok(query),
        }
    }

    /// Which stage each position has, where they are not all one.
    pub(super) fn along(&self) -> Option<Along<'a>> {
        self.positions.filter(|_| self.from.len() > 1)
    }

    /// Whether the samples' levels, those that the step leaves or those that it reaches, are not all
    /// the same.
    pub(super) fn rows_differ(&self) -> bool {
        let differ = |levels: &[NoiseLevel]| levels.windows(2).any(|pair| pair[0] != pair[1]);
        self.positions.is_none() && (differ(self.from) || differ(self.to))
    }

    /// The places of the positions in arrays of this shape, where not all have one stage.
    pub(super) fn places(&self, shape: &[usize]) -> Result<Option<Places<'a>>, Error> {
        let places = |along: Along<'a>| Places::new(shape, along.axis, along.of);
        self.along().map(places).transpose()
    }

    /// Refuses arrays of another shape than that of the positions.
    pub(super) fn check_positions(&self, shape: &[usize]) -> Result<(), Error> {
        let places = |along: Along<'a>| Places::new(shape, along.axis, along.of);
        self.positions
            .map_or(Ok(()), |along| places(along).map(drop))
    }

    /// The interval of each stage's noise.
    pub(super) fn intervals(&self) -> impl Iterator<Item = Interval> + 'a {
        let (own, edges) = (self.noise, self.from.iter().zip(self.to));
        edges.map(move |(from, to)| match own {
            Some((interval, _)) => interval,
            None => Interval::new(from.lambda(), to.lambda()),
        })
    }

    /// The interval of each stage that draws noise, to `out`.
    pub(super) fn drawn(&self, out: &mut Vec<Option<Interval>>) -> Result<(), Error> {
        let stages = self.stages.iter().zip(self.intervals());
        out.clear();
        let drawn = stages.map(|(stage, interval)| {
            let draws = stage.update.noise != 0.0;
            draws.then_some(interval)
        });
        crate::memory::extend(out, drawn)
    }

    /// The path of the stage's noise, where it is not the stage's number.
    pub(super) fn path(&self) -> Option<u8> {
        self.noise.map(|(_, path)| path)
    }

    /// Refuses noise that the source does not have, for a batch of so many samples and elements of
    /// each, which the stages fit.
    pub(super) fn check_noise<A>(
        &self,
        noise: &impl NoiseSource<A>,
        (samples, elements): (usize, usize),
    ) -> Result<(), Error> {
        let (step, stream) = (self.step as u64, Stream::Step(self.stage as u8));
        let batch = |steps| Demand::batch(samples, elements, steps, stream);
        noise.check(&batch(step..step))?;
        let steps = step..step + 1;
        for (row, (stage, interval)) in (0..).zip(self.stages.iter().zip(self.intervals())) {
            if stage.update.noise == 0.0 {
                continue;
            }
            let demand = match (self.stages, self.positions) {
                ([_], _) | (_, Some(_)) => batch(steps.clone()),
                _ => Demand::row(row, elements as u64, steps.clone(), stream),
            };
            noise.check(&demand.with_intervals(&[interval]))?;
        }
        Ok(())
    }

    /// Refuses slots that a machine does not have, and stages that do not use the same ones.
    pub(super) fn check_slots(&self, slots: usize) -> Result<(), Error> {
        let used = |stage: &Stage| {
            let read = stage.update.history.iter().map(|&(slot, _)| slot);
            let stored = stage.update.store.map(|store| store.slot);
            read.chain(stored).find(|slot| *slot >= slots)
        };
        if let Some(slot) = self.stages.iter().find_map(used) {
            return Err(Error::SlotOutOfRange {
                step: self.step,
                stage: self.stage,
                slot,
                slots,
            });
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

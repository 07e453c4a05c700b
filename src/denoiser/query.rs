//! What a model is asked.

use std::borrow::Cow;

use crate::error::Error;
use crate::guidance::Evaluation;
use crate::kernel;
use crate::level::{Levels, NoiseLevel};
use crate::prediction::Prediction;

/// What a model is asked: the level of each sample, or of each position of it along an axis, how
/// many outputs, and where in a run it is.
///
/// Tokens or frames with levels of their own are asked about by [`along`](Self::along) and by a
/// [`PositionRun`](crate::run::PositionRun). [`axis`](Self::axis) says which axis it is, and
/// [`level_at`](Self::level_at) what the level of a position is, in every kind of query.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// One, or one for each sample, or the different ones of the positions; never empty.
    levels: &'a [NoiseLevel],
    /// As `levels`, in a run.
    targets: Option<&'a [NoiseLevel]>,
    step: Option<usize>,
    /// `None` asks for the model's one answer, guided if the model is.
    separate: Option<usize>,
    along: Option<Along<'a>>,
    /// The sample of each row, where rows are not the samples.
    samples: Option<&'a [usize]>,
    /// The step of each row, where they are not all in one.
    steps: &'a [usize],
}

/// Which of the levels each position along an axis has.
#[derive(Clone, Copy, Debug)]
struct Along<'a> {
    axis: usize,
    positions: usize,
    /// What lies between the entries of one sample and of the next.
    stride: usize,
    /// The level's index; the entry's own place where it is none.
    of: Option<&'a [u32]>,
}

impl Along<'_> {
    fn entry(&self, sample: usize, position: usize) -> Option<usize> {
        if position >= self.positions {
            return None;
        }
        let place = sample.checked_mul(self.stride)?.checked_add(position)?;
        match self.of {
            Some(of) => of.get(place).map(|&entry| entry as usize),
            None => Some(place),
        }
    }
}

impl<'a> Query<'a> {
    /// One level for the whole batch, and the model's one answer, guided if the model is.
    pub fn new(level: &'a NoiseLevel) -> Self {
        Self {
            levels: std::slice::from_ref(level),
            targets: None,
            step: None,
            separate: None,
            along: None,
            samples: None,
            steps: &[],
        }
    }

    /// One level for each sample, otherwise as [`new`](Self::new).
    ///
    /// # Errors
    ///
    /// [`Error::WrongLength`] without levels: an empty batch has nothing to ask.
    pub fn per_sample(levels: &'a [NoiseLevel]) -> Result<Self, Error> {
        let Some(first) = levels.first() else {
            return Err(Error::WrongLength {
                name: "levels",
                expected: 1,
                found: 0,
            });
        };
        Ok(Self {
            levels,
            ..Self::new(first)
        })
    }

    /// One level for each position along an axis, for arrays of this shape, otherwise as
    /// [`new`](Self::new). Along axis 0 it is [`per_sample`](Self::per_sample).
    ///
    /// ```
    /// use diffusion_sampler::{Levels, NoiseLevel, Query};
    ///
    /// // Two samples of three tokens, the first of which is given.
    /// let (clean, noisy) = (NoiseLevel::clean(), NoiseLevel::new(0.5, 0.8, 0.6)?);
    /// let levels = [clean, noisy, noisy];
    /// let query = Query::along(Levels::along(1, &levels), &[2, 3, 64])?;
    /// assert_eq!((query.axis(), query.level_at(1, 0)), (Some(1), Some(clean)));
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::WrongAxis`]; [`Error::WrongLength`] unless there is one level for each position, or
    /// for each position of each sample, and at least one.
    pub fn along(levels: Levels<'a>, shape: &[usize]) -> Result<Self, Error> {
        let query = Self::per_sample(levels.list())?;
        if levels.axis() == 0 {
            return Ok(query);
        }
        query.placed(levels.axis(), shape, levels.list().len(), None)
    }

    /// The same query, whose levels are the different ones of the positions, by the index of each.
    pub(crate) fn by_position(
        self,
        axis: usize,
        of: &'a [u32],
        shape: &[usize],
    ) -> Result<Self, Error> {
        self.placed(axis, shape, of.len(), Some(of))
    }

    fn placed(
        self,
        axis: usize,
        shape: &[usize],
        entries: usize,
        of: Option<&'a [u32]>,
    ) -> Result<Self, Error> {
        let positions = kernel::positions(shape, axis)?;
        let samples = shape.first().copied().unwrap_or(0);
        let along = Along {
            axis,
            positions,
            stride: kernel::stride(entries, samples, positions)?,
            of,
        };
        Ok(Self {
            along: Some(along),
            ..self
        })
    }

    /// The query of a run: levels and targets have the same length, one or the batch's.
    pub(crate) fn of_run(
        levels: &'a [NoiseLevel],
        targets: &'a [NoiseLevel],
        step: usize,
    ) -> Result<Self, Error> {
        Ok(Self {
            targets: Some(targets),
            step: Some(step),
            ..Self::per_sample(levels)?
        })
    }

    /// The query of rows in steps of their own; `levels` and `targets` have one for each.
    pub(crate) fn of_rows(
        (levels, targets): (&'a [NoiseLevel], &'a [NoiseLevel]),
        samples: &'a [usize],
        steps: &'a [usize],
    ) -> Result<Self, Error> {
        Ok(Self {
            targets: Some(targets),
            samples: Some(samples),
            steps,
            ..Self::per_sample(levels)?
        })
    }

    /// The same query on rows of which each belongs to one of the batch's samples, to ask a model by
    /// hand as a [`ParallelRun`](crate::run::ParallelRun) does:
    /// [`sample_of`](Self::sample_of) then says which.
    ///
    /// ```
    /// use diffusion_sampler::{NoiseLevel, Query};
    ///
    /// // Sample 0 at one level, sample 1 at two.
    /// let (early, late) = (NoiseLevel::new(0.7, 0.6, 0.8)?, NoiseLevel::new(0.5, 0.8, 0.6)?);
    /// let levels = [early, early, late];
    /// let query = Query::per_sample(&levels)?.with_samples(&[0, 1, 1]);
    /// assert_eq!([0, 1, 2].map(|row| query.sample_of(row)), [0, 1, 1]);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    #[must_use]
    pub fn with_samples(self, samples: &'a [usize]) -> Self {
        let samples = Some(samples);
        Self { samples, ..self }
    }

    /// The same query for the first `outputs` outputs one by one, uncombined.
    #[must_use]
    pub fn with_outputs(self, outputs: usize) -> Self {
        Self {
            separate: Some(outputs),
            ..self
        }
    }

    /// The same query for the model's one answer, guided if the model is: what a wrapper asks the
    /// model inside.
    #[must_use]
    pub fn combined(self) -> Self {
        Self {
            separate: None,
            ..self
        }
    }

    /// The level of the batch: of the first sample where each has its own, and of its first position
    /// where levels differ along an axis.
    pub fn level(&self) -> NoiseLevel {
        self.level_at(0, 0).unwrap_or(self.levels[0])
    }

    /// The level of one sample, of its first position where they differ; `None` past the last of a
    /// list.
    pub fn level_of(&self, sample: usize) -> Option<NoiseLevel> {
        self.level_at(sample, 0)
    }

    /// The level of every row of the output, where `x` has `samples` rows: that of each sample, once
    /// for each of the [`outputs`](Self::outputs). It is what a network is told that computes them in
    /// one batch. It ends early where a list has fewer levels than `samples`. Where levels differ within a
    /// sample, it is the level of the sample's first position.
    ///
    /// ```
    /// use diffusion_sampler::{NoiseLevel, Query};
    ///
    /// let levels = [NoiseLevel::new(0.2, 0.98, 0.2)?, NoiseLevel::new(0.5, 0.8, 0.6)?];
    /// let query = Query::per_sample(&levels)?.with_outputs(2);
    /// let times: Vec<f64> = query.row_levels(2).map(|level| level.time()).collect();
    /// assert_eq!(times, [0.2, 0.5, 0.2, 0.5]);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    pub fn row_levels(&self, samples: usize) -> impl Iterator<Item = NoiseLevel> + '_ {
        let of_samples = move |_| (0..samples).map_while(|sample| self.level_of(sample));
        (0..self.outputs()).flat_map(of_samples)
    }

    /// The axis along which the levels differ; `None` where each sample has one.
    pub fn axis(&self) -> Option<usize> {
        self.along.map(|along| along.axis)
    }

    /// The level of a position of a sample along [`axis`](Self::axis): of the sample, or the batch,
    /// where it has one level. `None` past the last of a list.
    pub fn level_at(&self, sample: usize, position: usize) -> Option<NoiseLevel> {
        self.entry_of(self.levels, sample, position)
    }

    /// The levels: one for the batch, or one for each sample. Where they differ along an axis, those
    /// that there are, in no order: [`level_at`](Self::level_at) says which has which.
    pub fn levels(&self) -> &'a [NoiseLevel] {
        self.levels
    }

    /// The level that the step reaches, in a run: the second time of a flow map. That of the first
    /// sample where each has its own.
    pub fn target(&self) -> Option<NoiseLevel> {
        self.target_of(0)
    }

    /// The target level of one sample, of its first position where they differ.
    pub fn target_of(&self, sample: usize) -> Option<NoiseLevel> {
        self.target_at(sample, 0)
    }

    /// The target level of a position of a sample, in a run: [`level_at`](Self::level_at) itself
    /// where the position stays as it is, so that its output is not looked at.
    pub fn target_at(&self, sample: usize, position: usize) -> Option<NoiseLevel> {
        self.entry_of(self.targets?, sample, position)
    }

    /// The step, counted from 0, in a run; `None` where rows are in different steps
    /// ([`step_of`](Self::step_of)).
    pub fn step(&self) -> Option<usize> {
        self.step
    }

    /// The step of one row, in a run: the same for all but in a
    /// [`ParallelRun`](crate::run::ParallelRun).
    pub fn step_of(&self, row: usize) -> Option<usize> {
        self.steps.get(row).copied().or(self.step)
    }

    /// The sample of the batch that a row of `x` belongs to, for what a model keeps of each sample: a
    /// class, a text. It is the row itself, but in a [`ParallelRun`](crate::run::ParallelRun), where a
    /// sample has a row for each evaluation in its window.
    pub fn sample_of(&self, row: usize) -> usize {
        let sample = self.samples.and_then(|samples| samples.get(row));
        sample.copied().unwrap_or(row)
    }

    /// The samples that the rows belong to; `None` where the rows are the samples.
    pub fn samples(&self) -> Option<&'a [usize]> {
        self.samples
    }

    /// How many outputs are wanted, the first ones; 1 where the one answer is.
    pub fn outputs(&self) -> usize {
        self.separate.unwrap_or(1)
    }

    /// Whether the outputs are wanted one by one, uncombined.
    pub fn is_separate(&self) -> bool {
        self.separate.is_some()
    }

    /// What guidance may depend on, for one sample, or for one of the different levels.
    pub(crate) fn evaluation(&self, entry: usize, prediction: Prediction) -> Evaluation {
        let level = one_of(self.levels, entry).unwrap_or(self.levels[0]);
        let evaluation = Evaluation::new(level, prediction);
        let target = self.targets.and_then(|targets| one_of(targets, entry));
        match (self.step_of(entry), target) {
            (Some(step), Some(target)) => evaluation.in_step(step, target),
            _ => evaluation,
        }
    }

    /// How many entries have levels that guidance is asked about: where levels differ along an axis,
    /// those that move come first, and nothing is asked about the others.
    pub(crate) fn entries(&self) -> usize {
        match (self.along, self.targets) {
            (Some(_), Some(targets)) => {
                let moves = |(from, to): &(&NoiseLevel, &NoiseLevel)| from != to;
                self.levels.iter().zip(targets).take_while(moves).count()
            }
            _ => self.levels.len(),
        }
    }

    /// The axis along which levels differ, and which of the levels each position has.
    pub(crate) fn places(&self) -> Option<(usize, Cow<'a, [u32]>)> {
        let along = self.along?;
        let of = match along.of {
            Some(of) => Cow::Borrowed(of),
            None => (0..self.levels.len() as u32).collect(),
        };
        Some((along.axis, of))
    }

    fn entry_of(
        &self,
        levels: &[NoiseLevel],
        sample: usize,
        position: usize,
    ) -> Option<NoiseLevel> {
        match &self.along {
            Some(along) => levels.get(along.entry(sample, position)?).copied(),
            None => one_of(levels, sample),
        }
    }
}

fn one_of(levels: &[NoiseLevel], entry: usize) -> Option<NoiseLevel> {
    match levels {
        [one] => Some(*one),
        many => many.get(entry).copied(),
    }
}

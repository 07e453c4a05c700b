//! What a model is asked.

use crate::error::Error;
use crate::guidance::Evaluation;
use crate::level::NoiseLevel;
use crate::prediction::Prediction;

/// What a model is asked: the level of each sample, how many outputs, and where in a run it is.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// One, or one for each sample; never empty.
    levels: &'a [NoiseLevel],
    /// As `levels`, in a run.
    targets: Option<&'a [NoiseLevel]>,
    step: Option<usize>,
    /// `None` asks for the model's one answer, guided if the model is.
    separate: Option<usize>,
}

impl<'a> Query<'a> {
    /// One level for the whole batch, and the model's one answer, guided if the model is.
    pub fn new(level: &'a NoiseLevel) -> Self {
        Self {
            levels: std::slice::from_ref(level),
            targets: None,
            step: None,
            separate: None,
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

    /// The level of the batch: of the first sample where each has its own.
    pub fn level(&self) -> NoiseLevel {
        self.levels[0]
    }

    /// The level of one sample; `None` past the last of a list.
    pub fn level_of(&self, sample: usize) -> Option<NoiseLevel> {
        one_of(self.levels, sample)
    }

    /// The levels: one for the batch, or one for each sample.
    pub fn levels(&self) -> &'a [NoiseLevel] {
        self.levels
    }

    /// The level that the step reaches, in a run: the second time of a flow map. That of the first
    /// sample where each has its own.
    pub fn target(&self) -> Option<NoiseLevel> {
        self.target_of(0)
    }

    /// The target level of one sample.
    pub fn target_of(&self, sample: usize) -> Option<NoiseLevel> {
        one_of(self.targets?, sample)
    }

    /// The step, counted from 0, in a run.
    pub fn step(&self) -> Option<usize> {
        self.step
    }

    /// How many outputs are wanted, the first ones; 1 where the one answer is.
    pub fn outputs(&self) -> usize {
        self.separate.unwrap_or(1)
    }

    /// Whether the outputs are wanted one by one, uncombined.
    pub fn is_separate(&self) -> bool {
        self.separate.is_some()
    }

    /// What guidance may depend on, for one sample.
    pub(crate) fn evaluation(&self, sample: usize, prediction: Prediction) -> Evaluation {
        let level = self.level_of(sample).unwrap_or(self.levels[0]);
        let evaluation = Evaluation::new(level, prediction);
        match (self.step, self.target_of(sample)) {
            (Some(step), Some(target)) => evaluation.in_step(step, target),
            _ => evaluation,
        }
    }
}

fn one_of(levels: &[NoiseLevel], sample: usize) -> Option<NoiseLevel> {
    match levels {
        [one] => Some(*one),
        many => many.get(sample).copied(),
    }
}

//! What makes steps a plan, and what identifies it.

use super::{Kept, MAX_SLOTS, MAX_STAGES, Plan, Stage, Step};
use crate::error::Error;
use crate::fnv::Fnv;
use crate::level::NoiseLevel;

/// The conditions of [`Plan::new`].
pub(super) fn steps(steps: &[Step], slots: usize, given: usize) -> Result<(), Error> {
    if steps.is_empty() {
        return Err(Error::StepCount {
            steps: 0,
            min: 1,
            max: usize::MAX,
        });
    }
    if slots > MAX_SLOTS {
        return Err(Error::TooManySlots {
            found: slots,
            max: MAX_SLOTS,
        });
    }
    if given > slots {
        return Err(Error::SlotOutOfRange {
            step: 0,
            stage: 0,
            slot: given - 1,
            slots,
        });
    }
    for pair in steps.windows(2) {
        if pair[0].to != pair[1].from {
            return Err(Error::EdgesDoNotMeet {
                end: pair[0].to.time(),
                start: pair[1].from.time(),
            });
        }
    }
    let mut written = [false; MAX_SLOTS];
    written[..given].fill(true);
    for (index, step) in steps.iter().enumerate() {
        if !(1..=MAX_STAGES).contains(&step.stages.len()) {
            return Err(Error::StageCount {
                step: index,
                found: step.stages.len(),
                max: MAX_STAGES,
            });
        }
        for (number, stage) in step.stages.iter().enumerate() {
            let place = Place {
                step: index,
                stage: number,
                slots,
            };
            place.check(stage, &mut written)?;
        }
    }
    Ok(())
}

/// The conditions of one stage by itself: everything but what came before it.
pub(crate) fn check_stage(stage: &Stage, step: usize, number: usize) -> Result<(), Error> {
    if number >= MAX_STAGES {
        return Err(Error::StageCount {
            step,
            found: number + 1,
            max: MAX_STAGES,
        });
    }
    if u32::try_from(step).is_err() {
        return Err(Error::StepCount {
            steps: step,
            min: 0,
            max: u32::MAX as usize,
        });
    }
    let place = Place {
        step,
        stage: number,
        slots: MAX_SLOTS,
    };
    place.check(stage, &mut [true; MAX_SLOTS])
}

/// Where a stage stands in its plan.
#[derive(Clone, Copy)]
struct Place {
    step: usize,
    stage: usize,
    slots: usize,
}

impl Place {
    fn check(self, stage: &Stage, written: &mut [bool; MAX_SLOTS]) -> Result<(), Error> {
        self.coefficients(stage)?;
        let update = &stage.update;
        let kept = update.store.map(|store| store.kept);
        let keeps_data = match kept {
            Some(Kept::Data | Kept::Noise) => true,
            Some(Kept::Linear { data, .. }) => data != 0.0,
            Some(Kept::State) | None => false,
        };
        if stage.evaluate.is_none() && (update.data != 0.0 || keeps_data) {
            return Err(Error::DataWithoutEvaluation {
                step: self.step,
                stage: self.stage,
            });
        }
        if let (Some(kept), Some(level)) = (kept, &stage.evaluate) {
            kept.coefficients(Some(level))?;
        }
        for (position, &(slot, _)) in update.history.iter().enumerate() {
            self.in_range(slot)?;
            let Self { step, stage, .. } = self;
            if !written[slot] {
                return Err(Error::SlotNotWritten { step, stage, slot });
            }
            let before = &update.history[..position];
            if before.iter().any(|&(other, _)| other == slot) {
                return Err(Error::SlotReadTwice { step, stage, slot });
            }
        }
        if let Some(store) = update.store {
            self.in_range(store.slot)?;
            written[store.slot] = true;
        }
        Ok(())
    }

    fn coefficients(self, stage: &Stage) -> Result<(), Error> {
        let update = &stage.update;
        let linear = match update.store.map(|store| store.kept) {
            Some(Kept::Linear { state, data }) => [state, data],
            _ => [0.0; 2],
        };
        let weights = update.history.iter().map(|&(_, weight)| weight);
        let entry = |value: f64, requirement| Error::InvalidEntry {
            name: "plan coefficients of step",
            index: self.step,
            value,
            requirement,
        };
        for value in [update.state, update.data, update.noise]
            .into_iter()
            .chain(weights)
            .chain(linear)
        {
            if !value.is_finite() {
                return Err(entry(value, "finite"));
            }
        }
        if update.noise < 0.0 {
            return Err(entry(update.noise, "at least 0 where it scales noise"));
        }
        Ok(())
    }

    fn in_range(self, slot: usize) -> Result<(), Error> {
        if slot < self.slots {
            return Ok(());
        }
        Err(Error::SlotOutOfRange {
            step: self.step,
            stage: self.stage,
            slot,
            slots: self.slots,
        })
    }
}

/// What is hashed of a plan.
struct Hash(Fnv);

impl Hash {
    fn word(&mut self, word: u64) {
        self.0.word(word);
    }

    fn number(&mut self, value: f64) {
        // Both zeros are one number.
        self.0.number(value + 0.0);
    }

    fn level(&mut self, level: &NoiseLevel) {
        for value in [
            level.time(),
            level.model_time(),
            level.log_alpha(),
            level.log_sigma(),
        ] {
            self.number(value);
        }
    }
}

/// [`Plan::fingerprint`].
pub(super) fn fingerprint(plan: &Plan) -> u64 {
    let mut hash = Hash(Fnv::new());
    hash.word(plan.slots as u64);
    hash.word(plan.given as u64);
    hash.word(plan.steps.len() as u64);
    for step in &plan.steps {
        hash.level(&step.from);
        hash.level(&step.to);
        hash.word(step.stages.len() as u64);
        for stage in &step.stages {
            let update = &stage.update;
            hash.word(u64::from(stage.evaluate.is_some()));
            if let Some(level) = &stage.evaluate {
                hash.level(level);
            }
            for value in [update.state, update.data, update.noise] {
                hash.number(value);
            }
            hash.word(update.history.len() as u64);
            for &(slot, weight) in &update.history {
                hash.word(slot as u64);
                hash.number(weight);
            }
            hash.word(update.store.map_or(0, |store| store.slot as u64 + 1));
            if let Some(store) = update.store {
                let (name, values) = match store.kept {
                    Kept::Data => (1, [0.0; 2]),
                    Kept::Noise => (2, [0.0; 2]),
                    Kept::State => (3, [0.0; 2]),
                    Kept::Linear { state, data } => (4, [state, data]),
                };
                hash.word(name);
                values.into_iter().for_each(|value| hash.number(value));
            }
        }
    }
    hash.0.value()
}

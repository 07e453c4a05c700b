//! Plans one behind the other, and the ways up between them: what solvers that repeat parts of a path
//! have in common.

use crate::error::Error;
use crate::grid::MAX_STEPS;
use crate::level::NoiseLevel;
use crate::memory;
use crate::plan::{Plan, Stage, Step, Update};
use crate::posterior::Transition;

/// Plans one behind the other.
#[derive(Debug, Default)]
pub(super) struct Parts {
    steps: Vec<Step>,
    slots: usize,
}

impl Parts {
    /// For `steps` steps in all.
    ///
    /// # Errors
    ///
    /// [`Error::StepCount`] for more than a grid may have: the count comes from the caller.
    pub(super) fn of(steps: usize) -> Result<Self, Error> {
        if steps > MAX_STEPS {
            return Err(Error::StepCount {
                steps,
                min: 1,
                max: MAX_STEPS,
            });
        }
        Ok(Self::default())
    }

    /// A plan of an inner solver. Each writes its slots before it reads them, so that all share them.
    ///
    /// # Errors
    ///
    /// [`Error::GivenHistory`] for one that needs given slots.
    pub(super) fn down(&mut self, plan: &Plan) -> Result<(), Error> {
        if plan.given() > 0 {
            let given = plan.given();
            return Err(Error::GivenHistory { given });
        }
        self.slots = self.slots.max(plan.slots());
        memory::extend(&mut self.steps, plan.steps().iter().cloned())
    }

    /// The forward process from a knot up to another, without the model.
    pub(super) fn up(&mut self, from: NoiseLevel, to: NoiseLevel) -> Result<(), Error> {
        let update = Update::from(Transition::forward_step(&from, &to)?);
        let stages = vec![Stage::without_model(update)];
        memory::push(&mut self.steps, Step { from, to, stages })
    }

    pub(super) fn whole(self) -> Result<Plan, Error> {
        Plan::new(self.steps, self.slots)
    }
}

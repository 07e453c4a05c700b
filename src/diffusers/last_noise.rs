//! A solver whose last step adds another noise.

use crate::error::Error;
use crate::plan::Plan;
use crate::solver::{Path, Solver};

/// A solver whose last step adds noise of this standard deviation in place of its own.
#[derive(Clone, Debug)]
pub(super) struct LastNoise<S> {
    pub(super) inner: S,
    pub(super) deviation: f64,
}

impl<S: Solver> Solver for LastNoise<S> {
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let plan = self.inner.plan(path)?;
        let mut steps = plan.steps().to_vec();
        let last = steps.last_mut().and_then(|step| step.stages.last_mut());
        if let Some(stage) = last {
            stage.update.noise = self.deviation;
        }
        Plan::new(steps, plan.slots())
    }

    fn order(&self) -> usize {
        self.inner.order()
    }
}

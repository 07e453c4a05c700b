//! First-order steps, the last with another noise.

use crate::error::Error;
use crate::plan::Plan;
use crate::solver::{FirstOrder, Path, Solver};

/// First-order steps whose last adds noise of this standard deviation in place of its own.
#[derive(Clone, Debug)]
pub(super) struct LastNoise {
    pub(super) inner: FirstOrder,
    pub(super) deviation: f64,
}

impl Solver for LastNoise {
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
        1
    }
}

//! A solver that is another one on flows.

use crate::error::Error;
use crate::plan::Plan;
use crate::solver::{Path, Solver};

/// Libraries integrate over their own σ: it is ρ for most models, and a flow's σ for flows. Two
/// solvers are then one by name.
#[derive(Debug)]
pub(super) struct OnFlows {
    elsewhere: Box<dyn Solver>,
    flows: Box<dyn Solver>,
}

impl OnFlows {
    pub(super) fn new(elsewhere: impl Solver + 'static, flows: impl Solver + 'static) -> Self {
        Self {
            elsewhere: Box::new(elsewhere),
            flows: Box::new(flows),
        }
    }
}

impl Solver for OnFlows {
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let levels = path.grid().levels();
        let flow = levels
            .iter()
            .all(|level| (level.alpha() + level.sigma() - 1.0).abs() <= SAME);
        if flow { &self.flows } else { &self.elsewhere }.plan(path)
    }

    fn order(&self) -> usize {
        self.elsewhere.order()
    }
}

/// How far α + σ of a flow's level may be from 1: rounding.
const SAME: f64 = 1e-12;

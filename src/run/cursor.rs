//! The position in a plan.

use crate::level::NoiseLevel;
use crate::plan::{Plan, Stage, Step};

/// A position in a plan: a step, a stage within it, and the number of stages before.
///
/// ```
/// use diffusion_sampler::{Grid, run::Cursor, schedule::TableSchedule};
/// use diffusion_sampler::solver::{Heun, Path, Solver};
///
/// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
/// let grid = Grid::trailing(&schedule, 2)?;
/// let plan = Heun::new().plan(&Path::new(&schedule, &grid)?)?;
/// let mut cursor = Cursor::default();
/// while cursor.stage(&plan).is_some() {
///     cursor.advance(&plan);
/// }
/// assert_eq!((cursor.step(), cursor.stages_before()), (2, 3));
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    step: usize,
    stage: usize,
    before: usize,
}

impl Cursor {
    /// The position at a stage of a step; `None` where the plan has none. The end of the plan is
    /// stage 0 of the step after the last.
    pub fn at(plan: &Plan, step: usize, stage: usize) -> Option<Self> {
        let steps = plan.steps();
        let stages = steps.get(step).map_or(1, |step| step.stages.len());
        if step > steps.len() || stage >= stages {
            return None;
        }
        let before: usize = steps[..step].iter().map(|step| step.stages.len()).sum();
        Some(Self {
            step,
            stage,
            before: before + stage,
        })
    }

    /// The step, counted from 0.
    pub fn step(&self) -> usize {
        self.step
    }

    /// The stage within the step.
    pub fn stage_index(&self) -> usize {
        self.stage
    }

    /// The number of stages of the plan before this one.
    pub fn stages_before(&self) -> usize {
        self.before
    }

    /// The current step; `None` at the end.
    pub fn current<'p>(&self, plan: &'p Plan) -> Option<&'p Step> {
        plan.steps().get(self.step)
    }

    /// The current stage; `None` at the end.
    pub fn stage<'p>(&self, plan: &'p Plan) -> Option<&'p Stage> {
        self.current(plan)?.stages.get(self.stage)
    }

    /// The level of the state between two steps: the next step's start, or the plan's end.
    pub fn level(&self, plan: &Plan) -> NoiseLevel {
        self.current(plan)
            .map_or_else(|| plan.end(), |step| step.from)
    }

    /// Goes on to the next stage; stays at the end.
    pub fn advance(&mut self, plan: &Plan) {
        let Some(step) = self.current(plan) else {
            return;
        };
        self.before += 1;
        self.stage += 1;
        if self.stage >= step.stages.len() {
            (self.step, self.stage) = (self.step + 1, 0);
        }
    }

    /// Goes on to the next step; stays at the end.
    pub fn advance_step(&mut self, plan: &Plan) {
        let step = self.step;
        while self.step == step && self.current(plan).is_some() {
            self.advance(plan);
        }
    }
}

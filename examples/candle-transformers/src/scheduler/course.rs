//! How a sampler was made, to make that of its last steps.

use std::sync::Arc;

use diffusion_sampler::diffusers::Configured;
use diffusion_sampler::plan::Plan;
use diffusion_sampler::schedule::NoiseSchedule;
use diffusion_sampler::solver::{Path, Solver};
use diffusion_sampler::{Grid, NoiseLevel, Sampler};

use super::{Refused, Result};

/// What a sampler was made of.
pub(super) enum Course {
    Made {
        schedule: Arc<dyn NoiseSchedule>,
        grid: Grid,
        solver: Arc<dyn Solver>,
    },
    Read(Box<Configured>),
    /// Its plan alone is known.
    Plan(Plan),
}

impl Course {
    /// The whole sampler of a solver on a grid, and how it was made.
    pub(super) fn made(
        schedule: Arc<dyn NoiseSchedule>,
        grid: Grid,
        solver: Arc<dyn Solver>,
    ) -> Result<(Sampler, Self)> {
        let sampler = Sampler::new(&*schedule, &grid, &solver)?;
        let course = Self::Made {
            schedule,
            grid,
            solver,
        };
        Ok((sampler, course))
    }

    /// The sampler from a step of the plan on, which begins at `from`: with a history of its own.
    pub(super) fn from(&self, step: usize, from: NoiseLevel) -> Result<Sampler> {
        let (schedule, grid, solver): (Option<&dyn NoiseSchedule>, &Grid, &dyn Solver) = match self
        {
            Self::Made {
                schedule,
                grid,
                solver,
            } => (Some(&**schedule), grid, solver),
            Self::Read(read) => (read.schedule(), read.grid(), read.solver()),
            // Refused where these steps read what the ones before them keep.
            Self::Plan(plan) => {
                let steps = plan.steps().get(step..).unwrap_or_default();
                let plan = Plan::new(steps.to_vec(), plan.slots())?;
                return Ok(Sampler::from_plan(plan, 1.0)?);
            }
        };
        let timestep = from.model_time();
        let knot = grid.levels().iter().position(|level| *level == from);
        let knot = knot.ok_or(Refused::NoKnot { timestep })?;
        let grid = grid.section(knot..grid.steps())?;
        let path = match schedule {
            Some(schedule) => Path::new(schedule, &grid)?,
            None => Path::without_schedule(&grid),
        };
        Ok(Sampler::along(&path, solver)?)
    }
}

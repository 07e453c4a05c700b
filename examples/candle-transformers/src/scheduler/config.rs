//! What a pipeline's scheduler is made of.

use std::fmt;
use std::sync::Arc;

use candle_transformers::models::stable_diffusion::schedulers::{Scheduler, SchedulerConfig};
use diffusion_sampler::diffusers::{self, Request};
use diffusion_sampler::grid::Spacing;
use diffusion_sampler::noise::KeyedNoise;
use diffusion_sampler::schedule::{NoiseSchedule, TableSchedule};
use diffusion_sampler::solver::Solver;
use diffusion_sampler::{Clip, Grid, Prediction, Sampler, registry};

use super::calls::from_first_call;
use super::course::Course;
use super::{Ops, Refused, Result, SamplerScheduler};
use crate::ops::Candle;

type MakeGrid = dyn Fn(&dyn NoiseSchedule, usize) -> Spaced + Send + Sync;
type Spaced = std::result::Result<Grid, diffusion_sampler::Error>;

/// What a pipeline's scheduler is made of: in place of `sd_config.build_scheduler(n_steps)?` write
/// `SamplerConfig::named("DPM++ 2M trailing")?.build(n_steps)?`.
///
/// Unless it is told otherwise, the network is Stable Diffusion 1.5's: the scaled linear table of
/// 1000 betas, predicting the noise.
#[derive(Clone)]
pub struct SamplerConfig {
    source: Source,
    schedule: Arc<dyn NoiseSchedule>,
    prediction: Prediction,
    clip: Option<Clip>,
    seed: u64,
    rounding: bool,
}

#[derive(Clone)]
enum Source {
    Solver(Arc<dyn Solver>, Arc<MakeGrid>),
    Sampler(Sampler),
    File(diffusers::SchedulerConfig),
}

impl SamplerConfig {
    /// The sampler of this name, with its spacing: "Euler trailing", "DPM++ 2M SDE Karras".
    ///
    /// # Errors
    ///
    /// For an unknown name, one without a spacing, and one that asks for CFG++, which needs both
    /// outputs of the network where a scheduler is given one.
    pub fn named(name: &str) -> Result<Self> {
        let named = registry::sampler(name)?;
        if named.entry.plus_plus {
            return Err(Refused::PlusPlus {
                name: named.entry.name,
            });
        }
        let no_spacing = diffusion_sampler::Error::NoSpacing {
            name: named.entry.name,
        };
        let spacing: Spacing = named.spacing.ok_or(no_spacing)?;
        let grid = move |schedule: &dyn NoiseSchedule, steps| spacing.grid(schedule, steps);
        Self::with(Source::Solver(named.solver.into(), Arc::new(grid)))
    }

    /// This solver on the grid that `grid` makes of a schedule and the number of steps.
    ///
    /// # Errors
    ///
    /// None for the default schedule.
    pub fn new(
        solver: impl Solver + 'static,
        grid: impl Fn(&dyn NoiseSchedule, usize) -> Spaced + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::with(Source::Solver(Arc::new(solver), Arc::new(grid)))
    }

    /// The sampler that a `scheduler_config.json` describes; schedule, prediction and clipping are
    /// the file's. Takes the file's text.
    ///
    /// # Errors
    ///
    /// For a text that is not such a file.
    pub fn from_json(text: &str) -> Result<Self> {
        let file = diffusers::SchedulerConfig::from_json(text)?;
        Self::with(Source::File(file))
    }

    /// A sampler as it is. It is built for its own number of steps alone.
    ///
    /// # Errors
    ///
    /// None for the default schedule.
    pub fn of(sampler: &Sampler) -> Result<Self> {
        Self::with(Source::Sampler(sampler.clone()))
    }

    fn with(source: Source) -> Result<Self> {
        Ok(Self {
            source,
            schedule: Arc::new(TableSchedule::scaled_linear(1000, 0.00085, 0.012)?),
            prediction: Prediction::Noise,
            clip: None,
            seed: 0,
            rounding: false,
        })
    }

    /// On this schedule.
    #[must_use]
    pub fn on(self, schedule: impl NoiseSchedule + 'static) -> Self {
        let schedule = Arc::new(schedule);
        Self { schedule, ..self }
    }

    /// With a network that predicts this.
    #[must_use]
    pub fn predicting(self, prediction: Prediction) -> Self {
        Self { prediction, ..self }
    }

    /// With the estimate of x₀ clipped.
    #[must_use]
    pub fn with_clip(self, clip: Clip) -> Self {
        let clip = Some(clip);
        Self { clip, ..self }
    }

    /// With the noise of this seed in stochastic samplers. Every picture has its own, whatever the
    /// size of the batch.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// A scheduler's times are whole numbers. Where a sampler asks the network between them (Karras'
    /// spacing, midpoints of two-stage solvers) it is refused, unless the network may be told the
    /// nearest whole number by this.
    #[must_use]
    pub fn rounding_times(self) -> Self {
        let rounding = true;
        Self { rounding, ..self }
    }

    /// The scheduler itself, on operations of your own.
    ///
    /// # Errors
    ///
    /// What cannot be a scheduler of so many steps: see [`Refused`].
    pub fn scheduler<O: Ops>(&self, steps: usize, ops: O) -> Result<SamplerScheduler<O>> {
        let mut prediction = self.prediction;
        let (mut sampler, course) = match &self.source {
            Source::Solver(solver, grid) => {
                let grid = grid(&*self.schedule, steps)?;
                Course::made(self.schedule.clone(), grid, solver.clone())?
            }
            Source::Sampler(sampler) => {
                let made = sampler.plan().steps().len();
                if made != steps {
                    return Err(Refused::Steps { asked: steps, made });
                }
                (sampler.clone(), Course::Plan(sampler.plan().clone()))
            }
            Source::File(file) => {
                let read = file.sampler(&Request::steps(steps))?;
                prediction = read.prediction();
                (read.sampler().clone(), Course::Read(Box::new(read)))
            }
        };
        if let Some(clip) = self.clip {
            sampler = sampler.with_clip(clip);
        }
        let clip = sampler.clip();
        SamplerScheduler::new(
            (from_first_call(&sampler)?, course),
            (prediction, self.rounding, clip),
            KeyedNoise::new(self.seed),
            ops,
        )
    }
}

impl SchedulerConfig for SamplerConfig {
    fn build(&self, inference_steps: usize) -> candle_core::Result<Box<dyn Scheduler>> {
        Ok(Box::new(self.scheduler(inference_steps, Candle)?))
    }
}

impl fmt::Debug for SamplerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("SamplerConfig");
        match &self.source {
            Source::Solver(solver, _) => shown.field("solver", solver),
            Source::Sampler(sampler) => shown.field("sampler", sampler),
            Source::File(file) => shown.field("file", file),
        };
        shown
            .field("prediction", &self.prediction)
            .field("seed", &self.seed);
        shown.finish_non_exhaustive()
    }
}

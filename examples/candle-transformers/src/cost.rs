//! What a step costs, without the network.

use std::time::{Duration, Instant};

use candle_transformers::models::stable_diffusion::ddim::DDIMSchedulerConfig;
use candle_transformers::models::stable_diffusion::schedulers::{Scheduler, SchedulerConfig};
use diffusion_sampler::solver::FirstOrder;

use crate::compared::Result;
use crate::network::normals;
use crate::same::leading;
use crate::scheduler::SamplerConfig;

const STEPS: usize = 20;
const PAIRS: usize = 21;

fn run(scheduler: &mut dyn Scheduler, shape: &[usize]) -> Result<Duration> {
    let (mut latents, output) = (normals(shape, 1)?, normals(shape, 2)?);
    let start = Instant::now();
    for timestep in scheduler.timesteps().to_vec() {
        latents = scheduler.step(&output, timestep, &latents)?;
    }
    Ok(start.elapsed())
}

/// The median of the ratios of runs that take turns.
pub fn print() -> Result<()> {
    let config = SamplerConfig::new(FirstOrder::ddim(), leading)?;
    for shape in [[2, 4, 8, 8], [1, 4, 64, 64]] {
        let mut theirs = DDIMSchedulerConfig::default().build(STEPS)?;
        let mut ours = config.build(STEPS)?;
        let mut ratios = Vec::new();
        for _ in 0..PAIRS {
            let theirs = run(&mut *theirs, &shape)?.as_secs_f64();
            ratios.push(run(&mut *ours, &shape)?.as_secs_f64() / theirs);
        }
        ratios.sort_by(f64::total_cmp);
        println!(
            "a step of DDIM on {shape:?}, ours over candle's: {:.2}",
            ratios[PAIRS / 2]
        );
    }
    Ok(())
}

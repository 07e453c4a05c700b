//! Every solver of the catalogue in candle's loop, beside our own run with the same network.

use candle_transformers::models::stable_diffusion::schedulers::Scheduler;
use diffusion_sampler::plan::Plan;
use diffusion_sampler::solver::{Solver, catalogue};
use diffusion_sampler::{
    Error, Grid, KeyedNoise, Prediction, RunError, Sampler, registry, schedule::TableSchedule,
};

use crate::compared::{Result, values};
use crate::counting::{Counting, Traffic};
use crate::network::{Network, SMALL, normals};
use crate::ops::Candle;
use crate::scheduler::{Refused, SamplerConfig};

const STEPS: usize = 5;
const SEED: u64 = 42;

/// The tensors of normals that a plan draws from its first call of the network on. What it draws
/// before (churn) is part of the initial distribution in the loop.
fn noises(plan: &Plan) -> usize {
    let stages = plan.stages().skip_while(|stage| stage.evaluate.is_none());
    stages.filter(|stage| stage.update.noise != 0.0).count()
}

/// Runs the scheduler of a solver in the loop, and the solver itself; asserts the same bits.
/// Returns whether the network is told whole times without rounding.
fn compare(network: &Network, name: &str, solver: Box<dyn Solver>) -> Result<bool> {
    let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
    let grid = Grid::trailing(&schedule, STEPS)?;
    let sampler = Sampler::new(&schedule, &grid, &solver)?;
    let config = SamplerConfig::new(solver, |schedule, steps| Grid::trailing(schedule, steps))?;
    let config = config.with_seed(SEED);
    let traffic = Traffic::default();
    let ops = Counting {
        ops: Candle,
        traffic: &traffic,
    };
    let (whole, mut scheduler) = match config.scheduler(STEPS, ops) {
        Err(Refused::TimeNotWhole { .. }) => {
            (false, config.rounding_times().scheduler(STEPS, ops)?)
        }
        scheduler => (true, scheduler?),
    };
    let latents = (normals(&SMALL, 7)? * scheduler.init_noise_sigma())?;
    let states = network.pipeline(&mut scheduler, &latents, 0)?;
    // The state stays on candle's tensors: only the noise of the steps is uploaded.
    let moved = (traffic.uploads.get(), traffic.downloads.get());

    let (noise, prediction) = (KeyedNoise::new(SEED), Prediction::Noise);
    let mut run = sampler
        .on(Candle)
        .start_from(latents.clone(), prediction, noise)?;
    run.ask()?;
    run.set_state(latents.clone())?;
    run.complete(|x, query| network.answer(x, query.level().model_time().round_ties_even()))?;
    assert_eq!(states.len(), sampler.plan().evaluations(), "{name}");
    let last = states.last().ok_or("a state")?;
    assert_eq!(values(last)?, values(run.state())?, "{name}");
    assert_eq!(moved, (noises(sampler.plan()), 0), "{name}");
    // Another picture from the same scheduler: a deterministic solver gives the same one again.
    let again = network.pipeline(&mut scheduler, &latents, 0)?;
    let again = values(again.last().ok_or("a state")?)?;
    let differs = again != values(last)?;
    assert_eq!(
        differs,
        sampler.plan().is_stochastic(),
        "{name}: the second picture"
    );
    Ok(whole)
}

pub fn print(network: &Network) -> Result<()> {
    let (mut whole, mut rounded, mut refused) = (0, Vec::new(), Vec::new());
    for entry in catalogue() {
        let name = entry.name;
        match compare(network, name, entry.solver) {
            Ok(true) => whole += 1,
            Ok(false) => rounded.push(name),
            Err(error) => match error.downcast::<Refused>() {
                Ok(error) => refused.push((name, error)),
                Err(error) => return Err(error),
            },
        }
    }
    println!(
        "solvers of the catalogue in candle's loop, bit for bit our own runs: {}",
        whole + rounded.len()
    );
    println!("  of these only with rounding_times(): {}", rounded.len());
    for name in rounded {
        println!("    {name}");
    }
    println!("  that a scheduler cannot be:");
    for (name, error) in &refused {
        println!("    {name}: {error}");
    }
    let names: Vec<&str> = refused.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["DDIM inversion", "BELM inversion"]);
    by_name()
}

/// Which names of the registry are schedulers on the trailing spacing.
fn by_name() -> Result<()> {
    let (mut built, mut refused) = (0, Vec::new());
    for entry in registry::entries() {
        let config = SamplerConfig::named(&format!("{} trailing", entry.name));
        let scheduler = config.and_then(|config| config.rounding_times().scheduler(STEPS, Candle));
        match scheduler {
            Ok(_) => built += 1,
            Err(Refused::PlusPlus { name }) => refused.push(name),
            Err(Refused::Sampler(RunError::Sampler(Error::StartsFromData { .. }))) => {
                refused.push(entry.name);
            }
            Err(error) => return Err(error.into()),
        }
    }
    println!(
        "samplers by name: {built} are schedulers; refused: {}",
        refused.join(", ")
    );
    Ok(())
}

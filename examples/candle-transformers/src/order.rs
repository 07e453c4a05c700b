//! The order of convergence of UniPC, candle's and ours, on data whose flow is known exactly.

use candle_transformers::models::stable_diffusion::schedulers::{Scheduler, SchedulerConfig};
use candle_transformers::models::stable_diffusion::uni_pc::{
    CorrectorConfiguration, ExponentialSigmaSchedule, SigmaSchedule, SolverType, TimestepSchedule,
    UniPCSchedulerConfig,
};
use diffusion_sampler::solver::{Basis, Path, UniPc};
use diffusion_sampler::{Grid, NoiseLevel, Sampler};

use crate::closed::{drive, flow, level, noise_of, points};
use crate::compared::{Result, distance};
use crate::ops::Candle;
use crate::scheduler::SamplerConfig;

/// Data N(0.7, 0.4²).
const DATA: (f64, f64) = (0.7, 0.4);

/// So many times that rounding them to whole numbers moves no level noticeably.
const TIMES: usize = 100_000_000;

fn theirs(order: usize, corrected: bool, steps: usize) -> Result<Box<dyn Scheduler>> {
    let corrector = match corrected {
        true => CorrectorConfiguration::new([]),
        false => CorrectorConfiguration::Disabled,
    };
    let config = UniPCSchedulerConfig {
        corrector,
        sigma_schedule: SigmaSchedule::Exponential(ExponentialSigmaSchedule::default()),
        timestep_schedule: TimestepSchedule::Linspace,
        solver_order: order,
        num_training_timesteps: TIMES,
        solver_type: SolverType::Bh1,
        lower_order_final: false,
        ..Default::default()
    };
    Ok(config.build(steps)?)
}

/// Ours on the levels of theirs.
fn ours(order: usize, corrected: bool, theirs: &dyn Scheduler) -> Result<Box<dyn Scheduler>> {
    let mut levels = Vec::new();
    for &timestep in theirs.timesteps() {
        let (alpha, sigma) = level(theirs, timestep)?;
        levels.push(NoiseLevel::new(timestep as f64, alpha, sigma)?);
    }
    let grid = Grid::from_levels(levels, 1.0)?;
    let solver = UniPc::order(order)?.with_basis(Basis::Bh1);
    let solver = match corrected {
        true => solver,
        false => solver.predictor_only(),
    };
    let sampler = Sampler::along(&Path::without_schedule(&grid), &solver)?;
    Ok(Box::new(
        SamplerConfig::of(&sampler)?.scheduler(grid.steps(), Candle)?,
    ))
}

/// The error at the last of `steps` + 1 levels.
fn error(scheduler: &mut dyn Scheduler, levels: &[(usize, (f64, f64))]) -> Result<f64> {
    let z = points()?;
    let [(_, start), .., (_, end)] = levels else {
        return Err("a step has two levels".into());
    };
    let latents = flow(&z, *start, DATA)?;
    let states = drive(scheduler, &latents, levels.len() - 1, |x, timestep| {
        let found = levels.iter().find(|(time, _)| *time == timestep);
        let (_, level) = found.ok_or_else(|| candle_core::Error::msg("a listed timestep"))?;
        noise_of(x, *level, DATA)
    })?;
    distance(states.last().ok_or("a state")?, &flow(&z, *end, DATA)?)
}

/// Errors of candle's and ours at 20, 40, 80 and 160 steps.
fn errors(order: usize, corrected: bool) -> Result<[Vec<f64>; 2]> {
    let mut errors = [Vec::new(), Vec::new()];
    for steps in [20, 40, 80, 160] {
        // K + 1 times: their last call leads from the last level to itself.
        let mut theirs = theirs(order, corrected, steps + 1)?;
        let mut ours = ours(order, corrected, &*theirs)?;
        let mut levels = Vec::new();
        for &timestep in theirs.timesteps() {
            levels.push((timestep, level(&*theirs, timestep)?));
        }
        errors[0].push(error(&mut *theirs, &levels)?);
        errors[1].push(error(&mut *ours, &levels)?);
    }
    Ok(errors)
}

/// log₂ of the last two errors' ratio.
fn slope(errors: &[f64]) -> f64 {
    match errors {
        [.., before, last] => (before / last).log2(),
        _ => f64::NAN,
    }
}

pub fn print() -> Result<()> {
    println!("UniPC, errors at 20, 40, 80 and 160 steps on N(0.7, 0.4²), and the order they show");
    // What each shows: candle's (where it is a number) and ours.
    let cases = [
        ("UniP-2", 2, false, Some(1.0), 2.0),
        ("UniPC-2", 2, true, Some(1.0), 3.0),
        ("UniP-3", 3, false, None, 3.0),
        ("UniPC-3", 3, true, None, 4.0),
    ];
    for (name, order, corrected, their_expected, expected) in cases {
        let [theirs, ours] = errors(order, corrected)?;
        let shown = |errors: &[f64]| {
            let shown = errors.iter().map(|error| format!("{error:.1e}"));
            shown.collect::<Vec<_>>().join(" ")
        };
        let (their_order, our_order) = (slope(&theirs), slope(&ours));
        println!(
            "  {name:8} candle {} order {their_order:.2}",
            shown(&theirs)
        );
        println!("           ours   {} order {our_order:.2}", shown(&ours));
        assert!((our_order - expected).abs() < 0.3, "{name}: {our_order}");
        match their_expected {
            Some(expected) => assert!(
                (their_order - expected).abs() < 0.3,
                "{name}: {their_order}"
            ),
            None => assert!(
                theirs.iter().all(|error| error.is_nan()),
                "{name}: {theirs:?}"
            ),
        }
    }
    Ok(())
}

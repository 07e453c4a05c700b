//! What a caller may do between two calls, and what is refused.

use candle_core::{Device, Tensor};
use candle_transformers::models::stable_diffusion::ddim::DDIMSchedulerConfig;
use candle_transformers::models::stable_diffusion::schedulers::{Scheduler, SchedulerConfig};
use diffusion_sampler::schedule::{NoiseSchedule, TableSchedule};
use diffusion_sampler::solver::{
    Belm, DdimInversion, DpmSolverPlusPlus, FirstOrder, Heun, Pndm, Solver,
};
use diffusion_sampler::{Clip, Error, Grid, KeyedNoise, Prediction, RunError, Sampler};

use crate::compared::{Result, distance, values};
use crate::network::{SHAPE, normals};
use crate::ops::Candle;
use crate::same::leading;
use crate::scheduler::{Refused, SamplerConfig};

const STEPS: usize = 10;

fn network(x: &Tensor) -> candle_core::Result<Tensor> {
    x.tanh()
}

fn trailing(solver: impl Solver + 'static) -> Result<SamplerConfig> {
    let grid = |schedule: &dyn NoiseSchedule, steps| Grid::trailing(schedule, steps);
    Ok(SamplerConfig::new(solver, grid)?)
}

/// Latents with half of them drawn halfway to others: an edge of a mask for inpainting. Were they
/// replaced, the next edit would hide that a scheduler ignores this one.
fn edit(latents: &Tensor) -> candle_core::Result<Tensor> {
    let mask = Tensor::cat(
        &[
            Tensor::ones(32, latents.dtype(), &Device::Cpu)?,
            Tensor::full(0.5_f32, 32, &Device::Cpu)?,
        ],
        0,
    )?;
    let mask = mask.reshape((1, 1, 8, 8))?.broadcast_as(latents.shape())?;
    let keep = normals(&SHAPE, 9)?;
    (latents * &mask)? + (&keep * (1.0 - &mask)?)?
}

/// The loop with latents edited after every step.
fn masked(scheduler: &mut dyn Scheduler, latents: &Tensor) -> candle_core::Result<Tensor> {
    let mut latents = latents.clone();
    for timestep in scheduler.timesteps().to_vec() {
        latents = edit(&scheduler.step(&network(&latents)?, timestep, &latents)?)?;
    }
    Ok(latents)
}

fn edited() -> Result<()> {
    let latents = normals(&SHAPE, 3)?;
    let theirs = masked(&mut *DDIMSchedulerConfig::default().build(STEPS)?, &latents)?;
    let config = SamplerConfig::new(FirstOrder::ddim(), leading)?;
    let ours = masked(&mut *config.build(STEPS)?, &latents)?;
    let apart = distance(&ours, &theirs)?;
    println!("latents edited after every step: DDIM {apart:.1e} from candle's");
    assert!(apart < 1e-5);
    // A multistep solver takes the edits too: the bits of our own run, edited.
    let ours = masked(
        &mut *trailing(DpmSolverPlusPlus::new())?.build(STEPS)?,
        &latents,
    )?;
    let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
    let grid = Grid::trailing(&schedule, STEPS)?;
    let sampler = Sampler::new(&schedule, &grid, &DpmSolverPlusPlus::new())?;
    let (noise, kind) = (KeyedNoise::new(0), Prediction::Noise);
    let mut run = sampler.on(Candle).start_from(latents, kind, noise)?;
    while !run.is_finished() {
        run.tell(&network(run.state())?)?;
        run.set_state(edit(run.state())?)?;
    }
    assert_eq!(values(&ours)?, values(run.state())?);
    Ok(())
}

/// Image to image with a history: the run of the grid's last steps alone.
fn late_start() -> Result<()> {
    let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
    let grid = Grid::trailing(&schedule, STEPS)?.section(4..STEPS)?;
    let sampler = Sampler::new(&schedule, &grid, &DpmSolverPlusPlus::multistep(3)?)?;
    let x = normals(&SHAPE, 4)?;
    let run = sampler
        .on(Candle)
        .start_from(x.clone(), Prediction::Noise, KeyedNoise::new(0));
    let mut run = run?;
    run.complete(|x, _| network(x))?;
    let mut ours = trailing(DpmSolverPlusPlus::multistep(3)?)?.build(STEPS)?;
    let mut latents = x;
    for timestep in ours.timesteps().to_vec().into_iter().skip(4) {
        latents = ours.step(&network(&latents)?, timestep, &latents)?;
    }
    assert_eq!(values(&latents)?, values(run.state())?);
    println!("image to image with 3M from step 4: the bits of the run on the grid's last 6 steps");
    Ok(())
}

/// The refusal of a scheduler that cannot be built.
fn unbuilt(config: &SamplerConfig) -> Result<Refused> {
    Ok(config.scheduler(STEPS, Candle).err().ok_or("refused")?)
}

/// The refusal of a step.
fn refused(result: candle_core::Result<Tensor>) -> Result<Refused> {
    let error = result.err().ok_or("refused")?;
    assert!(Refused::of(&error).is_some(), "a typed error: {error}");
    match error {
        candle_core::Error::WrappedContext { wrapped, .. } => Ok(*wrapped
            .downcast::<Refused>()
            .map_err(|error| error.to_string())?),
        error => Err(error.into()),
    }
}

fn refusals() -> Result<()> {
    use Refused as R;
    let mut shown = Vec::new();
    let mut show = |error: Refused, expected: bool| {
        assert!(expected, "{error:?}");
        shown.push(error.to_string());
    };
    let karras = SamplerConfig::named("DPM++ 2M Karras")?;
    let error = unbuilt(&karras)?;
    show(
        error,
        matches!(unbuilt(&karras)?, R::TimeNotWhole { call: 1, .. }),
    );
    let error = SamplerConfig::named("euler_cfg_pp trailing")
        .err()
        .ok_or("refused")?;
    let plus_plus = matches!(error, R::PlusPlus { .. });
    show(error, plus_plus);
    let error = unbuilt(&trailing(Belm::new().from_pair())?)?;
    let given = matches!(error, R::GivenHistory { slots: 1 });
    show(error, given);
    let error = unbuilt(&trailing(DdimInversion::new())?)?;
    let inverts = matches!(
        &error,
        R::Sampler(RunError::Sampler(Error::StartsFromData { .. }))
    );
    show(error, inverts);
    let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
    let grid = Grid::trailing(&schedule, 4)?;
    let whole = Sampler::new(&schedule, &grid, &DpmSolverPlusPlus::new())?;
    let error = unbuilt(&SamplerConfig::of(&whole)?)?;
    let steps = matches!(
        error,
        R::Steps {
            asked: STEPS,
            made: 4
        }
    );
    show(error, steps);

    let x = normals(&SHAPE, 5)?;
    // Not in order; then the run goes on.
    let mut ours = trailing(DpmSolverPlusPlus::new())?.build(STEPS)?;
    let second = ours.step(&x, 999, &x)?;
    let error = refused(ours.step(&x, 999, &second))?;
    let wrong = matches!(
        error,
        R::WrongTimestep {
            call: 1,
            expected: 899,
            found: 999
        }
    );
    show(error, wrong);
    ours.step(&x, 899, &second)?;
    // Within a step; a copy is no edit.
    assert_eq!(trailing(Heun::new())?.build(20)?.timesteps().len(), 39);
    let mut ours = trailing(Heun::new())?.build(STEPS)?;
    let inner = ours.step(&x, 999, &x)?;
    let error = refused(ours.step(&x, 899, &(&inner * 1.01)?))?;
    let edit = matches!(
        error,
        R::Edited {
            call: 1,
            timestep: 899
        }
    );
    show(error, edit);
    ours.step(&x, 899, &inner.copy()?)?;
    // Between steps of a solver that keeps earlier states.
    let mut ours = trailing(Belm::new())?.build(STEPS)?;
    let next = ours.step(&x, 999, &x)?;
    let error = refused(ours.step(&x, 899, &(&next * 1.01)?))?;
    let edit = matches!(
        error,
        R::Edited {
            call: 1,
            timestep: 899
        }
    );
    show(error, edit);
    // Starts that the solver has not.
    let mut ours = trailing(Pndm::plms())?.build(STEPS)?;
    let timestep = ours.timesteps()[5];
    let error = refused(ours.step(&x, timestep, &x))?;
    let other = matches!(error, R::OtherCalls { .. });
    show(error, other);
    let error = refused(ours.add_noise(&x, x.clone(), 500))?;
    let none = matches!(error, R::NoStart { timestep: 500 });
    show(error, none);
    let mut ours = SamplerConfig::of(&whole)?.build(4)?;
    let error = refused(ours.step(&x, 499, &x))?;
    let history = matches!(
        &error,
        R::Sampler(RunError::Sampler(Error::SlotNotWritten { .. }))
    );
    show(error, history);
    // Knots that lie nearer than whole times.
    let mut ours = SamplerConfig::named("DDIM Karras")?
        .rounding_times()
        .build(200)?;
    let times = ours.timesteps();
    let twice = times.windows(2).find(|pair| pair.first() == pair.last());
    let timestep = twice.and_then(|pair| pair.first().copied());
    let timestep = timestep.ok_or("two calls at one time")?;
    let error = refused(ours.step(&x, timestep, &x))?;
    let twice = matches!(error, R::Ambiguous { .. });
    show(error, twice);
    println!("refused, by type:");
    for error in shown {
        println!("  {error}");
    }
    Ok(())
}

/// A first call that is refused begins no run: the next may be another picture, from elsewhere.
fn refused_at_first() -> Result<()> {
    let (x, wide) = (normals(&SHAPE, 10)?, normals(&[1, 4, 8, 16], 10)?);
    let second = |scheduler: &mut dyn Scheduler| {
        let timestep = scheduler.timesteps()[4];
        scheduler.step(&network(&x)?, timestep, &x)
    };
    let config = trailing(FirstOrder::ddpm())?;
    let mut ours = config.build(STEPS)?;
    // An output of another shape than the sample.
    let error = refused(ours.step(&x, 999, &wide))?;
    assert!(matches!(error, Refused::Sampler(_)), "{error:?}");
    let expected = second(&mut *config.build(STEPS)?)?;
    assert_eq!(values(&second(&mut *ours)?)?, values(&expected)?);
    Ok(())
}

/// A clipped estimate: on candle's tensors, as our own run has it.
fn clipped() -> Result<()> {
    let clip = Clip::new(-0.5, 0.5)?;
    let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
    let grid = Grid::trailing(&schedule, STEPS)?;
    let sampler = Sampler::new(&schedule, &grid, &DpmSolverPlusPlus::new())?;
    let noise = KeyedNoise::new(0);
    let (x, sampler) = (normals(&SHAPE, 8)?, sampler.with_clip(clip));
    let mut run = sampler
        .on(Candle)
        .start_from(x.clone(), Prediction::Noise, noise)?;
    run.complete(|x, _| network(x))?;
    let mut ours = trailing(DpmSolverPlusPlus::new())?
        .with_clip(clip)
        .build(STEPS)?;
    let mut latents = x;
    for timestep in ours.timesteps().to_vec() {
        latents = ours.step(&network(&latents)?, timestep, &latents)?;
    }
    let found = values(&latents)?;
    assert_eq!(found, values(run.state())?);
    assert!(found.iter().all(|value| value.abs() <= 0.5) && found.contains(&0.5));
    Ok(())
}

/// A scheduler by its configuration file.
fn by_file() -> Result<()> {
    let text = r#"{"_class_name": "DDIMScheduler", "beta_schedule": "scaled_linear",
        "beta_start": 0.00085, "beta_end": 0.012, "clip_sample": false, "steps_offset": 1,
        "set_alpha_to_one": false}"#;
    let mut read = SamplerConfig::from_json(text)?.build(STEPS)?;
    let mut theirs = DDIMSchedulerConfig::default().build(STEPS)?;
    assert_eq!(read.timesteps(), theirs.timesteps());
    let latents = normals(&SHAPE, 6)?;
    let apart = distance(
        &masked(&mut *read, &latents)?,
        &masked(&mut *theirs, &latents)?,
    )?;
    println!("Stable Diffusion's scheduler_config.json: {apart:.1e} from candle's DDIM");
    assert!(apart < 1e-5);
    Ok(())
}

pub fn print() -> Result<()> {
    edited()?;
    late_start()?;
    clipped()?;
    by_file()?;
    refused_at_first()?;
    refusals()
}

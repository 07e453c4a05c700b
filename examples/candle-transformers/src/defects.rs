//! Defects of candle's schedulers, each measured on their own code, and ours beside it.

use candle_core::{DType, Device, Tensor};
use candle_transformers::models::stable_diffusion::ddim::DDIMSchedulerConfig;
use candle_transformers::models::stable_diffusion::ddpm::{
    DDPMScheduler, DDPMSchedulerConfig, DDPMVarianceType,
};
use candle_transformers::models::stable_diffusion::euler_ancestral_discrete::EulerAncestralDiscreteSchedulerConfig;
use candle_transformers::models::stable_diffusion::schedulers::{
    BetaSchedule, Scheduler, SchedulerConfig, TimestepSpacing,
};
use candle_transformers::models::stable_diffusion::uni_pc::UniPCSchedulerConfig;
use diffusion_sampler::schedule::TableSchedule;
use diffusion_sampler::solver::{FirstOrder, UniPc};
use diffusion_sampler::{Error, Grid};

use crate::closed::{drive, filled, flow, level, noise_of, points};
use crate::compared::{Result, distance, first, values};
use crate::scheduler::{Refused, SamplerConfig};

fn ddim(timestep_spacing: TimestepSpacing) -> DDIMSchedulerConfig {
    DDIMSchedulerConfig {
        timestep_spacing,
        ..Default::default()
    }
}

/// The trailing spacing steps down by ⌊1000/K⌋ until it passes 0: ⌈1000/⌊1000/K⌋⌉ times.
fn trailing() -> Result<()> {
    let ours = SamplerConfig::named("DDIM trailing")?;
    let (mut wrong, mut most) = (0, (0, 0));
    for steps in 1..=100_usize {
        let found = ddim(TimestepSpacing::Trailing)
            .build(steps)?
            .timesteps()
            .len();
        assert_eq!(found, 1000_usize.div_ceil(1000 / steps));
        assert_eq!(ours.build(steps)?.timesteps().len(), steps);
        wrong += usize::from(found != steps);
        if found - steps > most.1 - most.0 {
            most = (steps, found);
        }
    }
    let ancestral = EulerAncestralDiscreteSchedulerConfig {
        timestep_spacing: TimestepSpacing::Trailing,
        ..Default::default()
    };
    let thirty = ddim(TimestepSpacing::Trailing).build(30)?.timesteps().len();
    assert_eq!((thirty, ancestral.build(30)?.timesteps().len()), (31, 31));
    // All but the divisors of 1000.
    let uneven = (1..=100).filter(|steps| 1000 % steps != 0).count();
    assert_eq!((wrong, most), (uneven, (91, 100)));
    println!(
        "  trailing: candle's DDIM and Euler ancestral make {thirty} calls for 30 steps; another \
         number than asked for {wrong} of K = 1..100, at most {} for {}; ours never",
        most.1, most.0
    );
    Ok(())
}

/// With linspace, DDIM steps down by ⌊1000/K⌋ and not to the next timestep.
fn linspace() -> Result<()> {
    const STEPS: usize = 20;
    // One point, for which DDIM is exact along its own timesteps.
    const DATA: (f64, f64) = (0.7, 0.0);
    let mut theirs = ddim(TimestepSpacing::Linspace).build(STEPS)?;
    let (from, next) = (theirs.timesteps()[0], theirs.timesteps()[1]);
    // σ after the first step, where the data are 0 and the noise is 1.
    let sample = filled(level(&*theirs, from)?.1, 1)?;
    let reached = first(&theirs.step(&filled(1.0, 1)?, from, &sample)?)?;
    let told = level(&*theirs, next)?.1;
    let stepped = level(&*theirs, from - 1000 / STEPS)?.1;
    assert!((reached - stepped).abs() < 1e-12 && (reached - told).abs() > 1e-4);

    let mut ours = SamplerConfig::named("DDIM linspace")?.build(STEPS)?;
    let mut errors = Vec::new();
    for scheduler in [&mut theirs, &mut ours] {
        let times = scheduler.timesteps().to_vec();
        let levels = times.iter().map(|time| level(&**scheduler, *time));
        let levels = levels.collect::<Result<Vec<_>>>()?;
        let z = points()?;
        let mut calls = levels.iter();
        let states = drive(
            &mut **scheduler,
            &flow(&z, levels[0], DATA)?,
            STEPS - 1,
            |x, _| noise_of(x, *calls.next().unwrap_or(&levels[0]), DATA),
        )?;
        // The level of the last call, which both have been led to.
        let exact = flow(&z, levels[STEPS - 1], DATA)?;
        errors.push(distance(&states[STEPS - 2], &exact)?);
    }
    println!(
        "  linspace: candle's DDIM goes from time {from} to {}, the network is then told {next}; \
         error at the last call on data of one point, where DDIM is exact: {:.1e}, ours {:.1e}",
        from - 1000 / STEPS,
        errors[0],
        errors[1]
    );
    assert!(errors[0] > 1e-3 && errors[1] < 1e-12);
    Ok(())
}

/// The cosine table's betas by division of whole numbers: all 0 but the last.
fn cosine() -> Result<()> {
    let config = DDIMSchedulerConfig {
        beta_schedule: BetaSchedule::SquaredcosCapV2,
        ..Default::default()
    };
    let mut theirs = config.build(10)?;
    let timestep = theirs.timesteps()[0];
    let (alpha, sigma) = level(&*theirs, timestep)?;
    let (x, output) = (filled(0.7, 4)?, filled(-0.4, 4)?);
    let stepped = first(&theirs.step(&output, timestep, &x)?)?;
    assert!((alpha, sigma) == (1.0, 0.0) && stepped.is_nan());

    let config = SamplerConfig::named("DDIM leading")?.on(TableSchedule::cosine(1000)?);
    let mut ours = config.build(10)?;
    let time = ours.timesteps()[0];
    let (our_alpha, our_sigma) = level(&*ours, time)?;
    // ᾱ = cos²((u + 0.008)/1.008 · π/2)/cos²(0.008/1.008 · π/2) at u = (time + 1)/1000.
    let angle = |u: f64| ((u + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2).cos();
    let exact = angle((time + 1) as f64 / 1000.0) / angle(0.0);
    assert!((our_alpha - exact).abs() < 1e-12);
    let ours = ours.step(&output, time, &x)?;
    assert!(values(&ours)?.iter().all(|value| value.is_finite()));
    println!(
        "  cosine: candle's level at time {timestep} is alpha {alpha}, sigma {sigma}, and its first \
         step gives {stepped}; ours at {time} alpha {our_alpha:.4}, sigma {our_sigma:.4}"
    );
    Ok(())
}

/// The square root of a logarithm.
fn large_log() -> Result<()> {
    let step = |variance_type| -> Result<f64> {
        let config = DDPMSchedulerConfig {
            variance_type,
            ..Default::default()
        };
        let scheduler = DDPMScheduler::new(10, config)?;
        let (x, output) = (filled(0.7, 4)?, filled(-0.4, 4)?);
        first(&scheduler.step(&output, scheduler.timesteps()[0], &x)?)
    };
    let (log, plain) = (
        step(DDPMVarianceType::FixedLargeLog)?,
        step(DDPMVarianceType::FixedLarge)?,
    );
    assert!(log.is_nan() && plain.is_finite());
    println!("  DDPM: a step with FixedLargeLog gives {log}, with FixedLarge a number");
    Ok(())
}

/// More steps than the leading spacing has.
fn too_many() -> Result<()> {
    let theirs = |steps| ddim(TimestepSpacing::Leading).build(steps);
    let first = theirs(1000)?.timesteps()[0];
    let many = theirs(1500)?;
    let stuck = many.timesteps().iter().all(|timestep| *timestep == 1);
    assert!(first == 1000 && many.timesteps().len() == 1500 && stuck);
    let ours = SamplerConfig::new(FirstOrder::ddim(), |schedule, steps| {
        Grid::leading(schedule, steps, 1)
    })?;
    for steps in [1000, 1500, 0] {
        assert!(matches!(
            ours.build(steps).err().as_ref().and_then(Refused::of),
            Some(Refused::Sampler(diffusion_sampler::RunError::Sampler(
                Error::SpacingImpossible { .. } | Error::StepCount { .. }
            )))
        ));
    }
    println!(
        "  leading: candle's DDIM asks the network of 1000 times at time {first} for K = 1000, and \
         1500 times at time 1 for K = 1500; ours refuses both, and K = 0"
    );
    Ok(())
}

/// UniPC keeps its history for the next picture, and ends above clean data.
fn uni_pc() -> Result<()> {
    const STEPS: usize = 10;
    let network = |x: &Tensor, _: usize| x.tanh();
    let mut theirs = UniPCSchedulerConfig::default().build(STEPS)?;
    let config = SamplerConfig::new(UniPc::order(2)?, |schedule, steps| {
        Grid::trailing(schedule, steps)
    })?;
    let mut ours = config.build(STEPS)?;
    let mut changed = Vec::new();
    for scheduler in [&mut theirs, &mut ours] {
        let latents = (points()?.to_dtype(DType::F32)? * scheduler.init_noise_sigma())?;
        let first = drive(&mut **scheduler, &latents, usize::MAX, network)?;
        let second = drive(&mut **scheduler, &latents, usize::MAX, network)?;
        changed.push(distance(&second[STEPS - 1], &first[STEPS - 1])?);
    }
    assert!(changed[0].is_nan() && changed[1] == 0.0);
    println!(
        "  UniPC: the second picture from one scheduler, as candle's loop makes them, differs from the \
         first by {}; ours by {}",
        changed[0], changed[1]
    );
    let (left, idle, time) = left_of_noise(&mut *UniPCSchedulerConfig::default().build(STEPS)?)?;
    let (ours, ..) = left_of_noise(&mut *config.build(STEPS)?)?;
    println!(
        "  UniPC: on data of one point the picture keeps {left:.3} of the noise, ours {ours:.1e}; its \
         last call, at time {time}, moves it by {idle:.1e}"
    );
    // σ_min is the least σ/α.
    let least = 0.1 / 1.01_f64.sqrt();
    assert!((left - least).abs() < 1e-3 && ours.abs() < 1e-12 && idle == 0.0);
    Ok(())
}

/// What a run on data of one point, 0.7, keeps of the noise that it starts with: by how much two
/// samples differ at its end, one with the noise 0 and one with 1. All steps are exact, so that it is
/// the end's σ. Then what the last call changes, and its time.
fn left_of_noise(scheduler: &mut dyn Scheduler) -> Result<(f64, f64, usize)> {
    const POINT: f64 = 0.7;
    let times = scheduler.timesteps().to_vec();
    let levels = times.iter().map(|time| level(scheduler, *time));
    let levels = levels.collect::<Result<Vec<_>>>()?;
    let start = *levels.first().ok_or("a call")?;
    let noise = Tensor::from_slice(&[0.0, start.1], (1, 1, 1, 2), &Device::Cpu)?;
    let latents = ((filled(POINT, 2)? * start.0)? + noise)?;
    let mut calls = levels.into_iter();
    let states = drive(scheduler, &latents, usize::MAX, |x, _| {
        noise_of(x, calls.next().unwrap_or(start), (POINT, 0.0))
    })?;
    let [.., before, last] = states.as_slice() else {
        return Err("two calls".into());
    };
    let [without, with] = values(last)?[..] else {
        return Err("two samples".into());
    };
    let time = *times.last().ok_or("a call")?;
    Ok((with - without, distance(last, before)?, time))
}

pub fn print() -> Result<()> {
    println!("defects of candle's schedulers");
    trailing()?;
    linspace()?;
    cosine()?;
    large_log()?;
    too_many()?;
    uni_pc()
}

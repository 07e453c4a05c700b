//! What a configuration is told reaches the scheduler: the prediction, clipping, churn.

use candle_core::Tensor;
use candle_transformers::models::stable_diffusion::schedulers::{Scheduler, SchedulerConfig};
use diffusion_sampler::schedule::{NoiseSchedule, TableSchedule};
use diffusion_sampler::solver::{Churn, DpmSolverPlusPlus, Euler, FirstOrder};
use diffusion_sampler::{Clip, Grid, Prediction, Sampler};

use crate::compared::{Result, distance, values};
use crate::network::{SHAPE, normals};
use crate::scheduler::SamplerConfig;

const STEPS: usize = 10;
/// Two ways to multiply in f32, and half a unit (6e-8) of rounding or so in each.
const ROUNDING: f64 = 2e-7;

fn table() -> std::result::Result<TableSchedule, diffusion_sampler::Error> {
    TableSchedule::scaled_linear(1000, 0.00085, 0.012)
}

/// A network of EDM's kind sees x/√(α²s² + σ²) for data of the deviation s.
fn scaled_input() -> Result<()> {
    let data_std = 0.5;
    let config = SamplerConfig::named("Euler trailing")?;
    let config = config.predicting(Prediction::Edm { data_std });
    let (scheduler, level) = (config.build(STEPS)?, table()?.knot_level(500.0)?);
    let x = normals(&SHAPE, 11)?;
    let scale = 1.0 / (level.alpha() * data_std).hypot(level.sigma());
    let seen = scheduler.scale_model_input(x.clone(), 499)?;
    assert!(distance(&seen, &(x * scale)?)? < ROUNDING);
    Ok(())
}

/// A file's prediction counts: a DDIM step from its velocity is x cos a − v sin a, where a is the
/// angle between the levels, tan of each being σ/α.
fn file_with_velocity() -> Result<()> {
    let text = r#"{"_class_name": "DDIMScheduler", "beta_schedule": "scaled_linear",
        "beta_start": 0.00085, "beta_end": 0.012, "clip_sample": false, "steps_offset": 1,
        "prediction_type": "v_prediction"}"#;
    let mut scheduler = SamplerConfig::from_json(text)?.build(STEPS)?;
    let (x, v) = (normals(&SHAPE, 12)?, normals(&SHAPE, 13)?);
    let angle = |knot| {
        table()?
            .knot_level(knot)
            .map(|level| level.sigma().atan2(level.alpha()))
    };
    let turned = angle(902.0)? - angle(802.0)?;
    let (x_part, v_part) = ((&x * turned.cos())?, (&v * turned.sin())?);
    let expected = (x_part - v_part)?;
    let found = scheduler.step(&v, 901, &x)?;
    assert!(distance(&found, &expected)? < 3.0 * ROUNDING);
    Ok(())
}

/// Image to image clips too.
fn clipped_late_start() -> Result<()> {
    let clip = Clip::new(-0.5, 0.5)?;
    let config = SamplerConfig::new(DpmSolverPlusPlus::new(), |schedule, steps| {
        Grid::trailing(schedule, steps)
    })?;
    let mut scheduler = config.with_clip(clip).build(STEPS)?;
    let mut latents = normals(&SHAPE, 14)?;
    for timestep in scheduler.timesteps().to_vec().into_iter().skip(4) {
        latents = scheduler.step(&latents.tanh()?, timestep, &latents)?;
    }
    let found = values(&latents)?;
    assert!(found.iter().all(|value| value.abs() <= 0.5) && found.contains(&0.5));
    Ok(())
}

/// Churn comes before the first call, so that the loop's own noise must have its variance: of x̂ = x/α
/// that is v/α² + ρ̂² − ρ², where the churn leads from ρ to ρ̂ = σ/α.
fn churned_start() -> Result<()> {
    const VARIANCE: f64 = 0.25;
    let grid = Grid::trailing(&table()?, STEPS)?.section(3..STEPS)?;
    let solver = Euler::new().with_churn(Churn::new(2.0)?);
    let sampler = Sampler::new(&table()?, &grid, &solver)?.with_start_variance(VARIANCE)?;
    let calls = sampler.plan().stages().filter_map(|stage| stage.evaluate);
    let (from, to) = (
        grid.start(),
        calls.min_by(|a, b| a.lambda().total_cmp(&b.lambda())),
    );
    let to = to.ok_or("a call")?;
    assert!(to.rho() > 1.01 * from.rho(), "churned");
    let added = to.rho().powi(2) - from.rho().powi(2);
    let expected = (VARIANCE / from.alpha().powi(2) + added).sqrt() * to.alpha();
    let config = SamplerConfig::of(&sampler)?.rounding_times();
    let scheduler = config.build(sampler.plan().steps().len())?;
    assert!((scheduler.init_noise_sigma() - expected).abs() < 1e-12);
    Ok(())
}

/// Two pictures in one batch, and one after the other, have the same noise.
fn batches() -> Result<()> {
    let [_, rest @ ..] = SHAPE;
    let [a, b] = [15, 16].map(|seed| normals(&[&[1], &rest[..]].concat(), seed));
    let (a, b) = (a?, b?);
    let config = SamplerConfig::new(FirstOrder::ddpm(), |schedule, steps| {
        Grid::trailing(schedule, steps)
    })?;
    let config = config.with_seed(3);
    let run = |scheduler: &mut dyn Scheduler, x: &Tensor| {
        let mut latents = x.clone();
        for timestep in scheduler.timesteps().to_vec() {
            latents = scheduler.step(&latents.tanh()?, timestep, &latents)?;
        }
        Ok::<_, candle_core::Error>(latents)
    };
    let together = run(&mut *config.build(STEPS)?, &Tensor::cat(&[&a, &b], 0)?)?;
    let mut scheduler = config.build(STEPS)?;
    let (first, second) = (run(&mut *scheduler, &a)?, run(&mut *scheduler, &b)?);
    assert_eq!(
        values(&together)?,
        values(&Tensor::cat(&[first, second], 0)?)?
    );
    Ok(())
}

pub fn print() -> Result<()> {
    scaled_input()?;
    file_with_velocity()?;
    clipped_late_start()?;
    churned_start()?;
    batches()?;
    println!("prediction, clipping, churn and seeds reach the scheduler");
    Ok(())
}

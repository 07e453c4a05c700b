//! One noisy step of candle's schedulers and of ours. The normals differ: candle's come from a
//! generator without a seed. What must agree is the distribution.

use candle_core::{DType, Device, Tensor};
use candle_transformers::models::stable_diffusion::ddim::DDIMSchedulerConfig;
use candle_transformers::models::stable_diffusion::ddpm::{DDPMScheduler, DDPMSchedulerConfig};
use candle_transformers::models::stable_diffusion::euler_ancestral_discrete::EulerAncestralDiscreteSchedulerConfig;
use candle_transformers::models::stable_diffusion::schedulers::{
    PredictionType, Scheduler, SchedulerConfig,
};
use diffusion_sampler::solver::FirstOrder;
use diffusion_sampler::{Grid, Prediction};

use crate::closed::level;
use crate::compared::{Result, moments};
use crate::same::leading;
use crate::scheduler::SamplerConfig;

const STEPS: usize = 20;
/// The step compared: neither the first nor the last.
const STEP: usize = 7;
const COUNT: usize = 1 << 16;
/// The state and the network's output, all elements alike.
const GIVEN: (f64, f64) = (0.7, -0.4);

fn constant(value: f64) -> candle_core::Result<Tensor> {
    Tensor::full(value, (1, 1, 1, COUNT), &Device::Cpu)?.to_dtype(DType::F32)
}

/// Mean and standard deviation of our step's result.
fn ours(ours: &mut dyn Scheduler) -> Result<(f64, f64)> {
    let timestep = ours.timesteps()[STEP];
    moments(&ours.step(&constant(GIVEN.1)?, timestep, &constant(GIVEN.0)?)?)
}

/// Within six standard errors of the difference of two means and two deviations.
fn check(name: &str, theirs: (f64, f64), ours: (f64, f64)) {
    let error = ours.1 / (COUNT as f64).sqrt();
    let mean = (theirs.0 - ours.0).abs() / (error * 2f64.sqrt());
    let deviation = (theirs.1 - ours.1).abs() / error;
    println!(
        "  {name:24} mean {:.4} and {:.4}, deviation {:.4} and {:.4}: {mean:.1} and {deviation:.1} \
         standard errors",
        theirs.0, ours.0, theirs.1, ours.1
    );
    assert!(ours.1 > 0.01, "{name}: a noisy step");
    assert!(mean < 6.0 && deviation < 6.0, "{name}");
}

pub fn print() -> Result<()> {
    println!("one noisy step of candle's and of ours, {COUNT} elements");
    let theirs = DDIMSchedulerConfig {
        eta: 1.0,
        ..Default::default()
    };
    let mut theirs = theirs.build(STEPS)?;
    let mut own = SamplerConfig::new(FirstOrder::ddpm(), leading)?.build(STEPS)?;
    let stepped = theirs.step(
        &constant(GIVEN.1)?,
        theirs.timesteps()[STEP],
        &constant(GIVEN.0)?,
    )?;
    check("DDIM with eta = 1", moments(&stepped)?, ours(&mut *own)?);

    let theirs = DDPMScheduler::new(STEPS, DDPMSchedulerConfig::default())?;
    let config = SamplerConfig::new(FirstOrder::ddpm(), |schedule, steps| {
        Grid::leading(schedule, steps, 0)
    })?;
    let mut own = config.build(STEPS)?;
    assert_eq!(theirs.timesteps(), own.timesteps());
    let stepped = theirs.step(
        &constant(GIVEN.1)?,
        theirs.timesteps()[STEP],
        &constant(GIVEN.0)?,
    )?;
    check("DDPM", moments(&stepped)?, ours(&mut *own)?);

    let kinds = [
        (
            "Euler ancestral",
            PredictionType::Epsilon,
            Prediction::Noise,
        ),
        (
            "Euler ancestral, v",
            PredictionType::VPrediction,
            Prediction::Velocity,
        ),
    ];
    for (name, kind, prediction) in kinds {
        let theirs = EulerAncestralDiscreteSchedulerConfig {
            prediction_type: kind,
            ..Default::default()
        };
        let mut theirs = theirs.build(STEPS)?;
        let config = SamplerConfig::new(FirstOrder::ancestral(), |schedule, steps| {
            Grid::leading(schedule, steps, 1)
        })?;
        let mut own = config.predicting(prediction).build(STEPS)?;
        assert_eq!(theirs.timesteps(), own.timesteps());
        let (timestep, next) = (theirs.timesteps()[STEP], theirs.timesteps()[STEP + 1]);
        // Their state is x/α.
        let (from, to) = (level(&*own, timestep)?.0, level(&*own, next)?.0);
        let stepped = theirs.step(&constant(GIVEN.1)?, timestep, &constant(GIVEN.0 / from)?)?;
        check(name, moments(&(stepped * to)?)?, ours(&mut *own)?);
    }
    let unseeded = Device::Cpu.set_seed(1).is_err();
    println!("  candle's generator on the CPU takes no seed: {unseeded}");
    assert!(unseeded);
    Ok(())
}

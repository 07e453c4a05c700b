//! Where candle's DDIM is right: the same states.

use candle_transformers::models::stable_diffusion::ddim::DDIMSchedulerConfig;
use candle_transformers::models::stable_diffusion::schedulers::{
    PredictionType, Scheduler, SchedulerConfig,
};
use diffusion_sampler::schedule::NoiseSchedule;
use diffusion_sampler::solver::FirstOrder;
use diffusion_sampler::{Error, Grid, Prediction};

use crate::compared::{Result, distance};
use crate::network::{Network, SHAPE, normals};
use crate::scheduler::SamplerConfig;

const STEPS: usize = 20;

/// candle's DDIM rounds each of its seven operations to f32, half a unit (6e-8) each, ours three. D
/// is up to 1/α = 13 times the state at the noisy end, and shrinks back by α' in the same step, so
/// that a step of theirs from the same state is wrong by some units of its largest term.
const ONE_STEP: f64 = 2e-6;

/// Over a run the network turns rounding into other answers, at a guidance scale of 7.5: a factor of
/// at most 50 was allowed for.
const WHOLE_RUN: f64 = 1e-4;

/// Stable Diffusion's leading spacing with offset 1, which ends at knot 1 and not at clean data.
pub fn leading(schedule: &dyn NoiseSchedule, steps: usize) -> std::result::Result<Grid, Error> {
    Grid::leading(schedule, steps, 1)?.ending_at(schedule.level(1.0)?)
}

fn pair(kind: PredictionType, prediction: Prediction) -> Result<[Box<dyn Scheduler>; 2]> {
    let theirs = DDIMSchedulerConfig {
        prediction_type: kind,
        ..Default::default()
    };
    // The README's line.
    let ours = SamplerConfig::new(FirstOrder::ddim(), |s, k| {
        Grid::leading(s, k, 1)?.ending_at(s.level(1.0)?)
    });
    let ours = ours?.predicting(prediction);
    let (theirs, ours) = (theirs.build(STEPS)?, ours.build(STEPS)?);
    assert_eq!(theirs.timesteps(), ours.timesteps());
    assert_eq!(theirs.init_noise_sigma(), ours.init_noise_sigma());
    Ok([theirs, ours])
}

pub fn print(network: &Network) -> Result<()> {
    println!(
        "candle's DDIM and ours, leading, {STEPS} steps: largest difference, of the largest latent"
    );
    let kinds = [
        ("epsilon", PredictionType::Epsilon, Prediction::Noise),
        ("v", PredictionType::VPrediction, Prediction::Velocity),
        ("x0", PredictionType::Sample, Prediction::Data),
    ];
    for (name, kind, prediction) in kinds {
        let noise = normals(&SHAPE, 1)?;
        let [mut theirs, mut ours] = pair(kind, prediction)?;
        let latents = (&noise * theirs.init_noise_sigma())?;
        let expected = network.pipeline(&mut *theirs, &latents, 0)?;
        let states = network.pipeline(&mut *ours, &latents, 0)?;
        let mut whole: f64 = 0.0;
        for (state, expected) in states.iter().zip(&expected) {
            whole = whole.max(distance(state, expected)?);
        }
        // The same from image to image: the last 12 steps of 20, and each step from their state.
        let start = 8;
        let (image, timestep) = ((normals(&SHAPE, 2)? * 0.5)?, ours.timesteps()[start]);
        let theirs_noised = theirs.add_noise(&image, noise.clone(), timestep)?;
        let ours_noised = ours.add_noise(&image, noise, timestep)?;
        let noised = distance(&ours_noised, &theirs_noised)?;
        let expected = network.pipeline(&mut *theirs, &theirs_noised, start)?;
        let states = network.pipeline(&mut *ours, &theirs_noised, start)?;
        let last = distance(&states[states.len() - 1], &expected[expected.len() - 1])?;
        let one = one_step(network, &mut *theirs, &mut *ours, &latents)?;
        println!(
            "  {name:8} one step {one:.1e}, whole run {whole:.1e}; image to image: noise {noised:.1e}, \
             run {last:.1e}"
        );
        assert!(one < ONE_STEP && noised < ONE_STEP);
        assert!(whole < WHOLE_RUN && last < WHOLE_RUN);
    }
    Ok(())
}

/// Each step of ours from candle's state, which the run takes for an edited one.
fn one_step(
    network: &Network,
    theirs: &mut dyn Scheduler,
    ours: &mut dyn Scheduler,
    latents: &candle_core::Tensor,
) -> Result<f64> {
    let (mut latents, mut largest) = (latents.clone(), 0.0_f64);
    for timestep in theirs.timesteps().to_vec() {
        let output = network.answer(&latents, timestep as f64)?;
        let ours = ours.step(&output, timestep, &latents)?;
        latents = theirs.step(&output, timestep, &latents)?;
        largest = largest.max(distance(&ours, &latents)?);
    }
    Ok(largest)
}

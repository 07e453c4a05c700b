//! Networks in closed form, and what a scheduler's levels are by its own answers.

use candle_core::{DType, Device, Result, Tensor};
use candle_transformers::models::stable_diffusion::schedulers::Scheduler;

use crate::compared::{self, first};

/// A tensor of one value in f64.
pub fn filled(value: f64, count: usize) -> Result<Tensor> {
    Tensor::full(value, (1, 1, 1, count), &Device::Cpu)
}

/// (α, σ) of a timestep, read off `add_noise`.
pub fn level(scheduler: &dyn Scheduler, timestep: usize) -> compared::Result<(f64, f64)> {
    let (zero, one) = (filled(0.0, 1)?, filled(1.0, 1)?);
    let alpha = first(&scheduler.add_noise(&one, zero.clone(), timestep)?)?;
    Ok((alpha, first(&scheduler.add_noise(&zero, one, timestep)?)?))
}

/// E[ε | x] at a level for data N(`mean`, `deviation`²).
pub fn noise_of(
    x: &Tensor,
    (alpha, sigma): (f64, f64),
    (mean, deviation): (f64, f64),
) -> Result<Tensor> {
    let variance = alpha * alpha * deviation * deviation + sigma * sigma;
    (x - alpha * mean)? * (sigma / variance)
}

/// Where the probability flow leads the state that lies z standard deviations from the mean.
pub fn flow(
    z: &Tensor,
    (alpha, sigma): (f64, f64),
    (mean, deviation): (f64, f64),
) -> Result<Tensor> {
    let variance = alpha * alpha * deviation * deviation + sigma * sigma;
    (z * variance.sqrt())? + alpha * mean
}

/// The loop with a network in closed form: the state after each of the first `calls` calls.
pub fn drive(
    scheduler: &mut dyn Scheduler,
    latents: &Tensor,
    calls: usize,
    mut network: impl FnMut(&Tensor, usize) -> Result<Tensor>,
) -> Result<Vec<Tensor>> {
    let (mut latents, mut states) = (latents.clone(), Vec::new());
    for timestep in scheduler.timesteps().to_vec().into_iter().take(calls) {
        let input = scheduler.scale_model_input(latents.clone(), timestep)?;
        latents = scheduler.step(&network(&input, timestep)?, timestep, &latents)?;
        states.push(latents.clone());
    }
    Ok(states)
}

/// Points from −2 to 2 standard deviations.
pub fn points() -> Result<Tensor> {
    let values = (-4..=4).map(|k| f64::from(k) / 2.0).collect::<Vec<_>>();
    Tensor::from_vec(values, (1, 1, 1, 9), &Device::Cpu)?.to_dtype(DType::F64)
}

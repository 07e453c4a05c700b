//! Twenty steps from noise to samples, with a model in closed form.
//!
//! `cargo run --release --example hello`

use diffusion_sampler::{
    Grid, Prediction, Sampler, from_fn, schedule::TableSchedule, solver::DpmSolverPlusPlus,
};
use ndarray::{Array2, ArrayRef, Ix2};

/// The data: normal, with this mean and standard deviation.
const MEAN: f64 = 3.0;
const DEVIATION: f64 = 0.5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let sampler = Sampler::new(
        &schedule,
        &Grid::trailing(&schedule, 20)?,
        &DpmSolverPlusPlus::new(),
    )?;

    // Your network goes here. This one predicts E[ε | x] = σ (x − α m) / (α² s² + σ²): exact for
    // the data above.
    let mut model = from_fn(
        Prediction::Noise,
        |x: &ArrayRef<f32, Ix2>, level, noise: &mut ArrayRef<f32, Ix2>| {
            let (alpha, sigma) = (level.alpha(), level.sigma());
            let variance = (alpha * DEVIATION).powi(2) + sigma * sigma;
            noise.zip_mut_with(x, |e, &x| {
                *e = (sigma * (f64::from(x) - alpha * MEAN) / variance) as f32;
            });
        },
    );
    let samples: Array2<f32> = sampler.sample(&mut model, (10_000, 2), 42)?;

    let mean = samples.mean().unwrap_or(f32::NAN);
    let deviation = samples.std(0.0);
    println!(
        "mean {mean:.3} (data: {MEAN}), standard deviation {deviation:.3} (data: {DEVIATION})"
    );
    assert!((f64::from(mean) - MEAN).abs() < 0.02);
    assert!((f64::from(deviation) - DEVIATION).abs() < 0.05);
    Ok(())
}

//! Inpainting: the known pixels are noised to the run's level and put back after every step; the
//! sampler fills in the rest.
//!
//! Replacing pixels is an approximation. It finds the kind of image that the known pixels belong
//! to, as here, but understates correlations within a kind (Lugmayr et al., "RePaint", 2022, mend
//! it by repeating steps).
//!
//! `cargo run --release --example inpainting`

use diffusion_sampler::{
    Error, Grid, KeyedNoise, Prediction, Sampler, Trajectory,
    forward::diffuse,
    oracle::{Gaussian, GaussianMixture, Oracle},
    schedule::TableSchedule,
    solver::FirstOrder,
};
use ndarray::{Array2, Axis, Ix2, s};

const SAMPLES: usize = 2000;
const PIXELS: usize = 8;
const KNOWN: usize = 4;

/// The known pixels, which are 1, at the run's level; the noise is of a stream of its own.
fn put_back(run: &mut Trajectory<f32, Ix2>) -> Result<(), Error> {
    let (level, step) = (run.level(), run.step() as u32);
    let mut known = Array2::ones((SAMPLES, KNOWN));
    diffuse(&mut known, &[level], &mut KeyedNoise::new(42), step)?;
    run.state_mut().slice_mut(s![.., ..KNOWN]).assign(&known);
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Two kinds of image, dark (−1) and light (+1). The first pixels of a light one are known.
    let kind = |shade: f64| Gaussian::isotropic(&[shade; PIXELS], 0.05);
    let data = GaussianMixture::new(&[0.5, 0.5], vec![kind(-1.0)?, kind(1.0)?], vec![0, 1])?;
    let mut model = data.denoiser(Prediction::Noise);
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let sampler = Sampler::new(
        &schedule,
        &Grid::trailing(&schedule, 200)?,
        &FirstOrder::ddpm(),
    )?;

    let mut run = sampler.start((SAMPLES, PIXELS), Prediction::Noise, KeyedNoise::new(42))?;
    put_back(&mut run)?;
    while !run.is_finished() {
        run.advance(&mut model)?;
        put_back(&mut run)?;
    }
    let samples: Array2<f32> = run.into_state();

    let filled = samples.slice(s![.., KNOWN..]);
    let means = filled.mean_axis(Axis(1)).ok_or("no pixels")?;
    let light = means.iter().filter(|&&mean| mean > 0.0).count() as f64 / SAMPLES as f64;
    println!(
        "filled in with light pixels: {:.1} % of the samples (half without the mask)",
        100.0 * light
    );
    assert!(light > 0.95);
    assert!(
        samples
            .slice(s![.., ..KNOWN])
            .iter()
            .all(|&pixel| pixel == 1.0)
    );
    Ok(())
}

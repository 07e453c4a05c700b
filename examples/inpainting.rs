//! Inpainting: the known pixels are noised to the run's level before every step; the sampler fills
//! in the rest.
//!
//! Replacing pixels is an approximation. It finds the kind of image that the known pixels belong
//! to, as here, but understates correlations within a kind (Lugmayr et al., "RePaint", 2022, mend
//! it by repeating steps).
//!
//! `cargo run --release --example inpainting`

use diffusion_sampler::{
    Grid, KeyedNoise, Prediction, Sampler,
    oracle::{Gaussian, GaussianMixture, Oracle},
    schedule::TableSchedule,
    solver::FirstOrder,
};
use ndarray::{Array2, Axis, s};
use rand::{SeedableRng, rngs::SmallRng};

const SAMPLES: usize = 2000;
const PIXELS: usize = 8;
const KNOWN: usize = 4;

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
    let mut rng = SmallRng::seed_from_u64(1);
    let standard = Gaussian::isotropic(&[0.0; KNOWN], 1.0)?;
    while !run.is_finished() {
        let (alpha, sigma) = (run.level().alpha() as f32, run.level().sigma() as f32);
        let noise = standard.sample(SAMPLES, &mut rng)?.mapv(|e| e as f32);
        let known = noise * sigma + alpha; // α · 1 + σ ε
        run.state_mut().slice_mut(s![.., ..KNOWN]).assign(&known);
        run.advance(&mut model)?;
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
    Ok(())
}

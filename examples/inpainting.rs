//! Inpainting: the known pixels are put back, noised to the run's level, after every step; the
//! sampler fills in the rest.
//!
//! Replacing pixels is an approximation. It finds the kind of image that the known pixels belong
//! to, but understates how pixels depend on each other within a kind; RePaint mends that by going
//! up and down again.
//!
//! `cargo run --release --example inpainting`

use diffusion_sampler::{
    Grid, KeyedNoise, Prediction, Sampler,
    editing::Inpaint,
    oracle::{Gaussian, GaussianMixture, Oracle},
    schedule::TableSchedule,
    solver::{FirstOrder, RePaint},
};
use ndarray::{Array2, Axis, s};

const SAMPLES: usize = 2000;
const PIXELS: usize = 8;
const KNOWN: usize = 4;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Two kinds of image, dark (−1) and light (+1). The first pixels of a light one are known.
    let kind = |shade: f64| Gaussian::isotropic(&[shade; PIXELS], 0.05);
    let data = GaussianMixture::new(&[0.5, 0.5], vec![kind(-1.0)?, kind(1.0)?], vec![0, 1])?;
    let mut model = data.denoiser(Prediction::Noise);
    let image = Array2::<f32>::ones((SAMPLES, PIXELS));
    let mask = Array2::from_shape_fn(
        (1, PIXELS),
        |(_, pixel)| if pixel < KNOWN { 1.0 } else { 0.0 },
    );

    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let grid = Grid::trailing(&schedule, 100)?;
    for resamplings in [1, 3] {
        let solver = RePaint::new(FirstOrder::ddpm(), 10, resamplings)?;
        let sampler = Sampler::new(&schedule, &grid, &solver)?;
        let mut inpaint = Inpaint::new(image.clone(), &mask, KeyedNoise::new(42))?;

        let mut run = sampler.start((SAMPLES, PIXELS), Prediction::Noise, KeyedNoise::new(42))?;
        inpaint.blend(&mut run)?;
        while !run.is_finished() {
            run.advance(&mut model)?;
            inpaint.blend(&mut run)?;
        }
        let samples = run.into_state();

        let filled = samples.slice(s![.., KNOWN..]);
        let means = filled.mean_axis(Axis(1)).ok_or("no pixels")?;
        let light = means.iter().filter(|&&mean| mean > 0.0).count() as f64 / SAMPLES as f64;
        println!(
            "{} evaluations: filled in with light pixels in {:.1} % of the samples (half without the mask)",
            sampler.plan().evaluations(),
            100.0 * light
        );
        assert!(light > 0.95);
        let known = samples.slice(s![.., ..KNOWN]);
        assert!(known.iter().all(|&pixel| pixel == 1.0));
    }
    Ok(())
}

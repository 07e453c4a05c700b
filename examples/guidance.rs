//! Classifier-free guidance on an exact mixture: the larger the scale, the more samples are clearly
//! of the class.
//!
//! `cargo run --release --example guidance`

use diffusion_sampler::{
    Grid, NoiseLevel, Prediction, Sampler,
    denoiser::{Guided, Models},
    guidance::ClassifierFree,
    oracle::{Gaussian, GaussianMixture, LabelledOracle, Oracle},
    schedule::TableSchedule,
    solver::FirstOrder,
};
use ndarray::Array2;

const SAMPLES: usize = 1000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Two classes that overlap: class 0 around −1, class 1 around +1.
    let (left, right) = (
        Gaussian::isotropic(&[-1.0], 1.0)?,
        Gaussian::isotropic(&[1.0], 1.0)?,
    );
    let mixture = GaussianMixture::new(&[0.5, 0.5], vec![left, right], vec![0, 1])?;
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let sampler = Sampler::new(
        &schedule,
        &Grid::trailing(&schedule, 20)?,
        &FirstOrder::ddim(),
    )?;

    let mut shares = Vec::new();
    // Scale 0 ignores the class, 1 is plain conditional, more is guidance.
    for scale in [0.0, 1.0, 3.0] {
        let models = Models((
            mixture.condition(1)?.denoiser(Prediction::Noise),
            (&mixture).denoiser(Prediction::Noise),
        ));
        let mut model = Guided::new(models, ClassifierFree::with_scale(scale)?);
        let samples: Array2<f64> = sampler.sample(&mut model, (SAMPLES, 1), 42)?;
        let mut share = 0.0;
        for sample in samples.outer_iter() {
            let posterior = mixture.class_log_posterior(&sample.to_vec(), &NoiseLevel::clean())?;
            share += posterior[1].exp() / SAMPLES as f64;
        }
        println!("scale {scale}: the mean probability of class 1 is {share:.3}");
        shares.push(share);
    }
    assert!((shares[0] - 0.5).abs() < 0.05);
    assert!(shares[0] < shares[1] && shares[1] < shares[2]);
    Ok(())
}

//! Editing: known parts, inversions, latents, image to image.

#![allow(clippy::unwrap_used)]

mod inpaint;
mod interpolation;
mod inversion;
mod recovered;
mod strength;

pub(crate) type Outcome = Result<(), Box<dyn std::error::Error>>;

/// The ring of VERIFICATION's rows 13 and 14: 8 Gaussians on a circle of radius 1, deviation 0.15.
pub(crate) fn ring() -> diffusion_sampler::oracle::GaussianMixture {
    use diffusion_sampler::oracle::{Gaussian, GaussianMixture};
    let mode = |k: usize| {
        let angle = std::f64::consts::TAU * k as f64 / 8.0;
        Gaussian::isotropic(&[angle.cos(), angle.sin()], 0.15 * 0.15).unwrap()
    };
    let modes = (0..8).map(mode).collect();
    GaussianMixture::new(&[0.125; 8], modes, (0..8).collect()).unwrap()
}

/// The largest difference of two arrays.
pub(crate) fn distance<D: ndarray::Dimension>(
    a: &ndarray::ArrayRef<f64, D>,
    b: &ndarray::ArrayRef<f64, D>,
) -> f64 {
    assert_eq!(a.shape(), b.shape());
    a.iter()
        .zip(b)
        .fold(0.0, |far, (a, b)| f64::max(far, (a - b).abs()))
}

//! Paths, data and numbers that these tests share.

use diffusion_sampler::{
    Error, Grid,
    likelihood::FlowLikelihood,
    oracle::{Gaussian, GaussianMixture},
    schedule::{NoiseSchedule, VariancePreserving},
    solver::Path,
};
use ndarray::array;

pub(crate) type Outcome = Result<(), Box<dyn std::error::Error>>;

/// `steps` edges uniform in λ.
pub(crate) fn grid(
    schedule: &dyn NoiseSchedule,
    (noisy, clean): (f64, f64),
    steps: usize,
) -> Result<Grid, Error> {
    let at = |k: usize| noisy + (clean - noisy) * k as f64 / steps as f64;
    Grid::from_lambdas(schedule, &(0..=steps).map(at).collect::<Vec<_>>())
}

pub(crate) fn flow(
    schedule: &dyn NoiseSchedule,
    range: (f64, f64),
    steps: usize,
) -> Result<(FlowLikelihood, Grid), Error> {
    let grid = grid(schedule, range, steps)?;
    let flow = FlowLikelihood::new(&Path::new(schedule, &grid)?)?;
    Ok((flow, grid))
}

/// A variance-preserving schedule that reaches λ = ±9.
pub(crate) fn vp() -> Result<VariancePreserving, Error> {
    VariancePreserving::new(1e-9, 40.0)
}

pub(crate) fn correlated() -> Result<Gaussian, Error> {
    let covariance = array![[2.0, 0.6, -0.3], [0.6, 1.0, 0.2], [-0.3, 0.2, 0.5]];
    Gaussian::new(&[1.0, -1.0, 0.5], &covariance)
}

/// Eight Gaussians of standard deviation 0.15 on the unit circle.
pub(crate) fn ring() -> Result<GaussianMixture, Error> {
    let centre = |k: u32| {
        let angle = std::f64::consts::FRAC_PI_4 * f64::from(k);
        Gaussian::isotropic(&[angle.cos(), angle.sin()], 0.0225)
    };
    let components = (0..8).map(centre).collect::<Result<Vec<_>, _>>()?;
    GaussianMixture::new(&[1.0; 8], components, vec![0; 8])
}

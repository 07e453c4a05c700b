//! Gaussians whose axes differ, and distances.

use diffusion_sampler::{Error, oracle::Gaussian, oracle::Oracle};
use ndarray::{Array2, array};

pub(crate) type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Three Gaussians whose axes all differ: of a condition, of all data, of a negative condition.
pub(crate) fn gaussians() -> Result<Vec<Gaussian>, Error> {
    Ok(vec![
        Gaussian::new(
            &[1.0, -1.0, 0.5],
            &array![[0.5, 0.2, -0.1], [0.2, 0.4, 0.1], [-0.1, 0.1, 0.3]],
        )?,
        Gaussian::new(
            &[0.2, 0.0, -0.3],
            &array![[2.0, -0.6, 0.3], [-0.6, 1.0, 0.2], [0.3, 0.2, 1.5]],
        )?,
        Gaussian::diagonal(&[-0.4, 0.7, 0.0], &[1.0, 0.2, 3.0])?,
    ])
}

/// The largest difference of means and covariances, relative to the larger of their size and one.
pub(crate) fn difference(a: &Gaussian, b: &Gaussian) -> f64 {
    let Ok((m, c)) = a.moments() else {
        return f64::INFINITY;
    };
    difference_of(b, &m, &c)
}

pub(crate) fn difference_of(found: &Gaussian, mean: &[f64], covariance: &Array2<f64>) -> f64 {
    let Ok((m, c)) = found.moments() else {
        return f64::INFINITY;
    };
    let size = covariance.iter().fold(1.0, |s: f64, v| s.max(v.abs()));
    let means = m.iter().zip(mean).map(|(a, b)| (a - b).abs() / size.sqrt());
    let covariances = c.iter().zip(covariance).map(|(a, b)| (a - b).abs() / size);
    means.chain(covariances).fold(0.0, f64::max)
}

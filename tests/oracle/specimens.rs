//! The oracles and levels that the laws run over.

use diffusion_sampler::{
    NoiseLevel,
    oracle::{Empirical, Gaussian, GaussianMixture, Oracle},
};
use ndarray::{Array2, array};

pub(crate) fn level(alpha: f64, sigma: f64) -> NoiseLevel {
    NoiseLevel::new(0.5, alpha, sigma).unwrap()
}

/// Variance preserving, exploding, rectified flow, nearly clean, nearly pure noise.
pub(crate) fn levels() -> Vec<NoiseLevel> {
    [
        (0.8, 0.6),
        (1.0, 3.0),
        (0.3, 0.7),
        (0.9999, 0.05),
        (0.02, 1.0),
    ]
    .map(|(a, s)| level(a, s))
    .to_vec()
}

pub(crate) fn correlated() -> Gaussian {
    let covariance = array![[2.0, 0.6, -0.3], [0.6, 1.0, 0.2], [-0.3, 0.2, 0.5]];
    Gaussian::new(&[1.0, -1.0, 0.5], &covariance).unwrap()
}

/// Full, diagonal, isotropic and singular components in three classes.
pub(crate) fn mixture() -> GaussianMixture {
    GaussianMixture::new(
        &[1.0, 2.0, 0.5, 1.5],
        vec![
            correlated(),
            Gaussian::diagonal(&[-1.0, 0.0, 2.0], &[0.3, 0.1, 1.0]).unwrap(),
            Gaussian::isotropic(&[0.0, 1.0, -1.0], 0.2).unwrap(),
            Gaussian::new(
                &[0.5, 0.5, 0.0],
                &array![[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.3]],
            )
            .unwrap(),
        ],
        vec![0, 1, 2, 1],
    )
    .unwrap()
}

pub(crate) fn smooth_mixture() -> GaussianMixture {
    let all = mixture();
    GaussianMixture::new(
        &all.weights()[..3],
        all.components()[..3].to_vec(),
        vec![0, 1, 0],
    )
    .unwrap()
}

pub(crate) fn points() -> Array2<f64> {
    array![
        [0.0, 0.0, 0.0],
        [1.0, -0.5, 0.3],
        [-1.0, 2.0, 0.1],
        [0.7, 0.7, -1.2],
        [0.2, -1.5, 0.9]
    ]
}

pub(crate) fn empirical() -> Empirical {
    Empirical::labelled(&points(), vec![0, 1, 1, 2, 0]).unwrap()
}

/// Every implementor of the trait, in three dimensions.
pub(crate) fn oracles() -> Vec<(&'static str, Box<dyn Oracle>)> {
    vec![
        ("full Gaussian", Box::new(correlated())),
        (
            "diagonal Gaussian with a fixed coordinate",
            Box::new(Gaussian::diagonal(&[0.3, -2.0, 1.0], &[0.5, 0.0, 2.0]).unwrap()),
        ),
        (
            "isotropic Gaussian",
            Box::new(Gaussian::isotropic(&[1.0, 0.0, 0.0], 0.25).unwrap()),
        ),
        ("mixture", Box::new(mixture())),
        ("smooth mixture", Box::new(smooth_mixture())),
        (
            "one class of the mixture",
            Box::new(mixture().condition(1).unwrap()),
        ),
        ("empirical", Box::new(empirical())),
        (
            "one class of the empirical data",
            Box::new(empirical().condition(1).unwrap()),
        ),
    ]
}

/// Runs a law at every oracle, level and a few points: at the data's mean, near it and in the tail.
pub(crate) fn everywhere(mut law: impl FnMut(&str, &dyn Oracle, &NoiseLevel, &[f64])) {
    for (name, oracle) in oracles() {
        for level in levels() {
            let (mean, _) = oracle.moments().unwrap();
            for offset in [
                [0.0; 3],
                [0.4, -0.3, 0.2],
                [-1.0, 1.3, 0.8],
                [2.0, 3.0, -4.0],
            ] {
                let x: Vec<f64> = mean
                    .iter()
                    .zip(offset)
                    .map(|(m, o)| level.alpha() * m + o * (level.alpha() + level.sigma()))
                    .collect();
                law(name, &*oracle, &level, &x);
            }
        }
    }
}

/// The central difference of a vector-valued function along coordinate i.
pub(crate) fn difference(f: impl Fn(&[f64]) -> Vec<f64>, x: &[f64], i: usize, h: f64) -> Vec<f64> {
    let at = |h: f64| {
        let mut shifted = x.to_vec();
        shifted[i] += h;
        f(&shifted)
    };
    let (up, down) = (at(h), at(-h));
    up.iter()
        .zip(&down)
        .map(|(u, d)| (u - d) / (2.0 * h))
        .collect()
}

#[track_caller]
pub(crate) fn assert_close(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!(
            (f - e).abs() <= tolerance * (1.0 + e.abs()),
            "{what}: [{i}] is {f:e}, expected {e:e}"
        );
    }
}

//! One dimension by brute force. The trapezoidal rule converges exponentially on densities that
//! vanish at both ends.

use diffusion_sampler::{
    NoiseLevel,
    oracle::{Empirical, Gaussian, GaussianMixture, Oracle},
};
use ndarray::array;

use crate::specimens::{assert_close, levels};

fn integrate(from: f64, to: f64, f: impl Fn(f64) -> f64) -> f64 {
    let n = 40_000;
    let h = (to - from) / f64::from(n);
    (1..n).map(|k| f(from + f64::from(k) * h)).sum::<f64>() * h
}

fn normal(x: f64, mean: f64, variance: f64) -> f64 {
    (-(x - mean).powi(2) / (2.0 * variance)).exp() / (std::f64::consts::TAU * variance).sqrt()
}

/// Weight, mean, variance: the data law of the tests below.
const PARTS: [(f64, f64, f64); 3] = [(0.5, -1.0, 0.2), (0.2, 0.5, 0.05), (0.3, 2.0, 0.6)];

fn mixture() -> GaussianMixture {
    GaussianMixture::new(
        &PARTS.map(|p| p.0),
        PARTS
            .iter()
            .map(|&(_, m, v)| Gaussian::isotropic(&[m], v).unwrap())
            .collect(),
        vec![0, 1, 0],
    )
    .unwrap()
}

fn line() -> Vec<(&'static str, Box<dyn Oracle>)> {
    vec![
        (
            "Gaussian",
            Box::new(Gaussian::new(&[0.7], &array![[0.4]]).unwrap()),
        ),
        ("mixture", Box::new(mixture())),
        (
            "empirical",
            Box::new(Empirical::new(&array![[-1.0], [0.2], [0.9]]).unwrap()),
        ),
    ]
}

#[test]
fn the_density_integrates_to_one() {
    for (name, oracle) in line() {
        for level in levels() {
            let reach = 8.0 * level.alpha() + 12.0 * level.sigma();
            let mass = integrate(-reach, reach, |x| {
                oracle.log_density(&[x], &level).unwrap().exp()
            });
            assert!((mass - 1.0).abs() < 1e-12, "{name} at {level:?}: {mass}");
        }
    }
}

fn brute_force(x: f64, level: &NoiseLevel, power: i32) -> f64 {
    let joint = |x0: f64| {
        let data: f64 = PARTS.iter().map(|&(w, m, v)| w * normal(x0, m, v)).sum();
        data * normal(x, level.alpha() * x0, level.sigma().powi(2))
    };
    integrate(-9.0, 9.0, |x0| x0.powi(power) * joint(x0)) / integrate(-9.0, 9.0, joint)
}

#[test]
fn the_data_estimate_and_the_posterior_covariance_are_integrals_over_the_data() {
    for level in levels() {
        for x in [-2.0, -0.3, 0.4, 1.7] {
            let d = mixture().data_estimate(&[x], &level).unwrap();
            let first = brute_force(x, &level, 1);
            assert_close(&d, &[first], 1e-11, "D");
            let covariance = mixture().posterior_covariance(&[x], &level).unwrap();
            let second = brute_force(x, &level, 2) - first * first;
            assert_close(&[covariance[[0, 0]]], &[second], 1e-10, "covariance");
        }
    }
}

#[test]
fn the_log_density_is_an_integral_over_the_data() {
    for level in levels() {
        let x = 0.3;
        let density = integrate(-9.0, 9.0, |x0| {
            PARTS
                .iter()
                .map(|&(w, m, v)| w * normal(x0, m, v))
                .sum::<f64>()
                * normal(x, level.alpha() * x0, level.sigma().powi(2))
        });
        let found = mixture().log_density(&[x], &level).unwrap();
        assert_close(&[found], &[density.ln()], 1e-11, "ln p");
    }
}

#[test]
fn the_empirical_estimate_is_the_naive_weighted_mean() {
    let points = [-1.0, 0.2, 0.9, 0.9];
    let data = Empirical::new(&array![[-1.0], [0.2], [0.9], [0.9]]).unwrap();
    for level in levels() {
        let x = 0.35;
        let weights = points.map(|p| normal(x, level.alpha() * p, level.sigma().powi(2)));
        let total: f64 = weights.iter().sum();
        let d: f64 = weights.iter().zip(points).map(|(w, p)| w * p / total).sum();
        assert_close(&data.data_estimate(&[x], &level).unwrap(), &[d], 1e-12, "D");
        let found = data.log_density(&[x], &level).unwrap();
        assert_close(&[found], &[(total / 4.0).ln()], 1e-12, "ln p");
    }
}

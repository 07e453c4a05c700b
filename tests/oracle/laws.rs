//! What every oracle obeys.

use diffusion_sampler::oracle::{
    Gaussian, GaussianMixture, LabelledOracle, Oracle, sample_moments,
};
use ndarray::{Array2, array};
use proptest::prelude::*;
use rand::{SeedableRng, rngs::SmallRng};

use crate::specimens::*;

#[test]
fn the_score_is_the_gradient_of_the_log_density() {
    everywhere(|name, oracle, level, x| {
        let score = oracle.score(x, level).unwrap();
        // Truncation h²/σ³ and rounding 1e-16·|ln p|/h.
        let h = 1e-4 * level.sigma();
        for i in 0..3 {
            let slope = difference(|x| vec![oracle.log_density(x, level).unwrap()], x, i, h)[0];
            let tolerance = 1e-6 * (1.0 + score[i].abs()) / level.sigma().min(1.0);
            assert!(
                (slope - score[i]).abs() < tolerance,
                "{name} at {level:?}: {slope} {}",
                score[i]
            );
        }
    });
}

#[test]
fn the_data_estimate_is_tweedies() {
    everywhere(|name, oracle, level, x| {
        let (alpha, sigma) = (level.alpha(), level.sigma());
        let d = oracle.data_estimate(x, level).unwrap();
        let score = oracle.score(x, level).unwrap();
        for i in 0..3 {
            // x − αD = −σ² score, without the division that would amplify rounding.
            let gap = x[i] - alpha * d[i] + sigma * sigma * score[i];
            assert!(
                gap.abs() < 1e-14 * (1.0 + x[i].abs()),
                "{name} at {level:?}: {gap:e}"
            );
        }
    });
}

#[test]
fn the_posterior_covariance_is_the_slope_of_the_data_estimate() {
    everywhere(|name, oracle, level, x| {
        let covariance = oracle.posterior_covariance(x, level).unwrap();
        let factor = level.sigma().powi(2) / level.alpha();
        for i in 0..3 {
            let slope = difference(
                |x| oracle.data_estimate(x, level).unwrap(),
                x,
                i,
                1e-5 * level.sigma(),
            );
            for j in 0..3 {
                assert!((covariance[[i, j]] - covariance[[j, i]]).abs() < 1e-15);
                let expected = factor * slope[j];
                assert!(
                    (covariance[[i, j]] - expected).abs() < 1e-6 * (1.0 + expected.abs()),
                    "{name} at {level:?}: {} {expected}",
                    covariance[[i, j]]
                );
            }
        }
    });
}

#[test]
fn the_mean_posterior_covariance_and_the_covariance_of_the_mean_add_up_to_the_datas() {
    // E[Cov(x₀|x_t)] + Cov(E[x₀|x_t]) = Cov(x₀), by exact sampling of x_t; 40000 draws, 5 standard
    // errors.
    let (data, level, n) = (mixture(), level(0.8, 0.6), 40_000);
    let mut rng = SmallRng::seed_from_u64(1);
    let x0 = data.sample(n, &mut rng).unwrap().points;
    let noise = Gaussian::isotropic(&[0.0; 3], 0.36)
        .unwrap()
        .sample(n, &mut rng)
        .unwrap();
    let x = 0.8 * &x0 + &noise;
    let (mut estimates, mut within) = (Array2::zeros((n, 3)), Array2::<f64>::zeros((3, 3)));
    for (row, mut estimate) in x.rows().into_iter().zip(estimates.rows_mut()) {
        let row = row.as_slice().unwrap();
        estimate.assign(&ndarray::arr1(&data.data_estimate(row, &level).unwrap()));
        within = within + data.posterior_covariance(row, &level).unwrap();
    }
    let (_, between) = sample_moments(&estimates).unwrap();
    let total = within / n as f64 + between;
    let (_, expected) = data.moments().unwrap();
    for (found, expected) in total.iter().zip(&expected) {
        assert!(
            (found - expected).abs() < 5.0 * 2.0 / (n as f64).sqrt(),
            "{found} {expected}"
        );
    }
}

#[test]
fn a_correlated_gaussian_agrees_with_explicit_two_by_two_algebra() {
    let (m, c) = ([0.5, -1.0], array![[1.5, -0.7], [-0.7, 0.8]]);
    let data = Gaussian::new(&m, &c).unwrap();
    for level in levels() {
        let (alpha, sigma) = (level.alpha(), level.sigma());
        let s = |i, j| alpha * alpha * c[[i, j]] + if i == j { sigma * sigma } else { 0.0 };
        let det = s(0, 0) * s(1, 1) - s(0, 1) * s(1, 0);
        let x = [0.9, 0.4];
        let r = [x[0] - alpha * m[0], x[1] - alpha * m[1]];
        let solved = [
            (s(1, 1) * r[0] - s(0, 1) * r[1]) / det,
            (s(0, 0) * r[1] - s(1, 0) * r[0]) / det,
        ];
        let log_density = -(std::f64::consts::TAU.ln())
            - 0.5 * det.ln()
            - 0.5 * (r[0] * solved[0] + r[1] * solved[1]);
        let d: Vec<f64> = (0..2)
            .map(|i| m[i] + alpha * (c[[i, 0]] * solved[0] + c[[i, 1]] * solved[1]))
            .collect();
        assert_close(&data.data_estimate(&x, &level).unwrap(), &d, 1e-13, "D");
        assert_close(
            &data.score(&x, &level).unwrap(),
            &solved.map(|s| -s),
            1e-12,
            "score",
        );
        assert_close(
            &[data.log_density(&x, &level).unwrap()],
            &[log_density],
            1e-13,
            "ln p",
        );
    }
}

#[test]
fn a_mixture_of_one_component_is_that_gaussian_to_the_bit() {
    let one = correlated();
    let mixture = GaussianMixture::new(&[0.3], vec![one.clone()], vec![0]).unwrap();
    for level in levels() {
        let x = [0.2, 3.0, -1.0];
        assert_eq!(
            mixture.data_estimate(&x, &level),
            one.data_estimate(&x, &level)
        );
        assert_eq!(mixture.score(&x, &level), one.score(&x, &level));
        assert_eq!(mixture.log_density(&x, &level), one.log_density(&x, &level));
        let (a, b) = (
            mixture.posterior_covariance(&x, &level).unwrap(),
            one.posterior_covariance(&x, &level).unwrap(),
        );
        assert_close(
            a.as_slice().unwrap(),
            b.as_slice().unwrap(),
            1e-15,
            "covariance",
        );
    }
}

#[test]
fn a_data_set_is_a_mixture_of_points() {
    let data = empirical();
    let points: Vec<Gaussian> = points()
        .rows()
        .into_iter()
        .map(|p| Gaussian::isotropic(p.as_slice().unwrap(), 0.0).unwrap())
        .collect();
    let mixture = GaussianMixture::new(&[1.0; 5], points, data.labels().to_vec()).unwrap();
    for level in levels() {
        let x = [0.3, -0.2, 0.6];
        let close = |a: Vec<f64>, b: Vec<f64>, what| assert_close(&a, &b, 1e-12, what);
        close(
            data.data_estimate(&x, &level).unwrap(),
            mixture.data_estimate(&x, &level).unwrap(),
            "D",
        );
        close(
            data.score(&x, &level).unwrap(),
            mixture.score(&x, &level).unwrap(),
            "score",
        );
        close(
            vec![data.log_density(&x, &level).unwrap()],
            vec![mixture.log_density(&x, &level).unwrap()],
            "ln p",
        );
        close(
            data.responsibilities(&x, &level).unwrap(),
            mixture.responsibilities(&x, &level).unwrap(),
            "responsibilities",
        );
        close(
            data.class_log_posterior(&x, &level).unwrap(),
            mixture.class_log_posterior(&x, &level).unwrap(),
            "class posterior",
        );
        close(
            data.class_gradient(&x, &level, 1).unwrap(),
            mixture.class_gradient(&x, &level, 1).unwrap(),
            "class gradient",
        );
        close(
            data.posterior_covariance(&x, &level)
                .unwrap()
                .into_iter()
                .collect(),
            mixture
                .posterior_covariance(&x, &level)
                .unwrap()
                .into_iter()
                .collect(),
            "covariance",
        );
    }
    let (a, b) = (data.moments().unwrap(), mixture.moments().unwrap());
    assert_close(&a.0, &b.0, 1e-15, "mean");
    assert_close(
        a.1.as_slice().unwrap(),
        b.1.as_slice().unwrap(),
        1e-15,
        "covariance",
    );
}

/// Samples agree with the exact moments: each entry within 5 standard errors (false alarms below
/// 1e-5 in all).
#[test]
fn samples_have_the_moments_of_the_law() {
    let n = 20_000;
    let mut rng = SmallRng::seed_from_u64(7);
    let cases: [(&dyn Oracle, Array2<f64>); 3] = [
        (&correlated(), correlated().sample(n, &mut rng).unwrap()),
        (&mixture(), mixture().sample(n, &mut rng).unwrap().points),
        (
            &empirical(),
            empirical().sample(n, &mut rng).unwrap().points,
        ),
    ];
    for (oracle, samples) in &cases {
        let (mean, covariance) = sample_moments(samples).unwrap();
        let (exact_mean, exact) = oracle.moments().unwrap();
        for i in 0..3 {
            let error = (exact[[i, i]] / n as f64).sqrt();
            assert!((mean[i] - exact_mean[i]).abs() < 5.0 * error);
            for j in 0..3 {
                // The variance of a product of centred variables, with room for the mixtures'
                // kurtosis.
                let error = (3.0 * exact[[i, i]] * exact[[j, j]] / n as f64).sqrt();
                assert!((covariance[[i, j]] - exact[[i, j]]).abs() < 5.0 * error);
            }
        }
    }
}

#[test]
fn draws_say_where_they_come_from() {
    let mut rng = SmallRng::seed_from_u64(3);
    let data = empirical();
    let draws = data.sample(200, &mut rng).unwrap();
    for (i, &k) in draws.components.iter().enumerate() {
        assert_eq!(draws.points.row(i), points().row(k));
        assert_eq!(draws.labels[i], [0, 1, 1, 2, 0][k]);
    }
    let draws = mixture().sample(10_000, &mut rng).unwrap();
    let share = draws.components.iter().filter(|k| **k == 1).count() as f64 / 10_000.0;
    assert!((share - 0.4).abs() < 5.0 * (0.24f64 / 10_000.0).sqrt());
    for (k, label) in draws.components.iter().zip(&draws.labels) {
        assert_eq!(*label, [0, 1, 2, 1][*k]);
    }
}

#[test]
fn values_are_stable() {
    // A change of these bits is value-breaking.
    let level = level(0.8, 0.6);
    let d = mixture().data_estimate(&[0.25, -0.5, 1.0], &level).unwrap();
    let bits: Vec<u64> = d.iter().map(|v| v.to_bits()).collect();
    assert_eq!(bits, VALUES, "{bits:#x?}");
    let sample = correlated().sample(1, &mut ConstantSteps(0)).unwrap();
    let bits: Vec<u64> = sample.iter().map(|v| v.to_bits()).collect();
    assert_eq!(bits, SAMPLE, "{bits:#x?}");
}

const VALUES: [u64; 3] = [0xbfb5167107dc0773, 0xbfd2421488c175e8, 0x3ff090f9b840ca23];
const SAMPLE: [u64; 3] = [0xbfeaeb04c19aebac, 0xbfd45a0d7baef73b, 0x3ff552b1a54c5106];

/// A generator of its own, so that the test does not depend on `rand`'s.
struct ConstantSteps(u64);

impl rand::RngCore for ConstantSteps {
    fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.0
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        for b in bytes {
            *b = self.next_u64() as u8;
        }
    }
}

#[test]
fn pointers_to_oracles_are_oracles() {
    fn at(oracle: impl LabelledOracle) -> (Vec<f64>, Vec<f64>, usize) {
        let (x, level) = ([0.3, -0.2, 0.6], level(0.8, 0.6));
        let d = oracle.data_estimate(&x, &level).unwrap();
        let posterior = oracle.class_log_posterior(&x, &level).unwrap();
        (d, posterior, oracle.label_count())
    }
    let expected = at(mixture());
    let owned = mixture();
    let lent: &dyn LabelledOracle = &owned;
    assert_eq!(at(lent), expected);
    assert_eq!(at(Box::new(mixture())), expected);
    assert_eq!(at(std::sync::Arc::new(mixture())), expected);
    let unsized_oracle: Box<dyn LabelledOracle> = Box::new(mixture());
    assert_eq!(at(unsized_oracle), expected);
}

#[test]
fn a_gaussians_draws_are_the_generators_noise() {
    use diffusion_sampler::noise::{NoiseKey, NoiseSource, RngNoise, Stream};
    let data = Gaussian::diagonal(&[1.0, -2.0, 0.0], &[4.0, 0.25, 1.0]).unwrap();
    let draws = data.sample(50, &mut SmallRng::seed_from_u64(5)).unwrap();
    let mut z = [0.0; 150];
    let key = NoiseKey::new(0, 0, Stream::Forward);
    RngNoise::new(SmallRng::seed_from_u64(5)).fill(key, 0, &mut z);
    for (row, z) in draws.rows().into_iter().zip(z.chunks(3)) {
        let expected = [1.0 + 2.0 * z[0], -2.0 + 0.5 * z[1], z[2]];
        assert_eq!(row.to_vec(), expected);
    }
}

proptest! {
    /// Any symmetric B Bᵀ is a covariance; its Gaussian rebuilds it, and Tweedie's formula holds.
    #[test]
    fn random_covariances_are_rebuilt(
        entries in prop::collection::vec(-2.0f64..2.0, 16),
        mean in prop::collection::vec(-5.0f64..5.0, 4),
        x in prop::collection::vec(-10.0f64..10.0, 4),
        rho in 0.01f64..20.0,
    ) {
        let b = Array2::from_shape_vec((4, 4), entries).unwrap();
        let covariance = b.dot(&b.t());
        let data = Gaussian::new(&mean, &covariance).unwrap();
        let (rebuilt_mean, rebuilt) = data.moments().unwrap();
        prop_assert_eq!(&rebuilt_mean, &mean);
        for (a, b) in rebuilt.iter().zip(&covariance) {
            prop_assert!((a - b).abs() < 1e-12);
        }
        let axes = data.axes().unwrap();
        let identity = axes.t().dot(&axes);
        for (a, b) in identity.iter().zip(&Array2::<f64>::eye(4)) {
            prop_assert!((a - b).abs() < 1e-13);
        }
        let level = level(1.0, rho);
        let (d, score) = (data.data_estimate(&x, &level).unwrap(), data.score(&x, &level).unwrap());
        for i in 0..4 {
            prop_assert!((x[i] - d[i] + rho * rho * score[i]).abs() < 1e-12);
        }
    }
}

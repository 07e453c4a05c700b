//! The two ends of the noise, and far tails.

use diffusion_sampler::{
    Error, NoiseLevel,
    oracle::{Empirical, Gaussian, GaussianMixture, LabelledOracle, Oracle},
};
use ndarray::{Array2, array};
use proptest::prelude::*;

use crate::specimens::*;

#[test]
fn at_no_noise_the_data_is_known() {
    let clean = level(0.5, 0.0);
    for (name, oracle) in oracles() {
        assert_eq!(
            oracle.data_estimate(&[1.0, -2.0, 3.0], &clean).unwrap(),
            [2.0, -4.0, 6.0],
            "{name}"
        );
        let covariance = oracle
            .posterior_covariance(&[1.0, -2.0, 3.0], &clean)
            .unwrap();
        assert_eq!(covariance, Array2::<f64>::zeros((3, 3)), "{name}");
    }
}

#[test]
fn at_no_noise_a_density_is_the_datas_or_an_error() {
    let (clean, x) = (NoiseLevel::clean(), [0.4, -0.1, 0.8]);
    let mut with_density = 0;
    for (name, oracle) in oracles() {
        match (oracle.log_density(&x, &clean), oracle.score(&x, &clean)) {
            (Ok(exact), Ok(score)) => {
                let near = level(1.0, 1e-6);
                with_density += 1;
                assert_close(
                    &[oracle.log_density(&x, &near).unwrap()],
                    &[exact],
                    1e-9,
                    name,
                );
                assert_close(&oracle.score(&x, &near).unwrap(), &score, 1e-9, name);
            }
            (Err(density), Err(score)) => {
                assert!(
                    matches!(density, Error::InvalidParameter { name: "sigma", .. }),
                    "{name}"
                );
                assert_eq!(density, score);
            }
            _ => panic!("{name}: one is defined and the other is not"),
        }
    }
    assert_eq!(with_density, 3);
    assert!(empirical().class_gradient(&x, &clean, 0).is_err());
    assert!(empirical().class_log_posterior(&x, &clean).is_err());
    assert!(smooth_mixture().class_gradient(&x, &clean, 0).is_ok());
}

#[test]
fn at_pure_noise_the_data_is_unknown() {
    let noise = level(0.0, 2.0);
    for x in [[0.3, -0.8, 1.0], [1e6, -1e6, 3e5]] {
        for (name, oracle) in oracles() {
            let (mean, covariance) = oracle.moments().unwrap();
            assert_close(
                &oracle.data_estimate(&x, &noise).unwrap(),
                &mean,
                1e-15,
                name,
            );
            assert_close(
                &oracle.score(&x, &noise).unwrap(),
                &x.map(|x| -x / 4.0),
                1e-14,
                name,
            );
            let posterior = oracle.posterior_covariance(&x, &noise).unwrap();
            assert_close(
                posterior.as_slice().unwrap(),
                covariance.as_slice().unwrap(),
                1e-13,
                name,
            );
            let square: f64 = x.iter().map(|x| x * x).sum();
            let density = -1.5 * (std::f64::consts::TAU * 4.0).ln() - square / 8.0;
            assert_close(
                &[oracle.log_density(&x, &noise).unwrap()],
                &[density],
                1e-14,
                name,
            );
        }
    }
    assert_eq!(
        mixture().class_gradient(&[1.0; 3], &noise, 1).unwrap(),
        [0.0; 3]
    );
    assert_eq!(
        empirical().class_gradient(&[1.0; 3], &noise, 1).unwrap(),
        [0.0; 3]
    );
}

#[test]
fn little_noise_approaches_the_limit() {
    // On the data's support D → x/α like σ².
    let x0 = [1.0, -0.5, 0.3];
    for (name, oracle) in oracles()
        .into_iter()
        .filter(|(n, _)| !n.contains("fixed") && !n.contains("class of"))
    {
        for sigma in [1e-3, 1e-6, 1e-9] {
            let d = oracle.data_estimate(&x0, &level(1.0, sigma)).unwrap();
            let error = d
                .iter()
                .zip(x0)
                .map(|(d, x)| (d - x).abs())
                .fold(0.0, f64::max);
            if name.contains("mpirical") {
                assert!(error < 1e-14, "{name}: {error}");
            } else {
                assert!(error < 100.0 * sigma * sigma + 1e-14, "{name}: {error}");
            }
        }
    }
}

#[test]
fn a_million_away_responsibilities_choose_the_nearest_class() {
    let far = GaussianMixture::new(
        &[0.5, 0.5],
        vec![
            Gaussian::isotropic(&[-1.0, 0.0], 0.1).unwrap(),
            Gaussian::isotropic(&[1.0, 0.0], 0.1).unwrap(),
        ],
        vec![0, 1],
    )
    .unwrap();
    for level in levels() {
        let r = far.responsibilities(&[1e6, 3.0], &level).unwrap();
        assert_eq!(r, [0.0, 1.0]);
        let d = far.data_estimate(&[1e6, 3.0], &level).unwrap();
        assert_eq!(
            d,
            far.condition(1)
                .unwrap()
                .data_estimate(&[1e6, 3.0], &level)
                .unwrap()
        );
    }
    let data = Empirical::new(&array![[-1.0, 0.0], [1.0, 0.0]]).unwrap();
    assert_eq!(
        data.data_estimate(&[1e6, 3.0], &level(0.8, 0.6)).unwrap(),
        [1.0, 0.0]
    );
}

/// Everything that can be asked at a point; all of it must be a number.
fn is_finite_everywhere(oracle: &dyn Oracle, x: &[f64], level: &NoiseLevel) -> bool {
    let finite = |v: Vec<f64>| v.iter().all(|v| v.is_finite());
    finite(oracle.data_estimate(x, level).unwrap())
        && oracle
            .posterior_covariance(x, level)
            .unwrap()
            .iter()
            .all(|v| v.is_finite())
        && oracle.score(x, level).map_or(true, finite)
        && oracle.log_density(x, level).map_or(true, f64::is_finite)
}

fn extreme() -> impl Strategy<Value = f64> {
    (
        any::<bool>(),
        -40.0f64..30.0,
        prop::sample::select(vec![0.0, 1.0, 1e6, 1e30]),
        any::<bool>(),
    )
        .prop_map(|(negative, exponent, special, choose)| {
            let magnitude = if choose {
                special
            } else {
                10f64.powf(exponent)
            };
            if negative { -magnitude } else { magnitude }
        })
}

fn extreme_scale() -> impl Strategy<Value = f64> {
    (
        -30.0f64..30.0,
        prop::sample::select(vec![0.0, 1.0, 1e-30, 1e30]),
        any::<bool>(),
    )
        .prop_map(|(exponent, special, choose)| {
            if choose {
                special
            } else {
                10f64.powf(exponent).clamp(1e-30, 1e30)
            }
        })
}

proptest! {
    #[test]
    fn no_valid_input_gives_a_nan(
        x in prop::collection::vec(extreme(), 3),
        alpha in extreme_scale(),
        sigma in extreme_scale(),
        label in 0usize..3,
    ) {
        prop_assume!(alpha + sigma > 0.0);
        let level = level(alpha, sigma);
        for (name, oracle) in oracles() {
            prop_assert!(is_finite_everywhere(&*oracle, &x, &level), "{name} at {level:?}, {x:?}");
        }
        for oracle in [&mixture() as &dyn LabelledOracle, &empirical()] {
            if let Ok(gradient) = oracle.class_gradient(&x, &level, label) {
                prop_assert!(gradient.iter().all(|g| g.is_finite()));
                prop_assert!(oracle.class_log_posterior(&x, &level).unwrap().iter().all(|l| !l.is_nan()));
            }
        }
    }

    #[test]
    fn extreme_laws_give_no_nan_either(
        mean in prop::collection::vec(extreme(), 2),
        deviation in prop::collection::vec(extreme_scale(), 2),
        x in prop::collection::vec(extreme(), 2),
        alpha in extreme_scale(),
        sigma in extreme_scale(),
    ) {
        prop_assume!(alpha + sigma > 0.0);
        let level = level(alpha, sigma);
        let variances: Vec<f64> = deviation.iter().map(|d| if *d == 0.0 { 0.0 } else { (d * d).clamp(1e-60, 1e60) }).collect();
        let wide = Gaussian::diagonal(&mean, &variances).unwrap();
        let unit = Gaussian::isotropic(&[0.0, 1.0], 1.0).unwrap();
        let both = GaussianMixture::new(&[1.0, 1e-9], vec![wide.clone(), unit], vec![0, 1]).unwrap();
        let set = Empirical::new(&array![[mean[0], mean[1]], [0.0, 1.0]]).unwrap();
        for oracle in [&wide as &dyn Oracle, &both, &set] {
            prop_assert!(is_finite_everywhere(oracle, &x, &level), "{oracle:?}", oracle = oracle.moments().unwrap());
        }
    }
}

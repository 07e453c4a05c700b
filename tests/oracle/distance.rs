//! The Fréchet distance against closed forms, and the moments of samples.

use diffusion_sampler::{
    Error,
    oracle::{Gaussian, Oracle, frechet_distance, sample_moments},
};
use ndarray::{Array2, array};
use proptest::prelude::*;

fn spread(a: &Array2<f64>, b: &Array2<f64>) -> f64 {
    let zero = vec![0.0; a.nrows()];
    frechet_distance(&zero, a, &zero, b).unwrap()
}

fn covariance(entries: Vec<f64>, d: usize) -> Array2<f64> {
    let b = Array2::from_shape_vec((d, d), entries).unwrap();
    b.dot(&b.t())
}

proptest! {
    #[test]
    fn commuting_covariances_differ_by_their_standard_deviations(
        entries in prop::collection::vec(-1.0f64..1.0, 25),
        a in prop::collection::vec(0.0f64..3.0, 5),
        b in prop::collection::vec(0.0f64..3.0, 5),
    ) {
        // U from the eigenvectors of some covariance; tr(…) = Σ(√a − √b)².
        let u = diffusion_sampler::oracle::Gaussian::new(&[0.0; 5], &covariance(entries, 5)).unwrap().axes().unwrap();
        let with = |v: &[f64]| u.dot(&Array2::from_diag(&ndarray::arr1(v))).dot(&u.t());
        let expected: f64 = a.iter().zip(&b).map(|(a, b)| (a.sqrt() - b.sqrt()).powi(2)).sum();
        // A variance near 0 is known to 1e-16 only, its root to 1e-8.
        prop_assert!((spread(&with(&a), &with(&b)) - expected).abs() < 1e-7);
    }

    #[test]
    fn two_by_two_has_a_closed_form(
        a in prop::collection::vec(-2.0f64..2.0, 4),
        b in prop::collection::vec(-2.0f64..2.0, 4),
    ) {
        // tr (C₁C₂)^½ = √(tr C₁C₂ + 2 √det C₁C₂).
        let (a, b) = (covariance(a, 2), covariance(b, 2));
        let det = |m: &Array2<f64>| m[[0, 0]] * m[[1, 1]] - m[[0, 1]] * m[[1, 0]];
        prop_assume!(det(&a) > 1e-6 && det(&b) > 1e-6);
        let product = a.dot(&b);
        let cross = (product.diag().sum() + 2.0 * (det(&a) * det(&b)).sqrt()).sqrt();
        let expected = a.diag().sum() + b.diag().sum() - 2.0 * cross;
        prop_assert!((spread(&a, &b) - expected).abs() < 1e-12);
    }

    #[test]
    fn the_distance_is_symmetric_and_zero_on_equal_laws(
        a in prop::collection::vec(-1.0f64..1.0, 36),
        b in prop::collection::vec(-1.0f64..1.0, 36),
    ) {
        let (a, b) = (covariance(a, 6), covariance(b, 6));
        prop_assert!((spread(&a, &b) - spread(&b, &a)).abs() < 1e-12);
        prop_assert!(spread(&a, &a) < 1e-13);
    }
}

#[test]
fn singular_covariances_keep_all_digits() {
    // Rank one: the distance of uuᵀ and vvᵀ is |u|² + |v|² − 2|u·v|.
    let (u, v) = ([1.0, 2.0, 0.0, -1.0], [0.5, 0.0, 1.0, 0.25]);
    let outer = |u: &[f64; 4]| Array2::from_shape_fn((4, 4), |(i, j)| u[i] * u[j]);
    let dot = |u: &[f64; 4], v: &[f64; 4]| u.iter().zip(v).map(|(a, b)| a * b).sum::<f64>();
    let expected = dot(&u, &u) + dot(&v, &v) - 2.0 * dot(&u, &v).abs();
    assert!((spread(&outer(&u), &outer(&v)) - expected).abs() < 1e-7);
    assert!(spread(&outer(&u), &outer(&u)) < 1e-14);
    assert_eq!(spread(&Array2::zeros((3, 3)), &Array2::eye(3)), 3.0);
}

#[test]
fn means_add_their_squared_distance() {
    let a = array![[2.0, 0.3], [0.3, 1.0]];
    let d = frechet_distance(&[1.0, 2.0], &a, &[-2.0, 6.0], &a).unwrap();
    assert!((d - 25.0).abs() < 1e-14);
}

#[test]
fn sample_moments_are_the_textbooks() {
    let rows = array![[1.0, 2.0], [3.0, -1.0], [5.0, 2.0], [-1.0, 1.0]];
    let (mean, covariance) = sample_moments(&rows).unwrap();
    assert_eq!(mean, [2.0, 1.0]);
    let expected = array![[20.0, 0.0], [0.0, 6.0]] / 3.0;
    for (found, expected) in covariance.iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-14);
    }
    let by_columns = rows.t().as_standard_layout().into_owned();
    assert_eq!(sample_moments(&by_columns.t()).unwrap(), (mean, covariance));
}

#[test]
fn too_few_or_bad_samples_are_refused() {
    assert!(matches!(
        sample_moments(&array![[1.0f32, 2.0]]),
        Err(Error::InvalidParameter { name: "rows", .. })
    ));
    assert!(matches!(
        sample_moments(&array![[1.0, 2.0], [0.0, f64::NAN]]),
        Err(Error::InvalidEntry {
            name: "rows",
            index: 1,
            ..
        })
    ));
}

/// KL(a ‖ b) in two dimensions from determinants and the adjugate.
fn kl_2d(m: [f64; 2], a: &Array2<f64>, n: [f64; 2], b: &Array2<f64>) -> f64 {
    let det = |c: &Array2<f64>| c[[0, 0]] * c[[1, 1]] - c[[0, 1]] * c[[1, 0]];
    let inverse = array![[b[[1, 1]], -b[[0, 1]]], [-b[[1, 0]], b[[0, 0]]]] / det(b);
    let trace = inverse.dot(a).diag().sum();
    let r = array![m[0] - n[0], m[1] - n[1]];
    0.5 * (trace - 2.0 - (det(a) / det(b)).ln() + r.dot(&inverse.dot(&r)))
}

#[test]
fn the_kl_of_two_gaussians_is_the_textbooks() {
    let a = array![[2.0, 0.6], [0.6, 1.0]];
    let b = array![[0.5, -0.2], [-0.2, 0.7]];
    let (diagonal, round) = (
        array![[0.3, 0.0], [0.0, 4.0]],
        array![[2.0, 0.0], [0.0, 2.0]],
    );
    let (m, n) = ([1.0, -2.0], [-0.5, 0.75]);
    for first in [&a, &b, &diagonal, &round] {
        for second in [&a, &b, &diagonal, &round] {
            let found = Gaussian::new(&m, first)
                .unwrap()
                .kl(&Gaussian::new(&n, second).unwrap())
                .unwrap();
            let expected = kl_2d(m, first, n, second);
            assert!(
                (found - expected).abs() < 1e-13 * (1.0 + expected),
                "{found} {expected}"
            );
        }
    }
    // (m − n)²/2w alone, and a sign that m + n would not show.
    let (x, y) = (
        Gaussian::isotropic(&[3.0], 0.5).unwrap(),
        Gaussian::isotropic(&[1.0], 0.5).unwrap(),
    );
    assert_eq!(x.kl(&y).unwrap(), 4.0);
    assert_eq!(x.kl(&x).unwrap(), 0.0);
    let flat = Gaussian::diagonal(&[0.0; 2], &[1.0, 0.0]).unwrap();
    let full = Gaussian::new(&n, &a).unwrap();
    for pair in [flat.kl(&full), full.kl(&flat)] {
        assert!(matches!(
            pair,
            Err(Error::InvalidEntry {
                name: "variances",
                index: 1,
                ..
            })
        ));
    }
}

#[test]
fn the_wasserstein_distance_is_frechets_with_and_without_shared_axes() {
    let a = array![[2.0, 0.6], [0.6, 1.0]];
    let b = array![[0.5, -0.2], [-0.2, 0.7]];
    let with = |m: &[f64], c| Gaussian::new(m, c).unwrap();
    let (x, y) = (with(&[1.0, 2.0], &a), with(&[-2.0, 0.5], &b));
    // tr (C₁C₂)^½ = √(tr C₁C₂ + 2 √det C₁C₂).
    let det = (2.0 - 0.36) * (0.35 - 0.04f64);
    let cross = (a.dot(&b).diag().sum() + 2.0 * det.sqrt()).sqrt();
    let expected = 9.0 + 2.25 + 3.0 + 1.2 - 2.0 * cross;
    assert!((x.wasserstein_squared(&y).unwrap() - expected).abs() < 1e-13);
    let noisy = x.at_level(&crate::specimens::level(0.5, 2.0)).unwrap();
    let ((m, c), (n, e)) = (x.moments().unwrap(), noisy.moments().unwrap());
    let shared = x.wasserstein_squared(&noisy).unwrap();
    assert!((shared - frechet_distance(&m, &c, &n, &e).unwrap()).abs() < 1e-13);
    assert_eq!(
        x.wasserstein_squared(&Gaussian::centred(3, 1.0).unwrap()),
        Err(Error::WrongLength {
            name: "coordinates",
            expected: 2,
            found: 3
        })
    );
}

#[test]
fn a_gaussian_at_a_level_is_scaled_data_plus_noise() {
    let c = array![[2.0, 0.6], [0.6, 1.0]];
    let data = Gaussian::new(&[1.0, -3.0], &c).unwrap();
    let (mean, covariance) = data
        .at_level(&crate::specimens::level(0.5, 2.0))
        .unwrap()
        .moments()
        .unwrap();
    assert_eq!(mean, [0.5, -1.5]);
    let expected = array![[4.5, 0.15], [0.15, 4.25]];
    for (found, expected) in covariance.iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-14);
    }
    let huge = Gaussian::isotropic(&[0.0], 1e60).unwrap();
    let level = crate::specimens::level(10.0, 0.0);
    assert!(matches!(
        huge.at_level(&level),
        Err(Error::InvalidEntry {
            name: "variances",
            ..
        })
    ));
}

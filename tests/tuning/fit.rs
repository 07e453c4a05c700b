//! Mixtures fitted to data.

use diffusion_sampler::oracle::{Gaussian, GaussianMixture, MixtureFit, Oracle, sample_moments};
use diffusion_sampler::{Error, NoiseLevel};
use ndarray::{Array2, array};
use rand::SeedableRng;
use rand::rngs::SmallRng;

/// Three Gaussians in the plane with different shapes and weights.
fn known() -> GaussianMixture {
    let components = vec![
        Gaussian::new(&[-3.0, 0.0], &array![[0.5, 0.3], [0.3, 0.4]]).unwrap(),
        Gaussian::new(&[3.0, 1.0], &array![[0.2, 0.0], [0.0, 1.0]]).unwrap(),
        Gaussian::new(&[0.0, 5.0], &array![[1.0, -0.5], [-0.5, 0.6]]).unwrap(),
    ];
    GaussianMixture::new(&[0.5, 0.3, 0.2], components, vec![0, 1, 2]).unwrap()
}

fn drawn(count: usize, seed: u64) -> Array2<f64> {
    let draws = known().sample(count, &mut SmallRng::seed_from_u64(seed));
    draws.unwrap().points
}

/// A cloud without clusters, in d dimensions, with a coordinate that is always the same.
fn cloud(n: usize, d: usize, seed: u64) -> Array2<f64> {
    let gaussian = Gaussian::isotropic(&vec![0.0; d], 1.0).unwrap();
    let mut rows = gaussian
        .sample(n, &mut SmallRng::seed_from_u64(seed))
        .unwrap();
    rows.mapv_inplace(|x| x + 0.3 * x * x * x);
    rows.column_mut(0).fill(2.0);
    rows
}

#[test]
fn the_log_likelihood_never_falls() {
    let mut rounds = 0;
    for (rows, components) in [
        (drawn(300, 1), 5),
        (cloud(60, 6, 2), 4),
        (cloud(40, 12, 3), 7),
    ] {
        for fit in [
            MixtureFit::new(components),
            MixtureFit::new(components).diagonal(),
        ] {
            for floor in [1e-4, 0.05, 0.7] {
                let fit = fit.with_floor(floor).unwrap().with_tolerance(0.0).unwrap();
                let fitted = fit.with_rounds(60).fit(&rows).unwrap();
                let history = fitted.log_likelihoods;
                rounds += history.len();
                for pair in history.windows(2) {
                    let slack = 1e-12 * pair[0].abs().max(1.0);
                    assert!(pair[1] >= pair[0] - slack, "{} to {}", pair[0], pair[1]);
                }
            }
        }
    }
    assert!(rounds > 300, "{rounds} rounds prove little");
}

#[test]
fn the_last_log_likelihood_is_that_of_the_mixture() {
    let rows = drawn(200, 4);
    let fitted = MixtureFit::new(3).fit(&rows).unwrap();
    let clean = NoiseLevel::clean();
    let densities = rows.outer_iter().map(|row| {
        let density = fitted.mixture.log_density(&row.to_vec(), &clean);
        density.unwrap()
    });
    let mean = densities.sum::<f64>() / 200.0;
    let last = fitted.log_likelihoods.last().unwrap();
    assert!((mean - last).abs() < 1e-12 * last.abs());
}

#[test]
fn a_known_mixture_is_recovered() {
    let fitted = MixtureFit::new(3).fit(&drawn(8000, 5)).unwrap();
    assert!(fitted.converged);
    let truth = known();
    for (k, component) in truth.components().iter().enumerate() {
        let near = |other: &&Gaussian| {
            let pairs = other.mean().iter().zip(component.mean());
            pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) < 0.5
        };
        let places = fitted.mixture.components();
        let place = places.iter().position(|other| near(&other)).unwrap();
        let (mean, covariance) = component.moments().unwrap();
        let (found_mean, found) = places[place].moments().unwrap();
        // Four standard errors of a sample of that component.
        let weight = truth.weights()[k];
        let n = 8000.0 * weight;
        let off = (fitted.mixture.weights()[place] - weight).abs();
        assert!(off < 4.0 * (weight * (1.0 - weight) / 8000.0).sqrt());
        for i in 0..2 {
            let bound = 4.0 * (covariance[[i, i]] / n).sqrt();
            assert!((mean[i] - found_mean[i]).abs() < bound);
            for j in 0..2 {
                let square = covariance[[i, i]] * covariance[[j, j]];
                let error = ((square + covariance[[i, j]].powi(2)) / n).sqrt();
                assert!((covariance[[i, j]] - found[[i, j]]).abs() < 4.0 * error);
            }
        }
    }
}

#[test]
fn one_component_is_the_moments_of_the_sample() {
    let rows = drawn(500, 6);
    let fitted = MixtureFit::new(1)
        .with_floor(1e-9)
        .unwrap()
        .fit(&rows)
        .unwrap();
    let (mean, covariance) = sample_moments(&rows).unwrap();
    let (found_mean, found) = fitted.mixture.moments().unwrap();
    let determinant;
    {
        let c = covariance.mapv(|c| c * 499.0 / 500.0);
        determinant = c[[0, 0]] * c[[1, 1]] - c[[0, 1]] * c[[1, 0]];
        for i in 0..2 {
            assert!((mean[i] - found_mean[i]).abs() < 1e-12);
            for j in 0..2 {
                assert!((c[[i, j]] - found[[i, j]]).abs() < 1e-11);
            }
        }
    }
    // −½ (d ln 2π + ln det C + d), since the mean of (x − m)ᵀC⁻¹(x − m) is d.
    let expected = -(std::f64::consts::TAU.ln() + 0.5 * determinant.ln() + 1.0);
    let last = fitted.log_likelihoods.last().unwrap();
    assert!((last - expected).abs() < 1e-12);
}

#[test]
fn the_floor_raises_the_eigenvalues_and_nothing_else() {
    let rows = cloud(50, 4, 7);
    let (mean, covariance) = sample_moments(&rows).unwrap();
    let free = Gaussian::new(&mean, &covariance).unwrap();
    let floor = 1.6;
    let fit = MixtureFit::new(1).with_floor(floor).unwrap();
    let fitted = fit.fit(&rows).unwrap();
    let mut found = fitted.mixture.components()[0].variances().to_vec();
    let mut expected: Vec<f64> = free
        .variances()
        .iter()
        .map(|v| (v * 0.98).max(floor))
        .collect();
    found.sort_by(f64::total_cmp);
    expected.sort_by(f64::total_cmp);
    assert!(expected[0] == floor && expected[3] > floor, "{expected:?}");
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-11, "{found} {expected}");
    }
}

/// One round of EM for full covariances, written down naively: with inverses and determinants of 2×2
/// matrices.
#[test]
fn a_round_is_that_of_the_textbook() {
    let rows = drawn(60, 8);
    let fit = MixtureFit::new(4)
        .with_starts(1)
        .unwrap()
        .with_floor(1e-9)
        .unwrap();
    let before = fit.with_rounds(0).fit(&rows).unwrap().mixture;
    let after = fit.with_rounds(1).fit(&rows).unwrap().mixture;
    let count = before.components().len();
    let mut r = Array2::<f64>::zeros((60, count));
    for (k, component) in before.components().iter().enumerate() {
        let (m, c) = component.moments().unwrap();
        let det = c[[0, 0]] * c[[1, 1]] - c[[0, 1]] * c[[1, 0]];
        for (i, row) in rows.outer_iter().enumerate() {
            let (x, y) = (row[0] - m[0], row[1] - m[1]);
            let q = (c[[1, 1]] * x * x - 2.0 * c[[0, 1]] * x * y + c[[0, 0]] * y * y) / det;
            let density = (-0.5 * q).exp() / (std::f64::consts::TAU * det.sqrt());
            r[[i, k]] = before.weights()[k] * density;
        }
    }
    for mut row in r.rows_mut() {
        let total = row.sum();
        row /= total;
    }
    for (k, component) in after.components().iter().enumerate() {
        let weights = r.column(k);
        let n = weights.sum();
        assert!((after.weights()[k] - n / 60.0).abs() < 1e-13);
        let (m, c) = component.moments().unwrap();
        for a in 0..2 {
            let mean: f64 = (0..60).map(|i| weights[i] * rows[[i, a]]).sum::<f64>() / n;
            assert!((m[a] - mean).abs() < 1e-12);
            for b in 0..2 {
                let each =
                    (0..60).map(|i| weights[i] * (rows[[i, a]] - m[a]) * (rows[[i, b]] - m[b]));
                assert!((c[[a, b]] - each.sum::<f64>() / n).abs() < 1e-12);
            }
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bits_and_f32_is_read() {
    let rows = cloud(40, 5, 9);
    let fit = MixtureFit::new(3).with_seed(11);
    assert_eq!(fit.fit(&rows).unwrap(), fit.fit(&rows).unwrap());
    let narrow = rows.mapv(|x| x as f32);
    let widened = narrow.mapv(f64::from);
    assert_eq!(fit.fit(&narrow).unwrap(), fit.fit(&widened).unwrap());
    let mixture = GaussianMixture::fit(&rows, 3).unwrap();
    assert_eq!(mixture, MixtureFit::new(3).fit(&rows).unwrap().mixture);
}

#[test]
fn more_components_than_different_rows_and_points_alone_are_fitted() {
    let rows = array![[1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [5.0, 0.0]];
    let fitted = MixtureFit::new(3).fit(&rows).unwrap();
    assert!(fitted.log_likelihoods.iter().all(|value| value.is_finite()));
    let same = array![[1.0], [1.0]];
    let fitted = MixtureFit::new(2).fit(&same).unwrap();
    assert_eq!(fitted.mixture.moments().unwrap().0, [1.0]);
    assert!(
        fitted
            .mixture
            .components()
            .iter()
            .all(|c| c.variances() == [1e-30])
    );
}

#[test]
fn what_cannot_be_fitted_is_a_typed_error() {
    let refused =
        |rows: &Array2<f64>, components| MixtureFit::new(components).fit(rows).unwrap_err();
    let name = |error| match error {
        Error::InvalidParameter { name, value, .. } => (name, value),
        other => panic!("{other:?}"),
    };
    let rows = array![[0.0, 1.0], [1.0, 0.0]];
    assert_eq!(name(refused(&rows, 3)), ("components", 3.0));
    assert_eq!(name(refused(&rows, 0)), ("components", 0.0));
    assert_eq!(name(refused(&array![[0.0, 1.0]], 1)), ("rows", 1.0));
    assert_eq!(name(refused(&Array2::zeros((3, 0)), 1)), ("dimension", 0.0));
    let infinite = array![[0.0, 1.0], [1.0, f64::INFINITY]];
    let error = refused(&infinite, 1);
    assert!(
        matches!(
            error,
            Error::InvalidEntry {
                name: "rows",
                index: 1,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(MixtureFit::new(1).with_floor(0.0).is_err());
    assert!(MixtureFit::new(1).with_starts(0).is_err());
    assert!(MixtureFit::new(1).with_tolerance(f64::NAN).is_err());
}

//! Input that is refused, each with the error that names it.

use diffusion_sampler::{
    Error,
    oracle::{Empirical, Gaussian, GaussianMixture, frechet_distance},
};
use ndarray::{Array2, array};

use crate::specimens::*;

#[test]
fn bad_laws_are_refused() {
    let refused = |result: Result<Gaussian, Error>| result.unwrap_err();
    assert!(matches!(
        refused(Gaussian::new(&[0.0; 2], &array![[1.0, 0.5], [0.4, 1.0]])),
        Error::NotACovariance { index: 0, value } if (value - 0.1).abs() < 1e-15
    ));
    assert!(matches!(
        refused(Gaussian::new(&[0.0; 2], &array![[1.0, 2.0], [2.0, 1.0]])),
        Error::NotACovariance { value, .. } if (value + 1.0).abs() < 1e-14
    ));
    assert!(matches!(
        refused(Gaussian::new(&[0.0; 3], &Array2::eye(2))),
        Error::ShapeMismatch {
            name: "covariance",
            ..
        }
    ));
    assert!(matches!(
        refused(Gaussian::new(
            &[0.0; 2],
            &array![[1.0, f64::NAN], [0.0, 1.0]]
        )),
        Error::InvalidEntry {
            name: "covariance",
            index: 1,
            ..
        }
    ));
    assert!(matches!(
        refused(Gaussian::isotropic(&[0.0, f64::INFINITY], 1.0)),
        Error::InvalidEntry {
            name: "mean",
            index: 1,
            ..
        }
    ));
    assert!(matches!(
        refused(Gaussian::diagonal(&[0.0, 1.0], &[1.0, -1.0])),
        Error::InvalidEntry {
            name: "variances",
            index: 1,
            ..
        }
    ));
    assert!(matches!(
        refused(Gaussian::diagonal(&[0.0, 1.0], &[1.0])),
        Error::WrongLength {
            name: "variances",
            expected: 2,
            found: 1
        }
    ));
    assert!(matches!(
        refused(Gaussian::isotropic(&[], 1.0)),
        Error::InvalidParameter { .. }
    ));

    let unit = || Gaussian::isotropic(&[0.0], 1.0).unwrap();
    let plane = Gaussian::isotropic(&[0.0, 0.0], 1.0).unwrap();
    let mixture = |w: &[f64], c, l| GaussianMixture::new(w, c, l).unwrap_err();
    assert!(matches!(
        mixture(&[], vec![], vec![]),
        Error::InvalidParameter { .. }
    ));
    assert!(matches!(
        mixture(&[1.0], vec![unit(), unit()], vec![0, 0]),
        Error::WrongLength {
            name: "weights",
            ..
        }
    ));
    assert!(matches!(
        mixture(&[1.0], vec![unit()], vec![]),
        Error::WrongLength { name: "labels", .. }
    ));
    assert!(matches!(
        mixture(&[1.0, 1.0], vec![unit(), plane], vec![0, 0]),
        Error::WrongLength {
            name: "components",
            ..
        }
    ));
    for weight in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(
            mixture(&[weight, 1.0], vec![unit(), unit()], vec![0, 0]),
            Error::InvalidEntry {
                name: "weights",
                ..
            }
        ));
    }
    assert!(matches!(
        mixture(&[1.0], vec![unit()], vec![usize::MAX]),
        Error::InvalidEntry { name: "labels", .. }
    ));

    let set = |points: Array2<f64>| Empirical::new(&points).unwrap_err();
    assert!(matches!(
        set(Array2::zeros((0, 2))),
        Error::InvalidParameter { name: "points", .. }
    ));
    assert!(matches!(
        set(Array2::zeros((2, 0))),
        Error::InvalidParameter {
            name: "dimension",
            ..
        }
    ));
    assert!(matches!(
        set(array![[0.0], [f64::NAN]]),
        Error::InvalidEntry {
            name: "points",
            index: 1,
            ..
        }
    ));
    assert!(matches!(
        Empirical::labelled(&points(), vec![0]),
        Err(Error::WrongLength { name: "labels", .. })
    ));
    assert!(frechet_distance(&[0.0], &Array2::eye(1), &[0.0, 1.0], &Array2::eye(2)).is_err());
}

#[test]
fn bad_points_and_levels_are_refused() {
    for (name, oracle) in oracles() {
        let ok = level(0.8, 0.6);
        assert!(
            matches!(
                oracle.score(&[0.0; 2], &ok),
                Err(Error::WrongLength {
                    name: "x",
                    expected: 3,
                    found: 2
                })
            ),
            "{name}"
        );
        for bad in [f64::NAN, f64::INFINITY, 1e31] {
            assert!(
                matches!(
                    oracle.log_density(&[0.0, bad, 0.0], &ok),
                    Err(Error::InvalidEntry {
                        name: "x",
                        index: 1,
                        ..
                    })
                ),
                "{name}"
            );
        }
        let tiny = level(1.0, 1e-31);
        assert!(
            matches!(
                oracle.data_estimate(&[0.0; 3], &tiny),
                Err(Error::InvalidParameter { name: "sigma", .. })
            ),
            "{name}"
        );
        let mut short = [0.0; 2];
        let refused = oracle.data_estimate_into(&[0.0; 3], &ok, &mut Vec::new(), &mut short);
        assert!(
            matches!(refused, Err(Error::WrongLength { name: "out", .. })),
            "{name}"
        );
    }
}

#[test]
fn what_no_memory_can_hold_is_refused() {
    use rand::{Rng, SeedableRng, rngs::SmallRng};
    let too_large = |shape: &[usize]| Error::TooLarge {
        shape: shape.to_vec(),
    };
    for dim in [1 << 52, usize::MAX] {
        assert_eq!(Gaussian::centred(dim, 1.0), Err(too_large(&[dim])));
    }
    let count = 1 << 52;
    let mut rng = SmallRng::seed_from_u64(1);
    let untouched = rng.clone();
    let refused = correlated().sample(count, &mut rng).unwrap_err();
    assert_eq!(refused, too_large(&[count, 3]));
    for refused in [
        mixture().sample(count, &mut rng),
        empirical().sample(count, &mut rng),
    ] {
        assert!(matches!(refused, Err(Error::TooLarge { .. })));
    }
    // Nothing was drawn.
    assert_eq!(rng.random::<u64>(), { untouched }.random::<u64>());
}

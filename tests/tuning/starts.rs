//! Where a fit begins: seeds, clusters, the covariance of the first round.

use diffusion_sampler::oracle::{Gaussian, GaussianMixture, MixtureFit};
use ndarray::{Array2, array};
use rand::SeedableRng;
use rand::rngs::SmallRng;

/// Clusters on a line, far apart and of very different sizes.
const CENTRES: [f64; 6] = [0.0, 40.0, 100.0, 190.0, 260.0, 400.0];
const SIZES: [usize; 6] = [200, 3, 60, 4, 5, 3];

fn clusters() -> Array2<f64> {
    let mut rows = Vec::new();
    for (centre, size) in CENTRES.iter().zip(SIZES) {
        rows.extend((0..size).map(|i| centre + (1.7 * i as f64 + centre).sin()));
    }
    Array2::from_shape_vec((rows.len(), 1), rows).unwrap()
}

/// The mixture of the best of some starts, before any round.
fn start(fit: MixtureFit, rows: &Array2<f64>) -> (GaussianMixture, f64) {
    let fitted = fit.with_rounds(0).fit(rows).unwrap();
    assert_eq!(fitted.log_likelihoods.len(), 1);
    (fitted.mixture, fitted.log_likelihoods[0])
}

#[test]
fn far_clusters_are_all_found_however_small() {
    // Seeds drawn without regard to distance would nearly all lie in the largest cluster.
    let rows = clusters();
    for seed in 0..5 {
        let fitted = MixtureFit::new(6).with_seed(seed).fit(&rows).unwrap();
        for (centre, size) in CENTRES.iter().zip(SIZES) {
            let near = |c: &&Gaussian| (c.mean()[0] - centre).abs() < 1.0;
            let place = fitted.mixture.components().iter().position(|c| near(&c));
            let weight = place.map(|place| fitted.mixture.weights()[place]);
            let share = size as f64 / rows.nrows() as f64;
            assert!(
                weight.is_some_and(|w| (w - share).abs() < 1e-9),
                "{seed}: {centre}"
            );
        }
    }
}

#[test]
fn a_start_has_the_means_of_its_clusters_and_the_covariance_within_them() {
    let rows = clusters();
    let (mixture, _) = start(MixtureFit::new(6), &rows);
    let (mut first, mut within) = (0, 0.0);
    for size in SIZES {
        let own = rows.slice(ndarray::s![first..first + size, 0]);
        let mean = own.sum() / size as f64;
        within += own.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>();
        let found = mixture.components().iter();
        assert!(found.map(|c| c.mean()[0]).any(|m| (m - mean).abs() < 1e-9));
        first += size;
    }
    let (n, mean) = (rows.nrows() as f64, rows.sum() / rows.nrows() as f64);
    let spread = rows.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n;
    // The floor is 1e-3 of the variance of all rows, and the covariance within clusters is below.
    assert!(within / n < 1e-3 * spread);
    for component in mixture.components() {
        assert!((component.variances()[0] / (1e-3 * spread) - 1.0).abs() < 1e-12);
    }
    let (free, _) = start(MixtureFit::new(6).with_floor(1e-9).unwrap(), &rows);
    for component in free.components() {
        assert!((component.variances()[0] / (within / n) - 1.0).abs() < 1e-12);
    }
}

#[test]
fn clusters_are_settled_before_the_first_round() {
    // Each mean is that of the rows nearest to it.
    let rows = array![
        [0.0, 0.1],
        [0.3, 0.0],
        [0.9, 0.2],
        [1.1, 0.4],
        [1.4, 0.1],
        [1.9, 0.3],
        [2.2, 0.0],
        [2.6, 0.2],
        [3.1, 0.1],
        [3.3, 0.4],
        [3.8, 0.2],
        [4.4, 0.0]
    ];
    for seed in 0..6 {
        let fit = MixtureFit::new(2).with_starts(1).unwrap().with_seed(seed);
        let (mixture, _) = start(fit, &rows);
        let means: Vec<&[f64]> = mixture.components().iter().map(|c| c.mean()).collect();
        let mut sums = [[0.0; 3]; 2];
        for row in rows.outer_iter() {
            let distance = |m: &[f64]| (row[0] - m[0]).powi(2) + (row[1] - m[1]).powi(2);
            let k = usize::from(distance(means[1]) < distance(means[0]));
            for (sum, x) in sums[k].iter_mut().zip([row[0], row[1], 1.0]) {
                *sum += x;
            }
        }
        for (sum, mean) in sums.iter().zip(&means) {
            assert!((sum[0] / sum[2] - mean[0]).abs() < 1e-12, "{seed}");
            assert!((sum[1] / sum[2] - mean[1]).abs() < 1e-12, "{seed}");
        }
    }
}

#[test]
fn more_starts_are_never_worse_and_seeds_differ() {
    let cloud = Gaussian::isotropic(&[0.0; 3], 1.0).unwrap();
    let rows = cloud.sample(80, &mut SmallRng::seed_from_u64(3)).unwrap();
    let of = |starts, seed| {
        let fit = MixtureFit::new(5).with_starts(starts).unwrap();
        start(fit.with_seed(seed), &rows).1
    };
    let best: Vec<f64> = (1..=8).map(|starts| of(starts, 0)).collect();
    assert!(best.windows(2).all(|pair| pair[1] >= pair[0]), "{best:?}");
    assert!(best[7] > best[0] + 1e-3, "{best:?}");
    assert_ne!(of(1, 0), of(1, 1));
}

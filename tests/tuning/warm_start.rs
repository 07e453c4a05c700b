//! The exact flow of mean and low-rank covariance.

use diffusion_sampler::forward::fill_normal;
use diffusion_sampler::noise::Stream;
use diffusion_sampler::oracle::{Gaussian, Oracle, sample_moments};
use diffusion_sampler::schedule::{NoiseSchedule, TableSchedule};
use diffusion_sampler::solver::DpmSolverPlusPlus;
use diffusion_sampler::tuning::WarmStart;
use diffusion_sampler::{Error, Grid, KeyedNoise, NoiseLevel, Sampler};
use ndarray::{Array1, Array2, Array4, ShapeBuilder, array};
use rand::SeedableRng;
use rand::rngs::SmallRng;

fn level(alpha: f64, sigma: f64) -> NoiseLevel {
    NoiseLevel::new(0.5, alpha, sigma).unwrap()
}

/// Correlated data in five dimensions, with a mean.
fn data() -> Gaussian {
    let root = Array2::from_shape_fn((5, 5), |(i, j)| (1.0 + (3 * i + 5 * j) as f64).sin());
    let covariance = root.dot(&root.t());
    Gaussian::new(&[1.0, -2.0, 0.5, 0.0, 3.0], &covariance).unwrap()
}

/// A and b of the affine map x ↦ Ax + b, read off the unit vectors.
fn affine(warm: &WarmStart, from: &NoiseLevel, to: &NoiseLevel) -> (Array2<f64>, Array1<f64>) {
    let d = warm.mean().len();
    let mut points = Array2::<f64>::zeros((d + 1, d));
    for i in 0..d {
        points[[i, i]] = 1.0;
    }
    warm.flow(&mut points, from, to).unwrap();
    let b = points.row(d).to_owned();
    let a = Array2::from_shape_fn((d, d), |(i, j)| points[[j, i]] - b[i]);
    (a, b)
}

/// The covariance α²C + σ²I.
fn at(covariance: &Array2<f64>, level: &NoiseLevel) -> Array2<f64> {
    let noise = level.sigma() * level.sigma();
    let d = covariance.nrows();
    covariance * (level.alpha() * level.alpha()) + &(Array2::<f64>::eye(d) * noise)
}

fn assert_near(a: &Array2<f64>, b: &Array2<f64>, tolerance: f64) {
    let scale = b.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
    for (x, y) in a.iter().zip(b) {
        assert!((x - y).abs() <= tolerance * scale, "{a}\n{b}");
    }
}

#[test]
fn the_flow_takes_the_marginal_of_one_level_to_that_of_another() {
    let data = data();
    let (mean, covariance) = data.moments().unwrap();
    let warm = WarmStart::of_gaussian(&data, 5).unwrap();
    for (from, to) in [
        (level(0.0, 1.0), level(0.4, 0.9)),
        (level(0.01, 1.0), level(0.9, 0.3)),
        (level(1.0, 80.0), level(1.0, 0.002)),
        (level(0.5, 0.5), NoiseLevel::clean()),
        (level(0.9, 0.1), level(0.1, 0.9)),
    ] {
        let (a, b) = affine(&warm, &from, &to);
        let spread = a.dot(&at(&covariance, &from)).dot(&a.t());
        assert_near(&spread, &at(&covariance, &to), 1e-12);
        let centre = a.dot(&Array1::from_vec(mean.clone())) * from.alpha() + &b;
        for (found, mean) in centre.iter().zip(&mean) {
            assert!((found - to.alpha() * mean).abs() < 1e-10 * (1.0 + from.sigma()));
        }
        // And each point goes where the Gaussian's own flow takes it.
        let x = [0.3, -1.0, 2.0, 0.7, -0.2];
        let mut expected = [0.0f64; 5];
        data.flow(&x, &from, &to, &mut expected).unwrap();
        let mut point: Array2<f64> = array![x];
        warm.flow(&mut point, &from, &to).unwrap();
        for (found, expected) in point.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-11, "{found} {expected}");
        }
    }
}

#[test]
fn a_start_is_drawn_from_the_exact_marginal() {
    let data = data();
    let (mean, covariance) = data.moments().unwrap();
    let warm = WarmStart::of_gaussian(&data, 5).unwrap();
    let level = level(0.4, 0.9);
    // The flow of pure noise, from the normals of a run's start.
    let drawn: Array2<f64> = warm.draw((7, 5), &level, &mut KeyedNoise::new(3)).unwrap();
    let mut z = Array2::<f64>::zeros((7, 5));
    fill_normal(&mut z, &mut KeyedNoise::new(3), 0, Stream::Start).unwrap();
    warm.flow(&mut z, &self::level(0.0, 1.0), &level).unwrap();
    assert_near(&drawn, &z, 1e-14);
    // Its law: A Aᵀ and b of that map.
    let (a, b) = affine(&warm, &self::level(0.0, 1.0), &level);
    assert_near(&a.dot(&a.t()), &at(&covariance, &level), 1e-12);
    for (found, mean) in b.iter().zip(&mean) {
        assert!((found - 0.4 * mean).abs() < 1e-12);
    }
}

#[test]
fn a_warm_start_and_the_exact_rest_give_the_data() {
    let data = data();
    let (mean, covariance) = data.moments().unwrap();
    let warm = WarmStart::of_gaussian(&data, 5).unwrap();
    let middle = level(0.4, 0.9);
    let (a, b) = affine(&warm, &level(0.0, 1.0), &middle);
    // The rest by the Gaussian's own flow, an exact solver.
    let exact = WarmStart::of_gaussian(&data, 5).unwrap();
    let (c, d) = affine(&exact, &middle, &NoiseLevel::clean());
    let whole = c.dot(&a);
    assert_near(&whole.dot(&whole.t()), &covariance, 1e-12);
    for (found, mean) in (c.dot(&b) + d).iter().zip(&mean) {
        assert!((found - mean).abs() < 1e-12);
    }
}

#[test]
fn with_a_real_solver_the_steps_saved_are_error_saved() {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02).unwrap();
    let data = Gaussian::diagonal(&[2.0, 0.0, -1.0], &[1.5, 0.2, 0.01]).unwrap();
    let grid = Grid::quadratic(&schedule, 8).unwrap();
    let miss = |grid: &Grid, initial: &Gaussian| {
        let sampler = Sampler::new(&schedule, grid, &DpmSolverPlusPlus::new()).unwrap();
        let states = sampler.plan().moments(&data, initial).unwrap();
        states
            .last()
            .unwrap()
            .wasserstein_squared(&data)
            .unwrap()
            .sqrt()
    };
    let cold = miss(&grid, &Gaussian::centred(3, 1.0).unwrap());
    let mut before = cold;
    for time in [800.0, 600.0, 400.0] {
        let times: Vec<f64> = (0..=8)
            .map(|k| time * (f64::from(8 - k) / 8.0).powi(2))
            .collect();
        let rest = Grid::from_times(&schedule, &times).unwrap();
        let start = schedule.level(time).unwrap();
        let warm = miss(&rest, &data.at_level(&start).unwrap());
        assert!(warm < before, "{time}: {warm} {before}");
        before = warm;
    }
    assert!(before < 0.7 * cold, "{before} {cold}");
}

#[test]
fn a_low_rank_keeps_the_largest_variances_and_the_total() {
    let data = data();
    let total: f64 = data.variances().iter().sum();
    let mut sorted = data.variances().to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    for rank in 0..=5 {
        let warm = WarmStart::of_gaussian(&data, rank).unwrap();
        assert_eq!(warm.variances(), &sorted[..rank]);
        let held: f64 = warm.variances().iter().sum();
        let all = held + warm.rest() * (5 - rank) as f64;
        assert!((all - total).abs() < 1e-12 * total);
        let u = warm.directions().unwrap();
        assert_near(&u.dot(&u.t()), &Array2::eye(rank), 1e-13);
        // C' = U(v − w)Uᵀ + wI is what the flow moves.
        let mut c = Array2::<f64>::eye(5) * warm.rest();
        for (j, v) in warm.variances().iter().enumerate() {
            let u = u.row(j).to_owned().insert_axis(ndarray::Axis(1));
            c = c + u.dot(&u.t()) * (v - warm.rest());
        }
        let (from, to) = (level(0.2, 0.9), level(0.8, 0.2));
        let (a, _) = affine(&warm, &from, &to);
        assert_near(&a.dot(&at(&c, &from)).dot(&a.t()), &at(&c, &to), 1e-12);
    }
    assert!(WarmStart::of_gaussian(&data, 6).is_err());
}

#[test]
fn few_rows_of_many_elements_give_the_directions_of_their_covariance() {
    let long = Gaussian::diagonal(&[0.5; 40], &[1.0; 40]).unwrap();
    let rows = long.sample(12, &mut SmallRng::seed_from_u64(5)).unwrap();
    let warm = WarmStart::of_sample(&rows, 6).unwrap();
    let (mean, covariance) = sample_moments(&rows).unwrap();
    let direct = WarmStart::of_gaussian(&Gaussian::new(&mean, &covariance).unwrap(), 6).unwrap();
    for (a, b) in warm.variances().iter().zip(direct.variances()) {
        assert!((a - b).abs() < 1e-11 * b);
    }
    assert!((warm.rest() - direct.rest()).abs() < 1e-11);
    for j in 0..6 {
        let product = warm
            .directions()
            .unwrap()
            .row(j)
            .dot(&direct.directions().unwrap().row(j));
        assert!((product.abs() - 1.0).abs() < 1e-9, "{product}");
    }
    // All variance lies in 11 directions; more are not found.
    let all = WarmStart::of_sample(&rows, 11).unwrap();
    assert_eq!((all.variances().len(), all.rest() < 1e-12), (11, true));
    let twice = array![
        [1.0, 2.0, 3.0, 4.0],
        [2.0, 2.0, 3.0, 4.0],
        [3.0, 2.0, 3.0, 4.0]
    ];
    let line = WarmStart::of_sample(&twice, 2).unwrap();
    assert_eq!(line.variances().len(), 1);
    assert!((line.variances()[0] - 1.0).abs() < 1e-12 && line.rest() < 1e-12);
    let wide = long.sample(60, &mut SmallRng::seed_from_u64(6)).unwrap();
    assert_eq!(WarmStart::of_sample(&wide, 3).unwrap().variances().len(), 3);
}

#[test]
fn images_of_a_hundred_thousand_elements_are_moved_in_any_layout() {
    let d = 100_000;
    let rows = Array2::from_shape_fn((6, d), |(i, j)| ((i * 7 + j) as f32 * 0.37).sin());
    let warm = WarmStart::of_sample(&rows, 4).unwrap();
    let level = level(0.5, 0.8);
    let mut noise = KeyedNoise::new(1);
    let x: Array4<f32> = warm.draw((2, 10, 100, 100), &level, &mut noise).unwrap();
    let mut flat = x.clone().into_shape_with_order((2, d)).unwrap();
    let mut transposed = Array4::<f32>::zeros((2, 10, 100, 100).f());
    transposed.assign(&x);
    let mut nested = x;
    for _ in 0..2 {
        warm.flow(&mut flat, &level, &NoiseLevel::clean()).unwrap();
        warm.flow(&mut nested, &level, &NoiseLevel::clean())
            .unwrap();
        warm.flow(&mut transposed, &level, &NoiseLevel::clean())
            .unwrap();
    }
    assert!(flat.iter().zip(&nested).all(|(a, b)| a == b));
    assert!(nested == transposed);
    // A diagonal Gaussian of as many elements: its axes as a matrix would take 80 GB.
    let mut v = vec![0.1; d];
    (v[70_000], v[3]) = (2.0, 1.0);
    let diagonal = Gaussian::diagonal(&vec![0.0; d], &v).unwrap();
    let two = WarmStart::of_gaussian(&diagonal, 2).unwrap();
    assert_eq!(two.variances(), [2.0, 1.0]);
    assert!((two.rest() - 0.1).abs() < 1e-9);
    let u = two.directions().unwrap();
    assert_eq!((u[[0, 70_000]], u[[1, 3]], u.sum()), (1.0, 1.0, 2.0));
    let mut empty = Array2::<f32>::zeros((0, 3));
    warm.flow(&mut empty, &level, &NoiseLevel::clean()).unwrap();
}

#[test]
fn what_does_not_fit_is_a_typed_error() {
    let new = |rows: Array2<f64>, v: &[f64], rest| WarmStart::new(&[0.0, 0.0], &rows, v, rest);
    assert!(new(array![[1.0, 0.0]], &[2.0], 0.1).is_ok());
    assert!(new(Array2::zeros((0, 2)), &[], 0.1).is_ok());
    let refused = new(array![[1.0, 0.0], [0.6, 0.8]], &[2.0, 1.0], 0.1);
    assert!(matches!(
        refused,
        Err(Error::InvalidEntry {
            name: "directions",
            index: 1,
            ..
        })
    ));
    assert!(new(array![[1.0, 0.0, 0.0]], &[2.0], 0.1).is_err());
    assert!(new(array![[1.0, 0.0]], &[2.0, 3.0], 0.1).is_err());
    assert!(new(array![[1.0, 0.0]], &[-2.0], 0.1).is_err());
    assert!(new(array![[1.0, 0.0]], &[2.0], f64::NAN).is_err());
    assert!(new(array![[f64::NAN, 0.0]], &[2.0], 0.1).is_err());
    assert!(WarmStart::new(&[], &Array2::zeros((0, 0)), &[], 0.1).is_err());

    let flat = new(array![[1.0, 0.0]], &[2.0], 0.0).unwrap();
    let mut x = array![[1.0, 1.0]];
    let clean = NoiseLevel::clean();
    let stuck = flat.flow(&mut x, &clean, &level(0.5, 0.5));
    assert!(matches!(
        stuck,
        Err(Error::InvalidParameter { name: "sigma", .. })
    ));
    assert_eq!(x, array![[1.0, 1.0]]);
    let mut wrong = array![[1.0, 1.0, 1.0]];
    let refused = flat.flow(&mut wrong, &level(0.5, 0.5), &clean);
    assert!(matches!(
        refused,
        Err(Error::WrongLength {
            expected: 2,
            found: 3,
            ..
        })
    ));
    assert!(WarmStart::of_sample(&array![[1.0, 2.0]], 1).is_err());
    assert!(WarmStart::of_sample(&array![[1.0, 2.0], [f64::NAN, 0.0]], 1).is_err());
    assert!(WarmStart::of_sample(&array![[1.0, 2.0], [3.0, 0.0]], 2).is_err());
}

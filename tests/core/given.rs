//! Plans that start from given history: an exactly invertible solver.

use diffusion_sampler::{
    Error, Grid, KeyedNoise, NoiseLevel, Prediction, Sampler,
    plan::{Plan, Step, Store, Update},
    schedule::{LambdaRange, VariancePreserving},
};
use ndarray::{Array2, Ix2};

use crate::common::Smooth;

/// BELM-2 along levels, the first of which is the previous state's: reversed levels give its
/// inverse. Wang et al. (2024), "BELM: Bidirectional Explicit Linear Multi-step Sampler".
fn belm(levels: &[NoiseLevel]) -> Plan {
    let step = |three: &[NoiseLevel]| {
        let (p, t, s) = (three[0], three[1], three[2]);
        let (d1, d2, d3) = (t.rho() - p.rho(), s.rho() - t.rho(), s.rho() - p.rho());
        let on_noise = s.alpha() * d2 * d3 / d1;
        let update = Update {
            state: s.alpha() * (d1 - d2) * d3 / (d1 * d1) / t.alpha() + on_noise / t.sigma(),
            data: -on_noise * t.alpha() / t.sigma(),
            history: vec![(0, s.alpha() * (d2 / d1).powi(2) / p.alpha())],
            ..Update::default()
        };
        Step::simple(t, s, update.storing(Store::state(0)))
    };
    Plan::with_given(levels.windows(3).map(step).collect(), 1, 1).unwrap()
}

fn levels() -> Vec<NoiseLevel> {
    let schedule = VariancePreserving::default();
    let range = LambdaRange::new(-1.5, 1.5).unwrap();
    let grid = Grid::uniform_lambda(&schedule, 16, range).unwrap();
    // Without the clean end, where E is not determined.
    grid.levels()[..16].to_vec()
}

fn run(
    plan: Plan,
    x: Array2<f64>,
    before: Array2<f64>,
) -> diffusion_sampler::Trajectory<f64, Ix2, KeyedNoise> {
    Sampler::from_plan(plan, 1.0)
        .unwrap()
        .start_with(x, vec![before], Prediction::Noise, KeyedNoise::new(0))
        .unwrap()
}

#[test]
fn an_invertible_method_returns_to_its_start() {
    let mut levels = levels();
    let before = Array2::from_shape_fn((4, 6), |(i, j)| 0.5 * i as f64 - 0.4 * j as f64);
    let x = before.mapv(|x| 0.93 * x + 0.01);
    let mut forward = run(belm(&levels), x.clone(), before.clone());
    assert_eq!((forward.plan().slots(), forward.plan().given()), (1, 1));
    forward.complete(&mut Smooth(Prediction::Noise)).unwrap();
    let (end, mut history) = forward.into_parts();
    assert!((&end - &x).iter().any(|d| d.abs() > 0.1), "nothing moved");
    // Backwards the pair changes places.
    levels.reverse();
    let mut back = run(belm(&levels), history.remove(0), end);
    back.complete(&mut Smooth(Prediction::Noise)).unwrap();
    let (found_before, found) = back.into_parts();
    for (found, expected) in [(&found[0], &x), (&found_before, &before)] {
        let miss = (found - expected)
            .iter()
            .fold(0.0f64, |top, d| top.max(d.abs()));
        assert!(miss < 1e-11, "{miss:e}");
    }
}

#[test]
fn a_wrong_number_or_shape_of_given_slots_is_refused() {
    let sampler = Sampler::from_plan(belm(&levels()), 1.0).unwrap();
    let x = || Array2::<f64>::ones((2, 3));
    let start = |history| {
        sampler
            .start_with(x(), history, Prediction::Noise, KeyedNoise::new(0))
            .map(drop)
            .unwrap_err()
    };
    for found in [0, 2] {
        let expected = Error::WrongLength {
            name: "given history slots",
            expected: 1,
            found,
        };
        assert_eq!(start(vec![x(); found]), expected);
    }
    assert_eq!(
        sampler
            .start_from(x(), Prediction::Noise, KeyedNoise::new(0))
            .map(drop),
        Err(Error::WrongLength {
            name: "given history slots",
            expected: 1,
            found: 0
        })
    );
    assert!(matches!(
        start(vec![Array2::ones((3, 2))]),
        Error::ShapeMismatch {
            name: "history",
            ..
        }
    ));
}

#[test]
fn values_that_are_not_finite_at_the_start_are_not_blamed_on_the_model() {
    let sampler = Sampler::from_plan(belm(&levels()), 1.0).unwrap();
    let good = || Array2::<f64>::ones((3, 4));
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut bad = good();
        bad[[2, 1]] = value;
        for (x, history, name) in [
            (bad.clone(), good(), "start state"),
            (good(), bad.clone(), "history"),
        ] {
            let refused = sampler
                .start_with(x, vec![history], Prediction::Noise, KeyedNoise::new(0))
                .map(drop)
                .unwrap_err();
            let Error::NonFiniteStart {
                array,
                sample: 2,
                element: 1,
                value: found,
            } = refused
            else {
                panic!("{refused}");
            };
            assert_eq!(array, name);
            assert!(found == value || found.is_nan() && value.is_nan());
        }
    }
}

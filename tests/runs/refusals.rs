//! What a run refuses, when, and with which error.

use diffusion_sampler::{
    Error, Grid, KeyedNoise, Prediction, RunError, Sampler,
    denoiser::Guided,
    from_fn,
    guidance::{ClassifierFree, Combination, GuidanceWeight},
    solver::{DdimInversion, FirstOrder, Heun, Path},
};
use ndarray::{Array2, Array3, Axis, Ix2, arr0};

use crate::common::{Smooth, bits, difference, grid, pair, sampler, schedule, solvers};

const SHAPE: (usize, usize) = (3, 2);

const EVERY_KIND: [Prediction; 6] = [
    Prediction::Noise,
    Prediction::Data,
    Prediction::Velocity,
    Prediction::Score,
    Prediction::Flow,
    Prediction::Edm { data_std: 0.5 },
];

#[test]
fn a_model_of_another_prediction_is_refused_and_nothing_moves() {
    let mut run = sampler(&FirstOrder::ddim(), 3)
        .start::<f64, _, _>(SHAPE, Prediction::Noise, KeyedNoise::new(1))
        .unwrap();
    let before = bits(run.state());
    let refused = run.advance(&mut Smooth(Prediction::Data));
    let mismatch = Error::PredictionMismatch {
        expected: "noise",
        found: "data",
    };
    assert_eq!(refused, Err(RunError::Sampler(mismatch)));
    let weight = GuidanceWeight::constant(1.0).unwrap();
    let mut mixed = pair(Smooth(Prediction::Noise), Smooth(Prediction::Data), weight);
    let disagree = Error::ModelsDisagree {
        model: 1,
        expected: "noise",
        found: "data",
    };
    assert_eq!(run.complete(&mut mixed), Err(RunError::Sampler(disagree)));
    assert_eq!((run.step(), bits(run.state())), (0, before));
}

#[test]
fn at_zero_terminal_snr_only_predictions_that_determine_the_data_can_start() {
    let zero = schedule().zero_terminal_snr().unwrap();
    for steps in [1, 2, 10] {
        let grid = Grid::trailing(&zero, steps).unwrap();
        for (name, solver) in solvers() {
            let sampler = Sampler::new(&zero, &grid, &*solver).unwrap();
            for kind in EVERY_KIND {
                let started = sampler.start::<f64, _, _>(SHAPE, kind, KeyedNoise::new(1));
                let defined = matches!(
                    kind,
                    Prediction::Data | Prediction::Velocity | Prediction::Flow
                );
                match started {
                    Ok(mut run) if defined => {
                        run.complete(&mut Smooth(kind)).unwrap();
                        assert!(run.state().iter().all(|x| x.is_finite()), "{name}");
                    }
                    Err(Error::PredictionUndefined {
                        prediction,
                        alpha: 0.0,
                        time: 1000.0,
                        ..
                    }) if !defined => assert_eq!(prediction, kind.name()),
                    other => panic!("{name}, {}: {other:?}", kind.name()),
                }
            }
        }
    }
}

#[test]
fn inversion_up_to_zero_terminal_snr_ends_on_the_estimated_noise() {
    let zero = schedule().zero_terminal_snr().unwrap();
    for steps in [1, 2, 10] {
        let grid = Grid::trailing(&zero, steps).unwrap();
        let sampler =
            Sampler::along(&Path::without_schedule(&grid), &DdimInversion::new()).unwrap();
        let x = Array2::from_shape_fn(SHAPE, |(i, j)| 0.3 * i as f64 - 0.2 * j as f64);
        let kind = Prediction::Velocity;
        let mut run = sampler.start_from(x, kind, KeyedNoise::new(1)).unwrap();
        for _ in 1..steps {
            run.advance(&mut Smooth(kind)).unwrap();
        }
        // E = (σx + αv)/(α² + σ²) where the last step evaluates it: its start, or α = 0 itself when
        // it is the first.
        let level = if steps == 1 {
            grid.start()
        } else {
            run.level()
        };
        let expected = run.state().mapv(|x| {
            let x = if steps == 1 { level.alpha() * x } else { x };
            level.sigma() * x + level.alpha() * Smooth::at(x, &level)
        });
        run.advance(&mut Smooth(kind)).unwrap();
        assert!(crate::common::difference(run.state(), &expected) < 1e-12);
    }
}

#[test]
fn shapes_that_are_too_large_are_refused_before_anything_is_allocated() {
    let sampler = sampler(&FirstOrder::ddim(), 3);
    let noise = || KeyedNoise::new(1);
    let kind = Prediction::Noise;
    let huge = [
        [usize::MAX, 2],
        [usize::MAX / 8, 4],
        [1 << 31, 1 << 31],
        // An index can count them, no memory can hold them.
        [1 << 30, 1 << 24],
        [0, usize::MAX],
    ];
    for shape in huge {
        let refused = sampler
            .start::<f64, _, _>(shape, kind, noise())
            .unwrap_err();
        let expected = Error::TooLarge {
            shape: shape.to_vec(),
        };
        assert_eq!(refused, expected);
    }
    let empty = sampler.start::<f64, _, _>([0, 1 << 20], kind, noise());
    assert_eq!(empty.unwrap().state().shape(), [0, 1 << 20]);
}

#[test]
fn a_0_dimensional_array_has_no_sample_axis() {
    let sampler = sampler(&FirstOrder::ddim(), 3);
    let kind = Prediction::Noise;
    let start = sampler.start::<f64, _, _>((), kind, KeyedNoise::new(1));
    assert_eq!(start.unwrap_err(), Error::NoSampleAxis);
    let from = sampler.start_from(arr0(0.5f32), kind, KeyedNoise::new(1));
    assert_eq!(from.unwrap_err(), Error::NoSampleAxis);
    let scalar = Array3::<f64>::zeros((1, 1, 1)).into_dyn();
    let scalar = scalar.index_axis_move(Axis(0), 0);
    let scalar = scalar.index_axis_move(Axis(0), 0);
    let scalar = scalar.index_axis_move(Axis(0), 0);
    let from = sampler.start_from(scalar, kind, KeyedNoise::new(1));
    assert_eq!(from.unwrap_err(), Error::NoSampleAxis);
}

#[test]
fn outputs_of_another_shape_or_number_are_refused_and_nothing_moves() {
    let mut run = sampler(&FirstOrder::ddpm(), 3)
        .start::<f64, _, _>(SHAPE, Prediction::Noise, KeyedNoise::new(1))
        .unwrap();
    let before = bits(run.state());
    for shape in [(2, 2), (3, 1), (6, 2), (2, 3), (0, 0)] {
        let refused = run.tell(&Array2::<f64>::zeros(shape)).unwrap_err();
        let expected = Error::ShapeMismatch {
            name: "model output",
            expected: vec![3, 2],
            found: vec![shape.0, shape.1],
        };
        assert_eq!(refused, expected);
    }
    let output = Array2::<f64>::zeros(SHAPE);
    let two = Combination::affine(&[2.0, -1.0]).unwrap();
    let refused = run.tell_combined(&[two], &[&output]).unwrap_err();
    let expected = Error::WrongLength {
        name: "outputs",
        expected: 2,
        found: 1,
    };
    assert_eq!(refused, expected);
    assert_eq!((run.step(), bits(run.state())), (0, before));
}

#[test]
fn a_guidance_weight_that_is_not_finite_stops_the_run() {
    let sampler = sampler(&FirstOrder::ddim(), 5);
    let weight = GuidanceWeight::by_level(|l| if l.time() < 500.0 { f64::NAN } else { 1.0 });
    let mut guided = pair(Smooth(Prediction::Noise), Smooth(Prediction::Noise), weight);
    let mut run = sampler
        .start::<f64, _, _>(SHAPE, Prediction::Noise, KeyedNoise::new(1))
        .unwrap();
    let refused = run.complete(&mut guided).unwrap_err();
    assert!(matches!(
        refused,
        RunError::Sampler(Error::InvalidParameter { name: "guidance weight", value, .. }) if value.is_nan()
    ));
    // 1000, 800 and 600 are above 500.
    assert_eq!(run.step(), 3);
    for bad in [f64::NAN, f64::INFINITY] {
        assert!(GuidanceWeight::constant(bad).is_err());
        assert!(GuidanceWeight::from_scale(bad).is_err());
        assert!(GuidanceWeight::interval(bad, 0.0, 1.0).is_err());
    }
}

#[test]
fn guided_models_do_not_nest_where_their_outputs_would_be_lost() {
    let weight = || GuidanceWeight::constant(1.0).unwrap();
    let kind = Prediction::Noise;
    let inner = pair(Smooth(kind), Smooth(kind), weight());
    let sampler = sampler(&FirstOrder::ddim(), 2);
    let start = || {
        sampler
            .start::<f64, _, _>(SHAPE, kind, KeyedNoise::new(1))
            .unwrap()
    };
    // A guided model gives one output: the second would be lost.
    let mut outer = Guided::new(inner, ClassifierFree::new(weight()));
    let refused = Err(RunError::Sampler(Error::NestedGuidance {
        outer: "classifier-free guidance",
        inner: "classifier-free guidance",
    }));
    let mut run = start();
    let before = bits(run.state());
    assert_eq!(run.advance(&mut outer), refused);
    assert_eq!((run.step(), bits(run.state())), (0, before));
}

#[test]
fn a_guided_model_inside_a_pair_gives_its_guided_answer() {
    // (1 + w)((1 + v)a − v b) − w c, written out for the output of each call.
    let kind = Prediction::Noise;
    let sampler = sampler(&FirstOrder::ddim(), 3);
    let (v, w) = (1.5, 0.75);
    let weight = |w| GuidanceWeight::constant(w).unwrap();
    let scaled = |factor: f64| {
        from_fn::<f64, Ix2>(kind, move |x, level, out| {
            out.zip_mut_with(x, |o, &x| *o = factor * Smooth::at(x, level));
        })
    };
    let inner = pair(scaled(1.0), scaled(0.5), weight(v));
    let mut outer = pair(inner, scaled(-0.25), weight(w));
    let nested: Array2<f64> = sampler.sample(&mut outer, SHAPE, 4).unwrap();
    let factor = (1.0 + w) * ((1.0 + v) - v * 0.5) + w * 0.25;
    let flat: Array2<f64> = sampler.sample(&mut scaled(factor), SHAPE, 4).unwrap();
    assert!(difference(&nested, &flat) < 1e-12);
}

#[test]
fn a_start_variance_has_to_be_a_variance() {
    let plan = || sampler(&Heun::new(), 3).plan().clone();
    for bad in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(
            Sampler::from_plan(plan(), bad),
            Err(Error::InvalidParameter {
                name: "start_variance",
                ..
            })
        ));
    }
    let still = Sampler::from_plan(plan(), 0.0).unwrap();
    let run = still
        .start::<f64, _, _>(SHAPE, Prediction::Noise, KeyedNoise::new(1))
        .unwrap();
    assert!(run.state().iter().all(|x| *x == 0.0));
    assert_eq!(grid(3).start_variance(), 1.0);
}

//! What is not finite stops a run, with its place; what was there stays readable, and the run can
//! go on.

use diffusion_sampler::{
    Clip, Error, KeyedNoise, NoiseLevel, Prediction, RunError, Sampler, from_fn,
    guidance::{Combination, GuidanceWeight},
    plan::{Plan, Stage, Step, Store, Update},
    solver::{FirstOrder, Heun},
    try_from_fn,
};
use ndarray::{Array3, ArrayRef, Ix3};

use crate::common::{Smooth, bits, pair, sampler};

const SHAPE: (usize, usize, usize) = (4, 2, 3);
const KIND: Prediction = Prediction::Noise;
/// Sample 2, element 4 in row-major order.
const PLACE: [usize; 3] = [2, 1, 1];

type Image = ArrayRef<f64, Ix3>;

/// A model that is well until its call number `bad`, where it writes `value` to one element.
fn failing(bad: usize, value: f64) -> impl FnMut(&Image, &NoiseLevel, &mut Image) {
    let mut call = 0;
    move |x, level, out| {
        out.zip_mut_with(x, |o, &x| *o = Smooth::at(x, level));
        if call == bad {
            out[PLACE] = value;
        }
        call += 1;
    }
}

fn expected(step: usize, value: f64) -> impl Fn(&Error) -> bool {
    move |error| {
        matches!(error, Error::NonFinite { step: s, sample: 2, element: 4, array: "model output", value: v }
            if *s == step && (v.is_nan() && value.is_nan() || *v == value))
    }
}

const BAD: [f64; 3] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];

/// No clip and both kinds of clip: clamping must not hide an infinite output.
fn clips() -> [Option<Clip>; 3] {
    let clip = Clip::new(-1.0, 1.0).unwrap();
    [None, Some(clip), Some(clip.keeping_noise())]
}

fn clipped(sampler: Sampler, clip: Option<Clip>) -> Sampler {
    match clip {
        None => sampler,
        Some(clip) => sampler.with_clip(clip),
    }
}

#[test]
fn a_bad_output_is_reported_with_its_place_and_stays_readable() {
    for value in BAD {
        for clip in clips() {
            let sampler = clipped(sampler(&FirstOrder::ddim(), 6), clip);
            let mut run = sampler
                .start::<f64, _, _>(SHAPE, KIND, KeyedNoise::new(1))
                .unwrap();
            match run.complete(&mut from_fn(KIND, failing(3, value))) {
                Err(RunError::Sampler(error)) => {
                    assert!(expected(3, value)(&error), "{clip:?}: {error}");
                }
                other => panic!("{value} with {clip:?}: {other:?}"),
            }
            assert_eq!((run.step(), run.level()), (3, run.plan().steps()[3].from));
            let output = run.outputs().unwrap();
            assert_eq!(output.shape(), [4, 2, 3]);
            assert_eq!(output[PLACE].to_bits(), value.to_bits());
            assert_eq!(output.iter().filter(|v| !v.is_finite()).count(), 1);
        }
    }
}

#[test]
fn a_bad_output_that_is_told_is_reported_with_its_place() {
    for value in BAD {
        for clip in clips() {
            let sampler = clipped(sampler(&FirstOrder::ddim(), 6), clip);
            let mut run = sampler
                .start::<f64, _, _>(SHAPE, KIND, KeyedNoise::new(1))
                .unwrap();
            let good = Array3::<f64>::zeros(SHAPE);
            run.tell(&good).unwrap();
            let mut bad = good.clone();
            bad[PLACE] = value;
            let told = run.clone().tell(&bad).unwrap_err();
            assert!(expected(1, value)(&told), "{told}");
            // In column-major order, and as the second of two outputs.
            let mut columns = Array3::zeros((3, 2, 4)).reversed_axes();
            columns.assign(&bad);
            let told = run.clone().tell(&columns).unwrap_err();
            assert!(expected(1, value)(&told), "{told}");
            let weights = Combination::affine(&[2.0, -1.0]).unwrap();
            let told = run.tell_combined(&[weights], &[&good, &bad]).unwrap_err();
            assert!(expected(1, value)(&told), "{told}");
            assert_eq!(run.step(), 1);
        }
    }
}

#[test]
fn a_bad_unconditional_output_and_a_bad_second_stage_are_found() {
    let mut run = sampler(&FirstOrder::ddim(), 6)
        .start::<f64, _, _>(SHAPE, KIND, KeyedNoise::new(1))
        .unwrap();
    let mut model = pair(
        Smooth(KIND),
        from_fn(KIND, failing(2, f64::NAN)),
        GuidanceWeight::constant(1.5).unwrap(),
    );
    let error = run.complete(&mut model).unwrap_err();
    assert!(matches!(error, RunError::Sampler(error) if expected(2, f64::NAN)(&error)));
    assert_eq!(run.outputs().unwrap().shape(), [8, 2, 3]);
    assert!(run.outputs().unwrap()[[4 + 2, 1, 1]].is_nan());

    let mut run = sampler(&Heun::new(), 6)
        .start::<f64, _, _>(SHAPE, KIND, KeyedNoise::new(1))
        .unwrap();
    // The sixth call is the second stage of step 2.
    let error = run
        .complete(&mut from_fn(KIND, failing(5, f64::NAN)))
        .unwrap_err();
    assert!(matches!(error, RunError::Sampler(error) if expected(2, f64::NAN)(&error)));
    assert_eq!(run.step(), 2);
}

#[test]
fn a_state_that_overflows_is_reported_as_the_state() {
    // In two steps the coefficient on ε is about −3.6: a finite output in, an infinite state out.
    let mut run = sampler(&FirstOrder::ddim(), 2)
        .start::<f32, _, _>(SHAPE, KIND, KeyedNoise::new(1))
        .unwrap();
    let mut model = from_fn::<f32, Ix3>(KIND, |_, _, out| {
        out.fill(0.0);
        out[PLACE] = f32::MAX;
    });
    match run.advance(&mut model) {
        Err(RunError::Sampler(Error::NonFinite {
            step: 0,
            sample: 2,
            element: 4,
            array: "state",
            value,
        })) => assert_eq!(value, f64::NEG_INFINITY),
        other => panic!("{other:?}"),
    }
    assert_eq!(run.step(), 0);
}

#[test]
fn a_history_that_overflows_is_reported_as_the_history() {
    let (high, low) = (
        NoiseLevel::new(2.0, 0.5, 0.8).unwrap(),
        NoiseLevel::new(1.0, 0.8, 0.5).unwrap(),
    );
    let step = |from, to, history, store| Step {
        from,
        to,
        stages: vec![Stage::evaluating(
            from,
            Update {
                state: 1.0,
                history,
                store,
                ..Update::default()
            },
        )],
    };
    let store = Store::linear(0, 0.0, 1e30);
    let plan = Plan::new(
        vec![
            step(high, low, vec![], Some(store)),
            step(low, NoiseLevel::clean(), vec![(0, 1.0)], None),
        ],
        1,
    )
    .unwrap();
    let mut run = Sampler::from_plan(plan, 1.0)
        .unwrap()
        .start::<f32, _, _>((2, 1, 3), Prediction::Data, KeyedNoise::new(1))
        .unwrap();
    let mut model = from_fn::<f32, Ix3>(Prediction::Data, |_, _, out| {
        out.fill(1.0);
        out[[1, 0, 2]] = 1e30;
    });
    let error = run.advance(&mut model).unwrap_err();
    let place = Error::NonFinite {
        step: 0,
        sample: 1,
        element: 2,
        array: "history",
        value: f64::INFINITY,
    };
    assert_eq!(error, RunError::Sampler(place));
}

#[test]
fn the_denoisers_own_error_comes_back_and_the_run_can_go_on() {
    #[derive(Debug, PartialEq)]
    struct OutOfMemory(u32);
    for (name, solver) in crate::common::solvers() {
        let sampler = sampler(&*solver, 6);
        let start = || {
            sampler
                .start::<f64, _, _>(SHAPE, KIND, KeyedNoise::new(1))
                .unwrap()
        };
        let (mut run, mut whole) = (start(), start());
        whole.complete(&mut Smooth(KIND)).unwrap();
        let mut calls = 0;
        let mut model = try_from_fn(KIND, |x: &Image, level, out: &mut Image| {
            calls += 1;
            if calls == 4 {
                return Err(OutOfMemory(7));
            }
            out.zip_mut_with(x, |o, &x| *o = Smooth::at(x, level));
            Ok(())
        });
        let error = run.complete(&mut model).unwrap_err();
        assert_eq!(error, RunError::Denoiser(OutOfMemory(7)), "{name}");
        // The failed evaluation is repeated, not its step's earlier ones.
        run.complete(&mut Smooth(KIND)).unwrap();
        assert_eq!(bits(run.state()), bits(whole.state()), "{name}");
    }
}

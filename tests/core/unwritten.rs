//! Models that do not write what they are asked for, and runs that are retried.

use std::convert::Infallible;

use diffusion_sampler::{
    Clip, Denoiser, Error, Grid, KeyedNoise, Prediction, Query, Real, RunError, Sampler,
    denoiser::Guided, guidance::ClassifierFree, schedule::TableSchedule, solver::FirstOrder,
};
use ndarray::{Array2, ArrayRef, Axis, Ix2};

use crate::common::{Smooth, bits};

const KIND: Prediction = Prediction::Noise;
const SHAPE: (usize, usize) = (4, 6);

/// A model that forgets elements of its output from one call on, and writes NaN where it is told
/// to.
struct Forgetful<A> {
    call: usize,
    from: usize,
    spoil: fn(usize, usize) -> Option<Option<A>>,
}

impl<A: Real> Denoiser<A, Ix2> for Forgetful<A> {
    type Error = Infallible;

    fn prediction(&self) -> Prediction {
        KIND
    }

    fn denoise(
        &mut self,
        x: &ArrayRef<A, Ix2>,
        query: &Query<'_>,
        out: &mut ArrayRef<A, Ix2>,
    ) -> Result<(), Infallible> {
        let level = query.level();
        let samples = x.shape()[0];
        let spoils = self.call >= self.from;
        for (row, mut out) in out.axis_iter_mut(Axis(0)).enumerate() {
            for (element, out) in out.iter_mut().enumerate() {
                let good = Smooth::at(x[[row % samples, element]], &level);
                match (self.spoil)(row, element).filter(|_| spoils) {
                    None => *out = good,
                    Some(Some(value)) => *out = value,
                    Some(None) => (),
                }
            }
        }
        self.call += 1;
        Ok(())
    }
}

fn sampler() -> Sampler {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02).unwrap();
    let grid = Grid::trailing(&schedule, 5).unwrap();
    Sampler::new(&schedule, &grid, &FirstOrder::ddim()).unwrap()
}

/// (output, sample, element) that is reported, if the step is the right one.
fn reported<A: Real, M: Denoiser<A, Ix2, Error = Infallible>>(
    sampler: &Sampler,
    model: &mut M,
    step: usize,
) -> (usize, usize, usize) {
    let noise = KeyedNoise::new(1);
    let mut run = sampler.start::<A, _, _>(SHAPE, KIND, noise).unwrap();
    match run.complete(model) {
        Err(RunError::Sampler(
            ref error @ Error::OutputNotWritten {
                step: found,
                output,
                sample,
                element,
            },
        )) => {
            assert_eq!((found, run.step()), (step, step));
            let text = error.to_string();
            for value in [step, output, sample, element] {
                assert!(text.contains(&value.to_string()), "{text}");
            }
            (output, sample, element)
        }
        other => panic!("{other:?}"),
    }
}

/// Where to begin, what is forgotten, and the place that is to be reported.
type Case<A> = (
    usize,
    fn(usize, usize) -> Option<Option<A>>,
    (usize, usize, usize),
);

fn forgotten<A: Real>() {
    let cases: [Case<A>; 6] = [
        (0, |_, _| Some(None), (0, 0, 0)),
        (2, |_, _| Some(None), (0, 0, 0)),
        (0, |row, _| (row == 3).then_some(None), (0, 3, 0)),
        (2, |row, _| (row == 2).then_some(None), (0, 2, 0)),
        (2, |_, element| (element > 2).then_some(None), (0, 0, 5)),
        // Any element at the first call, which finds nothing of an earlier one.
        (
            0,
            |row, element| (row == 1 && element == 3).then_some(None),
            (0, 1, 3),
        ),
    ];
    for clip in [None, Some(Clip::new(-1.0, 1.0).unwrap())] {
        let sampler = match clip {
            None => sampler(),
            Some(clip) => sampler().with_clip(clip),
        };
        for (from, spoil, place) in cases {
            let mut model = Forgetful {
                call: 0,
                from,
                spoil,
            };
            assert_eq!(reported::<A, _>(&sampler, &mut model, from), place);
        }
    }
}

#[test]
fn what_a_model_does_not_write_is_reported_with_its_place() {
    forgotten::<f32>();
    forgotten::<f64>();
}

#[test]
fn a_guided_model_must_write_both_outputs_at_every_call() {
    for from in [0, 3] {
        let cases: [Case<f32>; 3] = [
            (from, |row, _| (row >= 4).then_some(None), (1, 0, 0)),
            (from, |row, _| (row == 7).then_some(None), (1, 3, 0)),
            (from, |row, _| (row < 4).then_some(None), (0, 0, 0)),
        ];
        for (from, spoil, place) in cases {
            let model = Forgetful {
                call: 0,
                from,
                spoil,
            };
            let form = ClassifierFree::with_weight(1.5).unwrap();
            let mut model = Guided::new(model, form);
            assert_eq!(reported::<f32, _>(&sampler(), &mut model, from), place);
        }
    }
}

#[test]
fn a_nan_that_the_model_wrote_is_not_finite_rather_than_not_written() {
    let mut run = sampler()
        .start::<f64, _, _>(SHAPE, KIND, KeyedNoise::new(1))
        .unwrap();
    let mut model = Forgetful {
        call: 0,
        from: 1,
        spoil: |row, element| (row == 2 && element == 5).then_some(Some(f64::NAN)),
    };
    let refused = run.complete(&mut model).unwrap_err();
    assert!(matches!(
        refused,
        RunError::Sampler(Error::NonFinite {
            step: 1,
            sample: 2,
            element: 5,
            array: "model output",
            value
        }) if value.is_nan()
    ));
}

#[test]
fn a_clone_taken_before_retries_a_step_that_was_not_finite() {
    let start = || {
        sampler()
            .start::<f64, _, _>(SHAPE, KIND, KeyedNoise::new(1))
            .unwrap()
    };
    let mut whole = start();
    whole.complete(&mut Smooth(KIND)).unwrap();
    for spoiled in [Some(f64::INFINITY), Some(f64::NAN), None] {
        let mut run = start();
        let mut retried = 0;
        for step in 0..5 {
            let mut model = Forgetful {
                call: step,
                from: 2,
                spoil: match spoiled {
                    None => |row, _| (row == 1).then_some(None),
                    Some(value) if value.is_nan() => |row, _| (row == 1).then_some(Some(f64::NAN)),
                    Some(_) => |row, _| (row == 1).then_some(Some(f64::INFINITY)),
                },
            };
            let before = run.clone();
            if run.advance(&mut model).is_err() {
                assert_eq!((run.step(), run.level()), (before.step(), before.level()));
                run = before;
                run.advance(&mut Smooth(KIND)).unwrap();
                retried += 1;
            }
        }
        assert_eq!(retried, 3);
        assert_eq!(bits(run.state()), bits(whole.state()));
    }
}

#[test]
fn a_start_that_is_not_finite_is_refused_before_the_model_is_called() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut x = Array2::<f32>::zeros(SHAPE);
        x[[3, 2]] = value;
        let refused = sampler()
            .start_from(x, KIND, KeyedNoise::new(0))
            .map(drop)
            .unwrap_err();
        assert!(matches!(
            refused,
            Error::NonFiniteStart {
                array: "start state",
                sample: 3,
                element: 2,
                ..
            }
        ));
        let text = refused.to_string();
        assert!(
            text.contains("start state") && text.contains("sample 3"),
            "{text}"
        );
    }
}

//! Models.

use std::fmt;

use diffusion_sampler::{
    Denoiser, NoiseLevel, Prediction, Query, from_fn,
    oracle::{Gaussian, Oracle},
    schedule::NoiseSchedule,
    testing::{Failure, check_denoiser, check_model, proptest::prelude::*, strategies::schedules},
    try_from_fn,
};
use ndarray::{ArrayRef, Ix2, Ix4};

use super::common::config;

fn levels() -> [NoiseLevel; 2] {
    [
        NoiseLevel::new(0.9, 0.1, 0.99).unwrap(),
        NoiseLevel::new(0.1, 0.99, 0.1).unwrap(),
    ]
}

#[test]
fn exact_models_pass_on_every_schedule() {
    proptest!(config(100), |(schedule in schedules(), u in 0.001..1.0)| {
        let levels = [schedule.level(u * schedule.last_time())?];
        let data = Gaussian::diagonal(&[0.3, -1.0, 0.2, 0.0], &[0.1, 1.0, 0.0, 2.0])?;
        let mut model = data.clone().denoiser(Prediction::Noise);
        check_denoiser::<f32, _, _>(&mut model, (3, 2, 2), &levels, 0.0)?;
        let mut model = data.denoiser(Prediction::Data);
        check_denoiser::<f64, _, _>(&mut model, (5, 4), &levels, 0.0)?;
    });
}

/// What a check says of a model from a closure.
fn said(
    function: impl FnMut(&ArrayRef<f32, Ix2>, &NoiseLevel, &mut ArrayRef<f32, Ix2>),
    tolerance: f64,
) -> Result<(), Failure> {
    let mut model = from_fn::<f32, Ix2>(Prediction::Noise, function);
    check_denoiser(&mut model, (4, 3), &levels(), tolerance)
}

#[test]
fn broken_models_are_found() {
    assert_eq!(said(|x, _, out| out.assign(x), 0.0), Ok(()));
    let forgets = said(|x, _, out| out[[0, 0]] = x[[0, 0]], 0.0);
    assert_eq!(forgets, Err(Failure::NotWritten { index: 1 }));
    let blows_up = said(
        |_, level, out| out.fill(1.0 / (level.sigma() - 0.1) as f32),
        0.0,
    );
    assert!(matches!(
        blows_up,
        Err(Failure::NotFinite {
            array: "output",
            ..
        })
    ));
    let mut calls = 0.0;
    let counts = said(
        |_, _, out| {
            calls += 1.0;
            out.fill(calls);
        },
        0.0,
    );
    assert!(matches!(
        counts,
        Err(Failure::Batch {
            batch: "the same call again",
            ..
        })
    ));
    let pools = |x: &ArrayRef<f32, Ix2>, _: &NoiseLevel, out: &mut ArrayRef<f32, Ix2>| {
        let norm = x.iter().map(|x| x * x).sum::<f32>().sqrt();
        out.zip_mut_with(x, |o, &x| *o = x / norm);
    };
    assert!(matches!(
        said(pools, 1e-6),
        Err(Failure::Batch {
            batch: "a batch of one",
            ..
        })
    ));
    // A first row unlike the others: alone every sample is a first row.
    let first = |x: &ArrayRef<f32, Ix2>, _: &NoiseLevel, out: &mut ArrayRef<f32, Ix2>| {
        out.assign(x);
        out.row_mut(0).fill(0.0);
    };
    assert!(matches!(
        said(first, 0.0),
        Err(Failure::Batch { sample: 1, .. })
    ));
}

#[test]
fn a_model_that_adds_to_its_output_is_found() {
    let adds = |x: &[f32], _: &NoiseLevel, out: &mut [f32]| {
        for (out, x) in out.iter_mut().zip(x) {
            *out += x;
        }
    };
    let failure = check_model(2, 3, &levels(), 0.0, adds);
    assert!(
        matches!(
            failure,
            Err(Failure::NotWritten { .. } | Failure::NotFinite { .. })
        ),
        "{failure:?}"
    );
}

#[test]
fn a_tolerance_lets_rounding_pass_and_no_more() {
    // A kernel that rounds otherwise in larger batches.
    let rounds = |error: f32| {
        move |x: &ArrayRef<f32, Ix2>, _: &NoiseLevel, out: &mut ArrayRef<f32, Ix2>| {
            let factor = if x.nrows() > 1 { 1.0 + error } else { 1.0 };
            out.zip_mut_with(x, |o, &x| *o = factor * x);
        }
    };
    assert!(said(rounds(1e-6), 0.0).is_err());
    assert_eq!(said(rounds(1e-6), 1e-5), Ok(()));
    assert!(said(rounds(1e-4), 1e-5).is_err());
}

#[derive(Debug)]
struct Offline;

impl fmt::Display for Offline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server is offline")
    }
}

#[test]
fn a_models_own_error_and_impossible_batches_are_told() {
    let mut model = try_from_fn::<f32, Ix4, _>(Prediction::Data, |_, _, _| Err(Offline));
    assert_eq!(
        check_denoiser(&mut model, (1, 1, 2, 2), &levels(), 0.0),
        Err(Failure::Model {
            message: "the server is offline".to_owned()
        })
    );
    let mut model = from_fn::<f32, Ix2>(Prediction::Data, |_, _, _| ());
    assert!(matches!(
        check_denoiser(&mut model, (0, 2), &levels(), 0.0),
        Err(Failure::Setup(_))
    ));
    assert!(matches!(
        check_denoiser(&mut model, (usize::MAX, 2), &levels(), 0.0),
        Err(Failure::Setup(diffusion_sampler::Error::TooLarge { .. }))
    ));
    assert!(matches!(
        check_denoiser(&mut model, (2, 2), &levels(), -1.0),
        Err(Failure::Setup(_))
    ));
}

/// A model of any dimension, for the 0-dimensional case.
struct Nothing;

impl Denoiser<f32, ndarray::Ix0> for Nothing {
    type Error = Offline;

    fn prediction(&self) -> Prediction {
        Prediction::Data
    }

    fn denoise(
        &mut self,
        _: &ArrayRef<f32, ndarray::Ix0>,
        _: &Query<'_>,
        _: &mut ArrayRef<f32, ndarray::Ix0>,
    ) -> Result<(), Offline> {
        Ok(())
    }
}

#[test]
fn a_shape_without_samples_is_refused() {
    assert!(matches!(
        check_denoiser(&mut Nothing, (), &levels(), 0.0),
        Err(Failure::Setup(_))
    ));
}

#[test]
fn a_model_is_checked_at_a_level_at_least() {
    let refused = check_model(2, 3, &[], 0.0, |_: &[f32], _, _| {});
    let length = Failure::Length {
        array: "levels",
        expected: 1,
        found: 0,
    };
    assert_eq!(refused, Err(length));
}

/// max(NaN, x) is x: only another value in the buffer shows that it is read.
#[test]
fn a_model_that_keeps_the_larger_of_its_output_and_what_was_there_is_found() {
    let failure = check_model(2, 3, &levels(), 0.0, |x: &[f64], _, out| {
        out.iter_mut()
            .zip(x)
            .for_each(|(out, x)| *out = out.max(*x));
    });
    assert!(matches!(
        failure,
        Err(Failure::Batch {
            batch: "the same call again",
            ..
        })
    ));
}

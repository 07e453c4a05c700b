//! What failures say, and that `?` takes them.

use diffusion_sampler::{
    Error,
    testing::{Failure, GuidanceLaw, check_knots},
};

use super::common::config;

/// Every variant, and what of its values its message must show.
fn all() -> Vec<(Failure, Vec<&'static str>)> {
    vec![
        (
            Failure::Setup(Error::EmptyList { name: "betas" }),
            vec!["betas"],
        ),
        (
            Failure::NotFinite {
                array: "knots",
                index: 7,
                value: f64::INFINITY,
            },
            vec!["knots", "7", "inf"],
        ),
        (Failure::NotWritten { index: 12 }, vec!["12"]),
        (
            Failure::Length {
                array: "table",
                expected: 31,
                found: 29,
            },
            vec!["table", "31", "29"],
        ),
        (
            Failure::Entry {
                table: "betas",
                index: 3,
                value: 1.5,
                requirement: "in (0, 1)",
            },
            vec!["betas[3]", "1.5", "in (0, 1)"],
        ),
        (
            Failure::Level {
                time: 41.0,
                quantity: "lambda",
                found: 1.25,
                expected: 1.5,
                tolerance: 1e-9,
            },
            vec!["41", "lambda", "1.25", "1.5", "2.50e-1", "1.00e-9"],
        ),
        (
            Failure::KnotCount {
                steps: 10,
                found: 12,
            },
            vec!["10", "11", "12"],
        ),
        (
            Failure::KnotOrder {
                knot: 4,
                before: 17.5,
                value: 18.5,
            },
            vec!["4", "17.5", "18.5"],
        ),
        (
            Failure::KnotEnd {
                knot: "first",
                found: 952.0,
                expected: 1000.0,
            },
            vec!["first", "952", "1000"],
        ),
        (
            Failure::Edge {
                step: 2,
                end: "reach",
                found: 33.0,
                expected: 34.0,
            },
            vec!["2", "reach", "33", "34"],
        ),
        (
            Failure::Refused {
                steps: 13,
                message: "odd".to_owned(),
            },
            vec!["13", "odd"],
        ),
        (Failure::NoStepsAccepted { knots: 6 }, vec!["0 steps", "6"]),
        (
            Failure::Panicked {
                steps: 0,
                message: "divide by zero".to_owned(),
            },
            vec!["0", "divide by zero"],
        ),
        (
            Failure::NotLinear {
                index: 5,
                found: 0.25,
                expected: 0.75,
            },
            vec!["5", "0.25", "0.75"],
        ),
        (
            Failure::Coefficient {
                coefficient: "coefficient on x0",
                from: 500.0,
                to: 250.0,
                found: 0.25,
                expected: 0.5,
                tolerance: 1e-12,
            },
            vec!["500", "250", "coefficient on x0", "0.25", "0.5", "1.00e-12"],
        ),
        (
            Failure::Conversion {
                from: "velocity",
                to: "data",
                time: 0.125,
                index: 3,
                found: 2.5,
                expected: 3.5,
                tolerance: 1e-12,
            },
            vec!["velocity to data", "0.125", "3", "2.5", "3.5"],
        ),
        (
            Failure::Guidance {
                law: GuidanceLaw::EqualOutputs,
                weight: 6.5,
                index: 1,
                found: 2.5,
                expected: 3.5,
                tolerance: 1e-12,
            },
            vec!["6.5", "equal outputs stay", "1", "2.5", "3.5"],
        ),
        (
            Failure::PointFlow {
                index: 9,
                found: 2.5,
                expected: 3.5,
                tolerance: 1e-12,
            },
            vec!["9", "2.5", "3.5", "one point"],
        ),
        (
            Failure::Order {
                claimed: 3,
                measured: 1.994,
                steps: [160, 320],
                errors: [4e-5, 1e-5],
            },
            vec!["3", "1.99", "160", "320", "4.000e-5", "1.000e-5"],
        ),
        (
            Failure::Moment {
                moment: "variance",
                axes: [2, 3],
                found: 0.5,
                expected: 0.25,
                probability: 3e-20,
                error_rate: 1e-9,
            },
            vec!["variance", "2", "3", "0.5", "0.25", "3.0e-20", "1.0e-9"],
        ),
        (
            Failure::OffPoint {
                sample: 31,
                axis: 2,
                deviation: -0.25,
                tolerance: 1e-8,
            },
            vec!["31", "2", "-2.50e-1", "1.00e-8"],
        ),
        (
            Failure::Batch {
                batch: "a batch of one",
                sample: 4,
                element: 11,
                whole: 0.5,
                found: 0.75,
            },
            vec!["a batch of one", "4", "11", "0.5", "0.75"],
        ),
        (
            Failure::SameResult {
                first: "euler".to_owned(),
                second: "unipc".to_owned(),
            },
            vec!["euler", "unipc"],
        ),
        (
            Failure::Model {
                message: "offline".to_owned(),
            },
            vec!["offline"],
        ),
    ]
}

#[test]
fn every_failure_shows_its_values() {
    for (failure, parts) in all() {
        let message = failure.to_string();
        for part in parts {
            assert!(message.contains(part), "{message:?} lacks {part:?}");
        }
        assert_ne!(message, "a check failed");
    }
}

#[test]
fn what_could_not_be_checked_keeps_its_source() {
    use std::error::Error as _;
    let sources = all()
        .into_iter()
        .filter(|(failure, _)| failure.source().is_some());
    assert_eq!(sources.count(), 1);
    assert_eq!(
        Failure::from(Error::NoSampleAxis),
        Failure::Setup(Error::NoSampleAxis)
    );
}

#[test]
fn a_failure_fails_a_case_by_the_question_mark() {
    let mut runner = proptest::test_runner::TestRunner::new(config(50));
    let outcome = runner.run(&(2..100usize), |steps| {
        // A list without its last knot, once it is long.
        let knots: Vec<f64> = (0..=steps).rev().map(|k| k as f64).collect();
        let kept = if steps > 20 { &knots[..steps] } else { &knots };
        check_knots(kept, steps, steps as f64, 0.0)?;
        Ok(())
    });
    match outcome {
        Err(proptest::test_runner::TestError::Fail(reason, steps)) => {
            assert_eq!(steps, 21);
            assert_eq!(reason.message(), "21 steps need 22 knots, found 21");
        }
        other => panic!("{other:?}"),
    }
}

//! Times and λ that a schedule does not reach.

use diffusion_sampler::Error;
use diffusion_sampler::schedule::{Edm, NoiseSchedule, RectifiedFlow, Sublevels};

use super::common::Outcome;
use super::laws::all;

#[test]
fn times_outside_the_schedule_are_refused_with_the_time() -> Outcome {
    for (name, schedule) in all()? {
        let last = schedule.last_time();
        let after = last + last * 1e-15;
        let outside = [
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            -1.0,
            -f64::MIN_POSITIVE,
            f64::MAX,
            after,
        ];
        for asked in outside {
            match schedule.level(asked) {
                Err(Error::TimeOutOfRange { time, last: end }) => {
                    assert_eq!(time.to_bits(), asked.to_bits(), "{name}");
                    assert_eq!(end, last, "{name}");
                }
                other => return Err(format!("{name} at {asked}: {other:?}").into()),
            }
        }
    }
    Ok(())
}

#[test]
fn knots_that_a_table_does_not_have_are_refused_with_the_knot() -> Outcome {
    let mut tables: Vec<(String, Box<dyn NoiseSchedule>)> = vec![
        (
            "sub-levels of a flow".into(),
            Box::new(Sublevels::of(RectifiedFlow::new(), 8)?),
        ),
        (
            "sub-levels of EDM".into(),
            Box::new(Sublevels::of(Edm::default(), 8)?),
        ),
    ];
    for (name, schedule) in all()? {
        tables.push((name.to_string(), schedule));
    }
    let mut asked_of = 0;
    for (name, schedule) in tables {
        let Some(table) = schedule.table_len() else {
            continue;
        };
        asked_of += 1;
        let last = table as f64;
        for asked in [
            -1.0,
            -f64::MIN_POSITIVE,
            last + 0.5,
            1e300,
            f64::INFINITY,
            f64::NAN,
        ] {
            match schedule.knot_time(asked) {
                Err(Error::TimeOutOfRange { time, last: end }) => {
                    assert_eq!(time.to_bits(), asked.to_bits(), "{name}");
                    assert_eq!(end, last, "{name}");
                }
                other => return Err(format!("{name}, knot {asked}: {other:?}").into()),
            }
            assert!(schedule.knot_level(asked).is_err(), "{name}, knot {asked}");
        }
    }
    assert!(asked_of > 2);
    Ok(())
}

#[test]
fn lambdas_that_a_schedule_does_not_reach_are_refused_with_the_lambda() -> Outcome {
    for (name, schedule) in all()? {
        let range = schedule.lambda_range();
        let mut outside = vec![f64::NAN];
        if range.noisy().is_finite() {
            outside.extend([f64::NEG_INFINITY, range.noisy() - 1e-9, -1e300]);
        }
        for asked in outside {
            match schedule.time_of_lambda(asked) {
                Err(Error::LambdaOutOfRange { lambda, noisy, .. }) => {
                    assert_eq!(lambda.to_bits(), asked.to_bits(), "{name}");
                    assert_eq!(noisy, range.noisy(), "{name}");
                }
                other => return Err(format!("{name} at λ {asked}: {other:?}").into()),
            }
        }
    }
    Ok(())
}

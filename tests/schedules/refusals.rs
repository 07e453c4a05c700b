//! Times and λ that a schedule does not reach.

use diffusion_sampler::Error;

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

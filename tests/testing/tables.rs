//! Schedules: cosine betas by integer division, a shift applied twice, a table cast in place.

use diffusion_sampler::{
    schedule::{
        Edm, NoiseSchedule, RectifiedFlow, TableSchedule, VarianceExploding, VariancePreserving,
    },
    testing::{
        AnySchedule, Failure, check_alphas_cumprod, check_betas, check_schedule,
        proptest::prelude::*,
        strategies::{schedules, tables},
    },
};

use super::common::config;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Cosine betas as Nichol and Dhariwal's code has them; `u` makes i/T.
fn cosine_betas(steps: usize, u: impl Fn(usize, usize) -> f64) -> Vec<f64> {
    let bar = |i: usize| {
        let angle = (u(i, steps) + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2;
        angle.cos().powi(2)
    };
    (0..steps)
        .map(|i| (1.0 - bar(i + 1) / bar(i)).min(0.999))
        .collect()
}

#[test]
fn cosine_betas_by_integer_division_are_found() -> Outcome {
    let planted = cosine_betas(1000, |i, steps| (i / steps) as f64);
    assert_eq!(planted.iter().filter(|beta| **beta == 0.0).count(), 999);
    let failure = check_betas(&planted, None, 1e-9).unwrap_err();
    let expected = Failure::Entry {
        table: "betas",
        index: 0,
        value: 0.0,
        requirement: "in (0, 1), the last in (0, 1]",
    };
    assert_eq!(failure, expected);
    Ok(())
}

#[test]
fn cosine_betas_of_any_length_pass() {
    proptest!(config(200), |(steps in 1..=1000usize)| {
        let betas = cosine_betas(steps, |i, steps| i as f64 / steps as f64);
        check_betas(&betas, Some(&TableSchedule::cosine(steps)?), 1e-9)?;
    });
}

#[test]
fn another_schedule_of_the_same_name_is_found() -> Outcome {
    // A cosine table with the wrong offset obeys all laws but the formula.
    let betas = cosine_betas(1000, |i, steps| 0.999 * i as f64 / steps as f64);
    check_betas(&betas, None, 1e-9)?;
    let cosine = TableSchedule::cosine(1000)?;
    let failure = check_betas(&betas, Some(&cosine), 1e-9).unwrap_err();
    assert!(matches!(
        failure,
        Failure::Level {
            time: 1.0,
            quantity: "lambda",
            ..
        }
    ));
    // So does a linear ramp under the name of the scaled one.
    let ramp: Vec<f64> = (0..1000)
        .map(|i| 0.00085 + (0.012 - 0.00085) * f64::from(i) / 999.0)
        .collect();
    let scaled = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
    let failure = check_betas(&ramp, Some(&scaled), 1e-9).unwrap_err();
    assert!(matches!(
        failure,
        Failure::Level { time: 3.0.., .. } | Failure::Level { .. }
    ));
    Ok(())
}

/// ᾱ at the knots of a table.
fn alphas_cumprod(table: &AnySchedule) -> Vec<f64> {
    (1..=table.table_len().unwrap())
        .map(|knot| table.level(knot as f64).unwrap().alpha().powi(2))
        .collect()
}

#[test]
fn tables_of_every_family_pass() {
    proptest!(config(200), |(table in tables())| {
        let own = alphas_cumprod(&table);
        check_alphas_cumprod(&own, Some(&table), 1e-8)?;
        let mut before = 1.0;
        let betas: Vec<f64> = own.iter().map(|&bar| {
            let beta = 1.0 - bar / before;
            before = bar;
            beta
        }).collect();
        check_betas(&betas, Some(&table), 1e-6)?;
        let singles: Vec<f32> = own.iter().map(|&bar| bar as f32).collect();
        // ᾱ of f32 keeps 24 bits of 1 − ᾱ's distance from 1.
        let coarse = 2f64.powi(-23) / (1.0 - own[0]);
        prop_assume!(coarse < 0.1);
        check_alphas_cumprod(&singles, Some(&table), 1e-6 + coarse)?;
    });
}

#[test]
fn broken_laws_of_tables_are_found() {
    let entry = |values: &[f64]| match check_alphas_cumprod(values, None, 1e-9) {
        Err(Failure::Entry { index, .. }) => Some(index),
        _ => None,
    };
    assert_eq!(entry(&[0.9, 0.9, 0.5]), Some(1));
    assert_eq!(entry(&[1.0, 0.9]), Some(0));
    assert_eq!(entry(&[0.9, 0.0, -0.1]), Some(1));
    assert_eq!(entry(&[0.9, 0.5, -0.1]), Some(2));
    // Zero terminal SNR ends at 0.
    assert_eq!(check_alphas_cumprod(&[0.9, 0.5, 0.0], None, 1e-9), Ok(()));
    assert!(matches!(
        check_alphas_cumprod(&[0.9f32, f32::NAN], None, 1e-9),
        Err(Failure::NotFinite { index: 1, .. })
    ));
    assert!(matches!(
        check_betas(&[0.1, 1.0, 0.1], None, 1e-9),
        Err(Failure::Entry { index: 1, .. })
    ));
    assert_eq!(check_betas(&[0.1, 1.0], None, 1e-9), Ok(()));
    let table = TableSchedule::cosine(3).unwrap();
    assert_eq!(
        check_betas(&[0.1, 0.2], Some(&table), 1e-9),
        Err(Failure::Length {
            array: "table",
            expected: 3,
            found: 2
        })
    );
}

/// A sampler's table that the first run in half precision casts in place.
struct Cast {
    alphas_cumprod: Vec<f64>,
}

impl Cast {
    fn run(&mut self, half: bool) {
        if half {
            for value in &mut self.alphas_cumprod {
                *value = f64::from(*value as f32);
            }
        }
    }
}

#[test]
fn a_noise_table_cast_in_place_is_found() -> Outcome {
    let table = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
    let any = AnySchedule::new("the table", table.clone());
    let mut planted = Cast {
        alphas_cumprod: alphas_cumprod(&any),
    };
    check_alphas_cumprod(&planted.alphas_cumprod, Some(&table), 1e-9)?;
    planted.run(false);
    check_alphas_cumprod(&planted.alphas_cumprod, Some(&table), 1e-9)?;
    planted.run(true);
    let failure = check_alphas_cumprod(&planted.alphas_cumprod, Some(&table), 1e-9);
    assert!(matches!(failure, Err(Failure::Level { .. })), "{failure:?}");
    Ok(())
}

/// σ of a flow with shift s, in the textbook form.
fn shifted(sigma: f64, shift: f64) -> f64 {
    shift * sigma / (1.0 + (shift - 1.0) * sigma)
}

#[test]
fn a_shift_applied_twice_is_found() {
    proptest!(config(200), |(shift in prop_oneof![0.1..0.9, 1.1..15.0f64])| {
        let flow = RectifiedFlow::shifted(shift)?;
        check_schedule(&flow, 1e-9, |t| (1.0 - shifted(t, shift), shifted(t, shift)))?;
        let twice = |t| shifted(shifted(t, shift), shift);
        let failure = check_schedule(&flow, 1e-9, |t| (1.0 - twice(t), twice(t)));
        match failure {
            Err(Failure::Level { quantity: "lambda", found, expected, .. }) => {
                // λ is off by ln s, exactly.
                prop_assert!((expected - found - shift.ln()).abs() < 1e-9);
            }
            other => prop_assert!(false, "{other:?}"),
        }
    });
}

#[test]
fn every_schedule_is_itself() {
    proptest!(config(300), |(schedule in schedules())| {
        check_schedule(&schedule, 1e-12, |t| {
            let level = schedule.level(t).unwrap();
            (level.alpha(), level.sigma())
        })?;
    });
}

#[test]
fn textbook_forms_of_continuous_schedules_pass() {
    proptest!(config(200), |(low in 0.01..1.0f64, more in 0.0..30.0f64, shift in 0.1..15.0f64)| {
        let high = low + more;
        check_schedule(&VariancePreserving::new(low, high)?, 1e-9, |t| {
            let log = -0.25 * t * t * (high - low) - 0.5 * t * low;
            (log.exp(), (1.0 - (2.0 * log).exp()).sqrt())
        })?;
        let (min, max) = (0.05 * low, 1.0 + more);
        check_schedule(&VarianceExploding::new(min, max)?, 1e-9, |t| {
            (1.0, min * (max / min).powf(t))
        })?;
        check_schedule(&Edm::new(min, max)?, 1e-9, |t| (1.0, t))?;
        check_schedule(&RectifiedFlow::shifted(shift)?, 1e-9, |t| {
            let sigma = shifted(t, shift);
            (1.0 - sigma, sigma)
        })?;
        // β_min twice.
        let failure = check_schedule(&VariancePreserving::new(low, high)?, 1e-9, |t| {
            let log = -0.25 * t * t * (high - low) - t * low;
            (log.exp(), (1.0 - (2.0 * log).exp()).sqrt())
        });
        prop_assert!(matches!(failure, Err(Failure::Level { .. })), "{:?}", failure);
    });
}

#[test]
fn a_schedule_of_another_scale_or_direction_is_found() -> Outcome {
    let flow = RectifiedFlow::new();
    // The same λ everywhere, another α.
    let failure = check_schedule(&flow, 1e-9, |t| (2.0 * (1.0 - t), 2.0 * t));
    assert!(matches!(
        failure,
        Err(Failure::Level {
            quantity: "alpha",
            ..
        })
    ));
    let failure = check_schedule(&flow, 1e-9, |t| (t, 1.0 - t));
    assert!(matches!(
        failure,
        Err(Failure::Level {
            quantity: "lambda",
            ..
        })
    ));
    // A negative α has no λ.
    let failure = check_schedule(&flow, 1e-9, |t| (t - 1.0, t));
    assert!(
        matches!(failure, Err(Failure::Level { quantity: "lambda", found, .. }) if found.is_nan())
    );
    // Constant within the tolerance: the law is broken, the formula is not.
    let failure = check_schedule(&flow, 1e9, |_| (0.5, 0.5));
    assert!(matches!(
        failure,
        Err(Failure::Entry {
            table: "lambda",
            index: 2,
            ..
        })
    ));
    let failure = check_schedule(&flow, 1e-9, |_| (f64::NAN, 1.0));
    assert!(matches!(failure, Err(Failure::NotFinite { .. })));
    Ok(())
}

#[test]
fn a_table_is_asked_at_its_knots_whatever_their_number() -> Outcome {
    for steps in 1..=100 {
        let (table, mut times) = (TableSchedule::linear(steps, 1e-6, 0.02)?, Vec::new());
        check_schedule(&table, 1e-9, |time| {
            times.push(time);
            let level = table.level(time.round());
            level.map_or((f64::NAN, f64::NAN), |level| (level.alpha(), level.sigma()))
        })?;
        let knots: Vec<f64> = (1..=steps).map(|knot| knot as f64).collect();
        assert_eq!(times, knots);
    }
    Ok(())
}

#[test]
fn an_empty_table_is_no_table() {
    let empty = |array| {
        Err(Failure::Length {
            array,
            expected: 1,
            found: 0,
        })
    };
    assert_eq!(
        check_alphas_cumprod::<f64>(&[], None, 1e-9),
        empty("alphas_cumprod")
    );
    assert_eq!(check_betas::<f64>(&[], None, 1e-9), empty("betas"));
}

//! Laws that every noise schedule keeps, run over all of them.

use diffusion_sampler::{
    Error,
    schedule::{
        Edm, NoiseSchedule, RectifiedFlow, TableSchedule, UnitVariance, VarianceExploding,
        VariancePreserving,
    },
};

use super::common::Outcome;

/// A schedule and how a failure calls it.
type Named = (String, Box<dyn NoiseSchedule>);

/// Every implementor, in several sizes and shapes.
pub(crate) fn all() -> Result<Vec<Named>, Error> {
    let mut list: Vec<Named> = Vec::new();
    for steps in [1usize, 2, 7, 100, 1000] {
        let tables = [
            ("linear", TableSchedule::linear(steps, 1e-4, 0.02)?),
            (
                "scaled linear",
                TableSchedule::scaled_linear(steps, 0.00085, 0.012)?,
            ),
            ("cosine", TableSchedule::cosine(steps)?),
            ("sigmoid", TableSchedule::sigmoid(steps, 1e-4, 0.02)?),
        ];
        for (name, table) in tables {
            if steps > 1 {
                let zero = table.zero_terminal_snr()?;
                list.push((format!("{name} zero-SNR of {steps}"), Box::new(zero)));
            }
            list.push((format!("{name} of {steps}"), Box::new(table)));
        }
    }
    list.push((
        "own table".into(),
        Box::new(TableSchedule::from_alphas_cumprod(&[
            0.999, 0.7, 0.2, 1e-9, 0.0,
        ])?),
    ));
    list.push(("VP".into(), Box::new(VariancePreserving::default())));
    list.push((
        "VP flat".into(),
        Box::new(VariancePreserving::new(3.0, 3.0)?),
    ));
    for (low, high) in [
        (0.01, 50.0),
        (0.002, 80.0),
        (0.03, 0.7),
        (1e-5, 1e3),
        (0.29, 378.0),
    ] {
        list.push((
            format!("VE {low} to {high}"),
            Box::new(VarianceExploding::new(low, high)?),
        ));
        list.push((
            format!("EDM {low} to {high}"),
            Box::new(Edm::new(low, high)?),
        ));
    }
    list.push(("EDM".into(), Box::new(Edm::default())));
    list.extend(rescaled()?);
    list.push(("flow".into(), Box::new(RectifiedFlow::new())));
    for shift in [1e-20, 0.001, 0.2, 3.0, 1e3] {
        list.push((
            format!("flow shifted by {shift}"),
            Box::new(RectifiedFlow::shifted(shift)?),
        ));
    }
    Ok(list)
}

/// Schedules rescaled to α² + σ² = 1.
fn rescaled() -> Result<Vec<Named>, Error> {
    let table = TableSchedule::scaled_linear(100, 0.00085, 0.012)?;
    Ok(vec![
        (
            "rescaled EDM".into(),
            Box::new(UnitVariance::of(Edm::new(0.002, 700.0)?)),
        ),
        (
            "rescaled VE".into(),
            Box::new(UnitVariance::of(VarianceExploding::new(0.01, 50.0)?)),
        ),
        (
            "rescaled flow".into(),
            Box::new(UnitVariance::of(RectifiedFlow::shifted(3.0)?)),
        ),
        (
            "rescaled table".into(),
            Box::new(UnitVariance::of(table.zero_terminal_snr()?)),
        ),
        (
            "SNR-shifted table".into(),
            Box::new(table.snr_shifted(3.0)?),
        ),
    ])
}

/// Times of a schedule: both ends, near both ends, and all between; every knot and half-knot of a
/// table.
fn times(schedule: &dyn NoiseSchedule) -> Vec<f64> {
    let last = schedule.last_time();
    let mut times: Vec<f64> = match schedule.table_len() {
        Some(len) => (0..=2 * len).map(|i| 0.5 * i as f64).collect(),
        None => (0..=1000).map(|i| last * (f64::from(i) / 1000.0)).collect(),
    };
    times.extend([1e-9, 1e-6, 1e-3].map(|u| last * u));
    times.extend([1e-9, 1e-6].map(|u| last * (1.0 - u)));
    times.sort_by(f64::total_cmp);
    times.dedup();
    times
}

#[test]
fn time_0_is_clean_and_only_time_0() -> Outcome {
    for (name, schedule) in all()? {
        let clean = schedule.level(0.0)?;
        assert!(clean.is_clean(), "{name}");
        assert_eq!((clean.time(), clean.alpha()), (0.0, 1.0), "{name}");
        assert!(clean.sigma().is_sign_positive(), "{name}: sigma is -0");
        assert_eq!(clean.lambda(), f64::INFINITY, "{name}");
        assert_eq!((clean.rho(), clean.snr()), (0.0, f64::INFINITY), "{name}");
        assert_eq!(schedule.time_of_lambda(f64::INFINITY)?, 0.0, "{name}");
        for time in &times(&*schedule)[1..] {
            assert!(!schedule.level(*time)?.is_clean(), "{name} at {time}");
        }
    }
    Ok(())
}

#[test]
fn lambda_falls_strictly_in_time() -> Outcome {
    for (name, schedule) in all()? {
        let mut before = f64::INFINITY;
        for time in &times(&*schedule)[1..] {
            let level = schedule.level(*time)?;
            assert!(
                level.lambda() < before,
                "{name} at {time}: {} after {before}",
                level.lambda()
            );
            assert_eq!(level.time(), *time, "{name}");
            before = level.lambda();
        }
    }
    Ok(())
}

#[test]
fn alpha_and_sigma_agree_with_their_logarithms_and_lambda_with_both() -> Outcome {
    for (name, schedule) in all()? {
        for time in times(&*schedule) {
            let level = schedule.level(time)?;
            for (value, log) in [
                (level.alpha(), level.log_alpha()),
                (level.sigma(), level.log_sigma()),
            ] {
                let expected = log.exp();
                assert!(
                    (value - expected).abs() <= 1e-14 * (1.0 + log.abs().min(700.0)) * expected,
                    "{name} at {time}: {value} but ln {log}"
                );
                assert!((0.0..=1e4).contains(&value), "{name} at {time}: {value}");
            }
            if level.alpha() > 0.0 && !level.is_clean() {
                let expected = (level.alpha() / level.sigma()).ln();
                assert!(
                    (level.lambda() - expected).abs() < 1e-13,
                    "{name} at {time}: {} is not {expected}",
                    level.lambda()
                );
            }
        }
    }
    Ok(())
}

#[test]
fn time_of_lambda_inverts_lambda_of_time_and_back() -> Outcome {
    for (name, schedule) in all()? {
        let range = schedule.lambda_range();
        for time in times(&*schedule) {
            let level = schedule.level(time)?;
            let lambda = level.lambda();
            if !(lambda <= range.clean() || time == 0.0 || schedule.table_len().is_some()) {
                continue;
            }
            let back = schedule.time_of_lambda(lambda)?;
            let again = schedule.level(back)?.lambda();
            // λ comes back to its own rounding and that of the time, whichever is larger at this
            // place.
            let nudge = f64::max(back * 1e-15, f64::MIN_POSITIVE);
            let slope = [back - nudge, back + nudge]
                .into_iter()
                .filter_map(|t| schedule.level(t).ok())
                .map(|level| (level.lambda() - again).abs())
                .filter(|d| d.is_finite())
                .fold(0.0, f64::max);
            assert!(
                again == lambda
                    || (again - lambda).abs() <= 2e-14 * (1.0 + lambda.abs()) + 4.0 * slope,
                "{name} at {time}: λ {lambda} comes back as {again}"
            );
            assert!(
                (0.0..=schedule.last_time()).contains(&back),
                "{name}: {back}"
            );
        }
    }
    Ok(())
}

#[test]
fn both_ends_are_inverted_exactly_and_lie_in_the_schedules_own_range() -> Outcome {
    for (name, schedule) in all()? {
        let range = schedule.lambda_range();
        let last = schedule.last_time();
        assert_eq!(schedule.level(last)?.lambda(), range.noisy(), "{name}");
        assert_eq!(schedule.time_of_lambda(range.noisy())?, last, "{name}");
        let clean = schedule.level(schedule.time_of_lambda(range.clean())?)?;
        assert_eq!(clean.lambda(), range.clean(), "{name}");
        for knot in 0..=schedule.table_len().unwrap_or(0) {
            let lambda = schedule.level(knot as f64)?.lambda();
            assert_eq!(schedule.time_of_lambda(lambda)?, knot as f64, "{name}");
        }
    }
    Ok(())
}

#[test]
fn variance_preserving_levels_have_squares_that_sum_to_1() -> Outcome {
    for (name, schedule) in all()? {
        let preserving = schedule.table_len().is_some() || name.starts_with("VP");
        if !preserving {
            continue;
        }
        for time in times(&*schedule) {
            let level = schedule.level(time)?;
            let sum = level.alpha() * level.alpha() + level.sigma() * level.sigma();
            assert!((sum - 1.0).abs() < 1e-15, "{name} at {time}: {sum}");
            assert_eq!(schedule.start_variance(&level), 1.0);
        }
    }
    Ok(())
}

#[test]
fn a_schedule_behind_any_pointer_is_that_schedule() {
    let schedule = RectifiedFlow::shifted(3.0).unwrap();
    let boxed: Box<dyn NoiseSchedule> = Box::new(schedule);
    let shared: std::sync::Arc<dyn NoiseSchedule> = std::sync::Arc::new(schedule);
    let pointers: [&dyn NoiseSchedule; 3] = [&boxed, &shared, &&schedule];
    for pointer in pointers {
        assert_eq!(pointer.level(0.3), schedule.level(0.3));
        assert_eq!(pointer.last_time(), schedule.last_time());
        assert_eq!(pointer.time_of_lambda(0.5), schedule.time_of_lambda(0.5));
        assert_eq!(pointer.lambda_range(), schedule.lambda_range());
        assert_eq!(pointer.table_len(), None);
        let level = schedule.level(1.0).unwrap();
        assert_eq!(
            pointer.start_variance(&level),
            schedule.start_variance(&level)
        );
    }
}

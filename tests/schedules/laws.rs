//! Laws that every noise schedule keeps, run over all of them.

use diffusion_sampler::{
    Error,
    schedule::{
        Edm, NoiseSchedule, RectifiedFlow, Sublevels, TableSchedule, UnitVariance,
        VarianceExploding, VariancePreserving,
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

/// Between two knots λ is linear where both ends are finite, and time where one is not.
#[test]
fn the_time_of_a_part_of_a_knot_is_linear_in_lambda() -> Outcome {
    let linear = TableSchedule::linear(10, 0.01, 0.3)?;
    let zero = linear.zero_terminal_snr()?;
    for (table, finite) in [(&linear, 10), (&zero, 9)] {
        let lambda = |knot: usize| Ok::<_, Error>(table.level(knot as f64)?.lambda());
        for below in 0..10 {
            for share in [0.0, 0.25, 0.8] {
                let knot = below as f64 + share;
                let time = table.knot_time(knot)?;
                if share == 0.0 || below == 0 || below >= finite {
                    assert_eq!(time, knot);
                    continue;
                }
                let expected = (1.0 - share) * lambda(below)? + share * lambda(below + 1)?;
                let found = table.level(time)?.lambda();
                assert!((found - expected).abs() < 1e-12, "{knot}: {found}");
            }
        }
    }
    Ok(())
}

/// Sub-levels lie uniformly in λ where both ends of it are finite, else in time.
#[test]
fn sub_levels_lie_uniformly_between_the_ends_of_their_schedule() -> Outcome {
    let edm = Edm::new(0.01, 50.0)?;
    let levels = Sublevels::of(edm, 8)?;
    assert_eq!((levels.last_time(), levels.table_len()), (50.0, Some(8)));
    assert_eq!(
        (levels.knot_time(0.0)?, levels.knot_time(8.0)?),
        (0.0, 50.0)
    );
    assert_eq!(levels.time_of_lambda(0.5)?, edm.time_of_lambda(0.5)?);
    for knot in [1.0, 2.0, 3.5, 7.0] {
        // From ρ = 0.01 at knot 1 to 50 at knot 8.
        let rho = 0.01 * 5000f64.powf((knot - 1.0) / 7.0);
        let level = levels.knot_level(knot)?;
        assert!((level.rho() / rho - 1.0).abs() < 1e-12, "{knot}");
    }
    // λ of the clean end is infinite.
    let vp = VariancePreserving::default();
    let levels = Sublevels::of(vp, 8)?;
    for knot in [0.0, 1.0, 3.5, 8.0] {
        assert_eq!(levels.knot_time(knot)?, knot / 8.0 * vp.last_time());
    }
    Ok(())
}

#[test]
fn shifts_and_tables_of_no_meaning_are_refused() -> Outcome {
    for mu in [1e3, -1e3, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let refused = RectifiedFlow::shifted_by_mu(mu);
        assert!(
            matches!(refused, Err(Error::InvalidParameter { name: "mu", .. })),
            "{mu}"
        );
    }
    for steps in [0, (1 << 24) + 1] {
        let expected = Error::StepCount {
            steps,
            min: 1,
            max: 1 << 24,
        };
        assert_eq!(TableSchedule::linear(steps, 1e-4, 0.02), Err(expected));
    }
    // All of the noise at once, at the last knot alone.
    assert_eq!(
        TableSchedule::from_betas(&[0.5, 1.0])?.level(2.0)?.alpha(),
        0.0
    );
    let early = TableSchedule::from_betas(&[1.0, 0.5]);
    assert!(matches!(
        early,
        Err(Error::InvalidEntry {
            name: "betas",
            index: 0,
            value: 1.0,
            ..
        })
    ));
    Ok(())
}

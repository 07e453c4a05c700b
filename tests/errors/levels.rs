//! Levels and schedules.

use diffusion_sampler::{
    Error, NoiseLevel,
    schedule::{
        Edm, LambdaRange, NoiseSchedule, RectifiedFlow, TableSchedule, VarianceExploding,
        VariancePreserving,
    },
};

use super::common::{BAD, Outcome, holds, judged, not_negative, positive, values};

#[test]
fn levels_take_finite_numbers_that_are_not_negative_and_never_hold_nan() {
    for a in BAD {
        for b in BAD {
            for time in [0.5, a] {
                let valid = time.is_finite() && not_negative(a) && not_negative(b) && a + b > 0.0;
                match NoiseLevel::new(time, a, b) {
                    Ok(level) => {
                        assert!(valid, "{time} {a} {b}");
                        assert!(!level.lambda().is_nan() && !level.rho().is_nan());
                        assert!(level.rho() >= 0.0 && level.snr() >= 0.0);
                        assert_eq!(level.is_clean(), b == 0.0);
                    }
                    Err(error) => {
                        assert!(!valid, "{time} {a} {b}: {error}");
                        holds(&error, a);
                        holds(&error, b);
                    }
                }
            }
            if let Ok(level) = NoiseLevel::from_logs(0.0, a, b) {
                assert!(level.alpha().is_finite() && level.sigma().is_finite());
                assert!(!level.lambda().is_nan());
            } else {
                let overflow = |log: f64| log.is_nan() || log.exp() == f64::INFINITY;
                assert!(
                    overflow(a) || overflow(b) || a.exp() + b.exp() == 0.0,
                    "{a} {b}"
                );
            }
        }
        let made = NoiseLevel::variance_preserving(0.0, a);
        assert_eq!(made.is_ok(), a <= 0.0, "{a}");
        if let Ok(level) = made {
            assert!(
                level.sigma().is_sign_positive() && !level.lambda().is_nan(),
                "{level:?}"
            );
        }
        let of_time = NoiseLevel::variance_preserving(a, -1.0);
        assert_eq!(of_time.is_ok(), a.is_finite());
    }
    // A state of all −0 is no level either, and −0 is 0.
    assert!(NoiseLevel::new(0.0, -0.0, -0.0).is_err());
    let pure = NoiseLevel::new(0.0, -0.0, 1.0).map(|level| level.rho());
    assert_eq!(pure, Ok(f64::INFINITY));
}

/// A schedule's levels at its ends and in the middle, all finite.
fn is_usable(schedule: &dyn NoiseSchedule) -> Outcome {
    for u in [0.0, 1e-12, 0.5, 1.0] {
        let level = schedule.level(u * schedule.last_time())?;
        assert!(
            level.alpha().is_finite() && level.sigma().is_finite(),
            "{schedule:?}: {level:?}"
        );
        assert!(!level.lambda().is_nan(), "{schedule:?}: {level:?}");
        let back = schedule.time_of_lambda(level.lambda());
        assert!(
            back.is_ok_and(|time| time <= schedule.last_time()),
            "{schedule:?} at {u}"
        );
    }
    Ok(())
}

#[test]
fn schedules_take_what_makes_noise_grow_and_nothing_else() -> Outcome {
    for a in BAD {
        if let Some(flow) = judged(RectifiedFlow::shifted(a), positive(a), a) {
            is_usable(&flow)?;
        }
        judged(
            RectifiedFlow::shifted_by_mu(a),
            a.is_finite() && positive(a.exp()),
            a,
        );
        judged(VariancePreserving::new(a, f64::MAX), positive(a), a);
        for b in BAD {
            let both = positive(a) && positive(b) && a < b;
            match (
                Edm::new(a, b),
                VarianceExploding::new(a, b),
                LambdaRange::of_rhos(b, a),
            ) {
                (Ok(edm), Ok(ve), Ok(_)) => {
                    assert!(both, "{a} {b}");
                    is_usable(&edm)?;
                    is_usable(&ve)?;
                }
                (Err(error), Err(_), Err(_)) => {
                    assert!(!both, "{a} {b}");
                    assert!(
                        values(&error)
                            .iter()
                            .any(|v| [a, b].map(f64::to_bits).contains(&v.to_bits()))
                    );
                }
                other => return Err(format!("{a} {b}: {other:?}").into()),
            }
            let rising = positive(a) && b.is_finite() && b >= a;
            match VariancePreserving::new(a, b) {
                Ok(vp) => {
                    assert!(rising, "{a} {b}");
                    is_usable(&vp)?;
                }
                Err(error) => {
                    assert!(!rising, "{a} {b}");
                    holds(&error, if positive(a) { b } else { a });
                }
            }
            match LambdaRange::new(a, b) {
                Ok(_) => assert!(a < b),
                Err(error) => {
                    assert!(a.is_nan() || b.is_nan() || a >= b);
                    holds(&error, b);
                }
            }
            for table in [
                TableSchedule::linear(5, a, b),
                TableSchedule::scaled_linear(5, a, b),
                TableSchedule::sigmoid(5, a, b),
            ] {
                match table {
                    Ok(table) => is_usable(&table)?,
                    Err(error) => {
                        assert!(matches!(error, Error::InvalidEntry { name: "betas", .. }))
                    }
                }
            }
        }
        let beta = a > 0.0 && a < 1.0;
        match TableSchedule::from_betas(&[0.1, a, 0.1]) {
            // A beta of less than an ulp of λ, so that λ does not fall in f64, is refused as well.
            Ok(table) => {
                assert!(beta && a > 2e-17, "{a}");
                is_usable(&table)?;
            }
            Err(error) => {
                assert!(!beta || a < 5e-17, "{a}: {error}");
                assert!(matches!(
                    error,
                    Error::InvalidEntry {
                        name: "betas",
                        index: 1,
                        ..
                    }
                ));
                holds(&error, a);
            }
        }
        judged(
            TableSchedule::from_betas(&[0.1, a]),
            beta && a > 2e-17 || a == 1.0,
            a,
        );
        judged(
            TableSchedule::from_alphas_cumprod(&[0.9, a]),
            (0.0..0.9).contains(&a),
            a,
        );
        // As the first of two: what is too small is refused at its successor.
        let first = TableSchedule::from_alphas_cumprod(&[a, 1e-310]);
        assert_eq!(first.is_ok(), a > 1e-310 && a < 1.0, "{a}");
    }
    for len in [0, usize::MAX] {
        for table in [
            TableSchedule::linear(len, 0.1, 0.2),
            TableSchedule::scaled_linear(len, 0.1, 0.2),
            TableSchedule::sigmoid(len, 0.1, 0.2),
            TableSchedule::cosine(len),
        ] {
            assert!(matches!(table, Err(Error::StepCount { steps, min: 1, .. }) if steps == len));
        }
    }
    for (name, empty) in [
        ("betas", TableSchedule::from_betas(&[])),
        ("alphas_cumprod", TableSchedule::from_alphas_cumprod(&[])),
    ] {
        assert_eq!(empty, Err(Error::EmptyList { name }));
    }
    for (tokens, low, high) in [
        (1, (5, 0.1), (5, 0.2)),
        (1, (5, f64::NAN), (6, 0.2)),
        (usize::MAX, (0, 0.0), (1, 1.0)),
    ] {
        let refused = RectifiedFlow::shifted_for_tokens(tokens, low, high);
        assert!(
            matches!(refused, Err(Error::InvalidParameter { .. })),
            "{refused:?}"
        );
    }
    Ok(())
}

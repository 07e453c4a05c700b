//! Levels: α, σ, their logarithms and what follows from them, at both ends and beyond f64's range.

use std::error::Error as StdError;

use diffusion_sampler::{
    Error, NoiseLevel,
    schedule::{
        Edm, LambdaRange, NoiseSchedule, RectifiedFlow, TableSchedule, VarianceExploding,
        VariancePreserving,
    },
};

type Outcome = Result<(), Box<dyn StdError>>;

fn near(found: f64, expected: f64) {
    assert!(
        (found - expected).abs() <= 1e-14 * expected.abs(),
        "{found} is not {expected}"
    );
}

#[test]
fn the_snr_is_the_squared_ratio_of_alpha_to_sigma() -> Outcome {
    // (0.8/0.4)² and (0.3/0.6)², each exact.
    near(NoiseLevel::new(1.0, 0.8, 0.4)?.snr(), 4.0);
    near(NoiseLevel::new(1.0, 0.3, 0.6)?.snr(), 0.25);
    assert_eq!(NoiseLevel::clean().snr(), f64::INFINITY);
    assert_eq!(NoiseLevel::new(1.0, 0.0, 2.0)?.snr(), 0.0);
    Ok(())
}

#[test]
fn levels_from_logarithms_keep_both_logarithms() -> Outcome {
    let level = NoiseLevel::from_logs(1.0, -3.0, 2.0)?;
    assert_eq!((level.log_alpha(), level.log_sigma()), (-3.0, 2.0));
    assert_eq!(level.lambda(), -5.0);
    near(level.alpha(), 0.049_787_068_367_863_944);
    near(level.sigma(), 7.389_056_098_930_65);
    near(level.rho(), 148.413_159_102_576_6);
    Ok(())
}

#[test]
fn the_marginal_variance_is_that_of_scaled_data_plus_noise() -> Outcome {
    // 0.25 · 4 + 9.
    assert_eq!(NoiseLevel::new(1.0, 0.5, 3.0)?.marginal_variance(4.0), 10.0);
    assert_eq!(NoiseLevel::clean().marginal_variance(7.0), 7.0);
    Ok(())
}

/// σ = 0 exactly where λ = +∞, α = 0 exactly where λ = −∞.
fn ends_agree(level: &NoiseLevel) {
    assert_eq!(
        level.sigma() == 0.0,
        level.lambda() == f64::INFINITY,
        "{level:?}"
    );
    assert_eq!(
        level.alpha() == 0.0,
        level.lambda() == f64::NEG_INFINITY,
        "{level:?}"
    );
    assert_eq!(level.is_clean(), level.sigma() == 0.0);
    assert_eq!(level.sigma() == 0.0, level.log_sigma() == f64::NEG_INFINITY);
    assert_eq!(level.alpha() == 0.0, level.log_alpha() == f64::NEG_INFINITY);
}

#[test]
fn alpha_and_sigma_vanish_exactly_where_lambda_is_infinite() -> Outcome {
    let logs = [
        0.0,
        -1e-300,
        -1.0,
        -700.0,
        -744.0,
        -745.2,
        -746.0,
        -800.0,
        -1e300,
        f64::NEG_INFINITY,
    ];
    for log_alpha in logs {
        for log_sigma in logs {
            if let Ok(level) = NoiseLevel::from_logs(1.0, log_alpha, log_sigma) {
                ends_agree(&level);
            } else {
                assert!(log_alpha < -745.0 && log_sigma < -745.0);
            }
        }
        ends_agree(&NoiseLevel::variance_preserving(1.0, log_alpha)?);
        ends_agree(&NoiseLevel::variance_preserving(
            1.0,
            2.0 * log_alpha.max(-1e300),
        )?);
    }
    for value in [0.0, 5e-324, 1e-310, 1e-160, 1.0] {
        ends_agree(&NoiseLevel::new(1.0, value, 1.0)?);
        ends_agree(&NoiseLevel::new(1.0, 1.0, value)?);
    }
    let schedules: [Box<dyn NoiseSchedule>; 8] = [
        Box::new(TableSchedule::linear(1000, 1e-4, 0.02)?),
        Box::new(TableSchedule::cosine(50)?.zero_terminal_snr()?),
        Box::new(VariancePreserving::new(0.1, 1e5)?),
        Box::new(VariancePreserving::new(5e-324, 1.0)?),
        Box::new(VarianceExploding::new(5e-324, 1e308)?),
        Box::new(Edm::new(1e-320, 1e300)?),
        Box::new(RectifiedFlow::shifted(1e-300)?),
        Box::new(RectifiedFlow::shifted(1e308)?),
    ];
    for schedule in &schedules {
        let last = schedule.last_time();
        for part in [
            0.0,
            5e-324,
            1e-310,
            1e-200,
            1e-16,
            0.3,
            0.5,
            1.0 - 1e-16,
            1.0,
        ] {
            ends_agree(&schedule.level(part * last)?);
        }
    }
    Ok(())
}

#[test]
fn a_table_ends_where_alpha_underflows() -> Outcome {
    // ln α² falls by 6.9 a knot: α is 0 in f64 from knot 216 on, and knots beyond are no more
    // noisy.
    let whole = TableSchedule::from_betas(&[0.999; 215])?;
    assert!(whole.level(215.0)?.alpha() > 0.0);
    assert!(matches!(
        TableSchedule::from_betas(&[0.999; 400]),
        Err(Error::InvalidEntry { name: "betas", index, value: 0.999, .. }) if index > 214
    ));
    Ok(())
}

#[test]
fn a_negative_end_of_a_ramp_is_refused_with_the_end_that_was_given() -> Outcome {
    for (first, last, at, bad) in [(-0.1, 0.2, 0, -0.1), (0.1, -0.2, 9, -0.2)] {
        match TableSchedule::scaled_linear(10, first, last) {
            Err(Error::InvalidEntry {
                name: "betas",
                index,
                value,
                ..
            }) => assert_eq!((index, value), (at, bad)),
            other => return Err(format!("{other:?}").into()),
        }
    }
    Ok(())
}

#[test]
fn a_range_up_to_clean_refuses_a_noisy_end_that_is_none() -> Outcome {
    assert_eq!(LambdaRange::up_to_clean(-3.0)?.noisy(), -3.0);
    assert_eq!(
        LambdaRange::up_to_clean(f64::NEG_INFINITY)?.noisy(),
        f64::NEG_INFINITY
    );
    for bad in [f64::NAN, f64::INFINITY] {
        assert!(matches!(
            LambdaRange::up_to_clean(bad),
            Err(Error::InvalidParameter { value, .. }) if value.to_bits() == bad.to_bits()
        ));
    }
    Ok(())
}

#[test]
fn the_initial_variance_is_one_or_that_of_the_noise() -> Outcome {
    let one: [Box<dyn NoiseSchedule>; 3] = [
        Box::new(TableSchedule::linear(1000, 1e-4, 0.02)?),
        Box::new(VariancePreserving::default()),
        Box::new(RectifiedFlow::new()),
    ];
    for schedule in &one {
        let level = schedule.level(0.5 * schedule.last_time())?;
        assert_eq!(schedule.start_variance(&level), 1.0);
    }
    let edm = Edm::default();
    assert_eq!(edm.start_variance(&edm.level(80.0)?), 6400.0);
    assert_eq!(edm.start_variance(&edm.level(3.0)?), 9.0);
    let exploding = VarianceExploding::new(0.01, 50.0)?;
    near(exploding.start_variance(&exploding.level(1.0)?), 2500.0);
    near(exploding.start_variance(&exploding.level(0.5)?), 0.5);
    Ok(())
}

const COSINE: [(f64, f64); 9] = [
    (1.0, 0.999_979_357_674_536_3),
    (2.0, 0.999_956_287_008_271_2),
    (100.0, 0.985_947_634_062_767_6),
    (500.0, 0.702_740_058_941_169),
    (700.0, 0.450_689_997_801_523_8),
    (900.0, 0.155_215_089_923_904_8),
    (990.0, 0.015_583_877_179_155_566),
    (998.0, 0.003_116_896_539_214_943_6),
    (999.0, 0.001_558_450_161_870_59),
];

#[test]
fn cosine_keeps_its_digits_at_the_noisy_end() -> Outcome {
    // ᾱ of unclipped knots is cos²((u + s)/(1 + s)·π/2)/cos²(s/(1 + s)·π/2); COSINE is its root at
    // 40 digits.
    let schedule = TableSchedule::cosine(1000)?;
    for (knot, alpha) in COSINE {
        let found = schedule.level(knot)?.alpha();
        assert!(
            (found / alpha - 1.0).abs() < 5e-15,
            "{found} is not {alpha} at {knot}"
        );
    }
    Ok(())
}

#[test]
fn a_variance_preserving_level_has_a_time_and_an_alpha_of_at_most_one() -> Outcome {
    for (time, log) in [
        (f64::NAN, -1.0),
        (f64::INFINITY, -1.0),
        (1.0, 0.1),
        (1.0, f64::NAN),
        (1.0, f64::INFINITY),
    ] {
        let refused = NoiseLevel::variance_preserving(time, log);
        assert!(
            matches!(refused, Err(Error::InvalidLevel { .. })),
            "{time}, {log}: {refused:?}"
        );
    }
    assert!(NoiseLevel::variance_preserving(-1.0, 0.0)?.is_clean());
    Ok(())
}

#[test]
fn a_range_of_rhos_goes_from_a_larger_to_a_smaller_positive_number() -> Outcome {
    for (max, min, name) in [
        (2.0, 0.0, "smallest rho"),
        (2.0, 2.0, "smallest rho"),
        (2.0, 3.0, "smallest rho"),
        (2.0, -1.0, "smallest rho"),
        (f64::INFINITY, 1.0, "largest rho"),
        (0.0, 0.0, "largest rho"),
    ] {
        match LambdaRange::of_rhos(max, min) {
            Err(Error::InvalidParameter { name: found, .. }) => assert_eq!(found, name),
            other => return Err(format!("{max}, {min}: {other:?}").into()),
        }
    }
    let range = LambdaRange::of_rhos(2.0, 0.5)?;
    near(range.noisy(), -2f64.ln());
    near(range.clean(), 2f64.ln());
    Ok(())
}

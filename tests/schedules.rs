//! Laws that every noise schedule keeps, run over all of them, and values against references of 50 digits.

#![allow(clippy::excessive_precision)] // The references as mpmath prints them.

use std::error::Error as StdError;

use diffusion_sampler::{
    Error, Grid, NoiseLevel,
    schedule::{
        Edm, LambdaRange, NoiseSchedule, RectifiedFlow, TableSchedule, VarianceExploding,
        VariancePreserving,
    },
};

type Outcome = Result<(), Box<dyn StdError>>;

/// A schedule and how a failure calls it.
type Named = (String, Box<dyn NoiseSchedule>);

/// Every implementor, in several sizes and shapes.
fn all() -> Result<Vec<Named>, Error> {
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
    list.push(("flow".into(), Box::new(RectifiedFlow::new())));
    for shift in [1e-20, 0.001, 0.2, 3.0, 1e3] {
        list.push((
            format!("flow shifted by {shift}"),
            Box::new(RectifiedFlow::shifted(shift)?),
        ));
    }
    Ok(list)
}

/// Times of a schedule: both ends, near both ends, and all between; every knot and half-knot of a table.
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
            // λ comes back to its own rounding and that of the time, whichever is larger at this place.
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

#[test]
fn zero_terminal_snr_ends_at_0_keeps_knot_1_and_falls_strictly() -> Outcome {
    for steps in [2usize, 3, 10, 1000] {
        for table in [
            TableSchedule::linear(steps, 1e-4, 0.02)?,
            TableSchedule::scaled_linear(steps, 0.00085, 0.012)?,
            TableSchedule::cosine(steps)?,
        ] {
            let zero = table.zero_terminal_snr()?;
            let end = zero.level(steps as f64)?;
            assert_eq!((end.alpha(), end.sigma()), (0.0, 1.0));
            assert_eq!(
                (end.lambda(), end.rho()),
                (f64::NEG_INFINITY, f64::INFINITY)
            );
            assert_eq!(zero.level(1.0)?, table.level(1.0)?);
            // Every other knot against the definition on amplitudes.
            let (first, last) = (
                table.level(1.0)?.alpha(),
                table.level(steps as f64)?.alpha(),
            );
            for knot in 1..steps {
                let old = table.level(knot as f64)?.alpha();
                let expected = first * (old - last) / (first - last);
                let new = zero.level(knot as f64)?.alpha();
                // The definition's own differences lose what they cancel.
                let tolerance = 1e-15 / (first - last);
                assert!(
                    (new - expected).abs() < tolerance,
                    "{new} instead of {expected} at {knot} of {steps}"
                );
                assert!(new > zero.level(knot as f64 + 1.0)?.alpha());
            }
            // What ends at 0 already stays as it is.
            let twice = zero.zero_terminal_snr()?;
            for knot in 0..=steps {
                let (a, b) = (zero.level(knot as f64)?, twice.level(knot as f64)?);
                assert!((a.alpha() - b.alpha()).abs() < 4e-16);
            }
        }
    }
    assert!(matches!(
        TableSchedule::linear(1, 0.1, 0.1)?.zero_terminal_snr(),
        Err(Error::StepCount {
            steps: 1,
            min: 2,
            ..
        })
    ));
    Ok(())
}

/// A level against (α, σ, λ) of the reference.
fn check(name: &str, level: &NoiseLevel, expected: (f64, f64, f64), tolerance: f64) {
    let (alpha, sigma, lambda) = expected;
    let errors = [
        (level.alpha() / alpha - 1.0).abs(),
        (level.sigma() / sigma - 1.0).abs(),
        (level.lambda() - lambda).abs(),
    ];
    for error in errors {
        assert!(
            error < tolerance,
            "{name} at {}: {level:?} is not {expected:?}: {errors:?}",
            level.time()
        );
    }
}

/// (knot, α, σ, λ).
type Reference = (f64, f64, f64, f64);

// The references were computed from the definitions with mpmath at 50 digits, the parameters being the decimal numbers
// (1e-4 and so on), ln α² as the sum of ln(1 − β) over all betas, σ² = −expm1(ln α²).
#[rustfmt::skip]
const LINEAR: [Reference; 6] = [
    (1.0, 0.9999499987499375, 0.01, 4.6051201834879247),
    (2.0, 0.99989003999043418, 0.014829292900469932, 4.2110408382593543),
    (10.0, 0.99905215318612602, 0.043529245504205344, 3.1333739600406973),
    (500.0, 0.28033416288739808, 0.95990247271179678, -1.230849357905236),
    (999.0, 0.0064173153562361671, 0.99997940881981096, -5.0487348261556019),
    (1000.0, 0.0063528180875700221, 0.99997982064756999, -5.0588365916505161),
];
#[rustfmt::skip]
const SCALED: [Reference; 6] = [
    (1.0, 0.99957490964909678, 0.029154759474226502, 3.5347119235125365),
    (2.0, 0.99914765066953513, 0.04127919768537891, 3.1865438811272203),
    (10.0, 0.9956510877483951, 0.093160675531243542, 2.3690711864135562),
    (500.0, 0.52694368812660411, 0.84990019975496663, -0.47802524135565022),
    (999.0, 0.068678227262180766, 0.99763886306625217, -2.6759591260311197),
    (1000.0, 0.068264914217167521, 0.99766722983514035, -2.6820238501492505),
];
#[rustfmt::skip]
const COSINE: [Reference; 6] = [
    (1.0, 0.99997935767453631, 0.0064252801356655106, 5.0474944057310334),
    (2.0, 0.99995628700827119, 0.0093500840975885697, 4.6723262273803218),
    (10.0, 0.99968430937054248, 0.025125317875432343, 3.6835635204541948),
    (500.0, 0.70274005894116902, 0.71144670184024487, -0.012313441405757272),
    (999.0, 0.0015584501618705901, 0.99999878561580912, -6.4640622231504561),
    (1000.0, 4.9282521313691616e-5, 0.99999999878561655, -9.9179410758120694),
];
#[rustfmt::skip]
const SIGMOID: [Reference; 6] = [
    (1.0, 0.99992539461660987, 0.012214958076761132, 4.4050193982230587),
    (2.0, 0.99985049823433784, 0.017291072278675778, 4.0574154509932834),
    (10.0, 0.99924042248139992, 0.038968937362897177, 3.2442305619401791),
    (500.0, 0.54948253530225611, 0.83550520249595386, -0.41905958437235691),
    (999.0, 0.0063631454490338264, 0.99997975498506691, -5.0572122112102683),
    (1000.0, 0.0062993507526833333, 0.99998015889321257, -5.0672888647211996),
];
// √ᾱ' = √ᾱ₁ (√ᾱ − √ᾱ_T)/(√ᾱ₁ − √ᾱ_T) of the tables above.
#[rustfmt::skip]
const ZERO_LINEAR: [Reference; 6] = [
    (1.0, 0.9999499987499375, 0.01, 4.6051201834879247),
    (2.0, 0.99988965662874668, 0.014855119213492231, 4.2093003954977099),
    (10.0, 0.99904641258052786, 0.043660800610819036, 3.1303505482567513),
    (500.0, 0.27573311470897855, 0.96123423235592545, -1.2487846952120575),
    (998.0, 0.00013041199204794427, 0.99999999149635613, -8.9448119406386115),
    (999.0, 6.4909648474537713e-5, 0.99999999789336877, -9.6425142764094641),
];
#[rustfmt::skip]
const ZERO_COSINE: [Reference; 6] = [
    (1.0, 0.99997935767453631, 0.0064252801356655106, 5.0474944057310334),
    (2.0, 0.99995628587121108, 0.0093502057010950373, 4.6723132207221449),
    (10.0, 0.99968429482880132, 0.025125896454499769, 3.6835404784417527),
    (500.0, 0.70272540921471405, 0.71146117198622489, -0.012354627039933128),
    (998.0, 0.0030677652082264317, 0.99999529439724225, -5.7868012220530789),
    (999.0, 0.0015092420213443753, 0.99999886109361195, -6.4961465878983196),
];

#[test]
fn tables_have_the_values_of_their_definitions_to_50_digits_rounded() -> Outcome {
    let linear = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let cosine = TableSchedule::cosine(1000)?;
    let cases: [(&str, TableSchedule, &[Reference], f64); 6] = [
        (
            "scaled linear",
            TableSchedule::scaled_linear(1000, 0.00085, 0.012)?,
            &SCALED,
            1e-13,
        ),
        (
            "sigmoid",
            TableSchedule::sigmoid(1000, 1e-4, 0.02)?,
            &SIGMOID,
            1e-13,
        ),
        // The rescaled knots next to T inherit α_999 − α_T, whose relative error is the error of ln α over α_999/α_T − 1.
        (
            "zero-SNR linear",
            linear.zero_terminal_snr()?,
            &ZERO_LINEAR,
            1e-12,
        ),
        (
            "zero-SNR cosine",
            cosine.zero_terminal_snr()?,
            &ZERO_COSINE,
            1e-12,
        ),
        ("linear", linear, &LINEAR, 1e-13),
        ("cosine", cosine, &COSINE, 1e-13),
    ];
    for (name, schedule, references, tolerance) in cases {
        for &(knot, alpha, sigma, lambda) in references {
            let level = schedule.level(knot)?;
            check(name, &level, (alpha, sigma, lambda), tolerance);
            assert_eq!(
                level.model_time(),
                knot - 1.0,
                "the network expects the index"
            );
        }
    }
    Ok(())
}

#[test]
fn continuous_schedules_have_the_values_of_their_definitions() -> Outcome {
    // mpmath, 50 digits: ln α² = −(0.1 t + 9.95 t²).
    let vp = VariancePreserving::default();
    for (time, alpha, sigma, lambda) in [
        (
            0.001,
            0.99994502651109762,
            0.010485416335094896,
            4.5577149327298977,
        ),
        (
            0.3,
            0.62955000033644882,
            0.77695997134754457,
            -0.21038355313124086,
        ),
        (
            1.0,
            0.006571586494929615,
            0.99997840689233868,
            -5.0249784066592042,
        ),
    ] {
        check("VP", &vp.level(time)?, (alpha, sigma, lambda), 1e-13);
    }
    // mpmath: σ = st/(1 − t + st), α = (1 − t)/(1 − t + st).
    for (shift, time, alpha, sigma, lambda) in [
        (3.0, 0.25, 0.5, 0.5, 0.0),
        (
            3.0,
            0.9,
            0.035714285714285714,
            0.96428571428571429,
            -3.2958368660043291,
        ),
        (
            0.001,
            0.75,
            0.99700897308075773,
            0.0029910269192422732,
            5.8091429903140274,
        ),
    ] {
        let level = RectifiedFlow::shifted(shift)?.level(time)?;
        check("flow", &level, (alpha, sigma, lambda), 1e-13);
    }
    // The noisy end is pure noise for any shift, also one that 1 + (s − 1) would lose.
    let end = RectifiedFlow::shifted(1e-20)?.level(1.0)?;
    assert_eq!((end.alpha(), end.sigma()), (0.0, 1.0));
    let ve = VarianceExploding::new(0.01, 50.0)?;
    for (time, sigma) in [(1.0, 50.0), (0.5, 0.5f64.sqrt()), (1e-300, 0.01)] {
        check("VE", &ve.level(time)?, (1.0, sigma, -f64::ln(sigma)), 1e-14);
    }
    Ok(())
}

#[test]
fn cosine_betas_are_all_positive_and_only_the_last_is_clipped() -> Outcome {
    for steps in [10usize, 100, 1000, 4000] {
        let schedule = TableSchedule::cosine(steps)?;
        let betas: Vec<f64> = (1..=steps)
            .map(|knot| {
                let (a, b) = (
                    schedule.level(knot as f64 - 1.0)?,
                    schedule.level(knot as f64)?,
                );
                Ok(-f64::exp_m1(2.0 * (b.log_alpha() - a.log_alpha())))
            })
            .collect::<Result<_, Error>>()?;
        assert!(betas.iter().all(|beta| *beta > 0.0));
        assert!(betas.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(betas.iter().filter(|beta| **beta > 0.99).count(), 1);
        assert!((betas[steps - 1] - 0.999).abs() < 1e-12);
    }
    Ok(())
}

#[test]
fn a_table_of_betas_and_its_table_of_alphas_cumprod_are_the_same_schedule() -> Outcome {
    let betas: Vec<f64> = (0..1000)
        .map(|i| 1e-4 + 0.0199 * f64::from(i) / 999.0)
        .collect();
    let cumprod: Vec<f64> = betas
        .iter()
        .scan(1.0, |product, beta| {
            *product *= 1.0 - beta;
            Some(*product)
        })
        .collect();
    let a = TableSchedule::from_betas(&betas)?;
    let b = TableSchedule::from_alphas_cumprod(&cumprod)?;
    for knot in 1..=1000 {
        let (a, b) = (a.level(f64::from(knot))?, b.level(f64::from(knot))?);
        assert!((a.alpha() / b.alpha() - 1.0).abs() < 1e-12);
        assert!((a.alpha().powi(2) - cumprod[knot as usize - 1]).abs() < 1e-14);
    }
    Ok(())
}

#[test]
fn between_knots_log_alpha_squared_is_linear() -> Outcome {
    let schedule = TableSchedule::linear(10, 0.01, 0.4)?;
    for knot in 0..10 {
        let (a, b) = (
            schedule.level(f64::from(knot))?,
            schedule.level(f64::from(knot) + 1.0)?,
        );
        for u in [0.1, 0.25, 0.9] {
            let level = schedule.level(f64::from(knot) + u)?;
            let expected = a.log_alpha() * (1.0 - u) + b.log_alpha() * u;
            assert!((level.log_alpha() - expected).abs() < 1e-15);
        }
    }
    // Onto α = 0 it is α² that is linear.
    let zero = TableSchedule::from_alphas_cumprod(&[0.5, 0.0])?;
    assert!((zero.level(1.75)?.alpha().powi(2) - 0.125).abs() < 1e-15);
    Ok(())
}

#[test]
fn a_flow_shift_multiplies_rho_by_s_exactly_once() -> Outcome {
    let plain = RectifiedFlow::new();
    for shift in [0.2, 1.0, 3.0, 7.5] {
        let shifted = RectifiedFlow::shifted(shift)?;
        // Through the level, through λ, and through a grid, which must not shift again.
        let grid = Grid::trailing(&shifted, 8)?;
        for (k, on_grid) in grid.levels().iter().enumerate() {
            let time = (8 - k) as f64 / 8.0;
            let (a, b) = (plain.level(time)?, shifted.level(time)?);
            assert_eq!(*on_grid, b);
            if time > 0.0 && time < 1.0 {
                assert!((b.rho() / (shift * a.rho()) - 1.0).abs() < 1e-14);
                assert!((b.lambda() - (a.lambda() - shift.ln())).abs() < 1e-14);
                let back = shifted.time_of_lambda(a.lambda() - shift.ln())?;
                assert!((back - time).abs() < 1e-15);
                assert!((b.sigma() + b.alpha() - 1.0).abs() < 1e-15);
                assert_eq!(b.model_time(), b.sigma());
            }
        }
    }
    Ok(())
}

#[test]
fn a_shift_by_tokens_passes_through_its_two_points() -> Outcome {
    // e^μ with μ linear from (256, 0.5) to (4096, 1.15), by mpmath.
    for (tokens, shift) in [
        (256, 1.6487212707001281),
        (1024, 1.8776105792643431),
        (4096, 3.1581929096897676),
    ] {
        let flow = RectifiedFlow::shifted_for_tokens(tokens, (256, 0.5), (4096, 1.15))?;
        assert!((flow.shift() / shift - 1.0).abs() < 1e-15);
    }
    Ok(())
}

#[test]
fn start_laws_have_the_variance_of_their_family() -> Outcome {
    let edm = Edm::default();
    assert_eq!(edm.start_variance(&edm.level(80.0)?), 6400.0);
    let ve = VarianceExploding::new(0.01, 50.0)?;
    assert!((ve.start_variance(&ve.level(1.0)?) / 2500.0 - 1.0).abs() < 1e-14);
    let flow = RectifiedFlow::shifted(3.0)?;
    assert_eq!(flow.start_variance(&flow.level(1.0)?), 1.0);
    Ok(())
}

#[test]
fn a_lambda_range_of_a_schedule_is_that_of_its_levels() -> Outcome {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let range = LambdaRange::of_times(&schedule, 1000.0, 1.0)?;
    assert_eq!(range, schedule.lambda_range());
    assert!(LambdaRange::of_times(&schedule, 1.0, 1000.0).is_err());
    let rhos = LambdaRange::of_rhos(80.0, 0.002)?;
    assert_eq!(rhos, Edm::default().lambda_range());
    Ok(())
}

#[test]
fn huge_betas_underflow_to_pure_noise_without_a_nan() -> Outcome {
    for beta_max in [1e3, 1e10, 1e200, f64::MAX] {
        let schedule = VariancePreserving::new(0.1, beta_max)?;
        for time in [0.0, 1e-300, 1e-9, 0.5, 1.0] {
            let level = schedule.level(time)?;
            assert!(level.alpha() >= 0.0 && level.sigma() <= 1.0);
            assert!(!level.lambda().is_nan());
            let back = schedule.time_of_lambda(level.lambda())?;
            if level.alpha() == 0.0 {
                // Where α underflows, λ is −∞ and says no more than that.
                assert_eq!(level.lambda(), f64::NEG_INFINITY);
                assert_eq!(schedule.level(back)?.alpha(), 0.0);
                continue;
            }
            assert!(
                (back - time).abs() <= 1e-12 * time,
                "{back} is not {time} at {beta_max}"
            );
        }
    }
    Ok(())
}

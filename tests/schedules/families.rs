//! What is special to each family of schedules.

use diffusion_sampler::{
    Error, Grid,
    schedule::{
        Edm, LambdaRange, NoiseSchedule, RectifiedFlow, TableSchedule, VarianceExploding,
        VariancePreserving,
    },
};

use super::common::Outcome;

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

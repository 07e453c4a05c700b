//! Tables with another signal-to-noise ratio, and schedules rescaled to α² + σ² = 1.

#![allow(clippy::excessive_precision)] // The references as mpmath prints them.

use diffusion_sampler::{
    Error, Grid, Prediction,
    oracle::Gaussian,
    schedule::{
        Edm, NoiseSchedule, RectifiedFlow, TableSchedule, UnitVariance, VarianceExploding,
        VariancePreserving,
    },
    solver::{DpmSolverPlusPlus, Path, Solver},
};

use super::common::Outcome;

fn sd() -> Result<TableSchedule, Error> {
    TableSchedule::scaled_linear(1000, 0.00085, 0.012)
}

#[test]
fn an_snr_shift_divides_the_snr_of_every_knot() -> Outcome {
    for table in [
        sd()?,
        TableSchedule::cosine(1000)?,
        TableSchedule::linear(7, 1e-3, 0.5)?,
        TableSchedule::from_alphas_cumprod(&[1.0 - 1e-12, 0.5, 1e-30, 1e-305])?,
    ] {
        for scale in [1e-20, 0.01, 0.5, 1.0, 3.0, 1e6] {
            let shifted = table.snr_shifted(scale)?;
            for knot in 1..=table.last_time() as usize {
                let (old, new) = (table.level(knot as f64)?, shifted.level(knot as f64)?);
                let error = new.lambda() - (old.lambda() - 0.5 * scale.ln());
                assert!(
                    error.abs() < 2e-15 * (10.0 + old.lambda().abs() + scale.ln().abs()),
                    "{scale}, {knot}: {error:e}"
                );
                assert_eq!(new.model_time(), knot as f64 - 1.0);
            }
        }
        let same = table.snr_shifted(1.0)?;
        assert_eq!(same, table);
    }
    Ok(())
}

#[test]
fn an_snr_shift_has_the_values_of_its_formula() -> Outcome {
    // ᾱ' = ᾱ/(3 − 2ᾱ) and its rescaling to zero terminal SNR, of Stable Diffusion's table.
    let table = sd()?;
    let shifted = table.snr_shifted(3.0)?;
    let zero = shifted.zero_terminal_snr()?;
    let formula = |knot: f64| -> Result<f64, Error> {
        let squared = table.level(knot)?.alpha().powi(2);
        Ok((squared / (3.0 - 2.0 * squared)).sqrt())
    };
    let (first, last) = (formula(1.0)?, formula(1000.0)?);
    for knot in [1.0, 2.0, 10.0, 500.0, 900.0, 999.0] {
        let expected = formula(knot)?;
        assert!((shifted.level(knot)?.alpha() / expected - 1.0).abs() < 1e-13);
        let expected = first * (expected - last) / (first - last);
        assert!((zero.level(knot)?.alpha() - expected).abs() < 1e-14);
    }
    assert_eq!(zero.level(1000.0)?.alpha(), 0.0);
    // Where ᾱ is 0 already it stays.
    let before = table.zero_terminal_snr()?.snr_shifted(3.0)?;
    assert_eq!(before.level(1000.0)?.alpha(), 0.0);
    for (scale, small) in [(0.25, true), (4.0, false)] {
        let end = table
            .zero_terminal_snr()?
            .snr_shifted(scale)?
            .level(999.0)?;
        assert_eq!(end.alpha() > before.level(999.0)?.alpha(), small);
    }
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(
            table.snr_shifted(bad),
            Err(Error::InvalidParameter {
                name: "scale of the signal-to-noise ratio",
                ..
            })
        ));
    }
    Ok(())
}

#[test]
fn the_last_alpha_cumprod_alone_is_replaced() -> Outcome {
    let zero = sd()?.zero_terminal_snr()?;
    let nearly = zero.with_last_alpha_cumprod(2f64.powi(-24))?;
    let end = nearly.level(1000.0)?;
    assert!((end.alpha() / 2f64.powi(-12) - 1.0).abs() < 1e-15);
    // ρ = √(2²⁴ − 1).
    assert!((end.rho() - ((1u64 << 24) as f64 - 1.0).sqrt()).abs() < 1e-9);
    assert_eq!(end.model_time(), 999.0);
    for knot in 0..1000 {
        assert_eq!(nearly.level(f64::from(knot))?, zero.level(f64::from(knot))?);
    }
    assert_eq!(nearly.with_last_alpha_cumprod(0.0)?, zero);
    // ε is defined now.
    let grid = Grid::trailing(&nearly, 5)?;
    let level = grid.start();
    assert!(Prediction::Noise.data(&level).is_ok());
    assert!(Prediction::Noise.data(&zero.level(1000.0)?).is_err());
    let before = zero.level(999.0)?.alpha().powi(2);
    for bad in [-1e-9, before * 1.001, 1.0, f64::NAN, f64::INFINITY] {
        match nearly.with_last_alpha_cumprod(bad) {
            Err(Error::InvalidEntry {
                name: "alphas_cumprod",
                index: 999,
                value,
                ..
            }) => {
                assert_eq!(value.to_bits(), bad.to_bits());
            }
            other => return Err(format!("{bad}: {other:?}").into()),
        }
    }
    assert!(
        TableSchedule::from_betas(&[0.5])?
            .with_last_alpha_cumprod(0.9)
            .is_ok()
    );
    Ok(())
}

#[test]
fn rescaled_levels_have_unit_variance_and_the_same_rho_time_and_lambda() -> Outcome {
    let schedules: [Box<dyn NoiseSchedule>; 5] = [
        Box::new(Edm::new(0.002, 700.0)?),
        Box::new(VarianceExploding::new(0.01, 50.0)?),
        Box::new(RectifiedFlow::shifted(3.0)?),
        Box::new(VariancePreserving::default()),
        Box::new(sd()?.zero_terminal_snr()?),
    ];
    for schedule in schedules {
        let rescaled = UnitVariance::of(&schedule);
        let timed = UnitVariance::of(&schedule).with_edm_noise();
        for i in 0..=200 {
            let time = schedule.last_time() * f64::from(i) / 200.0;
            let (old, new) = (schedule.level(time)?, rescaled.level(time)?);
            assert!((new.marginal_variance(1.0) - 1.0).abs() < 5e-16);
            assert!(
                (new.lambda() - old.lambda()).abs() < 1e-15 * new.lambda().abs().max(1.0)
                    || new.lambda() == old.lambda()
            );
            assert!(new.rho() == old.rho() || (new.rho() / old.rho() - 1.0).abs() < 1e-15);
            assert_eq!(new.model_time(), old.model_time());
            assert_eq!(new.time(), old.time());
            let expected = Prediction::edm_noise(&old);
            let told = timed.level(time)?.model_time();
            assert!(
                told == expected || (told - expected).abs() < 1e-15,
                "{told}"
            );
            assert_eq!(rescaled.start_variance(&new), 1.0);
        }
        assert_eq!(rescaled.table_len(), schedule.table_len());
        if schedule.table_len().is_some() {
            assert_eq!(rescaled.knot_level(412.5)?.model_time(), 411.5);
            assert_eq!(rescaled.knot_time(412.5)?, schedule.knot_time(412.5)?);
        }
    }
    Ok(())
}

#[test]
fn stable_video_diffusion_is_a_rescaled_edm() -> Outcome {
    // mpmath: ρ = 700, 54.5, 0.002; ¼ ln ρ, 1/√(1 + ρ²), ρ/√(1 + ρ²).
    let svd = UnitVariance::of(Edm::new(0.002, 700.0)?).with_edm_noise();
    let grid = Grid::from_rhos(&svd, &[700.0, 54.5, 0.002, 0.0])?;
    for (level, (time, alpha, sigma)) in grid.levels().iter().zip([
        (
            1.63777008376085117,
            0.00142856997084771226,
            0.999998979593398581,
        ),
        (
            0.999550175417299598,
            0.0183455358989896792,
            0.999831706494937517,
        ),
        (
            -1.55365202460554794,
            0.99999800000599998,
            0.00199999600001199996,
        ),
    ]) {
        assert!((level.model_time() - time).abs() < 1e-14, "{level}");
        assert!((level.alpha() / alpha - 1.0).abs() < 1e-13, "{level}");
        assert!((level.sigma() / sigma - 1.0).abs() < 1e-13, "{level}");
    }
    assert_eq!(grid.start(), svd.level(700.0)?);
    assert_eq!(grid.levels()[2], svd.level(0.002)?);
    Ok(())
}

#[test]
fn a_run_is_the_same_but_for_the_scale() -> Outcome {
    // The moments of the rescaled run, divided by α, are those of the run, at every knot.
    let edm = Edm::default();
    let grid = Grid::karras(&edm, 12, edm.lambda_range(), 7.0)?;
    let rescaled = UnitVariance::of(edm);
    let on = Grid::karras(&rescaled, 12, rescaled.lambda_range(), 7.0)?;
    let data = Gaussian::diagonal(&[0.4, -1.0], &[0.3, 2.0])?;
    let solver = DpmSolverPlusPlus::new();
    let plan = solver.plan(&Path::new(&edm, &grid)?)?;
    let other = solver.plan(&Path::new(&rescaled, &on)?)?;
    let laws = plan.moments(&data, &data.at_level(&grid.start())?)?;
    let scaled = other.moments(&data, &data.at_level(&on.start())?)?;
    for (k, (law, scaled)) in laws.iter().zip(&scaled).enumerate() {
        let alpha = on.levels()[k + 1].alpha();
        for (a, b) in law.mean().iter().zip(scaled.mean()) {
            assert!((a - b / alpha).abs() < 1e-11, "{k}: {a}, {b}");
        }
        for (a, b) in law.variances().iter().zip(scaled.variances()) {
            assert!((b / (alpha * alpha) / a - 1.0).abs() < 1e-11, "{k}");
        }
    }
    Ok(())
}

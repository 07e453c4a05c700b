//! Scalars at the ends of f64: what a check with 10⁹ extreme arguments found.

use std::error::Error as StdError;

use diffusion_sampler::{
    Error, NoiseLevel, Prediction,
    posterior::{Kappa, StridedPosterior},
    schedule::{Edm, NoiseSchedule, RectifiedFlow, Sublevels, TableSchedule},
    training::LossWeight,
};

type Outcome = Result<(), Box<dyn StdError>>;

#[test]
fn data_without_variance_leave_the_noise_where_alpha_squared_overflows() -> Outcome {
    let level = NoiseLevel::new(1.0, 8.3e271, 5.6e-10)?;
    assert_eq!(level.marginal_variance(0.0), 5.6e-10 * 5.6e-10);
    assert_eq!(level.marginal_variance(1.0), f64::INFINITY);
    Ok(())
}

#[test]
fn a_forward_variance_that_overflows_is_an_error_and_none_over_no_distance() -> Outcome {
    let from = NoiseLevel::new(1.0, 0.9995, 6.661_917_461_880_737e276)?;
    let same = StridedPosterior::new(from, from, Kappa::Ddim)?;
    assert_eq!(same.forward_variance(), Ok(0.0));
    let to = NoiseLevel::new(0.0, 0.9995, 1.0)?;
    let far = StridedPosterior::new(from, to, Kappa::Ddim)?;
    assert!(matches!(
        far.forward_variance(),
        Err(Error::EdgeOverflow { value, .. }) if value == f64::INFINITY
    ));
    Ok(())
}

#[test]
fn kappa_and_gamma_agree_for_a_large_eta_over_a_short_step() -> Outcome {
    let from = NoiseLevel::new(1.0, 1.0, 1.0)?;
    for size in [1e-12, 1e-9, 1e-6, 1e-3] {
        let to = NoiseLevel::new(0.0, 1.0, 1.0 - size)?;
        // γ/σ_s = η √(1 − r²), from 1 % to 99 %.
        let rate = (size * (2.0 - size)).sqrt();
        for share in [0.01, 0.3, 0.7, 0.99] {
            let eta = share / rate;
            for kappa in [
                Kappa::CappedEta(eta),
                Kappa::Eta(eta),
                Kappa::Ancestral(eta),
            ] {
                let q = StridedPosterior::new(from, to, kappa)?;
                let ratio = q.gamma() / to.sigma();
                let sum = q.kappa() * q.kappa() + ratio * ratio;
                assert!((sum - 1.0).abs() < 1e-15, "{eta:e} {size:e}: {sum}");
                assert!((ratio - share).abs() < 1e-3 * share, "{eta:e} {size:e}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_scale_or_a_weight_that_overflows_is_an_error() -> Outcome {
    let edm = Prediction::Edm { data_std: 1e-310 };
    let clean = NoiseLevel::new(0.0, 0.5, 0.0)?;
    let refused = edm.input_scale(&clean);
    assert!(
        matches!(refused, Err(Error::ConversionOverflow { .. })),
        "{refused:?}"
    );
    // ω = 1e300 on the data error is ω·σ⁴/α² on the score.
    let level = NoiseLevel::new(1.0, 1e-10, 1e10)?;
    let refused = LossWeight::Omega(1e300).on_output(Prediction::Score, &level);
    assert!(
        matches!(refused, Err(Error::InvalidParameter { .. })),
        "{refused:?}"
    );
    Ok(())
}

#[test]
fn sublevels_have_no_knots_beyond_their_ends() -> Outcome {
    let (flow, edm) = (RectifiedFlow::new(), Edm::default());
    let schedules: [&dyn NoiseSchedule; 2] = [&Sublevels::of(flow, 50)?, &Sublevels::of(edm, 50)?];
    for schedule in schedules {
        for knot in [
            -1.0,
            -f64::INFINITY,
            50.000_001,
            2.9e9,
            f64::INFINITY,
            f64::NAN,
        ] {
            let refused = schedule.knot_time(knot);
            assert!(
                matches!(refused, Err(Error::TimeOutOfRange { .. })),
                "{knot}: {refused:?}"
            );
        }
        assert_eq!(schedule.knot_time(50.0)?, schedule.last_time());
        assert_eq!(schedule.knot_time(0.0)?, 0.0);
    }
    Ok(())
}

#[test]
fn a_table_whose_neighbours_have_one_lambda_is_refused() -> Outcome {
    // ln α² of the second knot is the next number in f64, and λ = 9 the same.
    let beta: f64 = 1.5e-8;
    for second in [2e-24, 5e-24] {
        let refused = TableSchedule::from_betas(&[beta, second]);
        assert!(
            matches!(refused, Err(Error::InvalidEntry { index: 1, .. })),
            "{second:e}: {refused:?}"
        );
    }
    // Between knots of two λ the network's index is a number.
    let table = TableSchedule::from_betas(&[beta, 1e-22])?;
    for time in [1.0, 1.25, 1.5, 1.999_999_99, 2.0] {
        let index = table.level(time)?.model_time();
        assert!((0.0..=1.0).contains(&index), "{time}: {index}");
    }
    Ok(())
}

//! Scalars at the ends of f64: what a check with 10⁹ extreme arguments found.

use std::error::Error as StdError;

use diffusion_sampler::{
    Error, NoiseLevel, Prediction,
    posterior::{Kappa, StridedPosterior},
    schedule::{Edm, NoiseSchedule, RectifiedFlow, Sublevels, TableSchedule, VariancePreserving},
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

#[test]
fn gamma_is_at_most_the_noise_of_its_level_at_the_largest_eta() -> Outcome {
    let from = NoiseLevel::new(1.0, 0.7, f64::MAX)?;
    for k in 1..200 {
        // As large as its noise may be, and at every size of h.
        let to = NoiseLevel::new(0.0, 0.7 * 1.05f64.powi(k), f64::MAX)?;
        let refused = StridedPosterior::new(from, to, Kappa::Eta(1e9));
        let Err(Error::EtaOutOfRange { max, .. }) = refused else {
            return Err(format!("{refused:?}").into());
        };
        for eta in [max, max.next_up(), max.next_up().next_up(), max.next_down()] {
            for kappa in [Kappa::Eta(eta), Kappa::CappedEta(eta)] {
                let q = StridedPosterior::new(from, to, kappa)?;
                assert!(q.gamma() <= f64::MAX, "{k} {eta}");
                assert!(q.gamma() > 0.999_999 * f64::MAX, "{k} {eta}");
            }
        }
    }
    Ok(())
}

#[test]
fn the_ancestral_step_of_flows_knows_its_shares_where_their_sum_overflows() -> Outcome {
    let from = NoiseLevel::new(1.0, 1.0, 1.4)?;
    // κ depends on ratios alone, so that a power of two changes nothing but the logarithms' rounding.
    let scale = 2f64.powi(-900);
    for (alpha, sigma) in [(1.0, 0.999), (0.75, 0.5), (0.9, 1e-3)] {
        let (alpha, sigma) = (alpha * f64::MAX, sigma * f64::MAX);
        let large = NoiseLevel::new(0.0, alpha, sigma)?;
        let small = NoiseLevel::new(0.0, alpha * scale, sigma * scale)?;
        for eta in [0.3, 1.0] {
            let at = |to| StridedPosterior::new(from, to, Kappa::FlowEta(eta));
            let (large, small) = (at(large)?, at(small)?);
            assert!((large.kappa() - small.kappa()).abs() < 1e-12, "{eta}");
            let ratio = large.gamma() / sigma;
            let sum = large.kappa() * large.kappa() + ratio * ratio;
            assert!((sum - 1.0).abs() < 1e-15, "{eta}: {sum}");
        }
    }
    Ok(())
}

#[test]
fn a_flow_with_a_subnormal_shift_has_the_digits_of_its_noise() -> Outcome {
    let shift = 2.670_921_4e-317;
    let flow = RectifiedFlow::shifted(shift)?;
    for rest in [1e-3, 1e-7, 2e-10, 1e-15] {
        let time: f64 = 1.0 - rest;
        // st/((1 − t) + st), whose sum is 1 − t; the power of two is exact.
        let large = 2f64.powi(400);
        let sigma = (shift * large) * time / (1.0 - time) / large;
        let level = flow.level(time)?;
        let unit = 4.0 * f64::EPSILON * sigma + 2.0 * f64::from_bits(1);
        assert!((level.sigma() - sigma).abs() <= unit, "{rest:e}");
    }
    assert_eq!(flow.level(1.0)?.sigma(), 1.0);
    Ok(())
}

#[test]
fn the_time_of_a_lambda_is_found_under_the_largest_betas() -> Outcome {
    // ½ β t² = −2λ where e^2λ is nothing.
    for (least, most) in [(0.1, f64::MAX), (1.0, 1e308), (1e250, f64::MAX)] {
        let vp = VariancePreserving::new(least, most)?;
        for share in [0.01, 0.1, 0.24] {
            let time = vp.time_of_lambda(-share * most)?;
            let exact = 2.0 * f64::sqrt(share);
            assert!((time - exact).abs() < 1e-15, "{least} {most:e} {share}");
        }
        // Beyond the end α is 0 from the end on.
        assert_eq!(vp.time_of_lambda(-0.4 * most)?, 1.0);
    }
    // ½ s t² + b t = −2λ, in units of the largest number.
    for (least, most) in [(0.5, 1.0), (0.9, 1.0), (0.3, 0.97)] {
        let vp = VariancePreserving::new(least * f64::MAX, most * f64::MAX)?;
        for share in [0.1, 0.2, 0.3] {
            let slope: f64 = most - least;
            let root = (least * least + 4.0 * slope * share).sqrt();
            let exact = (root - least) / slope;
            let time = vp.time_of_lambda(-share * f64::MAX)?;
            assert!((time - exact).abs() < 1e-14, "{least} {most} {share}");
        }
    }
    let vp = VariancePreserving::new(f64::MAX, f64::MAX)?;
    for lambda in [-3.0f64, 0.0, 3.57, 8.0] {
        // β t = −ln α² = ln(1 + e^−2λ).
        let time = (-2.0 * lambda).exp().ln_1p() / f64::MAX;
        assert!((vp.time_of_lambda(lambda)? - time).abs() <= 2.0 * f64::from_bits(1));
    }
    Ok(())
}

#[test]
fn sub_levels_whose_first_noise_underflows_are_refused() {
    let flow = RectifiedFlow::shifted(f64::from_bits(1)).and_then(|flow| Sublevels::of(flow, 5));
    assert!(matches!(
        flow,
        Err(Error::InvalidParameter { value: 0.0, .. })
    ));
}

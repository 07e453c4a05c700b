//! Logarithms of levels to the last digits, where two forms of one formula meet.

#![allow(clippy::excessive_precision)] // The references as mpmath prints them.

use std::f64::consts::LN_2;

use diffusion_sampler::{
    Error, NoiseLevel,
    schedule::{
        Edm, LambdaRange, NoiseSchedule, RectifiedFlow, Sublevels, TableSchedule,
        VariancePreserving,
    },
};

use super::common::Outcome;

/// What a few roundings and a libm function within a unit in the last place may add up to.
const ROUNDING: f64 = 4.0 * f64::EPSILON;

#[test]
fn a_flows_logarithms_have_their_digits_for_every_shift_and_time() -> Outcome {
    // (s, t, ln α, ln σ): (1 − t)/n and st/n with n = 1 + (s − 1)t, mpmath at 60 digits.
    #[rustfmt::skip]
    let references = [
        (1.0, 1e-10, -1.0000000000500000364e-10, -23.025850929940456804),
        (1.0, 0.25, -0.28768207245178092744, -1.3862943611198906188),
        (1.0, 0.75, -1.3862943611198906188, -0.28768207245178092744),
        (3.0, 1e-10, -2.9999999998500001093e-10, -21.927238641472347112),
        (3.0, 0.24, -0.66647893347778396067, -0.72054615474805977717),
        (3.0, 0.25, -LN_2, -LN_2),
        (3.0, 0.26, -0.71981542764210665816, -0.66717169415668462892),
        (1e-20, 0.999, -9.9899999999999905204e-18, -39.144947081232361116),
        (1e-20, 0.25, -3.3333333333333331505e-21, -47.150314148549023427),
        (0.25, 0.9, -1.178654996341646288, -0.36772478012531727735),
        (1e20, 1e-21, -0.095310179804324851638, -2.3978952727983706281),
        (1e20, 0.5, -46.05170185988091368, -9.9999999999999999999e-21),
    ];
    for (shift, time, log_alpha, log_sigma) in references {
        let level = RectifiedFlow::shifted(shift)?.level(time)?;
        // ln α = ln(1 − t) − ln n, ln σ = ln s + ln t − ln n: each term is right to rounding.
        let norm = ((shift - 1.0) * time).ln_1p().abs();
        let alpha_terms = (-time).ln_1p().abs() + norm;
        let sigma_terms = f64::ln(shift).abs() + f64::ln(time).abs() + norm;
        let errors = [
            (level.log_alpha() - log_alpha).abs() / alpha_terms,
            (level.log_sigma() - log_sigma).abs() / sigma_terms,
        ];
        for error in errors {
            assert!(error <= ROUNDING, "{shift} at {time}: {errors:?}");
        }
    }
    Ok(())
}

#[test]
fn a_flow_has_times_down_to_the_least_number() -> Outcome {
    // t = 1/(1 + e^λ): at λ = 720, where e^λ overflows, e^−720 to within a step of the numbers
    // there (5e-324). mpmath: 2.03223080242429e-313.
    let time = RectifiedFlow::new().time_of_lambda(720.0)?;
    assert!((time - 2.03223080242429e-313).abs() < 2e-323, "{time:e}");
    assert_eq!(RectifiedFlow::new().time_of_lambda(0.0)?, 0.5);
    Ok(())
}

#[test]
fn a_variance_preserving_level_has_its_ln_sigma_near_pure_noise_and_near_the_data() -> Outcome {
    // (ln α², ln σ = ½ ln(1 − α²)), mpmath at 60 digits.
    let references = [
        (-1e-300, -345.38776394910685259),
        (-1e-10, -11.512925464995228402),
        (-0.1, -1.1760842305220453781),
        (-0.69, -0.34815214857202835287),
        (-0.7, -0.34317050140419257675),
        (-1.0, -0.22933757269354094551),
        (-5.0, -0.003380374724744278913),
        (-40.0, -2.1241771276457945022e-18),
    ];
    for (log, log_sigma) in references {
        let level = NoiseLevel::variance_preserving(0.5, log)?;
        let error = (level.log_sigma() / log_sigma - 1.0).abs();
        assert!(error <= ROUNDING, "{log}: {error:e}");
        assert_eq!(level.log_alpha(), 0.5 * log);
    }
    Ok(())
}

#[test]
fn the_inverse_of_lambda_keeps_its_digits_at_both_ends() -> Outcome {
    // (λ, ln α² = −ln(1 + e^−2λ)), mpmath at 60 digits. With 1 − β = 2⁻²⁰ the time is −ln α² in
    // units of 20 ln 2.
    let table = TableSchedule::from_betas(&[1.0 - 2f64.powi(-20); 80])?;
    for (lambda, log) in [
        (-400.0, -800.0),
        (-20.0, -40.000000000000000004),
        (-1.0, -2.1269280110429724964),
        (-0.001, -0.69414768055986197613),
        (0.0, -std::f64::consts::LN_2),
        (0.001, -0.69214768055986197609),
        (1.0, -0.12692801104297249644),
        (20.0, -4.2483542552915889863e-18),
    ] {
        let time = table.time_of_lambda(lambda)?;
        let expected = -log / (20.0 * std::f64::consts::LN_2);
        // Up to 58 sums lie between.
        let error = (time / expected - 1.0).abs();
        assert!(error <= 60.0 * f64::EPSILON, "{lambda}: {time:e}");
    }
    Ok(())
}

#[test]
fn the_cosine_table_is_its_closed_form_in_all_but_the_last_interval() -> Outcome {
    // (T, knot, ln ᾱ) of ᾱ(k/T), and ᾱ(1 − 1/T)/1000 at the end; mpmath at 60 digits.
    #[rustfmt::skip]
    let references = [
        (1000, 1, -4.1285077038842864538e-5),
        (1000, 2, -8.7427894338957520756e-5),
        (1000, 400, -0.4346701367136331535),
        (1000, 490, -0.67446556763033590065),
        (1000, 496, -0.69299175948312358474),
        (1000, 500, -0.70553643046966663666),
        (1000, 900, -3.7258868941366034743),
        (1000, 990, -8.323036826654729904),
        (1000, 999, -12.928126875070768751),
        (1000, 1000, -19.835882154052905803),
        (4, 1, -0.16604022631402754677),
        (4, 2, -0.70553643046966663666),
        (4, 3, -1.9360541625532751708),
        (4, 4, -8.8438094415354122228),
        (1, 1, -6.9077552789821370521),
    ];
    for (steps, knot, log) in references {
        let level = TableSchedule::cosine(steps)?.level(f64::from(knot))?;
        let error = (2.0 * level.log_alpha() / log - 1.0).abs();
        assert!(error <= ROUNDING, "{knot} of {steps}: {error:e}");
    }
    Ok(())
}

#[test]
fn zero_terminal_snr_keeps_its_digits_beside_both_ends() -> Outcome {
    // (knot, ln α') of α' = α₁(α − α_T)/(α₁ − α_T), mpmath at 60 digits from the exact betas.
    let linear = TableSchedule::linear(1000, 1e-4, 0.02)?.zero_terminal_snr()?;
    for (knot, log_alpha) in [
        (1, -5.0002500166679170063e-5),
        (2, -1.103494595309840851e-4),
        (3, -1.8072139359401069415e-4),
        (10, -9.5404237320385536781e-4),
    ] {
        let error = (linear.level(f64::from(knot))?.log_alpha() / log_alpha - 1.0).abs();
        // Each ln(1 − β) of the sum is rounded too.
        assert!(
            error <= ROUNDING + f64::from(knot) * f64::EPSILON,
            "{knot}: {error:e}"
        );
    }
    // The last two alphas agree to 5e-10; from the numbers that ln ᾱ is rounded to.
    let (third, last) = (2f64.powi(-7), 2f64.powi(-7) * (1.0 - 2f64.powi(-30)));
    let near = TableSchedule::from_alphas_cumprod(&[0.5, 0.25, third, last])?;
    let near = near.zero_terminal_snr()?;
    for (knot, log_alpha) in [
        (1, -0.34657359027997264311),
        (2, -0.75414357287263910184),
        (3, -23.780046336992944082),
    ] {
        let error = (near.level(f64::from(knot))?.log_alpha() / log_alpha - 1.0).abs();
        assert!(error <= ROUNDING, "{knot}: {error:e}");
    }
    Ok(())
}

#[test]
fn the_first_entry_that_is_none_is_the_one_that_is_shown() {
    let betas = "in (0, 1), the last in (0, 1]";
    let bars = "in (0, 1), the last in [0, 1)";
    let grows = "such that noise grows strictly";
    let cases = [
        (TableSchedule::from_betas(&[0.5, 0.0, 0.5]), 1, 0.0, betas),
        (TableSchedule::from_betas(&[1.0, 0.5]), 0, 1.0, betas),
        (
            TableSchedule::scaled_linear(3, 2.0, 0.0),
            0,
            2f64.sqrt() * 2f64.sqrt(),
            betas,
        ),
        (TableSchedule::scaled_linear(3, 0.5, -0.25), 2, -0.25, betas),
        (
            TableSchedule::from_alphas_cumprod(&[1.0, 0.5]),
            0,
            1.0,
            bars,
        ),
        (
            TableSchedule::from_alphas_cumprod(&[0.5, 0.0, 0.3]),
            1,
            0.0,
            bars,
        ),
        (
            TableSchedule::from_alphas_cumprod(&[0.5, 0.5]),
            1,
            0.5,
            grows,
        ),
    ];
    for (made, index, value, requirement) in cases {
        let error = made.err();
        assert!(
            matches!(
                &error,
                Some(Error::InvalidEntry { index: i, value: v, requirement: r, .. })
                    if *i == index && *v == value && *r == requirement
            ),
            "{error:?} is not at {index} with {value}, {requirement}"
        );
    }
}

#[test]
fn a_last_alpha_cumprod_equal_to_the_one_before_is_refused() -> Outcome {
    // Powers of two, whose logarithms come back from no other number.
    let table = TableSchedule::from_alphas_cumprod(&[0.5, 0.25])?;
    let refused = table.with_last_alpha_cumprod(0.5).err();
    let named = matches!(
        refused,
        Some(Error::InvalidEntry {
            name: "alphas_cumprod",
            index: 1,
            value: 0.5,
            ..
        })
    );
    assert!(named, "{refused:?}");
    assert!(table.with_last_alpha_cumprod(0.5f64.next_down()).is_ok());
    Ok(())
}

#[test]
fn the_network_index_between_knots_is_linear_in_lambda_where_both_ends_are_finite() -> Outcome {
    let table = TableSchedule::from_alphas_cumprod(&[0.9, 0.5, 0.0])?;
    // λ of knots 1 and 2: ½ ln(ᾱ/(1 − ᾱ)).
    let (one, two) = (0.5 * 9f64.ln(), 0.0);
    let level = table.level(1.3)?;
    let expected = (one - level.lambda()) / (one - two);
    assert!((level.model_time() - expected).abs() < 1e-14);
    // In the first cell λ is infinite at the clean end, in the last at the noisy one.
    assert_eq!(table.level(0.4)?.model_time(), 0.4 - 1.0);
    assert_eq!(table.level(2.25)?.model_time(), 1.25);
    // And where neither end is at λ = 0.
    let table = TableSchedule::from_alphas_cumprod(&[0.9, 0.2, 0.0])?;
    let two = 0.5 * 0.25f64.ln();
    let level = table.level(1.3)?;
    let expected = (one - level.lambda()) / (one - two);
    assert!((level.model_time() - expected).abs() < 1e-14);
    Ok(())
}

#[test]
fn sigma_over_alpha_plus_sigma_leads_back_to_the_knot_that_has_it() -> Outcome {
    for steps in 1..=60 {
        let table = TableSchedule::linear(steps, 1e-4, 0.02)?;
        // A λ whose ln α² may be rounded past the last knot's.
        let mut lambda = table.lambda_range().noisy();
        for _ in 0..4 {
            lambda = lambda.next_up();
            let time = table.time_of_lambda(lambda)?;
            assert!((steps as f64 - time).abs() < 1e-11, "of {steps}: {time}");
            assert!(time <= steps as f64);
        }
        for knot in 1..=steps {
            let level = table.level(knot as f64)?;
            let sigma = level.sigma() / (level.alpha() + level.sigma());
            let time = table.time_of_flow_sigma(sigma)?;
            // λ' = ln σ − ln α has 1e-15 of rounding, one step of this table at least 1e-3.
            let error = (time - knot as f64).abs();
            assert!(error < 1e-11, "{knot} of {steps}: {time}");
            assert_eq!(table.time_of_lambda(level.lambda())?, knot as f64);
            // A value within rounding of an end is the end.
            if knot == 1 || knot == steps {
                assert_eq!(time, knot as f64, "of {steps}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_schedule_with_a_table_of_its_levels_stays_that_schedule() -> Outcome {
    let edm = Edm::new(0.002, 80.0)?;
    let table = Sublevels::of(edm, 10)?;
    let level = edm.level(80.0)?;
    assert_eq!(edm.start_variance(&level), 6400.0);
    assert_eq!(table.start_variance(&level), 6400.0);
    let flow = RectifiedFlow::shifted(3.0)?;
    let table = Sublevels::of(flow, 10)?;
    // t = σ/(σ + s(1 − σ)).
    assert_eq!(table.time_of_flow_sigma(0.75)?, 0.5);
    assert_eq!(table.start_variance(&flow.level(1.0)?), 1.0);
    Ok(())
}

#[test]
fn a_schedule_starts_at_unit_variance_unless_it_says_otherwise() -> Outcome {
    let vp = VariancePreserving::default();
    assert_eq!(vp.start_variance(&vp.level(0.25)?), 1.0);
    let range = LambdaRange::of_rhos(2.0, 0.5)?;
    assert_eq!((range.noisy(), range.clean()), (-2f64.ln(), 2f64.ln()));
    Ok(())
}

#[test]
fn a_level_is_shown_with_its_time_amplitudes_and_lambda() -> Outcome {
    let level = NoiseLevel::new(0.5, 0.6, 0.8)?;
    let shown = "time 0.5 (alpha 6.000000e-1, sigma 8.000000e-1, lambda -0.287682)";
    assert_eq!(level.to_string(), shown);
    Ok(())
}

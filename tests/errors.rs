//! Bad input: every public constructor and method that can be given it answers with a typed error that holds the value.

use std::error::Error as StdError;

use diffusion_sampler::{
    Clip, Error, Grid, KeyedNoise, NoiseLevel, Prediction, Sampler,
    forward::{diffuse, diffuse_with},
    guidance::{Combination, GuidanceWeight},
    likelihood::{Decoder, EdgeVariance, Elbo, discretised_gaussian_nats},
    noise::Stream,
    oracle::Gaussian,
    plan::Plan,
    posterior::{Kappa, ReverseVariance, StridedPosterior, Transition},
    run::DdimStep,
    schedule::{
        Edm, LambdaRange, NoiseSchedule, RectifiedFlow, TableSchedule, VarianceExploding,
        VariancePreserving,
    },
    solver::{DpmSolverPlusPlus, FirstOrder, Path, Solver},
    training::LossWeight,
};
use ndarray::{Array0, Array1, Array2, arr0, array};

type Outcome = Result<(), Box<dyn StdError>>;

/// Numbers that break formulas.
const BAD: [f64; 15] = [
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    -1.0,
    -0.0,
    0.0,
    5e-324,
    -5e-324,
    1e-300,
    1e-17,
    1.0,
    2.0,
    1e17,
    1e300,
    f64::MAX,
];

/// The numbers that an error holds.
fn values(error: &Error) -> Vec<f64> {
    match error {
        Error::InvalidLevel { time, alpha, sigma } => vec![*time, *alpha, *sigma],
        Error::InvalidParameter { value, .. } | Error::InvalidEntry { value, .. } => vec![*value],
        Error::TimeOutOfRange { time, last } => vec![*time, *last],
        Error::LambdaOutOfRange {
            lambda,
            noisy,
            clean,
        } => vec![*lambda, *noisy, *clean],
        Error::UnboundedLambda { noisy, clean } => vec![*noisy, *clean],
        Error::NoiseNotDecreasing {
            lambda_before,
            lambda,
            ..
        } => vec![*lambda_before, *lambda],
        Error::GammaOutOfRange {
            gamma, sigma_to, ..
        } => vec![*gamma, *sigma_to],
        Error::EtaOutOfRange { eta, max, .. } => vec![*eta, *max],
        Error::EdgeOverflow { from, to, .. } => vec![*from, *to],
        Error::CostOverflow { value, .. } => vec![*value],
        Error::EndNotBelow { before, end } => vec![*before, *end],
        Error::ConversionOverflow {
            alpha, sigma, time, ..
        }
        | Error::PredictionUndefined {
            alpha, sigma, time, ..
        } => vec![*alpha, *sigma, *time],
        Error::DegenerateEdge { from, to, .. } | Error::DeterministicLikelihood { from, to } => {
            vec![*from, *to]
        }
        Error::EdgesDoNotMeet { end, start } => vec![*end, *start],
        _ => Vec::new(),
    }
}

/// A refusal holds the value that was refused, in the struct and in its text.
fn holds(error: &Error, value: f64) {
    assert!(
        values(error).iter().any(|v| v.to_bits() == value.to_bits()),
        "{error:?} does not hold {value}"
    );
    assert!(
        error.to_string().contains(&value.to_string()),
        "{error} does not show {value}"
    );
}

/// Accepted exactly where `valid`, refused with the value elsewhere.
fn judged<T: std::fmt::Debug>(result: Result<T, Error>, valid: bool, value: f64) -> Option<T> {
    match result {
        Ok(made) => {
            assert!(valid, "{value} was accepted: {made:?}");
            Some(made)
        }
        Err(error) => {
            assert!(!valid, "{value} was refused: {error}");
            holds(&error, value);
            None
        }
    }
}

/// The same for a parameter whose extremes may make a result overflow, which is another refusal.
fn judged_or_overflow<T: std::fmt::Debug>(result: Result<T, Error>, valid: bool, value: f64) {
    match result {
        Err(Error::CostOverflow { .. } | Error::ConversionOverflow { .. }) => {
            assert!(valid && !(1e-160..1e160).contains(&value), "{value}");
        }
        other => drop(judged(other, valid, value)),
    }
}

fn positive(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

fn not_negative(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}

fn pair() -> Result<(NoiseLevel, NoiseLevel), Error> {
    Ok((
        NoiseLevel::new(2.0, 0.6, 0.8)?,
        NoiseLevel::new(1.0, 0.8, 0.6)?,
    ))
}

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
            // A beta below half an ulp of ln 0.9, so that ᾱ does not fall in f64, is refused as well.
            Ok(table) => {
                assert!(beta && a > 7e-18, "{a}");
                is_usable(&table)?;
            }
            Err(error) => {
                assert!(!beta || a < 7e-18, "{a}: {error}");
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
            beta && a > 7e-18 || a == 1.0,
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

#[test]
fn posteriors_refuse_what_is_no_policy_and_hold_no_nan_otherwise() -> Outcome {
    let (t, s) = pair()?;
    let r = StridedPosterior::new(t, s, Kappa::Ddim)?.ratio();
    let largest = 1.0 / (1.0 - r * r).sqrt();
    let sound = |q: &StridedPosterior| {
        assert!((0.0..=1.0).contains(&q.kappa()), "{q:?}");
        assert!(
            q.state_coefficient().is_finite() && q.data_coefficient().is_finite(),
            "{q:?}"
        );
        assert!(
            q.gamma() >= 0.0 && q.gamma() <= q.to().sigma() * (1.0 + 1e-15),
            "{q:?}"
        );
    };
    for a in BAD {
        for (kappa, valid) in [
            (Kappa::Eta(a), not_negative(a) && a <= largest),
            (Kappa::Tau(a), not_negative(a)),
            (Kappa::Gamma(a), a >= 0.0 && a <= s.sigma()),
        ] {
            match StridedPosterior::new(t, s, kappa) {
                Ok(q) => {
                    assert!(valid, "{kappa:?}");
                    sound(&q);
                }
                Err(error) => {
                    assert!(!valid, "{kappa:?}: {error}");
                    holds(&error, a);
                }
            }
            // To the same level and onto the clean one.
            for to in [t, NoiseLevel::clean()] {
                if let Ok(q) = StridedPosterior::new(t, to, kappa) {
                    sound(&q);
                }
            }
        }
        let q = StridedPosterior::new(t, s, Kappa::Ddpm)?;
        judged(
            q.reverse_variance(ReverseVariance::Explicit(a)),
            not_negative(a),
            a,
        );
        judged_or_overflow(q.kl(2, a, 0.1), not_negative(a), a);
        match q.kl(2, 0.5, a) {
            Ok(kl) => assert!(positive(a) && kl >= 0.0, "{a}: {kl}"),
            Err(Error::DeterministicLikelihood { .. }) => assert!(a == 0.0),
            Err(Error::CostOverflow { .. }) => assert!(a < 1e-300),
            Err(error) => {
                assert!(!not_negative(a));
                holds(&error, a);
            }
        }
        // Also where the clean end takes no noise: a value that is no variance is refused.
        let onto_clean = StridedPosterior::new(t, NoiseLevel::clean(), Kappa::Ddim)?;
        judged(
            onto_clean.reverse_variance(ReverseVariance::Explicit(a)),
            not_negative(a),
            a,
        );
        let plan = FirstOrder::ddpm()
            .with_reverse_variance(ReverseVariance::Explicit(a))
            .plan(&Path::without_schedule(&Grid::from_levels(
                vec![t, NoiseLevel::clean()],
                1.0,
            )?));
        judged(plan, not_negative(a), a);
        judged(DpmSolverPlusPlus::new().with_tau(a), not_negative(a), a);
    }
    let degenerate = |result: Result<StridedPosterior, Error>, from: f64, to: f64| {
        assert!(
            matches!(result, Err(Error::DegenerateEdge { from: f, to: g, .. }) if (f, g) == (from, to))
        );
    };
    let pure = NoiseLevel::new(3.0, 0.0, 1.0)?;
    for kappa in [
        Kappa::Ddim,
        Kappa::Ddpm,
        Kappa::Eta(0.5),
        Kappa::Tau(0.5),
        Kappa::Gamma(0.0),
        Kappa::Fresh,
    ] {
        degenerate(
            StridedPosterior::new(NoiseLevel::clean(), s, kappa),
            0.0,
            1.0,
        );
        degenerate(StridedPosterior::new(pure, pure, kappa), 3.0, 3.0);
        let up = StridedPosterior::new(s, t, kappa);
        match kappa {
            Kappa::Ddpm | Kappa::Eta(_) | Kappa::Tau(_) => degenerate(up, 1.0, 2.0),
            _ => assert!(up?.data_coefficient().is_finite()),
        }
    }
    let up = StridedPosterior::new(s, t, Kappa::Ddim)?;
    assert!(matches!(
        up.reverse_variance(ReverseVariance::FixedLarge),
        Err(Error::DegenerateEdge { .. })
    ));
    let q = StridedPosterior::new(t, s, Kappa::Ddim)?;
    assert_eq!(
        q.elbo_weight(),
        Err(Error::DeterministicLikelihood { from: 2.0, to: 1.0 })
    );
    assert_eq!(
        q.compose(&q),
        Err(Error::EdgesDoNotMeet {
            end: 1.0,
            start: 2.0
        })
    );
    assert!(
        StridedPosterior::new(t, NoiseLevel::clean(), Kappa::Ddim)?
            .forward_step()
            .is_err()
    );
    for (low, high) in [(t, s), (s, s), (pure, pure), (pure, t)] {
        assert!(matches!(
            Transition::forward_step(&low, &high),
            Err(Error::DegenerateEdge { .. })
        ));
    }
    Ok(())
}

#[test]
fn predictions_are_refused_exactly_where_they_say_nothing() -> Outcome {
    let pure = NoiseLevel::new(3.0, 0.0, 1.0)?;
    let clean = NoiseLevel::clean();
    let edm = Prediction::Edm { data_std: 0.5 };
    let all = [
        Prediction::Noise,
        Prediction::Data,
        Prediction::Velocity,
        Prediction::Score,
        Prediction::Flow,
        edm,
    ];
    let undefined = |result: Result<bool, Error>, level: &NoiseLevel, prediction: Prediction| {
        assert_eq!(
            result,
            Err(Error::PredictionUndefined {
                prediction: prediction.name(),
                alpha: level.alpha(),
                sigma: level.sigma(),
                time: level.time(),
            })
        );
    };
    for prediction in all {
        let noiseless = matches!(
            prediction,
            Prediction::Noise | Prediction::Score | Prediction::Edm { .. }
        );
        let at_pure = prediction
            .data(&pure)
            .map(|c| c.x.is_finite() && c.output.is_finite());
        if noiseless {
            undefined(at_pure, &pure, prediction);
            undefined(
                prediction.conversion(&pure).map(|_| true),
                &pure,
                prediction,
            );
        } else {
            assert_eq!(at_pure, Ok(true));
        }
        assert!(
            prediction
                .data(&clean)
                .is_ok_and(|c| c.x.is_finite() && c.output.is_finite())
        );
        let at_clean = prediction
            .conversion(&clean)
            .map(|c| c.noise.x.is_finite() && c.noise.output.is_finite());
        if matches!(
            prediction,
            Prediction::Data | Prediction::Score | Prediction::Edm { .. }
        ) {
            undefined(at_clean, &clean, prediction);
        } else {
            assert_eq!(at_clean, Ok(true));
        }
    }
    let (t, _) = pair()?;
    for a in BAD {
        let edm = Prediction::Edm { data_std: a };
        judged_or_overflow(edm.data(&t), positive(a), a);
        judged_or_overflow(edm.conversion(&t), positive(a), a);
        judged_or_overflow(edm.target(&t), positive(a), a);
        judged_or_overflow(edm.convert_to(Prediction::Noise, &t), positive(a), a);
        judged(
            LossWeight::MinSnr(a).on_data(Prediction::Noise, &t),
            positive(a),
            a,
        );
        judged(
            LossWeight::Omega(a).on_data(Prediction::Noise, &t),
            positive(a),
            a,
        );
    }
    for weight in [LossWeight::Snr, LossWeight::Simple] {
        assert!(matches!(
            weight.on_data(Prediction::Noise, &clean),
            Err(Error::InvalidParameter { value, .. }) if value == f64::INFINITY
        ));
    }
    Ok(())
}

#[test]
fn guidance_clips_combinations_and_likelihoods_refuse_bad_numbers() -> Outcome {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let grid = Grid::trailing(&schedule, 3)?;
    let elbo = Elbo::new(&grid, Kappa::Ddpm, EdgeVariance::Optimal)?;
    for a in BAD {
        judged(GuidanceWeight::constant(a), a.is_finite(), a);
        judged(GuidanceWeight::from_scale(a), a.is_finite(), a);
        judged(GuidanceWeight::interval(a, 0.1, 1.0), a.is_finite(), a);
        judged(
            GuidanceWeight::interval(1.0, a, f64::INFINITY),
            (0.0..f64::INFINITY).contains(&a),
            a,
        );
        let weight = GuidanceWeight::by_level(move |_| a);
        judged(weight.at(&NoiseLevel::clean()), a.is_finite(), a);
        judged(Clip::new(a, f64::MAX), a.is_finite() && a < f64::MAX, a);
        judged(Clip::new(-2.0, a), a.is_finite() && a > -2.0, a);
        judged(Combination::new(&[1.0], &[a]), a.is_finite(), a);
        judged(Combination::single().with_gradient(a), a.is_finite(), a);
        // The value refused is the sum, in which −0 is 0.
        judged(Combination::new(&[a], &[]), a == 1.0, a + 0.0);
        judged(
            Sampler::along(&Path::without_schedule(&grid), &FirstOrder::ddim())?
                .with_start_variance(a),
            not_negative(a),
            a,
        );
        let is_variance = a == 0.0 || (1e-60..=1e60).contains(&a);
        judged(Gaussian::centred(1, a), is_variance, a);
        judged(Gaussian::diagonal(&[a], &[1.0]), a.abs() <= 1e30, a);
        judged(Gaussian::diagonal(&[0.0], &[a]), is_variance, a);
        let errors = [1.0, 0.5, a];
        judged(
            elbo.evaluate(2, &errors, 1.0, Decoder::Nats(0.0)),
            not_negative(a),
            a,
        );
        judged(
            elbo.evaluate(2, &errors, 1.0, Decoder::GaussianOptimal),
            positive(a),
            a,
        );
        judged(
            elbo.evaluate(2, &[1.0; 3], a, Decoder::Nats(0.0)),
            not_negative(a),
            a,
        );
        judged(
            elbo.evaluate(2, &[1.0; 3], 1.0, Decoder::Nats(a)),
            a.is_finite(),
            a,
        );
        judged_or_overflow(
            elbo.evaluate(2, &[1.0; 3], 1.0, Decoder::Gaussian(a)),
            positive(a),
            a,
        );
        judged(
            discretised_gaussian_nats(a, 0.0, 0.1, 256),
            (-1.0..=1.0).contains(&a),
            a,
        );
        judged(
            discretised_gaussian_nats(0.0, a, 0.1, 256),
            a.abs() <= 1e100,
            a,
        );
        judged(
            discretised_gaussian_nats(0.0, 0.0, a, 256),
            a.is_finite() && a >= 1e-50,
            a,
        );
    }
    assert!(Combination::new(&[], &[1.0]).is_err());
    assert!(matches!(
        Combination::new(&[1.0; 4], &[1.0; 3]),
        Err(Error::TooManyTerms { found: 7, max: 6 })
    ));
    for bins in [0, 1] {
        assert!(discretised_gaussian_nats(0.0, 0.0, 1.0, bins).is_err());
    }
    assert_eq!(
        elbo.evaluate(2, &[1.0; 2], 1.0, Decoder::Nats(0.0)),
        Err(Error::WrongLength {
            name: "data errors",
            expected: 3,
            found: 2
        })
    );
    for kappa in [
        Kappa::Ddim,
        Kappa::Eta(0.0),
        Kappa::Tau(0.0),
        Kappa::Gamma(0.0),
    ] {
        assert!(matches!(
            Elbo::new(&grid, kappa, EdgeVariance::Optimal),
            Err(Error::DeterministicLikelihood {
                from: 1000.0,
                to: 667.0
            })
        ));
    }
    let open = grid.clone().ending_at(schedule.level(1.0)?)?;
    assert!(matches!(
        Elbo::new(&open, Kappa::Ddpm, EdgeVariance::Optimal),
        Err(Error::DegenerateEdge {
            from: 1000.0,
            to: 1.0,
            ..
        })
    ));
    let (one, two) = (Gaussian::centred(1, 1.0)?, Gaussian::centred(2, 1.0)?);
    let lengths = Err(Error::WrongLength {
        name: "coordinates",
        expected: 1,
        found: 2,
    });
    assert_eq!(one.kl(&two), lengths);
    assert_eq!(one.wasserstein_squared(&two), lengths);
    assert!(one.kl(&Gaussian::centred(1, 0.0)?).is_err());
    assert!(Gaussian::diagonal(&[0.0], &[]).is_err());
    assert_eq!(
        KeyedNoise::new(0).with_first_sample(1 << 53),
        Err(Error::InvalidParameter {
            name: "first_sample",
            value: 9007199254740992.0,
            requirement: "less than 2^53",
        })
    );
    Ok(())
}

#[test]
fn the_kl_of_far_variances_is_finite_and_exact() -> Outcome {
    let (t, s) = pair()?;
    let q = StridedPosterior::new(t, s, Kappa::Ddpm)?;
    for exponent in [-300, -40, -17, -10, 10, 17, 40, 300] {
        // v = γ²·10^−e: ratio 10^e, ½(10^e − 1 − e ln 10).
        let ratio = 10f64.powi(exponent);
        let expected = 0.5 * (ratio - 1.0 - f64::from(exponent) * std::f64::consts::LN_10);
        let kl = q.kl(1, 0.0, q.variance() / ratio)?;
        assert!((kl / expected - 1.0).abs() < 1e-13, "{kl} {expected}");
        let unit = Gaussian::centred(1, 1.0)?;
        match Gaussian::centred(1, ratio) {
            Ok(a) => assert!((a.kl(&unit)? / expected - 1.0).abs() < 1e-13),
            Err(_) => assert_eq!(exponent.abs(), 300, "beyond the range of a variance"),
        }
    }
    Ok(())
}

#[test]
fn a_bin_far_narrower_than_the_deviation_has_a_finite_price() -> Outcome {
    for deviation in [1e2, 1e6, 1e17, 1e150, 1e300, f64::MAX] {
        for bins in [2usize, 3, 256, 65536, 1 << 40] {
            let nats = discretised_gaussian_nats(0.0, 0.0, deviation, bins)?;
            let half = 1.0 / (bins - 1) as f64;
            if bins == 2 {
                // The one bin of value 0 reaches to both ends.
                assert_eq!(nats, 0.0);
                continue;
            }
            // ln √(2π) + ln deviation − ln 2 half, the density being flat to (half/deviation)²/6.
            let expected = 0.5 * std::f64::consts::TAU.ln() + deviation.ln() - (2.0 * half).ln();
            let flat = (half / deviation).powi(2) / 6.0;
            assert!(
                (nats - expected).abs() < 1e-13 * expected + 1.1 * flat,
                "{nats} {expected}"
            );
        }
    }
    // The farthest pixel has a finite price, and certainty costs nothing.
    let farthest = discretised_gaussian_nats(-0.5, 1e100, 1e-50, 256)?;
    assert!(farthest > 1e299 && farthest.is_finite());
    assert_eq!(discretised_gaussian_nats(0.5, 0.5, 1e-50, 256)?, 0.0);
    // The two branches meet: the price is continuous in the deviation.
    for mean in [0.0, 0.3, -0.9] {
        let at = |deviation| discretised_gaussian_nats(0.1, mean, deviation, 256);
        let crossing = (0..200).map(|i| 1.0 * 1.05f64.powi(i));
        for deviation in crossing {
            let (a, b) = (at(deviation)?, at(deviation * (1.0 + 1e-9))?);
            assert!((a - b).abs() < 1e-8, "{a} {b} at {deviation}");
        }
    }
    Ok(())
}

#[test]
fn array_calls_refuse_shapes_that_do_not_fit() -> Outcome {
    let (t, s) = pair()?;
    let step = DdimStep::new(t, s, Kappa::Ddim)?;
    let mut noise = KeyedNoise::new(0);
    let mut x = Array2::<f64>::zeros((2, 3));
    let wrong = Array2::<f64>::zeros((3, 2));
    assert_eq!(
        step.apply(&mut x, &wrong, Prediction::Data, &mut noise, 0),
        Err(Error::ShapeMismatch {
            name: "input",
            expected: vec![2, 3],
            found: vec![3, 2]
        })
    );
    let mut point: Array0<f64> = arr0(1.0);
    let data = point.clone();
    assert_eq!(
        step.apply(&mut point, &data, Prediction::Data, &mut noise, 0),
        Err(Error::NoSampleAxis)
    );
    assert_eq!(
        DdimStep::per_sample(&[t, t], &[s], Kappa::Ddim).err(),
        Some(Error::WrongLength {
            name: "target levels",
            expected: 2,
            found: 1
        })
    );
    let many = DdimStep::per_sample(&[t; 3], &[s; 3], Kappa::Ddim)?;
    let data = x.clone();
    assert!(matches!(
        many.apply(&mut x, &data, Prediction::Data, &mut noise, 0),
        Err(Error::WrongLength {
            expected: 2,
            found: 3,
            ..
        })
    ));
    let none = DdimStep::per_sample(&[], &[], Kappa::Ddim)?;
    assert!(
        none.apply(&mut x, &data, Prediction::Data, &mut noise, 0)
            .is_err()
    );
    let mut empty = Array2::<f64>::zeros((0, 3));
    let nothing = empty.clone();
    none.apply(&mut empty, &nothing, Prediction::Data, &mut noise, 0)?;
    assert!(diffuse(&mut x, &[t; 3], &mut noise, 0).is_err());
    assert!(diffuse(&mut point, &[t], &mut noise, 0).is_err());
    assert!(diffuse_with(&mut x, &wrong, &[t]).is_err());
    let q = StridedPosterior::new(t, s, Kappa::Ddpm)?;
    assert!(q.mean_in_place(&mut x, &wrong).is_err());
    assert!(q.log_density(&x, &x, &wrong).is_err());
    let ddim = StridedPosterior::new(t, s, Kappa::Ddim)?;
    assert!(matches!(
        ddim.log_density(&x, &x, &x),
        Err(Error::DeterministicLikelihood { .. })
    ));
    let up = ddim.forward_step()?;
    assert!(matches!(
        up.sample_in_place(&mut x, None, &mut noise, 0, Stream::Forward),
        Err(Error::InvalidParameter { value, .. }) if value == up.data
    ));
    // A model output that is not finite is found where it is.
    let mut row: Array1<f64> = array![1.0, 2.0];
    match step.apply(
        &mut row,
        &array![0.0, f64::NAN],
        Prediction::Data,
        &mut noise,
        9,
    ) {
        Err(Error::NonFinite {
            step: 9,
            sample: 1,
            element: 0,
            array: "model output",
            value,
        }) => {
            assert!(value.is_nan());
        }
        other => return Err(format!("{other:?}").into()),
    }
    Ok(())
}

#[test]
fn samplers_refuse_shapes_and_solvers_lists_that_cannot_run() -> Outcome {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let grid = Grid::trailing(&schedule, 4)?;
    let sampler = Sampler::along(&Path::without_schedule(&grid), &FirstOrder::ddim())?;
    let start = |shape: (usize, usize)| {
        sampler
            .start::<f64, _, _>(shape, Prediction::Noise, KeyedNoise::new(0))
            .map(|_| ())
    };
    assert_eq!(
        start((usize::MAX, 2)),
        Err(Error::TooLarge {
            shape: vec![usize::MAX, 2]
        })
    );
    assert_eq!(start((0, 5)), Ok(()));
    assert!(matches!(
        sampler.start::<f64, _, _>((), Prediction::Noise, KeyedNoise::new(0)),
        Err(Error::NoSampleAxis)
    ));
    for (count, wanted) in [(0, 4), (3, 4), (5, 4)] {
        assert_eq!(
            FirstOrder::per_edge(vec![Kappa::Ddim; count]).plan(&Path::without_schedule(&grid)),
            Err(Error::WrongLength {
                name: "kappa policies",
                expected: wanted,
                found: count
            })
        );
    }
    let clipped = sampler.clone().with_clip(Clip::new(-1.0, 1.0)?);
    assert!(matches!(
        clipped.moments(&Gaussian::centred(1, 1.0)?),
        Err(Error::UnsupportedPlan { .. })
    ));
    assert_eq!(
        Plan::new(Vec::new(), 0),
        Err(Error::StepCount {
            steps: 0,
            min: 1,
            max: usize::MAX
        })
    );
    Ok(())
}

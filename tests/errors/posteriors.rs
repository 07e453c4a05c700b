//! Posteriors and predictions.

use diffusion_sampler::{
    Error, Grid, NoiseLevel, Prediction,
    posterior::{Kappa, ReverseVariance, StridedPosterior, Transition},
    solver::{DpmSolverPlusPlus, FirstOrder, Path, Solver},
    training::LossWeight,
};

use super::common::{
    BAD, Outcome, holds, judged, judged_or_overflow, not_negative, pair, positive,
};

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
        Kappa::CappedEta(1.5),
        Kappa::FlowEta(0.5),
        Kappa::Ancestral(0.5),
    ] {
        degenerate(
            StridedPosterior::new(NoiseLevel::clean(), s, kappa),
            0.0,
            1.0,
        );
        degenerate(StridedPosterior::new(pure, pure, kappa), 3.0, 3.0);
        let up = StridedPosterior::new(s, t, kappa);
        match kappa {
            Kappa::Ddim | Kappa::Gamma(_) | Kappa::Fresh => {
                assert!(up?.data_coefficient().is_finite());
            }
            _ => degenerate(up, 1.0, 2.0),
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
        Prediction::EdmVelocity { data_std: 0.5 },
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
            Prediction::Noise
                | Prediction::Score
                | Prediction::Edm { .. }
                | Prediction::EdmVelocity { .. }
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
            Prediction::Data
                | Prediction::Score
                | Prediction::Edm { .. }
                | Prediction::EdmVelocity { .. }
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

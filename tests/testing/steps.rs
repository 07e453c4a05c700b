//! Single steps: a wrong sign, √ of a negative, α = 0 with ε, a log variance under a root, the
//! strength of image to image.

use diffusion_sampler::{
    Error, Grid, KeyedNoise, NoiseLevel, Prediction, Sampler,
    posterior::{Kappa, ReverseVariance, StridedPosterior, Transition},
    run::DdimStep,
    schedule::{NoiseSchedule, TableSchedule},
    solver::FirstOrder,
    testing::{
        Failure, check_eta_limits, check_marginals, check_noising, check_step,
        proptest::prelude::*,
        strategies::{edges, posteriors, predictions, reverse_variances, tables},
    },
};

use super::common::{config, take};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// DPM-Solver++(1): x_s = (σ_s/σ_t) x − α_s (e^−h − 1) D, with the sign of its second term.
fn dpm(t: NoiseLevel, s: NoiseLevel, sign: f64) -> impl Fn(&[f64], &[f64], &[f64], &mut [f64]) {
    let h = s.lambda() - t.lambda();
    move |x, x0, _, out| {
        for i in 0..out.len() {
            out[i] = s.sigma() / t.sigma() * x[i] + sign * s.alpha() * (-h).exp_m1() * x0[i];
        }
    }
}

#[test]
fn dpm_solver_with_the_wrong_sign_is_found_on_every_edge() {
    proptest!(config(300), |((t, s) in edges())| {
        check_marginals(&t, &s, Prediction::Data, 1e-9, dpm(t, s, -1.0))?;
        let failure = check_marginals(&t, &s, Prediction::Data, 1e-9, dpm(t, s, 1.0));
        match failure {
            Err(Failure::Coefficient { coefficient: "coefficient on x0", .. }) => {}
            other => prop_assert!(false, "{other:?}"),
        }
    });
}

/// DDIM's own formula with η (Song, Meng and Ermon 2021, equation 12), on x₀; `kept(eta, up)` makes
/// the standard deviation of the noise that is kept.
fn eta_step(
    (t, s): (NoiseLevel, NoiseLevel),
    kept: impl Fn(f64, f64) -> f64,
) -> impl Fn(f64, &[f64], &[f64], &[f64], &mut [f64]) {
    let bars = (t.alpha().powi(2), s.alpha().powi(2));
    let up = ((1.0 - bars.1) / (1.0 - bars.0) * (1.0 - bars.0 / bars.1)).sqrt();
    move |eta, x, x0, z, out| {
        let kept = kept(eta, eta * up);
        for i in 0..out.len() {
            let noise = (x[i] - t.alpha() * x0[i]) / t.sigma();
            out[i] = s.alpha() * x0[i] + kept * noise + eta * up * z[i];
        }
    }
}

/// Edges of tables from the noisiest knot on, where κ is smallest.
fn from_the_top(table: &dyn NoiseSchedule) -> Vec<(NoiseLevel, NoiseLevel)> {
    let last = table.last_time() as usize;
    let level = |knot: usize| table.level(knot as f64).unwrap();
    (1..last).map(|knot| (level(last), level(knot))).collect()
}

#[test]
fn a_negative_under_the_root_of_the_kept_noise_is_found() -> Outcome {
    // From α = 0 all noise is fresh at η = 1: σ_s² − σ_up² is 0 but for rounding.
    let table = TableSchedule::linear(1000, 1e-4, 0.02)?.zero_terminal_snr()?;
    let mut found = 0;
    for (t, s) in from_the_top(&table) {
        let planted = eta_step((t, s), |_, up| (s.sigma().powi(2) - up * up).sqrt());
        match check_eta_limits(&t, &s, Prediction::Data, 1e-9, planted) {
            Err(Failure::NotFinite { value, .. }) => {
                assert!(value.is_nan());
                found += 1;
            }
            // The root of a positive rounding error: 1e-8 where nothing should be kept.
            Ok(()) | Err(Failure::Coefficient { .. }) => {}
            Err(other) => return Err(other.into()),
        }
    }
    assert!(found > 50, "{found} of 999 edges");
    Ok(())
}

#[test]
fn the_kept_noise_without_a_difference_passes_on_every_table() {
    proptest!(config(100), |(table in tables())| {
        for (t, s) in from_the_top(&table) {
            let r = s.sigma() * t.alpha() / (t.sigma() * s.alpha());
            // σ_s² − σ_up² = σ_s² ((1 − η)(1 + η) + η² r²).
            let right = eta_step((t, s), |eta, _| {
                s.sigma() * ((1.0 - eta) * (1.0 + eta) + eta * eta * r * r).sqrt()
            });
            check_eta_limits(&t, &s, Prediction::Data, 1e-7, right)?;
        }
    });
}

#[test]
fn the_crates_steps_have_both_limits_on_every_edge() {
    proptest!(config(300), |((t, s) in edges(), prediction in predictions())| {
        prop_assume!(prediction.data(&t).is_ok() && prediction.target(&t).is_ok());
        check_eta_limits(&t, &s, prediction, 1e-11, |eta, x, output, z, out: &mut [f64]| {
            let step = DdimStep::new(t, s, Kappa::Eta(eta)).unwrap();
            take(&step, prediction, (x, output, z), out);
        })?;
    });
}

#[test]
fn ancestral_steps_between_adjacent_knots_are_ho_jain_and_abbeels() {
    proptest!(config(60), |(table in tables(), share in 0.0..1.0f64)| {
        let steps = table.last_time();
        let knot = (share * steps).floor() + 1.0;
        let (t, s) = (table.level(knot)?, table.level(knot - 1.0)?);
        prop_assume!(t.alpha() > 0.0);
        // μ and β̃ by betas (Ho, Jain and Abbeel 2020, equation 7).
        let (bar, before) = (t.alpha().powi(2), s.alpha().powi(2));
        let beta = 1.0 - bar / before;
        let expected = Transition {
            state: (1.0 - beta).sqrt() * (1.0 - before) / (1.0 - bar),
            data: before.sqrt() * beta / (1.0 - bar),
            noise: (beta * (1.0 - before) / (1.0 - bar)).sqrt(),
        };
        check_step(&t, &s, &expected, Prediction::Data, 1e-7, |x, x0, z, out: &mut [f64]| {
            let step = DdimStep::new(t, s, Kappa::Ddpm).unwrap();
            take(&step, Prediction::Data, (x, x0, z), out);
        })?;
    });
}

#[test]
fn a_step_that_is_not_deterministic_at_eta_0_is_found() -> Outcome {
    let (t, s) = (
        NoiseLevel::new(2.0, 0.6, 0.8)?,
        NoiseLevel::new(1.0, 0.8, 0.6)?,
    );
    let step = |eta: f64| StridedPosterior::new(t, s, Kappa::Eta(eta)).map(|q| q.transition());
    let box_of = |q: Transition| {
        move |x: &[f64], x0: &[f64], z: &[f64], out: &mut [f64]| {
            for i in 0..out.len() {
                out[i] = q.state * x[i] + q.data * x0[i] + q.noise * z[i];
            }
        }
    };
    let (ddim, half) = (step(0.0)?, step(0.5)?);
    let failure = check_eta_limits(&t, &s, Prediction::Data, 1e-12, |eta, x, x0, z, out| {
        box_of(if eta == 0.0 { half } else { ddim })(x, x0, z, out);
    });
    assert!(matches!(
        failure,
        Err(Failure::Coefficient {
            coefficient: "coefficient on the noise of x_t",
            ..
        })
    ));
    // A sampler that ignores η.
    let failure = check_eta_limits(&t, &s, Prediction::Data, 1e-12, |_, x, x0, z, out| {
        box_of(ddim)(x, x0, z, out);
    });
    assert!(matches!(failure, Err(Failure::Coefficient { .. })));
    // The right mean and noise kept, and a little noise more.
    let noisy = Transition {
        noise: 1e-9,
        ..ddim
    };
    let failure = check_step(&t, &s, &ddim, Prediction::Data, 1e-12, box_of(noisy));
    assert!(matches!(
        failure,
        Err(Failure::Coefficient {
            coefficient: "standard deviation of the fresh noise",
            ..
        })
    ));
    let narrow = Transition { noise: 0.0, ..half };
    let failure = check_marginals(&t, &s, Prediction::Data, 1e-12, box_of(narrow));
    assert!(matches!(
        failure,
        Err(Failure::Coefficient {
            coefficient: "standard deviation given x0",
            ..
        })
    ));
    Ok(())
}

#[test]
fn zero_terminal_snr_with_epsilon_is_found() -> Outcome {
    let table = TableSchedule::linear(1000, 1e-4, 0.02)?.zero_terminal_snr()?;
    let (t, s) = (table.level(1000.0)?, table.level(900.0)?);
    assert_eq!(t.alpha(), 0.0);
    let failure = check_marginals(
        &t,
        &s,
        Prediction::Noise,
        1e-9,
        |x, e, _, out: &mut [f64]| {
            for i in 0..out.len() {
                let x0 = (x[i] - t.sigma() * e[i]) / t.alpha();
                out[i] = s.alpha() * x0 + s.sigma() * e[i];
            }
        },
    );
    assert!(
        matches!(failure, Err(Failure::NotFinite { value, .. }) if value.is_infinite() || value.is_nan())
    );
    // What α = 0 is patched with does not help: x₀ is not determined by ε.
    let failure = check_marginals(
        &t,
        &s,
        Prediction::Noise,
        1e-9,
        |x, e, _, out: &mut [f64]| {
            for i in 0..out.len() {
                let x0 = (x[i] - t.sigma() * e[i]) / 2f64.powi(-12);
                out[i] = s.alpha() * x0 + s.sigma() * e[i];
            }
        },
    );
    assert!(matches!(
        failure,
        Err(Failure::Coefficient {
            coefficient: "coefficient on x0",
            ..
        })
    ));
    // This crate refuses such a run; with v it is right.
    let grid = Grid::trailing(&table, 10)?;
    let sampler = Sampler::new(&table, &grid, &FirstOrder::ddim())?;
    let refused = sampler.start::<f64, _, _>((1, 2), Prediction::Noise, KeyedNoise::new(0));
    assert!(matches!(
        refused,
        Err(Error::PredictionUndefined { alpha: 0.0, .. })
    ));
    Ok(())
}

#[test]
fn zero_terminal_snr_with_v_passes() {
    proptest!(config(200), |(table in tables(), share in 0.0..1.0f64)| {
        let t = table.level(table.last_time())?;
        prop_assume!(t.alpha() == 0.0);
        let s = table.level((share * table.last_time()).floor())?;
        check_marginals(&t, &s, Prediction::Velocity, 1e-12, |x, v, _, out: &mut [f64]| {
            for i in 0..out.len() {
                let x0 = t.alpha() * x[i] - t.sigma() * v[i];
                let e = t.sigma() * x[i] + t.alpha() * v[i];
                out[i] = s.alpha() * x0 + s.sigma() * e;
            }
        })?;
    });
}

#[test]
fn a_log_variance_under_a_root_is_found() {
    proptest!(config(300), |((t, s) in edges())| {
        let q = StridedPosterior::new(t, s, Kappa::Ddpm)?;
        let variance = q.reverse_variance(ReverseVariance::FixedLarge)?;
        prop_assume!(variance > 0.0 && variance < 1.0);
        let expected = Transition { noise: variance.sqrt(), ..q.transition() };
        let planted = variance.ln().sqrt();
        let step = |noise: f64| move |x: &[f64], x0: &[f64], z: &[f64], out: &mut [f64]| {
            for i in 0..out.len() {
                out[i] = q.state_coefficient() * x[i] + q.data_coefficient() * x0[i] + noise * z[i];
            }
        };
        let failure = check_step(&t, &s, &expected, Prediction::Data, 1e-9, step(planted));
        prop_assert!(matches!(failure, Err(Failure::NotFinite { .. })), "{:?}", failure);
        // The standard deviation is half the log variance's exponential.
        let right = (0.5 * variance.ln()).exp();
        check_step(&t, &s, &expected, Prediction::Data, 1e-9, step(right))?;
    });
}

#[test]
fn the_crates_reverse_variances_pass() {
    proptest!(config(300), |(q in posteriors(), policy in reverse_variances())| {
        let (t, s) = (q.from(), q.to());
        let kappa = Kappa::Gamma(q.gamma());
        let q = StridedPosterior::new(t, s, kappa)?;
        let expected = Transition { noise: q.reverse_variance(policy)?.sqrt(), ..q.transition() };
        let step = DdimStep::new(t, s, kappa)?.with_reverse_variance(policy)?;
        check_step(&t, &s, &expected, Prediction::Data, 1e-10, |x, x0, z, out| {
            take(&step, Prediction::Data, (x, x0, z), out);
        })?;
    });
}

#[test]
fn every_posterior_keeps_the_marginals() {
    proptest!(config(300), |(q in posteriors())| {
        let found = check_marginals(&q.from(), &q.to(), Prediction::Data, 1e-11, |x, x0, z, out: &mut [f64]| {
            for i in 0..out.len() {
                out[i] = q.state_coefficient() * x[i] + q.data_coefficient() * x0[i] + q.gamma() * z[i];
            }
        })?;
        // The coefficients that it reports are the step's.
        let size = 1.0 + q.state_coefficient() * q.from().alpha().max(1.0);
        prop_assert!((found.state - q.state_coefficient()).abs() <= 1e-12 * (found.state + 1.0 / q.from().sigma()));
        prop_assert!((found.data - q.data_coefficient()).abs() <= 1e-12 * (size + q.from().alpha() / q.from().sigma()));
        prop_assert!((found.noise - q.gamma()).abs() <= 1e-12 * q.gamma());
    });
}

#[test]
fn single_precision_passes_at_its_own_tolerance() {
    proptest!(config(300), |((t, s) in edges())| {
        let [at, st, a_s, s_s] =
            [t.alpha(), t.sigma(), s.alpha(), s.sigma()].map(|value| value as f32);
        check_marginals(&t, &s, Prediction::Data, 1e-5, |x: &[f32], x0, _, out| {
            for i in 0..out.len() {
                out[i] = a_s * x0[i] + s_s * ((x[i] - at * x0[i]) / st);
            }
        })?;
        let failure = check_marginals(&t, &s, Prediction::Data, 1e-5, |x: &[f32], x0, _, out| {
            for i in 0..out.len() {
                out[i] = a_s * x0[i] * 0.99 + s_s * ((x[i] - at * x0[i]) / st);
            }
        });
        prop_assert!(matches!(failure, Err(Failure::Coefficient { .. })), "{:?}", failure);
    });
}

#[test]
fn a_strength_that_is_not_the_noise_level_is_found() {
    proptest!(config(200), |(table in tables(), steps in 2..50usize, strength in 0.05..0.95f64)| {
        let last = table.last_time();
        prop_assume!(last >= 50.0);
        // The level that is promised: this strength of the schedule's time.
        let promised = table.level((strength * last).round())?;
        let add = |level: NoiseLevel| move |x0: &[f64], e: &[f64], out: &mut [f64]| {
            for i in 0..out.len() {
                out[i] = level.alpha() * x0[i] + level.sigma() * e[i];
            }
        };
        check_noising(&promised, 1e-12, add(promised))?;
        // Strength as a share of the steps of a grid that is not uniform in time.
        let range = diffusion_sampler::schedule::LambdaRange::of_times(&table, last - 1.0, 1.0)?;
        let grid = Grid::karras(&table, steps, range, 7.0)?;
        let skipped = steps - (strength * steps as f64) as usize;
        let planted = grid.levels()[skipped.min(steps - 1)];
        prop_assume!((planted.time() - promised.time()).abs() > 1e-3);
        let failure = check_noising(&promised, 1e-12, add(planted));
        match failure {
            Err(Failure::Coefficient { found, expected, tolerance, .. }) => {
                prop_assert!((found - expected).abs() > tolerance);
            }
            other => prop_assert!(false, "{other:?}"),
        }
    });
}

#[test]
fn the_crates_start_of_image_to_image_passes() {
    proptest!(config(200), |(table in tables(), steps in 1..50usize, strength in 0.05..0.95f64)| {
        let last = table.last_time();
        let promised = table.level((strength * last).ceil())?;
        let grid = Grid::trailing(&table, steps.min(last as usize))?.starting_at(&table, promised)?;
        check_noising(&promised, 1e-9, |x0, e, out: &mut [f64]| {
            let mut x = super::common::row(x0);
            let e = super::common::row(e);
            diffusion_sampler::forward::diffuse_with(&mut x, &e, &[grid.start()]).unwrap();
            out.copy_from_slice(x.as_slice().unwrap());
        })?;
    });
}

#[test]
fn what_is_not_a_linear_step_is_found() -> Outcome {
    let (t, s) = (
        NoiseLevel::new(2.0, 0.6, 0.8)?,
        NoiseLevel::new(1.0, 0.8, 0.6)?,
    );
    type Step = fn(&[f64], &[f64], &mut [f64]);
    let check = |step: Step| {
        check_marginals(&t, &s, Prediction::Data, 1e-12, |x, x0, _, out| {
            step(x, x0, out);
        })
    };
    let clips: Step = |x, x0, out| {
        for i in 0..out.len() {
            out[i] = 0.75 * x[i] + 0.35 * x0[i].clamp(-1.0, 1.0);
        }
    };
    let shifts: Step = |x, x0, out| {
        for i in 0..out.len() {
            out[i] = 0.75 * x[i] + 0.35 * x0[i] + 1e-15;
        }
    };
    let clips_far: Step = |x, x0, out| {
        for i in 0..out.len() {
            out[i] = 0.75 * x[i].clamp(-50.0, 50.0) + 0.35 * x0[i];
        }
    };
    let mixes: Step = |x, x0, out| {
        let n = out.len();
        for i in 0..n {
            out[i] = 0.75 * x[(i + 1) % n] + 0.35 * x0[i];
        }
    };
    for step in [clips, shifts, clips_far, mixes] {
        assert!(matches!(check(step), Err(Failure::NotLinear { .. })));
    }
    let forgets: Step = |x, _, out| out[0] = x[0];
    assert_eq!(check(forgets), Err(Failure::NotWritten { index: 1 }));
    let right: Step = |x, x0, out| {
        for i in 0..out.len() {
            out[i] = 0.75 * x[i] + 0.35 * x0[i];
        }
    };
    assert!(check(right).is_ok());
    Ok(())
}

#[test]
fn impossible_checks_are_refused() -> Outcome {
    let (t, clean) = (NoiseLevel::new(2.0, 0.6, 0.8)?, NoiseLevel::clean());
    let step = |_: &[f64], _: &[f64], _: &[f64], out: &mut [f64]| out.fill(0.0);
    let setup = |outcome: Result<Transition, Failure>| matches!(outcome, Err(Failure::Setup(_)));
    assert!(setup(check_marginals(
        &clean,
        &t,
        Prediction::Data,
        1e-12,
        step
    )));
    assert!(setup(check_marginals(
        &t,
        &clean,
        Prediction::Data,
        0.0,
        step
    )));
    assert!(setup(check_marginals(
        &t,
        &clean,
        Prediction::Data,
        f64::NAN,
        step
    )));
    let up = NoiseLevel::new(3.0, 0.1, 0.9)?;
    assert!(matches!(
        check_eta_limits(
            &t,
            &up,
            Prediction::Data,
            1e-9,
            |_, _, _, _, out: &mut [f64]| out.fill(0.0)
        ),
        Err(Failure::Coefficient { .. } | Failure::Setup(_))
    ));
    Ok(())
}

#[test]
fn where_no_noise_is_expected_not_even_a_rounding_of_it_passes() -> Outcome {
    let (t, s) = (
        NoiseLevel::new(2.0, 0.6, 0.8)?,
        NoiseLevel::new(1.0, 0.8, 0.6)?,
    );
    let ddim = StridedPosterior::new(t, s, Kappa::Ddim)?.transition();
    let check = |noise: f64| {
        check_step(
            &t,
            &s,
            &ddim,
            Prediction::Data,
            1e-9,
            |x, x0, z, out: &mut [f64]| {
                for i in 0..out.len() {
                    out[i] = ddim.state * x[i] + ddim.data * x0[i] + noise * z[i];
                }
            },
        )
    };
    check(0.0)?;
    let failure = check(1e-12).unwrap_err();
    let fresh = "standard deviation of the fresh noise";
    assert!(matches!(failure, Failure::Coefficient { coefficient, .. } if coefficient == fresh));
    Ok(())
}

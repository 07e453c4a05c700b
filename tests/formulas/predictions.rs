//! Predictions: each output determines x₀ and ε, and every kind converts to every other.

use std::error::Error as StdError;

use diffusion_sampler::{Error, NoiseLevel, Prediction};
use ndarray::array;

type Outcome = Result<(), Box<dyn StdError>>;

const KINDS: [Prediction; 10] = [
    Prediction::Noise,
    Prediction::Data,
    Prediction::Velocity,
    Prediction::Score,
    Prediction::Flow,
    Prediction::Edm { data_std: 0.5 },
    Prediction::EdmVelocity { data_std: 0.6 },
    Prediction::Linear {
        data: 1.0,
        noise: -1.0,
    },
    Prediction::Linear {
        data: 0.0,
        noise: 3.0,
    },
    Prediction::Linear {
        data: -2.0,
        noise: 0.0,
    },
];

/// The output for given x₀ and ε, from its definition.
fn output(kind: Prediction, level: &NoiseLevel, x0: f64, e: f64) -> f64 {
    let (alpha, sigma) = (level.alpha(), level.sigma());
    match kind {
        Prediction::Noise => e,
        Prediction::Data => x0,
        Prediction::Velocity => alpha * e - sigma * x0,
        Prediction::Score => -e / sigma,
        Prediction::Flow => e - x0,
        Prediction::Edm { data_std: s } => {
            let rho = sigma / alpha;
            let (skip, out) = (
                s * s / (rho * rho + s * s),
                rho * s / (rho * rho + s * s).sqrt(),
            );
            (x0 - skip * (x0 + rho * e)) / out
        }
        Prediction::EdmVelocity { data_std } => -output(Prediction::Edm { data_std }, level, x0, e),
        Prediction::Linear { data, noise } => data * x0 + noise * e,
        _ => f64::NAN,
    }
}

#[test]
fn every_kind_converts_to_every_other() -> Outcome {
    // Not variance-preserving: α² + σ² ≠ 1 shows each factor.
    let level = NoiseLevel::new(1.0, 0.7, 1.3)?;
    let (x0, e) = (0.6, -1.7);
    let x = 0.7 * x0 + 1.3 * e;
    for from in KINDS {
        let o = output(from, &level, x0, e);
        let c = from.conversion(&level)?;
        assert!((c.data.of(x, o) - x0).abs() < 1e-14, "{from}");
        assert!((c.noise.of(x, o) - e).abs() < 1e-14, "{from}");
        let target = from.target(&level)?;
        assert!(
            (target.data * x0 + target.noise * e - o).abs() < 1e-14,
            "{from}"
        );
        for to in KINDS {
            let expected = output(to, &level, x0, e);
            let found = from.convert_to(to, &level)?.of(x, o);
            assert!(
                (found - expected).abs() < 1e-13,
                "{from} to {to}: {found}, not {expected}"
            );
            let mut array = array![[o]];
            from.convert_in_place(&mut array, &array![[x]], to, &[level])?;
            assert!(
                (array[[0, 0]] - expected).abs() < 1e-13,
                "{from} to {to} in place"
            );
        }
        let mut array = array![[e]];
        from.target_in_place(&mut array, &array![[x0]], &[level])?;
        assert!(
            (array[[0, 0]] - o).abs() < 1e-14,
            "{from}'s target in place"
        );
    }
    Ok(())
}

/// Targets have the limits of their formulas: ε/σ and F/c_out at σ = 0, ρ at α = 0.
#[test]
fn a_target_is_undefined_exactly_where_its_definition_divides_by_zero() -> Outcome {
    let (clean, pure) = (NoiseLevel::clean(), NoiseLevel::new(3.0, 0.0, 2.0)?);
    for kind in KINDS {
        let edm = matches!(
            kind,
            Prediction::Edm { .. } | Prediction::EdmVelocity { .. }
        );
        for (level, undefined) in [(clean, edm || kind == Prediction::Score), (pure, edm)] {
            let (alpha, sigma) = (level.alpha(), level.sigma());
            if level.is_clean() {
                let no_noise = edm || matches!(kind, Prediction::Data | Prediction::Score);
                // −2x₀ says nothing of ε either, as a combination that is a multiple of x.
                let multiple = matches!(kind, Prediction::Linear { noise: 0.0, .. });
                let converted = kind.conversion(&level);
                let undefined = matches!(converted, Err(Error::PredictionUndefined { .. }));
                assert_eq!(undefined, no_noise || multiple, "{kind}: {converted:?}");
            }
            let target = kind.target(&level);
            if undefined {
                let expected = Error::PredictionUndefined {
                    prediction: kind.name(),
                    alpha,
                    sigma,
                    time: level.time(),
                };
                assert_eq!(target, Err(expected), "{kind}");
            } else {
                let target = target?;
                let found = target.data * 0.6 + target.noise * -1.7;
                assert!(
                    (found - output(kind, &level, 0.6, -1.7)).abs() < 1e-15,
                    "{kind}"
                );
            }
        }
    }
    Ok(())
}

#[test]
fn conversions_are_right_or_refused_where_squares_leave_f64() -> Outcome {
    // α = σ = c: v = c(ε − x₀), D = (x − v)/(2c), E = (x + v)/(2c), whatever c² is.
    for c in [1e-200, 1e200] {
        let level = NoiseLevel::new(1.0, c, c)?;
        let found = Prediction::Velocity.conversion(&level)?;
        for (value, sign) in [
            (found.data.x, 1.0),
            (found.data.output, -1.0),
            (found.noise.x, 1.0),
            (found.noise.output, 1.0),
        ] {
            assert!((value * c - sign * 0.5).abs() < 1e-15, "{value} at {c}");
        }
        let score = Prediction::Score.data(&level)?;
        assert!((score.output / c - 1.0).abs() < 1e-15);
    }
    for kind in KINDS {
        for (alpha, sigma) in [
            (5e-324, 1.0),
            (1.0, 5e-324),
            (1e-300, 1e300),
            (1e300, 1e-300),
        ] {
            let level = NoiseLevel::new(1.0, alpha, sigma)?;
            match kind.conversion(&level) {
                Ok(c) => assert!(
                    [c.data.x, c.data.output, c.noise.x, c.noise.output]
                        .iter()
                        .all(|v| v.is_finite()),
                    "{kind} at {level}: {c:?}"
                ),
                Err(error) => assert!(matches!(error, Error::ConversionOverflow { .. }), "{error}"),
            }
        }
    }
    Ok(())
}

#[test]
fn a_linear_prediction_needs_coefficients_that_say_something() -> Outcome {
    let level = NoiseLevel::new(1.0, 0.6, 0.8)?;
    // A multiple of x itself says nothing.
    assert!(matches!(
        Prediction::Linear {
            data: 0.6,
            noise: 0.8
        }
        .data(&level),
        Err(Error::PredictionUndefined {
            prediction: "linear",
            ..
        })
    ));
    for (data, noise) in [(0.0, 0.0), (f64::NAN, 1.0), (1.0, f64::INFINITY)] {
        assert!(matches!(
            Prediction::Linear { data, noise }.data(&level),
            Err(Error::InvalidParameter { .. })
        ));
    }
    // Each part alone is what its own kind is, at both ends.
    let (pure, clean) = (NoiseLevel::new(1.0, 0.0, 1.0)?, NoiseLevel::clean());
    let (data, noise) = (
        Prediction::Linear {
            data: 1.0,
            noise: 0.0,
        },
        Prediction::Linear {
            data: 0.0,
            noise: 1.0,
        },
    );
    for level in [pure, clean] {
        assert_eq!(data.data(&level).ok(), Prediction::Data.data(&level).ok());
        assert_eq!(noise.data(&level).ok(), Prediction::Noise.data(&level).ok());
        assert_eq!(
            data.conversion(&level).is_ok(),
            Prediction::Data.conversion(&level).is_ok()
        );
        assert_eq!(
            noise.conversion(&level).is_ok(),
            Prediction::Noise.conversion(&level).is_ok()
        );
    }
    Ok(())
}

#[test]
fn noise_prediction_at_pure_noise_names_what_such_checkpoints_predict() -> Outcome {
    let pure = NoiseLevel::new(1.0, 0.0, 1.0)?;
    let refused = Prediction::Noise.data(&pure).err().ok_or("accepted")?;
    let text = refused.to_string();
    assert!(
        text.contains("flow or velocity") && text.contains("alpha is 0"),
        "{text}"
    );
    Ok(())
}

#[test]
fn the_edm_velocity_of_data_of_variance_one_is_that_of_the_variance_preserving_level() -> Outcome {
    for rho in [0.01f64, 0.7, 1.0, 30.0] {
        let norm = (rho * rho + 1.0).sqrt();
        let (exploding, preserving) = (
            NoiseLevel::new(1.0, 1.0, rho)?,
            NoiseLevel::new(1.0, 1.0 / norm, rho / norm)?,
        );
        let kind = Prediction::EdmVelocity { data_std: 1.0 };
        let (found, expected) = (
            kind.target(&exploding)?,
            Prediction::Velocity.target(&preserving)?,
        );
        assert!((found.data - expected.data).abs() < 1e-15);
        assert!((found.noise - expected.noise).abs() < 1e-15);
        // The network sees the same input.
        assert!((kind.input_scale(&exploding)? - preserving.alpha()).abs() < 1e-15);
    }
    Ok(())
}

/// |o − o'|² = w |D − D'|² for any two outputs at one state.
#[test]
fn the_weight_of_a_loss_is_that_of_the_data_error() -> Outcome {
    for (alpha, sigma) in [(0.7, 1.3), (0.9, 0.2), (1.0, 40.0)] {
        let level = NoiseLevel::new(1.0, alpha, sigma)?;
        for kind in KINDS {
            let data = kind.data(&level)?;
            let weight = kind.data_weight(&level)?;
            let Prediction::Linear { noise: 0.0, .. } = kind else {
                let error = data.of(0.3, 1.5) - data.of(0.3, -0.5);
                assert!((weight * error * error / 4.0 - 1.0).abs() < 1e-12, "{kind}");
                continue;
            };
            // Of −2x₀: 4.
            assert_eq!(weight, 4.0);
        }
        let snr = level.snr();
        let noise = Prediction::Noise.data_weight(&level)?;
        assert!((noise / snr - 1.0).abs() < 1e-14);
    }
    Ok(())
}

#[test]
fn a_prediction_is_shown_with_its_parameters() {
    let shown = KINDS.map(|kind| kind.to_string());
    assert_eq!(shown[0], "noise");
    assert_eq!(shown[5], "EDM (data_std 0.5)");
    assert_eq!(shown[6], "EDM velocity (data_std 0.6)");
    assert_eq!(shown[7], "linear (1 x0 + -1 noise)");
}

//! Posteriors: what composes, what overflows, and the one type of transition.

use std::error::Error as StdError;

use diffusion_sampler::{
    Error, KeyedNoise, NoiseLevel,
    noise::Stream,
    posterior::{Kappa, ReverseVariance, StridedPosterior, Transition},
};
use ndarray::{Array2, array};

type Outcome = Result<(), Box<dyn StdError>>;

fn edge() -> Result<(NoiseLevel, NoiseLevel), Error> {
    Ok((
        NoiseLevel::new(2.0, 0.6, 0.8)?,
        NoiseLevel::new(1.0, 0.8, 0.6)?,
    ))
}

#[test]
fn a_composed_edge_from_pure_noise_to_pure_noise_is_refused() -> Outcome {
    let pure = NoiseLevel::new(3.0, 0.0, 1.0)?;
    let (_, s) = edge()?;
    let down = StridedPosterior::new(pure, s, Kappa::Ddim)?;
    let up = StridedPosterior::new(s, pure, Kappa::Ddim)?;
    assert!(matches!(
        down.compose(&up),
        Err(Error::DegenerateEdge {
            from: 3.0,
            to: 3.0,
            ..
        })
    ));
    // The other way round all is defined: s → α = 0 → s.
    let around = up.compose(&down)?;
    assert!(around.state_coefficient().is_finite() && around.data_coefficient().is_finite());
    Ok(())
}

#[test]
fn coefficients_are_right_or_refused_at_the_ends_of_f64() -> Outcome {
    let values = [0.0, 1e-300, 1e-160, 1.0, 1e160, 1e300];
    let mut levels = Vec::new();
    for alpha in values {
        for sigma in values {
            levels.extend(NoiseLevel::new(1.0, alpha, sigma));
        }
    }
    let policies = [
        Kappa::Ddim,
        Kappa::Ddpm,
        Kappa::Eta(0.5),
        Kappa::Tau(0.3),
        Kappa::Fresh,
    ];
    let mut refused = 0;
    for t in &levels {
        for s in &levels {
            for kappa in policies {
                match StridedPosterior::new(*t, *s, kappa) {
                    Ok(q) => {
                        let Transition { state, data, noise } = q.transition();
                        for policy in [ReverseVariance::Posterior, ReverseVariance::FixedLarge] {
                            assert!(q.reverse_variance(policy).map_or(true, f64::is_finite));
                        }
                        assert!(
                            state.is_finite() && data.is_finite() && noise.is_finite(),
                            "{kappa} from {t} to {s}: {state} {data} {noise}"
                        );
                    }
                    Err(Error::EdgeOverflow { .. }) => refused += 1,
                    Err(error) => assert!(matches!(error, Error::DegenerateEdge { .. }), "{error}"),
                }
            }
        }
    }
    assert!(refused > 0);
    // κ = 0 keeps nothing of x_t: right also where σ_s/σ_t overflows.
    let (t, s) = (
        NoiseLevel::new(2.0, 0.0, 1e-200)?,
        NoiseLevel::new(1.0, 3.0, 1e200)?,
    );
    let fresh = StridedPosterior::new(t, s, Kappa::Fresh)?.transition();
    assert_eq!(
        fresh,
        Transition {
            state: 0.0,
            data: 3.0,
            noise: 1e200
        }
    );
    Ok(())
}

#[test]
fn an_eta_beyond_the_edge_is_refused_as_eta_with_the_largest() -> Outcome {
    let (t, s) = edge()?;
    // r = σ_s α_t/(σ_t α_s) = 9/16.
    let largest = 1.0 / (1.0f64 - (9.0 / 16.0) * (9.0 / 16.0)).sqrt();
    match StridedPosterior::new(t, s, Kappa::Eta(1.5)) {
        Err(error @ Error::EtaOutOfRange { eta, max, .. }) => {
            assert_eq!(eta, 1.5);
            assert!((max - largest).abs() < 1e-14);
            let text = error.to_string();
            assert!(text.starts_with("eta") && !text.contains("gamma"), "{text}");
        }
        other => return Err(format!("{other:?}").into()),
    }
    assert!(StridedPosterior::new(t, s, Kappa::Eta(largest * (1.0 - 1e-12))).is_ok());
    Ok(())
}

#[test]
fn a_forward_variance_is_that_of_the_forward_step_and_has_no_sign() -> Outcome {
    let (t, s) = edge()?;
    let down = StridedPosterior::new(t, s, Kappa::Ddim)?;
    let expected = 0.64 - (0.6f64 / 0.8).powi(2) * 0.36;
    assert!((down.forward_variance()? - expected).abs() < 1e-15);
    let noise = Transition::forward_step(&s, &t)?.noise;
    assert!((noise * noise - expected).abs() < 1e-15);
    let up = StridedPosterior::new(s, t, Kappa::Ddim)?;
    assert!(matches!(
        up.forward_variance(),
        Err(Error::DegenerateEdge {
            from: 1.0,
            to: 2.0,
            ..
        })
    ));
    assert!(up.reverse_variance(ReverseVariance::FixedLarge).is_err());
    Ok(())
}

#[test]
fn a_transition_samples_what_its_posterior_samples() -> Outcome {
    let (t, s) = edge()?;
    let q = StridedPosterior::new(t, s, Kappa::Eta(0.5))?;
    let x: Array2<f64> = array![[0.3, -1.0], [2.0, 0.1]];
    let data = array![[1.0, 0.5], [-0.5, 0.0]];
    let (mut one, mut other, mut mean) = (x.clone(), x.clone(), x.clone());
    q.sample_in_place(&mut one, &data, &mut KeyedNoise::new(7), 3)?;
    let stream = Stream::Step(0);
    q.transition()
        .sample_in_place(&mut other, Some(&data), &mut KeyedNoise::new(7), 3, stream)?;
    assert_eq!(one, other);
    q.mean_in_place(&mut mean, &data)?;
    let without_noise = Transition {
        noise: 0.0,
        ..q.transition()
    };
    let mut still = x.clone();
    without_noise.sample_in_place(&mut still, Some(&data), &mut KeyedNoise::new(7), 3, stream)?;
    assert_eq!(mean, still);
    for ((m, x), d) in mean.iter().zip(&x).zip(&data) {
        let expected = q.state_coefficient() * x + q.data_coefficient() * d;
        assert!((m - expected).abs() < 1e-15);
    }
    Ok(())
}

/// Both levels times a power of two: κ stays, also among the least numbers and the largest.
#[test]
fn kappa_does_not_depend_on_the_scale_of_the_levels() -> Outcome {
    let edge = |power: i32| {
        // In two factors: 2^−1074 is no normal number.
        let times = |x: f64| x * 2f64.powi(power / 2) * 2f64.powi(power - power / 2);
        let from = NoiseLevel::new(2.0, times(1.0), times(4.0))?;
        StridedPosterior::new(
            from,
            NoiseLevel::new(1.0, times(3.0), times(1.0))?,
            Kappa::FlowEta(0.5),
        )
    };
    let expected = edge(0)?.kappa();
    for power in [-1074, -1000, 1000, 1021] {
        let found = edge(power)?.kappa();
        assert!((found - expected).abs() < 1e-12, "2^{power}: {found}");
    }
    Ok(())
}

//! One edge of a grid: coefficients from the two marginals, and the limits of every policy.

use std::error::Error as StdError;

use diffusion_sampler::{
    Error, NoiseLevel,
    posterior::{Kappa, ReverseVariance, StridedPosterior, Transition},
};

type Outcome = Result<(), Box<dyn StdError>>;

fn level(time: f64, alpha: f64, sigma: f64) -> Result<NoiseLevel, Error> {
    NoiseLevel::new(time, alpha, sigma)
}

/// c_0 and γ² that give x_s its marginal, from c_t alone.
fn from_marginals(q: &StridedPosterior, t: &NoiseLevel, s: &NoiseLevel) -> (f64, f64) {
    let c = q.state_coefficient();
    (
        s.alpha() - c * t.alpha(),
        s.sigma().powi(2) - (c * t.sigma()).powi(2),
    )
}

fn near(found: f64, expected: f64, tolerance: f64) -> bool {
    (found / expected - 1.0).abs() <= tolerance
}

#[test]
fn the_cost_of_an_edge_is_the_kl_of_two_normals() -> Outcome {
    // Levels with α² + σ² ≠ 1, so that no factor is 1.
    let (t, s) = (level(2.0, 0.5, 1.5)?, level(1.0, 0.75, 0.7)?);
    for kappa in [Kappa::Ddpm, Kappa::Eta(0.5), Kappa::Tau(0.6), Kappa::Fresh] {
        let q = StridedPosterior::new(t, s, kappa)?;
        let (data, variance) = from_marginals(&q, &t, &s);
        let weight = data * data / (2.0 * variance);
        assert!(near(q.elbo_weight()?, weight, 1e-13), "{kappa}");
        for (dim, error, own) in [(1, 0.0, 0.3), (3, 2.5, 0.3), (7, 0.25, 1.75)] {
            let ratio = variance / own;
            let spread = 0.5 * dim as f64 * (ratio - 1.0 - ratio.ln());
            let expected = spread + data * data * error / (2.0 * own);
            assert!(
                near(q.kl(dim, error, own)?, expected, 1e-12),
                "{kappa}, {dim}"
            );
        }
    }
    Ok(())
}

#[test]
fn two_edges_compose_to_the_edge_whose_kappa_is_their_product() -> Outcome {
    let (t, s, u) = (
        level(3.0, 0.4, 1.6)?,
        level(2.0, 0.6, 0.9)?,
        level(1.0, 0.8, 0.3)?,
    );
    for (first, second) in [
        (Kappa::Eta(0.4), Kappa::Tau(0.7)),
        (Kappa::Ddim, Kappa::Eta(0.9)),
        (Kappa::Gamma(0.5), Kappa::Ddpm),
        (Kappa::Fresh, Kappa::Eta(0.3)),
    ] {
        let (a, b) = (
            StridedPosterior::new(t, s, first)?,
            StridedPosterior::new(s, u, second)?,
        );
        let both = a.compose(&b)?;
        let product = a.state_coefficient() * b.state_coefficient();
        assert!((both.state_coefficient() - product).abs() <= 1e-15);
        let (data, variance) = from_marginals(&both, &t, &u);
        assert!(
            near(both.data_coefficient(), data, 1e-14),
            "{first}, {second}"
        );
        assert!(near(both.variance(), variance, 1e-13), "{first}, {second}");
    }
    let direct = StridedPosterior::new(t, u, Kappa::Ddpm)?;
    let a = StridedPosterior::new(t, s, Kappa::Ddpm)?;
    let both = a.compose(&StridedPosterior::new(s, u, Kappa::Ddpm)?)?;
    assert!(near(both.gamma(), direct.gamma(), 1e-15));
    assert!(matches!(
        direct.compose(&a),
        Err(Error::EdgesDoNotMeet {
            end: 1.0,
            start: 3.0
        })
    ));
    Ok(())
}

#[test]
fn the_mean_keeps_its_digits_over_tiny_steps_and_its_value_over_huge_ones() -> Outcome {
    // Neighbours, from their logarithms: α_s(1 − r) with r = e^−h, h = 2⁻³⁰ exactly.
    let tiny = 2f64.powi(-30);
    let t = NoiseLevel::from_logs(2.0, -1.2, -0.4)?;
    let s = NoiseLevel::from_logs(1.0, -1.2, -0.4 - tiny)?;
    let q = StridedPosterior::new(t, s, Kappa::Ddim)?;
    let expected = s.alpha() * -(-tiny).exp_m1();
    assert!(near(q.data_coefficient(), expected, 1e-14));
    // Far up: r = 1e350 is no number, α_s − (σ_s/σ_t)α_t = 1e-160 − 1e200·1e-10 is one.
    let (t, s) = (level(1.0, 1e-10, 1e-200)?, level(2.0, 1e-160, 1.0)?);
    let q = StridedPosterior::new(t, s, Kappa::Ddim)?;
    assert!(near(q.data_coefficient(), -1e190, 1e-15));
    // Nothing of x_t is kept, whatever σ_s/σ_t is.
    let (t, s) = (level(1.0, 1.0, 1e-200)?, level(2.0, 0.5, 1e200)?);
    let q = StridedPosterior::new(t, s, Kappa::Fresh)?;
    assert_eq!((q.state_coefficient(), q.data_coefficient()), (0.0, 0.5));
    Ok(())
}

#[test]
fn the_forward_variance_is_0_over_no_distance_and_refused_upwards() -> Outcome {
    let (t, s) = (level(2.0, 0.5, 1.5)?, level(1.0, 0.75, 0.7)?);
    let still = StridedPosterior::new(t, t, Kappa::Ddim)?;
    assert_eq!(still.forward_variance(), Ok(0.0));
    let down = StridedPosterior::new(t, s, Kappa::Ddim)?;
    // σ_t² − (α_t/α_s)²σ_s².
    let expected = 2.25 - (0.5f64 / 0.75).powi(2) * 0.49;
    assert!(near(down.forward_variance()?, expected, 1e-15));
    // β (α_s² + σ_s²)/(α_t² + σ_t²).
    let large = expected * (0.75f64.powi(2) + 0.49) / (0.25 + 2.25);
    assert!(near(
        down.reverse_variance(ReverseVariance::FixedLarge)?,
        large,
        1e-14
    ));
    let up = StridedPosterior::new(s, t, Kappa::Ddim)?;
    assert!(matches!(
        up.forward_variance(),
        Err(Error::DegenerateEdge { .. })
    ));
    Ok(())
}

#[test]
fn the_largest_eta_that_an_error_states_is_taken_and_a_larger_one_is_not() -> Outcome {
    for exponent in 1..40 {
        // r = 1 − 2⁻ᵏ.
        let (t, s) = (
            level(2.0, 0.5, 1.0)?,
            level(1.0, 0.5, 1.0 - 2f64.powi(-exponent))?,
        );
        let stated = |kappa: fn(f64) -> Kappa| match StridedPosterior::new(t, s, kappa(1e30)) {
            Err(Error::EtaOutOfRange { max, eta: 1e30, .. }) => Ok(max),
            other => Err(format!("{other:?}")),
        };
        let ratio = s.sigma() / t.sigma();
        // γ = η σ_s √(1 − r²) = σ_s.
        let max = stated(Kappa::Eta)?;
        assert!(
            near(max, 1.0 / ((1.0 - ratio) * (1.0 + ratio)).sqrt(), 1e-4),
            "{exponent}"
        );
        assert!(
            StridedPosterior::new(t, s, Kappa::Eta(max)).is_ok(),
            "{exponent}"
        );
        assert!(
            StridedPosterior::new(t, s, Kappa::Eta(max * 1.001)).is_err(),
            "{exponent}"
        );
        // q = η(1 − r)α_s/(α_s + σ_s) = 1.
        let max = stated(Kappa::FlowEta)?;
        let share = s.alpha() / (s.alpha() + s.sigma());
        assert!(near(max, 1.0 / ((1.0 - ratio) * share), 1e-4), "{exponent}");
        assert!(
            StridedPosterior::new(t, s, Kappa::FlowEta(max)).is_ok(),
            "{exponent}"
        );
        assert!(
            StridedPosterior::new(t, s, Kappa::FlowEta(max * 1.001)).is_err(),
            "{exponent}"
        );
    }
    Ok(())
}

#[test]
fn a_forward_step_from_clean_data_needs_fresh_noise() -> Outcome {
    let (t, clean) = (level(2.0, 0.5, 1.5)?, NoiseLevel::clean());
    let fresh = StridedPosterior::new(t, clean, Kappa::Fresh)?.forward_step()?;
    assert_eq!(
        fresh,
        Transition {
            state: 0.0,
            data: 0.5,
            noise: 1.5
        }
    );
    for kappa in [Kappa::Ddim, Kappa::Tau(0.1)] {
        // κ = r^(τ²) is 0 at r = 0 but for τ = 0.
        let step = StridedPosterior::new(t, clean, kappa)?.forward_step();
        match kappa {
            Kappa::Ddim => assert!(
                matches!(step, Err(Error::DegenerateEdge { .. })),
                "{step:?}"
            ),
            _ => assert_eq!(step?, fresh),
        }
    }
    Ok(())
}

#[test]
fn a_policy_is_shown_with_its_parameter() {
    for (kappa, shown) in [
        (Kappa::Ddim, "DDIM"),
        (Kappa::Ddpm, "DDPM"),
        (Kappa::Eta(0.5), "eta 0.5"),
        (Kappa::Tau(0.25), "tau 0.25"),
        (Kappa::Gamma(2.0), "gamma 2"),
        (Kappa::Fresh, "fresh"),
        (Kappa::CappedEta(1.5), "eta 1.5, capped"),
        (Kappa::FlowEta(1.0), "eta 1 of flows"),
        (Kappa::Ancestral(1.0), "ancestral, eta 1"),
    ] {
        assert_eq!(kappa.to_string(), shown);
    }
}

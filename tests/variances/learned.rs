//! The variance that a network gives, as scalars.

use diffusion_sampler::{
    Error, NoiseLevel,
    posterior::{Kappa, ReverseVariance, StridedPosterior},
    schedule::{NoiseSchedule, RectifiedFlow, VarianceExploding},
};

use crate::common::{Outcome, kappas, knot, near};

fn betas() -> Vec<f64> {
    (0..1000)
        .map(|i| 1e-4 + (0.02 - 1e-4) * f64::from(i) / 999.0)
        .collect()
}

#[test]
fn its_ends_are_the_posterior_variance_and_the_strided_forward_variance() -> Outcome {
    for (from, to) in [(1000.0, 1.0), (700.0, 450.0), (3.0, 2.0)] {
        let q = StridedPosterior::new(knot(from)?, knot(to)?, Kappa::Ddpm)?;
        assert_eq!(q.learned_variance(-1.0)?, q.variance());
        near(q.learned_variance(1.0)?, q.forward_variance()?, 1e-13);
        near(
            q.learned_variance(1.0)?,
            q.reverse_variance(ReverseVariance::FixedLarge)?,
            1e-13,
        );
        // Halfway is the geometric mean.
        let middle = (q.variance() * q.forward_variance()?).sqrt();
        near(q.learned_variance(0.0)?, middle, 1e-13);
    }
    Ok(())
}

#[test]
fn neighbouring_knots_have_the_variance_of_the_published_code() -> Outcome {
    // guided-diffusion's p_mean_variance, LEARNED_RANGE: from betas alone. Its posterior variance
    // at index 0 is 0, and its logarithm is replaced by that at index 1; there the crate has no
    // variance, since it leads onto sigma = 0.
    let betas = betas();
    let mut product = 1.0;
    for (index, beta) in betas.iter().enumerate() {
        let before = product;
        product *= 1.0 - beta;
        if index == 0 {
            continue;
        }
        let posterior = beta * (1.0 - before) / (1.0 - product);
        let (min_log, max_log) = (posterior.ln(), beta.ln());
        let t = index as f64 + 1.0;
        let q = StridedPosterior::new(knot(t)?, knot(t - 1.0)?, Kappa::Ddpm)?;
        for f in [-1.3, -1.0, -0.2, 0.7, 1.0] {
            let frac = (f + 1.0) / 2.0;
            let expected = (frac * max_log + (1.0 - frac) * min_log).exp();
            near(q.learned_variance(f)?, expected, 2e-11);
        }
    }
    Ok(())
}

#[test]
fn respaced_knots_have_that_of_the_published_code_with_its_new_betas() -> Outcome {
    // guided-diffusion's SpacedDiffusion: beta = 1 - acp[t]/acp[s], then as above.
    let acp: Vec<f64> = betas()
        .iter()
        .scan(1.0, |product, beta| {
            *product *= 1.0 - beta;
            Some(*product)
        })
        .collect();
    for (t, s) in [(999usize, 749usize), (749, 499), (499, 249), (249, 9)] {
        let beta = 1.0 - acp[t] / acp[s];
        let posterior = beta * (1.0 - acp[s]) / (1.0 - acp[t]);
        let q = StridedPosterior::new(knot(t as f64 + 1.0)?, knot(s as f64 + 1.0)?, Kappa::Ddpm)?;
        for f in [-0.9, 0.3] {
            let frac = (f + 1.0) / 2.0;
            let expected = (frac * beta.ln() + (1.0 - frac) * posterior.ln()).exp();
            near(q.learned_variance(f)?, expected, 1e-12);
        }
    }
    Ok(())
}

#[test]
fn on_other_schedules_the_upper_end_is_fixed_large() -> Outcome {
    let flow = RectifiedFlow::new();
    let exploding = VarianceExploding::new(0.01, 50.0)?;
    let edges = [
        (flow.level(0.7)?, flow.level(0.4)?),
        (exploding.level(0.9)?, exploding.level(0.2)?),
    ];
    for (t, s) in edges {
        for kappa in kappas().into_iter().filter(|kappa| *kappa != Kappa::Ddim) {
            let q = StridedPosterior::new(t, s, kappa)?;
            near(
                q.learned_variance(1.0)?,
                q.reverse_variance(ReverseVariance::FixedLarge)?,
                1e-13,
            );
            assert_eq!(q.learned_variance(-1.0)?, q.variance());
        }
    }
    Ok(())
}

#[test]
fn pure_noise_is_a_start_like_any_other() -> Outcome {
    // α = 0: r = 0, γ² = σ_s², β = σ_t².
    let (t, s) = (NoiseLevel::new(1.0, 0.0, 1.0)?, knot(300.0)?);
    let q = StridedPosterior::new(t, s, Kappa::Ddpm)?;
    near(q.learned_variance(-1.0)?, s.sigma().powi(2), 1e-15);
    near(q.learned_variance(1.0)?, 1.0, 1e-14);
    Ok(())
}

#[test]
fn what_has_no_logarithm_is_refused() -> Outcome {
    let (t, s) = (knot(500.0)?, knot(300.0)?);
    let q = StridedPosterior::new(t, s, Kappa::Ddpm)?;
    for f in [f64::NAN, f64::INFINITY] {
        let refused = q.learned_variance(f);
        assert!(matches!(
            refused,
            Err(Error::InvalidParameter {
                name: "variance output",
                ..
            })
        ));
    }
    let ddim = StridedPosterior::new(t, s, Kappa::Ddim)?;
    let expected = Error::DeterministicLikelihood {
        from: 500.0,
        to: 300.0,
    };
    assert_eq!(ddim.learned_variance(0.0), Err(expected));
    let last = StridedPosterior::new(s, knot(0.0)?, Kappa::Ddpm)?;
    let refused = last.learned_variance(0.0);
    assert!(matches!(
        refused,
        Err(Error::DegenerateEdge {
            from: 300.0,
            to: 0.0,
            ..
        })
    ));
    assert!(matches!(
        q.learned_variance(1e5),
        Err(Error::EdgeOverflow { .. })
    ));
    Ok(())
}

//! Row 3: DDPM's variances.

use diffusion_sampler::{
    Error as Refused, NoiseLevel,
    posterior::{Kappa, ReverseVariance, StridedPosterior},
    schedule::{NoiseSchedule, TableSchedule},
};
use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::super::Accept;
use super::super::Claim;
use super::common::{Outcome, off};

/// Row 3.
pub(crate) fn ancestral_variance() -> Outcome<Vec<Claim>> {
    let mut rng = SmallRng::seed_from_u64(3);
    let (mut small, mut mean, mut eta) = (0.0f64, 0.0f64, 0.0f64);
    let mut outside: f64 = f64::INFINITY;
    let mut large = 0.0f64;
    for _ in 0..20_000 {
        // DDPM's own quantities: β of one step and ᾱ before it, under α² + σ² = 1.
        let beta = 10f64.powf(rng.random_range(-2.5..-0.01));
        let log_bar_s: f64 = -(10f64.powf(rng.random_range(-4.0..0.8)));
        let log_bar_t = log_bar_s + f64::ln_1p(-beta);
        let (t, s) = (
            NoiseLevel::variance_preserving(2.0, log_bar_t)?,
            NoiseLevel::variance_preserving(1.0, log_bar_s)?,
        );
        let (one_minus_t, one_minus_s) = (-log_bar_t.exp_m1(), -log_bar_s.exp_m1());
        // β̃ = β (1 − ᾱ_s)/(1 − ᾱ_t), mean √ᾱ_s β/(1 − ᾱ_t) x₀ + √(1 − β)(1 − ᾱ_s)/(1 − ᾱ_t) x_t.
        let tilde = beta * one_minus_s / one_minus_t;
        let ddpm = StridedPosterior::new(t, s, Kappa::Ddpm)?;
        let full = StridedPosterior::new(t, s, Kappa::Eta(1.0))?;
        small =
            small
                .max(off(ddpm.variance(), tilde, tilde))
                .max(off(full.variance(), tilde, tilde));
        eta = eta.max(off(full.kappa(), ddpm.kappa(), 1.0));
        let own = (0.5 * log_bar_s).exp() * beta / one_minus_t;
        let state = (1.0 - beta).sqrt() * one_minus_s / one_minus_t;
        let scale = own * (0.5 * log_bar_t).exp() + state;
        mean = mean.max(off(ddpm.data_coefficient(), own, scale)).max(off(
            ddpm.state_coefficient(),
            state,
            scale,
        ));
        // σ̂² = β: more than the family's largest variance σ_s² for a small σ_s, and never the
        // variance of the κ that is its mean's.
        let hat = ddpm.reverse_variance(ReverseVariance::FixedLarge)?;
        large = large.max(off(hat, beta, beta));
        let excess = (hat - ddpm.variance()) / ddpm.variance();
        let expected = (one_minus_t - one_minus_s) / one_minus_s;
        outside = outside.min(excess / expected);
    }
    // The neighbouring knots of a table, whose betas are smaller.
    let table = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let mut neighbours = 0.0f64;
    for knot in 2..=1000u32 {
        let beta = 1e-4 + (0.02 - 1e-4) * f64::from(knot - 1) / 999.0;
        let (t, s) = (
            table.level(f64::from(knot))?,
            table.level(f64::from(knot - 1))?,
        );
        let tilde = beta * (s.sigma() / t.sigma()).powi(2);
        let ddpm = StridedPosterior::new(t, s, Kappa::Ddpm)?;
        neighbours = neighbours
            .max(off(ddpm.forward_variance()?, beta, beta))
            .max(off(ddpm.variance(), tilde, tilde));
    }
    // Where β > σ_s² no γ of the family is as large: asked for as one, it is refused.
    let (t, s) = (
        NoiseLevel::variance_preserving(2.0, -0.5)?,
        NoiseLevel::variance_preserving(1.0, -0.01)?,
    );
    let hat =
        StridedPosterior::new(t, s, Kappa::Ddpm)?.reverse_variance(ReverseVariance::FixedLarge)?;
    let refused = matches!(
        StridedPosterior::new(t, s, Kappa::Gamma(hat.sqrt())),
        Err(Refused::GammaOutOfRange { .. })
    );
    let oracle = "Ho et al.'s β̃ and mean in ᾱ and β, 20,000 random edges";
    Ok(vec![
        Claim::new(
            "η = 1 is DDPM's posterior variance",
            oracle,
            small,
            Accept::Below(1e-12),
        ),
        Claim::new(
            "β and β̃ of all 999 neighbouring knots of the linear table",
            "the table's betas",
            neighbours,
            Accept::Below(1e-12),
        ),
        Claim::new(
            "κ of η = 1 is κ of DDPM",
            "exact",
            eta,
            Accept::Below(1e-12),
        ),
        Claim::new(
            "κ = r is DDPM's posterior mean",
            oracle,
            mean,
            Accept::Below(1e-12),
        ),
        Claim::new(
            "the fixed-large variance is β",
            "exact",
            large,
            Accept::Below(1e-12),
        ),
        Claim::new(
            "σ̂² exceeds the variance of its κ by (σ_t² − σ_s²)/σ_s²: least ratio",
            "β/β̃ − 1",
            outside,
            Accept::Within(0.99, 1.01),
        ),
        Claim::new(
            "σ̂ > σ_s is refused as a γ (1 = yes)",
            "γ ≤ σ_s",
            f64::from(u8::from(refused)),
            Accept::AtLeast(1.0),
        ),
    ])
}

//! Rows 4 and 5: what an edge costs.

use std::f64::consts::TAU;

use diffusion_sampler::{
    posterior::{Kappa, ReverseVariance, StridedPosterior},
    schedule::{NoiseSchedule, TableSchedule},
};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use rand_distr::{Distribution, StandardNormal};

use super::super::Accept;
use super::super::Claim;
use super::common::{Outcome, edge, off};

/// Row 4.
pub(crate) fn elbo_weight() -> Outcome<Vec<Claim>> {
    const KAPPAS: u32 = 4001;
    let mut rng = SmallRng::seed_from_u64(4);
    let (mut least, mut at_ddpm, mut formula) = (f64::INFINITY, 0.0f64, 0.0f64);
    for _ in 0..200 {
        let (t, s) = edge(&mut rng)?;
        // (snr_s − snr_t)/2 = snr_s(1 − r²)/2 without the difference.
        let h = s.lambda() - t.lambda();
        let bound = 0.5 * (2.0 * s.lambda()).exp() * -f64::exp_m1(-2.0 * h);
        let ddpm = StridedPosterior::new(t, s, Kappa::Ddpm)?.elbo_weight()?;
        // The difference of the λ's is known to rounding of the λ's.
        let conditioning = f64::min(1.0, h / (1.0 + t.lambda().abs()));
        at_ddpm = at_ddpm.max(off(ddpm, bound, bound) * conditioning);
        for i in 0..KAPPAS {
            // κ uniform in [0, 1): γ = σ_s √((1 − κ)(1 + κ)).
            let kappa = f64::from(i) / f64::from(KAPPAS);
            let gamma = s.sigma() * ((1.0 - kappa) * (1.0 + kappa)).sqrt();
            let omega = StridedPosterior::new(t, s, Kappa::Gamma(gamma))?.elbo_weight()?;
            least = least.min((omega - ddpm) / ddpm);
            // ω = (α_s − (α_t/σ_t)√(σ_s² − γ²))²/(2γ²).
            let direct = (s.alpha() - t.alpha() / t.sigma() * s.sigma() * kappa).powi(2)
                / (2.0 * gamma * gamma);
            let scale = (s.alpha() / gamma).powi(2);
            formula = formula.max(off(omega, direct, scale));
        }
    }
    Ok(vec![
        Claim::new(
            "ω ≥ (snr_s − snr_t)/2 for every κ: least excess, relative",
            "200 random edges × 4001 κ",
            least,
            Accept::AtLeast(0.0),
        ),
        Claim::new(
            "ω = (snr_s − snr_t)/2 at κ = r",
            "snr_s (1 − r²)/2",
            at_ddpm,
            Accept::Below(1e-12),
        ),
        Claim::new(
            "ω is the square of its formula over 2γ²",
            "(α_s − (α_t/σ_t)√(σ_s² − γ²))²/(2γ²), coded independently",
            formula,
            Accept::Below(1e-12),
        ),
    ])
}

/// Row 5.
pub(crate) fn edge_kl() -> Outcome<Vec<Claim>> {
    let mut rng = SmallRng::seed_from_u64(5);
    let mut worst = 0.0f64;
    for _ in 0..20_000 {
        let (t, s) = edge(&mut rng)?;
        let kappa = Kappa::Gamma(s.sigma() * rng.random_range(0.01..1.0));
        let q = StridedPosterior::new(t, s, kappa)?;
        let dim = rng.random_range(1..6usize);
        let x: Vec<[f64; 3]> = (0..dim)
            .map(|_| [(); 3].map(|()| rng.random_range(-2.0..2.0)))
            .collect();
        // Variances far apart in both directions as well as close.
        let log_ratio: f64 = match rng.random_range(0..3) {
            0 => rng.random_range(-0.01..0.01),
            1 => rng.random_range(-3.0..3.0),
            _ => rng.random_range(-60.0..60.0),
        };
        let v_p = q.variance() * log_ratio.exp();
        // The generic KL of two Gaussians, element by element, from their means.
        let (mut kl, mut scale, mut error) = (0.0, 0.0, 0.0);
        for [x_t, x_0, d] in x {
            let mean = |x_0: f64| q.state_coefficient() * x_t + q.data_coefficient() * x_0;
            let shift = (mean(x_0) - mean(d)).powi(2) / (2.0 * v_p);
            let ratio = q.variance() / v_p;
            kl += 0.5 * (ratio - 1.0 - ratio.ln()) + shift;
            // The means are differences of terms this large.
            let rounding = (mean(x_0).abs() + mean(d).abs()) * (mean(x_0) - mean(d)).abs() / v_p;
            scale += 0.5 * (ratio + 1.0 + ratio.ln().abs()) + shift + rounding;
            error += (x_0 - d) * (x_0 - d);
        }
        worst = worst.max(off(q.kl(dim, error, v_p)?, kl, scale));
    }
    Ok(vec![
        Claim::new(
            "edge KL formula",
            "generic Gaussian KL, 20,000 random edges",
            worst,
            Accept::Below(1e-12),
        ),
        Claim::new(
            "edge KL by sampling, in standard errors",
            "10⁶ samples of ln q − ln p",
            monte_carlo()?,
            Accept::Within(-4.0, 4.0),
        ),
    ])
}

/// The distance of an edge's KL from the mean of ln q − ln p over 10⁶ samples of q, in standard
/// errors.
fn monte_carlo() -> Outcome<f64> {
    const SAMPLES: usize = 1_000_000;
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let (t, s) = (schedule.level(600.0)?, schedule.level(350.0)?);
    let q = StridedPosterior::new(t, s, Kappa::Eta(0.6))?;
    let v_p = q.reverse_variance(ReverseVariance::FixedLarge)?;
    let (x_t, x_0, d) = (0.7, -0.4, 0.3);
    let mean = |x_0: f64| q.state_coefficient() * x_t + q.data_coefficient() * x_0;
    let log_density = |x: f64, m: f64, v: f64| -0.5 * ((x - m).powi(2) / v + (TAU * v).ln());
    let mut rng = SmallRng::seed_from_u64(55);
    let (mut sum, mut squares) = (0.0, 0.0);
    for _ in 0..SAMPLES {
        let z: f64 = StandardNormal.sample(&mut rng);
        let x = mean(x_0) + q.gamma() * z;
        let value = log_density(x, mean(x_0), q.variance()) - log_density(x, mean(d), v_p);
        sum += value;
        squares += value * value;
    }
    let n = SAMPLES as f64;
    let average = sum / n;
    let error = ((squares / n - average * average) / n).sqrt();
    Ok((q.kl(1, (x_0 - d) * (x_0 - d), v_p)? - average) / error)
}

//! Random levels, edges and policies.

use std::error::Error;

use diffusion_sampler::{
    Error as Refused, NoiseLevel,
    noise::{NoiseKey, NoiseSource},
    posterior::Kappa,
};
use rand::{Rng, rngs::SmallRng};

pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

/// Which curve (α, σ)(λ) a random level lies on.
#[derive(Clone, Copy)]
pub(crate) enum Family {
    Preserving,
    Exploding,
    Flow,
    Any,
}

pub(crate) const FAMILIES: [Family; 4] = [
    Family::Preserving,
    Family::Exploding,
    Family::Flow,
    Family::Any,
];

impl Family {
    /// The level at half log-snr λ.
    pub(crate) fn level(
        self,
        time: f64,
        lambda: f64,
        rng: &mut SmallRng,
    ) -> Result<NoiseLevel, Refused> {
        let rho = (-lambda).exp();
        let alpha = match self {
            Self::Preserving => 1.0 / (1.0 + rho * rho).sqrt(),
            Self::Exploding => 1.0,
            Self::Flow => 1.0 / (1.0 + rho),
            Self::Any => rng.random_range(-2.0..2.0f64).exp(),
        };
        // Half of them by their logarithms, the other way to make a level.
        if rng.random() {
            NoiseLevel::new(time, alpha, alpha * rho)
        } else {
            NoiseLevel::from_logs(time, alpha.ln(), alpha.ln() - lambda)
        }
    }
}

/// `count` levels with random λ in [−6, 8], from noisy to clean.
pub(crate) fn chain(count: usize, rng: &mut SmallRng) -> Outcome<Vec<NoiseLevel>> {
    let family = FAMILIES[rng.random_range(0..FAMILIES.len())];
    let mut lambdas: Vec<f64> = (0..count).map(|_| rng.random_range(-6.0..8.0)).collect();
    lambdas.sort_by(f64::total_cmp);
    lambdas
        .iter()
        .enumerate()
        .map(|(k, &lambda)| Ok(family.level((count - k) as f64, lambda, rng)?))
        .collect()
}

/// A random policy for an edge onto `to`.
pub(crate) fn policy(to: &NoiseLevel, rng: &mut SmallRng) -> Kappa {
    match rng.random_range(0..9) {
        0 => Kappa::Ddim,
        1 => Kappa::Ddpm,
        2 => Kappa::Eta(rng.random_range(0.0..1.0)),
        3 => Kappa::Tau(rng.random_range(0.0..2.0)),
        4 => Kappa::Gamma(to.sigma() * rng.random_range(0.0..1.0)),
        5 => Kappa::CappedEta(rng.random_range(0.0..3.0)),
        6 => Kappa::FlowEta(rng.random_range(0.0..1.0)),
        7 => Kappa::Ancestral(rng.random_range(0.0..1.0)),
        _ => Kappa::Fresh,
    }
}

/// A random downward edge.
pub(crate) fn edge(rng: &mut SmallRng) -> Outcome<(NoiseLevel, NoiseLevel)> {
    let levels = chain(2, rng)?;
    Ok((levels[0], levels[1]))
}

/// |found − expected| relative to a scale.
pub(crate) fn off(found: f64, expected: f64, scale: f64) -> f64 {
    (found - expected).abs() / scale
}

/// Noise of ones, to read a coefficient off.
pub(crate) struct Ones;

impl NoiseSource<f32> for Ones {
    fn fill(&mut self, _: NoiseKey, _: u64, out: &mut [f32]) {
        out.fill(1.0);
    }
}

/// Noise of zeros.
pub(crate) struct Zeros;

impl<A: num_traits::Zero> NoiseSource<A> for Zeros {
    fn fill(&mut self, _: NoiseKey, _: u64, out: &mut [A]) {
        out.iter_mut().for_each(|z| *z = A::zero());
    }
}

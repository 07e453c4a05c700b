//! Rows 1 to 8 and 16: the strided posterior, predictions and first-order steps, on scalars and through the kernel.

use std::error::Error;
use std::f64::consts::TAU;

use diffusion_sampler::{
    Error as Refused, Grid, KeyedNoise, NoiseLevel, Prediction, RunError, Sampler, from_fn,
    noise::{NoiseKey, NoiseSource},
    oracle::Gaussian,
    plan::Plan,
    posterior::{Kappa, ReverseVariance, StridedPosterior},
    run::{DdimStep, Machine},
    schedule::{LambdaRange, NoiseSchedule, TableSchedule, VariancePreserving},
    solver::{DdimInversion, DpmSolverPlusPlus, FirstOrder, Heun, Path, SecondOrderForm, Solver},
    training::LossWeight,
};
use ndarray::{Array2, ArrayRef, Ix2};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, StandardNormal};

use super::{Accept, Claim};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The claims of this topic.
pub(crate) fn claims() -> Outcome<Vec<Claim>> {
    let mut claims = marginals()?;
    claims.extend([composition()?]);
    claims.extend(ancestral_variance()?);
    claims.extend(elbo_weight()?);
    claims.extend(edge_kl()?);
    claims.extend(predictions()?);
    claims.extend(changes_of_variables()?);
    claims.extend(same_methods()?);
    claims.extend(limits()?);
    Ok(claims)
}

/// Which curve (α, σ)(λ) a random level lies on.
#[derive(Clone, Copy)]
enum Family {
    Preserving,
    Exploding,
    Flow,
    Any,
}

const FAMILIES: [Family; 4] = [
    Family::Preserving,
    Family::Exploding,
    Family::Flow,
    Family::Any,
];

impl Family {
    /// The level at half log-snr λ.
    fn level(self, time: f64, lambda: f64, rng: &mut SmallRng) -> Result<NoiseLevel, Refused> {
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
fn chain(count: usize, rng: &mut SmallRng) -> Outcome<Vec<NoiseLevel>> {
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
fn policy(to: &NoiseLevel, rng: &mut SmallRng) -> Kappa {
    match rng.random_range(0..6) {
        0 => Kappa::Ddim,
        1 => Kappa::Ddpm,
        2 => Kappa::Eta(rng.random_range(0.0..1.0)),
        3 => Kappa::Tau(rng.random_range(0.0..2.0)),
        4 => Kappa::Gamma(to.sigma() * rng.random_range(0.0..1.0)),
        _ => Kappa::Fresh,
    }
}

/// A random downward edge.
fn edge(rng: &mut SmallRng) -> Outcome<(NoiseLevel, NoiseLevel)> {
    let levels = chain(2, rng)?;
    Ok((levels[0], levels[1]))
}

/// |found − expected| relative to a scale.
fn off(found: f64, expected: f64, scale: f64) -> f64 {
    (found - expected).abs() / scale
}

/// Row 1.
fn marginals() -> Outcome<Vec<Claim>> {
    const CHAINS: usize = 2000;
    const EDGES: usize = 30;
    let mut rng = SmallRng::seed_from_u64(1);
    let (mut scalars, mut plans, mut kernel, mut kernel_edge) = (0.0f64, 0.0f64, 0.0f64, 0.0f64);
    for _ in 0..CHAINS {
        let count = rng.random_range(2..=EDGES + 1);
        let levels = chain(count, &mut rng)?;
        let policies: Vec<Kappa> = levels[1..].iter().map(|to| policy(to, &mut rng)).collect();
        let data = rng.random_range(-2.0..2.0f64);
        let start = levels[0];
        let (mut mean, mut variance) = (start.alpha() * data, start.sigma() * start.sigma());
        let (mut mean_32, mut variance_32) = (mean, variance);
        for (pair, &kappa) in levels.windows(2).zip(&policies) {
            let q = StridedPosterior::new(pair[0], pair[1], kappa)?;
            let (state, own) = (q.state_coefficient(), q.data_coefficient());
            mean = state * mean + own * data;
            variance = state * state * variance + q.variance();
            // Relative to the sum of the terms: nothing of the result is lost in them, c_t and c_0 being positive.
            let (alpha, sigma) = (pair[1].alpha(), pair[1].sigma());
            scalars = scalars
                .max(off(mean, alpha * data, alpha * data.abs()))
                .max(off(variance, sigma * sigma, sigma * sigma));
            let (state, own, noise) = probe_kernel(pair[0], pair[1], kappa)?;
            mean_32 = state * mean_32 + own * data;
            variance_32 = state * state * variance_32 + noise * noise;
            // One edge from the exact law, and the chain, whose roundings add up.
            let (a, s) = (pair[0].alpha(), pair[0].sigma());
            kernel_edge = kernel_edge.max(off(state * a + own, alpha, alpha)).max(off(
                (state * s).powi(2) + noise * noise,
                sigma * sigma,
                sigma * sigma,
            ));
            kernel = kernel
                .max(off(mean_32, alpha * data, alpha * data.abs()))
                .max(off(variance_32, sigma * sigma, sigma * sigma));
        }
        // The same law from the plan: data of variance 0 are one x₀.
        let plan = FirstOrder::per_edge(policies).plan(&Path::without_schedule(
            &Grid::from_levels(levels.clone(), 1.0)?,
        ))?;
        let point = Gaussian::diagonal(&[data], &[0.0])?;
        for (law, level) in plan
            .moments(&point, &point.at_level(&start)?)?
            .iter()
            .zip(&levels[1..])
        {
            let (alpha, variance) = (level.alpha(), level.sigma() * level.sigma());
            plans = plans
                .max(off(law.mean()[0], alpha * data, alpha * data.abs()))
                .max(off(law.variances()[0], variance, variance));
        }
    }
    let claim = |text: &str, measured, limit| {
        Claim::new(
            format!("strided marginals match for any κ and any knots, {text}"),
            "mean and variance given x₀, 2000 random chains of up to 30 edges, λ in [−6, 8]",
            measured,
            Accept::Below(limit),
        )
    };
    Ok(vec![
        claim("scalars in f64", scalars, 1e-13),
        claim("the plan's moments", plans, 1e-13),
        claim("an edge through the f32 kernel", kernel_edge, 2e-6),
        claim("a chain through the f32 kernel", kernel, 2e-6),
    ])
}

/// Noise of ones, to read a coefficient off.
struct Ones;

impl NoiseSource<f32> for Ones {
    fn fill(&mut self, _: NoiseKey, _: u64, out: &mut [f32]) {
        out.fill(1.0);
    }
}

/// Noise of zeros.
struct Zeros;

impl<A: num_traits::Zero> NoiseSource<A> for Zeros {
    fn fill(&mut self, _: NoiseKey, _: u64, out: &mut [A]) {
        out.iter_mut().for_each(|z| *z = A::zero());
    }
}

/// The coefficients on x, x₀ and z as the f32 kernel applies them, read off unit arrays.
fn probe_kernel(from: NoiseLevel, to: NoiseLevel, kappa: Kappa) -> Outcome<(f64, f64, f64)> {
    let step = DdimStep::new(from, to, kappa)?;
    let mut x = Machine::new(Array2::from_shape_vec((1, 2), vec![1.0f32, 0.0])?, 0)?;
    let data = Array2::from_shape_vec((1, 2), vec![0.0f32, 1.0])?;
    step.tell(&mut x, Prediction::Data, &data, &mut Zeros, 0)?;
    let zero = Array2::<f32>::zeros((1, 1));
    let mut z = Machine::new(zero.clone(), 0)?;
    step.tell(&mut z, Prediction::Data, &zero, &mut Ones, 0)?;
    let (x, z) = (x.state(), z.state());
    Ok((
        f64::from(x[[0, 0]]),
        f64::from(x[[0, 1]]),
        f64::from(z[[0, 0]]),
    ))
}

/// Row 2.
fn composition() -> Outcome<Claim> {
    let mut rng = SmallRng::seed_from_u64(2);
    let mut worst = 0.0f64;
    for _ in 0..20_000 {
        let levels = chain(3, &mut rng)?;
        let (t, u, s) = (levels[0], levels[1], levels[2]);
        let first = StridedPosterior::new(t, u, policy(&u, &mut rng))?;
        let second = StridedPosterior::new(u, s, policy(&s, &mut rng))?;
        let both = first.compose(&second)?;
        // The two steps one after the other, by substitution.
        let state = second.state_coefficient() * first.state_coefficient();
        let (carried, own) = (
            second.state_coefficient() * first.data_coefficient(),
            second.data_coefficient(),
        );
        let variance = second.state_coefficient().powi(2) * first.variance() + second.variance();
        // One step with the product of the κ's.
        let kappa = first.kappa() * second.kappa();
        let direct = s.sigma() / t.sigma() * kappa;
        let total = s.sigma() * s.sigma();
        worst = worst
            .max(off(both.kappa(), kappa, 1.0))
            .max(off(both.state_coefficient(), state, s.sigma() / t.sigma()))
            .max(off(state, direct, s.sigma() / t.sigma()))
            .max(off(both.data_coefficient(), carried + own, s.alpha()))
            .max(off(both.variance(), variance, total))
            .max(off(both.variance(), total * (1.0 - kappa * kappa), total));
    }
    Ok(Claim::new(
        "κ multiplies under composition",
        "substitution of one step into the next, 20,000 random triples",
        worst,
        Accept::Below(1e-13),
    ))
}

/// Row 3.
fn ancestral_variance() -> Outcome<Vec<Claim>> {
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
        // σ̂² = β: more than the family's largest variance σ_s² for a small σ_s, and never the variance of the κ that is
        // its mean's.
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
            .max(off(ddpm.forward_variance(), beta, beta))
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

/// Row 4.
fn elbo_weight() -> Outcome<Vec<Claim>> {
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
fn edge_kl() -> Outcome<Vec<Claim>> {
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

/// The distance of an edge's KL from the mean of ln q − ln p over 10⁶ samples of q, in standard errors.
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

const PREDICTIONS: [Prediction; 6] = [
    Prediction::Noise,
    Prediction::Data,
    Prediction::Velocity,
    Prediction::Score,
    Prediction::Flow,
    Prediction::Edm { data_std: 0.7 },
];

/// The network's output for the estimate D at x, from each definition.
fn output_of(prediction: Prediction, level: &NoiseLevel, x: f64, d: f64) -> f64 {
    let (alpha, sigma) = (level.alpha(), level.sigma());
    let e = (x - alpha * d) / sigma;
    match prediction {
        Prediction::Noise => e,
        Prediction::Data => d,
        Prediction::Velocity => alpha * e - sigma * d,
        Prediction::Score => -e / sigma,
        Prediction::Flow => e - d,
        Prediction::Edm { data_std: s } => {
            let rho = sigma / alpha;
            let norm = (rho * rho + s * s).sqrt();
            (d - s * s / (norm * norm) * x / alpha) / (rho * s / norm)
        }
    }
}

/// Row 6.
fn predictions() -> Outcome<Vec<Claim>> {
    let mut rng = SmallRng::seed_from_u64(6);
    let (mut scalars, mut arrays, mut targets, mut weights) = (0.0f64, 0.0f64, 0.0f64, 0.0f64);
    for _ in 0..5000 {
        let (t, s) = edge(&mut rng)?;
        let kappa = policy(&s, &mut rng);
        let q = StridedPosterior::new(t, s, kappa)?;
        let step = DdimStep::new(t, s, kappa)?;
        let (x_0, e) = (rng.random_range(-2.0..2.0), rng.random_range(-2.0..2.0));
        let x = t.alpha() * x_0 + t.sigma() * e;
        for prediction in PREDICTIONS {
            // The training target at (x₀, ε) is what a perfect network returns: it means D = x₀ and E = ε.
            let target = prediction.target(&t)?;
            let output = target.data * x_0 + target.noise * e;
            let c = prediction.conversion(&t)?;
            let size = |a: f64, b: f64| (a * x).abs() + (b * output).abs();
            // Terms of the output cancel too (EDM's and the velocity's): their sum is what rounding acts on.
            let inner = (target.data * x_0).abs() + (target.noise * e).abs();
            let d_scale = (c.data.x * x).abs()
                + c.data.output.abs() * inner
                + (c.data.x * t.alpha() * x_0).abs()
                + (c.data.x * t.sigma() * e).abs();
            let e_scale = (c.noise.x * x).abs()
                + c.noise.output.abs() * inner
                + (c.noise.x * t.alpha() * x_0).abs()
                + (c.noise.x * t.sigma() * e).abs();
            targets = targets
                .max(off(c.data.of(x, output), x_0, d_scale))
                .max(off(c.noise.of(x, output), e, e_scale));
            // The same output from its definition in x and D.
            let again = output_of(prediction, &t, x, x_0);
            let estimate = c.data.of(x, again);
            let slack = size(c.data.x, c.data.output)
                + (c.data.output * t.alpha() * x_0 / t.sigma()).abs()
                + c.data.output.abs() * (x / t.sigma()).abs() * (1.0 + 1.0 / t.sigma());
            targets = targets.max(off(estimate, x_0, d_scale + slack));
            // One step.
            let expected = q.state_coefficient() * x + q.data_coefficient() * x_0;
            let found = q.state_coefficient() * x + q.data_coefficient() * c.data.of(x, output);
            let scale = (q.state_coefficient() * x).abs() + q.data_coefficient() * d_scale;
            scalars = scalars.max(off(found, expected, scale));
            let mut machine = Machine::new(Array2::from_elem((1, 1), x), 0)?;
            let out = Array2::from_elem((1, 1), output);
            step.tell(&mut machine, prediction, &out, &mut Zeros, 0)?;
            arrays = arrays.max(off(machine.state()[[0, 0]], expected, scale));
            // |output − target|² is its weight times |x₀ − D|²: move the output by one.
            let moved = c.data.of(x, output + 1.0) - c.data.of(x, output);
            let weight = LossWeight::Simple.on_data(prediction, &t)?;
            let slope = 1.0 / (weight.sqrt());
            weights = weights.max(off(moved.abs(), slope, slope + d_scale));
        }
    }
    Ok(vec![
        Claim::new(
            "ε, x₀, v, score, flow and EDM give back x₀ and ε",
            "definitions at x = αx₀ + σε, 5000 random levels",
            targets,
            Accept::Below(1e-13),
        ),
        Claim::new(
            "all six predictions give the same step, scalars",
            "c_t x + c_0 x₀, relative to the sum of the terms",
            scalars,
            Accept::Below(1e-13),
        ),
        Claim::new(
            "all six predictions give the same step, arrays in f64",
            "c_t x + c_0 x₀, relative to the sum of the terms",
            arrays,
            Accept::Below(1e-13),
        ),
        Claim::new(
            "a plain loss weighs the data error by its documented weight",
            "slope of D in the output",
            weights,
            Accept::Below(1e-13),
        ),
        Claim::new(
            "whole runs with all six predictions agree, three solvers",
            "the run with x₀-prediction, 20 steps",
            whole_runs()?,
            Accept::Below(1e-12),
        ),
    ])
}

/// The largest difference between runs of one sampler with different predictions of the same nonlinear D.
fn whole_runs() -> Outcome<f64> {
    // λ from −3: ε costs 1/α in digits of D, so that a run from λ = −10 would compare the rounding of ε.
    let schedule = VariancePreserving::default();
    let grid = Grid::uniform_lambda(&schedule, 20, LambdaRange::new(-3.0, 5.0)?)?;
    let solvers: [&dyn Solver; 3] = [
        &FirstOrder::new(Kappa::Eta(0.5)),
        &Heun::new(),
        &DpmSolverPlusPlus::new(),
    ];
    let mut worst = 0.0f64;
    for solver in solvers {
        let sampler = Sampler::along(&Path::without_schedule(&grid), solver)?;
        let run = |prediction: Prediction| {
            let mut model = from_fn(
                prediction,
                move |x: &ArrayRef<f64, Ix2>, level: &NoiseLevel, out: &mut ArrayRef<f64, Ix2>| {
                    let level = *level;
                    out.zip_mut_with(x, |o, &x| {
                        *o = output_of(prediction, &level, x, (x / (1.0 + level.sigma())).tanh());
                    });
                },
            );
            sampler.sample(&mut model, (4, 8), 66)
        };
        let expected = run(Prediction::Data)?;
        for prediction in PREDICTIONS {
            let found = run(prediction)?;
            worst = found
                .iter()
                .zip(&expected)
                .map(|(a, b)| (a - b).abs())
                .fold(worst, f64::max);
        }
    }
    Ok(worst)
}

/// Row 7.
fn changes_of_variables() -> Outcome<Vec<Claim>> {
    let mut rng = SmallRng::seed_from_u64(7);
    let mut worst = [0.0f64; 4];
    let solvers: [(&str, Box<dyn Solver>); 4] = [
        ("DDIM", Box::new(FirstOrder::ddim())),
        ("η = 0.5", Box::new(FirstOrder::new(Kappa::Eta(0.5)))),
        ("Heun", Box::new(Heun::new())),
        ("2M", Box::new(DpmSolverPlusPlus::new().with_tau(0.5)?)),
    ];
    for _ in 0..25 {
        let mut lambdas: Vec<f64> = (0..16).map(|_| rng.random_range(-4.0..5.0)).collect();
        lambdas.sort_by(f64::total_cmp);
        for (index, (_, solver)) in solvers.iter().enumerate() {
            let mut ends: Vec<Array2<f64>> = Vec::new();
            for family in [Family::Exploding, Family::Preserving, Family::Flow] {
                let mut levels: Vec<NoiseLevel> = lambdas
                    .iter()
                    .enumerate()
                    .map(|(k, &lambda)| family.level((16 - k) as f64, lambda, &mut rng))
                    .collect::<Result<_, _>>()?;
                levels.push(NoiseLevel::clean());
                let grid = Grid::from_levels(levels.clone(), 1.0)?;
                let sampler = Sampler::along(&Path::without_schedule(&grid), &**solver)?;
                // The same x/α at the start, and a model that depends on x/α and ρ alone.
                let alpha = levels[0].alpha();
                let x = Array2::from_shape_fn((3, 2), |(i, j)| {
                    alpha * (1.5 * i as f64 - 2.0 * j as f64 + 0.3) * (-lambdas[0]).exp()
                });
                let mut model = from_fn(
                    Prediction::Data,
                    |x: &ArrayRef<f64, Ix2>, level: &NoiseLevel, out: &mut ArrayRef<f64, Ix2>| {
                        let (alpha, rho) = (level.alpha(), level.rho());
                        out.zip_mut_with(x, |o, &x| *o = (x / alpha / (1.0 + rho * rho)).tanh());
                    },
                );
                let mut run = sampler.start_from(x, Prediction::Data, KeyedNoise::new(7))?;
                run.complete(&mut model)?;
                ends.push(run.into_state());
            }
            for other in &ends[1..] {
                for (a, b) in ends[0].iter().zip(other) {
                    worst[index] = worst[index].max((a - b).abs());
                }
            }
        }
    }
    Ok(solvers
        .iter()
        .zip(worst)
        .map(|((name, _), measured)| {
            Claim::new(
                format!("VP, VE and flow forms of one schedule give the same run, {name}"),
                "change of variables x/α, 25 random grids of 16 steps",
                measured,
                Accept::Below(1e-12),
            )
        })
        .collect())
}

/// Row 8.
fn same_methods() -> Outcome<Vec<Claim>> {
    let mut rng = SmallRng::seed_from_u64(8);
    let mut worst = [0.0f64; 5];
    for _ in 0..20_000 {
        let (t, s) = edge(&mut rng)?;
        let plan = FirstOrder::ddim().plan(&Path::without_schedule(&Grid::from_levels(
            vec![t, s],
            1.0,
        )?))?;
        let update = &plan.steps()[0].stages[0].update;
        let (x, d): (f64, f64) = (rng.random_range(-2.0..2.0), rng.random_range(-2.0..2.0));
        let found = update.state * x + update.data * d;
        let (a_t, s_t, a_s, s_s) = (t.alpha(), t.sigma(), s.alpha(), s.sigma());
        let e = (x - a_t * d) / s_t;
        let h = s.lambda() - t.lambda();
        // Σ|terms| of the ε forms, with E's own two terms.
        let e_size = (x.abs() + a_t * d.abs()) / s_t;
        let (rho_t, rho_s) = (s_t / a_t, s_s / a_s);
        let scale = a_s / a_t * x.abs() + a_s * rho_t * e_size;
        // DDIM as published: α_s x̂₀ + σ_s ε.
        worst[0] = worst[0].max(off(found, a_s * d + s_s * e, a_s * d.abs() + s_s * e_size));
        // Euler on dx̂/dρ = E, x̂ = x/α.
        worst[1] = worst[1].max(off(found, a_s * (x / a_t + (rho_s - rho_t) * e), scale));
        // Euler on dx/dσ = u = E − D along α = 1 − σ: only on that path.
        let (c_t, c_s) = (rho_t / (1.0 + rho_t), rho_s / (1.0 + rho_s));
        let y = x / (a_t + s_t);
        let flow = (a_s + s_s) * (y + (c_s - c_t) * (e - d));
        let flow_scale = (a_s + s_s) * (y.abs() + e_size + d.abs());
        worst[2] = worst[2].max(off(found, flow, flow_scale));
        // DPM-Solver-1: (α_s/α_t) x − σ_s (e^h − 1) ε.
        let dpm = a_s / a_t * x - s_s * h.exp_m1() * e;
        worst[3] = worst[3].max(off(found, dpm, scale));
        // DPM-Solver++-1: (σ_s/σ_t) x − α_s (e^−h − 1) D.
        let plus = s_s / s_t * x - a_s * (-h).exp_m1() * d;
        worst[4] = worst[4].max(off(found, plus, s_s / s_t * x.abs() + a_s * d.abs()));
    }
    let names = [
        "DDIM as published",
        "Euler in ρ",
        "flow Euler",
        "DPM-Solver-1",
        "DPM-Solver++-1",
    ];
    let mut claims: Vec<Claim> = names
        .into_iter()
        .zip(worst)
        .map(|(name, measured)| {
            Claim::new(
                format!("the κ = 1 step is {name}"),
                "its formula, 20,000 random edges, relative to the sum of the terms",
                measured,
                Accept::Below(1e-13),
            )
        })
        .collect();
    claims.extend(adams()?);
    Ok(claims)
}

/// ∫₀ʰ p e^(−p(h−v)) v^k dv/h^k for k = 0, 1: the moments of the exponential weight, by the series that converges for all z = ph:
/// μ_k = z e^−z Σ_j z^j/(j! (j + k + 1)).
fn weight_moment(k: u32, z: f64) -> f64 {
    let mut term = 1.0;
    let mut sum = 0.0;
    for j in 0..400u32 {
        sum += term / f64::from(j + k + 1);
        term *= z / f64::from(j + 1);
    }
    z * (-z).exp() * sum
}

/// 2M against exponential Adams in λ: w₀ + w₁ = μ₀ and −q w₁ = μ₁, the moment system of the nodes 0 and −h₀.
fn adams() -> Outcome<Vec<Claim>> {
    let mut rng = SmallRng::seed_from_u64(88);
    let (mut exact, mut midpoint, mut first) = (0.0f64, 0.0f64, 0.0f64);
    for _ in 0..3000 {
        let mut lambdas: Vec<f64> = (0..3).map(|_| rng.random_range(-6.0..8.0)).collect();
        lambdas.sort_by(f64::total_cmp);
        // λ is known to 1e-15, so that shorter steps are not known to 1e-13.
        let (h_0, h) = (lambdas[1] - lambdas[0], lambdas[2] - lambdas[1]);
        if h_0 < 0.05 || h < 0.05 {
            continue;
        }
        let family = FAMILIES[rng.random_range(0..FAMILIES.len())];
        let levels: Vec<NoiseLevel> = lambdas
            .iter()
            .enumerate()
            .map(|(k, &lambda)| family.level((3 - k) as f64, lambda, &mut rng))
            .collect::<Result<_, _>>()?;
        let grid = Grid::from_levels(levels.clone(), 1.0)?;
        let tau: f64 = [0.0, 0.4, 1.0][rng.random_range(0..3)];
        let (t, s) = (levels[1], levels[2]);
        let (h, q) = (
            s.lambda() - t.lambda(),
            (t.lambda() - levels[0].lambda()) / (s.lambda() - t.lambda()),
        );
        let z = (1.0 + tau * tau) * h;
        let (mu_0, mu_1) = (weight_moment(0, z), weight_moment(1, z));
        for form in [SecondOrderForm::Exact, SecondOrderForm::Midpoint] {
            let plan = DpmSolverPlusPlus::new()
                .with_tau(tau)?
                .with_form(form)
                .plan(&Path::without_schedule(&grid))?;
            let warm_up = &plan.steps()[0].stages[0].update;
            let sde = FirstOrder::new(Kappa::Tau(tau)).plan(&Path::without_schedule(&grid))?;
            let single = &sde.steps()[0].stages[0].update;
            first = first
                .max(off(warm_up.state, single.state, 1.0))
                .max(off(warm_up.data, single.data, 1.0))
                .max(off(warm_up.noise, single.noise, 1.0));
            let update = &plan.steps()[1].stages[0].update;
            // Over less than 1/16 of a step nothing is extrapolated.
            if q < 1.0 / 16.0 {
                let single = &sde.steps()[1].stages[0].update;
                first = first
                    .max(off(update.state, single.state, 1.0))
                    .max(off(update.data, single.data, 1.0))
                    .max(off(update.noise, single.noise, 1.0))
                    .max(update.history.len() as f64);
                continue;
            }
            let w_1 = match form {
                SecondOrderForm::Exact => -mu_1 / q,
                SecondOrderForm::Midpoint => -(1.0 - (-z).exp()) / (2.0 * q),
                other => return Err(format!("{other:?}").into()),
            };
            let w_0 = mu_0 - w_1;
            let scale = s.alpha() * (w_0.abs() + w_1.abs());
            let history = update.history.first().map_or(0.0, |entry| entry.1);
            let state = s.sigma() / t.sigma() * (-tau * tau * h).exp();
            let noise = s.sigma() * (-(-2.0 * tau * tau * h).exp_m1()).sqrt();
            let error = off(update.data, s.alpha() * w_0, scale)
                .max(off(history, s.alpha() * w_1, scale))
                .max(off(update.state, state, state))
                .max(off(update.noise, noise, s.sigma()));
            match form {
                SecondOrderForm::Exact => exact = exact.max(error),
                SecondOrderForm::Midpoint => midpoint = midpoint.max(error),
                other => return Err(format!("{other:?}").into()),
            }
        }
    }
    let oracle = "moment system of order 2 solved with the series of its moments, 3000 random pairs of steps";
    Ok(vec![
        Claim::new(
            "2M (exact form) is exponential Adams in λ, any τ",
            oracle,
            exact,
            Accept::Below(1e-13),
        ),
        Claim::new(
            "2M (published form) has its published weights",
            "its formula",
            midpoint,
            Accept::Below(1e-13),
        ),
        Claim::new(
            "2M's first step, and one far longer than the last, are first order with constant τ",
            "exact",
            first,
            Accept::Below(1e-300),
        ),
    ])
}

/// Row 16.
fn limits() -> Outcome<Vec<Claim>> {
    let mut rng = SmallRng::seed_from_u64(16);
    let policies = [
        Kappa::Ddim,
        Kappa::Ddpm,
        Kappa::Eta(0.5),
        Kappa::Eta(1.0),
        Kappa::Tau(0.3),
        Kappa::Tau(0.0),
        Kappa::Gamma(0.0),
        Kappa::Fresh,
    ];
    // Onto σ_s = 0, from any level.
    let mut clean = 0.0f64;
    for _ in 0..1000 {
        let (t, _) = edge(&mut rng)?;
        for kappa in policies {
            let q = StridedPosterior::new(t, NoiseLevel::clean(), kappa)?;
            clean = clean
                .max(q.state_coefficient().abs())
                .max((q.data_coefficient() - 1.0).abs())
                .max(q.gamma().abs());
        }
    }
    // From α_t = 0: r = 0, x_s = (σ_s/σ_t)κ x_t + α_s D + γz.
    let noise = NoiseLevel::new(1.0, 0.0, 1.0)?;
    let mut zero = 0.0f64;
    for _ in 0..1000 {
        let (_, s) = edge(&mut rng)?;
        for kappa in policies {
            let q = StridedPosterior::new(noise, s, kappa)?;
            let total = q.state_coefficient().powi(2) + q.variance();
            zero = zero
                .max(off(q.data_coefficient(), s.alpha(), s.alpha()))
                .max(off(total, s.sigma().powi(2), s.sigma().powi(2)));
        }
    }
    // κ = 0: nothing of x_t is kept, whichever way it is asked for.
    let mut fresh = 0.0f64;
    for _ in 0..1000 {
        let (t, s) = edge(&mut rng)?;
        for kappa in [Kappa::Fresh, Kappa::Gamma(s.sigma())] {
            let q = StridedPosterior::new(t, s, kappa)?;
            fresh = fresh
                .max(q.state_coefficient().abs())
                .max((q.data_coefficient() - s.alpha()).abs())
                .max((q.gamma() - s.sigma()).abs());
        }
    }
    let (runs, wrong) = extreme_runs()?;
    let exact = Accept::Below(1e-300);
    Ok(vec![
        Claim::new(
            "onto σ = 0 every policy returns D, exactly",
            "limit",
            clean,
            exact,
        ),
        Claim::new(
            "from α = 0 marginals match for every policy",
            "limit r = 0",
            zero,
            Accept::Below(1e-13),
        ),
        Claim::new("κ = 0 keeps nothing of x, exactly", "limit", fresh, exact),
        Claim::new(
            "runs with K = 1, zero terminal SNR and a clean end, every solver × prediction",
            "count",
            runs as f64,
            Accept::AtLeast(500.0),
        ),
        Claim::new(
            "of these neither finite nor refused with the right error",
            "ε, score and EDM are refused exactly where α = 0 is evaluated",
            wrong as f64,
            exact,
        ),
    ])
}

/// Every solver × prediction × extreme grid: (runs tried, runs that were neither finite nor rightly refused).
fn extreme_runs() -> Outcome<(usize, usize)> {
    let linear = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let schedules = [
        linear.clone(),
        linear.zero_terminal_snr()?,
        TableSchedule::cosine(1000)?.zero_terminal_snr()?,
        TableSchedule::from_betas(&[1.0])?,
    ];
    let solvers: Vec<Box<dyn Solver>> = vec![
        Box::new(FirstOrder::ddim()),
        Box::new(FirstOrder::ddpm()),
        Box::new(FirstOrder::new(Kappa::Eta(0.5))),
        Box::new(FirstOrder::new(Kappa::Tau(0.5))),
        Box::new(FirstOrder::new(Kappa::Fresh)),
        Box::new(FirstOrder::ddpm().with_reverse_variance(ReverseVariance::FixedLarge)),
        Box::new(FirstOrder::ddpm().with_reverse_variance(ReverseVariance::Explicit(0.1))),
        Box::new(Heun::new()),
        Box::new(DpmSolverPlusPlus::new()),
        Box::new(DpmSolverPlusPlus::new().with_form(SecondOrderForm::Exact)),
        Box::new(DpmSolverPlusPlus::new().guarded()),
        Box::new(DpmSolverPlusPlus::new().with_tau(1.0)?),
        Box::new(DdimInversion::new()),
    ];
    let (mut tried, mut wrong) = (0, 0);
    for schedule in &schedules {
        for steps in [1usize, 2, 3, 10] {
            let Ok(grid) = Grid::trailing(schedule, steps) else {
                continue;
            };
            for solver in &solvers {
                let sampler = Sampler::along(&Path::without_schedule(&grid), &**solver)?;
                for prediction in PREDICTIONS {
                    tried += 1;
                    wrong += usize::from(!extreme_run(&sampler, prediction));
                }
            }
        }
    }
    Ok((tried, wrong))
}

/// Whether a run is finite, or refused because it evaluates ε, score or EDM at α = 0.
fn extreme_run(sampler: &Sampler, prediction: Prediction) -> bool {
    let evaluates_pure_noise = |plan: &Plan| {
        plan.stages()
            .any(|stage| stage.evaluate.is_some_and(|level| level.alpha() == 0.0))
    };
    let undefined_there = matches!(
        prediction,
        Prediction::Noise | Prediction::Score | Prediction::Edm { .. }
    );
    let mut model = from_fn(
        prediction,
        |x: &ArrayRef<f64, Ix2>, _: &NoiseLevel, out: &mut ArrayRef<f64, Ix2>| {
            out.zip_mut_with(x, |o, &x| *o = (0.5 * x).tanh());
        },
    );
    // From a state that every plan can start from, inversion's too.
    let state = Array2::from_shape_fn((2, 3), |(i, j)| i as f64 - 0.4 * j as f64);
    let run = sampler
        .start_from(state, prediction, KeyedNoise::new(160))
        .map_err(RunError::Sampler)
        .and_then(|mut run| run.complete(&mut model).map(|()| run.into_state()));
    match run {
        Ok(x) => {
            x.iter().all(|value| value.is_finite())
                && !(undefined_there && evaluates_pure_noise(sampler.plan()))
        }
        Err(RunError::Sampler(Refused::PredictionUndefined { alpha, .. })) => {
            alpha == 0.0 && undefined_there && evaluates_pure_noise(sampler.plan())
        }
        Err(_) => false,
    }
}

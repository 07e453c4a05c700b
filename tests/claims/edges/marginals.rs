//! Rows 1 and 2: marginals and composition.

use diffusion_sampler::{
    Grid, NoiseLevel, Prediction,
    oracle::Gaussian,
    posterior::{Kappa, StridedPosterior},
    run::{DdimStep, Machine},
    solver::{FirstOrder, Path, Solver},
};
use ndarray::Array2;
use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::super::Accept;
use super::super::Claim;
use super::common::{Ones, Outcome, Zeros, chain, off, policy};

/// Row 1.
pub(crate) fn marginals() -> Outcome<Vec<Claim>> {
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
            // Relative to the sum of the terms: nothing of the result is lost in them, c_t and c_0
            // being positive.
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

/// The coefficients on x, x₀ and z as the f32 kernel applies them, read off unit arrays.
fn probe_kernel(from: NoiseLevel, to: NoiseLevel, kappa: Kappa) -> Outcome<(f64, f64, f64)> {
    let step = DdimStep::new(from, to, kappa)?;
    let mut x = Machine::new(Array2::from_shape_vec((1, 2), vec![1.0f32, 0.0])?, 0)?;
    let data = Array2::from_shape_vec((1, 2), vec![0.0f32, 1.0])?;
    step.tell(&mut x, Prediction::Data, &data, &mut Zeros, 0)?;
    let zero = Array2::<f32>::zeros((1, 1));
    let mut z = Machine::new(zero.clone(), 0)?;
    step.tell(&mut z, Prediction::Data, &zero, &mut Ones, 0)?;
    Ok((
        f64::from(x.state()[[0, 0]]),
        f64::from(x.state()[[0, 1]]),
        f64::from(z.state()[[0, 0]]),
    ))
}

/// Row 2.
pub(crate) fn composition() -> Outcome<Claim> {
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

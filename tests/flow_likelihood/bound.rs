//! The variational bound lies below the flow's mean log-likelihood.
//!
//! Both are compared at the last noisy level c. The bound's terms but for the decoder bound
//! E KL(q(x_c | x₀) ‖ p(x_c)), so that with the entropy of q(x_c | x₀)
//!
//! ```text
//! E ln p(x_c) ≥ −(prior + Σ edges + (d/2) ln(2πe σ_c²)),
//! ```
//!
//! the expectation being over the data's own distribution of x_c. The flow of the exact model has
//! at least that mean: it is the data's distribution but for its start, whose cost the prior
//! contains.

use diffusion_sampler::{
    Grid, NoiseLevel,
    likelihood::{Decoder, EdgeVariance, Elbo, FlowLikelihood},
    oracle::{Gaussian, GaussianMixture, Oracle},
    posterior::{Kappa, ReverseVariance},
    schedule::{NoiseSchedule, TableSchedule},
    solver::Path,
};
use ndarray::Array2;

use crate::common::Outcome;

/// Midpoints and width of a rule over the line: exact to rounding for smooth densities.
const HALF_WIDTH: f64 = 8.0;
const POINTS: usize = 801;

fn nodes() -> impl Iterator<Item = (f64, f64)> {
    let h = 2.0 * HALF_WIDTH / (POINTS - 1) as f64;
    (0..POINTS).map(move |k| (-HALF_WIDTH + h * k as f64, h))
}

/// E|x₀ − D(x_t)|² by quadrature.
fn data_error(data: &impl Oracle, level: &NoiseLevel) -> Result<f64, diffusion_sampler::Error> {
    let mut sum = 0.0;
    for (x, h) in nodes() {
        let density = data.log_density(&[x], level)?.exp();
        if density > 0.0 {
            sum += h * density * data.posterior_variance(&[x], level)?;
        }
    }
    Ok(sum)
}

/// E ln p of the flow at level c, over the data's own distribution there, by quadrature.
fn flow_mean(
    data: &impl Oracle,
    flow: &FlowLikelihood,
    level: &NoiseLevel,
) -> Result<f64, diffusion_sampler::Error> {
    // Where the density is below 1e-20 nothing is added.
    let mut kept = Vec::new();
    for (x, h) in nodes() {
        let density = data.log_density(&[x], level)?.exp();
        if density > 1e-20 {
            kept.push((x, h * density));
        }
    }
    let x = Array2::from_shape_fn((kept.len(), 1), |(row, _)| kept[row].0);
    let found = flow.exact(data, &x)?;
    let terms = kept.iter().zip(found.log_densities());
    Ok(terms.map(|((_, weight), log)| weight * log).sum())
}

/// The smallest gap over strides, policies and variances, with the number of cases.
fn smallest_gap(
    data: &impl Oracle,
    second_moment: f64,
) -> Result<(f64, usize), Box<dyn std::error::Error>> {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    // The last noisy level: wide enough for the rule's nodes.
    let last = 20.0;
    let ends = (schedule.level(1000.0)?, schedule.level(last)?);
    let lambda =
        |k: u32| ends.0.lambda() + (ends.1.lambda() - ends.0.lambda()) * f64::from(k) / 300.0;
    let mut lambdas: Vec<f64> = (0..=300).map(lambda).collect();
    lambdas[0] = ends.0.lambda();
    let grid = Grid::from_lambdas(&schedule, &lambdas)?;
    let flow = FlowLikelihood::new(&Path::new(&schedule, &grid)?)?;
    let mean = flow_mean(data, &flow, &ends.1)?;
    let variances = [
        EdgeVariance::Policy(ReverseVariance::Posterior),
        EdgeVariance::Policy(ReverseVariance::FixedLarge),
        EdgeVariance::Optimal,
    ];
    let (mut smallest, mut cases) = (f64::INFINITY, 0);
    for steps in [1, 2, 5, 20, 98] {
        let knot = |k: usize| 1000.0 - (1000.0 - last) * k as f64 / steps as f64;
        let times: Vec<f64> = (0..=steps).map(|k| knot(k).round()).chain([0.0]).collect();
        let grid = Grid::from_times(&schedule, &times)?;
        let noisy = &grid.levels()[..grid.steps()];
        let errors = noisy.iter().map(|level| data_error(data, level));
        let errors = errors.collect::<Result<Vec<_>, _>>()?;
        for kappa in [Kappa::Ddpm, Kappa::Eta(0.5), Kappa::Tau(0.7), Kappa::Fresh] {
            for variance in variances {
                let elbo = Elbo::new(&grid, kappa, variance)?;
                let bound = elbo.evaluate(1, &errors, second_moment, Decoder::Density(0.0))?;
                let sigma = ends.1.sigma();
                let entropy = 0.5 * (2.0 * std::f64::consts::PI * sigma * sigma).ln() + 0.5;
                let gap = mean + bound.nats() + entropy;
                // Where both are equal their errors may have either sign.
                assert!(gap >= -1e-8, "{steps} steps, {kappa}, {variance:?}: {gap}");
                smallest = smallest.min(gap);
                cases += 1;
            }
        }
    }
    Ok((smallest, cases))
}

#[test]
fn of_gaussian_data_it_is_below_and_tight_where_the_chain_is_the_datas_own() -> Outcome {
    let data = Gaussian::isotropic(&[0.5], 0.3)?;
    let (smallest, cases) = smallest_gap(&data, 0.55)?;
    assert_eq!(cases, 60);
    // With the best variance and DDPM's κ the chain is the data's own, and the bound is the flow's
    // mean, to the error of 300 steps.
    assert!(smallest.abs() < 1e-8, "{smallest}");
    Ok(())
}

#[test]
fn of_a_mixture_it_is_below() -> Outcome {
    let components = vec![
        Gaussian::isotropic(&[-1.5], 0.1)?,
        Gaussian::isotropic(&[1.0], 0.4)?,
    ];
    let data = GaussianMixture::new(&[0.3, 0.7], components, vec![0, 0])?;
    let second_moment = 0.3 * (2.25 + 0.1) + 0.7 * (1.0 + 0.4);
    let (smallest, _) = smallest_gap(&data, second_moment)?;
    // No isotropic Gaussian step is that of a mixture: never tight.
    assert!((1e-6..0.05).contains(&smallest), "{smallest}");
    Ok(())
}

#[test]
fn the_flows_mean_is_minus_the_entropy_of_the_noisy_data() -> Outcome {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let (noisy, clean) = (schedule.level(1000.0)?, schedule.level(20.0)?);
    let lambdas: Vec<f64> = (0..=300)
        .map(|k| noisy.lambda() + (clean.lambda() - noisy.lambda()) * f64::from(k) / 300.0)
        .collect();
    let grid = Grid::from_lambdas(&schedule, &lambdas)?;
    let flow = FlowLikelihood::new(&Path::new(&schedule, &grid)?)?;
    let data = Gaussian::isotropic(&[0.5], 0.3)?;
    let mean = flow_mean(&data, &flow, &grid.end())?;
    let variance = grid.end().marginal_variance(0.3);
    let entropy = 0.5 * (2.0 * std::f64::consts::PI * variance).ln() + 0.5;
    // The start is N(0, 1) in place of N(0.5α, 0.3α² + σ²): α² = 4e-5.
    assert!((mean + entropy).abs() < 1e-5, "{mean} and {entropy}");
    assert!(mean <= -entropy + 1e-8);
    Ok(())
}

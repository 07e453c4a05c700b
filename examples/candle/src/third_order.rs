//! A multistep solver of order three: two history slots, taken in turn.

use diffusion_sampler::plan::{Plan, Stage, Step, Store, Update};
use diffusion_sampler::posterior::{Kappa, StridedPosterior};
use diffusion_sampler::solver::{Path, Solver};
use diffusion_sampler::{Error, NoiseLevel};

/// x' = (σ'/σ)x + α' ∫₀ʰ e^(τ−h) D(τ) dτ, where D(τ) is the polynomial in λ through the estimates
/// of this step and of the two before it. The first steps and the one onto σ = 0 have fewer.
#[derive(Debug)]
pub struct ThirdOrder;

impl Solver for ThirdOrder {
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let edges: Vec<(NoiseLevel, NoiseLevel)> = path.edges().collect();
        let steps = edges.iter().enumerate().map(|(k, &(from, to))| {
            let lambdas = edges[..=k].iter().rev().map(|(from, _)| from.lambda());
            step(k, from, to, &lambdas.collect::<Vec<_>>())
        });
        Plan::new(steps.collect::<Result<_, _>>()?, 2)
    }

    fn order(&self) -> usize {
        3
    }
}

/// `lambdas` are those of this step's start and of all before it, latest first.
fn step(k: usize, from: NoiseLevel, to: NoiseLevel, lambdas: &[f64]) -> Result<Step, Error> {
    let first = StridedPosterior::new(from, to, Kappa::Ddim)?;
    let mut update = Update::from(first.transition()).storing(Store::data(k % 2));
    let h = first.step_size();
    if h.is_finite() {
        // ∫₀ʰ e^(τ−h) τⁿ dτ for n = 0, 1, 2, then Newton's form of the polynomial.
        let i0 = -(-h).exp_m1();
        let i1 = h - i0;
        let i2 = h * h - 2.0 * i1;
        let (before, two_before) = ((k + 1) % 2, k % 2);
        let weights = match *lambdas {
            [l0, l1, l2, ..] => {
                let (h1, h2) = (l0 - l1, l1 - l2);
                let (slope, curve) = (i1 / h1, (i2 + h1 * i1) / (h1 + h2));
                let (a, b) = (curve / h1, curve / h2);
                vec![(before, -slope - a - b), (two_before, b)]
            }
            [l0, l1] => vec![(before, -i1 / (l0 - l1))],
            _ => Vec::new(),
        };
        update.data -= to.alpha() * weights.iter().map(|(_, weight)| weight).sum::<f64>();
        update.history = weights
            .into_iter()
            .map(|(slot, w)| (slot, to.alpha() * w))
            .collect();
    }
    Ok(Step {
        from,
        to,
        stages: vec![Stage::evaluating(from, update)],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use diffusion_sampler::{Grid, oracle::Gaussian, schedule::VariancePreserving};

    fn error(steps: usize) -> Result<f64, Error> {
        let schedule = VariancePreserving::default();
        // The first step is of order one: a length of h^(3/2) makes its error h³.
        let start = -2.0 + (4.0 / steps as f64).powf(1.5);
        let h = (2.0 - start) / steps as f64;
        let rest = (0..=steps).map(|k| start + h * k as f64);
        let lambdas: Vec<f64> = std::iter::once(-2.0).chain(rest).collect();
        let grid = Grid::from_lambdas(&schedule, &lambdas)?;
        let plan = ThirdOrder.plan(&Path::new(&schedule, &grid)?)?;
        let data = Gaussian::centred(1, 0.3)?;
        let states = plan.moments(&data, &data.at_level(&grid.start())?)?;
        let wanted = data.at_level(&grid.end())?.variances()[0];
        Ok((states[steps].variances()[0].sqrt() - wanted.sqrt()).abs())
    }

    #[test]
    fn half_the_step_leaves_an_eighth_of_the_error() -> Result<(), Error> {
        let order = (error(160)? / error(320)?).log2();
        assert!((order - 3.0).abs() < 0.15, "order {order}");
        Ok(())
    }
}

//! What a network's second output makes of a step's noise, on any kind of array.

use super::driver::Driver;
use crate::error::Error;
use crate::posterior::learned_range;
use crate::real::Real;

/// What errors call a network's second output.
pub(super) const NAME: &str = "variance output";

impl Driver {
    /// ln(β/γ²) of the current step, where γ is its own noise; 0 onto σ = 0, where none is added.
    pub(super) fn learned_range(&self) -> Result<f64, Error> {
        let index = self.step();
        let Some(step) = self.plan().steps().get(index) else {
            return Err(Error::RunFinished { steps: index });
        };
        let [stage] = step.stages.as_slice() else {
            return Err(Error::StageCount {
                step: index,
                found: step.stages.len(),
                max: 1,
            });
        };
        if step.to.is_clean() {
            return Ok(0.0);
        }
        let (update, (from, to)) = (&stage.update, (step.from, step.to));
        let range = learned_range(from, to, update.noise)?;
        // A step with a history has its κ not in the state's coefficient alone.
        let known = update.history.is_empty();
        match known && !is_posterior(update.state * from.sigma(), update.noise, to.sigma()) {
            false => Ok(range),
            true => Err(Error::DegenerateEdge {
                from: from.time(),
                to: to.time(),
                requirement: "be planned with v_p = gamma^2: a learned variance begins at gamma^2",
            }),
        }
    }
}

/// Whether `noise`² is the variance γ² = σ_s²(1 − κ²) of the posterior whose mean has
/// κσ_s = `kept`, to 1e-9 of itself: a γ from a table of betas is off by more than rounding.
fn is_posterior(kept: f64, noise: f64, sigma: f64) -> bool {
    let (kappa, gamma) = (kept / sigma, noise / sigma);
    let excess = kappa * kappa + gamma * gamma - 1.0;
    excess.abs() <= 1e-9 * gamma * gamma + 1e-13
}

/// √(v/γ²) = exp(½u·ln(β/γ²)), u = (f + 1)/2.
pub(super) fn factor<A: Real>(f: A, range: f64) -> A {
    A::cast(libm::exp(0.25 * (f.widen() + 1.0) * range))
}

#[cfg(test)]
mod tests {
    use super::is_posterior;

    #[test]
    fn a_variance_is_the_posteriors_to_a_part_in_a_billion() {
        let sigma = 0.7;
        // γ² as a share of σ², its relative error that is accepted, and one that is not.
        for (share, accepted, refused) in [
            (0.5, 5e-10, 2e-9),
            (0.9, 8e-10, 1.5e-9),
            // 1e-13 of σ² in all.
            (1e-6, 8e-8, 2e-7),
        ] {
            let kept = f64::sqrt(1.0 - share) * sigma;
            for (error, expected) in [
                (0.0, true),
                (accepted, true),
                (-accepted, true),
                (refused, false),
                (-refused, false),
            ] {
                let noise = (share * (1.0 + error)).sqrt() * sigma;
                let found = is_posterior(kept, noise, sigma);
                assert_eq!(found, expected, "{share} {error}");
            }
        }
        assert!(is_posterior(sigma, 0.0, sigma));
    }
}

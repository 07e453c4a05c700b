//! Single steps over the knots of a list, with noise.

use crate::error::Error;
use crate::level::NoiseLevel;
use crate::plan::{Plan, Stage, Step, Store, Update};
use crate::posterior::{Kappa, StridedPosterior};
use crate::solver::{GroupedPart, Path};
use crate::special::phi;

/// The shortest distance of two knots of a group, in steps: as without noise.
const MIN_RATIO: f64 = 1.0 / 16.0;

/// Single-step SDE-DPM-Solver++ on groups of edges: each edge of a group leads from its first knot,
/// with fresh noise.
///
/// ```text
/// x_s = (σ_s/σ_t) e^(−h) x + α_s ((1 − e^−z) D + w₁ D' + w₂ D'') + σ_s √(1 − e^(−2h)) ζ
/// ```
///
/// x and D at the group's first knot, h from there, z = 2h (τ = 1), D' and D'' from D at the knots
/// within. The first edge keeps x (slot 0), and each keeps its D.
#[derive(Clone, Debug)]
pub(super) struct GroupedNoise {
    /// The orders of the path's edges.
    pub(super) orders: Vec<usize>,
    /// Whether the weights are exact integrals.
    pub(super) exact: bool,
    pub(super) part: GroupedPart,
    /// Whether the second difference has the library's sign.
    pub(super) sign: bool,
}

impl GroupedNoise {
    pub(super) fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let mut group: Vec<NoiseLevel> = Vec::new();
        let mut steps = crate::memory::reserve(&[self.orders.len()])?;
        for (index, (from, to)) in path.edges().enumerate() {
            let alone = self.orders.get(index) == Some(&1);
            group.push(from);
            if alone || !self.reaches(&group, &to) {
                group = vec![from];
            }
            let goes_on = self.orders.get(index + 1).is_some_and(|&order| order > 1);
            let update = self.update(&group, to)?;
            let stages = match group.len() {
                // The state at the group's first knot is kept before anything else.
                1 if goes_on => vec![
                    keep_state(),
                    Stage::evaluating(from, update.storing(Store::data(1))),
                ],
                nodes if goes_on => {
                    vec![Stage::evaluating(from, update.storing(Store::data(nodes)))]
                }
                _ => vec![Stage::evaluating(from, update)],
            };
            crate::memory::push(&mut steps, Step { from, to, stages })?;
        }
        let to = path.grid().end();
        let again = self.part.idle_end && self.orders.last().is_some_and(|&order| order > 1);
        if again {
            group.push(to);
            let update = self.update(&group, to)?;
            if let Some(last) = steps.last_mut() {
                last.stages.push(Stage::evaluating(to, update));
            }
        }
        Plan::of_steps(steps)
    }

    /// Whether the knots and `to` are far enough from each other.
    fn reaches(&self, knots: &[NoiseLevel], to: &NoiseLevel) -> bool {
        let Some(first) = knots.first() else {
            return false;
        };
        let least = match self.part.unbounded {
            true => 0.0,
            false => MIN_RATIO * (to.lambda() - first.lambda()),
        };
        let far = |pair: &[NoiseLevel]| match pair {
            [one, two] => two.lambda() - one.lambda() >= least,
            _ => true,
        };
        least.is_finite() && knots.windows(2).all(far)
    }

    /// The step from the first of `knots`, with D at all of them.
    fn update(&self, knots: &[NoiseLevel], to: NoiseLevel) -> Result<Update, Error> {
        let (Some(&first), Some(&at)) = (knots.first(), knots.last()) else {
            return Ok(Update::default());
        };
        let posterior = StridedPosterior::new(first, to, Kappa::Tau(1.0))?;
        let whole = Update::from(posterior.transition());
        if knots.len() == 1 {
            return Ok(whole);
        }
        let (h, alpha) = (to.lambda() - first.lambda(), to.alpha());
        let z = 2.0 * h;
        let place = |knot: &NoiseLevel| (knot.lambda() - first.lambda()) / h;
        let linear = z * phi(2, -z);
        // Of D at the knots after the first.
        let weights: Vec<f64> = match (knots, self.exact) {
            ([_, one], false) => vec![-libm::expm1(-z) / (2.0 * place(one))],
            ([_, one], true) => vec![linear / place(one)],
            ([_, _, two], false) => vec![0.0, linear / place(two)],
            ([_, one, two], _) => {
                let (u, v) = (place(one), place(two));
                // Twice the divided difference is D''.
                let turned = if self.sign { 1.0 } else { 0.0 };
                let second = 2.0 * (z * phi(3, -z) - turned);
                vec![
                    (second - v * linear) / (u * (u - v)),
                    (second - u * linear) / (v * (v - u)),
                ]
            }
            _ => Vec::new(),
        };
        let last = weights.last().copied().unwrap_or(0.0);
        let rest: f64 = weights.iter().sum();
        let mut history = vec![(0, whole.state), (1, whole.data - alpha * rest)];
        if let [inner, _] = weights.as_slice() {
            history.push((2, alpha * inner));
        }
        debug_assert!(at.lambda() >= first.lambda());
        Ok(Update {
            state: 0.0,
            data: alpha * last,
            history,
            noise: whole.noise,
            store: None,
        })
    }
}

/// A stage that changes nothing, and keeps the state in slot 0.
fn keep_state() -> Stage {
    Stage {
        evaluate: None,
        update: Update {
            state: 1.0,
            store: Some(Store::state(0)),
            ..Update::default()
        },
    }
}

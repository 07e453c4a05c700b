//! What solvers that weigh slopes have in common: the slopes are E on the axis ρ, or the flow's
//! velocity E − D on the axis of flow time.

use super::Path;
use super::extrapolation;
use super::history::History;
use super::weights::MAX_NODES;
use crate::error::Error;
use crate::level::NoiseLevel;
use crate::memory::{Copied, Listed};
use crate::plan::{Plan, Step, Store, Update};
use crate::posterior::{Kappa, StridedPosterior, step_size};

/// The axis τ = σ/a on which x/a has the slope (x − aD)/σ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum Axis {
    /// τ = ρ, a = α, slope E.
    #[default]
    Rho,
    /// τ = σ/(α + σ), a = α + σ, slope E − D: the time and the velocity of a rectified flow.
    FlowTime,
}

/// The weights of the slopes: at the step's start, then at the knots before it, the newest first.
pub(super) type Weights = [f64; MAX_NODES];

/// The slope at the step's start alone.
pub(super) const FIRST_ORDER: Weights = [1.0, 0.0, 0.0, 0.0, 0.0];

impl Axis {
    /// a.
    pub(super) fn scale(self, level: &NoiseLevel) -> f64 {
        match self {
            Self::Rho => level.alpha(),
            Self::FlowTime => level.alpha() + level.sigma(),
        }
    }

    /// τ_from − τ_to, without subtracting them: τ_from (α_to/a_to)(1 − e^−h).
    pub(super) fn distance(self, from: &NoiseLevel, to: &NoiseLevel) -> f64 {
        let towards_clean = to.alpha() / self.scale(to) * -libm::expm1(-step_size(from, to));
        from.sigma() / self.scale(from) * towards_clean
    }

    /// Where knots before `from` lie, in units of the step `from` → `to`: 0 is its start, 1 its end.
    pub(super) fn nodes(self, from: &NoiseLevel, to: &NoiseLevel, past: &[NoiseLevel]) -> Vec<f64> {
        let step = self.distance(from, to);
        past.iter()
            .map(|knot| -self.distance(knot, from) / step)
            .collect()
    }

    /// Whether there is a slope at a level: ρ = ∞ has none.
    fn has_slope(self, level: &NoiseLevel) -> bool {
        self.scale(level) > 0.0
    }

    /// Keeps the slope at `level`.
    fn store(self, slot: usize, level: &NoiseLevel) -> Store {
        match self {
            Self::Rho => Store::noise(slot),
            Self::FlowTime => {
                let data = -self.scale(level) / level.sigma();
                Store::linear(slot, 1.0 / level.sigma(), data)
            }
        }
    }

    /// x'/a' = x/a + (τ' − τ)(w·slope + Σ w_j H_j): DDIM's step where w = 1 and nothing else enters.
    ///
    /// With DDIM's coefficients s on x and c on D: x' = ((1 − w)a'/a + ws)x + wcD − (σ/a)cΣ w_j H_j.
    /// A step so wide that one of them overflows is DDIM's.
    pub(super) fn update(
        self,
        from: &NoiseLevel,
        to: &NoiseLevel,
        weight: f64,
        past: impl IntoIterator<Item = (usize, f64)>,
    ) -> Result<Update, Error> {
        let ddim = StridedPosterior::new(*from, *to, Kappa::Ddim)?;
        let (state, data) = (ddim.state_coefficient(), ddim.data_coefficient());
        let (scale, stretch) = (self.scale(from), self.scale(to) / self.scale(from));
        let history: Vec<(usize, f64)> = past
            .into_iter()
            .filter(|&(_, weight)| weight != 0.0)
            .map(|(slot, weight)| (slot, -(from.sigma() / scale) * data * weight))
            .listed()?;
        // At α = 0 the stretch is infinite on ρ, and its weight 0.
        let kept = if weight == 1.0 {
            0.0
        } else {
            (1.0 - weight) * stretch
        };
        let update = Update {
            state: kept + weight * state,
            data: weight * data,
            history,
            ..Update::default()
        };
        Ok(if update.is_finite() {
            update
        } else {
            Update::from(ddim.transition())
        })
    }
}

/// A multistep solver of slopes: one evaluation a step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slopes {
    pub(super) axis: Axis,
    /// How many slopes before the step's own enter.
    pub(super) depth: usize,
    /// Whether the step onto σ = 0 weighs slopes too. Else it returns D.
    pub(super) extrapolated_end: bool,
}

impl Slopes {
    /// Whether the step onto `to` weighs earlier slopes.
    pub(super) fn weighs(&self, to: &NoiseLevel) -> bool {
        self.extrapolated_end || !to.is_clean()
    }

    /// For each edge, whether a later step may read the slope at its start.
    pub(super) fn kept(&self, path: &Path<'_>) -> Result<Vec<bool>, Error> {
        let last_reader = path.edges().rposition(|(_, to)| self.weighs(&to));
        path.edges()
            .enumerate()
            .map(|(index, (from, _))| {
                let read = last_reader.is_some_and(|last| index < last);
                read && self.axis.has_slope(&from)
            })
            .listed()
    }

    /// The plan, with the weights that `rule` gives for an edge and the knots before it, the newest
    /// first and at least one.
    pub(super) fn plan(
        &self,
        path: &Path<'_>,
        rule: impl Fn(&NoiseLevel, &NoiseLevel, &[NoiseLevel]) -> Weights,
    ) -> Result<Plan, Error> {
        let mut history = History::new(0, self.depth);
        let mut steps = crate::memory::reserve(&[path.edges().len()])?;
        for ((from, to), keep) in path.edges().zip(self.kept(path)?) {
            let held: Vec<(usize, NoiseLevel)> = history.held().copy()?;
            let past: Vec<NoiseLevel> = held.iter().map(|&(_, level)| level).listed()?;
            let weights = if past.is_empty() || !self.weighs(&to) {
                FIRST_ORDER
            } else {
                rule(&from, &to, &past)
            };
            let [first, rest @ ..] = weights;
            let earlier = held.iter().zip(rest).map(|(&(slot, _), w)| (slot, w));
            let mut update = self.axis.update(&from, &to, first, earlier)?;
            if keep {
                update.store = history.push(from).map(|slot| self.axis.store(slot, &from));
            }
            crate::memory::push(&mut steps, Step::simple(from, to, update))?;
        }
        Plan::of_steps(steps)
    }
}

/// The shortest distance of two nodes of an interpolating rule, in steps. A difference quotient over a
/// shorter one multiplies rounding, and what a network adds to it. In ρ the steps of the usual grids get
/// shorter towards the clean end, so that it binds nowhere but in a step onto σ = 0.
pub(super) const MIN_RATIO: f64 = extrapolation::MIN_RATIO;

/// Nodes farther away than this are left out: their weight is nothing, and their powers overflow.
const FARTHEST: f64 = 1e30;

/// The weights of a rule on the nodes 0 and `past` (newest first, all negative), from those of `past`
/// that are at least `apart` steps from the one before; the others get weight 0.
pub(super) fn on_nodes_apart(
    past: &[f64],
    apart: f64,
    rule: impl Fn(&[f64]) -> [f64; MAX_NODES],
) -> Weights {
    let (mut nodes, mut places) = (vec![0.0], vec![0]);
    let mut newest = 0.0;
    for (place, &node) in past.iter().enumerate() {
        // Equivalent mutant: replace > with >=: at FARTHEST a node's weight is nothing, too.
        if newest - node >= apart && node > -FARTHEST {
            newest = node;
            nodes.push(node);
            places.push(place + 1);
        }
    }
    let mut weights = [0.0; MAX_NODES];
    for (place, weight) in places.into_iter().zip(rule(&nodes)) {
        if let Some(entry) = weights.get_mut(place) {
            *entry = weight;
        }
    }
    weights
}

/// The weights of slopes at evenly spaced knots: Σ_j (γ_j + cγ_{j−1})∇^j, j < `count`, with γ = 1, ½,
/// 5/12, 3/8 those of Adams and Bashforth and ∇ the backward difference. c = 0 is their own method.
pub(super) fn even_adams(count: usize, c: f64) -> Weights {
    const GAMMA: [f64; 4] = [1.0, 0.5, 5.0 / 12.0, 0.375];
    let mut weights = [0.0; MAX_NODES];
    let mut before = 0.0;
    for (j, gamma) in GAMMA.into_iter().enumerate().take(count) {
        // ∇^j f = Σ_i (−1)^i (j over i) f_{−i}.
        let mut binomial = gamma + c * before;
        for (i, weight) in weights.iter_mut().enumerate().take(j + 1) {
            *weight += binomial;
            binomial *= -((j - i) as f64) / (i as f64 + 1.0);
        }
        before = gamma;
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::Axis;
    use crate::error::Error;
    use crate::level::NoiseLevel;

    #[test]
    fn distances_are_differences_on_the_axis() -> Result<(), Error> {
        // Of a flow, τ = σ.
        for (from, to) in [(1.0, 0.5), (0.75, 0.25), (0.5, 0.0), (0.25, 0.75)] {
            let level = |time: f64| NoiseLevel::new(time, 1.0 - time, time);
            let (t, s) = (level(from)?, level(to)?);
            let found = Axis::FlowTime.distance(&t, &s);
            assert!((found - (from - to)).abs() < 1e-15, "{from} {to}: {found}");
            if t.alpha() > 0.0 {
                let found = Axis::Rho.distance(&t, &s);
                let expected = from / (1.0 - from) - to / (1.0 - to);
                assert!((found - expected).abs() < 1e-14, "{from} {to}: {found}");
            }
        }
        Ok(())
    }
}

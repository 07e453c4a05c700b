//! Single-step DPM-Solvers of orders 1 to 3: what their stages have in common.

use super::SecondOrderForm;
use super::weights::exponential;
use crate::error::Error;
use crate::level::NoiseLevel;
use crate::memory::Listed;
use crate::plan::{Stage, Store, Update};
use crate::posterior::{Kappa, StridedPosterior, step_size};

/// The most estimates within a step beside the one at its start.
const NODES: usize = 2;

/// What D at the nodes adds to a state, beside D at the step's start held constant:
/// α Σ gain_j (D_j − D_0).
pub(super) type Gains = [f64; NODES];

/// The weights of a step by the estimates at its start and at one or two nodes within.
///
/// Every state of a step is the first-order solution, which moves along D_0 (and along E_0, which
/// is the same line), and gains. So a stage needs no state but the current one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rule {
    /// Whether E is interpolated (DPM-Solver), else D (DPM-Solver++).
    noise: bool,
    /// The form with one node, and with two.
    forms: [SecondOrderForm; NODES],
}

impl Rule {
    /// DPM-Solver-2 and -3 as published, by order.
    pub(super) fn published(order: usize) -> Self {
        use SecondOrderForm::{Exact, Midpoint};
        let first = if order == 2 { Midpoint } else { Exact };
        Self {
            noise: true,
            forms: [first, Midpoint],
        }
    }

    /// The same form for every number of nodes.
    pub(super) fn of(noise: bool, form: SecondOrderForm) -> Self {
        Self {
            noise,
            forms: [form; NODES],
        }
    }

    /// The stage that evaluates at the last of `knots`, the step's start and its nodes so far, and
    /// leads to `to`; with the gains of the state before it, and after. The estimates before the last
    /// are in the slots from 0 on. `None` where a weight overflows.
    pub(super) fn update(
        self,
        knots: &[NoiseLevel],
        before: Gains,
        to: NoiseLevel,
    ) -> Result<Option<(Update, Gains)>, Error> {
        let (start, at) = match knots {
            [start, .., at] => (start, at),
            [start] => (start, start),
            [] => return Ok(None),
        };
        let nodes = knots.len() - 1;
        let after = self.gains(start, &knots[1..], &to, before);
        let straight = StridedPosterior::new(*at, to, Kappa::Ddim)?;
        let (state, first) = (straight.state_coefficient(), straight.data_coefficient());
        // The state takes its gains along.
        let mut weights = [0.0; NODES];
        for ((weight, after), before) in weights.iter_mut().zip(after).zip(before) {
            *weight = to.alpha() * after - state * at.alpha() * before;
        }
        let rest = first - weights.iter().sum::<f64>();
        let mut all = std::iter::once(rest).chain(weights).take(nodes + 1);
        let history: Vec<(usize, f64)> = all.by_ref().take(nodes).enumerate().listed()?;
        let data = all.next().unwrap_or(0.0);
        let update = Update {
            state,
            data,
            history,
            ..Update::default()
        };
        // What overflows is in the rest of the sum too.
        Ok(rest.is_finite().then_some((update, after)))
    }

    /// The gains at `to`, given those at the last node.
    fn gains(
        self,
        start: &NoiseLevel,
        nodes: &[NoiseLevel],
        to: &NoiseLevel,
        before: Gains,
    ) -> Gains {
        let h = step_size(start, to);
        let at = |node: &NoiseLevel| step_size(start, node) / h;
        // Of D, or of E: the interpolant against e^−(h − v), or e^(h − v).
        let sign = if self.noise { -1.0 } else { 1.0 };
        let z = sign * h;
        let weights = match (nodes, self.forms) {
            ([one], [SecondOrderForm::Midpoint, _]) => [-libm::expm1(-z) / (2.0 * at(one)), 0.0],
            ([one], [SecondOrderForm::Exact, _]) => [exponential(z, &[0.0, at(one)])[1], 0.0],
            ([_, two], [_, SecondOrderForm::Midpoint]) => [0.0, exponential(z, &[0.0, at(two)])[1]],
            ([one, two], [_, SecondOrderForm::Exact]) => {
                let weights = exponential(z, &[0.0, at(one), at(two)]);
                [weights[1], weights[2]]
            }
            _ => [0.0; NODES],
        }
        .map(|weight| sign * weight);
        // x̂_s has −ρ_s Σ weight_j (E_j − E_0). E_1 − E_0 = −(D_1 − D_0)/ρ_1, for u_1 lies on the line
        // of E_0; E_2 − E_0 = (−(D_2 − D_0) + gain (D_1 − D_0))/ρ_2.
        let ratio = |node: &NoiseLevel| libm::exp(-step_size(node, to));
        match nodes {
            [one] if self.noise => [weights[0] * ratio(one), 0.0],
            [one, two] if self.noise => {
                let second = weights[1] * ratio(two);
                [weights[0] * ratio(one) - second * before[0], second]
            }
            _ => weights,
        }
    }
}

/// The stages of a step: `levels` are its start, its nodes and its end. First order where a weight
/// overflows.
pub(super) fn stages(rule: Rule, levels: &[NoiseLevel]) -> Result<Vec<Stage>, Error> {
    if let Some((stages, _)) = higher(rule, levels)? {
        return Ok(stages);
    }
    let (from, to) = (levels[0], levels[levels.len() - 1]);
    let straight = StridedPosterior::new(from, to, Kappa::Ddim)?;
    Ok(vec![Stage::evaluating(from, straight.transition().into())])
}

/// The same and the gains at the end; `None` where a weight overflows.
fn higher(rule: Rule, levels: &[NoiseLevel]) -> Result<Option<(Vec<Stage>, Gains)>, Error> {
    let mut gains = Gains::default();
    let mut stages = crate::memory::reserve(&[levels.len()])?;
    for (slot, pair) in levels.windows(2).enumerate() {
        let Some((update, after)) = rule.update(&levels[..=slot], gains, pair[1])? else {
            return Ok(None);
        };
        let inner = slot + 2 < levels.len();
        let store = inner.then(|| Store::data(slot));
        stages.push(Stage::evaluating(pair[0], Update { store, ..update }));
        gains = after;
    }
    Ok(Some((stages, gains)))
}

/// DPM-Solver of one order, and that of the order below by the same estimates.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    /// The stages of the higher order; D of all of them are kept, in the slots from 0 on.
    pub(crate) stages: Vec<Stage>,
    /// x_low − x_high, by slots.
    pub(crate) difference: Vec<(usize, f64)>,
}

impl Pair {
    /// A step with one node or two; `None` where a weight overflows.
    pub(crate) fn new(levels: &[NoiseLevel]) -> Result<Option<Self>, Error> {
        let order = levels.len() - 1;
        let (start, end) = (&levels[0], &levels[order]);
        let Some((mut stages, high)) = higher(Rule::published(order), levels)? else {
            return Ok(None);
        };
        if let Some(last) = stages.last_mut() {
            last.update.store = Some(Store::data(order - 1));
        }
        let low = Rule::published(2).gains(start, &levels[1..order - 1], end, Gains::default());
        let weights = [0, 1].map(|node: usize| end.alpha() * (low[node] - high[node]));
        let nodes = weights.into_iter().take(order - 1).enumerate();
        let mut difference: Vec<_> = nodes.map(|(node, weight)| (node + 1, weight)).listed()?;
        difference.push((0, -weights.iter().sum::<f64>()));
        Ok(Some(Self { stages, difference }))
    }
}

#[cfg(test)]
mod tests {
    use super::{Rule, SecondOrderForm, stages};
    use crate::error::Error;
    use crate::level::NoiseLevel;

    #[test]
    fn every_stage_but_the_last_keeps_its_estimate() -> Result<(), Error> {
        for noise in [false, true] {
            for form in [SecondOrderForm::Midpoint, SecondOrderForm::Exact] {
                for edges in 1..=3 {
                    let level = |k: usize| NoiseLevel::from_logs(k as f64, 0.0, 0.5 * k as f64);
                    let levels = (0..=edges)
                        .rev()
                        .map(level)
                        .collect::<Result<Vec<_>, _>>()?;
                    let kept: Vec<_> = stages(Rule::of(noise, form), &levels)?
                        .iter()
                        .map(|stage| stage.update.store.map(|store| store.slot))
                        .collect();
                    let mut expected: Vec<_> = (0..edges).map(Some).collect();
                    expected[edges - 1] = None;
                    assert_eq!(kept, expected);
                }
            }
        }
        Ok(())
    }
}

//! Predictor and corrector of the exponential family in one stage a step.

use super::Path;
use super::exponential::{Estimate, Slope, update_at_rate};
use super::extrapolation::Extrapolation;
use super::history::History;
use super::weights::{exponential, moment};
use crate::error::Error;
use crate::level::NoiseLevel;
use crate::memory::Listed;
use crate::plan::{Stage, Step, Update};
use crate::posterior::step_size;

/// How many estimates a corrector uses: the new one, that at the step's start, older ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Corrector {
    None,
    /// Those of the predictor, and the new one.
    OneMore,
    /// This many.
    Nodes(usize),
}

/// Where the orders fall towards the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lowering {
    Off,
    /// No more estimates than steps are left; the corrector one more.
    Steps,
    /// The same without counting the step onto a clean end, the corrector as the predictor.
    NoisySteps,
}

/// A predictor with a corrector.
///
/// Both start from the same state x_t with the same factor and the same noise, so that the corrected
/// state is the predicted one plus a sum of estimates:
///
/// ```text
/// x^c = x̃ + α_s (w_new D_s + Σ_j (w^C_j − w^P_j) D_j)
/// ```
///
/// D_s, the model's answer on the predicted x̃, is what the next predictor starts with. So the
/// correction and the next prediction are one update, with one evaluation a step, and the state
/// between steps is x̃.
#[derive(Clone, Copy, Debug)]
pub(super) struct PredictorCorrector<'a> {
    pub(super) estimate: Estimate,
    pub(super) slope: Slope,
    pub(super) predictor: Extrapolation,
    pub(super) corrector: Corrector,
    /// Whether the model is evaluated on the corrected state too.
    pub(super) evaluates_twice: bool,
    /// The steps whose result is not corrected.
    pub(super) without: &'a [usize],
    pub(super) lowering: Lowering,
    /// Whether the state at the end is corrected too, by one more evaluation: the last step of a
    /// list that ends with the same level twice.
    pub(super) corrects_end: bool,
}

impl PredictorCorrector<'_> {
    /// The steps along a path, with the noise rate τ of each.
    pub(super) fn steps(&self, path: &Path<'_>, taus: &[f64]) -> Result<Vec<Step>, Error> {
        let edges: Vec<(NoiseLevel, NoiseLevel)> = path.edges().listed()?;
        let sizes: Vec<f64> = edges
            .iter()
            .map(|(from, to)| step_size(from, to))
            .listed()?;
        let clean = edges.last().is_some_and(|(_, to)| to.is_clean());
        let mut history = History::new(0, self.depth());
        let mut steps = crate::memory::reserve(&[edges.len()])?;
        // What corrects the state at the start of a step.
        let mut correction: Option<Update> = None;
        for (index, ((&(from, to), &size), &tau)) in edges.iter().zip(&sizes).zip(taus).enumerate()
        {
            let (predicting, correcting) = self.orders(index, edges.len(), clean);
            let candidates = self.lasting(history.held());
            let policy = Extrapolation {
                order: predicting,
                ..self.predictor
            };
            // The noise form has the rate in front of its weights.
            let z = match self.estimate {
                Estimate::Data => (1.0 + tau * tau) * size,
                Estimate::Noise => -size,
            };
            let places = policy.older(size, candidates, usize::MAX);
            let weights = self.slope.older(z, &places.iter().map(|p| p.1).listed()?);
            let older: Vec<_> = places.iter().map(|p| p.0).zip(weights).listed()?;
            let mut update = update_at_rate(self.estimate, (from, to), tau, &older)?;
            let mut stages = crate::memory::reserve(&[2])?;
            match correction.take() {
                Some(first) if self.evaluates_twice => stages.push(Stage::evaluating(from, first)),
                Some(first) => update = self.after(&first, update, (from, to)),
                None => {}
            }
            // Beyond the last step lies one of no length, if any.
            let beyond = self.corrects_end.then_some(0.0);
            let next = sizes.get(index + 1).copied().or(beyond);
            let next = next.filter(|_| size.is_finite());
            // Onto a clean end nothing is left of the state but the estimate made on it.
            let matters = |next: f64| next.is_finite() || self.evaluates_twice;
            let corrected = next.is_some_and(matters)
                && correcting > 0
                && !self.without.contains(&index)
                && !to.is_clean();
            if (corrected || next.is_some_and(f64::is_finite))
                && let Some(slot) = history.push(0.0)
            {
                update.store = Some(self.estimate.store(slot));
                if corrected {
                    let policy = Extrapolation {
                        order: correcting.saturating_sub(1),
                        ..self.predictor
                    };
                    // Without the estimate just pushed: it is the step's own.
                    let nodes = match self.corrector {
                        Corrector::OneMore => places,
                        _ => policy.older(size, history.held().get(1..).unwrap_or(&[]), usize::MAX),
                    };
                    correction = self.correction((to, z, tau), (slot, correcting), &older, &nodes);
                }
            }
            history.advance(size);
            stages.push(Stage::evaluating(from, update));
            crate::memory::push(&mut steps, Step { from, to, stages })?;
        }
        if let (Some(last), Some(correction)) = (steps.last_mut(), correction) {
            last.stages.push(Stage::evaluating(last.to, correction));
        }
        Ok(steps)
    }

    /// How many estimates are held: all that a correction reads when the step's own has been added.
    fn depth(&self) -> usize {
        let order = self.predictor.order;
        match self.corrector {
            Corrector::None => order.saturating_sub(1),
            Corrector::OneMore => order,
            Corrector::Nodes(nodes) => order.max(nodes.saturating_sub(1)),
        }
    }

    /// The estimates that are still held when the step's own has been added.
    fn lasting<'h>(&self, held: &'h [(usize, f64)]) -> &'h [(usize, f64)] {
        let last = match self.corrector {
            Corrector::None => held.len(),
            _ => held.len().min(self.depth().saturating_sub(1)),
        };
        &held[..last]
    }

    /// The most estimates of the predictor and the corrector of a step, 0 for no corrector.
    fn orders(&self, index: usize, steps: usize, clean: bool) -> (usize, usize) {
        let nodes = match self.corrector {
            Corrector::None => 0,
            Corrector::OneMore => usize::MAX,
            Corrector::Nodes(nodes) => nodes,
        };
        let left = steps - index + usize::from(self.corrects_end);
        let (predicting, correcting) = match self.lowering {
            Lowering::Off => (usize::MAX, usize::MAX),
            Lowering::Steps => (left, left + 1),
            Lowering::NoisySteps => (left - usize::from(clean), left - usize::from(clean)),
        };
        (
            self.predictor.order.min(predicting.max(1)),
            nodes.min(correcting),
        )
    }

    /// From the predicted state at `to` to the corrected one; `None` where a weight is not finite.
    fn correction(
        &self,
        (to, z, tau): (NoiseLevel, f64, f64),
        (own, most): (usize, usize),
        predicted: &[(usize, f64)],
        nodes: &[(usize, f64)],
    ) -> Option<Update> {
        let whole = moment(0, z);
        let (new, older) = match nodes {
            _ if most == 1 => (whole, Vec::new()),
            [] => (self.slope.weight(z), Vec::new()),
            _ => {
                let places = nodes.iter().map(|node| node.1);
                let all: Vec<f64> = [1.0, 0.0].into_iter().chain(places).collect();
                let weights = exponential(z, &all);
                (weights[0], weights[2..all.len()].to_vec())
            }
        };
        let scale = match self.estimate {
            Estimate::Data => to.alpha(),
            Estimate::Noise => to.sigma() * (1.0 + tau * tau),
        };
        let sum = |weights: &[(usize, f64)]| weights.iter().map(|term| term.1).sum::<f64>();
        let older: Vec<(usize, f64)> = nodes.iter().map(|node| node.0).zip(older).collect();
        // The step's own estimate has what is left of the sum 1 − e^−z in both rules.
        let own_change = sum(predicted) - sum(&older) - new;
        let mut history = vec![(own, scale * own_change)];
        add(&mut history, &older, scale);
        add(&mut history, predicted, -scale);
        let (state, data) = match self.estimate {
            Estimate::Data => (1.0, scale * new),
            // E = (x − αD)/σ on the predicted state.
            Estimate::Noise => {
                let share = scale / to.sigma() * new;
                (1.0 + share, -to.alpha() * share)
            }
        };
        let correction = Update {
            state,
            data,
            history,
            ..Update::default()
        };
        correction.is_finite().then_some(correction)
    }

    /// A correction followed by a prediction, as one update; the prediction alone where e^h of very
    /// long steps overflows.
    fn after(
        &self,
        first: &Update,
        second: Update,
        (from, to): (NoiseLevel, NoiseLevel),
    ) -> Update {
        // What the prediction makes of the corrected state, apart from the estimate on the predicted
        // one.
        let carry = match self.estimate {
            Estimate::Data => second.state,
            Estimate::Noise => to.alpha() / from.alpha(),
        };
        let mut history = second.history.clone();
        if carry != 0.0 {
            add(&mut history, &first.history, carry);
        }
        let both = Update {
            state: second.state + carry * (first.state - 1.0),
            data: second.data + carry * first.data,
            history,
            ..second.clone()
        };
        if both.is_finite() { both } else { second }
    }
}

/// Adds `scale` times (slot, weight) to terms.
fn add(terms: &mut Vec<(usize, f64)>, more: &[(usize, f64)], scale: f64) {
    for &(slot, weight) in more {
        match terms.iter_mut().find(|term| term.0 == slot) {
            Some(term) => term.1 += scale * weight,
            None => terms.push((slot, scale * weight)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::extrapolation::Bounds;
    use super::{Corrector, Estimate, Lowering, PredictorCorrector, Slope};

    #[test]
    fn a_correction_at_the_end_counts_as_one_more_step() {
        let rule = PredictorCorrector {
            estimate: Estimate::Data,
            slope: Slope::Exact,
            predictor: Bounds::default().policy(4, Slope::Exact, false),
            corrector: Corrector::Nodes(4),
            evaluates_twice: false,
            without: &[],
            lowering: Lowering::Steps,
            corrects_end: false,
        };
        let longer = PredictorCorrector {
            corrects_end: true,
            ..rule
        };
        for steps in 1..6 {
            for index in 0..steps {
                // No more estimates than steps are left; the corrector has one more.
                let left = steps - index;
                assert_eq!(
                    rule.orders(index, steps, false),
                    (left.min(4), (left + 1).min(4))
                );
                let one_more = rule.orders(index, steps + 1, false);
                assert_eq!(longer.orders(index, steps, false), one_more);
            }
        }
    }
}

//! The calls of PNDM and iPNDM as the library makes them.

use crate::error::Error;
use crate::level::NoiseLevel;
use crate::plan::{Stage, Store, Update};

/// Which output of the network is weighted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weighted {
    /// E.
    Noise,
    /// v, which is converted after the weighting, at the state and level from which a step leads.
    Velocity,
}

/// A state that may have been left: x₀ = share·x + Σ weight·H.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Base {
    share: f64,
    history: Vec<(usize, f64)>,
}

impl Base {
    /// The current state.
    pub(super) fn current() -> Self {
        Self {
            share: 1.0,
            history: Vec::new(),
        }
    }
}

/// One call: the network at `evaluate`, and a DDIM step from a base at `from` to `to` with the
/// weighted outputs.
#[derive(Clone, Debug)]
pub(super) struct Call<'a> {
    pub(super) weighted: Weighted,
    pub(super) evaluate: NoiseLevel,
    pub(super) from: NoiseLevel,
    pub(super) to: NoiseLevel,
    pub(super) base: &'a Base,
    /// The weight of this call's output.
    pub(super) weight: f64,
    /// Those of earlier ones, by slot.
    pub(super) past: &'a [(usize, f64)],
    /// Where this output is kept.
    pub(super) slot: Option<usize>,
}

impl Call<'_> {
    /// The step as (a, b): a·x + b·e with e the weighted outputs.
    fn step(&self) -> (f64, f64) {
        let (from, to) = (&self.from, &self.to);
        // At α = 0 the library's D is 0, and E is x.
        if from.alpha() == 0.0 {
            return (0.0, to.sigma());
        }
        let ratio = to.alpha() / from.alpha();
        let slope = to.sigma() - from.sigma() * ratio;
        match self.weighted {
            Weighted::Noise => (ratio, slope),
            Weighted::Velocity => (ratio + slope * from.sigma(), slope * from.alpha()),
        }
    }

    /// The output as a linear form in (x, D).
    fn output(&self) -> (f64, f64) {
        let (alpha, sigma) = (self.evaluate.alpha(), self.evaluate.sigma());
        match self.weighted {
            Weighted::Noise => (1.0 / sigma, -alpha / sigma),
            Weighted::Velocity => (alpha / sigma, -1.0 / sigma),
        }
    }

    pub(super) fn stage(&self) -> Stage {
        let (state, slope) = self.step();
        let (of_x, of_data) = self.output();
        let mut history: Vec<(usize, f64)> = Vec::new();
        let based = self.base.history.iter().map(|&(slot, w)| (slot, state * w));
        let past = self.past.iter().map(|&(slot, w)| (slot, slope * w));
        for (slot, weight) in based.chain(past) {
            match history.iter_mut().find(|term| term.0 == slot) {
                Some(term) => term.1 += weight,
                None => history.push((slot, weight)),
            }
        }
        let update = Update {
            state: state * self.base.share + slope * self.weight * of_x,
            data: slope * self.weight * of_data,
            history,
            noise: 0.0,
            store: self.slot.map(|slot| Store::linear(slot, of_x, of_data)),
        };
        Stage::evaluating(self.evaluate, update)
    }

    /// The same base, in terms of the state after this call; its output must be kept.
    pub(super) fn base_after(&self) -> Result<Base, Error> {
        let (state, slope) = self.step();
        let own = self.slot.map(|slot| (slot, self.weight));
        let terms = self.past.iter().copied().chain(own);
        Ok(Base {
            share: 1.0 / state,
            history: terms.map(|(slot, w)| (slot, -slope * w / state)).collect(),
        })
    }
}

/// The weights of Adams and Bashforth for even steps, newest first.
pub(super) fn weights(count: usize) -> &'static [f64] {
    match count {
        0 | 1 => &[1.0],
        2 => &[1.5, -0.5],
        3 => &[23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0],
        _ => &[55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0],
    }
}

#[cfg(test)]
mod tests {
    use super::{Base, Call, Weighted};
    use crate::error::Error;
    use crate::level::NoiseLevel;
    use crate::plan::Update;

    /// a·x + b·D + Σ w·H.
    fn of(update: &Update, x: f64, data: f64, slots: &[f64]) -> f64 {
        let history = update.history.iter().map(|&(slot, w)| w * slots[slot]);
        update.state * x + update.data * data + history.sum::<f64>()
    }

    /// A call that goes nowhere from the base of another is the state before that.
    #[test]
    fn the_base_after_a_call_is_the_state_before_it() -> Result<(), Error> {
        let level = |la: f64| NoiseLevel::variance_preserving(1.0, la);
        let (from, to) = (level(-1.3)?, level(-0.4)?);
        let (x, data, past) = (0.7, -0.4, 1.9);
        for weighted in [Weighted::Noise, Weighted::Velocity] {
            let current = Base::current();
            let first = Call {
                weighted,
                evaluate: from,
                from,
                to,
                base: &current,
                weight: 1.5,
                past: &[(0, -0.5)],
                slot: Some(1),
            };
            let stage = first.stage();
            let after = of(&stage.update, x, data, &[past, f64::NAN]);
            let (of_x, of_data) = first.output();
            let slots = [past, of_x * x + of_data * data];
            let base = first.base_after()?;
            let still = Call {
                to: from,
                base: &base,
                weight: 0.0,
                past: &[],
                slot: None,
                ..first
            };
            let before = of(&still.stage().update, after, 0.0, &slots);
            assert!((before - x).abs() < 1e-14, "{weighted:?}: {before}");
        }
        Ok(())
    }
}

//! Sampling with momentum: heavy ball and generalised heavy ball.

use super::history::History;
use super::slopes::{Axis, Slopes, even_adams};
use super::{Entry, Path, Solver};
use crate::error::{Error, require};
use crate::level::NoiseLevel;
use crate::memory::{Copied, Listed};
use crate::plan::{Plan, Stage, Step, Store, Update};

/// A multistep method whose slope has momentum, which damps the divergence that high orders show
/// with few steps and strong guidance. One evaluation a step. Wizadwongsa, Chinchuthakun, Khungurn,
/// Raj and Suwajanakorn (2023), "Diffusion Sampling with Momentum for Mitigating Divergence
/// Artifacts".
///
/// With E' the Adams–Bashforth mean of the last k estimates E (the weights of
/// [`Ipndm`](super::Ipndm)), ∇ the difference to the step before and γ_j = 1, ½, 5/12, 3/8:
///
/// | form | velocity | x_s/α_s − x_t/α_t |
/// |---|---|---|
/// | heavy ball (HB) | v = (1 − β)v₋₁ + βE' | (ρ_s − ρ_t) v |
/// | [`generalised`](Self::generalised) (GHVB) | v = (1 − β)v₋₁ + βE | (ρ_s − ρ_t) Σ_{j<k} (γ_j + γ_{j−1}(1 − β)/β) ∇^j v |
///
/// v starts as the first E. β = 1 is iPNDM in both forms. With β < 1, HB is first order whatever k,
/// and GHVB is first order at k = 1 and second order above it, more stable the smaller β. The paper's
/// "order k − 1 + β" (GHVB 1.8) is order k with that β.
///
/// The step onto σ_s = 0 returns D. The level α_t = 0 is left by a DDIM step, and the velocity starts
/// after it. A step has two stages without evaluation before its own, which make the velocity of the
/// step before from estimates E in slots: with a velocity from the difference of two states, CFG++, a
/// clip that keeps ε and edits of the state would enter it.
///
/// ```
/// use diffusion_sampler::{Grid, schedule::TableSchedule};
/// use diffusion_sampler::solver::{HeavyBall, Path, Solver};
///
/// let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
/// let grid = Grid::trailing(&schedule, 15)?;
/// let solver = HeavyBall::order(2)?.with_beta(0.8)?.generalised();
/// assert_eq!(solver.plan(&Path::new(&schedule, &grid)?)?.evaluations(), 15);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[doc(alias = "momentum")]
#[doc(alias = "GHVB")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeavyBall {
    pub(super) order: usize,
    pub(super) beta: f64,
    pub(super) generalised: bool,
}

/// The slots: the state at the step's start; HB's last velocity or GHVB's last E; then the history, of
/// E or of velocities.
const STATE: usize = 0;
const LAST: usize = 1;
const HISTORY: usize = 2;

impl HeavyBall {
    /// Heavy ball on the method of this order, with β = 0.8.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless `order` is 1 to 4.
    pub fn order(order: usize) -> Result<Self, Error> {
        require((1..=4).contains(&order), "order", order as f64, "1 to 4")?;
        Ok(Self {
            order,
            beta: 0.8,
            generalised: false,
        })
    }

    /// The same with another β; 1 is without momentum.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless 1e-6 ≤ `beta` ≤ 1.
    pub fn with_beta(self, beta: f64) -> Result<Self, Error> {
        require((1e-6..=1.0).contains(&beta), "beta", beta, "1e-6 to 1")?;
        Ok(Self { beta, ..self })
    }

    /// GHVB: the velocity comes first, and the method of order k takes velocities for slopes and
    /// their lag into account.
    #[must_use]
    pub fn generalised(self) -> Self {
        Self {
            generalised: true,
            ..self
        }
    }

    /// The stages of a step, and what it keeps. The velocity of the step before is made first, in the
    /// state: what enters it is in slots, and the state comes back before the model sees it.
    fn stages(&self, edge: &Edge, history: &mut SlotHistory, before: &[(usize, f64)]) -> Stages {
        let Edge { from, to, keep } = edge;
        let lag = (1.0 - self.beta) / self.beta;
        let mut stages = crate::memory::reserve(&[3])?;
        // The slot that gets the velocity of the step before.
        if !before.is_empty() {
            let velocity = if self.of_velocities() {
                history.push(())
            } else {
                Some(LAST)
            };
            stages.extend(through_state(before.copy()?, velocity));
        }
        let held = slots(history);
        let (weight, past) = if before.is_empty() {
            (1.0, Vec::new())
        } else if self.of_velocities() {
            // c₀v = c₀(1 − β)v₋₁ + c₀βE.
            let count = held.len().min(self.order - 1) + 1;
            let [first, rest @ ..] = even_adams(count, lag);
            let mut past: Vec<(usize, f64)> = held.iter().copied().zip(rest).listed()?;
            if let Some((_, newest)) = past.first_mut() {
                *newest += first * (1.0 - self.beta);
            }
            (first * self.beta, past)
        } else {
            let count = held.len().min(self.order - 1) + 1;
            let [first, rest @ ..] = even_adams(count, 0.0);
            let slopes = held
                .iter()
                .zip(rest)
                .map(|(&slot, w)| (slot, self.beta * w));
            let past = slopes.chain([(LAST, 1.0 - self.beta)]).listed()?;
            (self.beta * first, past)
        };
        let mut update = Axis::Rho.update(from, to, weight, past)?;
        if *keep {
            let slot = if self.of_velocities() {
                Some(LAST)
            } else {
                history.push(())
            };
            update.store = slot.map(Store::noise);
        }
        stages.push(Stage::evaluating(*from, update));
        Ok(stages)
    }

    /// What the next step makes the velocity of this one of: (slot, weight).
    fn velocity(&self, history: &SlotHistory, first: bool) -> Vec<(usize, f64)> {
        let held = slots(history);
        match (self.of_velocities(), held.first()) {
            (true, None) => vec![(LAST, 1.0)],
            (true, Some(&newest)) => vec![(newest, 1.0 - self.beta), (LAST, self.beta)],
            (false, _) if first => held.first().map(|&slot| (slot, 1.0)).into_iter().collect(),
            (false, _) => {
                let slopes = held.iter().zip(even_adams(held.len(), 0.0));
                let slopes = slopes.map(|(&slot, w)| (slot, self.beta * w));
                slopes.chain([(LAST, 1.0 - self.beta)]).collect()
            }
        }
    }

    /// Whether the history holds velocities: GHVB's, or HB's of order 1, which is the same.
    fn of_velocities(&self) -> bool {
        self.generalised || self.order == 1
    }
}

type SlotHistory = History<()>;
type Stages = Result<Vec<Stage>, Error>;

fn slots(history: &SlotHistory) -> Vec<usize> {
    history.held().iter().map(|&(slot, ())| slot).collect()
}

/// One edge, and whether later steps need what is made on it.
struct Edge {
    from: NoiseLevel,
    to: NoiseLevel,
    keep: bool,
}

/// Two stages without evaluation that leave the state as it is and put a combination of slots into
/// `slot`.
fn through_state(combination: Vec<(usize, f64)>, slot: Option<usize>) -> [Stage; 2] {
    let pass = |history: Vec<(usize, f64)>, slot: Option<usize>| {
        Stage::without_model(Update {
            history,
            store: slot.map(Store::state),
            ..Update::default()
        })
    };
    [
        pass(combination, Some(STATE)),
        pass(vec![(STATE, 1.0)], slot),
    ]
}

impl Solver for HeavyBall {
    /// # Errors
    ///
    /// None on a valid grid.
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let depth = match self.of_velocities() {
            true => (self.order - 1).max(1),
            // The velocity of the step before needs one E more.
            false => self.order,
        };
        let slopes = Slopes {
            axis: Axis::Rho,
            depth,
            extrapolated_end: false,
        };
        if self.beta == 1.0 {
            let depth = self.order - 1;
            let slopes = Slopes { depth, ..slopes };
            return slopes.plan(path, |_, _, past| even_adams(past.len() + 1, 0.0));
        }
        let mut history = History::new(HISTORY, depth);
        let (mut before, mut moved) = (Vec::new(), false);
        let mut steps = crate::memory::reserve(&[path.edges().len()])?;
        for ((from, to), keep) in path.edges().zip(slopes.kept(path)?) {
            let edge = Edge { from, to, keep };
            let stages = if slopes.weighs(&to) {
                self.stages(&edge, &mut history, &before)?
            } else {
                let ddim = Axis::Rho.update(&from, &to, 1.0, [])?;
                vec![Stage::evaluating(from, ddim)]
            };
            if keep {
                before = self.velocity(&history, !moved);
                moved = true;
            }
            crate::memory::push(&mut steps, Step { from, to, stages })?;
        }
        Plan::of_steps(steps)
    }

    fn order(&self) -> usize {
        match self.order {
            order if self.generalised || self.beta == 1.0 => order.min(2),
            _ => 1,
        }
    }
}

pub(super) fn entries() -> Vec<Entry> {
    let source = "Wizadwongsa et al. 2023";
    let named = [
        ("heavy ball 1", 1, false),
        ("heavy ball 4", 4, false),
        ("generalised heavy ball 2", 2, true),
        ("generalised heavy ball 4", 4, true),
    ];
    let entry = |(name, order, generalised)| {
        let solver = HeavyBall::order(order).ok()?;
        let solver = if generalised {
            solver.generalised()
        } else {
            solver
        };
        Some(Entry::new(name, solver, source))
    };
    named.into_iter().filter_map(entry).collect()
}

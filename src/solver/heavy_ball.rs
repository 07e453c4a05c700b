//! Sampling with momentum: heavy ball and generalised heavy ball.

use super::history::History;
use super::slopes::{Axis, Slopes, even_adams};
use super::{Entry, Path, Solver};
use crate::error::{Error, require};
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
/// after it. A step takes stages without evaluation in which the run's state is a slope for a moment:
/// the velocity is made of estimates E alone, so that a clip that keeps ε and CFG++ mean the same
/// as in every other solver.
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
    order: usize,
    beta: f64,
    generalised: bool,
}

/// The slots: the state at the step's start, the newest velocity of HB, and the history.
const STATE: usize = 0;
const VELOCITY: usize = 1;

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

    /// GHVB's stages: the state becomes the velocity, then the step is made with it.
    fn generalised_stages(&self, edge: &Edge, history: &mut History<()>) -> Vec<Stage> {
        let held = slots(history);
        let newest = held.first().map(|&slot| (slot, 1.0 - self.beta));
        let beta = if held.is_empty() { 1.0 } else { self.beta };
        let velocity = edge.slope_into_state(beta, newest.into_iter().collect());
        let weights = even_adams(
            held.len().min(self.order - 1) + 1,
            (1.0 - self.beta) / self.beta,
        );
        let [first, rest @ ..] = weights;
        let earlier = held.into_iter().zip(rest).filter(|&(_, w)| w != 0.0);
        let keep = edge.keep.then(|| history.push(())).flatten();
        let step = edge.step(first, earlier.collect(), keep);
        vec![edge.evaluating(velocity), Stage::without_model(step)]
    }

    /// HB's stages: the state becomes E, then the velocity, then the step is made with it.
    fn stages(&self, edge: &Edge, history: &mut History<()>, moving: bool) -> Vec<Stage> {
        let held = slots(history);
        let slope = edge.slope_into_state(1.0, Vec::new());
        let beta = if moving { self.beta } else { 1.0 };
        let [first, rest @ ..] = even_adams(held.len() + 1, 0.0);
        let earlier = held.into_iter().zip(rest).map(|(slot, w)| (slot, beta * w));
        let before = moving.then_some((VELOCITY, 1.0 - beta));
        let keep = edge.keep.then(|| history.push(())).flatten();
        let velocity = Update {
            state: beta * first,
            history: earlier.chain(before).collect(),
            store: keep.map(Store::state),
            ..Update::default()
        };
        let step = edge.step(1.0, Vec::new(), edge.keep.then_some(VELOCITY));
        vec![
            edge.evaluating(slope),
            Stage::without_model(velocity),
            Stage::without_model(step),
        ]
    }
}

fn slots(history: &History<()>) -> Vec<usize> {
    history.held().iter().map(|&(slot, ())| slot).collect()
}

/// One edge, and whether later steps need what is made on it.
struct Edge {
    from: crate::level::NoiseLevel,
    to: crate::level::NoiseLevel,
    keep: bool,
}

impl Edge {
    fn evaluating(&self, update: Update) -> Stage {
        Stage::evaluating(self.from, update)
    }

    /// x' = weight·E + Σ w_j H_j, and x kept, as αD + σE.
    fn slope_into_state(&self, weight: f64, history: Vec<(usize, f64)>) -> Update {
        let (state, data) = Axis::Rho.slope(&self.from);
        Update {
            state: weight * state,
            data: weight * data,
            history,
            store: Some(Store::linear(STATE, 1.0, 0.0)),
            ..Update::default()
        }
    }

    /// The step's end, from its start in [`STATE`] and the slopes in the state and in slots.
    fn step(&self, weight: f64, slopes: Vec<(usize, f64)>, keep: Option<usize>) -> Update {
        let step = -self.to.alpha() * Axis::Rho.distance(&self.from, &self.to);
        let start = (STATE, self.to.alpha() / self.from.alpha());
        let slopes = slopes.into_iter().map(|(slot, w)| (slot, step * w));
        Update {
            state: step * weight,
            history: slopes.chain([start]).collect(),
            store: keep.map(Store::state),
            ..Update::default()
        }
    }
}

impl Solver for HeavyBall {
    /// # Errors
    ///
    /// None on a valid grid.
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        // Velocities, at least the last; or slopes, with the last velocity apart. At order 1 both
        // forms are one.
        let of_velocities = self.generalised || self.order == 1;
        let depth = (self.order - 1).max(1);
        let first = if of_velocities {
            VELOCITY
        } else {
            VELOCITY + 1
        };
        let slopes = Slopes {
            axis: Axis::Rho,
            depth,
            extrapolated_end: false,
        };
        let mut history = History::new(first, depth);
        let mut moving = false;
        let mut steps = Vec::with_capacity(path.edges().len());
        for ((from, to), keep) in path.edges().zip(slopes.kept(path)) {
            let edge = Edge { from, to, keep };
            let ratio = to.alpha() / from.alpha();
            let stages = if to.is_clean() || from.alpha() == 0.0 || !ratio.is_finite() {
                let ddim = Axis::Rho.update(&from, &to, 1.0, [])?;
                vec![edge.evaluating(ddim)]
            } else if of_velocities {
                self.generalised_stages(&edge, &mut history)
            } else {
                let stages = self.stages(&edge, &mut history, moving);
                moving = true;
                stages
            };
            steps.push(Step { from, to, stages });
        }
        let used = |stage: &Stage| stage.update.store.map(|store| store.slot + 1);
        let of_step = |step: &Step| step.stages.iter().filter_map(used).max();
        let slots = steps.iter().filter_map(of_step).max().unwrap_or(0);
        Plan::new(steps, slots)
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

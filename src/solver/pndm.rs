//! PNDM: pseudo Runge–Kutta and pseudo linear multistep.

use super::history::History;
use super::slopes::{Axis, Slopes, even_adams};
use super::{Entry, Path, Solver};
use crate::error::Error;
use crate::level::NoiseLevel;
use crate::memory::Copied;
use crate::plan::{Plan, Stage, Step, Store, Update};
use crate::posterior::{Kappa, StridedPosterior, step_size};

/// PNDM: DDIM steps with E' in place of E, by a pseudo Runge–Kutta rule for the first three steps
/// and the Adams–Bashforth weights of [`Ipndm`](super::Ipndm) after them. Liu, Ren, Lin and Zhao
/// (2022), "Pseudo Numerical Methods for Diffusion Models on Manifolds".
///
/// | steps | E' |
/// |---|---|
/// | the first three | (e₁ + 2e₂ + 2e₃ + e₄)/6: e₁ at t; e₂, e₃ at the mean *time* of t and s after a DDIM step from t with e₁, with e₂; e₄ at s after one with e₃ |
/// | later | (55E − 59E₋₁ + 37E₋₂ − 9E₋₃)/24, each e₁ being the E of its step |
///
/// K + 9 evaluations. [`plms`](Self::plms) leaves out the Runge–Kutta steps (diffusers'
/// `skip_prk_steps`, the form of Stable Diffusion's files): its first step is (E_t + E_s)/2 with E_s
/// after a DDIM step, then the weights of order 2, 3, 4; K + 1 evaluations.
///
/// Both converge with order 2: the weights take the uneven steps for even ones.
///
/// Where it differs from diffusers' PNDMScheduler: each step leads from knot to knot, where that one
/// always goes from t to t − T//K, the same on a leading grid; the half step is the mean time, where
/// that one rounds R//2 down to a whole index; and velocity is converted at the state that the
/// network saw, where that one converts the weighted output at the state that the step starts from.
///
/// The step onto σ_s = 0 returns D; [`extrapolated_end`](Self::extrapolated_end) is diffusers' form.
/// The level α_t = 0 is left by a DDIM step. A step onto σ_s = 0 is never a Runge–Kutta step.
///
/// ```
/// use diffusion_sampler::{Grid, schedule::TableSchedule, solver::{Path, Pndm, Solver}};
///
/// let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
/// let grid = Grid::leading(&schedule, 20, 1)?;
/// let path = Path::new(&schedule, &grid)?;
/// assert_eq!(Pndm::plms().plan(&path)?.evaluations(), 21);
/// assert_eq!(Pndm::new().plan(&path)?.evaluations(), 29);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[doc(alias = "PNDMScheduler")]
#[doc(alias = "PLMS")]
#[doc(alias = "skip_prk_steps")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pndm {
    pub(super) runge_kutta_steps: usize,
    pub(super) extrapolated_end: bool,
}

/// E of the step and of three before it.
const SLOPES: Slopes = Slopes {
    axis: Axis::Rho,
    depth: 3,
    extrapolated_end: false,
};

impl Default for Pndm {
    fn default() -> Self {
        Self::new()
    }
}

impl Pndm {
    /// PNDM with three pseudo Runge–Kutta steps.
    pub fn new() -> Self {
        Self {
            runge_kutta_steps: 3,
            extrapolated_end: false,
        }
    }

    /// PNDM without Runge–Kutta steps: PLMS.
    #[doc(alias = "skip_prk_steps")]
    pub fn plms() -> Self {
        Self {
            runge_kutta_steps: 0,
            ..Self::new()
        }
    }

    /// The step onto σ_s = 0 is made with E' too, as in diffusers; else it returns D.
    #[must_use]
    pub fn extrapolated_end(self) -> Self {
        Self {
            extrapolated_end: true,
            ..self
        }
    }
}

impl Solver for Pndm {
    /// # Errors
    ///
    /// [`Error::TimeWithoutSchedule`] for Runge–Kutta steps along a path without a schedule.
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let slopes = Slopes {
            extrapolated_end: self.extrapolated_end,
            ..SLOPES
        };
        let mut history = History::new(0, slopes.depth);
        let mut steps = crate::memory::reserve(&[path.edges().len()])?;
        let mut runge_kutta_steps = 0;
        for ((from, to), keep) in path.edges().zip(slopes.kept(path)?) {
            let held = history.held().copy()?;
            let count = if slopes.weighs(&to) {
                held.len() + 1
            } else {
                1
            };
            let [first, rest @ ..] = even_adams(count, 0.0);
            let past = held.iter().zip(rest).map(|(&(slot, _), w)| (slot, w));
            let update = Axis::Rho.update(&from, &to, first, past)?;
            let slot = if keep {
                history.push(from.time())
            } else {
                None
            };
            // A step of more stages keeps its first E in any case.
            let inner = to.lambda().is_finite() && from.alpha() > 0.0;
            let stages = if inner && runge_kutta_steps < self.runge_kutta_steps {
                runge_kutta_steps += 1;
                runge_kutta(path, from, to, slot.unwrap_or(0))?
            } else if inner && self.runge_kutta_steps == 0 && held.is_empty() {
                improved_euler(from, to, slot.unwrap_or(0))?
            } else {
                None
            };
            let single = || {
                let store = slot.map(Store::noise);
                vec![Stage::evaluating(from, Update { store, ..update })]
            };
            let stages = stages.unwrap_or_else(single);
            crate::memory::push(&mut steps, Step { from, to, stages })?;
        }
        Plan::of_steps(steps)
    }

    fn order(&self) -> usize {
        2
    }
}

/// x_s/α_s = x_t/α_t + (ρ_s − ρ_t)(E_t + E_s)/2: a DDIM step and, in place, the half of E_s − E_t.
/// `None` where ρ_t/ρ_s overflows.
fn improved_euler(
    from: NoiseLevel,
    to: NoiseLevel,
    slot: usize,
) -> Result<Option<Vec<Stage>>, Error> {
    // α_s(ρ_s − ρ_t)/σ_s = 1 − ρ_t/ρ_s.
    let half = -0.5 * libm::expm1(step_size(&from, &to));
    let predictor = Axis::Rho.update(&from, &to, 1.0, [])?;
    let stages = vec![
        Stage::evaluating(from, predictor.storing(Store::noise(slot))),
        Stage::evaluating(to, change_of_slope(&to, half, vec![(slot, -1.0)])),
    ];
    Ok(half.is_finite().then_some(stages))
}

/// x' = x + σ·weight·(E + Σ c_j H_j).
fn change_of_slope(at: &NoiseLevel, weight: f64, slopes: Vec<(usize, f64)>) -> Update {
    let scaled = |(slot, c): (usize, f64)| (slot, at.sigma() * weight * c);
    Update {
        state: 1.0 + weight,
        data: -weight * at.alpha(),
        history: slopes.into_iter().map(scaled).collect(),
        ..Update::default()
    }
}

/// The slots of e₂ and e₃, after those of the history.
const E2: usize = SLOPES.depth;
const E3: usize = E2 + 1;

/// The four stages of a pseudo Runge–Kutta step, e₁ kept in `slot`; `None` where a scalar overflows,
/// as with ρ_t/ρ_s.
///
/// The step's start is not kept: every stage takes back the slope that led to its state. With m the
/// level at the mean time, g = 1 − ρ_t/ρ_m and G = 1 − ρ_t/ρ_s:
///
/// ```text
/// x_m ← x_m + σ_m g (e₂ − e₁)
/// x_s ← α_s (x_m/α_m + (ρ_s − ρ_t) e₃ − (ρ_m − ρ_t) e₂)
/// x_s ← x_s + σ_s (G/6) (e₄ + e₁ + 2e₂ − 4e₃)
/// ```
fn runge_kutta(
    path: &Path<'_>,
    from: NoiseLevel,
    to: NoiseLevel,
    slot: usize,
) -> Result<Option<Vec<Stage>>, Error> {
    let middle = path.at_time(0.5 * (from.time() + to.time()))?;
    let half = -libm::expm1(step_size(&from, &middle));
    let whole = -libm::expm1(step_size(&from, &to));
    // (ρ_s − ρ_t)/ρ_m = r − ρ_t/ρ_m, r = ρ_s/ρ_m.
    let second_half = StridedPosterior::new(middle, to, Kappa::Ddim)?;
    let onwards = half + libm::expm1(-second_half.step_size());
    let stretch = to.alpha() / middle.alpha();
    let third = Update {
        // stretch·(1 + onwards), where stretch·r is σ_s/σ_m.
        state: second_half.state_coefficient() + stretch * half,
        data: -to.alpha() * onwards,
        history: vec![(E2, -stretch * middle.sigma() * half)],
        store: Some(Store::noise(E3)),
        ..Update::default()
    };
    let predictor = Axis::Rho.update(&from, &middle, 1.0, [])?;
    let last = vec![(slot, 1.0), (E2, 2.0), (E3, -4.0)];
    let stages = vec![
        Stage::evaluating(from, predictor.storing(Store::noise(slot))),
        Stage::evaluating(
            middle,
            change_of_slope(&middle, half, vec![(slot, -1.0)]).storing(Store::noise(E2)),
        ),
        Stage::evaluating(middle, third),
        Stage::evaluating(to, change_of_slope(&to, whole / 6.0, last)),
    ];
    let finite = stages.iter().all(|stage| stage.update.is_finite());
    Ok(finite.then_some(stages))
}

pub(super) fn entries() -> Vec<Entry> {
    let source = "Liu et al. 2022";
    vec![
        Entry::new("PNDM", Pndm::new(), source),
        Entry::new("PLMS", Pndm::plms(), source),
    ]
}

//! An exactly invertible two-step method, and its inverse.

use super::inversion::up_edge;
use super::{Entry, Path, Solver};
use crate::error::Error;
use crate::level::NoiseLevel;
use crate::memory::Listed;
use crate::plan::{Plan, Stage, Step, Store, Update};
use crate::posterior::{Kappa, StridedPosterior, step_size};

/// O-BELM with two steps: a second-order method that can be run backwards to the last bit of
/// rounding. Wang et al. (2024), "BELM: Bidirectional Explicit Linear Multi-step Sampler for Exact
/// Inversion in Diffusion Models".
///
/// With p the knot before t, d₁ = ρ_t − ρ_p, d₂ = ρ_s − ρ_t, x̂ = x/α:
/// x̂_s = x̂_t + (d₂/d₁)² (x̂_p − x̂_t) + d₂(1 + d₂/d₁) E_t. One evaluation a step and one slot, the
/// state before. The first step is DDIM's, and so is one from a p or t with α = 0. Onto σ_s = 0 the
/// formula holds too.
///
/// The formula is symmetric in p and s: solved for x_p, it is itself along the grid from the other
/// end. A run leaves its last two states, [`state`](crate::Trajectory::state) and slot 0
/// ([`history`](crate::Trajectory::history)); from these [`inverse`](Self::inverse) finds every
/// earlier state, up to rounding times the square of the ratio of steps in ρ. Two things are *not*
/// recovered: what a step from α = 0 forgets (start such a grid at its second knot), and anything
/// from the last state alone.
///
/// An error in the previous state is multiplied by (d₂/d₁)²: steps must shrink in ρ, as on Karras,
/// exponential and λ grids. A last step onto σ = 0 that is long beside the one before multiplies it
/// too; [`without_clean_end`](crate::Grid::without_clean_end) then stops before.
///
/// ```
/// use diffusion_sampler::{Grid, KeyedNoise, Prediction, Sampler, from_fn};
/// use diffusion_sampler::schedule::{LambdaRange, VariancePreserving};
/// use diffusion_sampler::solver::Belm;
/// use ndarray::{Array2, Ix2};
///
/// let schedule = VariancePreserving::default();
/// let grid = Grid::karras(&schedule, 12, LambdaRange::new(-4.0, 3.0)?, 7.0)?;
/// let mut model = from_fn::<f64, Ix2>(Prediction::Data, |x, _, out| {
///     out.zip_mut_with(x, |o, &x| *o = x.tanh());
/// });
/// let x = Array2::from_elem((1, 3), 0.7);
/// let mut down = Sampler::new(&schedule, &grid, &Belm::new())?
///     .start_from(x.clone(), Prediction::Data, KeyedNoise::new(0))?;
/// down.complete(&mut model)?;
/// let (last, slots) = down.into_parts();
///
/// // The run back starts at the state before the last, and is given the last.
/// let up = Sampler::new(&schedule, &grid, &Belm::new().inverse().from_pair())?;
/// let [before] = <[_; 1]>::try_from(slots).expect("one slot");
/// let mut up = up.start_with(before, vec![last], Prediction::Data, KeyedNoise::new(0))?;
/// up.complete(&mut model)?;
/// assert!((up.into_state() - x).iter().all(|error| error.abs() < 1e-12));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias("BELM", "O-BELM", "exact inversion"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Belm {
    pub(super) pair: bool,
}

impl Belm {
    /// From one state at the grid's first knot.
    pub fn new() -> Self {
        Self::default()
    }

    /// From the states at the grid's first two knots: the run starts at the second, and slot 0 is
    /// given ([`Sampler::start_with`](crate::Sampler::start_with)) the state at the first.
    #[must_use]
    pub fn from_pair(self) -> Self {
        Self { pair: true }
    }

    /// The same method from the grid's other end; of a pair where this one is.
    pub fn inverse(&self) -> BelmInversion {
        BelmInversion { pair: self.pair }
    }
}

impl Solver for Belm {
    /// # Errors
    ///
    /// [`Error::StepCount`] from a pair on a grid of one step; [`Error::InvalidEntry`] where a
    /// coefficient overflows.
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        plan(path.grid().levels(), self.pair)
    }

    fn order(&self) -> usize {
        2
    }
}

/// [`Belm`] along the grid from its clean end up: the inverse of a run down, or the exact inversion
/// of data.
///
/// [`new`](Self::new) inverts data: the first step is [`DdimInversion`](super::DdimInversion)'s,
/// the others are BELM's. The run ends with the states at the grid's first two knots, the second in
/// slot 0; [`Belm::from_pair`] from these (slot 0 given the *first*) comes back to the data to
/// rounding. [`from_pair`](Self::from_pair) undoes a run down; see [`Belm`]. A first knot with α = 0
/// is reached by DDIM's step, and not undone.
///
/// One evaluation a step. Going up, steps grow in ρ and so do rounding errors, by (d₂/d₁)² a step:
/// fewer steps of more even size keep more digits.
///
/// ```
/// use diffusion_sampler::{Grid, schedule::VariancePreserving};
/// use diffusion_sampler::solver::{BelmInversion, Path, Solver};
///
/// let schedule = VariancePreserving::default();
/// let grid = Grid::trailing(&schedule, 10)?;
/// let path = Path::new(&schedule, &grid)?;
/// let data = BelmInversion::new().plan(&path)?;
/// assert_eq!((data.start().time(), data.given(), data.evaluations()), (0.0, 0, 10));
/// let undo = BelmInversion::new().from_pair().plan(&path)?;
/// assert_eq!((undo.start().time(), undo.given(), undo.evaluations()), (0.1, 1, 9));
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct BelmInversion {
    pub(super) pair: bool,
}

impl BelmInversion {
    /// From data at the grid's last knot.
    pub fn new() -> Self {
        Self::default()
    }

    /// From the states at the grid's last two knots: the run starts at the last but one, and slot 0
    /// is given ([`Sampler::start_with`](crate::Sampler::start_with)) the state at the last.
    #[must_use]
    pub fn from_pair(self) -> Self {
        Self { pair: true }
    }

    /// The same method from the grid's other end; of a pair where this one is.
    pub fn inverse(&self) -> Belm {
        Belm { pair: self.pair }
    }
}

impl Solver for BelmInversion {
    /// # Errors
    ///
    /// As [`Belm`]'s; [`Error::EdgeOverflow`] where σ_t/σ_s of the first edge overflows.
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let levels: Vec<NoiseLevel> = path.grid().levels().iter().rev().copied().listed()?;
        plan(&levels, self.pair)
    }

    fn order(&self) -> usize {
        2
    }
}

/// Along `levels`, up or down; from a pair the first of them is behind the run.
fn plan(levels: &[NoiseLevel], pair: bool) -> Result<Plan, Error> {
    let given = usize::from(pair);
    if levels.len() < 2 + given {
        return Err(Error::StepCount {
            steps: levels.len() - 1,
            min: 1 + given,
            max: usize::MAX,
        });
    }
    let step = |k: usize| {
        let (from, to) = (levels[k], levels[k + 1]);
        let bounded = to.alpha() > 0.0;
        let before = k.checked_sub(1).map(|before| levels[before]);
        match before.filter(|before| bounded && before.alpha() > 0.0) {
            Some(before) => Ok(two_step(&before, from, to)),
            None => first(from, to),
        }
    };
    let steps = (given..levels.len() - 1).map(step);
    Plan::with_given(steps.all_listed()?, 1, given)
}

/// DDIM's step, which keeps the state that it leaves.
fn first(from: NoiseLevel, to: NoiseLevel) -> Result<Step, Error> {
    // Equivalent mutant: replace > with >=: no edge of a grid has the length 0.
    let mut step = if from.lambda() > to.lambda() {
        up_edge(from, to)?
    } else {
        let posterior = StridedPosterior::new(from, to, Kappa::Ddim)?;
        Step::simple(from, to, Update::from(posterior.transition()))
    };
    step.stages[0].update.store = Some(Store::state(0));
    Ok(step)
}

/// x_s = α_s[(1 − q²) x̂_t + q² x̂_p + d₂(1 + q) E_t], q = d₂/d₁, with E = (x̂ − D)/ρ.
fn two_step(before: &NoiseLevel, from: NoiseLevel, to: NoiseLevel) -> Step {
    let h = step_size(&from, &to);
    // −d₂/ρ_t = 1 − r, −d₁/ρ_t = e^(λ_t − λ_p) − 1.
    let shrink = -libm::expm1(-h);
    let q = shrink / libm::expm1(step_size(before, &from));
    let update = Update {
        state: to.alpha() / from.alpha() * (1.0 + q) * (libm::exp(-h) - q),
        data: to.alpha() * shrink * (1.0 + q),
        history: vec![(0, to.alpha() * q / before.alpha() * q)],
        noise: 0.0,
        store: Some(Store::state(0)),
    };
    Step {
        from,
        to,
        stages: vec![Stage::evaluating(from, update)],
    }
}

pub(super) fn entries() -> Vec<Entry> {
    let source = "Wang et al. 2024";
    vec![
        Entry::new("BELM", Belm::new(), source),
        Entry::new("BELM inversion", BelmInversion::new(), source).inverting(),
    ]
}

//! A sampler as data: the scalars of every step.

mod check;
mod display;
mod earlier;
mod live;
mod noise;
#[cfg(feature = "serde")]
mod stored;
mod update;

pub use update::{Kept, Store, Update};

pub(crate) use check::check_stage;

use crate::error::Error;
use crate::level::NoiseLevel;
use crate::memory;

/// A sampler as data: for every step its stages, each with the scalars of one fused update.
///
/// Solvers compile to plans; a [`Trajectory`](crate::Trajectory) applies one to arrays,
/// [`moments`](Self::moments) predicts its exact distribution on Gaussian data, and anything else
/// can read it. A plan is immutable plain data.
///
/// ```
/// use diffusion_sampler::{Grid, schedule::TableSchedule, solver::{FirstOrder, Path, Solver}};
///
/// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
/// let grid = Grid::trailing(&schedule, 10)?;
/// let plan = FirstOrder::ddim().plan(&Path::new(&schedule, &grid)?)?;
/// assert_eq!((plan.steps().len(), plan.evaluations(), plan.slots()), (10, 10, 0));
/// println!("{plan}");
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    steps: Vec<Step>,
    slots: usize,
    given: usize,
}

/// One step: from one level to the next, in one or more stages.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The level at which the step starts.
    pub from: NoiseLevel,
    /// The level that it reaches.
    pub to: NoiseLevel,
    /// The stages, in order; at least one.
    pub stages: Vec<Stage>,
}

/// One stage: at most one evaluation of the model, then one update.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// The level at which the model is evaluated on the current state; `None` for an update without
    /// the model.
    pub evaluate: Option<NoiseLevel>,
    /// The update that follows.
    pub update: Update,
}

/// The most stages of one step: the noise of each is keyed by a u8.
pub const MAX_STAGES: usize = 256;

/// The most history slots that a plan can have.
pub const MAX_SLOTS: usize = 8;

impl Plan {
    /// A plan from its steps; `slots` is the number of history slots they use.
    ///
    /// # Errors
    ///
    /// [`Error::StepCount`] without steps; [`Error::EdgesDoNotMeet`] where a step does not start at
    /// the level at which the one before it ends; [`Error::TooManySlots`] beyond [`MAX_SLOTS`];
    /// [`Error::StageCount`] for a step without stages or with more than [`MAX_STAGES`];
    /// [`Error::InvalidEntry`] for a coefficient that is not finite or a negative noise;
    /// [`Error::SlotOutOfRange`], [`Error::SlotNotWritten`] and [`Error::SlotReadTwice`] for a slot
    /// that does not exist, is read before anything was stored in it, or twice in one update;
    /// [`Error::DataWithoutEvaluation`] for D or E in a stage without evaluation.
    pub fn new(steps: Vec<Step>, slots: usize) -> Result<Self, Error> {
        Self::with_given(steps, slots, 0)
    }

    /// A plan with as many slots as its steps write to.
    pub(crate) fn of_steps(steps: Vec<Step>) -> Result<Self, Error> {
        let stages = steps.iter().flat_map(|step| &step.stages);
        let written = stages.filter_map(|stage| stage.update.store.map(|store| store.slot + 1));
        let slots = written.max().unwrap_or(0);
        Self::new(steps, slots)
    }

    /// A plan whose first `given` slots hold something when a run starts: the previous state of an
    /// exactly invertible method, the history of an earlier run
    /// ([`Sampler::start_with`](crate::Sampler::start_with)).
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new); [`Error::SlotOutOfRange`] unless `given` ≤ `slots`.
    pub fn with_given(steps: Vec<Step>, slots: usize, given: usize) -> Result<Self, Error> {
        check::steps(&steps, slots, given)?;
        Ok(Self {
            steps,
            slots,
            given,
        })
    }

    /// This plan followed by another, which starts at the level at which this one ends. Each plan
    /// writes its slots before it reads them, so both share them.
    ///
    /// # Errors
    ///
    /// [`Error::EdgesDoNotMeet`]; [`Error::SlotOutOfRange`] where `next` needs given slots that
    /// this plan does not have.
    pub fn then(mut self, next: Self) -> Result<Self, Error> {
        if next.given > self.slots {
            return Err(Error::SlotOutOfRange {
                step: self.steps.len(),
                stage: 0,
                slot: next.given - 1,
                slots: self.slots,
            });
        }
        memory::extend(&mut self.steps, next.steps)?;
        Self::with_given(self.steps, self.slots.max(next.slots), self.given)
    }

    /// The steps, from the first.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The number of history slots, arrays of the state's shape that a run keeps.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// How many of the slots, the first ones, are given when a run starts.
    pub fn given(&self) -> usize {
        self.given
    }

    /// The number of model evaluations.
    pub fn evaluations(&self) -> usize {
        self.stages()
            .filter(|stage| stage.evaluate.is_some())
            .count()
    }

    /// The level at which a run starts.
    pub fn start(&self) -> NoiseLevel {
        self.steps[0].from
    }

    /// The level that a run reaches.
    pub fn end(&self) -> NoiseLevel {
        self.steps[self.steps.len() - 1].to
    }

    /// Refuses an initial distribution for a plan that does not lead to less noise.
    pub(crate) fn require_denoising(&self) -> Result<(), Error> {
        let (start, end) = (self.start(), self.end());
        if start.lambda() < end.lambda() {
            return Ok(());
        }
        Err(Error::StartsFromData {
            from: start.time(),
            to: end.time(),
        })
    }

    /// Whether any update adds noise.
    pub fn is_stochastic(&self) -> bool {
        self.stages().any(|stage| stage.update.noise != 0.0)
    }

    /// All stages, in order.
    pub fn stages(&self) -> impl Iterator<Item = &Stage> {
        self.steps.iter().flat_map(|step| &step.stages)
    }

    /// A number that tells plans apart: a hash of every level and scalar, the same on every
    /// machine. Snapshots carry it.
    pub fn fingerprint(&self) -> u64 {
        check::fingerprint(self)
    }
}

impl<'a> IntoIterator for &'a Plan {
    type Item = &'a Step;
    type IntoIter = std::slice::Iter<'a, Step>;

    fn into_iter(self) -> Self::IntoIter {
        self.steps.iter()
    }
}

impl Stage {
    /// A stage that evaluates the model at `level`.
    pub fn evaluating(level: NoiseLevel, update: Update) -> Self {
        Self {
            evaluate: Some(level),
            update,
        }
    }

    /// (slot, state, data): what is stored as state·x + data·D where E = (x − αD)/σ. A plan has
    /// checked that there are such numbers.
    pub(crate) fn stored(&self) -> Option<(usize, f64, f64)> {
        let store = self.update.store?;
        let (state, data) = store.kept.coefficients(self.evaluate.as_ref()).ok()?;
        Some((store.slot, state, data))
    }

    /// A stage that needs no model.
    pub fn without_model(update: Update) -> Self {
        Self {
            evaluate: None,
            update,
        }
    }
}

impl Step {
    /// A step of one stage, which evaluates the model where it starts.
    pub fn simple(from: NoiseLevel, to: NoiseLevel, update: Update) -> Self {
        Self {
            from,
            to,
            stages: vec![Stage::evaluating(from, update)],
        }
    }
}

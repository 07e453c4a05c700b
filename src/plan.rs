//! A sampler as data: the scalars of every step.

use crate::error::Error;
use crate::level::NoiseLevel;

/// A sampler as data: for every step its stages, each with the scalars of one fused update.
///
/// Solvers compile to plans; a [`Trajectory`](crate::Trajectory) applies one to arrays, [`moments`](Self::moments)
/// predicts its exact law on Gaussian data, and anything else can read it. A plan is immutable plain data.
///
/// ```
/// use diffusion_sampler::{Grid, schedule::TableSchedule, solver::{FirstOrder, Solver}};
///
/// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
/// let plan = FirstOrder::ddim().plan(&Grid::trailing(&schedule, 10)?)?;
/// assert_eq!((plan.steps().len(), plan.evaluations(), plan.slots()), (10, 10, 0));
/// println!("{plan}");
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    steps: Vec<Step>,
    slots: usize,
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
    /// The level at which the model is evaluated on the current state; `None` for an update without the model.
    pub evaluate: Option<NoiseLevel>,
    /// The update that follows.
    pub update: Update,
}

/// The scalars of one update, in place, with D the model's estimate of x₀ at this stage, H_j the history slots and z
/// standard normal noise:
///
/// ```text
/// x' = state·x + data·D + Σ weight_j·H_j + noise·z        H_slot' = store.state·x + store.data·D
/// ```
///
/// Right-hand sides take the old values. Which prediction the model makes does not matter here: D is folded into the
/// coefficients of x and of the model's output when the plan runs.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Update {
    /// The coefficient on the state.
    pub state: f64,
    /// The coefficient on D; 0 where the stage has no evaluation.
    pub data: f64,
    /// (slot, weight) of the history slots that enter, each at most once.
    pub history: Vec<(usize, f64)>,
    /// The standard deviation of the noise added.
    pub noise: f64,
    /// What is kept for later stages.
    pub store: Option<Store>,
}

/// What an update writes to a history slot: state·x + data·D.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Store {
    /// The slot written.
    pub slot: usize,
    /// The coefficient on the old state.
    pub state: f64,
    /// The coefficient on D.
    pub data: f64,
}

/// The most stages of one step: the noise of each is keyed by a u8.
const MAX_STAGES: usize = 256;

/// The most history slots that a plan can have.
pub const MAX_SLOTS: usize = 8;

impl Plan {
    /// A plan from its steps; `slots` is the number of history slots they use.
    ///
    /// # Errors
    ///
    /// [`Error::StepCount`] without steps; [`Error::EdgesDoNotMeet`] where a step does not start at the level at which the
    /// one before it ends; [`Error::TooManyTerms`] beyond [`MAX_SLOTS`] or 256 stages in a step; [`Error::InvalidEntry`] for a coefficient that is
    /// not finite, a negative noise or a slot out of range; [`Error::UnsupportedPlan`] for a step without stages, a slot
    /// that is read twice in one update or before anything was stored in it, and for D in a stage without evaluation.
    pub fn new(steps: Vec<Step>, slots: usize) -> Result<Self, Error> {
        if steps.is_empty() {
            return Err(Error::StepCount {
                steps: 0,
                min: 1,
                max: usize::MAX,
            });
        }
        if slots > MAX_SLOTS {
            return Err(Error::TooManyTerms {
                found: slots,
                max: MAX_SLOTS,
            });
        }
        for pair in steps.windows(2) {
            if pair[0].to != pair[1].from {
                return Err(Error::EdgesDoNotMeet {
                    end: pair[0].to.time(),
                    start: pair[1].from.time(),
                });
            }
        }
        let mut written = [false; MAX_SLOTS];
        for (index, step) in steps.iter().enumerate() {
            if step.stages.is_empty() {
                return Err(Error::UnsupportedPlan {
                    feature: "a step without stages",
                });
            }
            if step.stages.len() > MAX_STAGES {
                return Err(Error::TooManyTerms {
                    found: step.stages.len(),
                    max: MAX_STAGES,
                });
            }
            for stage in &step.stages {
                stage.check(index, slots, &mut written)?;
            }
        }
        Ok(Self { steps, slots })
    }

    /// The steps, from the first.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The number of history slots, arrays of the state's shape that a run keeps.
    pub fn slots(&self) -> usize {
        self.slots
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

    /// Whether any update adds noise.
    pub fn is_stochastic(&self) -> bool {
        self.stages().any(|stage| stage.update.noise != 0.0)
    }

    /// All stages, in order.
    pub fn stages(&self) -> impl Iterator<Item = &Stage> {
        self.steps.iter().flat_map(|step| &step.stages)
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

    fn check(
        &self,
        step: usize,
        slots: usize,
        written: &mut [bool; MAX_SLOTS],
    ) -> Result<(), Error> {
        let update = &self.update;
        let entry = |value: f64, requirement| Error::InvalidEntry {
            name: "plan coefficients of step",
            index: step,
            value,
            requirement,
        };
        let store = update.store.iter().flat_map(|s| [s.state, s.data]);
        let weights = update.history.iter().map(|&(_, weight)| weight);
        for value in [update.state, update.data, update.noise]
            .into_iter()
            .chain(weights)
            .chain(store)
        {
            if !value.is_finite() {
                return Err(entry(value, "finite"));
            }
        }
        if update.noise < 0.0 {
            return Err(entry(update.noise, "at least 0 where it scales noise"));
        }
        let uses_data = update.data != 0.0 || update.store.is_some_and(|store| store.data != 0.0);
        if self.evaluate.is_none() && uses_data {
            return Err(Error::UnsupportedPlan {
                feature: "the data estimate in a stage without evaluation",
            });
        }
        for (position, &(slot, _)) in update.history.iter().enumerate() {
            if slot >= slots {
                return Err(entry(
                    slot as f64,
                    "a slot below the plan's number of slots",
                ));
            }
            if !written[slot] {
                return Err(Error::UnsupportedPlan {
                    feature: "a history slot read before it is written",
                });
            }
            if update.history[..position]
                .iter()
                .any(|&(other, _)| other == slot)
            {
                return Err(Error::UnsupportedPlan {
                    feature: "a history slot read twice in one update",
                });
            }
        }
        if let Some(store) = update.store {
            if store.slot >= slots {
                return Err(entry(
                    store.slot as f64,
                    "a slot below the plan's number of slots",
                ));
            }
            written[store.slot] = true;
        }
        Ok(())
    }
}

/// A table of the plan: one line a stage.
impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "{:>4} {:>10} {:>10} {:>10} {:>13} {:>13} {:>13}  history and store",
            "step", "from", "to", "model at", "state", "data", "noise"
        )?;
        for (index, step) in self.steps.iter().enumerate() {
            for stage in &step.stages {
                let update = &stage.update;
                let at = stage
                    .evaluate
                    .map_or_else(|| "-".to_owned(), |level| format!("{:.4}", level.time()));
                write!(
                    f,
                    "{index:>4} {:>10.4} {:>10.4} {at:>10} {:>13.6e} {:>13.6e} {:>13.6e} ",
                    step.from.time(),
                    step.to.time(),
                    update.state,
                    update.data,
                    update.noise
                )?;
                for (slot, weight) in &update.history {
                    write!(f, " {weight:+.6e}·H{slot}")?;
                }
                if let Some(store) = update.store {
                    write!(
                        f,
                        " H{}←{:+.6e}·x{:+.6e}·D",
                        store.slot, store.state, store.data
                    )?;
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

//! What a plan does to errors, and how far it misses Gaussian data: known before it runs.

use std::fmt;

use crate::error::{Error, require_positive};
use crate::level::NoiseLevel;
use crate::memory::{self, Copied, Listed};
use crate::oracle::{Gaussian, Scales};
use crate::plan::{MAX_SLOTS, Plan, Stage};

/// What a plan makes of data with a given spectrum, and of errors on the way: exactly, before a
/// model is called.
///
/// On Gaussian data every direction (eigenvector of the covariance, of variance v) runs by itself
/// and every step is linear, so that nothing here is estimated. With s(t) = √(α_t² w² + σ_t²), w² the
/// larger of v and of the mean variance of the data:
///
/// | quantity | what it is | exact flow |
/// |---|---|---|
/// | [`growth`](StepStability::growth) | the factor by which the step changes the state's deviation, over that of the exact flow | 1 |
/// | [`state`](StepStability::state) | the largest that an error in the state at the step's start becomes at any later knot, in units of s | at most 1 |
/// | [`model`](StepStability::model) | the same for an error of the model at the step, in units of the error with which D is known at its level, wσ/s | small |
/// | [`model_error`](Self::model_error) | the largest, over all knots, that such errors of one unit at *every* evaluation add up to, their signs at their worst | π/2 where w² = 1 |
/// | [`deviation`](Self::deviation), [`mean`](Self::mean), [`wasserstein`](Self::wasserstein) | what the result misses of the data | 0 |
///
/// Errors go through the history slots as the states do: what counts is what becomes of them in the
/// whole run, not the norm of one step's matrix, which is above 1 for every multistep method. The
/// moments alone do not show all: a difference quotient over a tiny step is exact for an exact
/// model, and multiplies what a real one adds.
///
/// [`warnings`](Self::warnings) names what exceeds its bound: 3 for `state`, 5 for `model_error`, and
/// 100 % of the data's root mean square for the result's distance, which a point at the mean would
/// have. DDIM, DDPM, DPM-Solver++(2M), its SDE form and Heun with 8 to 50 steps on the usual grids
/// reach 1.9 and 2.6 (tests/stability.rs); Heun in 5 evaluations uniform in λ, which misses by 1929 %,
/// 25 and 64.
///
/// ```
/// use diffusion_sampler::{Grid, Sampler, oracle::Gaussian, schedule::TableSchedule};
/// use diffusion_sampler::{schedule::NoiseSchedule, solver::{DpmSolverPlusPlus, Heun}};
///
/// // A spectrum like that of images: variances falling with the square of the frequency.
/// let variances: Vec<f64> = (1..=16).map(|i| 2.5 / f64::from(i * i)).collect();
/// let data = Gaussian::diagonal(&[0.0; 16], &variances)?;
/// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
/// let grid = Grid::uniform_lambda(&schedule, 3, schedule.lambda_range())?;
///
/// let heun = Sampler::new(&schedule, &grid, &Heun::new())?.stability(&data)?;
/// println!("{heun}");
/// assert!(!heun.warnings()?.is_empty(), "it would blow up");
/// let grid = Grid::trailing(&schedule, 20)?;
/// let multistep = Sampler::new(&schedule, &grid, &DpmSolverPlusPlus::new())?.stability(&data)?;
/// assert!(multistep.warnings()?.is_empty());
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct StabilityReport {
    variances: Vec<f64>,
    steps: Vec<StepStability>,
    model_error: Vec<f64>,
    deviation: Vec<f64>,
    mean: Vec<f64>,
    wasserstein: f64,
    bounds: [f64; 3],
}

/// One step of a [`StabilityReport`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct StepStability {
    /// The level that the step leaves.
    pub from: NoiseLevel,
    /// The level that it reaches.
    pub to: NoiseLevel,
    /// For each direction: the factor of the state's deviation, over the exact flow's.
    pub growth: Vec<f64>,
    /// For each direction: the largest that one unit of error in the state becomes.
    pub state: Vec<f64>,
    /// For each direction: the largest that one unit of error of the model, at each of the step's
    /// evaluations, becomes.
    pub model: Vec<f64>,
}

/// What a [`StabilityReport`] warns of.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum StabilityWarning {
    /// An error in the state at the start of this step grows beyond the bound.
    State {
        /// The step.
        step: usize,
        /// The direction in which it grows most.
        direction: usize,
        /// The factor.
        value: f64,
        /// The bound.
        bound: f64,
    },
    /// The model's errors add up to more than the bound.
    Model {
        /// The step whose errors grow most.
        step: usize,
        /// The direction in which they add up to most.
        direction: usize,
        /// What one unit of error at every evaluation adds up to.
        value: f64,
        /// The bound.
        bound: f64,
    },
    /// The result is further from the data than the bound.
    Result {
        /// The direction that misses most.
        direction: usize,
        /// The distance (W₂) in percent of the data's root mean square.
        value: f64,
        /// The bound.
        bound: f64,
    },
}

/// The default bounds: of an error in the state, of the model's errors, of the distance in percent.
const BOUNDS: [f64; 3] = [3.0, 5.0, 100.0];

impl Plan {
    /// What this plan makes of data distributed as `data`, from x_T ~ `initial`, and of errors on the
    /// way; see [`StabilityReport`]. A spectrum alone is `Gaussian::diagonal(&zeros, &variances)`.
    ///
    /// # Errors
    ///
    /// As [`moments`](Self::moments); [`Error::AxesDiffer`] unless both share their axes or one of
    /// them is isotropic.
    pub fn stability(&self, data: &Gaussian, initial: &Gaussian) -> Result<StabilityReport, Error> {
        let (states, frame) = (self.moments(data, initial)?, data.shared_frame(initial)?);
        let variances = data.variances().copy()?;
        let square: f64 = variances.iter().sum();
        let rms = (square / variances.len() as f64).sqrt();
        let mut steps: Vec<StepStability> = self
            .steps()
            .iter()
            .map(|step| StepStability {
                from: step.from,
                to: step.to,
                growth: Vec::new(),
                state: Vec::new(),
                model: Vec::new(),
            })
            .listed()?;
        let mut model_error = memory::reserve(&[variances.len()])?;
        for (axis, &variance) in variances.iter().enumerate() {
            let scale = variance.sqrt().max(rms);
            let errors = self.errors(variance, scale)?;
            model_error.push(errors.total);
            let mut before = relative(initial.variances()[axis], variance, &self.start());
            for (index, step) in steps.iter_mut().enumerate() {
                let after = relative(states[index].variances()[axis], variance, &step.to);
                memory::push(&mut step.growth, ratio(after, before))?;
                before = after;
                memory::push(&mut step.state, errors.state[index])?;
                memory::push(&mut step.model, errors.model[index])?;
            }
        }
        let target = data.at_level(&self.end())?;
        // A plan has a step.
        let last = states.last().unwrap_or(initial);
        let deviation = last.variances().iter().zip(target.variances());
        let (found, exact) = (frame.to_axes(last.mean())?, frame.to_axes(target.mean())?);
        let difference = found.iter().zip(exact);
        Ok(StabilityReport {
            deviation: deviation
                .map(|(found, exact)| ratio(found.sqrt(), exact.sqrt()) - 1.0)
                .listed()?,
            mean: difference
                .map(|(found, exact)| quotient(found - exact, rms))
                .listed()?,
            wasserstein: 100.0 * quotient(last.wasserstein_squared(&target)?, square).sqrt(),
            variances,
            steps,
            model_error,
            bounds: BOUNDS,
        })
    }

    /// What becomes of errors along one direction.
    fn errors(&self, variance: f64, scale: f64) -> Result<Errors, Error> {
        let count = self.steps().len();
        let unit = |level: &NoiseLevel| {
            let signal = level.alpha() * scale;
            (signal * signal + level.sigma() * level.sigma()).sqrt()
        };
        let mut errors = Errors {
            state: memory::repeated(0.0, count)?,
            model: memory::repeated(0.0, count)?,
            total: 0.0,
        };
        // An error in the state, or of the model, at every step so far, beside the step.
        let mut columns: Vec<Column> = Vec::new();
        for (index, step) in self.steps().iter().enumerate() {
            let mut rows = [0.0; MAX_SLOTS + 1];
            rows[0] = unit(&step.from);
            let column = Column {
                step: index,
                of_model: false,
                rows,
            };
            memory::push(&mut columns, column)?;
            for stage in &step.stages {
                let gain = stage
                    .evaluate
                    .map_or(0.0, |level| Scales::unchecked(&level).gain(variance));
                columns
                    .iter_mut()
                    .for_each(|column| column.apply(stage, gain, 0.0));
                if let Some(level) = stage.evaluate.filter(|level| !level.is_clean()) {
                    let size = scale * level.sigma() / unit(&level);
                    let mut column = Column {
                        step: index,
                        of_model: true,
                        rows: [0.0; MAX_SLOTS + 1],
                    };
                    column.apply(stage, gain, size);
                    memory::push(&mut columns, column)?;
                }
            }
            let mut at_this_knot = memory::repeated(0.0, index + 1)?;
            for column in &columns {
                let value = quotient(column.rows[0].abs(), unit(&step.to));
                if column.of_model {
                    at_this_knot[column.step] += value;
                } else {
                    let state = &mut errors.state[column.step];
                    *state = state.max(value);
                }
            }
            errors.total = errors.total.max(at_this_knot.iter().sum());
            for (model, value) in errors.model.iter_mut().zip(at_this_knot) {
                *model = model.max(value);
            }
        }
        Ok(errors)
    }
}

/// The errors along one direction: by step, and all together.
struct Errors {
    state: Vec<f64>,
    model: Vec<f64>,
    total: f64,
}

/// How an error has moved the state (row 0) and the slots (1..), along one direction.
struct Column {
    step: usize,
    /// Whether it is an error of the model.
    of_model: bool,
    rows: [f64; MAX_SLOTS + 1],
}

impl Column {
    fn apply(&mut self, stage: &Stage, gain: f64, model: f64) {
        let (update, old, rows) = (&stage.update, self.rows[0], &mut self.rows);
        let data = gain * old + model;
        rows[0] = update.state * old + update.data * data;
        for &(slot, weight) in &update.history {
            rows[0] += weight * rows[slot + 1];
        }
        if let Some((slot, on_state, on_data)) = stage.stored() {
            rows[slot + 1] = on_state * old + on_data * data;
        }
    }
}

/// The deviation over that of the direction's marginal at the level.
fn relative(found: f64, variance: f64, level: &NoiseLevel) -> f64 {
    ratio(found.sqrt(), level.marginal_variance(variance).sqrt())
}

/// a/b, and 1 for 0/0: both are nothing.
fn ratio(a: f64, b: f64) -> f64 {
    if a == b { 1.0 } else { a / b }
}

/// a/b for an error a, and 0 for 0/0.
fn quotient(a: f64, b: f64) -> f64 {
    if a == 0.0 { 0.0 } else { a / b }
}

impl StabilityReport {
    /// The variance of each direction of the data.
    pub fn variances(&self) -> &[f64] {
        &self.variances
    }

    /// The steps.
    pub fn steps(&self) -> &[StepStability] {
        &self.steps
    }

    /// For each direction: what one unit of error of the model at every evaluation adds up to at the
    /// worst knot, their signs at their worst.
    pub fn model_error(&self) -> &[f64] {
        &self.model_error
    }

    /// For each direction: the relative error of the result's standard deviation.
    pub fn deviation(&self) -> &[f64] {
        &self.deviation
    }

    /// For each direction: the error of the result's mean, over the data's root mean square
    /// deviation.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// W₂ of the result from the data, in percent of the data's root mean square deviation.
    pub fn wasserstein(&self) -> f64 {
        self.wasserstein
    }

    /// The step whose errors grow most, of state or model, each over its bound.
    pub fn worst_step(&self) -> usize {
        let [state, model, _] = self.bounds;
        let of = |step: &StepStability| {
            f64::max(
                largest(&step.state).1 / state,
                largest(&step.model).1 / model,
            )
        };
        largest_of(self.steps.iter().map(of)).0
    }

    /// The direction along which errors grow most, of the states or of the model, each over its
    /// bound.
    pub fn worst_direction(&self) -> usize {
        let [state, model, _] = self.bounds;
        let of = |direction: usize| {
            let states = self.steps.iter().map(|step| step.state[direction]);
            let states = states.fold(0.0, f64::max);
            f64::max(states / state, self.model_error[direction] / model)
        };
        largest_of((0..self.variances.len()).map(of)).0
    }

    /// The same with other bounds: of an error in the state, of the model's errors, and of the
    /// distance in percent.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless all are positive and finite.
    pub fn with_bounds(self, state: f64, model: f64, percent: f64) -> Result<Self, Error> {
        require_positive("bound of state errors", state)?;
        require_positive("bound of model errors", model)?;
        require_positive("bound of the distance", percent)?;
        Ok(Self {
            bounds: [state, model, percent],
            ..self
        })
    }

    /// What exceeds its bound: each step whose state errors do, then the model's errors and the
    /// result.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`].
    pub fn warnings(&self) -> Result<Vec<StabilityWarning>, Error> {
        let mut warnings = Vec::new();
        self.each_warning(|warning| memory::push(&mut warnings, warning))?;
        Ok(warnings)
    }

    fn each_warning<E>(
        &self,
        mut take: impl FnMut(StabilityWarning) -> Result<(), E>,
    ) -> Result<(), E> {
        let [state, model, percent] = self.bounds;
        for (step, report) in self.steps.iter().enumerate() {
            let (direction, value) = largest(&report.state);
            if exceeds(value, state) {
                let warning = StabilityWarning::State {
                    step,
                    direction,
                    value,
                    bound: state,
                };
                take(warning)?;
            }
        }
        let (direction, value) = largest(&self.model_error);
        if exceeds(value, model) {
            let values = self.steps.iter().map(|s| s.model[direction]);
            take(StabilityWarning::Model {
                step: largest_of(values).0,
                direction,
                value,
                bound: model,
            })?;
        }
        if exceeds(self.wasserstein, percent) {
            let misses = self.deviation.iter().zip(&self.mean).zip(&self.variances);
            let misses =
                misses.map(|((deviation, mean), v)| libm::hypot(deviation * v.sqrt(), *mean));
            take(StabilityWarning::Result {
                direction: largest_of(misses).0,
                value: self.wasserstein,
                bound: percent,
            })?;
        }
        Ok(())
    }
}

/// NaN exceeds every bound.
fn exceeds(value: f64, bound: f64) -> bool {
    value.is_nan() || value > bound
}

/// The largest value and where it is; NaN counts as the largest.
fn largest(values: &[f64]) -> (usize, f64) {
    largest_of(values.iter().copied())
}

fn largest_of(values: impl Iterator<Item = f64>) -> (usize, f64) {
    let all = values.enumerate();
    all.max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, 0.0))
}

impl fmt::Display for StabilityWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::State {
                step,
                direction,
                value,
                bound,
            } => write!(
                f,
                "an error in the state at step {step} grows {value:.3e}-fold along direction {direction} (bound {bound})"
            ),
            Self::Model {
                step,
                direction,
                value,
                bound,
            } => write!(
                f,
                "errors of the model add up to {value:.3e} of their size along direction {direction} (bound {bound}), most of it from step {step}"
            ),
            Self::Result {
                direction,
                value,
                bound,
            } => write!(
                f,
                "the result misses the data by {value:.3e} % of its size (bound {bound} %), most of it along direction {direction}"
            ),
        }
    }
}

/// A table: one line a step with the worst direction of each kind, the result, the warnings.
impl fmt::Display for StabilityReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:>4} {:>10} {:>10} {:>11} {:>11} {:>11}",
            "step", "from", "to", "growth", "state", "model"
        )?;
        for (index, step) in self.steps.iter().enumerate() {
            let far = |growth: &&f64| libm::fabs(libm::log(**growth));
            let growth = step.growth.iter().max_by(|a, b| far(a).total_cmp(&far(b)));
            writeln!(
                f,
                "{index:>4} {:>10.4} {:>10.4} {:>11.4e} {:>11.4e} {:>11.4e}",
                step.from.time(),
                step.to.time(),
                growth.copied().unwrap_or(1.0),
                largest(&step.state).1,
                largest(&step.model).1
            )?;
        }
        let absolute = |values: &[f64]| values.iter().fold(0.0, |most, v| f64::max(most, v.abs()));
        writeln!(
            f,
            "model errors add up to {:.4}; deviations within {:.3} %, means within {:.3} %, W2 {:.3} % of the data",
            largest(&self.model_error).1,
            100.0 * absolute(&self.deviation),
            100.0 * absolute(&self.mean),
            self.wasserstein
        )?;
        self.each_warning(|warning| writeln!(f, "warning: {warning}"))
    }
}

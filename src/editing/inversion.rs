//! Exact inversion of deterministic steps.

use ndarray::{Array, ArrayRef, Dimension};

use super::anderson::Anderson;
use crate::apply::batch_of;
use crate::clip::Clip;
use crate::denoiser::Denoiser;
use crate::error::{Error, RunError, require, require_positive};
use crate::level::NoiseLevel;
use crate::memory::{Copied, Listed};
use crate::noise::KeyedNoise;
use crate::plan::{MAX_SLOTS, Plan, Step};
use crate::real::Real;
use crate::run::{Instruction, Machine, check_start};
use crate::sampler::Sampler;

/// Exact inversion: the state from which a deterministic sampler makes a given image, found by
/// solving every step, step(x_t) = x_s, backwards from the last.
///
/// [`DdimInversion`](crate::solver::DdimInversion) runs the steps upwards with the model evaluated
/// at the wrong end, so that its round trip is approximate; here it closes to rounding. Any plan will
/// do whose steps are deterministic and use nothing of earlier steps: DDIM, Euler, Heun and the
/// other single-step methods.
///
/// The iteration x_t ← x_t + (α_t/α_s)(x_s − step(x_t)) holds E at the level t: for an exact model it
/// contracts wherever the model's variance given x_t is below that of the noise. It is accelerated
/// by the secants of its last trials (Anderson), and damped where it would grow, so that it also
/// goes through regions in which it does not contract: a quasi-Newton method that calls the model
/// and nothing else, once a trial and stage. A DDIM step of an exact denoiser has one solution,
/// because ∂D/∂x is a covariance, never negative. Every sample is solved by itself; the batch goes on
/// until the last is done.
///
/// A step onto σ_s = 0 is D itself: there x_s must be something that the model can return. Where it
/// is not, the residual says by how much; see [`InvertedStep`].
///
/// Fixed-point inversion by acceleration: Pan, Gherardi, Xie and Huang (2023), "Effective Real Image
/// Editing with Accelerated Iterative Diffusion Inversion". Anderson (1965), "Iterative Procedures
/// for Nonlinear Integral Equations".
///
/// ```
/// use diffusion_sampler::{Grid, KeyedNoise, Prediction, Sampler, editing::ExactInversion};
/// use diffusion_sampler::oracle::{Gaussian, Oracle};
/// use diffusion_sampler::{schedule::TableSchedule, solver::FirstOrder};
/// use ndarray::array;
///
/// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
/// let sampler = Sampler::new(&schedule, &Grid::trailing(&schedule, 10)?, &FirstOrder::ddim())?;
/// let mut model = Gaussian::diagonal(&[0.5, -1.0], &[0.1, 2.0])?.denoiser(Prediction::Noise);
/// let image = array![[0.3f64, -0.4]];
/// let found = ExactInversion::new(&sampler)?.invert(&image, &mut model)?;
/// let start = found.into_converged()?;
///
/// let mut run = sampler.start_from(start, Prediction::Noise, KeyedNoise::new(0))?;
/// run.complete(&mut model)?;
/// assert!((run.into_state() - image).iter().all(|d| d.abs() < 1e-12));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "fixed-point inversion")]
#[doc(alias = "Newton")]
#[derive(Clone, Debug, PartialEq)]
pub struct ExactInversion {
    plan: std::sync::Arc<Plan>,
    clip: Option<Clip>,
    tolerance: Option<f64>,
    evaluations: usize,
    depth: usize,
}

/// What is left by default, in units of the element type's rounding.
const TOLERANCE: f64 = 256.0;

impl ExactInversion {
    /// The inversion of a sampler's plan, to a residual of 256 roundings of the element type, with
    /// up to 100 trials a step and 8 secants.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEntry`] for a step that adds noise; [`Error::SlotNotWritten`] for one that
    /// reads what an earlier step has stored, as those of multistep methods;
    /// [`Error::DegenerateEdge`] for one that keeps nothing of its state or of D.
    pub fn new(sampler: &Sampler) -> Result<Self, Error> {
        let plan = sampler.plan();
        for (index, step) in plan.steps().iter().enumerate() {
            check_alone(step, index, plan.slots())?;
            if let Some(stage) = step.stages.iter().find(|stage| stage.update.noise != 0.0) {
                return Err(Error::InvalidEntry {
                    name: "noise of step",
                    index,
                    value: stage.update.noise,
                    requirement: "0: only a deterministic step has an inverse",
                });
            }
            slope(step)?;
        }
        Ok(Self {
            plan: sampler.shared_plan(),
            clip: sampler.clip(),
            tolerance: None,
            evaluations: 100,
            depth: 8,
        })
    }

    /// The same to another residual, relative to √(α_s² + σ_s²).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless it is positive and finite.
    pub fn with_tolerance(self, tolerance: f64) -> Result<Self, Error> {
        require_positive("tolerance", tolerance)?;
        Ok(Self {
            tolerance: Some(tolerance),
            ..self
        })
    }

    /// The same with up to so many trials a step.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for 0.
    pub fn with_trials(self, trials: usize) -> Result<Self, Error> {
        require(trials > 0, "trials", trials as f64, "at least 1")?;
        Ok(Self {
            evaluations: trials,
            ..self
        })
    }

    /// The same with so many secants, of which each is two arrays of f64 of the state's size; 0 is
    /// the plain fixed-point iteration, damped where it grows.
    #[must_use]
    pub fn with_secants(self, depth: usize) -> Self {
        Self { depth, ..self }
    }

    /// Solves every step, from `x`, a state at the plan's end, back to its start.
    ///
    /// # Errors
    ///
    /// [`Error::NonFiniteStart`], [`Error::NoSampleAxis`]; [`Error::StatefulGuidance`] for guidance
    /// with a memory; as [`Machine::take`]. A step that does not converge is no error here; see
    /// [`Inverted::into_converged`].
    pub fn invert<A, D, M>(
        &self,
        x: &ArrayRef<A, D>,
        model: &mut M,
    ) -> Result<Inverted<A, D>, RunError<M::Error>>
    where
        A: Real,
        D: Dimension,
        M: Denoiser<A, D> + ?Sized,
    {
        let mut solver = StepSolver::new(self, x)?;
        let mut state = x.copy()?;
        let mut steps = crate::memory::reserve(&[self.plan.steps().len()])?;
        for (index, step) in self.plan.steps().iter().enumerate().rev() {
            let solved = solver.solve(step, index, &mut state, model)?;
            crate::memory::push(&mut steps, solved)?;
        }
        let tolerance = solver.tolerance;
        Ok(Inverted {
            state,
            steps,
            tolerance,
        })
    }

    /// The options without the plan's conditions, for the deterministic steps among others.
    pub(super) fn unchecked(sampler: &Sampler) -> Self {
        Self {
            plan: sampler.shared_plan(),
            clip: sampler.clip(),
            tolerance: None,
            evaluations: 100,
            depth: 8,
        }
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }
}

/// Refuses a step that needs something of earlier ones.
fn check_alone(step: &Step, index: usize, slots: usize) -> Result<(), Error> {
    match Plan::new(vec![step.clone()], slots) {
        Err(Error::SlotNotWritten { stage, slot, .. }) => Err(Error::SlotNotWritten {
            step: index,
            stage,
            slot,
        }),
        other => other.map(drop),
    }
}

/// ∂step/∂x for D = x/α, which keeps E at 0: α_s/α_t where α_t > 0, and the coefficient on the state
/// for a D that does not depend on it where α_t = 0.
pub(super) fn slope(step: &Step) -> Result<f64, Error> {
    let (mut x, mut slots) = (1.0, [0.0; MAX_SLOTS]);
    for stage in &step.stages {
        let gain = stage.evaluate.map_or(0.0, |level| match level.alpha() {
            0.0 => 0.0,
            alpha => 1.0 / alpha,
        });
        let (update, old) = (&stage.update, x);
        x = (update.state + update.data * gain) * old;
        x += update
            .history
            .iter()
            .map(|&(slot, w)| w * slots[slot])
            .sum::<f64>();
        if let Some((slot, state, data)) = stage.stored() {
            slots[slot] = (state + data * gain) * old;
        }
    }
    if x.is_finite() && x != 0.0 {
        return Ok(x);
    }
    Err(Error::DegenerateEdge {
        from: step.from.time(),
        to: step.to.time(),
        requirement: "keep something of the state, to be inverted",
    })
}

/// What [`ExactInversion`] has found.
#[derive(Clone, Debug)]
pub struct Inverted<A, D: Dimension> {
    /// The state at the plan's start.
    pub state: Array<A, D>,
    /// How well each step was solved, in the order in which they were: the plan's last first.
    pub steps: Vec<InvertedStep>,
    tolerance: f64,
}

impl<A, D: Dimension> Inverted<A, D> {
    /// The largest residual of all steps.
    pub fn residual(&self) -> f64 {
        self.steps
            .iter()
            .map(|step| step.residual)
            .fold(0.0, f64::max)
    }

    /// The state, if every step was solved to the tolerance.
    ///
    /// # Errors
    ///
    /// [`Error::NotConverged`] with the first step that was not.
    pub fn into_converged(self) -> Result<Array<A, D>, Error> {
        require_converged(&self.steps, self.tolerance)?;
        Ok(self.state)
    }
}

pub(super) fn require_converged(steps: &[InvertedStep], tolerance: f64) -> Result<(), Error> {
    match steps.iter().find(|step| !step.converged) {
        None => Ok(()),
        Some(step) => Err(Error::NotConverged {
            step: step.step,
            sample: step.sample,
            residual: step.residual,
            tolerance,
        }),
    }
}

/// How well one step was inverted.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct InvertedStep {
    /// The step of the plan.
    pub step: usize,
    /// The level at which it starts, where x_t was found.
    pub from: NoiseLevel,
    /// The level that it reaches.
    pub to: NoiseLevel,
    /// The root mean square of step(x_t) − x_s over the elements of a sample, divided by √(α_s² +
    /// σ_s²), the size of a state of data of variance 1: of the worst sample.
    pub residual: f64,
    /// That sample.
    pub sample: usize,
    /// How often the step was taken, for the whole batch.
    pub trials: usize,
    /// Whether the residual is within the tolerance.
    pub converged: bool,
}

/// Takes single steps, and solves them.
pub(super) struct StepSolver<A, D: Dimension> {
    machine: Machine<A, D>,
    clip: Option<Clip>,
    pub(super) tolerance: f64,
    trials: usize,
    depth: usize,
}

impl<A: Real, D: Dimension> StepSolver<A, D> {
    pub(super) fn new(options: &ExactInversion, x: &ArrayRef<A, D>) -> Result<Self, Error> {
        check_start(x, "image")?;
        let rounding = A::epsilon().widen();
        Ok(Self {
            machine: Machine::new(x.copy()?, options.plan.slots())?,
            clip: options.clip,
            tolerance: options.tolerance.unwrap_or(TOLERANCE * rounding),
            trials: options.evaluations,
            depth: options.depth,
        })
    }

    /// The machine's state after all stages of a step without noise, from `x`.
    pub(super) fn take<M>(
        &mut self,
        step: &Step,
        index: usize,
        x: &ArrayRef<A, D>,
        model: &mut M,
    ) -> Result<&ArrayRef<A, D>, RunError<M::Error>>
    where
        M: Denoiser<A, D> + ?Sized,
    {
        let guidance = model.guidance()?;
        if guidance.is_stateful() {
            let guidance = guidance.name();
            return Err(Error::StatefulGuidance { guidance }.into());
        }
        self.machine.state_mut().assign(x);
        for stage in 0..step.stages.len() {
            let instruction = Instruction::new(step, stage, index)?.with_clip(self.clip);
            self.machine
                .take(&instruction, model, &mut KeyedNoise::new(0))?;
        }
        Ok(self.machine.state())
    }

    /// Replaces `state`, what the step must give, by what it gives it from.
    pub(super) fn solve<M>(
        &mut self,
        step: &Step,
        index: usize,
        state: &mut Array<A, D>,
        model: &mut M,
    ) -> Result<InvertedStep, RunError<M::Error>>
    where
        M: Denoiser<A, D> + ?Sized,
    {
        let slope = slope(step)?;
        let (samples, elements) = batch_of(state)?;
        let unit = step.to.marginal_variance(1.0).sqrt() / slope.abs();
        let target: Vec<f64> = state.iter().map(|x| x.widen()).listed()?;
        // What is tried is what the element type can hold.
        let round = |x: &f64| A::cast(*x).widen();
        let start: Vec<f64> = target.iter().map(|x| round(&(x / slope))).listed()?;
        let rows = start.chunks(elements.max(1));
        let mut searches: Vec<Anderson> = rows
            .map(|row| Anderson::new(row.copy()?, self.depth))
            .all_listed()?;
        let mut x = start;
        let mut force = crate::memory::repeated(0.0, target.len())?;
        let mut trials = 0;
        let is_done = |search: &Anderson, tolerance: f64| {
            search.norm() <= tolerance * unit || search.is_stalled()
        };
        while trials < self.trials && !searches.iter().all(|s| is_done(s, self.tolerance)) {
            for (out, x) in state.iter_mut().zip(&x) {
                *out = A::cast(*x);
            }
            let reached = self.take(step, index, state, model)?;
            for ((force, reached), target) in force.iter_mut().zip(reached).zip(&target) {
                *force = (target - reached.widen()) / slope;
            }
            trials += 1;
            let rows = x
                .chunks_mut(elements.max(1))
                .zip(force.chunks(elements.max(1)));
            for (search, (x, force)) in searches.iter_mut().zip(rows) {
                if is_done(search, self.tolerance) {
                    continue;
                }
                search.take(x, force)?;
                search.propose(x)?;
                x.iter_mut().for_each(|x| *x = round(x));
            }
        }
        let best = searches.iter().flat_map(Anderson::best);
        for (out, x) in state.iter_mut().zip(best) {
            *out = A::cast(*x);
        }
        let residuals = searches.iter().map(|search| search.norm() / unit);
        let worst = residuals.enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
        let (sample, residual) = worst.unwrap_or((0, 0.0));
        debug_assert!(searches.len() == samples || elements == 0);
        Ok(InvertedStep {
            step: index,
            from: step.from,
            to: step.to,
            residual,
            sample,
            trials,
            converged: residual <= self.tolerance,
        })
    }
}

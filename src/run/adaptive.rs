//! DPM-Solver-12 and -23: steps as wide as a tolerance allows.

mod controller;

use ndarray::{Array, Dimension};

use controller::Controller;

use super::instruction::Instruction;
use super::machine::Machine;
use crate::denoiser::Denoiser;
use crate::error::{Error, RunError, require, require_non_negative, require_positive};
use crate::kernel;
use crate::level::NoiseLevel;
use crate::memory;
use crate::noise::NoiseSource;
use crate::plan::{Stage, Step, Store, Update};
use crate::posterior::{Kappa, StridedPosterior};
use crate::real::Real;
use crate::solver::{EmbeddedPair, EmbeddedStep, Path};

/// DPM-Solver-12 and DPM-Solver-23: single-step DPM-Solvers that choose their own steps in λ, so that
/// the difference to the solver of the next lower order stays within a tolerance.
///
/// With x_low of order p − 1 and x_high of order p, which share their evaluations:
///
/// ```text
/// δ = max(atol, rtol·max(|x_low|, |x_low of the step before|))     E = ‖(x_low − x_high)/δ‖/√n
/// h ← h·(1 + arctan(factor − 1)),   factor = E^(−b₁) E₋₁^(−b₂) E₋₂^(−b₃)
/// accepted where h shrinks to no less than 0.81 of itself; x_high goes on
/// ```
///
/// k-diffusion's `dpm_adaptive` with its defaults: order 3, rtol 0.05, atol 0.0078, first step 0.05,
/// an integral controller. The pairs are those of Lu, Zhou, Bao, Chen, Li and Zhu (2022), "DPM-Solver",
/// the controller and the norm k-diffusion's. Four things differ. Tolerances are for the state x itself,
/// as in the paper; k-diffusion's are for x/α, which is another measure where α is not 1. D at the start of a step survives its
/// rejection, which saves an evaluation. The run reaches its end exactly, where k-diffusion may stop
/// 1e-5 short of it. And a grid that ends at σ = 0 is followed to its last knot with noise and from
/// there by a plain DDIM step, which no tolerance controls.
///
/// **The norm is over the whole batch**: a sample's steps depend on the others. Run one by one what
/// must not depend on its neighbours.
///
/// With small tolerances this is a reference that can be trusted where no exact solution is known; the
/// knots that it found ([`AdaptiveOutcome::levels`]) make a grid for any solver. The arrays are
/// allocated once; the start of a step is kept in a slot, so that a rejected one copies nothing more.
///
/// ```
/// use diffusion_sampler::{Grid, KeyedNoise, Prediction, oracle::{Gaussian, Oracle}};
/// use diffusion_sampler::{run::AdaptiveDpm, schedule::{NoiseSchedule, VariancePreserving}};
/// use diffusion_sampler::solver::Path;
/// use ndarray::array;
///
/// let schedule = VariancePreserving::default();
/// let ends = Grid::from_times(&schedule, &[1.0, 1e-3])?;
/// let path = Path::new(&schedule, &ends)?;
/// let data = Gaussian::isotropic(&[1.0, -2.0], 0.3)?;
/// let solver = AdaptiveDpm::order(3)?.with_tolerances(1e-5, 1e-5)?;
/// let x = array![[0.3f64, -1.0]];
/// let mut model = data.denoiser(Prediction::Noise);
/// let found = solver.sample(&path, &mut model, x, &mut KeyedNoise::new(0))?;
/// println!("{} steps, {} rejected", found.levels.len() - 1, found.rejected);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias("dpm_adaptive", "DPM adaptive", "DPM-Solver-12", "DPM-Solver-23"))]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaptiveDpm {
    order: usize,
    relative: f64,
    absolute: f64,
    first_step: f64,
    controller: [f64; 3],
    safety: f64,
    kappa: Kappa,
    noise_scale: f64,
    limit: usize,
}

/// What an adaptive run did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AdaptiveOutcome<A, D: Dimension> {
    /// The state at the end of the path.
    pub state: Array<A, D>,
    /// The knots: the start, the end of every accepted step, the clean end where the path has one.
    pub levels: Vec<NoiseLevel>,
    /// The number of accepted steps.
    pub accepted: usize,
    /// The number of rejected steps.
    pub rejected: usize,
    /// The number of model evaluations.
    pub evaluations: usize,
}

// The slots: D at the step's start and nodes from 0 on, then these.
const START: usize = 3;
const HIGH: usize = 4;
const BEFORE: usize = 5;
const SLOTS: usize = 6;

/// A last step shorter than this is joined to the one before.
const REST: f64 = 1e-5;

impl AdaptiveDpm {
    /// DPM-Solver-12 for order 2, DPM-Solver-23 for order 3, with k-diffusion's defaults and at most
    /// 10,000 evaluations.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for any other order.
    pub fn order(order: usize) -> Result<Self, Error> {
        require((2..=3).contains(&order), "order", order as f64, "2 or 3")?;
        Ok(Self {
            order,
            relative: 0.05,
            absolute: 0.0078,
            first_step: 0.05,
            controller: [0.0, 1.0, 0.0],
            safety: 0.81,
            kappa: Kappa::Ddim,
            noise_scale: 1.0,
            limit: 10_000,
        })
    }

    /// The same with other tolerances, of a step.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for a relative one that is negative, an absolute one that is not
    /// positive, and for what is not finite.
    #[doc(alias("rtol", "atol"))]
    pub fn with_tolerances(self, relative: f64, absolute: f64) -> Result<Self, Error> {
        require_non_negative("relative tolerance", relative)?;
        require_positive("absolute tolerance", absolute)?;
        Ok(Self {
            relative,
            absolute,
            ..self
        })
    }

    /// The same with another first step in λ.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for one that is not positive or not finite.
    #[doc(alias = "h_init")]
    pub fn with_first_step(self, first_step: f64) -> Result<Self, Error> {
        require_positive("first step", first_step)?;
        Ok(Self { first_step, ..self })
    }

    /// The same with other coefficients of the controller: proportional, integral and differential.
    /// With e of the order (1.5 with noise): b₁ = (p + i + d)/e, b₂ = −(p + 2d)/e, b₃ = d/e.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for one that is negative or not finite, or where all are 0.
    #[doc(alias("pcoeff", "icoeff", "dcoeff"))]
    pub fn with_controller(
        self,
        proportional: f64,
        integral: f64,
        differential: f64,
    ) -> Result<Self, Error> {
        require_non_negative("proportional coefficient", proportional)?;
        require_non_negative("integral coefficient", integral)?;
        require_non_negative("differential coefficient", differential)?;
        let controller = [proportional, integral, differential];
        let sum = controller.iter().sum::<f64>();
        require_positive("sum of the controller's coefficients", sum)?;
        Ok(Self { controller, ..self })
    }

    /// The same that accepts a step where the next one is at least this part of it.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless it lies in [0.22, 1): the least factor of the controller
    /// is 1 − π/4.
    #[doc(alias = "accept_safety")]
    pub fn with_safety(self, safety: f64) -> Result<Self, Error> {
        let valid = (0.22..1.0).contains(&safety);
        require(valid, "safety", safety, "in [0.22, 1)")?;
        Ok(Self { safety, ..self })
    }

    /// The same in ancestral form: the pair steps to κρ_s, at least ρ of the end, and noise is added
    /// to what is accepted. The error is that of the deterministic part.
    #[doc(alias = "eta")]
    #[must_use]
    pub fn with_kappa(self, kappa: Kappa) -> Self {
        Self { kappa, ..self }
    }

    /// The same with its noise scaled. Any other factor than 1 changes the marginals.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for one that is negative or not finite.
    #[doc(alias = "s_noise")]
    pub fn with_noise_scale(self, noise_scale: f64) -> Result<Self, Error> {
        require_non_negative("noise scale", noise_scale)?;
        Ok(Self {
            noise_scale,
            ..self
        })
    }

    /// The same with another limit on the number of evaluations.
    #[must_use]
    pub fn with_evaluation_limit(self, limit: usize) -> Self {
        Self { limit, ..self }
    }

    /// Runs from `x` at the path's start to its end. Of the path's knots only the ends count, and
    /// where it ends at σ = 0 the knot before.
    ///
    /// Noise is keyed by the number of the accepted step, so that a
    /// [`BrownianPath`](crate::noise::BrownianPath) serves too.
    ///
    /// # Errors
    ///
    /// [`Error::UnboundedLambda`] where the path starts at α = 0; [`Error::PathWithoutSchedule`];
    /// [`Error::EvaluationLimit`]; [`Error::StepUnderflow`] where no step is short enough for the
    /// tolerances, as with a model that answers at random; what [`StridedPosterior::new`] refuses of the policy; what
    /// [`Machine::new`] refuses of x; as [`Machine::take`].
    pub fn sample<A, D, M, N>(
        &self,
        path: &Path<'_>,
        model: &mut M,
        x: Array<A, D>,
        noise: &mut N,
    ) -> Result<AdaptiveOutcome<A, D>, RunError<M::Error>>
    where
        A: Real,
        D: Dimension,
        M: Denoiser<A, D> + ?Sized,
        N: NoiseSource<A>,
    {
        let (start, floor, end) = (path.grid().start(), path.last_noisy(), path.grid().end());
        if start.lambda() == f64::NEG_INFINITY {
            let (noisy, clean) = (start.lambda(), end.lambda());
            return Err(Error::UnboundedLambda { noisy, clean }.into());
        }
        let mut run = Run {
            solver: self,
            machine: Machine::new(x, SLOTS)?,
            model,
            noise,
            levels: vec![start],
            rejected: 0,
            evaluations: 0,
        };
        run.take((start, floor), vec![Stage::without_model(keep(BEFORE))])?;
        let mut controller = Controller::new(self.first_step, self.exponents(), self.safety);
        let (mut from, mut fresh) = (start, true);
        while from.lambda() < floor.lambda() {
            let to = match from.lambda() + controller.step() {
                // Equivalent mutant: replace < with <=: a step that ends there is either.
                lambda if lambda < floor.lambda() - REST => path.at_lambda(lambda)?,
                _ => floor,
            };
            if to.lambda() <= from.lambda() {
                let (time, lambda, step) = (from.time(), from.lambda(), controller.step());
                return Err(Error::StepUnderflow { time, lambda, step }.into());
            }
            let Some(step) = EmbeddedStep::new(path, self.order, (from, to), self.kappa)? else {
                controller.shrink();
                continue;
            };
            let error = run.attempt((from, to), &step.pair, fresh)?;
            fresh = controller.accepts(error);
            if fresh {
                run.accept((from, to), step.noise)?;
                from = to;
            } else {
                run.rejected += 1;
            }
        }
        if end.is_clean() {
            let straight = StridedPosterior::new(from, end, Kappa::Ddim)?;
            run.count(1, (from, end))?;
            let update = straight.transition().into();
            run.take((from, end), vec![Stage::evaluating(from, update)])?;
            run.levels.push(end);
        }
        Ok(run.outcome())
    }

    fn exponents(&self) -> [f64; 3] {
        let [p, i, d] = self.controller;
        let deterministic = match self.kappa {
            Kappa::Ddim => true,
            Kappa::Eta(rate) | Kappa::Tau(rate) | Kappa::Gamma(rate) => rate == 0.0,
            _ => false,
        };
        let order = if deterministic {
            self.order as f64
        } else {
            1.5
        };
        [(p + i + d) / order, -(p + 2.0 * d) / order, d / order]
    }
}

/// An update that keeps the state, here and in a slot.
fn keep(slot: usize) -> Update {
    Update {
        state: 1.0,
        store: Some(Store::state(slot)),
        ..Update::default()
    }
}

/// A run in progress.
struct Run<'a, A, D: Dimension, M: ?Sized, N> {
    solver: &'a AdaptiveDpm,
    machine: Machine<A, D>,
    model: &'a mut M,
    noise: &'a mut N,
    levels: Vec<NoiseLevel>,
    rejected: usize,
    evaluations: usize,
}

impl<A, D, M, N> Run<'_, A, D, M, N>
where
    A: Real,
    D: Dimension,
    M: Denoiser<A, D> + ?Sized,
    N: NoiseSource<A>,
{
    /// Tries a step; the error in units of the tolerance. The state is then x_low, x_high is in its
    /// slot. `fresh` where D at the step's start is not known yet.
    fn attempt(
        &mut self,
        edge: (NoiseLevel, NoiseLevel),
        pair: &EmbeddedPair,
        fresh: bool,
    ) -> Result<f64, RunError<M::Error>> {
        let mut stages = Vec::new();
        let mut trial = pair.stages.iter().cloned();
        match trial.next() {
            Some(first) if fresh => {
                memory::extend(&mut stages, [Stage::without_model(keep(START)), first])?;
            }
            Some(first) => {
                let Update { state, data, .. } = first.update;
                let again = Stage::without_model(Update {
                    history: vec![(START, state), (0, data)],
                    ..Update::default()
                });
                memory::push(&mut stages, again)?;
            }
            None => {}
        }
        memory::extend(&mut stages, trial)?;
        self.count(pair.stages.len() - usize::from(!fresh), edge)?;
        let high = Stage::without_model(Update {
            history: pair.difference.clone(),
            ..keep(HIGH)
        });
        memory::push(&mut stages, high)?;
        self.take(edge, stages)?;
        let [high, before] = [HIGH, BEFORE].map(|slot| &*self.machine.history()[slot]);
        let arrays = [self.machine.state(), high, before];
        let AdaptiveDpm {
            relative, absolute, ..
        } = *self.solver;
        Ok(kernel::scaled_distance(arrays, relative, absolute))
    }

    /// Goes on from x_high and noise, and keeps x_low.
    fn accept(
        &mut self,
        edge: (NoiseLevel, NoiseLevel),
        noise: f64,
    ) -> Result<(), RunError<M::Error>> {
        let update = Update {
            state: 0.0,
            history: vec![(HIGH, 1.0)],
            noise: self.solver.noise_scale * noise,
            ..keep(BEFORE)
        };
        self.take(edge, vec![Stage::without_model(update)])?;
        self.levels.push(edge.1);
        Ok(())
    }

    /// Counts evaluations that are about to be made.
    fn count(&mut self, more: usize, (from, _): (NoiseLevel, NoiseLevel)) -> Result<(), Error> {
        self.evaluations += more;
        if self.evaluations <= self.solver.limit {
            return Ok(());
        }
        Err(Error::EvaluationLimit {
            limit: self.solver.limit,
            time: from.time(),
            lambda: from.lambda(),
        })
    }

    /// Takes stages of the current step.
    fn take(
        &mut self,
        (from, to): (NoiseLevel, NoiseLevel),
        stages: Vec<Stage>,
    ) -> Result<(), RunError<M::Error>> {
        let step = Step { from, to, stages };
        for stage in 0..step.stages.len() {
            let instruction = Instruction::new(&step, stage, self.levels.len() - 1)?;
            self.machine.take(&instruction, self.model, self.noise)?;
        }
        Ok(())
    }

    fn outcome(self) -> AdaptiveOutcome<A, D> {
        let clean = self.levels.last().is_some_and(NoiseLevel::is_clean);
        AdaptiveOutcome {
            state: self.machine.into_parts().0,
            accepted: self.levels.len() - 1 - usize::from(clean),
            levels: self.levels,
            rejected: self.rejected,
            evaluations: self.evaluations,
        }
    }
}

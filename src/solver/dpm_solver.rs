//! DPM-Solver in noise form, multistep, and its stochastic form.

use super::exponential::{Estimate, Rule};
use super::extrapolation::{Bounds, bounded};
use super::{Entry, Path, SecondOrderForm, Solver};
use crate::error::{Error, require, require_non_negative};
use crate::memory::Listed;
use crate::plan::Plan;
use crate::posterior::{Kappa, StridedPosterior};

/// DPM-Solver in noise form with the estimates of earlier steps: orders 1 (DDIM), 2 and 3. One
/// evaluation a step.
///
/// With q = h₀/h, h₀ the previous step, order 2 is
///
/// ```text
/// x_s = (α_s/α_t) x_t − σ_s ((e^h − 1) E + w (E − E₋₁)/q)
/// w = (e^h − 1)/2 (midpoint)     w = hφ₂(h) = (e^h − 1)/h − 1 (exact)
/// ```
///
/// and order 3 takes the parabola through three estimates, as
/// [`DpmSolverPlusPlus`](super::DpmSolverPlusPlus) does, with the same choice between the corrected
/// and the published second difference. Lu, Zhou, Bao, Chen, Li and Zhu (2022), "DPM-Solver: A Fast
/// ODE Solver for Diffusion Probabilistic Model Sampling in Around 10 Steps"; the multistep form is
/// that of their code.
///
/// The weights grow like e^h: on long steps, and with strong guidance, the data form
/// ([`DpmSolverPlusPlus`](super::DpmSolverPlusPlus)) is the steadier one. Onto σ_s = 0, where e^h is
/// infinite, the step is first order and returns α_s D; so is a step from or after α_t = 0, and one
/// whose weights overflow.
///
/// With τ > 0 ([`with_tau`](Self::with_tau), [`sde`](Self::sde) for τ = 1) it is the stochastic
/// noise form, x_s = (α_s/α_t) x_t − (1 + τ²) σ_s Σ w_j E_j + τ σ_s √(e^(2h) − 1) ζ, diffusers'
/// "sde-dpmsolver". It does not keep the marginals given x₀ as
/// [`DpmSolverPlusPlus`](super::DpmSolverPlusPlus) does, and its factor on the state,
/// (σ_s/σ_t)(1 − τ²(e^h − 1)), leaves \[−1, 1\] where h > ln 3 at τ = 1: it is for short steps.
///
/// ```
/// use diffusion_sampler::{Grid, schedule::TableSchedule};
/// use diffusion_sampler::solver::{DpmSolver, Path, Solver};
///
/// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
/// let grid = Grid::trailing(&schedule, 20)?;
/// let plan = DpmSolver::multistep(3)?.plan(&Path::new(&schedule, &grid)?)?;
/// assert_eq!((plan.evaluations(), plan.slots()), (20, 2));
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[doc(alias = "sde-dpmsolver")]
#[doc(alias = "DPMSolverMultistepScheduler")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DpmSolver {
    pub(super) order: usize,
    pub(super) tau: f64,
    pub(super) form: SecondOrderForm,
    pub(super) published: bool,
    pub(super) warmed_up: bool,
    pub(super) bounds: Bounds,
}

bounded!(DpmSolver);

impl Default for DpmSolver {
    fn default() -> Self {
        Self::new()
    }
}

impl DpmSolver {
    /// The multistep solver of order 2, midpoint form, deterministic.
    pub fn new() -> Self {
        Self {
            order: 2,
            tau: 0.0,
            form: SecondOrderForm::Midpoint,
            published: false,
            warmed_up: false,
            bounds: Bounds::default(),
        }
    }

    /// The multistep solver of this order; 1 is DDIM.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless `order` is 1, 2 or 3.
    pub fn multistep(order: usize) -> Result<Self, Error> {
        require((1..=3).contains(&order), "order", order as f64, "1, 2 or 3")?;
        Ok(Self {
            order,
            ..Self::new()
        })
    }

    /// The stochastic noise form, τ = 1.
    pub fn sde() -> Self {
        Self {
            tau: 1.0,
            ..Self::new()
        }
    }

    /// The same solver with constant noise rate τ.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for a τ that is negative, or above 1e9.
    pub fn with_tau(self, tau: f64) -> Result<Self, Error> {
        require_non_negative("tau", tau)?;
        require(tau <= 1e9, "tau", tau, "at most 1e9 in noise form")?;
        Ok(Self { tau, ..self })
    }

    /// The same solver with another weight of the second-order term; also that of the second-order
    /// steps of order 3.
    #[must_use]
    pub fn with_form(self, form: SecondOrderForm) -> Self {
        Self { form, ..self }
    }

    /// Order 3 with half the weight of the second difference, as dpm-solver and diffusers have it: a
    /// second-order method.
    #[must_use]
    pub fn as_published(self) -> Self {
        Self {
            published: true,
            ..self
        }
    }

    /// Takes the first step of order 3 by a single-step method of second order: one more
    /// evaluation, and the whole run is third order. The path must have a schedule. Nothing changes
    /// for orders 1 and 2 and with τ > 0.
    #[must_use]
    pub fn warmed_up(self) -> Self {
        Self {
            warmed_up: true,
            ..self
        }
    }
}

impl Solver for DpmSolver {
    /// # Errors
    ///
    /// [`Error::PathWithoutSchedule`] where a warm-up needs a level off the grid.
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let posteriors = path
            .edges()
            .map(|(from, to)| StridedPosterior::new(from, to, Kappa::Ddim))
            .all_listed()?;
        let sizes: Vec<f64> = posteriors
            .iter()
            .map(StridedPosterior::step_size)
            .listed()?;
        let slope = self.form.slope();
        let rule = Rule {
            estimate: Estimate::Noise,
            slope,
            published: self.published,
            warmed_up: self.warmed_up,
            extrapolation: self.bounds.policy(self.order, slope, self.tau > 0.0),
            noise_tau: self.tau,
        };
        Plan::of_steps(rule.steps(path, &posteriors, &sizes, 1.0)?)
    }

    /// 2 for order 3 as published, and with noise at most 2.
    fn order(&self) -> usize {
        let order = self.bounds.order(self.order);
        if self.published || self.tau > 0.0 {
            order.min(2)
        } else {
            order
        }
    }
}

pub(super) fn entries() -> Vec<Entry> {
    let source = "Lu et al. 2022, noise form; multistep as in their code";
    let solver = DpmSolver::new();
    let third = DpmSolver { order: 3, ..solver };
    let exact = SecondOrderForm::Exact;
    vec![
        Entry::new("DPM-Solver multistep 2", solver, source),
        Entry::new(
            "DPM-Solver multistep 2, exact",
            solver.with_form(exact),
            source,
        ),
        Entry::new("DPM-Solver multistep 3", third, source),
        Entry::new(
            "DPM-Solver multistep 3, warmed up",
            third.warmed_up(),
            source,
        ),
        Entry::new(
            "DPM-Solver multistep 3, as published",
            third.as_published(),
            source,
        ),
        Entry::new("SDE-DPM-Solver multistep 2", DpmSolver::sde(), source),
    ]
}

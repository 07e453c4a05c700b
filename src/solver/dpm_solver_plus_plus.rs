//! DPM-Solver++, multistep, and its stochastic form.

use super::exponential::{Estimate, Rule, Slope};
use super::extrapolation::{Bounds, bounded};
use super::{Entry, Path, Solver};
use crate::error::{Error, require, require_non_negative};
use crate::memory::Listed;
use crate::plan::Plan;
use crate::posterior::{Kappa, StridedPosterior};

/// How the second-order term is weighted. Both are second order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SecondOrderForm {
    /// As published: (1 − e^−z)/(2q), z = (1 + τ²)h, q the ratio of the previous step to this one.
    #[default]
    Midpoint,
    /// The exact integral of the linear interpolant: zφ₂(−z)/q.
    #[doc(alias = "heun")]
    #[doc(alias = "taylor")]
    Exact,
}

impl SecondOrderForm {
    pub(super) fn slope(self) -> Slope {
        match self {
            Self::Midpoint => Slope::Midpoint,
            Self::Exact => Slope::Exact,
        }
    }
}

/// DPM-Solver++ with the estimates of earlier steps, deterministic or, with τ > 0, stochastic: 1
/// (DDIM), 2M and 3M. One evaluation a step.
///
/// With p = 1 + τ², z = ph, q = h₀/h, h₀ the previous step, 2M is
///
/// ```text
/// x_s = (σ_s/σ_t) e^(−τ²h) x_t + α_s (w₀ D + w₁ D₋₁) + σ_s √(1 − e^(−2τ²h)) ζ
/// w₀ = (1 − e^−z)(1 + 1/(2q))     w₁ = −(1 − e^−z)/(2q)
/// ```
///
/// and 3M takes the parabola through D, D₋₁ and D₋₂: with D' and D'' its first and half its second
/// derivative in units of the step, α_s ((1 − e^−z) D + zφ₂(−z) D' + 2zφ₃(−z) D'').
///
/// Lu, Zhou, Bao, Chen, Li and Zhu (2022), "DPM-Solver++: Fast Solver for Guided Sampling of
/// Diffusion Probabilistic Models". The first step, a step onto σ_s = 0, and a step from or after
/// α_t = 0 are first order. τ² is k-diffusion's eta.
///
/// **Third order, corrected.** The code that dpm-solver, k-diffusion (3M SDE) and diffusers ship has
/// the factor 1 in place of 2 before zφ₃(−z). It is a second-order method;
/// [`as_published`](Self::as_published) is that code. Third order also needs an exact start: from
/// the usual first-order first step the error of the whole run is second order, unless
/// [`warmed_up`](Self::warmed_up) takes that step with one more evaluation. With noise (τ > 0) the
/// distribution converges with order 2, for 3M as for 2M.
///
/// D is never extrapolated over less than 1/16 of a step; where τ > 0, over less than 1/4 in the
/// midpoint form of 2M and 1/2 elsewhere. Where the last knot is nearer, the one before it serves,
/// or the step is of a lower order. [`unbounded`](Self::unbounded) extrapolates over any ratio.
///
/// On few steps over a wide range of λ extrapolation can do harm, on data with separated narrow
/// modes above all; on Gaussian data it did not. [`guarded`](Self::guarded) is the insurance: it
/// extrapolates over moderate steps only, at the price of second order's gain where no harm was to
/// be feared. docs/choosing.md has the figures.
///
/// ```
/// use diffusion_sampler::{Grid, schedule::TableSchedule};
/// use diffusion_sampler::solver::{DpmSolverPlusPlus, Path, Solver};
///
/// let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
/// let grid = Grid::trailing(&schedule, 20)?;
/// let plan = DpmSolverPlusPlus::new().plan(&Path::new(&schedule, &grid)?)?;
/// assert_eq!((plan.evaluations(), plan.slots()), (20, 1));
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[doc(alias = "DPM++ 2M")]
#[doc(alias = "dpmpp_2m")]
#[doc(alias = "DPMSolverMultistepScheduler")]
#[doc(alias = "dpmpp_2m_sde")]
#[doc(alias = "dpmpp_3m_sde")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DpmSolverPlusPlus {
    pub(super) order: usize,
    pub(super) tau: f64,
    pub(super) form: SecondOrderForm,
    pub(super) published: bool,
    pub(super) warmed_up: bool,
    pub(super) bounds: Bounds,
}

bounded!(DpmSolverPlusPlus);

impl Default for DpmSolverPlusPlus {
    fn default() -> Self {
        Self::new()
    }
}

impl DpmSolverPlusPlus {
    /// DPM-Solver++(2M), deterministic, in its published form.
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

    /// The multistep solver of this order: 1 is DDIM, 2 is 2M, 3 is 3M.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for any other order.
    #[doc(alias = "solver_order")]
    pub fn multistep(order: usize) -> Result<Self, Error> {
        require((1..=3).contains(&order), "order", order as f64, "1, 2 or 3")?;
        Ok(Self {
            order,
            ..Self::new()
        })
    }

    /// SDE-DPM-Solver++(2M): τ = 1.
    pub fn sde() -> Self {
        Self {
            tau: 1.0,
            ..Self::new()
        }
    }

    /// The same solver with constant noise rate τ; 0 is deterministic, 1 the published SDE form.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for a τ that is negative or not finite.
    pub fn with_tau(self, tau: f64) -> Result<Self, Error> {
        require_non_negative("tau", tau)?;
        Ok(Self { tau, ..self })
    }

    /// The same solver with another weight of the second-order term.
    #[must_use]
    #[doc(alias = "solver_type")]
    pub fn with_form(self, form: SecondOrderForm) -> Self {
        Self { form, ..self }
    }

    /// 3M with half the weight of the second difference, as dpm-solver, k-diffusion's 3M SDE and
    /// diffusers have it: a second-order method. Orders 1 and 2 do not change.
    #[must_use]
    pub fn as_published(self) -> Self {
        Self {
            published: true,
            ..self
        }
    }

    /// Takes the first step of 3M by DPM-Solver++(2S): one more evaluation, at the middle of the step
    /// in λ, so that the whole run is third order. The path must have a schedule. Nothing changes
    /// for orders 1 and 2 and with τ > 0.
    #[must_use]
    pub fn warmed_up(self) -> Self {
        Self {
            warmed_up: true,
            ..self
        }
    }

    fn rule(&self) -> Rule {
        let slope = self.form.slope();
        Rule {
            estimate: Estimate::Data,
            slope,
            published: self.published,
            warmed_up: self.warmed_up,
            extrapolation: self.bounds.policy(self.order, slope, self.tau > 0.0),
            noise_tau: 0.0,
        }
    }
}

impl Solver for DpmSolverPlusPlus {
    /// # Errors
    ///
    /// [`Error::PathWithoutSchedule`] where a warm-up needs a level off the grid.
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let posteriors = path
            .edges()
            .map(|(from, to)| StridedPosterior::new(from, to, Kappa::Tau(self.tau)))
            .all_listed()?;
        let sizes: Vec<f64> = posteriors
            .iter()
            .map(StridedPosterior::step_size)
            .listed()?;
        let rate = 1.0 + self.tau * self.tau;
        Plan::of_steps(self.rule().steps(path, &posteriors, &sizes, rate)?)
    }

    /// 2 for 3M as published; with noise, or a lower order at the end, at most 2.
    fn order(&self) -> usize {
        if self.published || self.bounds.lower_order_final || self.tau > 0.0 {
            self.order.min(2)
        } else {
            self.order
        }
    }
}

pub(super) fn entries() -> Vec<Entry> {
    let source = "Lu et al. 2022";
    let exact = |solver: DpmSolverPlusPlus| solver.with_form(SecondOrderForm::Exact);
    let (ode, sde) = (DpmSolverPlusPlus::new(), DpmSolverPlusPlus::sde());
    let third = |solver| DpmSolverPlusPlus { order: 3, ..solver };
    vec![
        Entry::new("DPM-Solver++(2M)", ode, source),
        Entry::new("DPM-Solver++(2M), exact", exact(ode), source),
        Entry::new("DPM-Solver++(3M)", third(ode), source),
        Entry::new(
            "DPM-Solver++(3M), warmed up",
            third(ode).warmed_up(),
            source,
        ),
        Entry::new(
            "DPM-Solver++(3M), as published",
            third(ode).as_published(),
            source,
        ),
        Entry::new("SDE-DPM-Solver++(2M)", sde, source),
        Entry::new("SDE-DPM-Solver++(2M), exact", exact(sde), source),
        Entry::new("SDE-DPM-Solver++(3M)", third(sde), source),
        Entry::new(
            "SDE-DPM-Solver++(3M), as published",
            third(sde).as_published(),
            source,
        ),
    ]
}

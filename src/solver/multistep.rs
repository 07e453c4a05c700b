//! DPM-Solver++ of second order, multistep, and its stochastic form.

use super::Solver;
use crate::error::{Error, require_non_negative};
use crate::grid::Grid;
use crate::plan::{Plan, Stage, Step, Store, Update};
use crate::posterior::{Kappa, StridedPosterior};
use crate::special::phi;

/// How the second-order term is weighted. Both are second order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SecondOrderForm {
    /// As published: (1 − e^−z)/(2q), z = (1 + τ²)h, q the ratio of the previous step to this one.
    #[default]
    Midpoint,
    /// The exact integral of the linear interpolant: zφ₂(−z)/q.
    Exact,
}

/// DPM-Solver++(2M) and, with τ > 0, SDE-DPM-Solver++(2M): one evaluation a step, second order from the previous step's D.
///
/// With p = 1 + τ², z = ph, q = h₀/h, h₀ the previous step:
///
/// ```text
/// x_s = (σ_s/σ_t) e^(−τ²h) x_t + α_s (w₀ D + w₁ D₋₁) + σ_s √(1 − e^(−2τ²h)) ζ
/// w₀ = (1 − e^−z)(1 + 1/(2q))     w₁ = −(1 − e^−z)/(2q)
/// ```
///
/// Lu, Zhou, Bao, Chen, Li and Zhu (2022), "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic
/// Models". The first step, a step onto σ_s = 0, and a step from or after α_t = 0 are first order. τ² is k-diffusion's eta.
///
/// On few steps over a wide range of λ extrapolation can do harm, on data with separated narrow modes above all; on
/// Gaussian data it did not. [`guarded`](Self::guarded) is the insurance: it extrapolates over moderate steps only, at the
/// price of second order's gain where no harm was to be feared. docs/choosing.md has the figures.
///
/// ```
/// use diffusion_sampler::{Grid, schedule::TableSchedule, solver::{DpmSolverPp2M, Solver}};
///
/// let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
/// let plan = DpmSolverPp2M::new().plan(&Grid::trailing(&schedule, 20)?)?;
/// assert_eq!((plan.evaluations(), plan.slots()), (20, 1));
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct DpmSolverPp2M {
    tau: f64,
    form: SecondOrderForm,
    guarded: bool,
}

/// The largest step and the largest ratio of neighbouring steps that a guarded solver extrapolates over.
///
/// Neither is a border between good and bad: beyond the step, second order was measured to lose to first by up to a factor
/// of 1.6 on separated narrow modes, and to win by up to a factor of 4 on Gaussian data (docs/choosing.md). 1.5 is on the
/// cautious side. The ratio hardly matters: it binds after the very long first step of the cosine and flow schedules, where
/// the extrapolation is small anyway.
const GUARD_STEP: f64 = 1.5;
const GUARD_RATIO: f64 = 2.0;

impl DpmSolverPp2M {
    /// The deterministic solver in its published form.
    pub fn new() -> Self {
        Self::default()
    }

    /// The stochastic solver with constant noise rate τ; 1 is the published SDE form.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for a τ that is negative or not finite.
    pub fn stochastic(tau: f64) -> Result<Self, Error> {
        require_non_negative("tau", tau)?;
        Ok(Self {
            tau,
            ..Self::default()
        })
    }

    /// The same solver with another weight of the second-order term.
    #[must_use]
    pub fn with_form(self, form: SecondOrderForm) -> Self {
        Self { form, ..self }
    }

    /// First order where h > 1.5 or neighbouring steps differ by more than a factor of 2. Where all steps are longer, as for
    /// 5 steps uniform in λ over a usual range, nothing of second order is left.
    #[must_use]
    pub fn guarded(self) -> Self {
        Self {
            guarded: true,
            ..self
        }
    }

    /// The weight of D − D₋₁, or `None` where the step is first order.
    fn second_order_weight(&self, h: f64, previous: Option<f64>) -> Option<f64> {
        let previous = previous?;
        if h.is_infinite() {
            return None;
        }
        let q = previous / h;
        if self.guarded && (h > GUARD_STEP || q.max(1.0 / q) > GUARD_RATIO) {
            return None;
        }
        let z = (1.0 + self.tau * self.tau) * h;
        Some(match self.form {
            SecondOrderForm::Midpoint => -libm::expm1(-z) / (2.0 * q),
            // zφ₂(−z) = 1 + expm1(−z)/z, which is finite for a z that is not.
            SecondOrderForm::Exact if z > 1.0 => (1.0 + libm::expm1(-z) / z) / q,
            SecondOrderForm::Exact => z * phi(2, -z) / q,
        })
    }
}

impl Solver for DpmSolverPp2M {
    /// # Errors
    ///
    /// None on a valid grid.
    fn plan(&self, grid: &Grid) -> Result<Plan, Error> {
        let mut steps = Vec::with_capacity(grid.steps());
        // h of the previous step, where its D may serve as history.
        let mut previous = None;
        for pair in grid.levels().windows(2) {
            let (from, to) = (pair[0], pair[1]);
            let posterior = StridedPosterior::new(from, to, Kappa::Tau(self.tau))?;
            let h = posterior.step_size();
            let extra = self
                .second_order_weight(h, previous)
                .map(|weight| to.alpha() * weight);
            steps.push(Step {
                from,
                to,
                stages: vec![Stage::evaluating(
                    from,
                    Update {
                        state: posterior.state_coefficient(),
                        data: posterior.data_coefficient() + extra.unwrap_or(0.0),
                        history: extra.map(|weight| (0, -weight)).into_iter().collect(),
                        noise: posterior.gamma(),
                        store: Some(Store {
                            slot: 0,
                            state: 0.0,
                            data: 1.0,
                        }),
                    },
                )],
            });
            previous = (from.alpha() > 0.0).then_some(h);
        }
        // Nothing reads the last step's D.
        if let Some(stage) = steps.last_mut().and_then(|step| step.stages.last_mut()) {
            stage.update.store = None;
        }
        Plan::new(steps, usize::from(grid.steps() > 1))
    }
}

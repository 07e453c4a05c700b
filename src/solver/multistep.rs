//! DPM-Solver++, multistep, and its stochastic form.

use super::{Entry, Path, Solver};
use crate::error::{Error, require, require_non_negative};
use crate::plan::{Plan, Step, Store, Update};
use crate::posterior::{Kappa, StridedPosterior};
use crate::special::phi;

/// How the second-order term is weighted. Both are second order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SecondOrderForm {
    /// As published: (1 − e^−z)/(2q), z = (1 + τ²)h, q the ratio of the previous step to this one.
    #[default]
    Midpoint,
    /// The exact integral of the linear interpolant: zφ₂(−z)/q.
    Exact,
}

/// DPM-Solver++(2M) and, with τ > 0, SDE-DPM-Solver++(2M): one evaluation a step, second order from
/// the previous step's D.
///
/// With p = 1 + τ², z = ph, q = h₀/h, h₀ the previous step:
///
/// ```text
/// x_s = (σ_s/σ_t) e^(−τ²h) x_t + α_s (w₀ D + w₁ D₋₁) + σ_s √(1 − e^(−2τ²h)) ζ
/// w₀ = (1 − e^−z)(1 + 1/(2q))     w₁ = −(1 − e^−z)/(2q)
/// ```
///
/// Lu, Zhou, Bao, Chen, Li and Zhu (2022), "DPM-Solver++: Fast Solver for Guided Sampling of
/// Diffusion Probabilistic Models". The first step, a step onto σ_s = 0, and a step from or after
/// α_t = 0 are first order. τ² is k-diffusion's eta.
///
/// D is never extrapolated over less than 1/16 of a step; where τ > 0, over less than 1/4 in the
/// midpoint form and 1/2 in the exact one. Where the last knot is nearer, the one before it serves,
/// or the step is first order. [`unbounded`](Self::unbounded) extrapolates over any ratio.
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
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DpmSolverPlusPlus {
    pub(super) order: usize,
    pub(super) tau: f64,
    pub(super) form: SecondOrderForm,
    pub(super) guarded: bool,
    pub(super) bounded: bool,
}

/// The largest step and the largest ratio of neighbouring steps that a guarded solver extrapolates
/// over.
///
/// Neither is a border between good and bad: beyond the step, second order was measured to lose to
/// first by up to a factor of 1.6 on separated narrow modes, and to win by up to a factor of 4 on
/// Gaussian data (docs/choosing.md). 1.5 is on the cautious side. The ratio hardly matters: it
/// binds after the very long first step of the cosine and flow schedules, where the extrapolation
/// is small anyway.
const GUARD_STEP: f64 = 1.5;
const GUARD_RATIO: f64 = 2.0;

/// The shortest distance, in steps, from which D is extrapolated; where the last knot is nearer,
/// the one before it serves. A difference quotient over a distance q amplifies the rounding of D,
/// and what a network adds to it, by 1/(2q): over 3e-16 of a step nothing else is left.
///
/// Measured by tests/core/ratios.rs: a knot put 3e-16 to 3/4 of a step above another, on five
/// schedules with K from 5 to 50, against the exact flow of Gaussians and of two modes, and by
/// exact moments. Without noise any bound from 1/32 to 1/2 leaves at most 0.999 of first order's
/// error (1e8 times it without a bound, in f32) and nearly the same mean. This one changes little of
/// the published method, and the quotient makes at most 5e-7 of D of f32's rounding.
const MIN_RATIO: f64 = 1.0 / 16.0;

/// The same with noise. D and D₋₁ then differ by noise of size τ√(2qh) too, which the quotient
/// turns into more, the shorter the step. The largest share of first order's error at τ = 1:
///
/// | bound | 1/16 | 1/8 | 1/4 | 1/3 | 1/2 |
/// |---|---|---|---|---|---|
/// | [`SecondOrderForm::Midpoint`] | 1.93 | 1.06 | 1.00 | 1.00 | 1.00 |
/// | [`SecondOrderForm::Exact`] | 3.41 | 2.08 | 1.27 | 1.06 | 1.00 |
const MIN_RATIO_WITH_NOISE: [f64; 2] = [0.25, 0.5];

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
            guarded: false,
            bounded: true,
        }
    }

    /// The multistep solver of this order: 1 is DDIM, 2 is 2M.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for any other order.
    pub fn multistep(order: usize) -> Result<Self, Error> {
        require((1..=2).contains(&order), "order", order as f64, "1 or 2")?;
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
    pub fn with_form(self, form: SecondOrderForm) -> Self {
        Self { form, ..self }
    }

    /// First order where h > 1.5 or neighbouring steps differ by more than a factor of 2. Where all
    /// steps are longer, as for 5 steps uniform in λ over a usual range, nothing of second order is
    /// left.
    #[must_use]
    pub fn guarded(self) -> Self {
        Self {
            guarded: true,
            ..self
        }
    }

    /// Extrapolates over any step ratio, as published code does. On the usual grids nothing changes
    /// without noise; with noise, the last step before the clean end of a leading or linspace grid is
    /// then second order, at the cost of up to twice first order's error in distribution. Starts
    /// within a small fraction of a step above a knot are wrong, without bound.
    #[must_use]
    pub fn unbounded(self) -> Self {
        Self {
            bounded: false,
            ..self
        }
    }

    /// The weight of D − D₋₁, or `None` where the step is first order.
    fn second_order_weight(&self, h: f64, previous: Option<f64>) -> Option<f64> {
        let previous = previous?;
        if h.is_infinite() || self.order < 2 {
            return None;
        }
        let q = previous / h;
        let too_far = h > GUARD_STEP || q.max(1.0 / q) > GUARD_RATIO;
        if q < self.min_ratio() || (self.guarded && too_far) {
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

    fn min_ratio(&self) -> f64 {
        let [midpoint, exact] = MIN_RATIO_WITH_NOISE;
        match self.form {
            _ if !self.bounded => 0.0,
            _ if self.tau == 0.0 => MIN_RATIO,
            SecondOrderForm::Midpoint => midpoint,
            SecondOrderForm::Exact => exact,
        }
    }

    /// For each step, given their sizes, whether D at its start is kept: not where it would be too
    /// near to the next step, nor in a run of tiny steps before a long one. What was kept before then
    /// serves that step.
    fn kept(&self, sizes: &[f64]) -> Vec<bool> {
        let mut kept = vec![false; sizes.len()];
        if self.order < 2 {
            return kept;
        }
        // The least of (distance of the D − what is needed) over all later steps. By the smaller
        // bound: a larger one would leave D stale over many steps for the sake of one.
        let mut spare = f64::INFINITY;
        for (index, pair) in sizes.windows(2).enumerate().rev() {
            if pair[1].is_finite() {
                spare = spare.min(-self.min_ratio().min(MIN_RATIO) * pair[1]);
            }
            spare += pair[0];
            let serves_next = pair[0] >= self.min_ratio() * pair[1];
            kept[index] = serves_next && spare >= 0.0 && spare.is_finite();
        }
        kept
    }
}

impl Solver for DpmSolverPlusPlus {
    /// # Errors
    ///
    /// None on a valid grid.
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let posteriors = path
            .edges()
            .map(|(from, to)| StridedPosterior::new(from, to, Kappa::Tau(self.tau)))
            .collect::<Result<Vec<_>, _>>()?;
        let sizes: Vec<f64> = posteriors.iter().map(StridedPosterior::step_size).collect();
        // How far the D in the slot lies behind the step's start, if there is one.
        let mut previous: Option<f64> = None;
        let mut steps = Vec::with_capacity(posteriors.len());
        for (posterior, keep) in posteriors.iter().zip(self.kept(&sizes)) {
            let (from, to, h) = (posterior.from(), posterior.to(), posterior.step_size());
            let extra = self
                .second_order_weight(h, previous)
                .map(|weight| to.alpha() * weight);
            steps.push(Step::simple(
                from,
                to,
                Update {
                    state: posterior.state_coefficient(),
                    data: posterior.data_coefficient() + extra.unwrap_or(0.0),
                    history: extra.map(|weight| (0, -weight)).into_iter().collect(),
                    noise: posterior.gamma(),
                    store: keep.then(|| Store::data(0)),
                },
            ));
            previous = if keep {
                Some(h)
            } else {
                previous.map(|distance| distance + h)
            };
        }
        let slots = steps
            .iter()
            .any(|step| step.stages[0].update.store.is_some());
        Plan::new(steps, usize::from(slots))
    }

    fn order(&self) -> usize {
        self.order
    }
}

pub(super) fn entries() -> Vec<Entry> {
    let source = "Lu et al. 2022";
    let exact = |solver: DpmSolverPlusPlus| solver.with_form(SecondOrderForm::Exact);
    let (ode, sde) = (DpmSolverPlusPlus::new(), DpmSolverPlusPlus::sde());
    vec![
        Entry::new("DPM-Solver++(2M)", ode, source),
        Entry::new("DPM-Solver++(2M), exact", exact(ode), source),
        Entry::new("SDE-DPM-Solver++(2M)", sde, source),
        Entry::new("SDE-DPM-Solver++(2M), exact", exact(sde), source),
    ]
}

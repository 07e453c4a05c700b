//! UniPC: predictor and corrector of one order.

use super::exponential::{Estimate, Slope};
use super::extrapolation::{Bounds, bounded};
use super::predictor_corrector::{Corrector, Lowering, PredictorCorrector};
use super::{Entry, Path, Solver};
use crate::error::{Error, require};
use crate::plan::Plan;

/// UniPC's function B(h): the weight of the slope where a rule has two estimates.
///
/// Every rule with more estimates solves for its weights, and B cancels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Basis {
    /// B₁ = h.
    #[doc(alias = "bh1")]
    Bh1,
    /// B₂ = 1 − e^−h (in noise form e^h − 1).
    #[default]
    #[doc(alias = "bh2")]
    Bh2,
}

/// UniPC of orders 1 to 3: UniP-p predicts, UniC-p corrects with the estimate on the predicted
/// state, which the next prediction needs anyway. One evaluation a step, p slots.
///
/// ```text
/// UniP-1 (DDIM)  x_s = (σ_s/σ_t) x_t + α_s (1 − e^−h) D
/// UniP-2         + α_s (B/2) (D − D₋₁)/q                        q = h₀/h
/// UniP-3         the parabola through D, D₋₁, D₋₂, exactly
/// UniC-1         UniP-1 + α_s (B/2) (D_s − D)
/// UniC-p         the polynomial through D_s, D and p − 1 older ones, exactly
/// ```
///
/// with B of [`Basis`]. Zhao, Bai, Rao, Zhou and Lu (2023), "UniPC: A Unified Predictor-Corrector
/// Framework for Fast Sampling of Diffusion Models". Corrected, the order is p + 1 (order 3 is seen
/// with 3.9 on smooth data); [`predictor_only`](Self::predictor_only) has order p.
///
/// **The state between steps is the predicted one.** Correction and next prediction are one update;
/// the last step is a prediction, as in diffusers. Onto σ_s = 0 the step returns the estimate on the
/// predicted state. From or after α_t = 0 the step is first order and is not corrected.
///
/// [`lower_order_final`](Self::lower_order_final) is diffusers' option, on by default there and in
/// ComfyUI (whose uni_pc is order min(3, K) with B₁, uni_pc_bh2 with B₂), off here: without a clean
/// end it makes the method one of second order.
///
/// ```
/// use diffusion_sampler::{Grid, schedule::TableSchedule};
/// use diffusion_sampler::solver::{Path, Solver, UniPc};
///
/// let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
/// let grid = Grid::trailing(&schedule, 20)?;
/// let solver = UniPc::order(3)?.lower_order_final();
/// let plan = solver.plan(&Path::new(&schedule, &grid)?)?;
/// assert_eq!((plan.evaluations(), plan.slots()), (20, 3));
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[doc(alias = "UniPCMultistepScheduler")]
#[doc(alias = "uni_pc")]
#[doc(alias = "uni_pc_bh2")]
#[derive(Clone, Debug, PartialEq)]
pub struct UniPc {
    pub(super) order: usize,
    pub(super) basis: Basis,
    pub(super) estimate: Estimate,
    pub(super) corrected: bool,
    pub(super) without: Vec<usize>,
    pub(super) bounds: Bounds,
}

bounded!(UniPc);

impl UniPc {
    /// UniPC-p with B₂, for D, corrected on every step.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless `order` is 1, 2 or 3.
    pub fn order(order: usize) -> Result<Self, Error> {
        require((1..=3).contains(&order), "order", order as f64, "1, 2 or 3")?;
        Ok(Self {
            order,
            basis: Basis::Bh2,
            estimate: Estimate::Data,
            corrected: true,
            without: Vec::new(),
            bounds: Bounds::default(),
        })
    }

    /// The same solver with another B.
    #[must_use]
    pub fn with_basis(self, basis: Basis) -> Self {
        Self { basis, ..self }
    }

    /// UniP: never corrects.
    #[must_use]
    pub fn predictor_only(self) -> Self {
        Self {
            corrected: false,
            ..self
        }
    }

    /// Does not correct the results of these steps, the first being 0. On the first steps, under
    /// strong guidance, a correction can do harm.
    #[doc(alias = "disable_corrector")]
    #[must_use]
    pub fn without_corrector_at(self, steps: Vec<usize>) -> Self {
        Self {
            without: steps,
            ..self
        }
    }

    /// The noise form, which interpolates E under e^h: diffusers' `predict_x0 = False`. Onto σ_s = 0,
    /// where e^h is infinite, it returns α_s D as the data form does. Where noise dominates, errors
    /// grow from step to step where h > 0.69, at order 1; the data form has no such limit.
    #[doc(alias = "predict_x0")]
    #[must_use]
    pub fn in_noise(self) -> Self {
        Self {
            estimate: Estimate::Noise,
            ..self
        }
    }

    /// The plan, with a correction of the state at the end by one more evaluation.
    pub(crate) fn plan_to(&self, path: &Path<'_>, corrects_end: bool) -> Result<Plan, Error> {
        let slope = match self.basis {
            Basis::Bh1 => Slope::Linear,
            Basis::Bh2 => Slope::Midpoint,
        };
        let corrector = if self.corrected {
            Corrector::OneMore
        } else {
            Corrector::None
        };
        let lowering = if self.bounds.lower_order_final {
            Lowering::Steps
        } else {
            Lowering::Off
        };
        let rule = PredictorCorrector {
            estimate: self.estimate,
            slope,
            predictor: self.bounds.policy(self.order, slope, false),
            corrector,
            evaluates_twice: false,
            without: &self.without,
            lowering,
            corrects_end,
        };
        Plan::of_steps(rule.steps(path, &crate::memory::repeated(0.0, path.edges().len())?)?)
    }
}

impl Solver for UniPc {
    /// # Errors
    ///
    /// None on a valid grid.
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        self.plan_to(path, false)
    }

    /// p + 1, and p without the corrector; at most 2 with a lower order at the end.
    fn order(&self) -> usize {
        self.bounds.order(self.order + usize::from(self.corrected))
    }
}

pub(super) fn entries() -> Vec<Entry> {
    let source = "Zhao et al. 2023";
    let order = |order| UniPc {
        order,
        basis: Basis::Bh2,
        estimate: Estimate::Data,
        corrected: true,
        without: Vec::new(),
        bounds: Bounds::default(),
    };
    vec![
        Entry::new("UniPC-1", order(1), source),
        Entry::new("UniPC-2", order(2), source),
        Entry::new("UniPC-2, B1", order(2).with_basis(Basis::Bh1), source),
        Entry::new("UniPC-2, noise form", order(2).in_noise(), source),
        Entry::new("UniPC-3", order(3), source),
        Entry::new("UniP-2", order(2).predictor_only(), source),
        Entry::new("UniP-3", order(3).predictor_only(), source),
    ]
}

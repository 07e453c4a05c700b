//! The gradient-estimation sampler.

use super::slopes::{Axis, Slopes};
use super::{Entry, Path, Solver};
use crate::error::{Error, require};
use crate::plan::Plan;

/// The gradient-estimation sampler: a DDIM step with E' = γE + (1 − γ)E₋₁. One evaluation a step.
///
/// ```text
/// x_s/α_s = x_t/α_t + (ρ_s − ρ_t) E'        γ = 2 unless told otherwise
/// ```
///
/// Permenter and Yuan (2024), "Interpreting and Improving Diffusion Models from an Optimization
/// Perspective"; ComfyUI's `gradient_estimation` with `ge_gamma` γ. γ = 1 is DDIM; γ = 3/2 is
/// second order, iPNDM of order 2; every other γ is first order, with |γ − 3/2| times its error
/// where DDIM has ½ times it. Good with few steps (5 to 10 in the paper).
///
/// ComfyUI's `gradient_estimation_cfg_pp` is this solver with the guidance
/// [`PlusPlus`](crate::guidance::PlusPlus): D then comes from the guided estimate and both E from the
/// unconditional one.
///
/// The first step and a step from or after α_t = 0 are DDIM's; the step onto σ_s = 0 returns D.
///
/// ```
/// use diffusion_sampler::{Grid, schedule::TableSchedule};
/// use diffusion_sampler::solver::{GradientEstimation, Path, Solver};
///
/// let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
/// let grid = Grid::trailing(&schedule, 8)?;
/// let plan = GradientEstimation::new().plan(&Path::new(&schedule, &grid)?)?;
/// assert_eq!((plan.evaluations(), plan.slots()), (8, 1));
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[doc(alias = "gradient_estimation")]
#[doc(alias = "ge_gamma")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GradientEstimation {
    pub(super) gamma: f64,
    pub(super) axis: Axis,
}

impl Default for GradientEstimation {
    fn default() -> Self {
        Self::new()
    }
}

impl GradientEstimation {
    /// The sampler with γ = 2.
    pub fn new() -> Self {
        Self {
            gamma: 2.0,
            axis: Axis::Rho,
        }
    }

    /// The same sampler with another γ.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless |`gamma`| ≤ 1e9.
    pub fn with_gamma(self, gamma: f64) -> Result<Self, Error> {
        require(
            gamma.abs() <= 1e9,
            "gamma",
            gamma,
            "at most 1e9 in magnitude",
        )?;
        Ok(Self { gamma, ..self })
    }

    /// The same rule for the velocity E − D in flow time σ/(α + σ): what ComfyUI's sampler does with
    /// a flow model.
    #[must_use]
    pub fn in_flow_time(self) -> Self {
        Self {
            axis: Axis::FlowTime,
            ..self
        }
    }
}

impl Solver for GradientEstimation {
    /// # Errors
    ///
    /// None on a valid grid.
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let slopes = Slopes {
            axis: self.axis,
            depth: 1,
            extrapolated_end: false,
        };
        slopes.plan(path, |_, _, _| {
            [self.gamma, 1.0 - self.gamma, 0.0, 0.0, 0.0]
        })
    }

    fn order(&self) -> usize {
        if self.gamma == 1.5 { 2 } else { 1 }
    }
}

pub(super) fn entries() -> Vec<Entry> {
    vec![Entry::new(
        "gradient estimation",
        GradientEstimation::new(),
        "Permenter and Yuan 2024",
    )]
}

//! The sampler of latent consistency models.

use super::{Entry, Path, Solver};
use crate::error::{Error, require_positive};
use crate::memory::Listed;
use crate::plan::{Plan, Step, Update};

/// The standard deviation of the data that the boundary scalings assume.
const DATA_STD: f64 = 0.5;
/// What the network's time is multiplied by in the boundary scalings.
const TIMESTEP_SCALING: f64 = 10.0;

/// Multistep consistency sampling with the boundary scalings of latent consistency models, for a
/// model that was distilled to answer with x₀ at once.
///
/// x_s = α_s y + σ_s z with y = c_skip x_t + c_out D, c_skip = σ_d²/(τ² + σ_d²), c_out = τ/√(τ² +
/// σ_d²), σ_d = 0.5, τ = 10 times the network's time t; onto σ_s = 0 it is y. One evaluation a
/// step. Luo et al. (2023), "Latent Consistency Models", as diffusers' `LCMScheduler` computes it;
/// its grid is [`Grid::lcm`](crate::Grid::lcm).
///
/// The scalings were made for tables, where t is an index: at t = 999 they differ from c_skip = 0,
/// c_out = 1 by 3·10⁻⁹. Given x₀ exactly, a step misses α_s x₀ by that much
/// ([`Plan::mean_defect`]). [`without_boundary`](Self::without_boundary) leaves them out, and
/// is right where t is a time between 0 and 1.
///
/// Every step draws new noise around the estimate, so that more steps do not converge to the model's
/// own distribution: use 1 to 8, and no other kind of model.
///
/// ```
/// use diffusion_sampler::{Grid, schedule::TableSchedule, solver::{Lcm, Path, Solver}};
///
/// let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
/// let grid = Grid::lcm(&schedule, 4, 50)?;
/// let plan = Lcm::new().plan(&Path::new(&schedule, &grid)?)?;
/// assert_eq!(plan.evaluations(), 4);
/// assert_eq!(plan.steps()[3].stages[0].update.noise, 0.0);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[doc(alias("LCM", "LCMScheduler", "FlowMatchLCMScheduler", "consistency"))]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lcm {
    /// `None` without the boundary scalings.
    pub(super) timestep_scaling: Option<f64>,
}

impl Default for Lcm {
    fn default() -> Self {
        Self {
            timestep_scaling: Some(TIMESTEP_SCALING),
        }
    }
}

impl Lcm {
    /// With the boundary scalings, the time multiplied by 10.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with the network's time multiplied by `scaling` (`timestep_scaling` of
    /// configuration files).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless positive and finite.
    pub fn with_timestep_scaling(self, scaling: f64) -> Result<Self, Error> {
        require_positive("timestep scaling", scaling)?;
        Ok(Self {
            timestep_scaling: Some(scaling),
        })
    }

    /// The same with c_skip = 0 and c_out = 1: x_s = α_s D + σ_s z, which is
    /// [`Kappa::Fresh`](crate::posterior::Kappa::Fresh). ComfyUI's `lcm`, diffusers'
    /// `FlowMatchLCMScheduler` and the stochastic sampling of its `FlowMatchEulerDiscreteScheduler`.
    #[must_use]
    pub fn without_boundary(self) -> Self {
        Self {
            timestep_scaling: None,
        }
    }

    /// (c_skip, c_out) at a network's time.
    fn boundary(&self, model_time: f64) -> (f64, f64) {
        let Some(scaling) = self.timestep_scaling else {
            return (0.0, 1.0);
        };
        let time = scaling * model_time;
        let norm = libm::hypot(time, DATA_STD);
        ((DATA_STD / norm) * (DATA_STD / norm), time / norm)
    }
}

impl Solver for Lcm {
    /// # Errors
    ///
    /// None on a valid grid whose network's times stay finite under the scaling.
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let steps = path.edges().map(|(from, to)| {
            let (skip, out) = self.boundary(from.model_time());
            let update = Update {
                state: to.alpha() * skip,
                data: to.alpha() * out,
                noise: to.sigma(),
                ..Update::default()
            };
            Step::simple(from, to, update)
        });
        Plan::new(steps.listed()?, 0)
    }

    fn order(&self) -> usize {
        1
    }
}

pub(super) fn entries() -> Vec<Entry> {
    vec![Entry::new("LCM", Lcm::new(), "Luo et al. 2023")]
}

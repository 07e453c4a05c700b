//! The sampler of trajectory consistency models.

use super::{Entry, Path, Solver};
use crate::error::{Error, require};
use crate::level::NoiseLevel;
use crate::memory::Listed;
use crate::plan::{Plan, Step, Update};
use crate::posterior::{StridedPosterior, step_size};

/// Strategic stochastic sampling of trajectory consistency models: a deterministic step down to an
/// earlier time s' ≤ s, then noise back up to s.
///
/// κ = ρ_{s'}/ρ_s, so that x_s = (σ_s/σ_t) κ x_t + α_s (1 − κ r) D + σ_s √(1 − κ²) z, with s' = (1 −
/// γ) s; on a table, where the network's index is i = s − 1, the knot of index ⌊(1 − γ) i⌋. γ = 0 is
/// DDIM; γ = 1 is all the noise that the table allows, near
/// [`Kappa::Fresh`](crate::posterior::Kappa::Fresh). One evaluation a step; onto σ_s = 0 it is D. Zheng
/// et al. (2024), "Trajectory Consistency Distillation", as diffusers' `TCDScheduler` computes it
/// (γ is its `eta`, 0.3 by default); its grid is [`Grid::lcm`](crate::Grid::lcm).
///
/// That scheduler's last step goes to index 0 instead of the clean end:
/// [`Grid::ending_at`](crate::Grid::ending_at) time 1. s' does not approach s as the steps become
/// short: with γ > 0 more steps do not converge to the model's own distribution.
///
/// ```
/// use diffusion_sampler::{Grid, schedule::{NoiseSchedule, TableSchedule}};
/// use diffusion_sampler::solver::{Path, Solver, Tcd};
///
/// let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
/// let grid = Grid::lcm(&schedule, 4, 50)?.ending_at(schedule.level(1.0)?)?;
/// let plan = Tcd::new(0.3)?.plan(&Path::new(&schedule, &grid)?)?;
/// assert!(plan.steps()[2].stages[0].update.noise > 0.0);
/// assert_eq!(plan.steps()[3].stages[0].update.noise, 0.0);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[doc(alias("TCDScheduler", "eta"))]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tcd {
    pub(super) gamma: f64,
}

impl Tcd {
    /// With stochasticity γ.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless 0 ≤ `gamma` ≤ 1.
    pub fn new(gamma: f64) -> Result<Self, Error> {
        require((0.0..=1.0).contains(&gamma), "gamma", gamma, "from 0 to 1")?;
        Ok(Self { gamma })
    }

    /// λ_{s'} − λ_s: κ = e^(−this).
    fn decay(&self, path: &Path<'_>, to: &NoiseLevel) -> Result<f64, Error> {
        if self.gamma == 0.0 || to.is_clean() {
            return Ok(0.0);
        }
        let kept = 1.0 - self.gamma;
        let time = if path.is_table() {
            // Below the first knot: the clean end.
            (whole(kept * (to.time() - 1.0)) + 1.0).max(0.0)
        } else {
            kept * to.time()
        };
        let below = path.at_time(time.min(to.time()))?;
        Ok(step_size(to, &below).max(0.0))
    }
}

/// ⌊x⌋, of an x that may lie below its integer by rounding: 0.1 as 1 − 0.9.
fn whole(x: f64) -> f64 {
    let nearest = x.round();
    if (x - nearest).abs() <= 1e-12 * x.abs() {
        nearest
    } else {
        x.floor()
    }
}

impl Solver for Tcd {
    /// # Errors
    ///
    /// [`Error::TimeWithoutSchedule`] on a path of bare levels, but for γ = 0;
    /// [`Error::TimeOutOfRange`] where time 0 is not the clean end of the schedule.
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let steps = path.edges().map(|(from, to)| {
            let posterior = StridedPosterior::decaying(from, to, self.decay(path, &to)?)?;
            let update = Update::from(posterior.transition());
            Ok(Step::simple(from, to, update))
        });
        Plan::new(steps.all_listed()?, 0)
    }

    fn order(&self) -> usize {
        1
    }
}

pub(super) fn entries() -> Vec<Entry> {
    let solver = Tcd { gamma: 0.3 };
    vec![Entry::new("TCD", solver, "Zheng et al. 2024")]
}

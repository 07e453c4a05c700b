//! Heun's method, in ρ and in flow time, and EDM's stochastic sampler.

use super::churn::{self, Churn};
use super::coordinate::Coordinate;
use super::{Entry, Path, Solver};
use crate::error::Error;
use crate::level::NoiseLevel;
use crate::memory::Listed;
use crate::plan::{Plan, Stage, Step, Store, Update};
use crate::posterior::{Kappa, StridedPosterior};

/// Heun's second-order method: a DDIM step, and a correction by the slope at its end. Two
/// evaluations a step; a plain DDIM step onto σ_s = 0.
///
/// | constructor | runs on | from α_t = 0 | published |
/// |---|---|---|---|
/// | [`new`](Self::new) | dx̂/dρ = E, x̂ = x/α | plain DDIM | Karras et al. (2022), Algorithm 1 |
/// | [`in_flow_time`](Self::in_flow_time) | dy/ds = E − D, y = x/(α + σ), s = σ/(α + σ) | as any step | diffusers, `FlowMatchHeunDiscreteScheduler` |
/// | [`stochastic`](Self::stochastic) | as `new`, after [`Churn`] | no churn, plain DDIM | Karras et al. (2022), Algorithm 2 |
///
/// The textbook form y' = y + (τ_s − τ_t)(u_t + u_s)/2, with u = (y − D)/τ, needs y beside the
/// predicted state. Here the correction is applied in place, x ← x + ½(τ_t/τ_s − 1)c_s(D_s − D_t),
/// which is the same; τ and c are ρ and α, or s and α + σ.
///
/// Flow time pays on a flow grid that is uniform in s and stops short of clean. With 10 steps from
/// s = 1 to 0.02, on Gaussian data of variance 1/4, its error was 0.4 % of the standard deviation,
/// that of ρ 2.9 % (7.8 times); from s = 0.999, 0.4 and 20 %. Onto a clean end the last step is plain
/// DDIM for both, and flow time gains nothing: on a trailing grid of 10 steps from s = 1 to 0 it
/// missed by 1.8 %, ρ by 0.5 %; at variance 1/20 by 8.4 and 6.4 %. In ρ the correction's factor grows
/// like e^h: with few steps over a wide range of λ it overshoots wildly, up to 19 times the data's
/// size at 5 evaluations; on Gaussian data it overtook DDIM between 20 and 50 (docs/choosing.md).
///
/// ```
/// use diffusion_sampler::{Grid, schedule::{Edm, NoiseSchedule}, solver::{Heun, Path, Solver}};
/// use diffusion_sampler::{schedule::RectifiedFlow, solver::Churn};
///
/// let edm = Edm::default();
/// let grid = Grid::karras(&edm, 18, edm.lambda_range(), 7.0)?;
/// let path = Path::new(&edm, &grid)?;
/// assert_eq!(Heun::new().plan(&path)?.evaluations(), 35);
/// assert_eq!(Heun::stochastic(Churn::new(40.0)?).plan(&path)?.evaluations(), 35);
///
/// let flow = RectifiedFlow::new();
/// let grid = Grid::trailing(&flow, 10)?;
/// assert_eq!(Heun::in_flow_time().plan(&Path::new(&flow, &grid)?)?.evaluations(), 19);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[doc(alias("HeunDiscreteScheduler", "FlowMatchHeunDiscreteScheduler"))]
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Heun {
    pub(super) coordinate: Coordinate,
    pub(super) churn: Option<Churn>,
}

impl Heun {
    /// Heun's method in ρ.
    pub fn new() -> Self {
        Self::default()
    }

    /// Heun's method in flow time. Other schedules than flows are converted through ρ.
    pub fn in_flow_time() -> Self {
        Self {
            coordinate: Coordinate::FlowTime,
            ..Self::new()
        }
    }

    /// EDM's stochastic sampler: Heun's method in ρ with churn. Stage 0 of a churned step draws the
    /// noise.
    #[doc(alias("StochasticHeun", "edm_sampler"))]
    pub fn stochastic(churn: Churn) -> Self {
        Self::new().with_churn(churn)
    }

    /// The same with churn. In flow time too the noise is added in x/α: diffusers adds it to the
    /// flow's own state, which then has no level's marginal.
    #[must_use]
    pub fn with_churn(self, churn: Churn) -> Self {
        Self {
            churn: Some(churn),
            ..self
        }
    }

    /// The stages of a step between two levels.
    fn stages(&self, from: NoiseLevel, to: NoiseLevel) -> Result<Vec<Stage>, Error> {
        let predictor = Update::from(StridedPosterior::new(from, to, Kappa::Ddim)?.transition());
        let weight = 0.5 * self.coordinate.excess(&from, &to) * self.coordinate.scale(&to);
        if !weight.is_finite() {
            return Ok(vec![Stage::evaluating(from, predictor)]);
        }
        let corrector = Update {
            state: 1.0,
            data: weight,
            history: vec![(0, -weight)],
            ..Update::default()
        };
        Ok(vec![
            Stage::evaluating(from, predictor.storing(Store::data(0))),
            Stage::evaluating(to, corrector),
        ])
    }
}

impl Solver for Heun {
    /// # Errors
    ///
    /// [`Error::PathWithoutSchedule`] where churn needs a level that is no knot, else none on a
    /// valid grid. A step so wide that the correction's weight overflows is a plain DDIM step, as
    /// one onto σ_s = 0 is.
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let steps = path.edges().map(|(from, to)| {
            let (mut stages, start) = churn::lift(self.churn, path, from)?;
            stages.extend(self.stages(start, to)?);
            Ok(Step { from, to, stages })
        });
        Plan::new(steps.all_listed()?, 1)
    }

    fn order(&self) -> usize {
        2
    }
}

pub(super) fn entries() -> Vec<Entry> {
    vec![
        Entry::new("Heun", Heun::new(), "Karras et al. 2022, Algorithm 1"),
        Entry::new(
            "Heun in flow time",
            Heun::in_flow_time(),
            "diffusers, FlowMatchHeunDiscreteScheduler",
        ),
        Entry::new(
            "stochastic Heun",
            Heun::stochastic(Churn::of(10.0)),
            "Karras et al. 2022, Algorithm 2",
        ),
    ]
}

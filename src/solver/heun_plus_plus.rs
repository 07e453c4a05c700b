//! Heun++.

use super::churn::{self, Churn};
use super::coordinate::Coordinate;
use super::{Entry, Path, Solver};
use crate::error::Error;
use crate::level::NoiseLevel;
use crate::memory::Listed;
use crate::plan::{Plan, Stage, Step, Store, Update};
use crate::posterior::{Kappa, StridedPosterior};

/// Heun++: a step by the slopes at its start, at its end and at the knot after that, with weights
/// that fall with the noise. Three evaluations a step, two in the last but one, one in the last.
///
/// With τ the noise (ρ, or flow time), u = (y − D)/τ, y₂ and y₃ two Euler steps ahead, and τ_max
/// the run's first knot:
///
/// ```text
/// y' = y + (τ₁ − τ)(w₁u + w₂u₂ + w₃u₃)      w₂ = τ₁/(3τ_max)   w₃ = τ₂/(3τ_max)   w₁ = 1 − w₂ − w₃
/// last but one:  w₂ = τ₁/(2τ_max)   w₁ = 1 − w₂          last:  Euler
/// ```
///
/// ComfyUI's `heunpp2`, from Carzit's sd-webui-sampler-heunpp. The weights are not those of a
/// second-order method: this one is first order, at three evaluations a step. It is here for those
/// who know it by name; [`Heun`](super::Heun) is cheaper and more accurate. In ρ, a run from α = 0
/// has τ_max = ∞ and is plain DDIM; ComfyUI runs flows [in flow time](Self::in_flow_time).
///
/// ```
/// use diffusion_sampler::{Grid, schedule::{Edm, NoiseSchedule}};
/// use diffusion_sampler::solver::{HeunPlusPlus, Path, Solver};
///
/// let edm = Edm::default();
/// let grid = Grid::karras(&edm, 10, edm.lambda_range(), 7.0)?;
/// let plan = HeunPlusPlus::new().plan(&Path::new(&edm, &grid)?)?;
/// assert_eq!((plan.evaluations(), plan.slots()), (8 * 3 + 2 + 1, 2));
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[doc(alias("heunpp2", "Heun++"))]
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct HeunPlusPlus {
    pub(super) coordinate: Coordinate,
    pub(super) churn: Option<Churn>,
}

impl HeunPlusPlus {
    /// Heun++ in ρ.
    pub fn new() -> Self {
        Self::default()
    }

    /// Heun++ in flow time, as ComfyUI runs it on flow models.
    pub fn in_flow_time() -> Self {
        Self {
            coordinate: Coordinate::FlowTime,
            ..Self::new()
        }
    }

    /// The same with churn.
    #[must_use]
    pub fn with_churn(self, churn: Churn) -> Self {
        Self {
            churn: Some(churn),
            ..self
        }
    }

    /// The stages of the step to knots[0]; the run's later knots follow.
    ///
    /// In place, with e = τ/τ₁ − 1: y' = y₂ + e(w₂ + w₃)(D₂ − D₁) + e w₃ (τ₁/τ₂)(D₃ − D₂).
    fn stages(
        &self,
        from: NoiseLevel,
        knots: &[NoiseLevel],
        most: f64,
    ) -> Result<Vec<Stage>, Error> {
        let straight = |from, to| -> Result<Update, Error> {
            Ok(StridedPosterior::new(from, to, Kappa::Ddim)?
                .transition()
                .into())
        };
        let line = self.coordinate;
        let ahead = |to: NoiseLevel| line.time(&to) / most;
        let [to, rest @ ..] = knots else {
            return Ok(Vec::new());
        };
        let first = straight(from, *to)?;
        let reach = line.excess(&from, to) * line.scale(to);
        let (second, third) = match rest {
            [] => return Ok(vec![Stage::evaluating(from, first)]),
            [_] => (reach * ahead(*to) / 2.0, 0.0),
            [next, _, ..] => {
                // w₃ τ₁/τ₂ = τ₁/(3τ_max).
                let third = reach * ahead(*to) / 3.0;
                (reach * (ahead(*to) + ahead(*next)) / 3.0, third)
            }
        };
        // Both vanish where τ_max is infinite.
        if !(second > 0.0 && second.is_finite()) {
            return Ok(vec![Stage::evaluating(from, first)]);
        }
        let mut stages = vec![Stage::evaluating(from, first.storing(Store::data(0)))];
        if let [next, _, ..] = rest {
            // Keeps y₂ and what the result takes of D₂.
            let kept = Store::linear(1, 1.0, second - third);
            stages.push(Stage::evaluating(*to, straight(*to, *next)?.storing(kept)));
            let update = Update {
                data: third,
                history: vec![(0, -second), (1, 1.0)],
                ..Update::default()
            };
            stages.push(Stage::evaluating(*next, update));
        } else {
            let update = Update {
                state: 1.0,
                data: second,
                history: vec![(0, -second)],
                ..Update::default()
            };
            stages.push(Stage::evaluating(*to, update));
        }
        Ok(stages)
    }
}

impl Solver for HeunPlusPlus {
    /// # Errors
    ///
    /// [`Error::PathWithoutSchedule`] where churn needs a level that is no knot. A step so wide that
    /// a weight overflows is a plain DDIM step.
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let knots = path.grid().levels();
        let most = self.coordinate.time(&path.grid().start());
        let steps = path.edges().enumerate().map(|(index, (from, to))| {
            let (mut stages, start) = churn::lift(self.churn, path, from)?;
            stages.extend(self.stages(start, &knots[index + 1..], most)?);
            Ok(Step { from, to, stages })
        });
        Plan::new(steps.all_listed()?, 2)
    }

    /// 1: the weights are not those of a second-order method.
    fn order(&self) -> usize {
        1
    }
}

pub(super) fn entries() -> Vec<Entry> {
    let source = "ComfyUI, heunpp2, after Carzit";
    vec![
        Entry::new("Heun++", HeunPlusPlus::new(), source),
        Entry::new("Heun++ in flow time", HeunPlusPlus::in_flow_time(), source),
    ]
}

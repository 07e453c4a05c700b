//! Euler's method in ρ, with churn.

use super::churn::{self, Churn};
use super::{Entry, Path, Solver};
use crate::error::Error;
use crate::memory::Listed;
use crate::plan::{Plan, Stage, Step, Update};
use crate::posterior::{Kappa, StridedPosterior};

/// Euler's method on dx̂/dρ = E, x̂ = x/α, which is DDIM, with [`Churn`]. One evaluation a step,
/// order 1.
///
/// k-diffusion's `sample_euler` with its four parameters. Without churn it is
/// [`FirstOrder::ddim`](super::FirstOrder::ddim), where the ancestral forms are too.
///
/// ```
/// use diffusion_sampler::{Grid, schedule::{Edm, NoiseSchedule}};
/// use diffusion_sampler::solver::{Churn, Euler, Path, Solver};
///
/// let edm = Edm::default();
/// let grid = Grid::karras(&edm, 18, edm.lambda_range(), 7.0)?;
/// let churned = Euler::new().with_churn(Churn::new(10.0)?);
/// let plan = churned.plan(&Path::new(&edm, &grid)?)?;
/// assert!(plan.evaluations() == 18 && plan.is_stochastic());
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[doc(alias = "sample_euler")]
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Euler {
    pub(super) churn: Option<Churn>,
}

impl Euler {
    /// Euler's method in ρ.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with churn.
    #[must_use]
    pub fn with_churn(self, churn: Churn) -> Self {
        Self { churn: Some(churn) }
    }
}

impl Solver for Euler {
    /// # Errors
    ///
    /// [`Error::PathWithoutSchedule`] where churn needs a level that is no knot.
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let steps = path.edges().map(|(from, to)| {
            let (mut stages, start) = churn::lift(self.churn, path, from)?;
            let straight = StridedPosterior::new(start, to, Kappa::Ddim)?;
            stages.push(Stage::evaluating(
                start,
                Update::from(straight.transition()),
            ));
            Ok(Step { from, to, stages })
        });
        Plan::new(steps.all_listed()?, 0)
    }

    fn order(&self) -> usize {
        1
    }
}

pub(super) fn entries() -> Vec<Entry> {
    let source = "Karras et al. 2022, Algorithm 2; Euler step of k-diffusion";
    let churned = Euler::new().with_churn(Churn::of(10.0));
    vec![Entry::new("churned Euler", churned, source)]
}

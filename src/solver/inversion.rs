//! DDIM run upwards.

use super::{Entry, Path, Solver};
use crate::error::Error;
use crate::level::NoiseLevel;
use crate::memory::Listed;
use crate::plan::{Plan, Stage, Step, Update};
use crate::posterior::{Kappa, StridedPosterior};

/// Deterministic DDIM inversion x₀ → x_T: the κ = 1 step with its ends exchanged, over the knots of
/// the grid from the clean end up. Song, Meng and Ermon (2021), section 4.3.
///
/// Each up-edge takes E at the knot where it stands; the exact inverse of a DDIM step would take it
/// at the other end. The round trip x₀ → x_T → x₀ is therefore *approximate*, and first order: its
/// error falls in proportion to 1/K. From the clean knot, where E is undetermined, the model is
/// evaluated at (α_s x₀, s) and x_s = α_s x₀ + σ_s E. The verification report gives the round
/// trip's error on an exact oracle.
///
/// ```
/// use diffusion_sampler::{Grid, schedule::TableSchedule, solver::{DdimInversion, Path, Solver}};
///
/// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
/// let grid = Grid::trailing(&schedule, 50)?;
/// let plan = DdimInversion::new().plan(&Path::new(&schedule, &grid)?)?;
/// assert_eq!((plan.start().time(), plan.end().time()), (0.0, 1000.0));
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[doc(alias = "DDIMInverse")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct DdimInversion {
    _private: (),
}

impl DdimInversion {
    /// DDIM run upwards.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Solver for DdimInversion {
    /// # Errors
    ///
    /// [`Error::EdgeOverflow`] where σ_t/σ_s of an edge overflows.
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let steps = path
            .edges()
            .rev()
            .map(|(noisy, clean)| up_edge(clean, noisy));
        Plan::new(steps.all_listed()?, 0)
    }

    fn order(&self) -> usize {
        1
    }
}

pub(super) fn up_edge(from: NoiseLevel, to: NoiseLevel) -> Result<Step, Error> {
    let stages = if from.is_clean() {
        vec![
            Stage::without_model(Update {
                state: to.alpha() / from.alpha(),
                ..Update::default()
            }),
            // x + σE with E = (x − αD)/σ.
            Stage::evaluating(
                to,
                Update {
                    state: 2.0,
                    data: -to.alpha(),
                    ..Update::default()
                },
            ),
        ]
    } else {
        let posterior = StridedPosterior::new(from, to, Kappa::Ddim)?;
        vec![Stage::evaluating(
            from,
            Update::from(posterior.transition()),
        )]
    };
    Ok(Step { from, to, stages })
}

pub(super) fn entries() -> Vec<Entry> {
    let source = "Song, Meng and Ermon 2021, section 4.3";
    vec![Entry::new("DDIM inversion", DdimInversion::new(), source).inverting()]
}

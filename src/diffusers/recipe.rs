//! What a configuration comes to.

use std::sync::Arc;

use crate::clip::Clip;
use crate::grid::Grid;
use crate::level::NoiseLevel;
use crate::prediction::Prediction;
use crate::schedule::NoiseSchedule;
use crate::solver::Solver;

/// What a class's reader makes of a configuration and a request.
#[derive(Debug)]
pub(super) struct Recipe {
    pub(super) schedule: Arc<dyn NoiseSchedule>,
    /// All the steps, also where a strength leaves some out. The network's times are those of the
    /// library's list.
    pub(super) grid: Grid,
    pub(super) solver: Arc<dyn Solver>,
    pub(super) prediction: Prediction,
    pub(super) clip: Option<Clip>,
    pub(super) state: State,
    /// What the library multiplies normals by to start.
    pub(super) init_noise_sigma: f64,
    /// Whether the levels of the grid are not the schedule's to rounding, so that the solver sees
    /// the grid alone.
    pub(super) bare: bool,
}

/// In which coordinates the library keeps its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// x = αx₀ + σε, as here.
    Same,
    /// The same on a flow, whose σ is σ itself and not ρ = σ/α.
    Flow,
    /// x/α, and σ means ρ = σ/α: the classes that come from k-diffusion.
    OverAlpha,
}

impl State {
    /// The library's state over the one here.
    pub(super) fn factor(self, level: &NoiseLevel) -> f64 {
        match self {
            Self::Same | Self::Flow => 1.0,
            Self::OverAlpha => 1.0 / level.alpha(),
        }
    }

    /// The variance of a start from normals times `init_noise_sigma`. At α = 0, where both are
    /// infinite in the library's coordinates, it is σ².
    pub(super) fn start_variance(self, init_noise_sigma: f64, start: &NoiseLevel) -> f64 {
        let deviation = match self {
            Self::OverAlpha if start.alpha() == 0.0 => start.sigma(),
            _ => init_noise_sigma / self.factor(start),
        };
        deviation * deviation
    }
}

/// The steps of a grid whose last step, in the library, changes nothing because it ends where it
/// begins: the list of levels without it.
pub(super) fn without_idle_end(mut levels: Vec<NoiseLevel>) -> (Vec<NoiseLevel>, bool) {
    let idle = match levels.as_slice() {
        [.., before, last] => before.lambda() == last.lambda(),
        _ => false,
    };
    if idle {
        levels.pop();
    }
    (levels, idle)
}

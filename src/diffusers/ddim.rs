//! DDIM, and CogVideoX's form of it.

use std::sync::Arc;

use super::Defect;
use super::betas::{self, Betas};
use super::classes::Class;
use super::common::{clip, prediction};
use super::reading::Reading;
use super::recipe::{Recipe, State};
use super::request::Length;
use super::times::{self, Points};
use crate::clip::Clip;
use crate::error::Error;
use crate::grid::Grid;
use crate::level::NoiseLevel;
use crate::plan::{Plan, Step, Update};
use crate::posterior::{Kappa, StridedPosterior};
use crate::schedule::{NoiseSchedule, TableSchedule};
use crate::solver::{FirstOrder, Path, Solver};

pub(super) const CLASS: Class = Class {
    names: &["DDIMScheduler", "DDIMParallelScheduler"],
    fields: &[
        "num_train_timesteps",
        "beta_start",
        "beta_end",
        "beta_schedule",
        "trained_betas",
        "clip_sample",
        "clip_sample_range",
        "thresholding",
        "dynamic_thresholding_ratio",
        "sample_max_value",
        "set_alpha_to_one",
        "steps_offset",
        "prediction_type",
        "timestep_spacing",
        "rescale_betas_zero_snr",
    ],
    read,
};

fn read(reading: &Reading<'_>) -> Result<Recipe, Error> {
    let mut table = betas::table(reading, Betas::LINEAR)?;
    if reading.flag("rescale_betas_zero_snr", false)? {
        table = table.zero_terminal_snr()?;
    }
    // ε stays the network's own where x₀ is clipped, unless the caller asks for the other.
    let recomputed = reading.request().clipped_noise;
    if recomputed {
        reading.uses("use_clipped_model_output");
    }
    let clip = clip(reading, true)?.map(|clip| match recomputed {
        true => clip,
        false => clip.keeping_noise(),
    });
    let kappa = match reading.request().eta {
        Some(eta) => {
            reading.uses("eta");
            Kappa::Eta(eta)
        }
        None => Kappa::Ddim,
    };
    strided(reading, table, clip, |stride| match stride {
        Some(stride) => Arc::new(stride.steps(kappa)),
        None => Arc::new(FirstOrder::new(kappa)),
    })
}

/// The steps along a list of whole-number times, by a solver that is told of the library's stride
/// where that leads elsewhere and is asked for.
pub(super) fn strided(
    reading: &Reading<'_>,
    table: TableSchedule,
    clip: Option<Clip>,
    solver: impl FnOnce(Option<Strided>) -> Arc<dyn Solver>,
) -> Result<Recipe, Error> {
    let times = times::whole(reading, &table, Points::Steps, "leading")?;
    let end = end(reading, &table, true)?;
    let grid = grid(reading, &table, &times, end)?;
    let solver = solver(published_stride(reading, &table, &times, end));
    Ok(Recipe {
        prediction: prediction(reading)?,
        grid,
        solver,
        clip,
        schedule: Arc::new(table),
        state: State::Same,
        init_noise_sigma: 1.0,
        bare: false,
    })
}

/// Where the last step ends: at the clean level, or at index 0.
pub(super) fn end(
    reading: &Reading<'_>,
    table: &TableSchedule,
    default: bool,
) -> Result<NoiseLevel, Error> {
    match reading.flag("set_alpha_to_one", default)? {
        true => Ok(NoiseLevel::clean()),
        false => table.level(1.0),
    }
}

/// The knots of the times, then the end. A last time at which the run has ended already is left out.
pub(super) fn grid(
    reading: &Reading<'_>,
    table: &TableSchedule,
    times: &[f64],
    end: NoiseLevel,
) -> Result<Grid, Error> {
    let grid = Grid::from_indices(table, times)?;
    if end.is_clean() {
        return Ok(grid);
    }
    if times.last() == Some(&0.0) {
        reading.leaves_out_idle_end();
        return grid.without_clean_end();
    }
    grid.ending_at(end)
}

/// The library's stride, where its steps lead elsewhere than to the next time, and it is asked for.
fn published_stride(
    reading: &Reading<'_>,
    table: &TableSchedule,
    times: &[f64],
    end: NoiseLevel,
) -> Option<Strided> {
    let Length::Steps(steps) = reading.request().length else {
        return None;
    };
    let stride = (table.table_len()? / steps) as f64;
    let next = times.iter().skip(1).copied().chain([-1.0]);
    let differs = |(time, next): (&f64, f64)| (time - stride).max(-1.0) != next;
    let matters = times.iter().zip(next).any(differs);
    let table = table.clone();
    let strided = Strided { stride, end, table };
    (matters && reading.defect(Defect::StepsPastTheNextTime)).then_some(strided)
}

/// The library's targets: t − ⌊T/K⌋, whatever the next knot is.
#[derive(Clone)]
pub(super) struct Strided {
    pub(super) stride: f64,
    pub(super) end: NoiseLevel,
    pub(super) table: TableSchedule,
}

/// Without the table, which is long.
impl std::fmt::Debug for Strided {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Strided")
            .field("stride", &self.stride)
            .finish_non_exhaustive()
    }
}

impl Strided {
    /// Where the step from a knot leads, and whether that is the end of the run.
    pub(super) fn target(&self, from: &NoiseLevel) -> Result<(NoiseLevel, bool), Error> {
        let knot = from.time() - self.stride;
        match knot >= 1.0 {
            true => Ok((self.table.level(knot)?, false)),
            false => Ok((self.end, true)),
        }
    }

    /// DDIM's steps to the targets.
    pub(super) fn steps(self, kappa: Kappa) -> impl Solver + 'static {
        StepsBack {
            strided: self,
            kappa,
        }
    }
}

/// First-order steps to the library's targets.
#[derive(Clone, Debug)]
struct StepsBack {
    strided: Strided,
    kappa: Kappa,
}

impl Solver for StepsBack {
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let steps = path.edges().map(|(from, to)| {
            let (target, _) = self.strided.target(&from)?;
            let posterior = StridedPosterior::new(from, target, self.kappa)?;
            let update = Update::from(posterior.transition());
            Ok(Step::simple(from, to, update))
        });
        Plan::new(steps.collect::<Result<_, Error>>()?, 0)
    }

    fn order(&self) -> usize {
        1
    }
}

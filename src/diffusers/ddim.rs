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
    // ε stays the network's own where x₀ is clipped.
    let clip = clip(reading, true)?.map(|clip| clip.keeping_noise());
    let kappa = match reading.request().eta {
        Some(eta) => {
            reading.uses("eta");
            Kappa::Eta(eta)
        }
        None => Kappa::Ddim,
    };
    strided(reading, table, kappa, clip)
}

/// The steps of DDIM's classes along a list of whole-number times.
pub(super) fn strided(
    reading: &Reading<'_>,
    table: TableSchedule,
    kappa: Kappa,
    clip: Option<crate::clip::Clip>,
) -> Result<Recipe, Error> {
    let times = times::whole(reading, &table, Points::Steps, "leading")?;
    let end = match reading.flag("set_alpha_to_one", true)? {
        true => NoiseLevel::clean(),
        false => table.level(1.0)?,
    };
    let mut grid = Grid::from_indices(&table, &times)?;
    if !end.is_clean() {
        grid = match times.last() {
            Some(0.0) => {
                reading.note(
                    "the last call of the library, at index 0, changes nothing, since its steps end \
                     there; it is left out",
                );
                grid.without_clean_end()?
            }
            _ => grid.ending_at(end)?,
        };
    }
    let solver: Arc<dyn Solver> = match published_stride(reading, &table, &times) {
        Some(stride) => Arc::new(StepsBack {
            stride,
            end,
            kappa,
            table: table.clone(),
        }),
        None => Arc::new(FirstOrder::new(kappa)),
    };
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

/// ⌊T/K⌋, where the library's steps lead elsewhere than to the next time, and are asked for.
fn published_stride(reading: &Reading<'_>, table: &TableSchedule, times: &[f64]) -> Option<f64> {
    let Length::Steps(steps) = reading.request().length else {
        return None;
    };
    let stride = (table.table_len()? / steps) as f64;
    let next = times.iter().skip(1).copied().chain([-1.0]);
    let differs = |(time, next): (&f64, f64)| (time - stride).max(-1.0) != next;
    let matters = times.iter().zip(next).any(differs);
    (matters && reading.defect(Defect::StepsPastTheNextTime)).then_some(stride)
}

/// Steps from t to t − ⌊T/K⌋, whatever the next knot is.
#[derive(Clone, Debug)]
struct StepsBack {
    stride: f64,
    end: NoiseLevel,
    kappa: Kappa,
    table: TableSchedule,
}

impl Solver for StepsBack {
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let steps = path.edges().map(|(from, to)| {
            let knot = from.time() - self.stride;
            let target = match knot >= 1.0 {
                true => self.table.level(knot)?,
                false => self.end,
            };
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

//! DDIM inversion.

use std::sync::Arc;

use super::Defect;
use super::betas::{self, Betas};
use super::classes::Class;
use super::common::{prediction, static_clip};
use super::ddim;
use super::reading::Reading;
use super::recipe::{Recipe, State};
use super::times::{self, Points};
use crate::error::Error;
use crate::level::NoiseLevel;
use crate::plan::{Plan, Stage, Step, Update};
use crate::posterior::{Kappa, StridedPosterior};
use crate::prediction::Prediction;
use crate::schedule::{NoiseSchedule, TableSchedule};
use crate::solver::{DdimInversion, Path, Solver};

pub(super) const CLASS: Class = Class {
    names: &["DDIMInverseScheduler"],
    fields: &[
        "num_train_timesteps",
        "beta_start",
        "beta_end",
        "beta_schedule",
        "trained_betas",
        "clip_sample",
        "clip_sample_range",
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
    if reading.request().strength.is_some() {
        return Err(reading.refused("strength", "inversion goes from the data up"));
    }
    let times = times::whole(reading, &table, Points::Steps, "leading")?;
    // Read by the spacing above.
    if reading.choice("timestep_spacing", "leading", times::SPACINGS)? == "linspace" {
        return Err(reading.unsupported(
            "timestep_spacing",
            "the class does not know it",
            "\"leading\" or \"trailing\"",
        ));
    }
    let end = ddim::end(reading, &table, true)?;
    let prediction = prediction(reading)?;
    let determined = !matches!(prediction, Prediction::Data);
    let solver: Arc<dyn Solver> = match reading.defect(Defect::TimeOfTheTarget) && determined {
        true => Arc::new(AsWritten {
            stride: (table.table_len().unwrap_or(1) / times.len()) as f64,
            end,
            prediction,
            table: table.clone(),
        }),
        false => Arc::new(DdimInversion::new()),
    };
    Ok(Recipe {
        prediction,
        grid: ddim::grid(reading, &table, &times, end)?,
        solver,
        clip: static_clip(reading, true)?.map(|clip| clip.keeping_noise()),
        schedule: Arc::new(table),
        state: State::Same,
        init_noise_sigma: 1.0,
        bare: false,
    })
}

/// The library's steps up from t − ⌊T/K⌋ to t, the network told t.
#[derive(Clone)]
struct AsWritten {
    stride: f64,
    end: NoiseLevel,
    prediction: Prediction,
    table: TableSchedule,
}

/// Without the table, which is long.
impl std::fmt::Debug for AsWritten {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AsWritten")
            .field("stride", &self.stride)
            .finish_non_exhaustive()
    }
}

impl AsWritten {
    fn update(&self, to: &NoiseLevel) -> Result<Stage, Error> {
        let knot = to.time() - self.stride;
        let from = match knot >= 1.0 {
            true => self.table.level(knot)?,
            false => self.end,
        };
        if from.is_clean() {
            return Ok(self.first_step(to));
        }
        let posterior = StridedPosterior::new(from, *to, Kappa::Ddim)?;
        let told = from.with_model_time(to.model_time());
        Ok(Stage::evaluating(
            told,
            Update::from(posterior.transition()),
        ))
    }

    /// α'x + σ'E, where the output itself is E, of a network that is asked at the clean state. At σ = 0
    /// x and D do not determine E; with D as if the state had the target's level they do.
    fn first_step(&self, to: &NoiseLevel) -> Stage {
        let (state, data) = match self.prediction {
            // E = v at α = 1, and D = αx − σv.
            Prediction::Velocity => (2.0 * to.alpha(), -1.0),
            // D = (x − σε)/α.
            _ => (to.alpha() + 1.0, -to.alpha()),
        };
        let update = Update {
            state,
            data,
            ..Update::default()
        };
        Stage::evaluating(*to, update)
    }
}

impl Solver for AsWritten {
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let steps = path.edges().rev().map(|(to, from)| {
            Ok(Step {
                from,
                to,
                stages: vec![self.update(&to)?],
            })
        });
        Plan::new(steps.collect::<Result<_, Error>>()?, 0)
    }

    fn order(&self) -> usize {
        1
    }
}

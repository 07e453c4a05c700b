//! RePaint.

use std::sync::Arc;

use super::betas::{self, Betas};
use super::classes::Class;
use super::common::signed;
use super::fields;
use super::reading::Reading;
use super::recipe::{Recipe, State};
use super::times::{self, Points};
use crate::clip::Clip;
use crate::error::Error;
use crate::grid::Grid;
use crate::posterior::Kappa;
use crate::prediction::Prediction;
use crate::schedule::NoiseSchedule;
use crate::solver::{FirstOrder, RePaint};

pub(super) const CLASS: Class = Class {
    names: &["RePaintScheduler"],
    fields: &[fields::TABLE, &["eta", "clip_sample"]],
    read,
};

/// The library's defaults of the length and number of jumps.
const JUMPS: (usize, usize) = (10, 10);

fn read(reading: &Reading<'_>) -> Result<Recipe, Error> {
    let table = betas::table(reading, Betas::LINEAR)?;
    let steps = times::steps(reading, &table)?;
    let length = table.table_len().unwrap_or(1);
    let times = times::spaced(reading, "leading", (length, length), steps, Points::Steps)?;
    let eta = reading.number("eta", 0.0)?;
    let eta = match reading.request().eta {
        Some(own) => {
            reading.uses("eta");
            own
        }
        None => eta,
    };
    let clip = match reading.flag("clip_sample", true)? {
        true => Some(Clip::new(-1.0, 1.0)?.keeping_noise()),
        false => None,
    };
    let (jump_length, resamplings) = JUMPS;
    reading.note(
        "jumps of 10 steps, each stretch taken 10 times; the known part is put back by \
         editing::Inpaint",
    );
    Ok(Recipe {
        grid: Grid::from_indices(&table, &times)?,
        solver: Arc::new(RePaint::new(
            FirstOrder::new(Kappa::Eta(eta)),
            jump_length,
            resamplings,
        )?),
        prediction: signed(reading, Prediction::Noise)?,
        clip,
        schedule: Arc::new(table),
        state: State::Same,
        init_noise_sigma: 1.0,
        bare: false,
    })
}

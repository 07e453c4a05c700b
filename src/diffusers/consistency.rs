//! The schedulers of distilled consistency models: LCM and TCD.

use std::sync::Arc;

use super::Value;
use super::betas::{self, Betas};
use super::classes::Class;
use super::common::{clip, prediction};
use super::fields;
use super::reading::Reading;
use super::recipe::{Recipe, State};
use super::request::Length;
use crate::error::Error;
use crate::grid::Grid;
use crate::schedule::{NoiseSchedule, TableSchedule};
use crate::solver::{Lcm, Tcd};

/// The fields of both classes.
const FIELDS: &[&[&str]] = &[
    fields::TABLE,
    fields::SPACING,
    fields::CLIP,
    fields::THRESHOLDING,
    &[
        "original_inference_steps",
        "set_alpha_to_one",
        "prediction_type",
        "timestep_scaling",
        "rescale_betas_zero_snr",
    ],
];

pub(super) const LCM: Class = Class {
    names: &["LCMScheduler"],
    fields: FIELDS,
    read: read_lcm,
};

pub(super) const TCD: Class = Class {
    names: &["TCDScheduler"],
    fields: FIELDS,
    read: read_tcd,
};

/// γ of TCD where the caller gives none: the library's default.
const TCD_GAMMA: f64 = 0.3;

fn read_lcm(reading: &Reading<'_>) -> Result<Recipe, Error> {
    let table = table(reading)?;
    let scaling = reading.number_where(
        "timestep_scaling",
        10.0,
        |scaling| scaling > 0.0 && scaling <= 1e6,
        "positive and at most 1e6",
    )?;
    Ok(Recipe {
        grid: grid(reading, &table)?,
        solver: Arc::new(Lcm::new().with_timestep_scaling(scaling)?),
        prediction: prediction(reading)?,
        clip: clip(reading, false)?,
        schedule: Arc::new(table),
        state: State::Same,
        init_noise_sigma: 1.0,
        bare: false,
    })
}

fn read_tcd(reading: &Reading<'_>) -> Result<Recipe, Error> {
    let table = table(reading)?;
    let gamma = match reading.request().eta {
        Some(eta) => {
            reading.uses("eta");
            eta
        }
        None => TCD_GAMMA,
    };
    reading.note("TCD's last step ends at index 0, above the clean level, as its authors have it");
    Ok(Recipe {
        grid: grid(reading, &table)?.ending_at(table.level(1.0)?)?,
        solver: Arc::new(Tcd::new(gamma)?),
        prediction: prediction(reading)?,
        clip: None,
        schedule: Arc::new(table),
        state: State::Same,
        init_noise_sigma: 1.0,
        bare: false,
    })
}

fn table(reading: &Reading<'_>) -> Result<TableSchedule, Error> {
    let table = betas::table(reading, Betas::LATENT)?;
    match reading.flag("rescale_betas_zero_snr", false)? {
        true => table.zero_terminal_snr(),
        false => Ok(table),
    }
}

/// The list of the steps that the model was distilled on, or the caller's times.
fn grid(reading: &Reading<'_>, table: &TableSchedule) -> Result<Grid, Error> {
    if reading.request().strength.is_some() {
        reading.note(
            "strength keeps the last steps of the list, as the general pipelines have it; those of \
             consistency models choose all their steps from the cleaner part of the trained ones",
        );
    }
    match &reading.request().length {
        Length::Steps(steps) => {
            let trained = reading.count("original_inference_steps", 50)?;
            if !(1..=table.table_len().unwrap_or(1)).contains(&trained) {
                let requirement = "from 1 to num_train_timesteps";
                let trained = Value::from(trained);
                return Err(reading.invalid("original_inference_steps", &trained, requirement));
            }
            Grid::lcm(table, *steps, trained)
        }
        Length::Times(times) => Grid::from_indices(table, times),
        Length::Sigmas(_) => Err(reading.refused(
            "list of sigmas",
            "its steps are given by their number or by times",
        )),
    }
}

//! DPM++ SDE.

use std::sync::Arc;

use super::betas::{self, Betas};
use super::classes::Class;
use super::euler::predicted;
use super::fields;
use super::reading::Reading;
use super::recipe::Recipe;
use super::rhos::{self, Rules};
use crate::error::Error;
use crate::solver::DpmPlusPlusSde;

pub(super) const CLASS: Class = Class {
    names: &["DPMSolverSDEScheduler"],
    fields: &[
        fields::TABLE,
        fields::SPACING,
        fields::RAMPS,
        &["prediction_type", "noise_sampler_seed"],
    ],
    read,
};

const RULES: Rules = Rules {
    ramps: true,
    ends_of_karras: false,
    rounded_karras: false,
    takes_times: false,
};

fn read(reading: &Reading<'_>) -> Result<Recipe, Error> {
    let table = betas::table(reading, Betas::LATENT_LINEAR)?;
    let prediction = predicted(reading, false)?;
    rhos::recipe(reading, table, RULES, prediction, |_| {
        Ok(Arc::new(DpmPlusPlusSde::new()))
    })
}

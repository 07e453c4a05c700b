//! Heun's method in ρ.

use std::sync::Arc;

use super::betas::{self, Betas};
use super::classes::Class;
use super::common;
use super::euler::predicted;
use super::fields;
use super::reading::Reading;
use super::recipe::Recipe;
use super::rhos::{self, Rules};
use crate::error::Error;
use crate::solver::{Heun, Solver};

pub(super) const CLASS: Class = Class {
    names: &["HeunDiscreteScheduler"],
    fields: &[
        fields::TABLE,
        fields::SPACING,
        fields::CLIP,
        fields::RAMPS,
        &["prediction_type"],
    ],
    read,
};

const RULES: Rules = Rules {
    ramps: true,
    ends_of_karras: true,
    rounded_karras: false,
    takes_times: true,
};

fn read(reading: &Reading<'_>) -> Result<Recipe, Error> {
    let table = betas::table(reading, Betas::LATENT_LINEAR)?;
    let prediction = predicted(reading, true)?;
    let heun = |_: &_| -> Result<Arc<dyn Solver>, Error> { Ok(Arc::new(Heun::new())) };
    Ok(Recipe {
        clip: common::static_clip(reading, false)?,
        ..rhos::recipe(reading, table, RULES, prediction, heun)?
    })
}

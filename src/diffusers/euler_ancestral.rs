//! Euler's method in ρ, ancestral.

use std::sync::Arc;

use super::betas::{self, Betas};
use super::classes::Class;
use super::euler::predicted;
use super::fields;
use super::reading::Reading;
use super::recipe::Recipe;
use super::rhos::{self, Rules};
use crate::error::Error;
use crate::solver::FirstOrder;

pub(super) const CLASS: Class = Class {
    names: &["EulerAncestralDiscreteScheduler"],
    fields: &[
        fields::TABLE,
        fields::SPACING,
        &["prediction_type", "rescale_betas_zero_snr"],
    ],
    read,
};

const RULES: Rules = Rules {
    ramps: false,
    ends_of_karras: false,
    rounded_karras: false,
    takes_times: false,
};

fn read(reading: &Reading<'_>) -> Result<Recipe, Error> {
    let mut table = betas::table(reading, Betas::LINEAR)?;
    if reading.flag("rescale_betas_zero_snr", false)? {
        table = rhos::zero_terminal_snr(reading, &table)?;
    }
    let prediction = predicted(reading, false)?;
    rhos::recipe(reading, table, RULES, prediction, |_| {
        Ok(Arc::new(FirstOrder::ddpm()))
    })
}

//! Würstchen's ancestral sampler, with its schedule.

use std::sync::Arc;

use super::classes::Class;
use super::common::signed;
use super::last_noise::LastNoise;
use super::reading::Reading;
use super::recipe::{Recipe, State};
use super::request::Length;
use crate::error::{Error, require_positive};
use crate::grid::Grid;
use crate::level::NoiseLevel;
use crate::prediction::Prediction;
use crate::schedule::VariancePreserving;
use crate::solver::FirstOrder;
use crate::special::linspace;

pub(super) const CLASS: Class = Class {
    names: &["DDPMWuerstchenScheduler"],
    fields: &[&["scaler", "s"]],
    read,
};

fn read(reading: &Reading<'_>) -> Result<Recipe, Error> {
    reading.times_are_no_numbers_of_steps()?;
    let scaler = reading.number("scaler", 1.0)?;
    require_positive("scaler", scaler)?;
    let offset = reading.number("s", 0.008)?;
    require_positive("s", offset)?;
    let times: Vec<f64> = match &reading.request().length {
        Length::Steps(steps) => linspace(1.0, 0.0, *steps + 1).collect(),
        Length::Times(times) => times.clone(),
        Length::Sigmas(_) => {
            return Err(reading.refused(
                "list of sigmas",
                "its steps are given by their number or by times from 1 to 0, the end included",
            ));
        }
    };
    let level = |&time: &f64| alpha_bar(time, scaler, offset);
    let levels = times.iter().map(level).collect::<Result<Vec<_>, _>>()?;
    reading.note("the last step ends above the clean level, at an alpha_cumprod of 0.9999");
    Ok(Recipe {
        grid: grid(reading, levels)?,
        solver: Arc::new(LastNoise {
            inner: FirstOrder::ddpm(),
            deviation: 0.0,
        }),
        prediction: signed(reading, Prediction::Noise)?,
        clip: None,
        schedule: Arc::new(VariancePreserving::default()),
        state: State::Same,
        init_noise_sigma: 1.0,
        bare: true,
    })
}

/// The grid of the scheduler's own list; where noise does not fall along it, a field makes it so.
fn grid(reading: &Reading<'_>, levels: Vec<NoiseLevel>) -> Result<Grid, Error> {
    let grid = Grid::from_levels(levels, 1.0);
    let own = matches!(reading.request().length, Length::Steps(_));
    grid.map_err(|error| {
        let requirement = "such that noise falls at every step";
        let field = ["scaler", "s"].into_iter().find(|name| reading.has(name));
        match (error, field) {
            (Error::NoiseNotDecreasing { .. }, Some(field)) if own => {
                reading.invalid_as_given(field, requirement)
            }
            (error, _) => error,
        }
    })
}

/// ᾱ = cos²(π/2 (t + s)/(1 + s))/cos²(π/2 s/(1 + s)), kept between 1e-4 and 0.9999.
fn alpha_bar(time: f64, scaler: f64, offset: f64) -> Result<NoiseLevel, Error> {
    if !(0.0..=1.0).contains(&time) {
        return Err(Error::TimeOutOfRange { time, last: 1.0 });
    }
    // Equivalent mutant: replace > with >=: at 1 both are the time itself, to rounding.
    let scaled = if scaler > 1.0 {
        // Equivalent mutant: replace - with + (1): the cosine's square is even about 1.
        1.0 - libm::pow(1.0 - time, scaler)
    } else {
        libm::pow(time, scaler)
    };
    let cosine = |t: f64| libm::cos((t + offset) / (1.0 + offset) * std::f64::consts::FRAC_PI_2);
    let ratio = cosine(scaled) / cosine(0.0);
    let alpha_bar = (ratio * ratio).clamp(1e-4, 0.9999);
    NoiseLevel::variance_preserving(time, libm::log(alpha_bar))
}

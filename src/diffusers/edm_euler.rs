//! Euler's method with EDM's noise and preconditioning.

use super::classes::Class;
use super::reading::Reading;
use super::recipe::{Recipe, State};
use super::request::Length;
use super::retimed::Told;
use super::{edm, published_churn};
use crate::error::Error;
use crate::grid::Grid;

pub(super) const CLASS: Class = Class {
    names: &["EDMEulerScheduler"],
    fields: &[&[
        "sigma_min",
        "sigma_max",
        "sigma_data",
        "sigma_schedule",
        "num_train_timesteps",
        "prediction_type",
        "rho",
        "final_sigmas_type",
    ]],
    read,
};

fn read(reading: &Reading<'_>) -> Result<Recipe, Error> {
    let noise = edm::Noise::of(reading, (0.002, 80.0), "karras")?;
    if matches!(reading.request().length, Length::Sigmas(_)) {
        return Err(reading.refused(
            "list of sigmas",
            "the library reads such a list as places on its ramp, from 0 to 1; linspace(0, 1, K) \
             is a number of steps",
        ));
    }
    let steps = edm::steps(reading)?;
    let mut sigmas = noise.ramp(reading, steps);
    let ends: &[&[&str]] = &[&["zero"], &["sigma_min"]];
    match reading.choice("final_sigmas_type", "zero", ends)? {
        "zero" => sigmas.push(0.0),
        _ if sigmas.len() < 2 => {
            return Err(reading.unsupported(
                "final_sigmas_type",
                "one step would end where it starts",
                "\"zero\", or more steps",
            ));
        }
        _ if reading.request().churn.is_some() => {
            return Err(reading.unsupported(
                "final_sigmas_type",
                "with churn the last step would go up in noise and back, to where it starts",
                "\"zero\", or no churn",
            ));
        }
        _ => reading.leaves_out_idle_end(),
    }
    let schedule = edm::schedule(noise, Told::EdmNoise)?;
    let grid = Grid::from_times(&schedule, &sigmas)?;
    let prediction = edm::prediction(reading, 0.5, "epsilon")?;
    let solver = published_churn::euler(reading, (&schedule, &grid), prediction, steps);
    Ok(Recipe {
        schedule,
        grid,
        solver,
        prediction,
        clip: None,
        state: State::OverAlpha,
        init_noise_sigma: noise.init_noise_sigma(),
        bare: false,
    })
}

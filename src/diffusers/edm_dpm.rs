//! DPM-Solver++, multistep, with EDM's levels and network.

use super::classes::Class;
use super::common::thresholding;
use super::edm::{self, Noise};
use super::fields;
use super::knots;
use super::multistep::{Form, Multistep};
use super::reading::Reading;
use super::recipe::{Recipe, State, without_idle_end};
use super::retimed::Told;
use crate::error::Error;
use crate::grid::Grid;
use crate::level::NoiseLevel;

pub(super) const CLASS: Class = Class {
    names: &["EDMDPMSolverMultistepScheduler"],
    fields: &[
        fields::THRESHOLDING,
        &[
            "sigma_min",
            "sigma_max",
            "sigma_data",
            "sigma_schedule",
            "num_train_timesteps",
            "prediction_type",
            "rho",
            "solver_order",
            "algorithm_type",
            "solver_type",
            "lower_order_final",
            "euler_at_final",
            "final_sigmas_type",
        ],
    ],
    read,
};

fn read(reading: &Reading<'_>) -> Result<Recipe, Error> {
    let noise = Noise::of(reading, (0.002, 80.0), "karras")?;
    let algorithms: &[&[&str]] = &[&["dpmsolver++", "deis"], &["sde-dpmsolver++"]];
    let tau = match reading.choice("algorithm_type", "dpmsolver++", algorithms)? {
        "dpmsolver++" => 0.0,
        _ => 1.0,
    };
    let steps = edm::steps(reading)?;
    let mut levels = edm::levels(&noise.ramp(reading, steps))?;
    levels.push(end(reading, noise.min)?);
    let (grid, idle) = grid(reading, levels)?;
    let solver = Multistep {
        idle,
        ..Multistep::read(reading, Form { noise: false, tau }, steps)?
    };
    Ok(Recipe {
        schedule: edm::schedule(noise, Told::EdmNoise)?,
        solver: solver.solver(reading, &grid)?,
        prediction: edm::prediction(reading, 0.5, "epsilon")?,
        clip: thresholding(reading)?,
        state: State::Same,
        init_noise_sigma: noise.init_noise_sigma(),
        bare: false,
        grid,
    })
}

/// σ = 0, or σ_min again.
pub(super) fn end(reading: &Reading<'_>, min: f64) -> Result<NoiseLevel, Error> {
    match knots::ends_clean(reading)? {
        true => Ok(NoiseLevel::clean()),
        false => edm::level(min),
    }
}

/// The grid of levels, without a last step from one to itself.
pub(super) fn grid(reading: &Reading<'_>, levels: Vec<NoiseLevel>) -> Result<(Grid, bool), Error> {
    let (levels, idle) = without_idle_end(levels);
    if levels.len() < 2 {
        return Err(reading.refused(
            "one step",
            "the only one would end where it begins (final_sigmas_type)",
        ));
    }
    if idle {
        reading.leaves_out_idle_end();
    }
    Ok((Grid::from_levels(levels, 1.0)?, idle))
}

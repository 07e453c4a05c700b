//! SDE-DPM-Solver++ with EDM's network told arctan(σ): Stable Audio's.

use super::classes::Class;
use super::edm::{self, Noise};
use super::edm_dpm;
use super::multistep::{self, Form, Multistep};
use super::reading::Reading;
use super::recipe::{Recipe, State};
use super::retimed::Told;
use crate::error::Error;
use crate::level::NoiseLevel;

pub(super) const CLASS: Class = Class {
    names: &["CosineDPMSolverMultistepScheduler"],
    fields: &[&[
        "sigma_min",
        "sigma_max",
        "sigma_data",
        "sigma_schedule",
        "num_train_timesteps",
        "solver_order",
        "prediction_type",
        "rho",
        "solver_type",
        "lower_order_final",
        "euler_at_final",
        "final_sigmas_type",
    ]],
    read,
};

fn read(reading: &Reading<'_>) -> Result<Recipe, Error> {
    let noise = Noise::of(reading, (0.3, 500.0), "exponential")?;
    let steps = edm::steps(reading)?;
    let levels = edm::levels(&noise.ramp(reading, steps))?;
    let mut levels: Vec<NoiseLevel> = {
        let told = levels.into_iter().map(|level| Told::Angle.of(level));
        told.collect()
    };
    levels.push(edm_dpm::end(reading, noise.min)?);
    let (grid, idle) = edm_dpm::grid(reading, levels)?;
    if multistep::order(reading)? > 2 {
        return Err(reading.unsupported(
            "solver_order",
            "this class has orders 1 and 2",
            "2, or solver::DpmSolverPlusPlus::multistep(3)?.with_tau(1.0)?",
        ));
    }
    let form = Form {
        noise: false,
        tau: 1.0,
    };
    let solver = Multistep {
        idle,
        ..Multistep::read(reading, form, steps)?
    };
    reading.note(
        "the library draws the noise from a Brownian path over sigma, the same for any number of \
         steps; here a path comes from noise::BrownianPath, given to Sampler::start",
    );
    Ok(Recipe {
        schedule: edm::schedule(noise, Told::Angle)?,
        solver: solver.solver(reading, &grid)?,
        prediction: edm::prediction(reading, 1.0, "v_prediction")?,
        clip: None,
        state: State::Same,
        init_noise_sigma: noise.init_noise_sigma(),
        bare: false,
        grid,
    })
}

//! SDE-DPM-Solver++ with EDM's network told arctan(σ): Stable Audio's.

use std::sync::Arc;

use super::classes::Class;
use super::edm::{self, Noise};
use super::edm_dpm;
use super::multistep::{self, Form, Multistep};
use super::reading::Reading;
use super::recipe::{Recipe, State};
use crate::error::Error;
use crate::level::NoiseLevel;
use crate::prediction::Prediction;
use crate::schedule::{Edm, LambdaRange, NoiseSchedule};

pub(super) const CLASS: Class = Class {
    names: &["CosineDPMSolverMultistepScheduler"],
    fields: &[
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
    ],
    read,
};

fn read(reading: &Reading<'_>) -> Result<Recipe, Error> {
    let noise = Noise::of(reading, (0.3, 500.0), "exponential")?;
    let steps = edm::steps(reading)?;
    let levels = edm::levels(&noise.ramp(reading, steps))?;
    let mut levels: Vec<NoiseLevel> = levels.into_iter().map(told).collect();
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
        schedule: Arc::new(CosineTimes(Edm::new(noise.min, noise.max)?)),
        solver: solver.solver(reading, &grid)?,
        prediction: prediction(reading)?,
        clip: None,
        state: State::Same,
        init_noise_sigma: noise.init_noise_sigma(),
        bare: false,
        grid,
    })
}

/// The network: −F of EDM's preconditioning, or F.
fn prediction(reading: &Reading<'_>) -> Result<Prediction, Error> {
    let data_std = reading.positive("sigma_data", 1.0)?;
    let choices: &[&[&str]] = &[&["v_prediction"], &["epsilon"], &["sample"]];
    let reversed = match reading.choice("prediction_type", "v_prediction", choices)? {
        "v_prediction" => true,
        "epsilon" => false,
        _ => {
            return Err(reading.unsupported(
                "prediction_type",
                "a network with EDM's preconditioning predicts F or -F",
                "\"epsilon\" or \"v_prediction\"",
            ));
        }
    };
    let given = reading.request().reversed;
    if given {
        reading.uses("reversed_output");
    }
    Ok(match reversed != given {
        true => Prediction::EdmVelocity { data_std },
        false => Prediction::Edm { data_std },
    })
}

/// The same level, of which the network is told (2/π) arctan σ.
fn told(level: NoiseLevel) -> NoiseLevel {
    match level.is_clean() {
        true => level,
        false => {
            let time = libm::atan(level.sigma()) / std::f64::consts::PI * 2.0;
            level.with_model_time(time)
        }
    }
}

/// EDM's schedule, whose network is told (2/π) arctan σ.
#[derive(Clone, Debug)]
struct CosineTimes(Edm);

impl NoiseSchedule for CosineTimes {
    fn level(&self, time: f64) -> Result<NoiseLevel, Error> {
        Ok(told(self.0.level(time)?))
    }

    fn last_time(&self) -> f64 {
        self.0.last_time()
    }

    fn time_of_lambda(&self, lambda: f64) -> Result<f64, Error> {
        self.0.time_of_lambda(lambda)
    }

    fn lambda_range(&self) -> LambdaRange {
        self.0.lambda_range()
    }

    fn start_variance(&self, level: &NoiseLevel) -> f64 {
        self.0.start_variance(level)
    }
}

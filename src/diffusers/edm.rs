//! What the EDM classes share: their list of σ, the network's time, its kind.

use std::sync::Arc;

use super::reading::Reading;
use super::request::Length;
use super::retimed::{Retimed, Told};
use super::{Defect, ends};
use crate::error::Error;
use crate::level::NoiseLevel;
use crate::prediction::Prediction;
use crate::schedule::{Edm, NoiseSchedule};
use crate::special::linspace;

/// The ends of the noise and the ramp between them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noise {
    pub(super) min: f64,
    pub(super) max: f64,
    /// The exponent of Karras's ramp; `None` for the exponential one.
    exponent: Option<f64>,
}

impl Noise {
    /// As the file has it; with the class's default ends (σ_min, σ_max) and ramp.
    pub(super) fn of(
        reading: &Reading<'_>,
        (min, max): (f64, f64),
        ramp: &'static str,
    ) -> Result<Self, Error> {
        let min = reading.number("sigma_min", min)?;
        let max = reading.number("sigma_max", max)?;
        let ramps: &[&[&str]] = &[&["karras"], &["exponential"]];
        let exponent = match reading.choice("sigma_schedule", ramp, ramps)? {
            "karras" => {
                let valid = |rho: f64| (0.1..=1000.0).contains(&rho.abs());
                let requirement = "of a size from 0.1 to 1000";
                Some(reading.number_where("rho", 7.0, valid, requirement)?)
            }
            _ => None,
        };
        ends::check(reading, max, min)?;
        Ok(Self { min, max, exponent })
    }

    /// What normals are multiplied by to start, √(σ_max² + 1).
    pub(super) fn init_noise_sigma(&self) -> f64 {
        libm::hypot(self.max, 1.0)
    }

    /// K values from σ_max to σ_min, falling.
    pub(super) fn ramp(&self, reading: &Reading<'_>, steps: usize) -> Vec<f64> {
        let Some(exponent) = self.exponent else {
            if steps == 1 && reading.defect(Defect::OneStepFromTheLeastNoise) {
                return vec![self.min];
            }
            let logs = linspace(libm::log(self.max), libm::log(self.min), steps);
            return self.with_ends(logs.map(libm::exp).collect());
        };
        let root = |sigma: f64| libm::pow(sigma, 1.0 / exponent);
        let roots = linspace(root(self.max), root(self.min), steps);
        self.with_ends(roots.map(|root| libm::pow(root, exponent)).collect())
    }

    /// Both ends exactly: a root's power need not give them back.
    fn with_ends(&self, mut sigmas: Vec<f64>) -> Vec<f64> {
        if let Some(last) = sigmas.last_mut() {
            *last = self.min;
        }
        if let Some(first) = sigmas.first_mut() {
            *first = self.max;
        }
        sigmas
    }
}

/// K, where the request gives a number of steps.
pub(super) fn steps(reading: &Reading<'_>) -> Result<usize, Error> {
    reading.times_are_no_numbers_of_steps()?;
    match reading.request().length {
        Length::Steps(steps) => Ok(steps),
        Length::Sigmas(_) => {
            Err(reading.refused("list of sigmas", "its steps are given by their number"))
        }
        Length::Times(_) => Err(reading.refused(
            "list of times",
            "its steps are given by their number, and the network's time is ln(sigma)/4",
        )),
    }
}

/// The network: F of EDM's preconditioning, or −F.
pub(super) fn prediction(
    reading: &Reading<'_>,
    data_std: f64,
    default: &'static str,
) -> Result<Prediction, Error> {
    let data_std = reading.positive("sigma_data", data_std)?;
    let choices: &[&[&str]] = &[&["epsilon"], &["v_prediction"], &["sample"]];
    let reversed = match reading.choice("prediction_type", default, choices)? {
        "epsilon" => false,
        "v_prediction" => true,
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
        false => Prediction::Edm { data_std },
        true => Prediction::EdmVelocity { data_std },
    })
}

/// The levels of a list of σ, whose network is told ln(σ)/4.
pub(super) fn levels(sigmas: &[f64]) -> Result<Vec<NoiseLevel>, Error> {
    let levels = sigmas.iter().map(|&sigma| level(sigma));
    levels.collect()
}

/// α = 1 and σ. The network is told ln(σ)/4; the clean end, of which it is told nothing, has time
/// 0.
pub(super) fn level(sigma: f64) -> Result<NoiseLevel, Error> {
    NoiseLevel::new(sigma, 1.0, sigma).map(|level| Told::EdmNoise.of(level))
}

/// EDM's schedule, whose network is told ln(σ)/4.
pub(super) fn schedule(noise: Noise, told: Told) -> Result<Arc<dyn NoiseSchedule>, Error> {
    let inner = Arc::new(Edm::new(noise.min, noise.max)?);
    Ok(Arc::new(Retimed { inner, told }))
}

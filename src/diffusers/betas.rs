//! The table of betas.

use super::reading::Reading;
use crate::error::Error;
use crate::schedule::TableSchedule;

/// A class's defaults of the fields of its table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Betas {
    pub(super) start: f64,
    pub(super) end: f64,
    pub(super) schedule: &'static str,
}

impl Betas {
    /// Ho, Jain and Abbeel's (2020): most classes'.
    pub(super) const LINEAR: Self = Self {
        start: 1e-4,
        end: 0.02,
        schedule: "linear",
    };

    /// The ends of latent diffusion's, on a linear ramp: Heun's and KDPM2's.
    pub(super) const LATENT_LINEAR: Self = Self {
        start: 0.00085,
        end: 0.012,
        schedule: "linear",
    };

    /// Latent diffusion's: those of LCM, TCD and CogVideoX.
    pub(super) const LATENT: Self = Self {
        start: 0.00085,
        end: 0.012,
        schedule: "scaled_linear",
    };
}

/// The table that the fields describe; the rescaling to zero terminal SNR is the class's own.
pub(super) fn table(reading: &Reading<'_>, defaults: Betas) -> Result<TableSchedule, Error> {
    let steps = reading.count("num_train_timesteps", 1000)?;
    if let Some(betas) = reading.numbers("trained_betas")? {
        if betas.len() != steps {
            return Err(Error::WrongLength {
                name: "trained_betas",
                expected: steps,
                found: betas.len(),
            });
        }
        return TableSchedule::from_betas(betas);
    }
    match schedule(reading, defaults)? {
        "squaredcos_cap_v2" => TableSchedule::cosine(steps),
        "exp" => exponential(steps),
        schedule => {
            let start = reading.number("beta_start", defaults.start)?;
            let end = reading.number("beta_end", defaults.end)?;
            match schedule {
                "linear" => TableSchedule::linear(steps, start, end),
                "sigmoid" => TableSchedule::sigmoid(steps, start, end),
                _ => TableSchedule::scaled_linear(steps, start, end),
            }
        }
    }
}

/// `beta_schedule`.
pub(super) fn schedule(reading: &Reading<'_>, defaults: Betas) -> Result<&'static str, Error> {
    let choices: &[&[&str]] = &[
        &["linear"],
        &["scaled_linear"],
        &["squaredcos_cap_v2"],
        &["sigmoid"],
        &["exp"],
    ];
    reading.choice("beta_schedule", defaults.schedule, choices)
}

/// ᾱ falls by the factor e^(−12/T) in each interval.
fn exponential(steps: usize) -> Result<TableSchedule, Error> {
    // The count is checked before a list of its length is made.
    TableSchedule::linear(steps, 0.1, 0.1)?;
    let beta = -libm::expm1(-12.0 / steps as f64);
    TableSchedule::from_betas(&vec![beta.min(0.999); steps])
}

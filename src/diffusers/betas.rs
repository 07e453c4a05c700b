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
    let choices: &[&[&str]] = &[
        &["linear"],
        &["scaled_linear"],
        &["squaredcos_cap_v2"],
        &["sigmoid"],
        &["exp"],
        &["laplace"],
    ];
    match reading.choice("beta_schedule", defaults.schedule, choices)? {
        "squaredcos_cap_v2" => TableSchedule::cosine(steps),
        "exp" => of_alpha_bar(steps, |u| libm::exp(-12.0 * u)),
        "laplace" => of_alpha_bar(steps, laplace),
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

/// β_i = min(1 − ᾱ((i+1)/T)/ᾱ(i/T), 0.999).
fn of_alpha_bar(steps: usize, alpha_bar: impl Fn(f64) -> f64) -> Result<TableSchedule, Error> {
    // The count is checked before a list of its length is made.
    TableSchedule::linear(steps, 0.1, 0.1)?;
    let at = |knot: usize| alpha_bar(knot as f64 / steps as f64);
    let betas = (0..steps).map(|i| (1.0 - at(i + 1) / at(i)).min(0.999));
    TableSchedule::from_betas(&betas.collect::<Vec<_>>())
}

/// √(snr/(1 + snr)) with ln snr the quantile of a Laplace distribution of scale ½, as diffusers has
/// it.
fn laplace(u: f64) -> f64 {
    let side = if u > 0.5 { 1.0 } else { -1.0 };
    let log = 0.5 * side * libm::log(1.0 - 2.0 * (0.5 - u).abs() + 1e-6);
    let snr = libm::exp(log);
    (snr / (1.0 + snr)).sqrt()
}

//! The table of betas.

use super::reading::{MAX_TABLE, Reading};
use crate::error::{Error, require_length};
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
    let steps = reading.training_times(MAX_TABLE)?;
    if let Some(betas) = reading.numbers("trained_betas")? {
        require_length("trained_betas", steps, betas.len())?;
        let exact = TableSchedule::from_betas(betas).map_err(of_trained_betas)?;
        return made(reading, exact, || betas.to_vec());
    }
    match schedule(reading, defaults)? {
        "squaredcos_cap_v2" => made(reading, TableSchedule::cosine(steps)?, || {
            of_alpha_bar(steps, cosine)
        }),
        "exp" => by_alpha_bar(reading, steps, |u| libm::exp(-12.0 * u)),
        "laplace" => by_alpha_bar(reading, steps, laplace),
        schedule => {
            let end = |name, default| {
                let within = |beta: f64| beta > 0.0 && beta <= 1.0;
                reading.number_where(name, default, within, "above 0 and at most 1")
            };
            let (start, end) = (
                end("beta_start", defaults.start)?,
                end("beta_end", defaults.end)?,
            );
            // Of a ramp between valid ends a beta is refused that is too small beside its neighbours.
            let of_end = |error: Error| match error {
                Error::InvalidEntry { index, .. } => {
                    let (name, value) = match index {
                        0 => ("beta_start", start),
                        _ => ("beta_end", end),
                    };
                    let requirement = "such that each beta of the ramp adds noise";
                    reading.invalid(name, &value.into(), requirement)
                }
                other => other,
            };
            match schedule {
                "linear" => made(
                    reading,
                    TableSchedule::linear(steps, start, end).map_err(of_end)?,
                    || single::linspace(start, end, steps),
                ),
                "sigmoid" => made(
                    reading,
                    TableSchedule::sigmoid(steps, start, end).map_err(of_end)?,
                    || single::sigmoid(start, end, steps),
                ),
                _ => made(
                    reading,
                    TableSchedule::scaled_linear(steps, start, end).map_err(of_end)?,
                    || {
                        let roots = single::linspace(start.sqrt(), end.sqrt(), steps);
                        roots.into_iter().map(|root| root * root).collect()
                    },
                ),
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
        &["laplace"],
    ];
    reading.choice("beta_schedule", defaults.schedule, choices)
}

/// The table, or the one that the library has in `f32`, of betas made in it.
fn made(
    reading: &Reading<'_>,
    exact: TableSchedule,
    betas: impl FnOnce() -> Vec<f64>,
) -> Result<TableSchedule, Error> {
    if !reading.request().float32 {
        return Ok(exact);
    }
    reading.uses("in_float32");
    TableSchedule::from_alphas_cumprod(&single::alphas_cumprod(&betas()))
}

/// The error with the name that the list has in the file.
fn of_trained_betas(error: Error) -> Error {
    match error {
        Error::InvalidEntry {
            index,
            value,
            requirement,
            ..
        } => Error::InvalidEntry {
            name: "trained_betas",
            index,
            value,
            requirement,
        },
        other => other,
    }
}

fn by_alpha_bar(
    reading: &Reading<'_>,
    steps: usize,
    alpha_bar: impl Fn(f64) -> f64,
) -> Result<TableSchedule, Error> {
    let betas = of_alpha_bar(steps, alpha_bar);
    made(reading, TableSchedule::from_betas(&betas)?, || betas)
}

/// β_i = min(1 − ᾱ((i+1)/T)/ᾱ(i/T), 0.999).
fn of_alpha_bar(steps: usize, alpha_bar: impl Fn(f64) -> f64) -> Vec<f64> {
    let at = |knot: usize| alpha_bar(knot as f64 / steps as f64);
    let beta = |i: usize| (1.0 - at(i + 1) / at(i)).min(0.999);
    (0..steps).map(beta).collect()
}

/// Nichol and Dhariwal's (2021).
fn cosine(u: f64) -> f64 {
    let cosine = libm::cos((u + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2);
    cosine * cosine
}

/// √(snr/(1 + snr)) with ln snr the quantile of a Laplace distribution of scale ½, as diffusers has
/// it.
fn laplace(u: f64) -> f64 {
    let scale = if u > 0.5 { 0.5 } else { -0.5 };
    let log = scale * libm::log(1.0 - 2.0 * (0.5 - u).abs() + 1e-6);
    let snr = libm::exp(log);
    (snr / (1.0 + snr)).sqrt()
}

/// The library's arithmetic in `f32`; each value is one.
mod single {
    fn round(value: f64) -> f64 {
        f64::from(value as f32)
    }

    /// torch's: the difference and the step rounded, then one product and sum from the nearer end.
    pub(super) fn linspace(first: f64, last: f64, count: usize) -> Vec<f64> {
        let (first, last) = (round(first), round(last));
        let intervals = count.saturating_sub(1);
        let step = round(round(last - first) / intervals.max(1) as f64);
        let value = |i: usize| match i < count / 2 {
            true => round(first + step * i as f64),
            false => round(last - step * (intervals - i) as f64),
        };
        match count {
            1 => vec![first],
            _ => (0..count).map(value).collect(),
        }
    }

    /// Each operation is rounded: the exponential, 1 + it, the reciprocal, the product, the sum.
    pub(super) fn sigmoid(first: f64, last: f64, count: usize) -> Vec<f64> {
        let (span, first) = (round(last - first), round(first));
        let logistic = |z: f64| round(1.0 / round(1.0 + round(libm::exp(-z))));
        let value = |z: f64| round(round(logistic(z) * span) + first);
        linspace(-6.0, 6.0, count).into_iter().map(value).collect()
    }

    /// Π(1 − β), accumulated in `f64`.
    pub(super) fn alphas_cumprod(betas: &[f64]) -> Vec<f64> {
        let factors = betas.iter().map(|&beta| round(1.0 - round(beta)));
        let products = factors.scan(1.0, |product, factor| {
            *product *= factor;
            Some(round(*product))
        });
        products.collect()
    }
}

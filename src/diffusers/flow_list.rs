//! The lists of a flow's σ that the multistep classes make.

use super::Defect;
use super::reading::Reading;
use super::request::{Length, Mu};
use super::times::linspace;
use crate::error::Error;

/// The most steps on a list of a flow's σ, which has no table.
const MAX_STEPS: usize = 1 << 24;

/// UniPC's: σ given, or uniform from 1; then the shift, and the stretch to a terminal σ.
pub(super) fn from_one(reading: &Reading<'_>) -> Result<Vec<f64>, Error> {
    let table = reading.count("num_train_timesteps", 1000)?.max(1) as f64;
    let given = match &reading.request().length {
        Length::Sigmas(sigmas) => sigmas.clone(),
        Length::Steps(_) if reading.request().uniform => {
            reading.uses("uniform_sigmas");
            let steps = steps(reading)?;
            linspace(1.0, 1.0 / steps as f64, steps).collect()
        }
        _ => {
            let steps = steps(reading)?;
            linspace(1.0, 1.0 / table, steps + 1).take(steps).collect()
        }
    };
    let mut sigmas: Vec<f64> = match reading.flag("use_dynamic_shifting", false)? {
        true => {
            let mu = mu(reading)?.ok_or_else(|| {
                reading.missing(
                    "mu or image_tokens",
                    "its shift is dynamic (use_dynamic_shifting)",
                )
            })?;
            let shapes: &[&[&str]] = &[&["exponential"], &["linear"]];
            let shift = match reading.choice("time_shift_type", "exponential", shapes)? {
                "exponential" => libm::exp(mu),
                _ => mu,
            };
            let shifted = |sigma: f64| shift / (shift + (1.0 / sigma - 1.0));
            given.into_iter().map(shifted).collect()
        }
        false => {
            let shift = reading.number("flow_shift", 1.0)?;
            given
                .into_iter()
                .map(|sigma| shifted(sigma, shift))
                .collect()
        }
    };
    let terminal = reading.optional_number("shift_terminal")?;
    if let (Some(terminal), Some(&last)) = (terminal.filter(|&end| end != 0.0), sigmas.last()) {
        if last == 1.0 {
            return Err(reading.refused(
                "one step",
                "a list of the one sigma 1 has no other end to stretch to (shift_terminal)",
            ));
        }
        let factor = (1.0 - last) / (1.0 - terminal);
        for sigma in &mut sigmas {
            *sigma = 1.0 - (1.0 - *sigma) / factor;
        }
    }
    if let Some(first) = sigmas.first_mut()
        && (*first - 1.0).abs() < 1e-6
        && reading.defect(Defect::StartsBelowOne)
    {
        *first -= 1e-6;
    }
    Ok(sigmas)
}

/// That of DPM-Solver, DEIS and SA-Solver: 1 less a uniform list from 1 to 1/T, shifted, without its
/// 0. It starts at the shift of 1 − 1/T.
pub(super) fn below_one(reading: &Reading<'_>, dynamic: bool) -> Result<Vec<f64>, Error> {
    let table = reading.count("num_train_timesteps", 1000)?.max(1) as f64;
    let steps = steps(reading)?;
    let dynamic = dynamic && reading.flag("use_dynamic_shifting", false)?;
    let shift = match (dynamic, if dynamic { mu(reading)? } else { None }) {
        (true, Some(mu)) => {
            if reading.choice(
                "time_shift_type",
                "exponential",
                &[&["exponential"], &["linear"]],
            )? != "exponential"
            {
                return Err(reading.unsupported(
                    "time_shift_type",
                    "this class knows one shift by mu",
                    "\"exponential\"",
                ));
            }
            libm::exp(mu)
        }
        _ => reading.number("flow_shift", 1.0)?,
    };
    let mut sigmas: Vec<f64> = linspace(1.0, 1.0 / table, steps + 1)
        .map(|part| shifted(1.0 - part, shift))
        .collect();
    sigmas.reverse();
    sigmas.truncate(steps);
    Ok(sigmas)
}

/// sσ/(1 + (s − 1)σ), in this order of operations: a time that is a whole number follows from it.
fn shifted(sigma: f64, shift: f64) -> f64 {
    shift * sigma / (1.0 + (shift - 1.0) * sigma)
}

fn steps(reading: &Reading<'_>) -> Result<usize, Error> {
    match reading.request().length {
        Length::Steps(steps) if (1..=MAX_STEPS).contains(&steps) => Ok(steps),
        Length::Steps(steps) => Err(Error::StepCount {
            steps,
            min: 1,
            max: MAX_STEPS,
        }),
        Length::Sigmas(_) => Err(reading.refused(
            "list of sigmas",
            "this class makes a flow's list itself, from the number of steps",
        )),
        Length::Times(_) => Err(reading.refused(
            "list of times",
            "a flow's list is one of sigma (use_flow_sigmas)",
        )),
    }
}

/// μ: given, or linear in the number of image tokens.
fn mu(reading: &Reading<'_>) -> Result<Option<f64>, Error> {
    let request = reading.request();
    if let Mu::Given(mu) = request.mu {
        reading.uses("mu");
        return Ok(Some(mu));
    }
    let Some(tokens) = request.image_tokens else {
        return Ok(None);
    };
    reading.uses("image_tokens");
    let low = reading.number("base_image_seq_len", 256.0)?;
    let high = reading.number("max_image_seq_len", 4096.0)?;
    let (base, max) = (
        reading.number("base_shift", 0.5)?,
        reading.number("max_shift", 1.15)?,
    );
    let slope = (max - base) / (high - low);
    Ok(Some(tokens as f64 * slope + (base - slope * low)))
}

//! The lists of a flow's σ that the multistep classes make.

use super::Defect;
use super::ends;
use super::reading::Reading;
use super::request::{Length, Mu};
use crate::error::{Error, require};
use crate::grid::FlowSigmas;
use crate::schedule::mu;

/// UniPC's: σ given, or uniform from 1; then the shift, and the stretch to a terminal σ.
pub(super) fn from_one(reading: &Reading<'_>) -> Result<Vec<f64>, Error> {
    let given = match &reading.request().length {
        Length::Sigmas(sigmas) => FlowSigmas::new(sigmas.as_slice())?,
        Length::Steps(steps) if reading.request().uniform => {
            reading.uses("uniform_sigmas");
            FlowSigmas::uniform(*steps)?
        }
        _ => FlowSigmas::uni_pc(steps(reading)?, table(reading)?)?,
    };
    let shifted = match reading.flag("use_dynamic_shifting", false)? {
        true => {
            let mu = dynamic(reading, given.values().len())?.ok_or_else(|| {
                reading.missing(
                    "mu or image_tokens",
                    "its shift is dynamic (use_dynamic_shifting)",
                )
            })?;
            match shape(reading)? {
                "exponential" => given.shifted_by_mu(mu)?,
                _ => given.shifted_linearly(mu)?,
            }
        }
        false => given.shifted(ends::shift(reading, "flow_shift")?)?,
    };
    let list = match ends::terminal(reading)? {
        Some(terminal) => shifted.stretched_to(terminal)?,
        None => shifted,
    };
    let below = list.clone().starting_below(1e-6)?;
    // A strength may leave the first out.
    let steps = list.values().len();
    let starts = reading.kept_by_strength(steps) == steps;
    let lowered = below != list && starts && reading.defect(Defect::StartsBelowOne);
    Ok(if lowered { below } else { list }.values().to_vec())
}

/// That of DPM-Solver, DEIS and SA-Solver, which starts at the shift of 1 − 1/T.
pub(super) fn below_one(reading: &Reading<'_>, may_be_dynamic: bool) -> Result<Vec<f64>, Error> {
    let steps = steps(reading)?;
    let list = FlowSigmas::dpm_solver(steps, table(reading)?)?;
    let dynamic = match may_be_dynamic && reading.flag("use_dynamic_shifting", false)? {
        true => dynamic(reading, steps)?,
        false => None,
    };
    let shift = match dynamic {
        Some(mu) if shape(reading)? == "exponential" => {
            let shift = libm::exp(mu);
            let usable = shift.is_finite() && shift > 0.0;
            require(
                usable,
                "mu",
                mu,
                "finite, with a finite and positive exponential",
            )?;
            shift
        }
        Some(_) => {
            return Err(reading.unsupported(
                "time_shift_type",
                "this class knows one shift by mu",
                "\"exponential\"",
            ));
        }
        // As in the library, also where the shift is dynamic and nothing is said of it.
        None => ends::shift(reading, "flow_shift")?,
    };
    Ok(list.shifted(shift)?.values().to_vec())
}

fn table(reading: &Reading<'_>) -> Result<usize, Error> {
    reading.training_times(usize::MAX)
}

fn shape(reading: &Reading<'_>) -> Result<&'static str, Error> {
    let shapes: &[&[&str]] = &[&["exponential"], &["linear"]];
    reading.choice("time_shift_type", "exponential", shapes)
}

fn steps(reading: &Reading<'_>) -> Result<usize, Error> {
    match reading.request().length {
        Length::Steps(steps) => Ok(steps),
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

/// μ of the request, if it says anything of it.
fn dynamic(reading: &Reading<'_>, steps: usize) -> Result<Option<f64>, Error> {
    let request = reading.request();
    if let Mu::Given(mu) = request.mu {
        reading.uses("mu");
        return Ok(Some(mu));
    }
    let Some(tokens) = request.image_tokens else {
        return Ok(None);
    };
    reading.uses("image_tokens");
    if request.mu != Mu::Linear {
        reading.uses("mu");
    }
    let base = || reading.count("base_image_seq_len", 256);
    let shifts = || {
        Ok::<_, Error>((
            ends::mu(reading, "base_shift", 0.5)?,
            ends::mu(reading, "max_shift", 1.15)?,
        ))
    };
    Ok(Some(match request.mu {
        Mu::Flux2 => mu::flux2(tokens, steps),
        Mu::QwenLayered => mu::qwen_layered(tokens),
        Mu::CogView4 => {
            let (base_shift, max_shift) = shifts()?;
            mu::square_root(tokens, base()?, base_shift, max_shift)?
        }
        Mu::Linear | Mu::Given(_) => {
            let (base_shift, max_shift) = shifts()?;
            let high = reading.count("max_image_seq_len", 4096)?;
            mu::linear(tokens, (base()?, base_shift), (high, max_shift))?
        }
    }))
}

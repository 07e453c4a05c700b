//! The lists of a flow's σ that the multistep classes make.

use super::Defect;
use super::ends;
use super::flow_match;
use super::reading::Reading;
use super::request::Length;
use crate::error::{Error, require};
use crate::grid::FlowSigmas;

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
        true => flow_match::dynamically(reading, given)?,
        false => given.shifted(ends::shift(reading, "flow_shift")?)?,
    };
    let list = flow_match::stretched(reading, shifted)?;
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
        true => flow_match::requested_mu(reading, steps)?,
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

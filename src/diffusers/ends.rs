//! Checks of fields that several lists of σ have: the ends of a ramp, and a shift.

use super::Value;
use super::reading::Reading;
use crate::error::Error;

/// The largest σ that a file may ask for, and one over the least: the square is a number still.
const MOST: f64 = 1e150;

/// The ends of a ramp of ρ, which are those of the file where it has them.
pub(super) fn check(reading: &Reading<'_>, max: f64, min: f64) -> Result<(), Error> {
    if !(max > 0.0 && max <= MOST) {
        let requirement = "positive and at most 1e150";
        return Err(reading.invalid("sigma_max", &Value::Number(max), requirement));
    }
    if !(min >= 1.0 / MOST && min < max) {
        let requirement = "at least 1e-150 and less than sigma_max";
        return Err(reading.invalid("sigma_min", &Value::Number(min), requirement));
    }
    Ok(())
}

/// The same of a flow's σ.
pub(super) fn check_flow(reading: &Reading<'_>, max: f64, min: f64) -> Result<(), Error> {
    if !(max > 0.0 && max <= 1.0) {
        let requirement = "above 0 and at most 1, a flow's sigma";
        return Err(reading.invalid("sigma_max", &Value::Number(max), requirement));
    }
    // Nearer to 1 the differences of σ from it are lost in rounding.
    if !(min >= 1.0 / MOST && min <= max * (1.0 - 1e-9)) {
        let requirement = "at least 1e-150, and less than sigma_max by 1e-9 of it";
        return Err(reading.invalid("sigma_min", &Value::Number(min), requirement));
    }
    Ok(())
}

/// A flow's shift: beyond these bounds all of its σ are 1 or 0 to rounding.
pub(super) fn shift(reading: &Reading<'_>, name: &'static str) -> Result<f64, Error> {
    let within = |shift: f64| (1e-6..=1e6).contains(&shift);
    reading.number_where(name, 1.0, within, "from 1e-6 to 1e6")
}

/// An end of the line along which μ lies, the logarithm of a shift or a shift itself.
pub(super) fn mu(reading: &Reading<'_>, name: &'static str, default: f64) -> Result<f64, Error> {
    let within = |mu: f64| (-1e6..=1e6).contains(&mu);
    reading.number_where(name, default, within, "from -1e6 to 1e6")
}

/// `shift_terminal`; nothing, false and 0 are none.
pub(super) fn terminal(reading: &Reading<'_>) -> Result<Option<f64>, Error> {
    let name = "shift_terminal";
    match reading.optional_number(name)? {
        Some(0.0) => Ok(None),
        Some(terminal) if !(0.0..=0.999).contains(&terminal) => Err(reading.invalid(
            name,
            &Value::Number(terminal),
            "from 0 to 0.999, null or false",
        )),
        terminal => Ok(terminal),
    }
}

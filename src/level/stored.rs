//! A level as it is stored: its logarithms too, which α and σ do not give to the bit.

use serde::{Deserialize, Serialize};

use super::NoiseLevel;
use crate::error::Error;
use crate::stored::{Checksum, Extended, Finite};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    time: Finite,
    model_time: Extended,
    alpha: Finite,
    sigma: Finite,
    log_alpha: Extended,
    log_sigma: Extended,
}

crate::stored::through!(NoiseLevel => Form);

impl From<&NoiseLevel> for Form {
    fn from(level: &NoiseLevel) -> Self {
        Self {
            time: Finite(level.time),
            model_time: Extended(level.model_time),
            alpha: Finite(level.alpha),
            sigma: Finite(level.sigma),
            log_alpha: Extended(level.log_alpha),
            log_sigma: Extended(level.log_sigma),
        }
    }
}

impl TryFrom<Form> for NoiseLevel {
    type Error = Error;

    fn try_from(form: Form) -> Result<Self, Error> {
        let (time, alpha, sigma) = (form.time.0, form.alpha.0, form.sigma.0);
        Self::new(time, alpha, sigma)?;
        let logs = (form.log_alpha.0, form.log_sigma.0);
        for (name, log, value) in [("log_alpha", logs.0, alpha), ("log_sigma", logs.1, sigma)] {
            if !is_logarithm(log, value) {
                return Err(Error::StoredLogarithm {
                    name,
                    log,
                    value,
                    time,
                });
            }
        }
        Ok(Self::from_parts(time, (alpha, sigma), logs).with_model_time(form.model_time.0))
    }
}

/// How far a stored logarithm may lie from that of the stored value, relative to its size, at least
/// 1: a million roundings. Both are computed in a few.
const SAME: f64 = 1e-10;

/// Whether `log` is ln `value`, to rounding. Below the normal numbers a value has few digits.
fn is_logarithm(log: f64, value: f64) -> bool {
    if value == 0.0 || log == f64::NEG_INFINITY {
        return value == 0.0 && log == f64::NEG_INFINITY;
    }
    let own = libm::log(value);
    let spacing = f64::from_bits(1) / value;
    (log - own).abs() <= SAME * own.abs().max(1.0) + 2.0 * spacing
}

impl NoiseLevel {
    /// Adds all six numbers to a checksum.
    pub(crate) fn add_to(&self, checksum: &mut Checksum) {
        for value in [
            self.time,
            self.model_time,
            self.alpha,
            self.sigma,
            self.log_alpha,
            self.log_sigma,
        ] {
            checksum.number(value);
        }
    }
}

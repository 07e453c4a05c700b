//! What an oracle accepts. The ranges are wide, and bounded so that no intermediate value can
//! overflow: within them every result is a number.

use crate::error::{Error, require};
use crate::level::NoiseLevel;

/// The largest magnitude of an entry of a point or mean, and of α and σ.
const LARGEST: f64 = 1e30;
/// The largest label.
const LARGEST_LABEL: usize = 1 << 20;
const ENTRY: &str = "finite and at most 1e30 in magnitude";
const LEVEL: &str = "0 or between 1e-30 and 1e30";
const VARIANCE: &str = "0 or between 1e-60 and 1e60";

/// A list of length `dim` with entries in range.
pub(super) fn point(name: &'static str, x: &[f64], dim: usize) -> Result<(), Error> {
    length(name, x.len(), dim)?;
    match x.iter().position(|value| !in_range(*value)) {
        None => Ok(()),
        Some(index) => Err(Error::InvalidEntry {
            name,
            index,
            value: x[index],
            requirement: ENTRY,
        }),
    }
}

/// A list of the given length.
pub(super) fn length(name: &'static str, found: usize, expected: usize) -> Result<(), Error> {
    if found == expected {
        Ok(())
    } else {
        Err(Error::WrongLength {
            name,
            expected,
            found,
        })
    }
}

/// At least one dimension.
pub(super) fn dimension(dim: usize) -> Result<(), Error> {
    require(dim > 0, "dimension", dim as f64, "at least 1")
}

/// A variance in range.
pub(super) fn variance(name: &'static str, value: f64) -> Result<(), Error> {
    require(is_variance(value), name, value, VARIANCE)
}

fn is_variance(value: f64) -> bool {
    value == 0.0 || (1e-60..=1e60).contains(&value)
}

/// Variances in range.
pub(super) fn variances(name: &'static str, values: &[f64]) -> Result<(), Error> {
    match values.iter().position(|v| !is_variance(*v)) {
        None => Ok(()),
        Some(index) => Err(Error::InvalidEntry {
            name,
            index,
            value: values[index],
            requirement: VARIANCE,
        }),
    }
}

/// Labels in range; returns the number of labels, one more than the largest.
pub(super) fn labels(labels: &[usize]) -> Result<usize, Error> {
    match labels.iter().position(|label| *label > LARGEST_LABEL) {
        None => Ok(labels.iter().max().map_or(0, |largest| largest + 1)),
        Some(index) => Err(Error::InvalidEntry {
            name: "labels",
            index,
            value: labels[index] as f64,
            requirement: "at most 1048576",
        }),
    }
}

pub(crate) fn in_range(value: f64) -> bool {
    value.abs() <= LARGEST
}

/// A level's α and σ with their squares, checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scales {
    pub(super) alpha: f64,
    pub(super) sigma: f64,
    alpha2: f64,
    sigma2: f64,
}

impl Scales {
    pub(crate) fn of(level: &NoiseLevel) -> Result<Self, Error> {
        let (alpha, sigma) = (level.alpha(), level.sigma());
        for (name, value) in [("alpha", alpha), ("sigma", sigma)] {
            let valid = value == 0.0 || (1e-30..=LARGEST).contains(&value);
            require(valid, name, value, LEVEL)?;
        }
        Ok(Self::unchecked(level))
    }

    /// The same for any level; squares may overflow or underflow.
    pub(crate) fn unchecked(level: &NoiseLevel) -> Self {
        let (alpha, sigma) = (level.alpha(), level.sigma());
        Self {
            alpha,
            sigma,
            alpha2: alpha * alpha,
            sigma2: sigma * sigma,
        }
    }

    /// αv/(α²v + σ²), the gain of E\[x₀ given x_t\] in a direction of variance v; 0 where both
    /// v and σ are 0, so that the estimate is the mean.
    pub(crate) fn gain(&self, data: f64) -> f64 {
        let variance = self.variance(data);
        if variance == 0.0 {
            0.0
        } else {
            self.alpha * data / variance
        }
    }

    /// σ²/(α²v + σ²) = 1 − α·gain, what the estimate keeps of the mean; 1 where both v and σ are 0.
    pub(crate) fn noise_share(&self, data: f64) -> f64 {
        let variance = self.variance(data);
        if variance == 0.0 {
            1.0
        } else {
            self.sigma2 / variance
        }
    }

    /// α.
    pub(crate) fn alpha(&self) -> f64 {
        self.alpha
    }

    /// σ².
    pub(super) fn noise_variance(&self) -> f64 {
        self.sigma2
    }

    /// α²v + σ², the variance at this level of a direction that has variance v in the data.
    pub(crate) fn variance(&self, data: f64) -> f64 {
        self.alpha2 * data + self.sigma2
    }

    /// At σ = 0 the data is known, x₀ = x/α: writes it and returns `true`.
    pub(super) fn clean_estimate(&self, x: &[f64], out: &mut [f64]) -> bool {
        if self.sigma == 0.0 {
            for (out, &x) in out.iter_mut().zip(x) {
                *out = x / self.alpha;
            }
        }
        self.sigma == 0.0
    }

    /// The distribution of x_t has a density: σ > 0, or the data itself has one.
    pub(super) fn require_density(&self, positive_variances: bool) -> Result<(), Error> {
        require(
            self.sigma > 0.0 || positive_variances,
            "sigma",
            self.sigma,
            "positive, because the data has no density",
        )
    }
}

/// The first `length` values of a scratch buffer, which grows when it must.
pub(super) fn scratch(buffer: &mut Vec<f64>, length: usize) -> Result<&mut [f64], Error> {
    if buffer.len() < length {
        crate::memory::resize(buffer, length, 0.0)?;
    }
    Ok(&mut buffer[..length])
}

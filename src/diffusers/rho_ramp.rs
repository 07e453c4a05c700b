//! Ramps of ρ between two ends.

use super::reading::Reading;
use super::times::linspace;
use crate::error::Error;
use crate::special::beta_quantile;

/// A ramp of ρ, which a field of the file switches on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ramp {
    Karras,
    Exponential,
    Beta,
}

impl Ramp {
    /// The one that the file switches on, if any.
    pub(super) fn of(reading: &Reading<'_>) -> Result<Option<Self>, Error> {
        let fields = [
            ("use_karras_sigmas", Self::Karras),
            ("use_exponential_sigmas", Self::Exponential),
            ("use_beta_sigmas", Self::Beta),
        ];
        let mut found = None;
        for (field, ramp) in fields {
            if !reading.flag(field, false)? {
                continue;
            }
            if found.is_some() {
                return Err(reading.unsupported(
                    field,
                    "another ramp of sigma is switched on too",
                    "one of use_karras_sigmas, use_exponential_sigmas and use_beta_sigmas",
                ));
            }
            found = Some(ramp);
        }
        Ok(found)
    }

    pub(super) fn field(self) -> &'static str {
        match self {
            Self::Karras => "use_karras_sigmas",
            Self::Exponential => "use_exponential_sigmas",
            Self::Beta => "use_beta_sigmas",
        }
    }

    /// K values from `max` to `min`, up to rounding.
    pub(super) fn values(self, (max, min): (f64, f64), steps: usize) -> Vec<f64> {
        const EXPONENT: f64 = 7.0;
        match self {
            Self::Karras => {
                let root = |rho: f64| libm::pow(rho, 1.0 / EXPONENT);
                let roots = linspace(root(max), root(min), steps);
                roots.map(|root| libm::pow(root, EXPONENT)).collect()
            }
            Self::Exponential => {
                let logs = linspace(libm::log(max), libm::log(min), steps);
                logs.map(libm::exp).collect()
            }
            Self::Beta => {
                let places = linspace(0.0, 1.0, steps).map(|place| 1.0 - place);
                let shares = places.map(|place| beta_quantile(place, 0.6, 0.6));
                shares.map(|share| min + share * (max - min)).collect()
            }
        }
    }
}

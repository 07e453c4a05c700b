//! Ramps of ρ: Karras's, exponential, beta, and Lu's.

use super::ends;
use super::reading::Reading;
use crate::error::Error;
use crate::level::NoiseLevel;
use crate::schedule::{NoiseSchedule, TableSchedule};
use crate::special::{beta_quantile, linspace};

/// A ramp of ρ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ramp {
    /// Uniform in ρ^(1/7) (Karras et al. 2022).
    Karras,
    /// Uniform in ln ρ; its times are rounded (Lu et al. 2022).
    Lu,
    /// Uniform in ln ρ.
    Exponential,
    /// Quantiles of Beta(0.6, 0.6) (Lee et al. 2024).
    Beta,
}

impl Ramp {
    /// The one that the file switches on, if any; where the class knows it, Lu's too, which Karras's
    /// overrides.
    pub(super) fn of(reading: &Reading<'_>, lu: bool) -> Result<Option<Self>, Error> {
        let mut found = None;
        for ramp in [Self::Karras, Self::Exponential, Self::Beta] {
            if !reading.flag(ramp.field(), false)? {
                continue;
            }
            if let Some(first) = found {
                return Err(reading.unsupported(
                    Self::field(first),
                    "another ramp of sigma is switched on too",
                    "one of use_karras_sigmas, use_exponential_sigmas and use_beta_sigmas",
                ));
            }
            found = Some(ramp);
        }
        let lu = lu && reading.flag(Self::Lu.field(), false)?;
        Ok(match found {
            Some(Self::Karras) => found,
            _ if lu => Some(Self::Lu),
            _ => found,
        })
    }

    pub(super) fn field(self) -> &'static str {
        match self {
            Self::Karras => "use_karras_sigmas",
            Self::Lu => "use_lu_lambdas",
            Self::Exponential => "use_exponential_sigmas",
            Self::Beta => "use_beta_sigmas",
        }
    }

    /// Whether the times are rounded to the nearest, not truncated.
    pub(super) fn is_rounded(self) -> bool {
        matches!(self, Self::Karras | Self::Lu)
    }

    /// K values from `max` to `min`.
    pub(super) fn values(self, (max, min): (f64, f64), steps: usize) -> Vec<f64> {
        const EXPONENT: f64 = 7.0;
        let shares = linspace(0.0, 1.0, steps);
        let mut values: Vec<f64> = match self {
            Self::Karras => {
                let root = |value: f64| libm::pow(value, 1.0 / EXPONENT);
                let (first, last) = (root(max), root(min));
                let power = |share: f64| libm::pow(first + share * (last - first), EXPONENT);
                shares.map(power).collect()
            }
            Self::Lu | Self::Exponential => {
                let logs = linspace(libm::log(max), libm::log(min), steps);
                logs.map(libm::exp).collect()
            }
            Self::Beta => {
                let quantile = |share: f64| beta_quantile(1.0 - share, 0.6, 0.6);
                let value = |share: f64| min + (max - min) * quantile(share);
                shares.map(value).collect()
            }
        };
        // Both ends exactly: a root's power need not give them back.
        if let [.., last] = values.as_mut_slice() {
            *last = min;
        }
        if let [first, ..] = values.as_mut_slice() {
            *first = max;
        }
        values
    }

    /// K values of ρ from the noisy end of the table, or of the file, to the clean one.
    pub(super) fn rhos(
        self,
        reading: &Reading<'_>,
        scale: &Scale,
        steps: usize,
    ) -> Result<Vec<f64>, Error> {
        let (mut min, mut max) = (scale.min(), scale.max());
        if self != Self::Lu {
            min = reading.optional_number("sigma_min")?.unwrap_or(min);
            max = reading.optional_number("sigma_max")?.unwrap_or(max);
        }
        ends::check(reading, max, min)?;
        Ok(self.values((max, min), steps))
    }
}

/// ln ρ at the indices of a table.
#[derive(Debug)]
pub(super) struct Scale {
    logs: Vec<f64>,
    ends: [NoiseLevel; 2],
}

impl Scale {
    pub(super) fn of(table: &TableSchedule) -> Result<Self, Error> {
        let length = table.table_len().unwrap_or(1);
        let log = |index: usize| Ok(-table.level(index as f64)?.lambda());
        let logs = (1..=length).map(log).collect::<Result<Vec<_>, Error>>()?;
        let ends = [table.level(1.0)?, table.level(length as f64)?];
        Ok(Self { logs, ends })
    }

    /// The same with another level at its noisy end.
    pub(super) fn ending_at(mut self, end: NoiseLevel) -> Self {
        if let Some(last) = self.logs.last_mut() {
            *last = -end.lambda();
        }
        self.ends[1] = end;
        self
    }

    fn min(&self) -> f64 {
        self.ends[0].rho()
    }

    fn max(&self) -> f64 {
        self.ends[1].rho()
    }

    /// The index at which the table has this ρ: linear in ln ρ between two, within the table.
    pub(super) fn index(&self, rho: f64) -> f64 {
        let log = libm::log(rho);
        // They rise, but for the last, which may be another.
        let cells = self.logs.len().saturating_sub(1);
        let rising = self.logs.get(..cells).unwrap_or_default();
        let low = rising.partition_point(|&entry| entry <= log);
        let low = match self.logs.last() {
            Some(&last) if last <= log => cells.saturating_sub(1),
            _ => low.saturating_sub(1),
        };
        match (self.logs.get(low), self.logs.get(low + 1)) {
            (Some(&first), Some(&second)) => {
                let share = (log - first) / (second - first);
                low as f64 + share.clamp(0.0, 1.0)
            }
            _ => low as f64,
        }
    }

    /// The level of the table with this ρ; or where it lies beyond the table's ends, a level of no
    /// table, and true.
    pub(super) fn level(
        &self,
        table: &TableSchedule,
        rho: f64,
    ) -> Result<(NoiseLevel, bool), Error> {
        for end in self.ends {
            if rho == end.rho() {
                return Ok((end, false));
            }
        }
        let outside = !(self.min()..=self.max()).contains(&rho);
        let time = match outside {
            true => self.index(rho) + 1.0,
            false => table.time_of_lambda(-libm::log(rho))?,
        };
        let level = NoiseLevel::variance_preserving(time, -libm::log1p(rho * rho))?;
        Ok((level, outside))
    }
}

/// ⌊t⌋, of an index that is whole to rounding the whole number.
pub(super) fn truncated(index: f64) -> f64 {
    let nearest = index.round();
    // Equivalent mutant: replace < with <=: either is right at the border of a tolerance.
    match (index - nearest).abs() < 1e-6 {
        true => nearest,
        false => index.floor(),
    }
}

#[cfg(test)]
mod tests {
    use super::truncated;

    #[test]
    fn an_index_that_is_whole_to_rounding_is_not_cut() {
        for (index, expected) in [
            (998.999_999_999, 999.0),
            (999.000_000_001, 999.0),
            (998.999, 998.0),
            (998.5, 998.0),
        ] {
            assert_eq!(truncated(index), expected);
        }
    }
}

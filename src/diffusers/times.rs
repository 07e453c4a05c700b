//! The times of a list, as numpy computes them.

use super::Defect;
use super::reading::Reading;
use super::request::Length;
use crate::error::Error;
use crate::schedule::{NoiseSchedule, TableSchedule};
use crate::special::linspace;

/// How many points a class's spacing has for K steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Points {
    /// K.
    Steps,
    /// K + 1, of which the lowest is dropped.
    OneMore,
}

/// The spacings' names, the class's default first.
pub(super) const SPACINGS: &[&[&str]] = &[&["leading"], &["linspace"], &["trailing"]];

/// The whole-number times of K steps, falling.
pub(super) fn whole(
    reading: &Reading<'_>,
    table: &TableSchedule,
    points: Points,
    default: &'static str,
) -> Result<Vec<f64>, Error> {
    if let Length::Times(times) = &reading.request().length {
        return Ok(times.clone());
    }
    let times = fractional(reading, table, points, default)?;
    Ok(times.into_iter().map(f64::round_ties_even).collect())
}

/// The same before linspace's are rounded.
pub(super) fn fractional(
    reading: &Reading<'_>,
    table: &TableSchedule,
    points: Points,
    default: &'static str,
) -> Result<Vec<f64>, Error> {
    let steps = steps(reading, table)?;
    let length = table.table_len().unwrap_or(1);
    let spacing = reading.choice("timestep_spacing", default, SPACINGS)?;
    spaced(reading, spacing, (length, length), steps, points)
}

/// The times of a spacing over the first `reach` of `length` indices (fewer where a noisy end is cut).
pub(super) fn spaced(
    reading: &Reading<'_>,
    spacing: &'static str,
    (length, reach): (usize, usize),
    steps: usize,
    points: Points,
) -> Result<Vec<f64>, Error> {
    let extra = usize::from(points == Points::OneMore);
    let count = steps + extra;
    let last = reach.saturating_sub(1) as f64;
    let mut rising: Vec<f64> = match spacing {
        // One point alone is the first.
        "linspace" if count == 1 && !reading.defect(Defect::OneStepFromTheLeastNoise) => vec![last],
        "linspace" => linspace(0.0, last, count).collect(),
        "leading" => {
            if count == 1 {
                reading.note(
                    "one step of leading times starts at the least noisy of them, in the library \
                     too; \"trailing\" starts at the noisiest",
                );
            }
            let offset = match reading.knows("steps_offset") {
                true => reading.count("steps_offset", 0)?,
                false => 0,
            };
            let stride = reach / count;
            let first = ((count - 1) * stride).saturating_add(offset);
            if first >= length {
                let requirement = "such that the first time lies within the table";
                return Err(reading.invalid("steps_offset", &offset.into(), requirement));
            }
            let offset = offset as f64;
            (0..count).map(|i| (i * stride) as f64 + offset).collect()
        }
        _ => {
            // numpy's arange from T down by T/K: its difference is that of its first two values.
            let stride = length as f64 / steps as f64;
            let first = reach as f64;
            let difference = (first - stride) - first;
            let time = |i: usize| (first + i as f64 * difference).round_ties_even() - 1.0;
            // Over fewer indices there are fewer of them.
            let count = (first / stride).ceil() as usize;
            if count > steps {
                reading.note(
                    "for this number of steps the library's list has one time more, -1, by rounding; \
                     it is left out",
                );
            }
            return Ok((0..steps.min(count)).map(time).collect());
        }
    };
    rising.reverse();
    rising.truncate(steps);
    Ok(rising)
}

/// K, within the table.
pub(super) fn steps(reading: &Reading<'_>, table: &TableSchedule) -> Result<usize, Error> {
    let max = table.table_len().unwrap_or(1);
    match reading.request().length {
        Length::Steps(steps) if (1..=max).contains(&steps) => Ok(steps),
        Length::Steps(steps) => Err(Error::StepCount { steps, min: 1, max }),
        Length::Sigmas(_) => Err(reading.refused(
            "list of sigmas",
            "its steps are given by their number or by times",
        )),
        Length::Times(_) => {
            Err(reading.refused("list of times", "its steps are given by their number"))
        }
    }
}

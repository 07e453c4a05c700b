//! Euler's method in ρ.

use super::betas::{self, Betas};
use super::classes::Class;
use super::common;
use super::fields;
use super::ramp::Ramp;
use super::reading::Reading;
use super::recipe::Recipe;
use super::request::Length;
use super::rhos::{self, End, Knot, List, Rules};
use super::{Defect, published_churn};
use crate::error::{Error, require_all};
use crate::prediction::Prediction;
use crate::schedule::{NoiseSchedule, TableSchedule};

pub(super) const CLASS: Class = Class {
    names: &["EulerDiscreteScheduler"],
    fields: &[
        fields::TABLE,
        fields::SPACING,
        fields::RAMPS,
        &[
            "prediction_type",
            "interpolation_type",
            "sigma_min",
            "sigma_max",
            "timestep_type",
            "rescale_betas_zero_snr",
            "final_sigmas_type",
        ],
    ],
    read,
};

const RULES: Rules = Rules {
    ramps: true,
    ends_of_karras: true,
    rounded_karras: false,
    takes_times: true,
};

fn read(reading: &Reading<'_>) -> Result<Recipe, Error> {
    let mut table = betas::table(reading, Betas::LINEAR)?;
    if reading.flag("rescale_betas_zero_snr", false)? {
        table = rhos::zero_terminal_snr(reading, &table)?;
    }
    let prediction = predicted(reading, true)?;
    let continuous = continuous(reading, prediction)?;
    let list = match &reading.request().length {
        Length::Sigmas(sigmas) => given(reading, &table, sigmas)?,
        _ => own(reading, &table, continuous)?,
    };
    let calls = list.calls;
    let told = (prediction, continuous);
    rhos::of_list(reading, table, &list, told, |schedule, grid| {
        Ok(published_churn::euler(
            reading,
            (schedule, grid),
            prediction,
            calls,
        ))
    })
}

/// What the network predicts; `data`: also x₀ itself.
pub(super) fn predicted(reading: &Reading<'_>, data: bool) -> Result<Prediction, Error> {
    let prediction = common::any_prediction(reading)?;
    let reason = match prediction {
        Prediction::Flow | Prediction::Linear { data: 1.0, .. } => "this class has no such network",
        Prediction::Data | Prediction::Linear { noise: 0.0, .. } if !data => {
            "this class has no network that predicts the data"
        }
        _ => return Ok(prediction),
    };
    let closest = match data {
        true => "\"epsilon\", \"v_prediction\" or \"sample\"",
        false => "\"epsilon\" or \"v_prediction\", or EulerDiscreteScheduler",
    };
    Err(reading.unsupported("prediction_type", reason, closest))
}

/// Whether the network is told ¼ ln ρ.
fn continuous(reading: &Reading<'_>, prediction: Prediction) -> Result<bool, Error> {
    let types: &[&[&str]] = &[&["discrete"], &["continuous"]];
    if reading.choice("timestep_type", "discrete", types)? == "discrete" {
        return Ok(false);
    }
    if prediction != Prediction::Velocity {
        reading.note("timestep_type continuous has an effect with v_prediction only");
        return Ok(false);
    }
    if matches!(reading.request().length, Length::Times(_)) {
        return Err(reading.refused(
            "list of times",
            "with timestep_type continuous the network's time is ln(sigma)/4",
        ));
    }
    Ok(true)
}

/// The list that the caller gives.
fn given(reading: &Reading<'_>, table: &TableSchedule, sigmas: &[f64]) -> Result<List, Error> {
    let (inner, end) = match sigmas {
        [inner @ .., 0.0] => (inner, Some(End::Clean)),
        [inner @ .., last] if !inner.is_empty() && reading.defect(Defect::ListHoldsItsEnd) => {
            (inner, Some(End::At(*last)))
        }
        all => (all, None),
    };
    require_all(
        "sigmas",
        inner,
        |_, sigma| sigma > 0.0 && sigma.is_finite(),
        "positive and finite, but for a last one of 0",
    )?;
    let knots = inner.iter().map(|&rho| Knot::at(table, rho));
    let knots = knots.collect::<Result<_, Error>>()?;
    match end {
        Some(end) => Ok(List::new(knots, end)),
        None => ended(reading, table, knots),
    }
}

/// The list that the file describes.
fn own(reading: &Reading<'_>, table: &TableSchedule, continuous: bool) -> Result<List, Error> {
    let ramp = Ramp::of(reading, false)?;
    if let Some(ramp) = ramp {
        rhos::refuse_times(reading, ramp.field())?;
    }
    let types: &[&[&str]] = &[&["linear"], &["log_linear"]];
    let logarithmic = reading.choice("interpolation_type", "linear", types)? == "log_linear";
    let spaced = rhos::spaced(reading, table)?;
    let knots = match (logarithmic, ramp) {
        (false, None) => spaced,
        (false, Some(ramp)) => rhos::ramped(reading, table, &spaced, ramp, RULES)?,
        (true, ramp) => {
            rhos::refuse_times(reading, "interpolation_type")?;
            let all = whole(table)?;
            let steps = spaced.len();
            match ramp {
                Some(ramp) => {
                    let ends = rhos::ends(reading, table, all, ramp, RULES)?;
                    if steps > 1 {
                        super::ends::check(reading, ends.0.rho, ends.1.rho)?;
                    }
                    rhos::between(table, ends, steps, ramp)?
                }
                None if reading.defect(Defect::LogLinearList) && all.0.rho.is_finite() => {
                    return published_log_linear(reading, table, &spaced, continuous);
                }
                None if all.0.rho.is_infinite() => {
                    return Err(reading.unsupported(
                        "interpolation_type",
                        "the list starts at infinite noise, from which no logarithm leads down",
                        "\"linear\", or Request::reproducing(Defect::NearlyZeroTerminalSnr)",
                    ));
                }
                None => rhos::between(table, all, steps, Ramp::Exponential)?,
            }
        }
    };
    ended(reading, table, knots)
}

/// The last index of a table, and the first.
fn whole(table: &TableSchedule) -> Result<(Knot, Knot), Error> {
    let last = table.last_time() - 1.0;
    Ok((Knot::of_index(table, last)?, Knot::of_index(table, 0.0)?))
}

/// One σ more than there are steps; the network is told the times of the spacing, unless it is told
/// ¼ ln ρ: then there is one step more.
fn published_log_linear(
    reading: &Reading<'_>,
    table: &TableSchedule,
    spaced: &[Knot],
    continuous: bool,
) -> Result<List, Error> {
    let ends = whole(table)?;
    let longer = spaced.len() + 1;
    let mut knots = rhos::between(table, ends, longer, Ramp::Exponential)?;
    if continuous {
        return ended(reading, table, knots);
    }
    knots.pop();
    for (knot, spaced) in knots.iter_mut().zip(spaced) {
        knot.time = spaced.time;
    }
    Ok(List {
        calls: longer,
        ..List::new(knots, End::Least)
    })
}

/// A list and the end that the file says, without a last step that ends where it begins.
fn ended(
    reading: &Reading<'_>,
    table: &TableSchedule,
    mut knots: Vec<Knot>,
) -> Result<List, Error> {
    let ends: &[&[&str]] = &[&["zero"], &["sigma_min"]];
    if reading.choice("final_sigmas_type", "zero", ends)? == "zero" {
        return Ok(List::new(knots, End::Clean));
    }
    let least = table.level(1.0)?.rho();
    let calls = knots.len();
    let last = knots.last().map_or(0.0, |knot| knot.rho);
    // Equivalent mutant: replace > with >=: either is right at the border of a tolerance.
    if last > least * (1.0 + 1e-12) {
        return Ok(List::new(knots, End::Least));
    }
    // Equivalent mutant: replace < with <=: either is right at the border of a tolerance.
    let reason = if last < least * (1.0 - 1e-12) {
        Some("the list ends below the table's least sigma, and the last step would go up")
    } else if calls < 2 {
        Some("one step would end where it starts")
    } else if reading.request().churn.is_some() {
        Some("with churn the last step would go up in noise and back, to where it starts")
    } else {
        None
    };
    if let Some(reason) = reason {
        return Err(reading.unsupported("final_sigmas_type", reason, "\"zero\""));
    }
    reading.leaves_out_idle_end();
    knots.pop();
    Ok(List {
        knots,
        end: End::Least,
        calls,
    })
}

//! The knots of the multistep classes: whole times of a table, a ramp of ρ, or a flow's σ.

use std::sync::Arc;

use super::Defect;
use super::betas::{self, Betas};
use super::ramp::{Ramp, Scale};
use super::reading::Reading;
use super::recipe::State;
use super::request::Length;
use super::times::{self, Points};
use super::{flow_list, ramp};
use crate::error::Error;
use crate::grid::Grid;
use crate::level::NoiseLevel;
use crate::schedule::{NoiseSchedule, RectifiedFlow, TableSchedule};

/// What a class's list of knots can be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Traits {
    /// Whether it has `timestep_spacing` and `steps_offset`; without them it is linspace.
    pub(super) spacing: bool,
    /// Whether a noisy end can be cut (`lambda_min_clipped`).
    pub(super) cut: bool,
    /// Whether it has `use_lu_lambdas`.
    pub(super) lu: bool,
    /// Whether it has `rescale_betas_zero_snr`.
    pub(super) zero_snr: bool,
    /// Whether it takes a list of times.
    pub(super) times: bool,
    /// Whether times of Karras's ramp on the cosine table are truncated and not rounded.
    pub(super) truncates_cosine: bool,
    pub(super) flow: FlowList,
    pub(super) end: End,
}

/// A class's own list of a flow's σ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FlowList {
    /// From 1: UniPC's.
    FromOne,
    /// From the shift of 1 − 1/T: that of DPM-Solver and DEIS, whose shift may be dynamic.
    Below,
    /// The same with the file's shift only: SA-Solver's.
    BelowStatic,
}

/// Where a class's steps end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// By `final_sigmas_type`: 0, or index 0 of the table.
    Field,
    /// By `final_sigmas_type`: 0, or index 0 of the table, on other lists their last value again.
    FieldOrAgain,
    /// At index 0 of the table, on other lists at their last value again.
    TableOrAgain,
}

/// What is said where the library's last step corrects the state.
pub(super) const CORRECTED: &str = "the library's last step leads from the last level to itself: \
     what it does is to correct the state there, and so does the last step here";

/// Knots as a configuration describes them.
#[derive(Debug)]
pub(super) struct Knots {
    pub(super) schedule: Arc<dyn NoiseSchedule>,
    pub(super) levels: Vec<NoiseLevel>,
    pub(super) state: State,
    pub(super) bare: bool,
    /// Whether the library has one step more, from the last of these levels to itself.
    pub(super) idle: bool,
}

impl Knots {
    pub(super) fn grid(&self) -> Result<Grid, Error> {
        Grid::from_levels(self.levels.clone(), 1.0)
    }

    /// The number of the library's steps.
    pub(super) fn steps(&self) -> usize {
        self.levels.len() - 1 + usize::from(self.idle)
    }
}

/// The knots that the fields describe.
pub(super) fn knots(reading: &Reading<'_>, traits: Traits) -> Result<Knots, Error> {
    let ramp = Ramp::of(reading, traits.lu)?;
    match reading.flag("use_flow_sigmas", false)? {
        true => flow(reading, traits, ramp),
        false => variance_preserving(reading, traits, ramp),
    }
}

fn variance_preserving(
    reading: &Reading<'_>,
    traits: Traits,
    ramp: Option<Ramp>,
) -> Result<Knots, Error> {
    let table = betas::table(reading, Betas::LINEAR)?;
    let rescaled = traits.zero_snr && reading.flag("rescale_betas_zero_snr", false)?;
    let table = match rescaled {
        true => table.zero_terminal_snr()?,
        false => table,
    };
    let Some(ramp) = ramp else {
        let times = whole_times(reading, traits, &table)?;
        let index = |&time: &f64| knot(&table, time);
        let mut levels = times.iter().map(index).collect::<Result<Vec<_>, _>>()?;
        let steps = levels.len();
        if let Some(first) = levels.first_mut()
            && first.alpha() == 0.0
            && reading.kept_by_strength(steps) == steps
            && reading.defect(Defect::NearlyZeroTerminalSnr)
        {
            *first = nearly_zero(&table)?.with_model_time(first.model_time());
        }
        let clean = traits.end != End::TableOrAgain && ends_clean(reading)?;
        levels.push(match clean {
            true => NoiseLevel::clean(),
            false => table.level(1.0)?,
        });
        return joined(reading, Arc::new(table), levels, State::Same, false);
    };
    let mut scale = Scale::of(&table)?;
    if rescaled {
        reading.note(
            "a ramp of sigma cannot start at infinity: on a table rescaled to zero terminal SNR it \
             starts at sigma 4096 (an alphas_cumprod of 2^-24), here as in the library",
        );
        scale = scale.ending_at(nearly_zero(&table)?);
    }
    let steps = plain_steps(reading, &table, "a ramp of sigma makes its own list")?;
    let rhos = ramp.rhos(reading, &scale, steps)?;
    let cosine =
        traits.truncates_cosine && betas::schedule(reading, Betas::LINEAR)? == "squaredcos_cap_v2";
    let rounded = ramp.is_rounded() && !cosine;
    let mut levels = Vec::with_capacity(steps + 1);
    let mut bare = false;
    for rho in rhos {
        let time = match (scale.index(rho), rounded) {
            (index, true) => index.round_ties_even(),
            (index, false) => ramp::truncated(index),
        };
        let (level, outside) = scale.level(&table, rho)?;
        bare |= outside;
        levels.push(level.with_model_time(time));
    }
    let again = traits.end != End::Field;
    let clean = traits.end != End::TableOrAgain && ends_clean(reading)?;
    levels.push(match levels.last() {
        _ if clean => NoiseLevel::clean(),
        Some(last) if again => *last,
        _ => table.level(1.0)?,
    });
    joined(reading, Arc::new(table), levels, State::Same, bare)
}

/// The level of ᾱ = 2⁻²⁴.
fn nearly_zero(table: &TableSchedule) -> Result<NoiseLevel, Error> {
    let la = -24.0 * std::f64::consts::LN_2;
    let lambda = NoiseLevel::variance_preserving(0.0, la)?.lambda();
    NoiseLevel::variance_preserving(table.time_of_lambda(lambda)?, la)
}

/// The level of a whole-number time, which is an index of the table.
fn knot(table: &TableSchedule, time: f64) -> Result<NoiseLevel, Error> {
    let last = table.last_time() - 1.0;
    if (0.0..=last).contains(&time) {
        return table.knot_level(time + 1.0);
    }
    Err(Error::TimeOutOfRange { time, last })
}

/// The whole-number times, falling.
fn whole_times(
    reading: &Reading<'_>,
    traits: Traits,
    table: &TableSchedule,
) -> Result<Vec<f64>, Error> {
    if let Length::Times(times) = &reading.request().length
        && traits.times
    {
        return Ok(times.iter().map(|time| time.trunc()).collect());
    }
    let length = table.table_len().unwrap_or(1);
    let reach = match traits.cut {
        true => reach(reading, table)?,
        false => length,
    };
    let steps = plain_steps(reading, table, "its steps are given by their number")?;
    let spacing = match traits.spacing {
        true => reading.choice("timestep_spacing", "linspace", times::SPACINGS)?,
        false => "linspace",
    };
    let times = times::spaced(reading, spacing, (length, reach), steps, Points::OneMore)?;
    Ok(times.into_iter().map(f64::round_ties_even).collect())
}

/// K, where the request gives a number of steps.
fn plain_steps(
    reading: &Reading<'_>,
    table: &TableSchedule,
    reason: &'static str,
) -> Result<usize, Error> {
    match reading.request().length {
        Length::Times(_) => Err(reading.refused("list of times", reason)),
        _ => times::steps(reading, table),
    }
}

/// How many knots of the table have λ of at least `lambda_min_clipped`.
fn reach(reading: &Reading<'_>, table: &TableSchedule) -> Result<usize, Error> {
    let least = reading.number("lambda_min_clipped", f64::NEG_INFINITY)?;
    let length = table.table_len().unwrap_or(1);
    let mut reach = length;
    // It ends at the clean level, where λ is infinite.
    while table.level(reach as f64)?.lambda() < least {
        reach -= 1;
    }
    match reach {
        0 => Err(reading.invalid(
            "lambda_min_clipped",
            &least.into(),
            "below the largest lambda of the table",
        )),
        reach => Ok(reach),
    }
}

/// Whether the last step leads to σ = 0.
pub(super) fn ends_clean(reading: &Reading<'_>) -> Result<bool, Error> {
    let choices: &[&[&str]] = &[&["zero"], &["sigma_min"]];
    Ok(reading.choice("final_sigmas_type", "zero", choices)? == "zero")
}

fn flow(reading: &Reading<'_>, traits: Traits, ramp: Option<Ramp>) -> Result<Knots, Error> {
    let karras = traits.flow == FlowList::FromOne && ramp == Some(Ramp::Karras);
    if ramp.is_some() && !karras {
        return Err(reading.unsupported(
            "use_flow_sigmas",
            "the ramp that is switched on makes a list of sigma/alpha, which a flow's sigma is not",
            "the flow's own list, without use_karras_sigmas, use_exponential_sigmas, \
             use_beta_sigmas and use_lu_lambdas",
        ));
    }
    let sigmas = match (karras, traits.flow) {
        (true, _) => {
            let table = betas::table(reading, Betas::LINEAR)?;
            let steps = plain_steps(reading, &table, "a ramp of sigma makes its own list")?;
            let rhos = Ramp::Karras.rhos(reading, &Scale::of(&table)?, steps)?;
            rhos.into_iter().map(|rho| rho / (1.0 + rho)).collect()
        }
        (false, FlowList::FromOne) => flow_list::from_one(reading)?,
        (false, list) => flow_list::below_one(reading, list == FlowList::Below)?,
    };
    let table = reading.training_times(usize::MAX)? as f64;
    let flow = RectifiedFlow::new();
    let float32 = reading.request().float32;
    if float32 {
        reading.uses("in_float32");
    }
    let level = |&sigma: &f64| {
        // Times come before the rounding.
        let time = (sigma * table).trunc();
        let sigma = if float32 {
            f64::from(sigma as f32)
        } else {
            sigma
        };
        Ok(flow.level(sigma)?.with_model_time(time))
    };
    let mut levels = sigmas
        .iter()
        .map(level)
        .collect::<Result<Vec<_>, Error>>()?;
    let clean = traits.end != End::TableOrAgain && ends_clean(reading)?;
    levels.push(match (levels.last(), traits.end) {
        _ if clean => NoiseLevel::clean(),
        (Some(last), End::FieldOrAgain | End::TableOrAgain) => *last,
        // ρ at index 0 of the table of betas, taken for a flow's σ.
        _ => {
            let first = betas::table(reading, Betas::LINEAR)?.level(1.0)?;
            flow.level(first.rho().min(1.0))?
        }
    });
    joined(reading, Arc::new(flow), levels, State::Flow, false)
}

/// The knots of a list of levels; a last step that ends where it begins is left out.
fn joined(
    reading: &Reading<'_>,
    schedule: Arc<dyn NoiseSchedule>,
    levels: Vec<NoiseLevel>,
    state: State,
    bare: bool,
) -> Result<Knots, Error> {
    let (levels, idle) = super::recipe::without_idle_end(levels);
    if levels.len() < 2 {
        return Err(reading.refused(
            "one step",
            "its steps do not end at sigma = 0, and the only one would end where it begins",
        ));
    }
    if idle {
        reading.ends_idle();
    }
    if let [one, two, ..] = levels.as_slice()
        && one.model_time() == two.model_time()
    {
        reading.note(
            "the first time of the list occurs twice: the library then starts at the second sigma, \
             unless set_begin_index tells it not to; here the run starts at the first",
        );
    }
    Ok(Knots {
        schedule,
        levels,
        state,
        bare,
        idle,
    })
}

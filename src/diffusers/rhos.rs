//! The lists of σ = ρ of the classes that come from k-diffusion, and the levels that they are.

use std::sync::Arc;

use super::Defect;
use super::ramp::Ramp;
use super::reading::Reading;
use super::recipe::{Recipe, State};
use super::request::Length;
use super::times::{self, Points};
use crate::error::{Error, require_all};
use crate::grid::Grid;
use crate::level::NoiseLevel;
use crate::prediction::Prediction;
use crate::schedule::{Edm, LambdaRange, NoiseSchedule, TableSchedule, UnitVariance};
use crate::solver::Solver;

/// What distinguishes the classes' lists.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Whether there are Karras's ramp, the exponential one and that of Beta quantiles.
    pub(super) ramps: bool,
    /// Whether Karras's ramp too takes its ends from the file, where that has them.
    pub(super) ends_of_karras: bool,
    /// Whether the network's times on Karras's ramp are rounded.
    pub(super) rounded_karras: bool,
    /// Whether the caller can give a list of times.
    pub(super) takes_times: bool,
}

/// A knot of a list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Knot {
    pub(super) rho: f64,
    /// What the network is told.
    pub(super) time: f64,
    /// The index of the table that it is, if one.
    pub(super) index: Option<f64>,
}

impl Knot {
    /// Any ρ, of which the network is told the table's index.
    pub(super) fn at(table: &TableSchedule, rho: f64) -> Result<Self, Error> {
        Ok(Self {
            rho,
            time: table_time(table, rho)?,
            index: None,
        })
    }

    /// A whole index of the table.
    pub(super) fn of_index(table: &TableSchedule, index: f64) -> Result<Self, Error> {
        Ok(Self {
            rho: table.level(index + 1.0)?.rho(),
            time: index,
            index: Some(index),
        })
    }
}

/// A list of σ while it is made.
#[derive(Clone, Debug)]
pub(super) struct List {
    pub(super) knots: Vec<Knot>,
    pub(super) end: End,
    /// The number of steps that the library counts.
    pub(super) calls: usize,
}

impl List {
    pub(super) fn new(knots: Vec<Knot>, end: End) -> Self {
        let calls = knots.len();
        Self { knots, end, calls }
    }

    /// Every ρ, but for those of the ends that lie within the table.
    fn rhos(&self) -> impl Iterator<Item = f64> + '_ {
        let end = match self.end {
            End::At(rho) => Some(rho),
            End::Clean | End::Least => None,
        };
        self.knots.iter().map(|knot| knot.rho).chain(end)
    }
}

/// Where the last step leads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum End {
    Clean,
    /// Index 0 of the table.
    Least,
    /// A given ρ.
    At(f64),
}

/// The list of the spacing, or of given times: each ρ linear between its neighbours in the table.
pub(super) fn spaced(reading: &Reading<'_>, table: &TableSchedule) -> Result<Vec<Knot>, Error> {
    let times = match &reading.request().length {
        Length::Times(times) => times.clone(),
        _ => times::fractional(reading, table, Points::Steps, "linspace")?,
    };
    let last = table.last_time() - 1.0;
    require_all(
        "times",
        &times,
        |_, time| (0.0..=last).contains(&time),
        "an index of the table, 0 to T - 1",
    )?;
    let knots = times.into_iter().map(|time| interpolated(table, time));
    knots.collect()
}

fn spacing(reading: &Reading<'_>) -> Result<&'static str, Error> {
    reading.choice("timestep_spacing", "linspace", times::SPACINGS)
}

/// ρ at a fractional index.
fn interpolated(table: &TableSchedule, time: f64) -> Result<Knot, Error> {
    let below = time.floor();
    let low = Knot::of_index(table, below)?;
    let share = time - below;
    if share == 0.0 {
        return Ok(low);
    }
    let high = Knot::of_index(table, below + 1.0)?;
    let rho = match high.rho.is_finite() {
        true => low.rho + share * (high.rho - low.rho),
        // Of infinite noise there is no mean: α² is linear there.
        false => table.knot_level(time + 1.0)?.rho(),
    };
    let index = None;
    Ok(Knot { rho, time, index })
}

/// The list that a ramp makes of a spaced one: between its ends, or those of the file.
pub(super) fn ramped(
    reading: &Reading<'_>,
    table: &TableSchedule,
    spaced: &[Knot],
    ramp: Ramp,
    rules: Rules,
) -> Result<Vec<Knot>, Error> {
    let (Some(&first), Some(&last)) = (spaced.first(), spaced.last()) else {
        return Err(Error::EmptyList { name: "times" });
    };
    let ends = ends(reading, table, (first, last), ramp, rules)?;
    if spaced.len() > 1 {
        super::ends::check(reading, ends.0.rho, ends.1.rho)?;
    }
    let mut knots = between(table, ends, spaced.len(), ramp)?;
    if rules.rounded_karras && ramp == Ramp::Karras {
        for knot in &mut knots {
            knot.time = knot.time.round_ties_even();
        }
    }
    Ok(knots)
}

/// The ends of a ramp: the file's where it has them, else those of the spaced list.
pub(super) fn ends(
    reading: &Reading<'_>,
    table: &TableSchedule,
    own: (Knot, Knot),
    ramp: Ramp,
    rules: Rules,
) -> Result<(Knot, Knot), Error> {
    let from_file = rules.ends_of_karras || ramp != Ramp::Karras;
    let end = |field: &'static str, own: Knot| -> Result<Knot, Error> {
        let given = match from_file {
            true => reading.optional_number(field)?,
            false => None,
        };
        match given {
            None => Ok(own),
            Some(rho) if rho > 0.0 && rho.is_finite() => Knot::at(table, rho),
            Some(rho) => {
                let value = super::Value::Number(rho);
                Err(reading.invalid(field, &value, "positive and finite"))
            }
        }
    };
    let (mut max, min) = (end("sigma_max", own.0)?, end("sigma_min", own.1)?);
    if !max.rho.is_finite() {
        // ᾱ = 2⁻²⁴, as in the library.
        const STEEPEST: f64 = 4_095.999_877_929_685_7;
        reading.note(
            "the signal-to-noise ratio ends at zero, where no ramp of sigma can start: it starts at \
             4096, as in the library",
        );
        max = Knot::at(table, STEEPEST)?;
    }
    Ok((max, min))
}

/// K knots of a ramp between two, which are the first and the last.
pub(super) fn between(
    table: &TableSchedule,
    (max, min): (Knot, Knot),
    steps: usize,
    ramp: Ramp,
) -> Result<Vec<Knot>, Error> {
    let values = ramp.values((max.rho, min.rho), steps).into_iter();
    let knots = values.enumerate().map(|(place, rho)| match place {
        0 => Ok(max),
        _ if place + 1 == steps => Ok(min),
        _ => Knot::at(table, rho),
    });
    knots.collect()
}

/// The list of a class whose last step ends clean.
fn list(reading: &Reading<'_>, table: &TableSchedule, rules: Rules) -> Result<List, Error> {
    refuse_lists(reading, rules.takes_times)?;
    let spaced = spaced(reading, table)?;
    let ramp = match rules.ramps {
        true => Ramp::of(reading, false)?,
        false => None,
    };
    let knots = match ramp {
        Some(ramp) => {
            refuse_times(reading, ramp.field())?;
            ramped(reading, table, &spaced, ramp, rules)?
        }
        None => spaced,
    };
    Ok(List::new(knots, End::Clean))
}

/// Refuses the lists that a class does not take.
fn refuse_lists(reading: &Reading<'_>, takes_times: bool) -> Result<(), Error> {
    let (what, reason) = match reading.request().length {
        Length::Sigmas(_) => ("list of sigmas", "its step list is made of times"),
        Length::Times(_) if !takes_times => {
            ("list of times", "its steps are given by their number")
        }
        _ => return Ok(()),
    };
    Err(reading.refused(what, reason))
}

/// Refuses a list of times beside a ramp of σ.
pub(super) fn refuse_times(reading: &Reading<'_>, field: &'static str) -> Result<(), Error> {
    match reading.request().length {
        Length::Times(_) => Err(reading.unsupported(
            field,
            "the caller gives a list of times, and the ramp would make another",
            "the field switched off, or a number of steps",
        )),
        _ => Ok(()),
    }
}

/// The index linear in ln ρ between the table's, its ends beyond it.
pub(super) fn table_time(table: &TableSchedule, rho: f64) -> Result<f64, Error> {
    let range = table.lambda_range();
    let lambda = range
        .snap(-libm::log(rho))
        .clamp(range.noisy(), range.clean());
    Ok(table.level(table.time_of_lambda(lambda)?)?.model_time())
}

/// What the library multiplies normals by to start: ρ_max, or √(ρ_max² + 1) for leading times.
fn init_noise_sigma(reading: &Reading<'_>, knots: &[Knot]) -> Result<f64, Error> {
    let max = knots.iter().fold(0.0f64, |max, knot| max.max(knot.rho));
    Ok(match spacing(reading)? {
        "leading" => libm::hypot(max, 1.0),
        _ => max,
    })
}

/// The schedule of a list and its grid. `continuous`: the network is told ¼ ln ρ.
fn grid(
    reading: &Reading<'_>,
    table: TableSchedule,
    list: &List,
    continuous: bool,
) -> Result<(Arc<dyn NoiseSchedule>, Grid), Error> {
    let range = table.lambda_range();
    let (most, least) = (libm::exp(-range.noisy()), libm::exp(-range.clean()));
    // Rounding may put the ends of a ramp just past those of the table.
    // Equivalent mutant: replace < with <=: either is right at the border of a tolerance.
    let outside = |rho: f64| rho > most * (1.0 + 1e-12) || rho < least * (1.0 - 1e-12);
    if !(continuous || list.rhos().any(outside)) {
        let grid = on_table(&table, list)?;
        return Ok((Arc::new(table), grid));
    }
    let most = match most.is_finite() {
        true => most,
        false => table.level(table.last_time() - 1.0)?.rho(),
    };
    let (lowest, top) = (
        list.rhos().fold(least, f64::min),
        list.rhos().fold(most, f64::max),
    );
    if top.is_infinite() {
        return Err(reading.unsupported(
            "timestep_type",
            "the network would be told the logarithm of infinite noise",
            "\"discrete\", or Request::reproducing(Defect::NearlyZeroTerminalSnr)",
        ));
    }
    let levels = UnitVariance::of(Edm::new(lowest, top)?);
    let schedule: Arc<dyn NoiseSchedule> = match continuous {
        true => Arc::new(levels.with_edm_noise()),
        false => Arc::new(Beyond { levels, table }),
    };
    let knots = list.knots.iter().map(|knot| {
        let level = schedule.level(knot.rho)?;
        Ok(match continuous {
            true => level,
            false => level.with_model_time(knot.time),
        })
    });
    let end = match list.end {
        End::Clean => schedule.level(0.0),
        End::Least => schedule.level(least),
        End::At(rho) => schedule.level(rho),
    };
    let levels = knots.chain([end]).collect::<Result<_, Error>>()?;
    let grid = Grid::from_levels(levels, 1.0)?;
    Ok((schedule, grid))
}

/// The grid of a list that lies within the table.
fn on_table(table: &TableSchedule, list: &List) -> Result<Grid, Error> {
    let knots = list.knots.iter().map(|knot| {
        let level = match knot.index {
            Some(index) => table.level(index + 1.0)?,
            None => at_rho(table, knot.rho)?,
        };
        Ok(level.with_model_time(knot.time))
    });
    let end = match list.end {
        End::Clean => Ok(NoiseLevel::clean()),
        End::Least => table.level(1.0),
        End::At(rho) => at_rho(table, rho),
    };
    let levels = knots.chain([end]).collect::<Result<_, Error>>()?;
    Grid::from_levels(levels, 1.0)
}

/// What a class comes to whose states are x/α and whose solver is the same for every grid.
pub(super) fn recipe(
    reading: &Reading<'_>,
    table: TableSchedule,
    rules: Rules,
    prediction: Prediction,
    solver: impl FnOnce(&Grid) -> Result<Arc<dyn Solver>, Error>,
) -> Result<Recipe, Error> {
    let list = list(reading, &table, rules)?;
    of_list(reading, table, &list, (prediction, false), |_, grid| {
        solver(grid)
    })
}

/// The same with a list of its own; `continuous`: the network is told ¼ ln ρ.
pub(super) fn of_list(
    reading: &Reading<'_>,
    table: TableSchedule,
    list: &List,
    (prediction, continuous): (Prediction, bool),
    solver: impl FnOnce(&dyn NoiseSchedule, &Grid) -> Result<Arc<dyn Solver>, Error>,
) -> Result<Recipe, Error> {
    let init_noise_sigma = init_noise_sigma(reading, &list.knots)?;
    let (schedule, grid) = grid(reading, table, list, continuous)?;
    Ok(Recipe {
        solver: solver(&schedule, &grid)?,
        schedule,
        grid,
        prediction,
        clip: None,
        state: State::OverAlpha,
        init_noise_sigma,
        bare: false,
    })
}

/// The table's level with ρ = σ/α.
fn at_rho(table: &TableSchedule, rho: f64) -> Result<NoiseLevel, Error> {
    let range = table.lambda_range();
    let lambda = range.snap(-libm::log(rho));
    table.level(table.time_of_lambda(lambda)?)
}

/// The levels of unit variance of all ρ, also of those that lie beyond a table. Time is ρ. The
/// network is told the table's index, at most its ends.
#[derive(Clone, Debug)]
struct Beyond {
    levels: UnitVariance<Edm>,
    table: TableSchedule,
}

impl NoiseSchedule for Beyond {
    fn level(&self, time: f64) -> Result<NoiseLevel, Error> {
        let level = self.levels.level(time)?;
        Ok(match level.is_clean() {
            true => level,
            false => level.with_model_time(table_time(&self.table, time)?),
        })
    }

    fn last_time(&self) -> f64 {
        self.levels.last_time()
    }

    fn time_of_lambda(&self, lambda: f64) -> Result<f64, Error> {
        self.levels.time_of_lambda(lambda)
    }

    fn lambda_range(&self) -> LambdaRange {
        self.levels.lambda_range()
    }
}

/// The table that such a class makes for zero terminal SNR: it ends at α = 0, or in the library at
/// ᾱ = 2⁻²⁴.
pub(super) fn zero_terminal_snr(
    reading: &Reading<'_>,
    table: &TableSchedule,
) -> Result<TableSchedule, Error> {
    let exact = table.zero_terminal_snr()?;
    if !reading.defect(Defect::NearlyZeroTerminalSnr) {
        return Ok(exact);
    }
    match exact.with_last_alpha_cumprod(NEARLY_ZERO) {
        // Knots before the last have less: they are raised to just above it.
        Err(_) => raised(&exact),
        nearly => nearly,
    }
}

/// The library's ᾱ_T, 2⁻²⁴.
const NEARLY_ZERO: f64 = 1.0 / 16_777_216.0;

/// The table with no ᾱ below 2⁻²⁴, to 2⁻³⁰ of itself, so that the noise still grows.
fn raised(exact: &TableSchedule) -> Result<TableSchedule, Error> {
    const STEP: f64 = 1.0 / 1_073_741_824.0;
    let knots = exact.table_len().unwrap_or(1);
    let products = (1..=knots).map(|knot| {
        let alpha = exact.level(knot as f64)?.alpha();
        let least = NEARLY_ZERO * (1.0 + (knots - knot) as f64 * STEP);
        Ok((alpha * alpha).max(least))
    });
    TableSchedule::from_alphas_cumprod(&products.collect::<Result<Vec<_>, Error>>()?)
}

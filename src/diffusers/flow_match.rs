//! The schedulers of flow matching.

use std::sync::Arc;

use super::Defect;
use super::classes::Class;
use super::common::signed;
use super::ends;
use super::fields;
use super::ramp::Ramp;
use super::reading::Reading;
use super::recipe::{Recipe, State};
use super::request::{Length, Mu};
use crate::error::{Error, require, require_length};
use crate::grid::{FlowSigmas, Grid};
use crate::plan::Plan;
use crate::posterior::Kappa;
use crate::prediction::Prediction;
use crate::schedule::{ModelTime, RectifiedFlow, mu};
use crate::solver::{FirstOrder, Heun, Lcm, Path, Solver};

/// The fields of the list of σ.
const EULER_FIELDS: &[&[&str]] = &[
    fields::RAMPS,
    fields::DYNAMIC,
    fields::TOKENS,
    &[
        "num_train_timesteps",
        "shift",
        "invert_sigmas",
        "shift_terminal",
        "stochastic_sampling",
    ],
];

pub(super) const EULER: Class = Class {
    names: &["FlowMatchEulerDiscreteScheduler"],
    fields: EULER_FIELDS,
    read: read_euler,
};

pub(super) const LCM: Class = Class {
    names: &["FlowMatchLCMScheduler"],
    fields: &[
        fields::RAMPS,
        fields::DYNAMIC,
        fields::TOKENS,
        &[
            "num_train_timesteps",
            "shift",
            "invert_sigmas",
            "shift_terminal",
            "scale_factors",
            "upscale_mode",
        ],
    ],
    read: read_lcm,
};

pub(super) const HEUN: Class = Class {
    names: &["FlowMatchHeunDiscreteScheduler"],
    fields: &[&["num_train_timesteps", "shift"]],
    read: read_heun,
};

pub(super) const ANCESTRAL: Class = Class {
    names: &["LTXEulerAncestralRFScheduler"],
    fields: &[&["num_train_timesteps", "eta", "s_noise"]],
    read: read_ancestral,
};

fn read_euler(reading: &Reading<'_>) -> Result<Recipe, Error> {
    let inverted = reading.flag("invert_sigmas", false)?;
    let stochastic = reading.flag("stochastic_sampling", false)?;
    if stochastic && inverted {
        return Err(reading.unsupported(
            "stochastic_sampling",
            "with invert_sigmas the library adds the more noise the less there should be",
            "false",
        ));
    }
    let list = matching(reading)?;
    let solver: Arc<dyn Solver> = match stochastic {
        true => Arc::new(FirstOrder::new(Kappa::Fresh)),
        false => Arc::new(FirstOrder::ddim()),
    };
    list.recipe(reading, solver, inverted)
}

fn read_lcm(reading: &Reading<'_>) -> Result<Recipe, Error> {
    if reading
        .numbers("scale_factors")?
        .is_some_and(|list| !list.is_empty())
    {
        return Err(reading.unsupported(
            "scale_factors",
            "the state changes its size between steps",
            "a run for each size, on a section of the grid",
        ));
    }
    if reading.flag("invert_sigmas", false)? {
        return Err(reading.unsupported(
            "invert_sigmas",
            "the library then adds the more noise the less there should be",
            "false",
        ));
    }
    let list = matching(reading)?;
    list.recipe(reading, Arc::new(Lcm::new().without_boundary()), false)
}

fn read_heun(reading: &Reading<'_>) -> Result<Recipe, Error> {
    let steps = match reading.request().length {
        Length::Steps(steps) if !reading.request().uniform => steps,
        _ => return Err(reading.refused("list of sigmas or times", "it makes its list itself")),
    };
    let table = table(reading)?;
    let shift = ends::shift(reading, "shift")?;
    let sigmas = statically(reading, steps, table, shift)?;
    let list = List::of(sigmas, table);
    list.recipe(reading, Arc::new(Heun::in_flow_time()), false)
}

fn read_ancestral(reading: &Reading<'_>) -> Result<Recipe, Error> {
    let table = table(reading)?;
    let eta = reading.number("eta", 1.0)?;
    let eta = match reading.request().eta {
        Some(own) => {
            reading.uses("eta");
            own
        }
        None => eta,
    };
    let factor = reading.number("s_noise", 1.0)?;
    require(
        factor.is_finite() && factor >= 0.0,
        "s_noise",
        factor,
        "finite and at least 0",
    )?;
    let list = match &reading.request().length {
        // As they are, the end included.
        Length::Sigmas(sigmas) => List::to_its_end(FlowSigmas::new(sigmas.clone())?, table),
        _ => matching(reading)?,
    };
    let inner = FirstOrder::new(Kappa::FlowEta(eta));
    list.recipe(reading, Arc::new(NoiseTimes { inner, factor }), false)
}

/// A list of σ, and the times where they do not follow from it.
pub(super) struct List {
    sigmas: FlowSigmas,
    /// Whether the end is in it; else it is 0.
    with_end: bool,
    times: Option<Vec<f64>>,
    table: usize,
}

impl List {
    fn of(sigmas: FlowSigmas, table: usize) -> Self {
        Self {
            sigmas,
            with_end: false,
            times: None,
            table,
        }
    }

    /// A list that holds its end.
    pub(super) fn to_its_end(sigmas: FlowSigmas, table: usize) -> Self {
        Self {
            with_end: true,
            ..Self::of(sigmas, table)
        }
    }

    pub(super) fn recipe(
        self,
        reading: &Reading<'_>,
        solver: Arc<dyn Solver>,
        inverted: bool,
    ) -> Result<Recipe, Error> {
        let time = match inverted {
            true => ModelTime::one_minus_sigma(),
            false => ModelTime::sigma(),
        };
        let schedule = RectifiedFlow::new().with_model_time(time.times(self.table as f64)?);
        let float32 = reading.request().float32;
        let sigmas = match float32 {
            true => {
                reading.uses("in_float32");
                self.sigmas.in_f32()
            }
            false => self.sigmas,
        };
        let mut grid = match self.with_end {
            true => Grid::from_flow_sigmas(&schedule, sigmas.values())?,
            false => sigmas.grid(&schedule)?,
        };
        if let Some(times) = self.times {
            let mut times = times.into_iter();
            let levels = grid.levels().iter();
            let told = levels.map(|&level| match times.next() {
                Some(time) => level.with_model_time(time),
                None => level,
            });
            grid = Grid::from_levels(told.collect(), 1.0)?;
        } else if float32 {
            grid = grid.with_model_times(|level| f64::from(level.model_time() as f32));
        }
        // A network that counts from noise to data predicts data − noise.
        let prediction = match inverted {
            true => Prediction::Linear {
                data: 1.0,
                noise: -1.0,
            },
            false => Prediction::Flow,
        };
        Ok(Recipe {
            prediction: signed(reading, prediction)?,
            grid,
            solver,
            clip: None,
            schedule: Arc::new(schedule),
            state: State::Flow,
            init_noise_sigma: 1.0,
            bare: false,
        })
    }
}

fn table(reading: &Reading<'_>) -> Result<usize, Error> {
    reading.training_times(usize::MAX)
}

/// FlowMatchEuler's list: σ given or its own → shift → stretch → ramp.
fn matching(reading: &Reading<'_>) -> Result<List, Error> {
    let table = table(reading)?;
    let dynamic = reading.flag("use_dynamic_shifting", false)?;
    let shift = || ends::shift(reading, "shift");
    let (given, times) = given(reading, table)?;
    let sigmas = match (given, &reading.request().length) {
        (Some(sigmas), _) if dynamic => dynamically(reading, sigmas)?,
        (Some(sigmas), _) => sigmas.shifted(shift()?)?,
        (None, &Length::Steps(steps)) if !dynamic => statically(reading, steps, table, shift()?)?,
        (None, &Length::Steps(steps)) => dynamically(reading, FlowSigmas::euler(steps, table)?)?,
        (None, _) => return Err(Error::EmptyList { name: "sigmas" }),
    };
    let sigmas = stretched(reading, sigmas)?;
    Ok(List {
        times,
        ..List::of(ramped(reading, sigmas)?, table)
    })
}

/// The σ that the caller gives, if any, and the times, where they are given.
fn given(
    reading: &Reading<'_>,
    table: usize,
) -> Result<(Option<FlowSigmas>, Option<Vec<f64>>), Error> {
    let request = reading.request();
    let list = match &request.length {
        Length::Sigmas(sigmas) => FlowSigmas::new(sigmas.clone())?,
        Length::Times(times) => {
            let sigmas = times.iter().map(|time| time / table as f64);
            FlowSigmas::new(sigmas.collect::<Vec<_>>())?
        }
        Length::Steps(steps) if request.uniform => {
            reading.uses("uniform_sigmas");
            FlowSigmas::uniform(*steps)?
        }
        Length::Steps(_) => return Ok((None, None)),
    };
    let times = match &request.length {
        Length::Times(times) => Some(times),
        _ => request.times.as_ref(),
    };
    if let Some(times) = times {
        reading.uses("with_times");
        require_length("times", list.values().len(), times.len())?;
    }
    // The library casts a list that is given.
    let list = match request.float32 {
        true => list.in_f32(),
        false => list,
    };
    Ok((Some(list), times.cloned()))
}

/// The library's own list with a static shift.
fn statically(
    reading: &Reading<'_>,
    steps: usize,
    table: usize,
    shift: f64,
) -> Result<FlowSigmas, Error> {
    let least = FlowSigmas::new([1.0 / table as f64])?;
    let least = match reading.request().float32 {
        true => least.in_f32(),
        false => least,
    };
    let twice = steps > 1 && shift != 1.0 && reading.defect(Defect::ShiftedTwice);
    let least = match twice {
        true => least.shifted(shift)?,
        false => least,
    };
    let least = least.values().first().copied().unwrap_or(1.0);
    FlowSigmas::down_to(least, steps, table)?.shifted(shift)
}

/// Shifted by μ.
pub(super) fn dynamically(reading: &Reading<'_>, sigmas: FlowSigmas) -> Result<FlowSigmas, Error> {
    let mu = mu(reading, sigmas.values().len())?;
    let shapes: &[&[&str]] = &[&["exponential"], &["linear"]];
    match reading.choice("time_shift_type", "exponential", shapes)? {
        "exponential" => sigmas.shifted_by_mu(mu),
        _ => sigmas.shifted_linearly(mu),
    }
}

/// μ of a dynamic shift.
fn mu(reading: &Reading<'_>, steps: usize) -> Result<f64, Error> {
    requested_mu(reading, steps)?.ok_or_else(|| {
        reading.missing(
            "image_tokens, or mu",
            "its shift depends on the length of the network's sequence (use_dynamic_shifting)",
        )
    })
}

/// μ of the request, if it says anything of it.
pub(super) fn requested_mu(reading: &Reading<'_>, steps: usize) -> Result<Option<f64>, Error> {
    let request = reading.request();
    if let Mu::Given(mu) = request.mu {
        reading.uses("mu");
        return Ok(Some(mu));
    }
    let Some(tokens) = request.image_tokens else {
        return Ok(None);
    };
    reading.uses("image_tokens");
    // A request without a rule lists no `mu`: nothing is then reported as unused.
    reading.uses("mu");
    let base_tokens = || reading.count("base_image_seq_len", 256);
    let base_shift = || ends::mu(reading, "base_shift", 0.5);
    let max_shift = || ends::mu(reading, "max_shift", 1.15);
    Ok(Some(match request.mu {
        Mu::Flux2 => mu::flux2(tokens, steps),
        Mu::QwenLayered => mu::qwen_layered(tokens),
        Mu::CogView4 => mu::square_root(tokens, base_tokens()?, base_shift()?, max_shift()?)?,
        Mu::Linear | Mu::Given(_) => {
            let most = reading.count("max_image_seq_len", 4096)?;
            mu::linear(
                tokens,
                (base_tokens()?, base_shift()?),
                (most, max_shift()?),
            )?
        }
    }))
}

/// Stretched to `shift_terminal`; nothing, false and 0 are none.
pub(super) fn stretched(reading: &Reading<'_>, sigmas: FlowSigmas) -> Result<FlowSigmas, Error> {
    match ends::terminal(reading)? {
        Some(terminal) => {
            if sigmas.values().last() == Some(&1.0) {
                reading.note("the only sigma is 1, which cannot be stretched; the library has 0/0");
            }
            sigmas.stretched_to(terminal)
        }
        None => Ok(sigmas),
    }
}

/// A ramp between the ends of the list, in place of it.
fn ramped(reading: &Reading<'_>, sigmas: FlowSigmas) -> Result<FlowSigmas, Error> {
    let Some(ramp) = Ramp::of(reading, false)? else {
        return Ok(sigmas);
    };
    let steps = sigmas.values().len();
    if steps < 2 {
        return Ok(sigmas);
    }
    let (Some(&first), Some(&last)) = (sigmas.values().first(), sigmas.values().last()) else {
        return Ok(sigmas);
    };
    let max = reading.optional_number("sigma_max")?.unwrap_or(first);
    let min = reading.optional_number("sigma_min")?.unwrap_or(last);
    ends::check_flow(reading, max, min)?;
    FlowSigmas::new(ramp.values((max, min), steps))
}

/// A solver whose noise is multiplied by a factor.
#[derive(Clone, Debug)]
struct NoiseTimes {
    inner: FirstOrder,
    factor: f64,
}

impl Solver for NoiseTimes {
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let plan = self.inner.plan(path)?;
        let mut steps = plan.steps().to_vec();
        for stage in steps.iter_mut().flat_map(|step| &mut step.stages) {
            stage.update.noise *= self.factor;
        }
        Plan::new(steps, plan.slots())
    }

    fn order(&self) -> usize {
        1
    }
}

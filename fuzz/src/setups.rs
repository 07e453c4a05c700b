//! Schedules, grids and solvers drawn from the input.

use std::sync::LazyLock;

use diffusion_sampler::grid::{FlowSigmas, SigmaRange, Spacing, spacings};
use diffusion_sampler::posterior::{Kappa, ReverseVariance};
use diffusion_sampler::schedule::{
    Edm, LambdaRange, ModelTime, NoiseSchedule, RectifiedFlow, Sublevels, TableSchedule,
    UnitVariance, VarianceExploding, VariancePreserving,
};
use diffusion_sampler::solver::{self, Solver};
use diffusion_sampler::{Clip, Error, Grid, NoiseLevel, Prediction, registry};

use crate::input::Input;

/// The longest table, so that a case takes microseconds.
const TABLE: usize = 40;

/// A positive number of about 1, or any.
pub(crate) fn positive(input: &mut Input<'_>) -> f64 {
    match input.flag() {
        true => 4.0 * (input.unit() + 1.0 / 65536.0),
        false => input.number(),
    }
}

pub(crate) fn table(input: &mut Input<'_>) -> Result<TableSchedule, Error> {
    let steps = match input.byte() {
        255 => usize::MAX,
        254 => (1 << 24) + 1,
        few => usize::from(few) % (TABLE + 1),
    };
    let mut table = match input.below(8) {
        0 => TableSchedule::linear(steps, input.unit(), input.unit()),
        1 => TableSchedule::scaled_linear(steps, input.unit(), input.unit()),
        2 => TableSchedule::cosine(steps),
        3 => TableSchedule::sigmoid(steps, input.unit(), input.unit()),
        4 => TableSchedule::from_betas(&input.numbers(TABLE)),
        5 => TableSchedule::from_alphas_cumprod(&input.numbers(TABLE)),
        6 => {
            let mut list = input.numbers(TABLE);
            list.retain(|value| (0.0..1.0).contains(value));
            list.sort_by(|a, b| b.total_cmp(a));
            list.dedup();
            TableSchedule::from_alphas_cumprod(&list)
        }
        _ => match input.flag() {
            true => TableSchedule::linear(steps, input.number(), input.number()),
            false => TableSchedule::sigmoid(steps, input.number(), input.number()),
        },
    }?;
    let more = input.byte();
    if more & 1 != 0 {
        table = table.snr_shifted(positive(input))?;
    }
    if more & 2 != 0 {
        table = table.zero_terminal_snr()?;
    }
    if more & 4 != 0 {
        table = table.with_last_alpha_cumprod(input.number())?;
    }
    Ok(table)
}

fn flow(input: &mut Input<'_>) -> Result<RectifiedFlow, Error> {
    let flow = match input.below(4) {
        0 => RectifiedFlow::new(),
        1 => RectifiedFlow::shifted(positive(input))?,
        2 => RectifiedFlow::shifted_by_mu(input.number())?,
        _ => RectifiedFlow::shifted_linearly(positive(input))?,
    };
    Ok(match input.below(4) {
        0 => flow.with_model_time(ModelTime::one_minus_sigma()),
        1 => flow.with_model_time(ModelTime::sigma().times(input.number())?.truncated()),
        _ => flow,
    })
}

pub(crate) fn schedule(input: &mut Input<'_>) -> Result<Box<dyn NoiseSchedule>, Error> {
    Ok(match input.below(12) {
        0..3 => Box::new(table(input)?),
        3 => Box::new(VariancePreserving::new(input.number(), input.number())?),
        4 => Box::new(VariancePreserving::default()),
        5 => Box::new(VarianceExploding::new(input.number(), input.number())?),
        6 => Box::new(Edm::default()),
        7 => Box::new(Edm::new(positive(input), input.number())?),
        8 => Box::new(flow(input)?),
        9 => {
            let count = usize::from(input.byte());
            Box::new(Sublevels::of(flow(input)?, count)?)
        }
        10 => Box::new(UnitVariance::of(Edm::default()).with_edm_noise()),
        _ => Box::new(UnitVariance::of(flow(input)?)),
    })
}

fn range(input: &mut Input<'_>, schedule: &dyn NoiseSchedule) -> Result<SigmaRange, Error> {
    match input.below(4) {
        0 => SigmaRange::rhos(positive(input), input.unit()),
        1 => SigmaRange::flow(input.unit(), input.unit()),
        2 => Ok(LambdaRange::new(input.number(), input.number())?.into()),
        _ => SigmaRange::of(schedule),
    }
}

fn falling(mut list: Vec<f64>, sort: bool) -> Vec<f64> {
    if sort {
        list.retain(|value| !value.is_nan());
        list.sort_by(|a, b| b.total_cmp(a));
        list.dedup();
    }
    list
}

/// Flow sigmas made of each other; where they round to `f32` they are numbers of `f32`.
pub(crate) fn flow_sigmas(input: &mut Input<'_>) -> Result<FlowSigmas, Error> {
    let steps = match input.byte() {
        255 => usize::MAX,
        254 => (1 << 24) + 2,
        few => usize::from(few) % (TABLE + 1),
    };
    let table = match input.byte() {
        255 => usize::MAX,
        few => 4 * usize::from(few),
    };
    let sort = input.flag();
    let mut list = match input.below(8) {
        0 => FlowSigmas::uniform(steps),
        1 => FlowSigmas::euler(steps, table),
        2 => FlowSigmas::euler_shifted_twice(steps, table, positive(input)),
        3 => FlowSigmas::down_to(input.number(), steps, table),
        4 => FlowSigmas::uni_pc(steps, table),
        5 => FlowSigmas::dpm_solver(steps, table),
        6 => FlowSigmas::linspace(input.number(), input.number(), steps),
        _ => FlowSigmas::new(falling(input.numbers(12), sort)),
    }?;
    let mut single = false;
    for _ in 0..input.below(5) {
        list = match input.below(8) {
            0 => list.shifted(positive(input))?,
            1 => list.shifted_by_mu(input.number())?,
            2 => list.shifted_linearly(positive(input))?,
            3 => list.stretched_to(input.number())?,
            4 => list.starting_below(input.unit())?,
            5 => list.without_last()?,
            6 => {
                single = true;
                list.in_f32()
            }
            _ => list.shifted(1.0)?,
        };
        for &sigma in list.values() {
            assert!((0.0..=1.0).contains(&sigma), "{sigma} in {list:?}");
            let rounded = f64::from(sigma as f32) == sigma;
            assert!(rounded || !single, "{sigma} is no f32: {list:?}");
        }
    }
    Ok(list)
}

/// The number of steps of a grid where it was asked for one.
pub(crate) type Asked = Option<usize>;

/// A grid of any constructor.
pub(crate) fn grid(
    input: &mut Input<'_>,
    schedule: &dyn NoiseSchedule,
) -> Result<(Grid, Asked), Error> {
    let steps = match input.byte() {
        255 => usize::MAX,
        254 => (1 << 24) + 1,
        few => usize::from(few) % 13,
    };
    let kind = input.byte();
    let sort = kind & 64 != 0;
    let last = schedule.last_time();
    let list = |input: &mut Input<'_>| falling(input.numbers(12), sort);
    let exactly = |grid: Grid| (grid, Some(steps));
    Ok(match kind & 31 {
        0 => exactly(Grid::trailing(schedule, steps)?),
        1 => exactly(Grid::leading(schedule, steps, input.below(4))?),
        2 => exactly(Grid::leading_without_least(
            schedule,
            steps,
            input.below(4),
        )?),
        3 => exactly(Grid::linspace(schedule, steps)?),
        4 => exactly(Grid::quadratic(schedule, steps)?),
        5 => exactly(Grid::ddim_quadratic(schedule, steps)?),
        6 => {
            let power = positive(input);
            let range = range(input, schedule)?;
            exactly(Grid::karras(schedule, steps, range, power)?)
        }
        7 => {
            let power = positive(input);
            let range = range(input, schedule)?;
            exactly(Grid::exponential(schedule, steps, range, power)?)
        }
        8 => exactly(Grid::uniform_lambda(
            schedule,
            steps,
            LambdaRange::new(input.number(), input.number())?,
        )?),
        9 => {
            let (mu, scale) = (input.number(), positive(input));
            let range = range(input, schedule)?;
            exactly(Grid::laplace(schedule, steps, range, mu, scale)?)
        }
        10 => {
            let shape = (positive(input), positive(input));
            let range = range(input, schedule)?;
            exactly(Grid::beta_sigmas(schedule, steps, range, shape)?)
        }
        11 => {
            let shape = (positive(input), positive(input));
            exactly(Grid::beta_indices(schedule, steps, shape)?)
        }
        12 => {
            let threshold = input.number();
            let range = range(input, schedule)?;
            exactly(Grid::linear_quadratic(schedule, steps, range, threshold)?)
        }
        13 => exactly(Grid::arctan(schedule, steps, positive(input))?),
        14 => {
            let epsilon = input.number();
            let range = range(input, schedule)?;
            exactly(Grid::edm_vp(schedule, steps, range, epsilon)?)
        }
        15 => exactly(Grid::sway(schedule, steps, input.number())?),
        16 => exactly(Grid::sway_in_time(schedule, steps, input.number())?),
        17 => exactly(Grid::lcm(schedule, steps, usize::from(input.byte()))?),
        18 => exactly(Grid::turbo(schedule, steps, usize::from(input.byte()))?),
        19 => {
            let list = list(input);
            let grid = Grid::from_times(schedule, &list)?;
            assert_eq!(grid.levels().len(), list.len());
            for (level, &time) in grid.levels().iter().zip(&list) {
                assert_eq!(Ok(*level), schedule.level(time), "at {time}");
            }
            (grid, None)
        }
        20 => {
            let times: Vec<f64> = list(input).iter().map(|t| t * last).collect();
            (Grid::from_times(schedule, &times)?, None)
        }
        21 => {
            let list = list(input);
            let grid = Grid::from_indices(schedule, &list)?;
            assert_eq!(grid.levels().len(), list.len() + 1);
            assert!(grid.end().is_clean());
            (grid, None)
        }
        22 => (
            Grid::from_indices_linear_in_rho(schedule, &list(input))?,
            None,
        ),
        23 => {
            let mut list = list(input);
            if sort {
                list.reverse();
            }
            let grid = Grid::from_lambdas(schedule, &list)?;
            assert_eq!(grid.levels().len(), list.len());
            (grid, None)
        }
        24 => {
            let list = list(input);
            let grid = Grid::from_rhos(schedule, &list)?;
            assert_eq!(grid.levels().len(), list.len());
            (grid, None)
        }
        25 => {
            let list = list(input);
            let grid = Grid::from_flow_sigmas(schedule, &list)?;
            assert_eq!(grid.levels().len(), list.len());
            (grid, None)
        }
        26 | 27 => {
            let list = flow_sigmas(input)?;
            let flow = RectifiedFlow::new();
            let grid = list.grid(&flow)?;
            for (level, &sigma) in grid.levels().iter().zip(list.values()) {
                // −0 is 0.
                let given = (sigma + 0.0).to_bits();
                assert_eq!(level.sigma().to_bits(), given, "of {list:?}");
                assert_eq!(level.alpha().to_bits(), (1.0 - sigma).to_bits());
            }
            assert!(grid.end().is_clean());
            (list.grid(schedule)?, None)
        }
        28 => {
            let mut levels = Vec::new();
            for _ in 0..1 + input.below(8) {
                levels.push(level(input)?);
            }
            if sort {
                levels.sort_by(|a, b| a.lambda().total_cmp(&b.lambda()));
            }
            (Grid::from_levels(levels, input.number())?, None)
        }
        _ => {
            let spacing: Spacing = input.choose(spacings()).spacing;
            exactly(spacing.grid(schedule, steps)?)
        }
    })
}

/// Any level.
pub(crate) fn level(input: &mut Input<'_>) -> Result<NoiseLevel, Error> {
    let time = input.number();
    match input.below(3) {
        0 => NoiseLevel::new(time, input.number(), input.number()),
        1 => NoiseLevel::from_logs(time, input.number(), input.number()),
        _ => NoiseLevel::variance_preserving(time, input.number()),
    }
}

/// A part of a grid, or the grid with another end.
pub(crate) fn part(
    input: &mut Input<'_>,
    grid: Grid,
    schedule: &dyn NoiseSchedule,
) -> Result<Grid, Error> {
    let steps = grid.steps();
    match input.below(8) {
        0 => grid.by_strength(input.number()),
        1 => {
            let cut = input.below(14);
            let (head, tail) = (grid.section(0..cut)?, grid.section(cut..steps)?);
            assert_eq!(head.steps() + tail.steps(), steps);
            let joined = head.then(&tail)?;
            assert_eq!(joined, grid, "two parts");
            Ok(joined)
        }
        2 => grid.section(input.below(14)..input.below(14)),
        3 => grid.without_clean_end(),
        4 => {
            let end = schedule.level(schedule.last_time() * input.unit())?;
            let ended = grid.ending_at(end)?;
            assert_eq!(ended.end(), end);
            Ok(ended)
        }
        5 => {
            let start = schedule.level(schedule.last_time() * input.unit())?;
            grid.starting_at(schedule, start)
        }
        6 => grid.with_start_variance(input.number()),
        _ => Ok(grid),
    }
}

fn kappa(input: &mut Input<'_>) -> Kappa {
    let number = match input.flag() {
        true => input.unit(),
        false => input.number(),
    };
    match input.below(9) {
        0 => Kappa::Ddim,
        1 => Kappa::Ddpm,
        2 => Kappa::Eta(number),
        3 => Kappa::Tau(number),
        4 => Kappa::Gamma(number),
        5 => Kappa::Fresh,
        6 => Kappa::CappedEta(number),
        7 => Kappa::FlowEta(number),
        _ => Kappa::Ancestral(number),
    }
}

/// Every solver of the catalogue, and those of names.
static SOLVERS: LazyLock<Vec<Box<dyn Solver>>> = LazyLock::new(|| {
    let named = registry::entries().map(|entry| entry.solver().expect("valid options"));
    let listed = solver::catalogue().into_iter().map(|entry| entry.solver);
    listed.chain(named).collect()
});

/// Calls `with` with a solver.
pub(crate) fn with_solver<T>(
    input: &mut Input<'_>,
    with: impl FnOnce(&dyn Solver) -> T,
) -> Result<T, Error> {
    Ok(match input.below(10) {
        0 => with(&solver::FirstOrder::new(kappa(input))),
        1 => {
            let kappas = (0..input.below(13)).map(|_| kappa(input)).collect();
            with(&solver::FirstOrder::per_edge(kappas))
        }
        2 => {
            let variance = match input.below(3) {
                0 => ReverseVariance::Posterior,
                1 => ReverseVariance::FixedLarge,
                _ => ReverseVariance::Explicit(input.number()),
            };
            with(&solver::FirstOrder::new(kappa(input)).with_reverse_variance(variance))
        }
        3 => {
            let inner: &dyn Solver = &**input.choose(&SOLVERS[..]);
            let (low, high) = (input.number(), input.number());
            let restart = solver::Restart::new(inner);
            let (repeats, steps) = (input.below(3), input.below(4));
            with(&restart.with_interval(low, high, repeats, steps)?)
        }
        4 => {
            let inner: &dyn Solver = &**input.choose(&SOLVERS[..]);
            let (jump, times) = (input.below(5), input.below(3));
            with(&solver::RePaint::new(inner, jump, times)?)
        }
        5 => {
            let churn = solver::Churn::new(input.number())?;
            let churn = churn.between(input.number(), input.number())?;
            let churn = churn.with_noise(input.unit() + 0.5)?;
            match input.below(3) {
                0 => with(&solver::Euler::new().with_churn(churn)),
                1 => with(&solver::Heun::stochastic(churn)),
                _ => with(
                    &solver::Dpm2::new()
                        .with_churn(churn)
                        .with_kappa(kappa(input)),
                ),
            }
        }
        _ => with(&**input.choose(&SOLVERS[..])),
    })
}

pub(crate) fn prediction(input: &mut Input<'_>) -> Prediction {
    match input.below(12) {
        0 | 1 => Prediction::Noise,
        2 | 3 => Prediction::Data,
        4 => Prediction::Velocity,
        5 => Prediction::Score,
        6 | 7 => Prediction::Flow,
        8 => Prediction::Edm { data_std: 0.5 },
        9 => Prediction::EdmVelocity {
            data_std: positive(input),
        },
        _ => Prediction::Linear {
            data: input.number(),
            noise: input.number(),
        },
    }
}

pub(crate) fn clip(input: &mut Input<'_>) -> Result<Option<Clip>, Error> {
    let clip = match input.below(8) {
        0 => Clip::new(-1.0, 1.0)?,
        1 => Clip::new(input.number(), input.number())?,
        2 => Clip::dynamic(0.9, 2.0)?,
        3 => Clip::dynamic(input.unit(), positive(input))?,
        _ => return Ok(None),
    };
    Ok(Some(match input.flag() {
        true => clip.keeping_noise(),
        false => clip,
    }))
}

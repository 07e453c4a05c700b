//! Random grids: every spacing, and knots where rounding is all there is.

use diffusion_sampler::grid::spacings;
use diffusion_sampler::schedule::{
    Edm, NoiseSchedule, RectifiedFlow, Sublevels, TableSchedule, UnitVariance, VarianceExploding,
    VariancePreserving,
};
use diffusion_sampler::testing::AnySchedule;
use diffusion_sampler::{Error, Grid, NoiseLevel};

use super::random::Random;

/// A grid, and the schedule between its knots where there is one.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// The schedule.
    pub schedule: Option<AnySchedule>,
    /// The grid.
    pub grid: Grid,
    /// How it was drawn.
    pub kind: &'static str,
}

/// A schedule of any family, with the expression that makes it.
pub fn schedule(random: &mut Random) -> Result<AnySchedule, Error> {
    let any = |name: String, schedule| AnySchedule::new(name, schedule);
    Ok(match random.below(14) {
        0 | 1 => {
            let (least, more) = (random.decade(-3.0, 1.0), random.decade(-2.0, 2.0));
            let most = least + more;
            let name = format!("VariancePreserving::new({least:?}, {most:?})?");
            any(name, VariancePreserving::new(least, most)?)
        }
        2 | 3 => {
            let least = random.decade(-8.0, 0.0);
            let most = least * random.decade(0.01, 10.0);
            let name = format!("VarianceExploding::new({least:?}, {most:?})?");
            AnySchedule::new(name, VarianceExploding::new(least, most)?)
        }
        4 | 5 => {
            let least = random.decade(-8.0, 0.0);
            let most = least * random.decade(0.01, 10.0);
            let name = format!("Edm::new({least:?}, {most:?})?");
            AnySchedule::new(name, Edm::new(least, most)?)
        }
        6 => {
            let least = random.decade(-6.0, 0.0);
            let most = least * random.decade(0.01, 8.0);
            let name = format!("UnitVariance::of(Edm::new({least:?}, {most:?})?)");
            AnySchedule::new(name, UnitVariance::of(Edm::new(least, most)?))
        }
        7 => AnySchedule::new("RectifiedFlow::new()", RectifiedFlow::new()),
        8 | 9 => {
            let shift = random.decade(-3.0, 3.0);
            let name = format!("RectifiedFlow::shifted({shift:?})?");
            AnySchedule::new(name, RectifiedFlow::shifted(shift)?)
        }
        10 => {
            let count = 1 + random.below(200);
            let name = format!("Sublevels::of(RectifiedFlow::new(), {count})?");
            AnySchedule::new(name, Sublevels::of(RectifiedFlow::new(), count)?)
        }
        _ => table(random)?,
    })
}

fn table(random: &mut Random) -> Result<AnySchedule, Error> {
    let steps = match random.below(4) {
        0 => 2 + random.below(6),
        1 => 1000,
        _ => 2 + random.below(120),
    };
    let factor = f64::min(1000.0 / steps as f64, 40.0);
    let (first, last) = (1e-4 * factor, 0.02 * factor);
    let (name, table) = match random.below(4) {
        0 => (
            format!("TableSchedule::linear({steps}, {first:?}, {last:?})?"),
            TableSchedule::linear(steps, first, last)?,
        ),
        1 => (
            format!("TableSchedule::scaled_linear({steps}, {first:?}, {last:?})?"),
            TableSchedule::scaled_linear(steps, first, last)?,
        ),
        2 => (
            format!("TableSchedule::cosine({steps})?"),
            TableSchedule::cosine(steps)?,
        ),
        _ => (
            format!("TableSchedule::sigmoid({steps}, {first:?}, {last:?})?"),
            TableSchedule::sigmoid(steps, first, last)?,
        ),
    };
    if random.one_in(3) {
        let name = format!("{name}.zero_terminal_snr()?");
        return Ok(AnySchedule::new(name, table.zero_terminal_snr()?));
    }
    Ok(AnySchedule::new(name, table))
}

/// The number of steps: 1 to 60, most of them few.
fn steps(random: &mut Random) -> usize {
    match random.below(10) {
        0 => 1,
        1 => 2,
        9 => 1 + random.below(60),
        _ => 3 + random.below(9),
    }
}

/// A grid of any kind. `None` where what was drawn is no grid: knots that rounding made one, a
/// spacing that the schedule does not have.
pub fn any(random: &mut Random) -> Option<Drawn> {
    match random.below(8) {
        0 => spaced(random).ok(),
        1 | 2 => bare(random).ok(),
        3 => hand_made(random).ok(),
        _ => listed(random).ok(),
    }
}

/// A spacing by name.
fn spaced(random: &mut Random) -> Result<Drawn, Error> {
    let schedule = schedule(random)?;
    let entry = random.pick(spacings());
    let grid = entry.spacing.grid(&schedule, steps(random))?;
    let grid = match random.below(6) {
        0 => grid.without_clean_end()?,
        1 => grid.section(random.below(grid.steps())..grid.steps())?,
        _ => grid,
    };
    Ok(Drawn {
        schedule: Some(schedule),
        grid,
        kind: entry.name,
    })
}

/// Times of a schedule from anywhere, many of them beside one another.
fn listed(random: &mut Random) -> Result<Drawn, Error> {
    let schedule = schedule(random)?;
    let last = schedule.last_time();
    let count = steps(random);
    let mut times: Vec<f64> = (0..count).map(|_| random_time(random) * last).collect();
    if random.one_in(2) {
        times.push(last);
    }
    if random.one_in(2) {
        times.push(0.0);
    }
    for _ in 0..random.below(4) {
        let time = times[random.below(times.len())];
        times.push(beside(random, time).clamp(0.0, last));
    }
    times.sort_by(|a, b| b.total_cmp(a));
    times.dedup();
    let levels: Vec<NoiseLevel> = times
        .iter()
        .map(|&time| schedule.level(time))
        .collect::<Result<_, _>>()?;
    let levels = distinct(levels);
    let start = schedule.start_variance(levels.first().unwrap_or(&NoiseLevel::clean()));
    let grid = Grid::from_levels(levels, start)?;
    Ok(Drawn {
        schedule: Some(schedule),
        grid,
        kind: "times",
    })
}

/// A share of the whole time, near its ends too.
fn random_time(random: &mut Random) -> f64 {
    match random.below(6) {
        0 => random.decade(-14.0, 0.0),
        1 => 1.0 - random.decade(-16.0, -1.0),
        _ => random.unit(),
    }
}

/// A number beside another: from the next one in f64 to a tenth away.
fn beside(random: &mut Random, value: f64) -> f64 {
    match random.below(4) {
        0 => value.next_down(),
        1 => value.next_up(),
        _ => value * (1.0 + random.sign() * random.decade(-16.0, -1.0)),
    }
}

/// The levels without those that have not less noise than the one before.
fn distinct(levels: Vec<NoiseLevel>) -> Vec<NoiseLevel> {
    let mut kept: Vec<NoiseLevel> = Vec::with_capacity(levels.len());
    for level in levels {
        if kept
            .last()
            .is_none_or(|last| level.lambda() > last.lambda())
        {
            kept.push(level);
        }
    }
    kept
}

/// Variance-preserving levels at any λ, of no schedule.
fn bare(random: &mut Random) -> Result<Drawn, Error> {
    let count = steps(random) + 1;
    let mut lambda = random.between(-30.0, 10.0);
    let mut lambdas = Vec::with_capacity(count + 2);
    if random.one_in(4) {
        lambdas.push(f64::NEG_INFINITY);
    }
    for _ in 0..count {
        lambdas.push(lambda);
        let step = match random.below(6) {
            0 => random.decade(-17.0, -3.0),
            1 => random.decade(0.0, 1.5),
            2 => 0.0,
            _ => random.decade(-1.5, 0.3),
        };
        lambda = (lambda + step).max(lambda.next_up());
    }
    if random.one_in(2) {
        lambdas.push(f64::INFINITY);
    }
    let levels = lambdas.iter().enumerate().map(|(k, &lambda)| {
        let time = (lambdas.len() - k) as f64;
        preserving(time, lambda)
    });
    let levels = distinct(levels.collect::<Result<_, _>>()?);
    Ok(Drawn {
        schedule: None,
        grid: Grid::from_levels(levels, 1.0)?,
        kind: "bare variance-preserving levels",
    })
}

/// The variance-preserving level of λ.
pub fn preserving(time: f64, lambda: f64) -> Result<NoiseLevel, Error> {
    if lambda == f64::INFINITY {
        return NoiseLevel::new(time, 1.0, 0.0);
    }
    if lambda == f64::NEG_INFINITY {
        return NoiseLevel::new(time, 0.0, 1.0);
    }
    let log_alpha_squared = match -2.0 * lambda {
        far if far > 700.0 => -far,
        x => -x.exp().ln_1p(),
    };
    NoiseLevel::variance_preserving(time, log_alpha_squared)
}

/// Levels of any α and σ.
fn hand_made(random: &mut Random) -> Result<Drawn, Error> {
    let count = steps(random) + 1;
    let wide = if random.one_in(4) { 29.0 } else { 6.0 };
    let scale = random.decade(-wide, wide).clamp(1e-29, 1e29);
    let mut levels: Vec<(f64, f64)> = (0..count)
        .map(|_| {
            let alpha = scale * random.decade(-1.0, 1.0);
            (alpha, alpha * random.decade(-wide, wide))
        })
        .map(|(alpha, sigma)| (alpha.clamp(1e-30, 1e30), sigma.clamp(1e-30, 1e30)))
        .collect();
    for _ in 0..random.below(3) {
        let (alpha, sigma) = levels[random.below(levels.len())];
        levels.push((beside(random, alpha), beside(random, sigma)));
    }
    if random.one_in(3) {
        levels.push((scale, 0.0));
    }
    if random.one_in(4) {
        levels.push((0.0, scale));
    }
    levels.sort_by(|a, b| (b.1 / b.0).total_cmp(&(a.1 / a.0)));
    let count = levels.len();
    let levels = levels.into_iter().enumerate().map(|(k, (alpha, sigma))| {
        let time = (count - k) as f64;
        NoiseLevel::new(time, alpha, sigma)
    });
    let levels = distinct(levels.collect::<Result<_, _>>()?);
    Ok(Drawn {
        schedule: None,
        grid: Grid::from_levels(levels, scale * scale)?,
        kind: "hand-made levels",
    })
}

/// λ of a grid that is easy for every solver: 4 to 14 steps of 0.1 to 0.6, neighbours within a
/// factor of 2.5.
pub fn easy(random: &mut Random) -> Vec<f64> {
    let count = 4 + random.below(11);
    let mut lambda = random.between(-4.0, -1.0);
    let mut step = random.between(0.15, 0.5);
    let mut lambdas = vec![lambda];
    for _ in 0..count {
        lambda += step;
        lambdas.push(lambda);
        step = (step * random.decade(-0.35, 0.35)).clamp(0.1, 0.6);
    }
    lambdas
}

/// The same with one to four knots more, each beside one that is there: from the next number in f64
/// to a twentieth of a step away.
pub fn degenerate(random: &mut Random, lambdas: &[f64]) -> Vec<f64> {
    let mut all = lambdas.to_vec();
    for _ in 0..1 + random.below(4) {
        let place = random.below(all.len());
        let lambda = all[place];
        let beside = match random.below(3) {
            0 => lambda.next_up(),
            1 => lambda.next_down(),
            _ => lambda + random.sign() * random.decade(-16.0, -1.4) * 0.4,
        };
        all.push(beside.clamp(lambdas[0], f64::INFINITY));
    }
    all.sort_by(f64::total_cmp);
    all.dedup();
    all
}

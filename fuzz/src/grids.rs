//! Any numbers into tables, schedules, lists and grids: what is taken keeps its laws.

use diffusion_sampler::plan::Plan;
use diffusion_sampler::schedule::NoiseSchedule;
use diffusion_sampler::solver::{DpmSolverPlusPlus, FirstOrder, Path, Solver};
use diffusion_sampler::{Error, Grid, NoiseLevel};

use crate::input::{Input, is_readable};
use crate::setups;

/// The laws of a level.
pub(crate) fn check_level(level: &NoiseLevel) {
    let (alpha, sigma) = (level.alpha(), level.sigma());
    let valid = alpha.is_finite() && sigma.is_finite() && alpha >= 0.0 && sigma >= 0.0;
    assert!(valid && alpha + sigma > 0.0, "{level:?}");
    assert!(level.time().is_finite(), "{level:?}");
    assert!(
        !level.lambda().is_nan() && !level.rho().is_nan(),
        "{level:?}"
    );
    assert_eq!(level.is_clean(), sigma == 0.0, "{level:?}");
}

/// Rounding of λ: a few last places of the logarithms that it is the difference of.
fn rounding(level: &NoiseLevel) -> f64 {
    let size = |log: f64| if log.is_finite() { log.abs() } else { 0.0 };
    16.0 * f64::EPSILON * (1.0 + size(level.log_alpha()) + size(level.log_sigma()))
}

fn check_schedule(input: &mut Input<'_>, schedule: &dyn NoiseSchedule) {
    let last = schedule.last_time();
    assert!(last.is_finite() && last > 0.0);
    assert!(schedule.level(0.0).is_ok_and(|level| level.is_clean()));
    for outside in [-1.0, f64::NAN, f64::INFINITY, last * 1.01 + 1.0] {
        assert!(schedule.level(outside).is_err(), "time {outside}");
    }
    let mut times: Vec<f64> = (0..3).map(|_| last * input.unit()).collect();
    times.push(last);
    times.sort_by(f64::total_cmp);
    let mut before: Option<NoiseLevel> = None;
    for time in times {
        let level = schedule.level(time).expect("a time of the schedule");
        check_level(&level);
        // EDM's network is told ln σ/4, which is −∞ at the clean end.
        let told = level.model_time();
        assert!(
            told.is_finite() || level.is_clean() && !told.is_nan(),
            "{level:?}"
        );
        if let Some(before) = before {
            let rises = level.lambda() > before.lambda() + rounding(&level) + rounding(&before);
            assert!(!rises, "{before:?} then {level:?}");
        }
        if let Ok(found) = schedule.time_of_lambda(level.lambda()) {
            assert!((0.0..=last).contains(&found), "{found} of {level:?}");
            check_level(&schedule.level(found).expect("a time of the schedule"));
        }
        before = Some(level);
    }
    let lambda = input.number();
    if let Ok(time) = schedule.time_of_lambda(lambda) {
        assert!((0.0..=last).contains(&time), "{time} of {lambda}");
        check_level(&schedule.level(time).expect("a time of the schedule"));
    }
    let sigma = input.unit();
    if let Ok(time) = schedule.time_of_flow_sigma(sigma) {
        assert!((0.0..=last).contains(&time), "{time} of {sigma}");
    }
    let range = schedule.lambda_range();
    assert!(range.noisy() <= range.clean(), "{range:?}");
    if let Some(table) = schedule.table_len() {
        check_table(schedule, table, input.unit());
    }
}

/// Knots fall, and one is found by its own λ.
fn check_table(schedule: &dyn NoiseSchedule, table: usize, share: f64) {
    let mut before = schedule.knot_level(0.0).expect("knot 0");
    for knot in 1..=table {
        let level = schedule.knot_level(knot as f64).expect("a knot");
        check_level(&level);
        let rises = level.lambda() > before.lambda() + rounding(&level) + rounding(&before);
        assert!(!rises, "knot {knot}: {before:?} then {level:?}");
        before = level;
    }
    let between = share * table as f64;
    let time = schedule.knot_time(between).expect("within the table");
    assert!((0.0..=schedule.last_time()).contains(&time), "{time}");
    check_level(&schedule.knot_level(between).expect("within the table"));
    assert!(schedule.knot_time(table as f64 + 0.5).is_err());
}

/// The laws of a grid.
pub(crate) fn check_grid(grid: &Grid) {
    let levels = grid.levels();
    assert!(levels.len() >= 2 && grid.steps() + 1 == levels.len());
    levels.iter().for_each(check_level);
    for pair in levels.windows(2) {
        assert!(pair[0].lambda() < pair[1].lambda(), "{pair:?}");
        let below = grid.next_below(&pair[0]);
        assert!(below.is_none_or(|below| below.lambda() > pair[0].lambda()));
    }
    let variance = grid.start_variance();
    assert!(variance.is_finite() && variance >= 0.0, "{variance}");
    assert_eq!(grid.next_below(&grid.end()), None);
}

/// Finite scalars, and noise of no negative size.
pub(crate) fn check_plan(plan: &Plan) {
    for update in plan.stages().map(|stage| &stage.update) {
        let history = update.history.iter().map(|&(_, weight)| weight);
        let scalars = [update.state, update.data, update.noise];
        let finite = scalars.into_iter().chain(history).all(f64::is_finite);
        assert!(finite && update.noise >= 0.0, "{update:?}");
    }
    assert!(plan.evaluations() <= plan.stages().count());
}

fn check(input: &mut Input<'_>) -> Result<(), Error> {
    let schedule = setups::schedule(input)?;
    check_schedule(input, &*schedule);
    let (grid, asked) = setups::grid(input, &*schedule)?;
    check_grid(&grid);
    if let Some(steps) = asked {
        assert_eq!(grid.steps(), steps);
    }
    let part = setups::part(input, grid, &*schedule)?;
    check_grid(&part);
    // A grid is what every solver can take.
    let path = Path::without_schedule(&part);
    check_plan(&FirstOrder::ddim().plan(&path).expect("a plan of DDIM"));
    check_plan(&DpmSolverPlusPlus::new().plan(&path)?);
    if let Ok(path) = Path::new(&*schedule, &part) {
        setups::with_solver(input, |solver| {
            solver.plan(&path).map(|plan| check_plan(&plan))
        })??;
    }
    Ok(())
}

/// Tables, grids and lists of any numbers.
pub fn grid_or_table(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let outcome = match input.below(8) {
        0 => setups::flow_sigmas(&mut input).map(drop),
        _ => check(&mut input),
    };
    if let Err(error) = outcome {
        let message = error.to_string();
        assert!(is_readable(&message), "{message}");
    }
}

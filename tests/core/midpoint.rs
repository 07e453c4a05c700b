//! A custom solver with levels off the grid, and what a path refuses.

use diffusion_sampler::{
    Error, Grid, NoiseLevel, Prediction, Sampler,
    oracle::{Gaussian, Oracle},
    plan::{Plan, Stage, Step, Store, Update},
    schedule::{LambdaRange, NoiseSchedule, RectifiedFlow, TableSchedule, VariancePreserving},
    solver::{Path, Solver},
};
use ndarray::{Array2, array};

/// DPM-Solver++(2S) with its node half way in λ. The state is kept and read again.
#[derive(Debug)]
struct Midpoint;

impl Solver for Midpoint {
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let mut steps = Vec::new();
        for (from, to) in path.edges() {
            let h = to.lambda() - from.lambda();
            if h.is_infinite() {
                let update = Update {
                    data: to.alpha(),
                    ..Update::default()
                };
                steps.push(Step::simple(from, to, update));
                continue;
            }
            let node = path.at_lambda(from.lambda() + 0.5 * h)?;
            let to_node = Update {
                state: node.sigma() / from.sigma(),
                data: -node.alpha() * libm::expm1(-0.5 * h),
                ..Update::default()
            };
            let to_end = Update {
                data: -to.alpha() * libm::expm1(-h),
                history: vec![(0, to.sigma() / from.sigma())],
                ..Update::default()
            };
            let stages = vec![
                Stage::evaluating(from, to_node.storing(Store::state(0))),
                Stage::evaluating(node, to_end),
            ];
            steps.push(Step { from, to, stages });
        }
        Plan::new(steps, 1)
    }

    fn order(&self) -> usize {
        2
    }
}

/// The error of a run on Gaussian data, whose exact flow is known.
fn error(steps: usize) -> f64 {
    let schedule = VariancePreserving::default();
    let range = LambdaRange::new(-3.0, 3.0).unwrap();
    let grid = Grid::uniform_lambda(&schedule, steps + 1, range).unwrap();
    let levels = grid.levels()[..=steps].to_vec();
    let grid = Grid::from_levels(levels, 1.0).unwrap();
    let data = Gaussian::diagonal(&[0.5, -1.0], &[0.25, 0.04]).unwrap();
    let x = [1.1, -0.4];
    let sampler = Sampler::new(&schedule, &grid, &Midpoint).unwrap();
    let kind = Prediction::Data;
    let start: Array2<f64> = array![x];
    let noise = diffusion_sampler::KeyedNoise::new(0);
    let mut run = sampler.start_from(start, kind, noise).unwrap();
    run.complete(&mut data.clone().denoiser(kind)).unwrap();
    let mut exact = [0.0; 2];
    data.flow(&x, &grid.start(), &grid.end(), &mut exact)
        .unwrap();
    run.state()
        .iter()
        .zip(exact)
        .map(|(x, exact)| (x - exact).abs())
        .fold(0.0, f64::max)
}

#[test]
fn a_solver_with_nodes_off_the_grid_converges_at_second_order() {
    let order = libm::log2(error(64) / error(128));
    assert!((order - 2.0).abs() < 0.1, "{order}");
    assert!(error(128) < 1e-3);
}

#[test]
fn levels_off_the_grid_are_the_schedules_own() {
    let schedule = TableSchedule::cosine(1000).unwrap();
    let grid = Grid::trailing(&schedule, 5).unwrap();
    let path = Path::new(&schedule, &grid).unwrap();
    for lambda in [-2.0, -0.3, 0.0, 1.7] {
        let level = path.at_lambda(lambda).unwrap();
        assert!((level.lambda() - lambda).abs() < 1e-9);
        assert_eq!(level, schedule.level(level.time()).unwrap());
    }
    assert_eq!(path.grid(), &grid);
    assert_eq!(path.edges().len(), 5);
    let refused = path.at_lambda(-1e3).unwrap_err();
    assert!(matches!(refused, Error::LambdaOutOfRange { lambda, .. } if lambda == -1e3));
    assert!(refused.to_string().contains("-1000"));
}

#[test]
fn a_path_without_a_schedule_has_no_levels_off_the_grid() {
    let schedule = VariancePreserving::default();
    let grid = Grid::trailing(&schedule, 5).unwrap();
    let path = Path::without_schedule(&grid);
    let refused = Error::PathWithoutSchedule { lambda: 0.5 };
    assert_eq!(path.at_lambda(0.5), Err(refused.clone()));
    assert!(refused.to_string().contains("0.5"));
    assert!(matches!(
        Midpoint.plan(&path),
        Err(Error::PathWithoutSchedule { .. })
    ));
}

#[test]
fn the_grid_of_another_schedule_is_refused_with_both_lambdas() {
    let linear = TableSchedule::linear(1000, 1e-4, 0.02).unwrap();
    let scaled = TableSchedule::scaled_linear(1000, 0.00085, 0.012).unwrap();
    let grid = Grid::trailing(&linear, 10).unwrap();
    let refused = Path::new(&scaled, &grid).map(drop).unwrap_err();
    let (own, other) = (
        linear.level(1000.0).unwrap().lambda(),
        scaled.level(1000.0).unwrap().lambda(),
    );
    assert_eq!(
        refused,
        Error::ScheduleMismatch {
            time: 1000.0,
            grid_lambda: own,
            schedule_lambda: other
        }
    );
    let text = refused.to_string();
    for value in [1000.0, own, other] {
        assert!(text.contains(&value.to_string()), "{text}");
    }
    // A time that the other schedule does not have is a mismatch too.
    let flow = RectifiedFlow::new();
    assert!(matches!(
        Path::new(&flow, &grid),
        Err(Error::ScheduleMismatch { schedule_lambda, .. }) if schedule_lambda.is_nan()
    ));
    // The same λ at another scale.
    let scaled = |level: &NoiseLevel| {
        let (alpha, sigma) = (0.5 * level.alpha(), 0.5 * level.sigma());
        NoiseLevel::new(level.time(), alpha, sigma).unwrap()
    };
    let noisy = grid.without_clean_end().unwrap();
    assert!(Path::new(&linear, &noisy).is_ok());
    let halved = noisy.levels().iter().map(scaled).collect();
    let halved = Grid::from_levels(halved, 1.0).unwrap();
    assert!(matches!(
        Path::new(&linear, &halved),
        Err(Error::ScheduleMismatch { grid_lambda, schedule_lambda, .. })
            if (grid_lambda - schedule_lambda).abs() < 1e-12
    ));
    // And so is a level that only looks like the schedule's.
    let mut levels = grid.levels().to_vec();
    let level = levels[4];
    levels[4] = NoiseLevel::new(level.time(), level.alpha() * 1.001, level.sigma()).unwrap();
    let edited = Grid::from_levels(levels, 1.0).unwrap();
    assert!(matches!(
        Path::new(&linear, &edited),
        Err(Error::ScheduleMismatch { time, .. }) if time == level.time()
    ));
}

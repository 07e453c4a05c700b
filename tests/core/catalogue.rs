//! Every solver of the catalogue on every spacing, and at the limits.

use std::collections::HashSet;

use diffusion_sampler::{
    Error, Grid, KeyedNoise, Prediction, Sampler,
    grid::spacings as named,
    schedule::{
        Edm, LambdaRange, NoiseSchedule, RectifiedFlow, TableSchedule, VarianceExploding,
        VariancePreserving,
    },
    solver::{Entry, Path, catalogue},
};
use ndarray::Array2;

use crate::common::Smooth;

fn schedules() -> Vec<(&'static str, Box<dyn NoiseSchedule>)> {
    let linear = TableSchedule::linear(1000, 1e-4, 0.02).unwrap();
    let zero = linear.zero_terminal_snr().unwrap();
    vec![
        ("linear", Box::new(linear)),
        ("cosine", Box::new(TableSchedule::cosine(1000).unwrap())),
        ("zero terminal SNR", Box::new(zero)),
        ("VP", Box::new(VariancePreserving::default())),
        ("VE", Box::new(VarianceExploding::new(0.01, 50.0).unwrap())),
        ("EDM", Box::new(Edm::default())),
        ("flow", Box::new(RectifiedFlow::new())),
    ]
}

type Spacing = Box<dyn Fn(&dyn NoiseSchedule, usize) -> Result<Grid, Error>>;

fn range(schedule: &dyn NoiseSchedule) -> LambdaRange {
    let own = schedule.lambda_range();
    let (noisy, clean) = (own.noisy().max(-4.0), own.clean().min(3.0));
    LambdaRange::new(noisy, clean).unwrap()
}

/// Those over a cut range, and every spacing that has a name.
fn spacings() -> Vec<(&'static str, Spacing)> {
    let mut list: Vec<(&'static str, Spacing)> = vec![
        (
            "uniform in lambda",
            Box::new(|s, k| Grid::uniform_lambda(s, k, range(s))),
        ),
        (
            "Karras over a cut",
            Box::new(|s, k| Grid::karras(s, k, range(s), 7.0)),
        ),
        (
            "exponential over a cut",
            Box::new(|s, k| Grid::exponential(s, k, range(s), 2.0)),
        ),
        (
            "without the clean end",
            Box::new(|s, k| {
                let grid = Grid::uniform_lambda(s, k + 1, range(s))?;
                Grid::from_levels(grid.levels()[..=k].to_vec(), grid.start_variance())
            }),
        ),
    ];
    for entry in named() {
        let spacing = entry.spacing;
        list.push((entry.name, Box::new(move |s, k| spacing.grid(s, k))));
    }
    list
}

#[test]
fn names_are_unique_and_orders_are_positive() {
    let names: HashSet<&str> = catalogue().iter().map(|entry| entry.name).collect();
    assert_eq!(names.len(), catalogue().len());
    assert!(catalogue().iter().all(|entry| entry.solver.order() >= 1));
}

#[test]
fn every_solver_plans_on_every_spacing_and_runs_to_finite_states() {
    let mut planned = 0;
    for (schedule_name, schedule) in schedules() {
        for (spacing, grid) in spacings() {
            for steps in [1, 2, 5, 20] {
                let grid = match grid(&*schedule, steps) {
                    Ok(grid) => grid,
                    Err(
                        Error::SpacingImpossible { .. }
                        | Error::NoiseNotDecreasing { .. }
                        | Error::UnboundedLambda { .. }
                        | Error::LambdaOutOfRange { .. }
                        | Error::StepCount { min: 2, .. }
                        | Error::StepCount { max: 10, .. },
                    ) => continue,
                    Err(other) => panic!("{schedule_name}, {spacing}, {steps}: {other}"),
                };
                for entry in catalogue() {
                    let place = format!("{}, {schedule_name}, {spacing}, {steps}", entry.name);
                    let path = Path::new(&*schedule, &grid).unwrap();
                    let plan = match entry.solver.plan(&path) {
                        Ok(plan) => plan,
                        // Nothing but an edge that has no posterior may be refused.
                        Err(Error::DegenerateEdge { .. } | Error::GammaOutOfRange { .. }) => {
                            println!("refused: {place}");
                            continue;
                        }
                        Err(other) => panic!("{place}: {other}"),
                    };
                    planned += 1;
                    assert_eq!(plan.steps().len(), grid.steps(), "{place}");
                    let upwards = plan.start().lambda() > plan.end().lambda();
                    assert_eq!(upwards, entry.inverts, "{place}");
                    // LCM misses the mean by its boundary scalings, by design.
                    let exact = plan.mean_defect().unwrap().iter().all(|d| *d < 1e-11);
                    assert!(exact || entry.name == "LCM", "{place}");
                    let kind = Prediction::Data;
                    let mut run = Sampler::along(&path, &entry.solver)
                        .unwrap()
                        .start_from(Array2::<f64>::ones((2, 2)), kind, KeyedNoise::new(0))
                        .unwrap();
                    run.complete(&mut Smooth(kind)).unwrap();
                    assert!(run.state().iter().all(|x| x.is_finite()), "{place}");
                }
            }
        }
    }
    assert!(planned > 5000, "{planned}");
}

#[test]
fn one_step_from_pure_noise_to_the_clean_end_is_the_estimate() {
    // α = 0, σ = 1 to σ = 0: nothing of the state is left, and nothing divides by 0.
    let flow = RectifiedFlow::new();
    let grid = Grid::trailing(&flow, 1).unwrap();
    let x = Array2::from_shape_fn((2, 3), |(i, j)| i as f64 - 0.5 * j as f64);
    // LCM's boundary scalings, made for a table's indices, mix some of the state in.
    let others = |entry: &&Entry| !entry.inverts && entry.name != "LCM";
    for entry in catalogue().iter().filter(others) {
        let mut run = Sampler::new(&flow, &grid, &entry.solver)
            .unwrap()
            .start_from(x.clone(), Prediction::Data, KeyedNoise::new(0))
            .unwrap();
        run.complete(&mut Smooth(Prediction::Data)).unwrap();
        let start = grid.start();
        assert_eq!(
            run.state(),
            x.mapv(|x| Smooth::at(x, &start)),
            "{}",
            entry.name
        );
        // A prediction that says nothing of x₀ at α = 0 is refused before anything runs.
        let refused = Sampler::new(&flow, &grid, &entry.solver)
            .unwrap()
            .start_from(x.clone(), Prediction::Noise, KeyedNoise::new(0))
            .map(drop);
        assert!(matches!(
            refused,
            Err(Error::PredictionUndefined { alpha: 0.0, .. })
        ));
    }
}

/// No solver is left out: the first word of what `Debug` shows of one is its type.
#[test]
fn the_catalogue_has_every_kind_of_solver() {
    let kinds: std::collections::BTreeSet<String> = diffusion_sampler::solver::catalogue()
        .iter()
        .map(|entry| {
            let shown = format!("{:?}", entry.solver);
            let end = shown.find(|c: char| !c.is_alphanumeric());
            shown[..end.unwrap_or(shown.len())].to_owned()
        })
        .collect();
    let missing: Vec<&str> = "Belm CfgPlusPlus CfgPlusPlusSinglestep DdimInversion Deis Dpm2 \
                              DpmPlusPlusSde DpmSolver DpmSolverPlusPlus \
                              DpmSolverPlusPlusSinglestep DpmSolverSinglestep ErSde Euler \
                              ExponentialAdams ExponentialRungeKutta FirstOrder \
                              GradientEstimation GroupedSinglestep HeavyBall Heun HeunPlusPlus \
                              Ipndm Lcm LinearMultistep Pndm SaSolver Tcd UniPc"
        .split_whitespace()
        .filter(|kind| !kinds.contains(*kind))
        .collect();
    assert!(missing.is_empty(), "{missing:?} of {kinds:?}");
}

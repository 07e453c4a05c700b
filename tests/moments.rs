//! Exact moments against runs, and the mean defect of every solver.

use diffusion_sampler::{
    Clip, Error, Grid, KeyedNoise, NoiseLevel, Prediction, Sampler,
    oracle::{Gaussian, Oracle},
    plan::{Plan, Stage, Step, Store, Update},
    posterior::Kappa,
    schedule::{
        Edm, LambdaRange, NoiseSchedule, RectifiedFlow, TableSchedule, VarianceExploding,
        VariancePreserving,
    },
    solver::{DpmSolverPlusPlus, FirstOrder, Heun, Path, Solver, catalogue},
};
use ndarray::{Array2, array};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn correlated() -> Result<Gaussian, Error> {
    let covariance = array![[2.0, 0.6, -0.3], [0.6, 1.0, 0.2], [-0.3, 0.2, 0.5]];
    Gaussian::new(&[1.0, -1.0, 0.5], &covariance)
}

/// A solver, its name, and whether it inverts.
type Named = (&'static str, Box<dyn Solver>, bool);

/// Every built-in solver, and one with more noise than DDPM.
fn solvers() -> Vec<Named> {
    let noisy: Named = (
        "constant tau 1.5",
        Box::new(FirstOrder::new(Kappa::Tau(1.5))),
        false,
    );
    catalogue()
        .into_iter()
        .map(|entry| (entry.name, entry.solver, entry.inverts))
        .chain([noisy])
        .collect()
}

fn schedules() -> Result<Vec<Box<dyn NoiseSchedule>>, Error> {
    let linear = TableSchedule::linear(1000, 1e-4, 0.02)?;
    Ok(vec![
        Box::new(linear.zero_terminal_snr()?),
        Box::new(linear),
        Box::new(TableSchedule::cosine(1000)?),
        Box::new(VariancePreserving::default()),
        Box::new(RectifiedFlow::shifted(3.0)?),
        Box::new(Edm::new(0.002, 80.0)?),
        Box::new(VarianceExploding::new(0.01, 50.0)?),
    ])
}

/// Every spacing that the schedule has.
fn grids(schedule: &dyn NoiseSchedule, steps: usize) -> Result<Vec<Grid>, Error> {
    let whole = schedule.lambda_range();
    let range = LambdaRange::new(whole.noisy().max(-6.0), whole.clean().min(6.0))?;
    let mut grids = vec![
        Grid::trailing(schedule, steps)?,
        Grid::quadratic(schedule, steps)?,
        Grid::uniform_lambda(schedule, steps, range)?,
        Grid::karras(schedule, steps, range, 7.0)?,
        Grid::exponential(schedule, steps, range, 2.0)?,
    ];
    if schedule.table_len().is_some() {
        grids.push(Grid::leading(schedule, steps, 0)?);
        grids.push(Grid::leading(schedule, steps, 1)?);
        grids.push(Grid::linspace(schedule, steps)?);
        // From K = 30 on it repeats an index, by definition.
        if steps < 30 {
            grids.push(Grid::ddim_quadratic(schedule, steps)?);
        }
    }
    Ok(grids)
}

#[test]
fn every_solver_keeps_the_mean_given_the_data() -> Outcome {
    let mut plans = 0;
    for schedule in schedules()? {
        for steps in [2, 3, 10, 50] {
            for grid in grids(&*schedule, steps)? {
                let path = Path::new(&*schedule, &grid)?;
                // LCM misses the mean by its boundary scalings, by design.
                for (name, solver, _) in solvers().into_iter().filter(|s| s.0 != "LCM") {
                    let plan = solver.plan(&path)?;
                    let defect = plan.mean_defect().unwrap();
                    assert_eq!(defect.len(), plan.steps().len());
                    for (step, defect) in defect.iter().enumerate() {
                        assert!(
                            *defect < 1e-12,
                            "{name}, {schedule:?}, step {step} of {steps}: {defect:e}\n{plan}"
                        );
                    }
                    plans += 1;
                }
            }
        }
    }
    assert!(plans > 1500, "{plans}");
    Ok(())
}

#[test]
fn the_mean_defect_is_the_relative_miss_of_the_step_that_misses() -> Outcome {
    let level = NoiseLevel::new;
    let levels = [
        level(3.0, 0.2, 0.9)?,
        level(2.0, 0.5, 0.7)?,
        level(1.0, 0.8, 0.3)?,
    ];
    let step = |i: usize, update| Step {
        from: levels[i],
        to: levels[i + 1],
        stages: vec![Stage::evaluating(levels[i], update)],
    };
    // 1·0.2 + 0.3·1 = 0.5, and D is kept as 2D − 1·x = 1.8.
    let first = Update {
        state: 1.0,
        data: 0.3,
        store: Some(Store::linear(0, -1.0, 2.0)),
        ..Update::default()
    };
    // 0.4·0.5 − 0.5·1 + 0.25·1.8 = 0.15 where 0.8 is wanted; |terms|: 0.2 + 0.5 + 0.25·2.2.
    let second = Update {
        state: 0.4,
        data: -0.5,
        history: vec![(0, 0.25)],
        ..Update::default()
    };
    let defect = Plan::new(vec![step(0, first), step(1, second)], 1)?
        .mean_defect()
        .unwrap();
    assert!(defect[0] < 1e-15, "{defect:?}");
    assert!((defect[1] - 0.65 / 1.25).abs() < 1e-15, "{defect:?}");
    // Overflow is a defect, not a NaN.
    let huge = Update {
        state: f64::MAX,
        data: f64::MAX,
        ..Update::default()
    };
    let defect = Plan::new(vec![step(0, huge.clone()), step(1, huge)], 0)?
        .mean_defect()
        .unwrap();
    assert_eq!(defect, [f64::INFINITY; 2]);
    Ok(())
}

/// The end of a deterministic run with the exact model, from each row of `x`.
fn run(
    sampler: &Sampler,
    data: &Gaussian,
    x: Array2<f64>,
) -> Result<Array2<f64>, Box<dyn std::error::Error>> {
    let mut model = data.denoiser(Prediction::Data);
    let mut run = sampler.start_from(x, Prediction::Data, KeyedNoise::new(0))?;
    run.complete(&mut model)?;
    Ok(run.into_state())
}

#[test]
fn moments_of_correlated_data_are_the_affine_map_that_runs_apply() -> Outcome {
    let data = correlated()?;
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let grid = Grid::trailing(&schedule, 7)?;
    let mut checked = 0;
    for (name, solver, inverts) in solvers() {
        let sampler = Sampler::new(&schedule, &grid, &solver)?;
        // What a run does is one map where it draws no noise; an inversion has no initial
        // distribution.
        if inverts || sampler.plan().is_stochastic() {
            continue;
        }
        checked += 1;
        // Rows: the image of 0, then of the unit vectors.
        let mut x = Array2::zeros((4, 3));
        for i in 0..3 {
            x[[i + 1, i]] = 1.0;
        }
        let ends = run(&sampler, &data, x)?;
        let state = sampler.moments(&data)?.pop().ok_or("no step")?;
        let (mean, covariance) = state.moments().unwrap();
        for i in 0..3 {
            assert!((mean[i] - ends[[0, i]]).abs() < 1e-13, "{name}");
            for j in 0..3 {
                let expected: f64 = (1..4)
                    .map(|k| (ends[[k, i]] - ends[[0, i]]) * (ends[[k, j]] - ends[[0, j]]))
                    .sum::<f64>()
                    * sampler.start_variance();
                assert!(
                    (covariance[[i, j]] - expected).abs() < 1e-12,
                    "{name} {i} {j}"
                );
            }
        }
    }
    assert!(checked >= 4, "{checked}");
    Ok(())
}

#[test]
fn an_isotropic_gaussian_takes_the_axes_of_the_other() -> Outcome {
    let (data, flat) = (correlated()?, Gaussian::centred(3, 2.0)?);
    let grid = Grid::trailing(&RectifiedFlow::new(), 4)?;
    let plan = FirstOrder::ddim().plan(&Path::without_schedule(&grid))?;
    let states = plan.moments(&data, &data)?;
    assert_eq!(states[3].axes().unwrap(), data.axes().unwrap());
    let states = plan.moments(&flat, &data)?;
    assert_eq!(states[3].axes().unwrap(), data.axes().unwrap());
    // Along other axes than the data's a run has moments too; what it does to errors is told for
    // shared ones only.
    let diagonal = Gaussian::diagonal(&[0.0; 3], &[1.0, 2.0, 3.0])?;
    assert!(plan.moments(&data, &diagonal).is_ok());
    assert_eq!(
        plan.stability(&data, &diagonal),
        Err(Error::AxesDiffer { axis: 0 })
    );
    let plane = array![[1.0, 0.0, 0.0], [0.0, 1.0, 0.5], [0.0, 0.5, 2.0]];
    let plane = Gaussian::new(&[0.0; 3], &plane)?;
    let refused = plan.stability(&plane, &diagonal);
    assert_eq!(refused, Err(Error::AxesDiffer { axis: 1 }));
    assert!(matches!(
        plan.moments(&data, &Gaussian::centred(2, 1.0)?),
        Err(Error::WrongLength {
            name: "coordinates",
            expected: 3,
            found: 2
        })
    ));
    Ok(())
}

/// A variance is the square of the factor that a run shows, whatever cancels on the way.
fn variance_is_the_square_of_the_runs_factor(sampler: &Sampler, tolerance: f64) -> Outcome {
    for v in [0.05, 0.25, 1.0, 3.0] {
        let data = Gaussian::isotropic(&[0.0], v)?;
        let states = sampler.moments(&data)?;
        let found = states[states.len() - 1].variances()[0];
        let end = run(sampler, &data, array![[1.0]])?[[0, 0]];
        let expected = end * end * sampler.start_variance();
        assert!(
            found >= 0.0 && (found - expected).abs() <= tolerance * expected,
            "{v}: {found:e} {expected:e}"
        );
        for state in &states {
            assert!(state.wasserstein_squared(&data)? >= 0.0);
            assert!(state.variances()[0] == 0.0 || state.kl(&data)? >= 0.0);
        }
    }
    Ok(())
}

#[test]
fn a_heun_step_of_26_has_a_variance() -> Outcome {
    for (from, to) in [(-13.0, 13.0), (-20.0, 6.0), (-6.0, 20.0)] {
        let level = |time, lambda: f64| {
            let log_alpha = -0.5 * (-2.0 * lambda).exp().ln_1p();
            NoiseLevel::from_logs(time, log_alpha, log_alpha - lambda)
        };
        let grid = Grid::from_levels(vec![level(1.0, from)?, level(0.0, to)?], 1.0)?;
        variance_is_the_square_of_the_runs_factor(
            &Sampler::along(&Path::without_schedule(&grid), &Heun::new())?,
            1e-6,
        )?;
    }
    Ok(())
}

#[test]
fn a_step_of_rounding_before_an_ordinary_one_has_a_variance() -> Outcome {
    let flow = RectifiedFlow::new();
    let start = flow.level(0.1 * 3.0)?;
    let grid = Grid::trailing(&flow, 10)?.starting_at(&flow, start)?;
    let solvers: [&dyn Solver; 3] = [&FirstOrder::ddim(), &DpmSolverPlusPlus::new(), &Heun::new()];
    for solver in solvers {
        variance_is_the_square_of_the_runs_factor(
            &Sampler::along(&Path::without_schedule(&grid), solver)?,
            1e-4,
        )?;
    }
    Ok(())
}

#[test]
fn overflow_is_an_error_with_its_step_and_never_a_number() -> Outcome {
    let grid = Grid::trailing(&RectifiedFlow::new(), 3)?;
    let levels = grid.levels();
    for (state, noise) in [
        (1e200, 0.0),
        (0.0, 1e200),
        (1e40, 0.0),
        (f64::MAX, f64::MAX),
    ] {
        let steps = (0..3).map(|i| {
            let update = Update {
                state: if i == 1 { state } else { 1.0 },
                noise: if i == 1 { noise } else { 0.0 },
                ..Update::default()
            };
            Step {
                from: levels[i],
                to: levels[i + 1],
                stages: vec![Stage {
                    evaluate: None,
                    update,
                }],
            }
        });
        let plan = Plan::new(steps.collect(), 0)?;
        let unit = Gaussian::centred(2, 1.0)?;
        assert!(matches!(
            plan.moments(&unit, &unit),
            Err(Error::InvalidEntry {
                name: "variance after step",
                index: 1,
                ..
            })
        ));
        let point = Gaussian::isotropic(&[1.0], 0.0)?;
        assert!(plan.moments(&point, &point).is_err());
    }
    Ok(())
}

#[test]
fn a_clipped_sampler_has_no_moments() -> Outcome {
    let grid = Grid::trailing(&RectifiedFlow::new(), 3)?;
    let sampler = Sampler::along(&Path::without_schedule(&grid), &Heun::new())?
        .with_clip(Clip::new(-1.0, 1.0)?);
    assert_eq!(sampler.moments(&correlated()?), Err(Error::ClippedMoments));
    Ok(())
}

#[test]
fn a_thousand_steps_come_close_to_data_in_64_correlated_dimensions() -> Outcome {
    let covariance = Array2::from_shape_fn((64, 64), |(i, j)| {
        0.9f64.powi(i.abs_diff(j) as i32) / (1.0 + (i + j) as f64)
    });
    let covariance = covariance.dot(&covariance.t());
    let data = Gaussian::new(&[0.5; 64], &covariance)?;
    let grid = Grid::trailing(&TableSchedule::linear(1000, 1e-4, 0.02)?, 1000)?;
    let sampler = Sampler::along(
        &Path::without_schedule(&grid),
        &DpmSolverPlusPlus::new().with_tau(1.0)?,
    )?;
    let states = sampler.moments(&data)?;
    let squared = states[999].wasserstein_squared(&data)?;
    let power: f64 = data.variances().iter().sum();
    assert!(squared < 1e-2 * power, "{squared} {power}");
    Ok(())
}

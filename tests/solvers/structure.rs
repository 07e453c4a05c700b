//! What plans and solvers are made of: their structure, their textbook forms, and what a plan
//! refuses.

use std::error::Error as StdError;

use diffusion_sampler::{
    Error, Grid, KeyedNoise, NoiseLevel, Prediction, Sampler, from_fn,
    plan::{Kept, MAX_SLOTS, MAX_STAGES, Plan, Stage, Step, Store, Update},
    posterior::Kappa,
    schedule::{Edm, LambdaRange, NoiseSchedule, TableSchedule, VariancePreserving},
    solver::{
        DdimInversion, DpmSolver, DpmSolverPlusPlus, FirstOrder, Heun, Path, SecondOrderForm,
        Solver, catalogue,
    },
};
use ndarray::{Array2, Ix2, array};

type Outcome = Result<(), Box<dyn StdError>>;

/// A model that is not linear, D = tanh(x/(1 + σ)).
fn denoise(x: f64, level: &NoiseLevel) -> f64 {
    (x / (1.0 + level.sigma())).tanh()
}

/// A run of a solver with that model from a given state.
fn run(
    grid: &Grid,
    solver: &dyn Solver,
    start: &Array2<f64>,
) -> Result<Array2<f64>, Box<dyn StdError>> {
    let sampler = Sampler::along(&Path::without_schedule(grid), solver)?;
    let mut run = sampler.start_from(start.clone(), Prediction::Data, KeyedNoise::new(0))?;
    let mut model = from_fn::<f64, Ix2>(Prediction::Data, |x, level, out| {
        out.zip_mut_with(x, |o, &x| *o = denoise(x, level));
    });
    run.complete(&mut model)?;
    Ok(run.into_state())
}

fn states() -> Array2<f64> {
    array![[0.3, -1.1], [2.0, -0.01]]
}

#[test]
fn heun_in_place_is_the_textbook_form() -> Outcome {
    let vp = VariancePreserving::default();
    let edm = Edm::default();
    let schedules: [(&dyn NoiseSchedule, LambdaRange); 2] = [
        (&vp, LambdaRange::new(-4.0, 5.0)?),
        (&edm, edm.lambda_range()),
    ];
    for (schedule, range) in schedules {
        for steps in [1, 2, 7, 40] {
            let grid = Grid::karras(schedule, steps, range, 7.0)?;
            let plan = Heun::new().plan(&Path::without_schedule(&grid))?;
            assert_eq!(plan.evaluations(), 2 * steps - 1);
            let scale = grid.start().sigma();
            let growth = grid
                .levels()
                .windows(2)
                .filter(|pair| !pair[1].is_clean())
                .map(|pair| (pair[1].lambda() - pair[0].lambda()).exp())
                .fold(1.0, f64::max);
            let start = states() * scale;
            let found = run(&grid, &Heun::new(), &start)?;
            let expected = start.mapv(|mut x| {
                for pair in grid.levels().windows(2) {
                    let (t, s) = (pair[0], pair[1]);
                    let slope =
                        |x: f64, at: &NoiseLevel| (x / at.alpha() - denoise(x, at)) / at.rho();
                    let first = slope(x, &t);
                    let step = s.rho() - t.rho();
                    let predicted = s.alpha() * (x / t.alpha() + step * first);
                    x = if s.is_clean() {
                        predicted
                    } else {
                        let second = slope(predicted, &s);
                        s.alpha() * (x / t.alpha() + step * (first + second) / 2.0)
                    };
                }
                x
            });
            for (a, b) in found.iter().zip(&expected) {
                // Both forms multiply the rounding of D_s − D_t by e^h.
                assert!(
                    (a - b).abs() < 1e-14 * (scale + growth),
                    "{a} {b} in {steps} steps"
                );
            }
        }
    }
    Ok(())
}

#[test]
fn inversion_climbs_the_grid_and_takes_noise_where_it_stands() -> Outcome {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    for zero in [false, true] {
        let schedule = if zero {
            schedule.zero_terminal_snr()?
        } else {
            schedule.clone()
        };
        for steps in [1, 2, 5, 50] {
            let grid = Grid::trailing(&schedule, steps)?;
            let plan = DdimInversion::new().plan(&Path::without_schedule(&grid))?;
            assert_eq!(
                (plan.steps().len(), plan.evaluations(), plan.slots()),
                (steps, steps, 0)
            );
            assert!(!plan.is_stochastic());
            let mut up: Vec<NoiseLevel> = grid.levels().to_vec();
            up.reverse();
            for (step, pair) in plan.steps().iter().zip(up.windows(2)) {
                assert_eq!((step.from, step.to), (pair[0], pair[1]));
            }
            // Off the clean knot: scaled without a model, then evaluated at the first noisy level.
            let first = &plan.steps()[0].stages;
            assert_eq!(
                first.iter().map(|stage| stage.evaluate).collect::<Vec<_>>(),
                [None, Some(up[1])]
            );
            for (step, pair) in plan.steps()[1..].iter().zip(up[1..].windows(2)) {
                assert_eq!(step.stages.len(), 1);
                assert_eq!(step.stages[0].evaluate, Some(pair[0]));
            }
            let found = run(&grid, &DdimInversion::new(), &states())?;
            let expected = states().mapv(|mut x| {
                for pair in up.windows(2) {
                    let (from, to) = (pair[0], pair[1]);
                    let (x_at, at) = if from.is_clean() {
                        (to.alpha() * x, to)
                    } else {
                        (x, from)
                    };
                    let d = denoise(x_at, &at);
                    let e = (x_at - at.alpha() * d) / at.sigma();
                    // Off clean: α_s x₀ + σ_s E, the data being known.
                    x = if from.is_clean() {
                        x_at + to.sigma() * e
                    } else {
                        to.alpha() * d + to.sigma() * e
                    };
                }
                x
            });
            for (a, b) in found.iter().zip(&expected) {
                assert!((a - b).abs() < 1e-13 * (1.0 + b.abs()), "{a} {b}");
            }
        }
    }
    Ok(())
}

#[test]
fn inversions_round_trip_error_halves_with_twice_the_steps() -> Outcome {
    let vp = VariancePreserving::default();
    let error = |steps: usize| -> Result<f64, Box<dyn StdError>> {
        let lambdas: Vec<f64> = (0..=steps)
            .map(|k| -3.0 + 7.0 * k as f64 / steps as f64)
            .collect();
        let grid = Grid::from_lambdas(&vp, &lambdas)?;
        let start = states();
        let noise = run(&grid, &DdimInversion::new(), &start)?;
        let back = run(&grid, &FirstOrder::ddim(), &noise)?;
        Ok(start
            .iter()
            .zip(&back)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f64::max))
    };
    let order = (error(400)? / error(800)?).log2();
    assert!((0.9..1.1).contains(&order), "{order}");
    Ok(())
}

#[test]
fn a_guarded_2m_is_second_order_exactly_on_short_even_steps() -> Outcome {
    let vp = VariancePreserving::default();
    // Steps in λ: 0.5, 1.0 (ratio 2), 1.4, 1.6 (too long), 0.7 (ratio > 2), 0.5, 0.2 (ratio 2.5).
    let steps = [0.5, 0.99, 1.4, 1.6, 0.7, 0.5, 0.2];
    let second = [false, true, true, false, false, true, false];
    let mut lambdas = vec![-3.0];
    for h in steps {
        lambdas.push(lambdas[lambdas.len() - 1] + h);
    }
    let grid = Grid::from_lambdas(&vp, &lambdas)?;
    for form in [SecondOrderForm::Midpoint, SecondOrderForm::Exact] {
        let solver = DpmSolverPlusPlus::new().with_form(form);
        let (plain, guarded) = (
            solver.plan(&Path::without_schedule(&grid))?,
            solver.guarded().plan(&Path::without_schedule(&grid))?,
        );
        let first = FirstOrder::ddim().plan(&Path::without_schedule(&grid))?;
        for (k, expected) in second.into_iter().enumerate() {
            let update = |plan: &Plan| plan.steps()[k].stages[0].update.clone();
            assert_eq!(!update(&guarded).history.is_empty(), expected, "step {k}");
            assert_eq!(!update(&plain).history.is_empty(), k > 0, "step {k}");
            let same = if expected {
                update(&plain)
            } else {
                update(&first)
            };
            let guarded = update(&guarded);
            assert_eq!(
                (guarded.state, guarded.data),
                (same.state, same.data),
                "step {k}"
            );
        }
    }
    Ok(())
}

#[test]
fn second_order_ends_where_lambda_does() -> Outcome {
    // Zero terminal SNR: the first knot has α = 0 and never enters the history; the last step is
    // onto σ = 0.
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?.zero_terminal_snr()?;
    let grid = Grid::trailing(&schedule, 6)?;
    let history: Vec<usize> = DpmSolverPlusPlus::new()
        .plan(&Path::without_schedule(&grid))?
        .stages()
        .map(|stage| stage.update.history.len())
        .collect();
    assert_eq!(history, [0, 0, 1, 1, 1, 0]);
    let stages: Vec<usize> = Heun::new()
        .plan(&Path::without_schedule(&grid))?
        .steps()
        .iter()
        .map(|step| step.stages.len())
        .collect();
    assert_eq!(stages, [1, 2, 2, 2, 2, 1]);
    // One step has no history at all.
    let one =
        DpmSolverPlusPlus::new().plan(&Path::without_schedule(&Grid::trailing(&schedule, 1)?))?;
    assert_eq!(
        (one.slots(), one.steps()[0].stages[0].update.store),
        (0, None)
    );
    Ok(())
}

#[test]
fn any_finite_tau_gives_finite_weights() -> Outcome {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let grid = Grid::trailing(&schedule, 10)?;
    for tau in [0.0, 1e-200, 1e-8, 1.0, 1e3, 1e100, 1e155, f64::MAX] {
        for form in [SecondOrderForm::Midpoint, SecondOrderForm::Exact] {
            let plan = DpmSolverPlusPlus::new()
                .with_tau(tau)?
                .with_form(form)
                .plan(&Path::without_schedule(&grid))?;
            for (step, pair) in plan.steps().iter().zip(grid.levels().windows(2)) {
                let update = &step.stages[0].update;
                // The weights of D sum to α_s(1 − e^−z) with z = (1 + τ²)h, whatever the order.
                let z = (1.0 + tau * tau) * (pair[1].lambda() - pair[0].lambda());
                let sum = update.data + update.history.iter().map(|entry| entry.1).sum::<f64>();
                let expected = pair[1].alpha() * -f64::exp_m1(-z);
                assert!((sum - expected).abs() < 1e-13, "{tau}: {sum} {expected}");
            }
        }
        let plan = FirstOrder::new(Kappa::Tau(tau)).plan(&Path::without_schedule(&grid))?;
        assert!(plan.stages().all(|stage| stage.update.noise.is_finite()));
    }
    Ok(())
}

#[test]
fn per_edge_policies_are_those_of_their_edges() -> Outcome {
    let schedule = TableSchedule::cosine(1000)?;
    let grid = Grid::trailing(&schedule, 3)?;
    let kappas = [Kappa::Ddim, Kappa::Fresh, Kappa::Ddpm];
    let mixed = FirstOrder::per_edge(kappas.to_vec()).plan(&Path::without_schedule(&grid))?;
    for (k, kappa) in kappas.into_iter().enumerate() {
        assert_eq!(
            mixed.steps()[k],
            FirstOrder::new(kappa)
                .plan(&Path::without_schedule(&grid))?
                .steps()[k]
        );
    }
    assert_eq!(mixed.steps()[0].stages[0].update.noise, 0.0);
    assert_eq!(mixed.steps()[1].stages[0].update.state, 0.0);
    assert_eq!(
        mixed.steps()[2].stages[0].update.noise,
        0.0,
        "no noise onto the clean end"
    );
    Ok(())
}

/// A plan of one valid step between two levels, changed by `edit`.
fn edited(edit: impl FnOnce(&mut Step)) -> Result<Plan, Error> {
    let (t, s) = (
        NoiseLevel::new(2.0, 0.6, 0.8)?,
        NoiseLevel::new(1.0, 0.8, 0.6)?,
    );
    let update = Update {
        state: 0.5,
        data: 0.5,
        ..Update::default()
    };
    let mut step = Step {
        from: t,
        to: s,
        stages: vec![Stage::evaluating(t, update)],
    };
    edit(&mut step);
    Plan::new(vec![step], 2)
}

#[test]
fn a_plan_refuses_what_cannot_run() -> Outcome {
    assert!(edited(|_| ()).is_ok());
    let update = |edit: &dyn Fn(&mut Update)| edited(|step| edit(&mut step.stages[0].update));
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let store = |state, data| Some(Store::linear(0, state, data));
        let edits: [&dyn Fn(&mut Update); 6] = [
            &|u| u.state = bad,
            &|u| u.data = bad,
            &|u| u.noise = bad,
            &|u| u.store = store(bad, 0.0),
            &|u| u.store = store(0.0, bad),
            &|u| u.history = vec![(0, bad)],
        ];
        for edit in edits {
            match update(edit) {
                Err(Error::InvalidEntry {
                    index: 0, value, ..
                }) => {
                    assert_eq!(value.to_bits(), bad.to_bits());
                }
                other => return Err(format!("{bad}: {other:?}").into()),
            }
        }
    }
    assert!(matches!(
        update(&|u| u.noise = -0.1),
        Err(Error::InvalidEntry { value: -0.1, .. })
    ));
    for slot in [2, 7, usize::MAX] {
        let refused = [
            update(&|u| u.history = vec![(slot, 1.0)]),
            update(&|u| u.store = Some(Store::state(slot))),
        ];
        for refused in refused {
            let expected = Error::SlotOutOfRange {
                step: 0,
                stage: 0,
                slot,
                slots: 2,
            };
            assert_eq!(refused, Err(expected));
        }
    }
    assert_eq!(
        update(&|u| u.history = vec![(1, 1.0)]),
        Err(Error::SlotNotWritten {
            step: 0,
            stage: 0,
            slot: 1
        })
    );
    let stages = |found| Error::StageCount {
        step: 0,
        found,
        max: MAX_STAGES,
    };
    assert_eq!(edited(|step| step.stages.clear()), Err(stages(0)));
    let needs_data: [&dyn Fn(&mut Update); 4] = [
        &|_| (),
        &|u| (u.data, u.store) = (0.0, Some(Store::data(0))),
        &|u| (u.data, u.store) = (0.0, Some(Store::noise(0))),
        &|u| (u.data, u.store) = (0.0, Some(Store::linear(0, 1.0, 0.5))),
    ];
    for edit in needs_data {
        let refused = edited(|step| {
            step.stages[0].evaluate = None;
            edit(&mut step.stages[0].update);
        });
        let expected = Error::DataWithoutEvaluation { step: 0, stage: 0 };
        assert_eq!(refused, Err(expected));
    }
    for store in [Store::state(0), Store::linear(0, 1.0, 0.0)] {
        let kept = edited(|step| {
            step.stages[0].evaluate = None;
            step.stages[0].update.data = 0.0;
            step.stages[0].update.store = Some(store);
        });
        assert!(kept.is_ok(), "{store:?}");
    }
    // E is not determined by x and D at σ = 0.
    let clean = edited(|step| {
        step.stages[0].evaluate = Some(NoiseLevel::clean());
        step.stages[0].update.store = Some(Store::noise(0));
    });
    assert!(matches!(clean, Err(Error::DegenerateEdge { .. })));
    let twice = edited(|step| {
        step.stages[0].update.store = Some(Store::state(1));
        let mut reading = step.stages[0].clone();
        reading.update.history = vec![(1, 0.5), (1, 0.5)];
        step.stages.push(reading);
    });
    assert_eq!(
        twice,
        Err(Error::SlotReadTwice {
            step: 0,
            stage: 1,
            slot: 1
        })
    );
    let stage = edited(|_| ())?.steps()[0].stages[0].clone();
    assert!(edited(|step| step.stages = vec![stage.clone(); MAX_STAGES]).is_ok());
    assert_eq!(
        edited(|step| step.stages = vec![stage.clone(); MAX_STAGES + 1]),
        Err(stages(257)),
        "noise is keyed by the stage as a u8"
    );
    let step = edited(|_| ())?.steps()[0].clone();
    assert_eq!(
        Plan::new(vec![step.clone(), step.clone()], 0),
        Err(Error::EdgesDoNotMeet {
            end: 1.0,
            start: 2.0
        })
    );
    assert_eq!(
        Plan::new(vec![step], MAX_SLOTS + 1),
        Err(Error::TooManySlots {
            found: MAX_SLOTS + 1,
            max: MAX_SLOTS
        })
    );
    Ok(())
}

#[test]
fn a_plan_prints_a_line_for_its_head_and_each_stage() -> Outcome {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let grid = Grid::trailing(&schedule, 5)?;
    let plans = [
        FirstOrder::ddpm().plan(&Path::without_schedule(&grid))?,
        Heun::new().plan(&Path::without_schedule(&grid))?,
        DpmSolverPlusPlus::new().plan(&Path::without_schedule(&grid))?,
        DdimInversion::new().plan(&Path::without_schedule(&grid))?,
        edited(|step| step.stages[0].update.store = Some(Store::linear(1, 0.5, -0.25)))?,
    ];
    assert!(
        plans[4]
            .to_string()
            .contains("H1←+5.000000e-1·x-2.500000e-1·D")
    );
    for plan in plans {
        let text = plan.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 1 + plan.stages().count());
        for (line, stage) in lines[1..].iter().zip(plan.stages()) {
            assert!(
                line.contains(&format!("{:.6e}", stage.update.state)),
                "{line}"
            );
            assert!(
                line.contains(&format!("{:.6e}", stage.update.noise)),
                "{line}"
            );
            for (slot, weight) in &stage.update.history {
                assert!(line.contains(&format!("{weight:+.6e}·H{slot}")), "{line}");
            }
            let kept = stage.update.store.map(|store| store.kept);
            assert_eq!(line.contains('←'), kept.is_some(), "{line}");
            assert_eq!(line.ends_with("←D"), kept == Some(Kept::Data), "{line}");
            assert!(
                line.contains(
                    &stage
                        .evaluate
                        .map_or("-".into(), |l| format!("{:.4}", l.time()))
                )
            );
        }
    }
    Ok(())
}

#[test]
fn every_solver_takes_a_grid_that_reaches_noise_beyond_all_floating_point_data() {
    // Several knots at which α underflows to 0 are all pure noise: no grid has two of them.
    let beyond = VariancePreserving::new(0.1, 1e4).unwrap();
    assert!(matches!(
        Grid::trailing(&beyond, 4),
        Err(Error::NoiseNotDecreasing { knot: 1, lambda, .. }) if lambda == f64::NEG_INFINITY
    ));
    // One is where a run may start, here just before α = e^−562: no coefficient may be NaN.
    let schedule = VariancePreserving::new(0.1, 4e3).unwrap();
    let grid = Grid::trailing(&schedule, 4).unwrap();
    let path = Path::new(&schedule, &grid).unwrap();
    for entry in catalogue() {
        let plan = entry.solver.plan(&path).unwrap();
        assert_eq!(plan.steps().len(), 4, "{}", entry.name);
    }
}

#[test]
fn nothing_is_kept_that_no_later_stage_reads() -> Outcome {
    let vp = VariancePreserving::default();
    for clean in [false, true] {
        let grid = Grid::uniform_lambda(&vp, 9, LambdaRange::new(-2.0, 2.0)?)?;
        let levels = &grid.levels()[..if clean { 10 } else { 9 }];
        let grid = Grid::from_levels(levels.to_vec(), grid.start_variance())?;
        // BELM's last pair of states is what its inverse starts with; a path may end within a group.
        let excepted = |name: &str| name.starts_with("BELM") || name.starts_with("grouped");
        for entry in catalogue() {
            if excepted(entry.name) {
                continue;
            }
            let plan = entry.solver.plan(&Path::new(&vp, &grid)?)?;
            let stages: Vec<&Stage> = plan.stages().collect();
            for (k, stage) in stages.iter().enumerate() {
                let Some(store) = stage.update.store else {
                    continue;
                };
                // Up to the next stage that stores in the same slot, which reads before it does.
                let mut read = false;
                for later in &stages[k + 1..] {
                    read |= later.update.history.iter().any(|term| term.0 == store.slot);
                    let stored = later.update.store.map(|store| store.slot);
                    if stored == Some(store.slot) {
                        break;
                    }
                }
                assert!(read, "{}, stage {k} of {}", entry.name, stages.len());
            }
        }
    }
    Ok(())
}

#[test]
fn multistep_solvers_of_order_three_in_the_catalogue_are_of_order_three() -> Outcome {
    let grid = Grid::karras(
        &VariancePreserving::default(),
        8,
        LambdaRange::new(-2.0, 2.0)?,
        7.0,
    )?;
    let path = Path::without_schedule(&grid);
    let (data, noise) = (DpmSolverPlusPlus::multistep(3)?, DpmSolver::multistep(3)?);
    let cases: [(&str, &dyn Solver); 6] = [
        ("DPM-Solver multistep 3", &noise),
        (
            "DPM-Solver multistep 3, as published",
            &noise.as_published(),
        ),
        ("DPM-Solver++(3M)", &data),
        ("DPM-Solver++(3M), as published", &data.as_published()),
        ("SDE-DPM-Solver++(3M)", &data.with_tau(1.0)?),
        (
            "SDE-DPM-Solver++(3M), as published",
            &data.with_tau(1.0)?.as_published(),
        ),
    ];
    let entries = catalogue();
    for (name, solver) in cases {
        let mut named = entries.iter().filter(|entry| entry.name == name);
        let plan = named.next().ok_or(name)?.solver.plan(&path)?;
        assert_eq!(plan, solver.plan(&path)?, "{name}");
        assert_eq!(plan.slots(), 2, "{name}");
    }
    Ok(())
}

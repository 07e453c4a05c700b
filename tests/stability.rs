//! The stability report, against runs that are perturbed.

#![allow(clippy::unwrap_used)]

use diffusion_sampler::{
    Clip, Error, Grid, NoiseLevel, Prediction, Sampler,
    denoiser::from_query_fn,
    noise::{NoiseKey, NoiseSource},
    oracle::Gaussian,
    posterior::Kappa,
    schedule::{Edm, LambdaRange, NoiseSchedule, RectifiedFlow, TableSchedule, VariancePreserving},
    solver::{DpmSolverPlusPlus, FirstOrder, Heun, Path, RePaint, Solver, catalogue},
    stability::{StabilityReport, StabilityWarning},
};
use ndarray::{Array2, Ix2};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// No noise: a perturbed run from 0 is then nothing but its perturbation.
struct Silence;

impl NoiseSource<f64> for Silence {
    fn fill(&mut self, _: NoiseKey, _: u64, out: &mut [f64]) {
        out.fill(0.0);
    }
}

const VARIANCES: [f64; 4] = [0.0, 0.003, 0.4, 2.0];

fn data() -> Gaussian {
    Gaussian::diagonal(&[0.0; 4], &VARIANCES).unwrap()
}

/// √(α²w² + σ²), w² the larger of the direction's variance and their mean.
fn unit(direction: usize, level: &NoiseLevel) -> (f64, f64) {
    let mean = VARIANCES.iter().sum::<f64>() / 4.0;
    let square = VARIANCES[direction].max(mean);
    let unit = (level.alpha().powi(2) * square + level.sigma().powi(2)).sqrt();
    (unit, square.sqrt())
}

/// What is perturbed: the state before a step, or D at one stage of it.
#[derive(Clone, Copy)]
enum Perturbed {
    State,
    Stage(usize),
}

/// The states of the run after every step from `step` on, with one unit of error in every direction.
fn perturbed(sampler: &Sampler, step: usize, what: Perturbed) -> Vec<Array2<f64>> {
    let mut seen = (usize::MAX, 0);
    let mut model = from_query_fn::<f64, Ix2, std::convert::Infallible>(
        Prediction::Data,
        1,
        move |x, query, out| {
            let (level, now) = (query.level(), query.step().unwrap());
            seen = if seen.0 == now {
                (now, seen.1 + 1)
            } else {
                (now, 0)
            };
            for (direction, v) in VARIANCES.into_iter().enumerate() {
                let variance = level.alpha().powi(2) * v + level.sigma().powi(2);
                let gain = if variance == 0.0 {
                    0.0
                } else {
                    level.alpha() * v / variance
                };
                out[[0, direction]] = gain * x[[0, direction]];
                let (unit, scale) = unit(direction, &level);
                if now == step && matches!(what, Perturbed::Stage(stage) if stage == seen.1) {
                    out[[0, direction]] += scale * level.sigma() / unit;
                }
            }
            Ok(())
        },
    );
    let zeros = Array2::zeros((1, 4));
    let mut run = sampler
        .start_from(zeros, Prediction::Data, Silence)
        .unwrap();
    let mut states = Vec::new();
    while !run.is_finished() {
        if run.step() == step && matches!(what, Perturbed::State) {
            let level = run.level();
            for direction in 0..4 {
                run.state_mut()[[0, direction]] += unit(direction, &level).0;
            }
        }
        run.advance(&mut model).unwrap();
        if run.step() > step {
            states.push(run.state().to_owned());
        }
    }
    states
}

fn schedules() -> Vec<Box<dyn NoiseSchedule>> {
    vec![
        Box::new(TableSchedule::linear(1000, 1e-4, 0.02).unwrap()),
        Box::new(VariancePreserving::default()),
        Box::new(Edm::default()),
        Box::new(RectifiedFlow::shifted(3.0).unwrap()),
    ]
}

fn spacings(schedule: &dyn NoiseSchedule, steps: usize) -> Vec<Grid> {
    let own = schedule.lambda_range();
    let range = LambdaRange::new(own.noisy().max(-4.0), own.clean().min(4.0)).unwrap();
    vec![
        Grid::trailing(schedule, steps).unwrap(),
        Grid::uniform_lambda(schedule, steps, range).unwrap(),
        Grid::karras(schedule, steps, range, 7.0).unwrap(),
    ]
}

fn solvers() -> Vec<(String, Box<dyn Solver>)> {
    let listed = catalogue().into_iter().filter(|entry| !entry.inverts);
    let unbounded = DpmSolverPlusPlus::new().unbounded();
    let repaint = RePaint::new(FirstOrder::ddpm(), 2, 2).unwrap();
    listed
        .map(|entry| (entry.name.to_owned(), entry.solver))
        .chain([(
            "unbounded".to_owned(),
            Box::new(unbounded) as Box<dyn Solver>,
        )])
        .chain([("RePaint".to_owned(), Box::new(repaint) as Box<dyn Solver>)])
        .collect()
}

#[test]
fn errors_grow_as_perturbed_runs_do() -> Outcome {
    let (mut compared, mut worst) = (0, 0.0f64);
    let mut check = |found: f64, brute: f64, place: &str| {
        let error = (found - brute).abs() / brute.max(1e-3);
        worst = worst.max(error);
        compared += 1;
        assert!(error < 1e-12, "{place}: {found} and {brute}");
    };
    for schedule in schedules() {
        for grid in spacings(&*schedule, 6) {
            for (name, solver) in solvers() {
                let sampler = Sampler::along(&Path::new(&*schedule, &grid)?, &solver)?;
                let report = sampler.stability(&data())?;
                let plan = sampler.plan();
                let ends: Vec<NoiseLevel> = plan.steps().iter().map(|step| step.to).collect();
                let count = ends.len();
                let mut totals = vec![[0.0f64; 4]; count];
                for step in 0..count {
                    let units = |knot: usize, d: usize| unit(d, &ends[knot]).0;
                    let states = perturbed(&sampler, step, Perturbed::State);
                    let stages = plan.steps()[step].stages.iter();
                    let stages = stages.filter(|stage| stage.evaluate.is_some()).count();
                    let models: Vec<_> = (0..stages)
                        .map(|stage| perturbed(&sampler, step, Perturbed::Stage(stage)))
                        .collect();
                    for d in 0..4 {
                        let place = format!("{name}, step {step}, direction {d}");
                        let later = step..count;
                        let state = later
                            .clone()
                            .map(|k| states[k - step][[0, d]].abs() / units(k, d));
                        check(
                            report.steps()[step].state[d],
                            state.fold(0.0, f64::max),
                            &place,
                        );
                        let model = later.map(|k| {
                            let all = models.iter().map(|run| run[k - step][[0, d]].abs());
                            let value = all.sum::<f64>() / units(k, d);
                            totals[k][d] += value;
                            value
                        });
                        check(
                            report.steps()[step].model[d],
                            model.fold(0.0, f64::max),
                            &place,
                        );
                    }
                }
                for d in 0..4 {
                    let total = totals.iter().map(|total| total[d]).fold(0.0, f64::max);
                    check(report.model_error()[d], total, &name);
                }
            }
        }
    }
    println!("{compared} compared, {worst:e}");
    assert!(compared > 5000);
    Ok(())
}

/// The spectrum of VERIFICATION's table: v_i = c/i², mean 0.25, d = 64.
fn spectrum() -> Gaussian {
    let total: f64 = (1..=64).map(|i| f64::from(i).powi(-2)).sum();
    let variances: Vec<f64> = (1..=64).map(|i| 16.0 / total / f64::from(i * i)).collect();
    Gaussian::diagonal(&[0.0; 64], &variances).unwrap()
}

#[test]
fn the_distance_is_that_of_the_published_table() -> Outcome {
    let table = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let rows = [
        (5, [33.6195, 34.7833, 41.7072]),
        (10, [20.4582, 21.6305, 27.2358]),
        (20, [12.1664, 13.0706, 16.9582]),
        (50, [5.7404, 6.3205, 8.6783]),
        (100, [3.1042, 3.5138, 5.1265]),
    ];
    for (steps, row) in rows {
        let grid = Grid::trailing(&table, steps)?;
        for (kappa, percent) in [Kappa::Ddim, Kappa::Eta(0.5), Kappa::Ddpm]
            .into_iter()
            .zip(row)
        {
            let sampler = Sampler::new(&table, &grid, &FirstOrder::new(kappa))?;
            let report = sampler.stability(&spectrum())?;
            assert!(
                (report.wasserstein() - percent).abs() < 1e-4,
                "{steps} {kappa:?}"
            );
        }
    }
    Ok(())
}

#[test]
fn growth_and_bias_are_those_of_the_moments() -> Outcome {
    // One direction by hand: DDPM, data N(2, 0.5²), knots round(1000(12 − k)/12), x_T ~ N(0, 1).
    let table = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let grid = Grid::trailing(&table, 12)?;
    let (mean, v) = (2.0, 0.25);
    let data = Gaussian::isotropic(&[mean], v)?;
    for (kappa, expected) in [
        (Kappa::Ddpm, (1.99998, 0.35022)),
        (Kappa::Ddim, (1.99505, 0.38990)),
    ] {
        let sampler = Sampler::new(&table, &grid, &FirstOrder::new(kappa))?;
        let report = sampler.stability(&data)?;
        let deviation = 0.5 * (1.0 + report.deviation()[0]);
        let centre = mean + 0.5 * report.mean()[0];
        assert!((centre - expected.0).abs() < 1e-5 && (deviation - expected.1).abs() < 1e-5);
        let miss = ((centre - mean).powi(2) + (deviation - 0.5).powi(2)).sqrt();
        assert!((report.wasserstein() - 100.0 * miss / 0.5).abs() < 1e-10);
        // The factors of all steps make the whole: from the start's deviation to the end's.
        let start = (grid.start().alpha().powi(2) * v + grid.start().sigma().powi(2)).sqrt();
        let product: f64 = report.steps().iter().map(|step| step.growth[0]).product();
        assert!((product / start - deviation / 0.5).abs() < 1e-12);
        for (step, (t, s)) in report.steps().iter().zip(grid.edges()) {
            assert_eq!((step.from, step.to), (t, s));
        }
    }
    // DDIM's factor of one step, in closed form.
    let sampler = Sampler::new(&table, &grid, &FirstOrder::ddim())?;
    let report = sampler.stability(&data)?;
    for (step, (t, s)) in report.steps().iter().zip(grid.edges()) {
        let spread = |l: &NoiseLevel| l.alpha().powi(2) * v + l.sigma().powi(2);
        let r = s.sigma() * t.alpha() / (t.sigma() * s.alpha());
        let factor = s.sigma() / t.sigma() + s.alpha() * (1.0 - r) * t.alpha() * v / spread(&t);
        let exact = (spread(&s) / spread(&t)).sqrt();
        assert!((step.growth[0] - factor / exact).abs() < 1e-12);
    }
    Ok(())
}

#[test]
fn correlated_data_is_reported_along_its_axes() -> Outcome {
    let flow = RectifiedFlow::new();
    let sampler = Sampler::new(&flow, &Grid::trailing(&flow, 9)?, &Heun::new())?;
    let covariance = ndarray::array![[2.0, 0.6], [0.6, 1.0]];
    let data = Gaussian::new(&[1.0, -1.0], &covariance)?;
    let report = sampler.stability(&data)?;
    let diagonal = Gaussian::diagonal(&[0.0; 2], data.variances())?;
    let along = sampler.stability(&diagonal)?;
    for (a, b) in report.steps().iter().zip(along.steps()) {
        assert_eq!(
            (&a.state, &a.model, &a.growth),
            (&b.state, &b.model, &b.growth)
        );
    }
    let means: f64 = report.mean().iter().map(|m| m * m).sum();
    let states = sampler.moments(&data)?;
    let miss: f64 = states[8]
        .mean()
        .iter()
        .zip(data.mean())
        .map(|(a, b)| (a - b).powi(2))
        .sum();
    assert!((means - miss / 1.5).abs() < 1e-12);
    Ok(())
}

fn most(report: &StabilityReport) -> (f64, f64) {
    let largest = |values: &mut dyn Iterator<Item = &f64>| values.fold(0.0, |m, x| f64::max(m, *x));
    let state = largest(&mut report.steps().iter().flat_map(|step| &step.state));
    (state, largest(&mut report.model_error().iter()))
}

#[test]
fn usual_runs_are_quiet() -> Outcome {
    let usual: [&dyn Solver; 5] = [
        &FirstOrder::ddim(),
        &FirstOrder::ddpm(),
        &DpmSolverPlusPlus::new(),
        &DpmSolverPlusPlus::sde(),
        &Heun::new(),
    ];
    let mut worst = (0.0f64, 0.0f64);
    for schedule in schedules() {
        for steps in [8, 10, 20, 50] {
            for grid in spacings(&*schedule, steps) {
                for solver in usual {
                    let sampler = Sampler::along(&Path::new(&*schedule, &grid)?, solver)?;
                    let report = sampler.stability(&spectrum())?;
                    assert!(
                        report.warnings().unwrap().is_empty(),
                        "{solver:?}\n{report}"
                    );
                    let (state, model) = most(&report);
                    worst = (worst.0.max(state), worst.1.max(model));
                }
            }
        }
    }
    println!("state {:.3}, model {:.3}", worst.0, worst.1);
    assert!(worst.0 < 2.5 && worst.1 < 3.0);
    // One unit of error at every evaluation of a fine DDIM run from noise to data: ∫ασ dλ = π/2
    // where the data's variance is 1.
    let vp = VariancePreserving::default();
    let sampler = Sampler::new(&vp, &Grid::trailing(&vp, 1000)?, &FirstOrder::ddim())?;
    let report = sampler.stability(&Gaussian::isotropic(&[0.0], 1.0)?)?;
    assert!((report.model_error()[0] - std::f64::consts::FRAC_PI_2).abs() < 0.02);
    assert!(
        report
            .steps()
            .iter()
            .all(|step| (step.state[0] - 1.0).abs() < 1e-2)
    );
    Ok(())
}

#[test]
fn wild_runs_are_recognised_before_they_run() -> Outcome {
    let table = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let range = LambdaRange::new(table.lambda_range().noisy(), table.level(1.0)?.lambda())?;
    // docs/choosing.md: Heun with five evaluations uniform in λ misses by 1929 %.
    let grid = Grid::uniform_lambda(&table, 3, range)?;
    let sampler = Sampler::new(&table, &grid, &Heun::new())?;
    assert_eq!(sampler.plan().evaluations(), 5);
    let report = sampler.stability(&spectrum())?;
    assert!((report.wasserstein() - 1929.0).abs() < 0.5);
    let [
        StabilityWarning::State {
            step: 0,
            value: state,
            bound: 3.0,
            ..
        },
        StabilityWarning::Model {
            value: model,
            bound: 5.0,
            ..
        },
        StabilityWarning::Result {
            value,
            bound: 100.0,
            ..
        },
    ] = report.warnings().unwrap()[..]
    else {
        return Err(format!("{report}").into());
    };
    assert!(state > 20.0 && model > 60.0 && value == report.wasserstein());
    assert_eq!(report.worst_step(), 0);
    assert_eq!(report.model_error()[report.worst_direction()], model);
    let text = report.to_string();
    assert_eq!(text.lines().count(), 1 + 3 + 1 + 3, "{text}");
    assert!(text.contains("W2 1929.") && text.contains("warning: an error in the state at step 0"));
    // Other bounds, other warnings.
    assert!(
        report
            .clone()
            .with_bounds(1e3, 1e3, 1e4)?
            .warnings()
            .unwrap()
            .is_empty()
    );
    for bad in [0.0, -1.0, f64::NAN] {
        assert!(report.clone().with_bounds(bad, 1.0, 1.0).is_err());
    }

    // A difference quotient over a tiny step: the result of an exact model is right, and the errors
    // of a real one are multiplied by 1/(2q).
    let vp = VariancePreserving::default();
    for tiny in [0.1, 1e-3, 1e-6, 1e-9] {
        let grid = Grid::from_lambdas(&vp, &[-4.0, -2.0, -1.0, 0.0, tiny, 1.0, 2.0, 4.0])?;
        let wild = Sampler::new(&vp, &grid, &DpmSolverPlusPlus::new().unbounded())?;
        let report = wild.stability(&spectrum())?;
        assert!(report.wasserstein() < 10.0);
        let (state, model) = most(&report);
        assert!(state > 0.4 / tiny && model > 0.6 / tiny, "{state} {model}");
        assert_eq!(report.worst_step(), 4);
        let bounded = Sampler::new(&vp, &grid, &DpmSolverPlusPlus::new())?;
        let (state, model) = most(&bounded.stability(&spectrum())?);
        assert!(
            (state < 3.0 && model < 5.0) || tiny == 0.1,
            "{state} {model}"
        );
    }
    Ok(())
}

#[test]
fn what_has_no_report_is_refused() -> Outcome {
    let table = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let grid = Grid::trailing(&table, 5)?;
    let sampler = Sampler::new(&table, &grid, &FirstOrder::ddim())?;
    let clipped = sampler.clone().with_clip(Clip::new(-1.0, 1.0)?);
    assert_eq!(clipped.stability(&data()), Err(Error::ClippedMoments));
    let up = Sampler::new(
        &table,
        &grid,
        &diffusion_sampler::solver::DdimInversion::new(),
    )?;
    assert!(matches!(
        up.stability(&data()),
        Err(Error::StartsFromData { .. })
    ));
    // From data it has one.
    assert!(up.plan().stability(&data(), &data())?.steps().len() == 5);
    // A point: nothing to be relative to, and nothing missed.
    let point = Gaussian::isotropic(&[0.5], 0.0)?;
    let report = sampler.stability(&point)?;
    assert!(report.wasserstein() < 1e-10);
    assert_eq!(report.deviation()[0], 0.0);
    assert!(report.steps().iter().all(|step| step.state[0].is_finite()));
    Ok(())
}

#[test]
fn the_worst_direction_is_judged_by_the_bounds_and_the_result_by_its_size() -> Outcome {
    let largest = |values: Vec<f64>| {
        let all = values.into_iter().enumerate();
        all.max_by(|a, b| a.1.total_cmp(&b.1))
            .map_or(0, |(at, _)| at)
    };
    let mut seen = [false; 2];
    for schedule in schedules() {
        for grid in spacings(&*schedule, 6) {
            for (name, solver) in solvers() {
                let Ok(sampler) = Sampler::new(&*schedule, &grid, &*solver) else {
                    continue;
                };
                let report = sampler.stability(&data())?;
                let directions = 0..VARIANCES.len();
                let state = |d: usize| report.steps().iter().map(move |s| s.state[d]);
                let state = |d: usize| state(d).fold(0.0, f64::max);
                let by_state = largest(directions.clone().map(state).collect());
                let by_model = largest(report.model_error().to_vec());
                seen[0] |= by_state != by_model;
                // A bound so low that it decides alone.
                let judged = report.clone().with_bounds(1e-9, 1e9, 100.0)?;
                assert_eq!(judged.worst_direction(), by_state, "{name}");
                let judged = report.clone().with_bounds(1e9, 1e-9, 100.0)?;
                assert_eq!(judged.worst_direction(), by_model, "{name}");
                // What misses most is a distance, not a share of the direction's own deviation.
                let share = |d: usize| report.deviation()[d].abs();
                let miss = |d: usize| {
                    let own = share(d) * VARIANCES[d].sqrt();
                    own.hypot(report.mean()[d])
                };
                // A direction without variance has no share.
                let (far, relative) = (
                    largest((1..4).map(miss).collect()) + 1,
                    largest((1..4).map(share).collect()) + 1,
                );
                let warnings = report
                    .clone()
                    .with_bounds(1e9, 1e9, 1e-9)?
                    .warnings()
                    .unwrap();
                let [StabilityWarning::Result { direction, .. }] = warnings[..] else {
                    continue;
                };
                if direction != 0 {
                    assert_eq!(direction, far, "{name}");
                    seen[1] |= far != relative;
                }
            }
        }
    }
    assert_eq!(seen, [true; 2], "the cases tell nothing apart");
    Ok(())
}

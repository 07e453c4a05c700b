//! Restart sampling, as AUTOMATIC1111 publishes it, around any solver.

use diffusion_sampler::{
    Error, Grid, KeyedNoise, NoiseLevel, Prediction, Sampler,
    noise::BrownianPath,
    oracle::{Gaussian, Oracle},
    schedule::{Edm, LambdaRange, NoiseSchedule, RectifiedFlow, VariancePreserving},
    solver::{Belm, BelmInversion, DpmSolverPlusPlus, FirstOrder, Heun, Path, Restart, Solver},
};
use ndarray::array;

use crate::common::{Outcome, assert_close, denoise, normal, paths, states};

const START: f64 = 0.7;

/// (ρ_min, ρ_max, repeats, steps).
type Interval = (f64, f64, usize, usize);

fn karras(from: f64, to: f64, steps: usize) -> Vec<f64> {
    let ramp = |k: usize| k as f64 / steps as f64;
    let (max, min) = (from.powf(1.0 / 7.0), to.powf(1.0 / 7.0));
    let between = (1..steps).map(|k| (max + ramp(k) * (min - max)).powi(7));
    // Without the rounding of the ends.
    std::iter::once(from).chain(between).chain([to]).collect()
}

/// The list of (old, new) of AUTOMATIC1111's `restart_sampler`.
fn step_list(sigmas: &[f64], intervals: &[Interval]) -> Vec<(f64, f64)> {
    let nearest = |key: f64| {
        let distances: Vec<f64> = sigmas.iter().map(|s| (s - key).abs()).collect();
        let least = distances.iter().copied().fold(f64::INFINITY, f64::min);
        distances.iter().position(|d| *d == least).unwrap_or(0)
    };
    let mut list = Vec::new();
    for i in 0..sigmas.len() - 1 {
        list.push((sigmas[i], sigmas[i + 1]));
        for &(min, max, repeats, steps) in intervals {
            if nearest(min) == i + 1 {
                let again = karras(sigmas[nearest(max)], sigmas[i + 1], steps);
                for _ in 0..repeats {
                    list.extend(again.windows(2).map(|pair| (pair[0], pair[1])));
                }
            }
        }
    }
    list
}

/// Its run with Heun steps in σ = ρ and x/α; the level of the network by interpolation.
fn published(path: &Path<'_>, intervals: &[Interval]) -> Result<Vec<f64>, Error> {
    let levels = path.grid().levels();
    let sigmas: Vec<f64> = levels.iter().map(NoiseLevel::rho).collect();
    let level = |rho: f64| {
        let knot = levels.iter().find(|level| level.rho() == rho);
        knot.map_or_else(|| path.at_lambda(-rho.ln()), |knot| Ok(*knot))
    };
    let slope = |y: f64, rho: f64| -> Result<f64, Error> {
        let level = level(rho)?;
        Ok((y - denoise(level.alpha() * y, &level)) / rho)
    };
    let mut y = START / levels[0].alpha();
    let mut states = Vec::new();
    let mut last: Option<f64> = None;
    for (old, new) in step_list(&sigmas, intervals) {
        if let Some(last) = last
            && last < old * (1.0 - 1e-12)
        {
            y += (old * old - last * last).sqrt() * normal(states.len() as u32, 0);
            states.push(level(old)?.alpha() * y);
        }
        let d = slope(y, old)?;
        let euler = y + d * (new - old);
        y = if new == 0.0 {
            euler
        } else {
            y + 0.5 * (d + slope(euler, new)?) * (new - old)
        };
        states.push(level(new)?.alpha() * y);
        last = Some(new);
    }
    Ok(states)
}

fn restart<S: Solver>(inner: S, intervals: &[Interval]) -> Result<Restart<S>, Error> {
    let mut solver = Restart::new(inner);
    for &(min, max, repeats, steps) in intervals {
        solver = solver.with_interval(min, max, repeats, steps)?;
    }
    Ok(solver)
}

#[test]
fn restart_is_the_published_run() -> Outcome {
    let lists: [&[Interval]; 6] = [
        &[],
        &[(0.1, 2.0, 1, 9)],
        &[(0.1, 2.0, 3, 1)],
        &[(0.5, 5.0, 2, 4), (0.1, 1.5, 1, 5)],
        // Given in the other order, and up to the start.
        &[(0.06, 0.6, 1, 2), (1.0, 1e3, 2, 3)],
        // Twice from the same knot.
        &[(0.1, 2.0, 1, 3), (0.1, 5.0, 1, 2)],
    ];
    for clean in [true, false] {
        for steps in [5, 12] {
            for (schedule, grid) in paths(steps, clean)? {
                let path = Path::new(&schedule, &grid)?;
                for intervals in lists {
                    let ours = states(&path, &restart(Heun::new(), intervals)?, START)?;
                    let theirs = published(&path, intervals)?;
                    let place = format!("{schedule:?}, {steps}, {intervals:?}");
                    // Levels between knots come from an inverse of the schedule.
                    assert_close(&ours, &theirs, 1e-10, &place);
                }
            }
        }
    }
    Ok(())
}

#[test]
fn automatic1111s_choices_are_its_own() -> Outcome {
    let edm = Edm::default();
    for (total, main, repeats) in [
        (1, 1, 0),
        (19, 19, 0),
        (20, 11, 1),
        (35, 26, 1),
        (36, 18, 2),
        (50, 26, 2),
    ] {
        let solver = Restart::of_steps(Heun::new(), total);
        assert_eq!(total - solver.extra_steps(), main);
        let grid = Grid::karras(&edm, main, edm.lambda_range(), 7.0)?;
        let path = Path::new(&edm, &grid)?;
        let plan = solver.plan(&path)?;
        let (up, down): (Vec<_>, Vec<_>) = plan
            .steps()
            .iter()
            .partition(|step| step.to.rho() > step.from.rho());
        assert_eq!((up.len(), down.len()), (repeats, total));
        assert_eq!(plan.evaluations(), 2 * total - 1);
        if let Some(steps) = (total - main).checked_div(repeats) {
            let same = restart(Heun::new(), &[(0.1, 2.0, repeats, steps)])?;
            assert_eq!(solver, same);
            assert_close(
                &states(&path, &solver, START)?,
                &published(&path, &[(0.1, 2.0, repeats, steps)])?,
                1e-10,
                "AUTOMATIC1111",
            );
        } else {
            assert_eq!(plan, Heun::new().plan(&path)?);
        }
    }
    Ok(())
}

#[test]
fn any_solver_can_be_restarted_and_keeps_its_means() -> Outcome {
    for entry in diffusion_sampler::solver::catalogue() {
        // LCM misses the mean by design; what runs up cannot come down.
        if entry.inverts || entry.name == "LCM" {
            continue;
        }
        let order = entry.solver.order();
        let solver = restart(entry.solver, &[(0.2, 3.0, 2, 4)])?;
        assert_eq!(solver.order(), order);
        for (schedule, grid) in paths(9, true)? {
            let plan = solver.plan(&Path::new(&schedule, &grid)?)?;
            assert_eq!(plan.steps().len(), 9 + 2 * (4 + 1), "{}", entry.name);
            assert!(plan.is_stochastic());
            assert!(
                plan.mean_defect()
                    .unwrap()
                    .iter()
                    .all(|defect| *defect < 1e-11)
            );
        }
    }
    Ok(())
}

#[test]
fn a_restart_may_begin_at_the_clean_end_and_reach_pure_noise() -> Outcome {
    let flow = RectifiedFlow::new();
    let grid = Grid::trailing(&flow, 4)?;
    let path = Path::new(&flow, &grid)?;
    // ρ of the knots: ∞, 3, 1, 1/3, 0.
    let plan = restart(FirstOrder::ddim(), &[(0.0, 1.0, 1, 3)])?.plan(&path)?;
    assert_eq!(plan.steps().len(), 8);
    assert!(plan.steps()[4].from.is_clean() && plan.end().is_clean());
    let run = states(
        &path,
        &restart(FirstOrder::ddim(), &[(0.0, 1.0, 1, 3)])?,
        START,
    )?;
    assert!(run.iter().all(|x| x.is_finite()));
    // The start is at ρ = ∞, which no interval reaches.
    let plan = restart(FirstOrder::ddim(), &[(0.4, 1e300, 1, 1)])?.plan(&path)?;
    assert_eq!(plan.steps()[3].to, grid.levels()[1]);
    Ok(())
}

#[test]
fn what_cannot_be_repeated_is_refused() -> Outcome {
    let new = |min, max, repeats, steps| {
        Restart::new(Heun::new()).with_interval(min, max, repeats, steps)
    };
    for (min, max) in [
        (-0.1, 1.0),
        (1.0, 1.0),
        (2.0, 1.0),
        (f64::NAN, 1.0),
        (0.1, f64::INFINITY),
    ] {
        let refused = new(min, max, 1, 1);
        assert!(
            matches!(refused, Err(Error::InvalidParameter { .. })),
            "{min} {max}"
        );
    }
    for (repeats, steps) in [(0, 1), (1, 0)] {
        let refused = new(0.1, 2.0, repeats, steps);
        assert!(matches!(
            refused,
            Err(Error::StepCount {
                steps: 0,
                min: 1,
                ..
            })
        ));
    }
    let vp = VariancePreserving::default();
    let grid = Grid::karras(&vp, 12, LambdaRange::new(-3.0, 3.0)?, 7.0)?;
    let path = Path::new(&vp, &grid)?;
    // Both ends are nearest to one knot.
    let refused = new(0.1, 0.1001, 1, 4)?.plan(&path);
    assert!(
        matches!(refused, Err(Error::InvalidParameter { value: 0.1001, .. })),
        "{refused:?}"
    );
    // Levels between knots need a schedule; one step needs none.
    let bare = Path::without_schedule(&grid);
    let refused = new(0.1, 2.0, 1, 2)?.plan(&bare);
    assert!(matches!(refused, Err(Error::PathWithoutSchedule { .. })));
    assert!(new(0.1, 2.0, 1, 1)?.plan(&bare).is_ok());
    // A solver that runs up does not meet the section's ends.
    let up = restart(BelmInversion::new(), &[(0.1, 2.0, 1, 2)])?.plan(&path);
    assert!(matches!(up, Err(Error::EdgesDoNotMeet { .. })));
    // More steps than a grid may have, up to more than a number can hold.
    for (repeats, steps) in [(1 << 24, 1), (1, 1 << 24), (usize::MAX, usize::MAX)] {
        let endless = new(0.1, 2.0, repeats, steps)?;
        assert_eq!(endless.extra_steps(), repeats.saturating_mul(steps));
        let refused = endless.plan(&path);
        assert!(
            matches!(
                refused,
                Err(Error::StepCount {
                    max: 16_777_216,
                    ..
                })
            ),
            "{refused:?}"
        );
    }
    // Without intervals a solver that starts from a pair is itself; repeated, it would lose its pair.
    let pair = Belm::new().from_pair();
    let alone = Restart::new(pair).plan(&path)?;
    assert_eq!(alone, pair.plan(&path)?);
    let repeated = restart(pair, &[(0.1, 2.0, 1, 2)])?.plan(&path);
    assert_eq!(repeated, Err(Error::GivenHistory { given: 1 }));
    // A Brownian path has one noise for each interval.
    let sampler = Sampler::new(&vp, &grid, &new(0.1, 2.0, 1, 4)?)?;
    let noise = BrownianPath::new(3);
    let refused = sampler
        .start_from(array![[0.0]], Prediction::Data, noise)
        .map(drop);
    assert!(
        matches!(refused, Err(Error::PathRetraced { .. })),
        "{refused:?}"
    );
    Ok(())
}

/// The largest relative error of a Gaussian's variance at the end.
fn error(solver: &dyn Solver, steps: usize) -> Result<f64, Box<dyn std::error::Error>> {
    let data = Gaussian::diagonal(&[0.0; 4], &[0.05, 0.3, 1.0, 3.0])?;
    let vp = VariancePreserving::default();
    let lambdas: Vec<f64> = (0..=steps)
        .map(|k| -3.0 + 6.0 * k as f64 / steps as f64)
        .collect();
    let grid = Grid::from_lambdas(&vp, &lambdas)?;
    let plan = solver.plan(&Path::new(&vp, &grid)?)?;
    let moments = plan.moments(&data, &data.at_level(&grid.start())?)?;
    let exact = data.at_level(&grid.end())?;
    let last = &moments[moments.len() - 1];
    let misses = last.variances().iter().zip(exact.variances());
    Ok(misses.map(|(v, w)| (v / w - 1.0).abs()).fold(0.0, f64::max))
}

#[test]
fn restarts_keep_the_order_and_contract_errors() -> Outcome {
    let inner: [(&dyn Solver, f64); 3] = [
        (&FirstOrder::ddim(), 1.0),
        (&Heun::new(), 2.0),
        (&DpmSolverPlusPlus::new(), 2.0),
    ];
    for (solver, order) in inner {
        let with = |steps: usize| error(&restart(solver, &[(0.2, 3.0, 2, steps / 2)])?, steps);
        let slope = (with(160)? / with(320)?).log2();
        assert!((slope / order - 1.0).abs() < 0.05, "{solver:?}: {slope}");
    }
    // What a coarse run gets wrong before a fine section is forgotten in it.
    let ddim = FirstOrder::ddim();
    let plain = error(&ddim, 10)?;
    let fine = error(&restart(ddim, &[(0.05, 15.0, 1, 200)])?, 10)?;
    assert!(fine < 0.2 * plain, "{fine:e} {plain:e}");
    Ok(())
}

#[test]
fn noises_of_repeats_are_distinct() -> Outcome {
    let vp = VariancePreserving::default();
    let grid = Grid::karras(&vp, 6, LambdaRange::new(-3.0, 3.0)?, 7.0)?;
    let sampler = Sampler::new(&vp, &grid, &restart(Heun::new(), &[(0.1, 2.0, 3, 2)])?)?;
    let up: Vec<usize> = sampler
        .plan()
        .steps()
        .iter()
        .enumerate()
        .filter(|(_, step)| step.stages[0].evaluate.is_none())
        .map(|(k, _)| k)
        .collect();
    assert_eq!(up.len(), 3);
    let mut model = Gaussian::isotropic(&[0.0], 0.3)?.denoiser(Prediction::Data);
    let mut run = sampler.start_from(array![[0.0]], Prediction::Data, KeyedNoise::new(1))?;
    let mut tops = Vec::new();
    while !run.is_finished() {
        let step = run.step();
        run.advance(&mut model)?;
        if up.contains(&step) {
            tops.push(run.state()[[0, 0]]);
        }
    }
    assert!(tops[0] != tops[1] && tops[1] != tops[2]);
    Ok(())
}

#[test]
fn grids_without_room_are_run_by_the_inner_solver() -> Outcome {
    let solver = Restart::new(Heun::new()).with_interval(0.1, 2.0, 1, 9)?;
    for (schedule, grid) in paths(10, true)? {
        let path = Path::new(&schedule, &grid)?;
        let (whole, alone) = (solver.plan(&path)?, Heun::new().plan(&path)?);
        assert_ne!(whole, alone);
        assert_eq!(solver.clone().on_grids_from(10).plan(&path)?, whole);
        assert_eq!(solver.clone().on_grids_from(11).plan(&path)?, alone);
    }
    Ok(())
}

//! RePaint's resampling against the published list of jumps, and as a chain.

use diffusion_sampler::{
    Error, Grid,
    oracle::Gaussian,
    posterior::Kappa,
    schedule::{RectifiedFlow, TableSchedule, VariancePreserving},
    solver::{DpmSolverPlusPlus, ExponentialRungeKutta, FirstOrder, Heun, Path, RePaint, Solver},
};

use crate::common::{Outcome, paths};

/// The knots that diffusers' `RePaintScheduler.set_timesteps` visits, after the first: the loop as it
/// is published, with t the number of steps that are left.
fn published(steps: usize, jump_length: usize, resamplings: usize) -> Vec<usize> {
    let mut jumps = std::collections::HashMap::new();
    let mut j = 0;
    while j + jump_length < steps {
        jumps.insert(j, resamplings - 1);
        j += jump_length;
    }
    let (mut t, mut visited) = (steps, Vec::new());
    while t >= 1 {
        t -= 1;
        visited.push(t);
        if let Some(left) = jumps.get_mut(&t).filter(|left| **left > 0) {
            *left -= 1;
            for _ in 0..jump_length {
                t += 1;
                visited.push(t);
            }
        }
    }
    visited
}

#[test]
fn the_jumps_are_the_published_ones() -> Outcome {
    let table = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let cases = [
        (10, 3, 4),
        (12, 2, 2),
        (20, 10, 10),
        (1, 1, 3),
        (2, 1, 2),
        (7, 7, 5),
        (250, 10, 10),
    ];
    for (steps, jump_length, resamplings) in cases {
        let grid = Grid::trailing(&table, steps)?;
        let left = |time: f64| {
            grid.levels()
                .iter()
                .rev()
                .position(|knot| knot.time() == time)
        };
        let solver = RePaint::new(FirstOrder::ddpm(), jump_length, resamplings)?;
        let plan = solver.plan(&Path::new(&table, &grid)?)?;
        let mut visited = Vec::new();
        for step in plan.steps() {
            let (from, to) = (left(step.from.time()), left(step.to.time()));
            let (from, to) = (from.ok_or("no knot")?, to.ok_or("no knot")?);
            // A jump is one step here, knot by knot there.
            if to > from {
                assert_eq!(to - from, jump_length);
                visited.extend(from + 1..=to);
            } else {
                assert_eq!(to + 1, from);
                visited.push(to);
            }
        }
        assert_eq!(
            visited,
            published(steps, jump_length, resamplings),
            "{steps}"
        );
        let jumps = plan
            .steps()
            .iter()
            .filter(|step| step.to.lambda() < step.from.lambda());
        assert_eq!(plan.evaluations(), steps + jumps.count() * jump_length);
    }
    let paper = RePaint::new(FirstOrder::ddpm(), 10, 10)?;
    let grid = Grid::trailing(&table, 250)?;
    assert_eq!(paper.plan(&Path::new(&table, &grid)?)?.evaluations(), 2410);
    Ok(())
}

#[test]
fn a_single_resampling_is_the_solver_within() -> Outcome {
    for (schedule, grid) in paths(7, true)? {
        let path = Path::new(&*schedule, &grid)?;
        let plain = DpmSolverPlusPlus::new();
        assert_eq!(RePaint::new(plain, 2, 1)?.plan(&path)?, plain.plan(&path)?);
        assert_eq!(RePaint::new(plain, 9, 5)?.plan(&path)?, plain.plan(&path)?);
        assert_eq!(RePaint::new(plain, 2, 3)?.order(), 2);
    }
    Ok(())
}

#[test]
fn jumps_keep_the_marginals_and_histories_begin_anew() -> Outcome {
    for (schedule, grid) in paths(9, true)? {
        let path = Path::new(&*schedule, &grid)?;
        // Given x₀, every member of the κ family and every jump keeps N(α x₀, σ²).
        let data = Gaussian::isotropic(&[1.3], 0.0)?;
        for kappa in [Kappa::Ddim, Kappa::Ddpm, Kappa::Eta(0.5)] {
            let plan = RePaint::new(FirstOrder::new(kappa), 3, 3)?.plan(&path)?;
            let states = plan.moments(&data, &data.at_level(&grid.start())?)?;
            for (state, step) in states.iter().zip(plan.steps()) {
                let exact = data.at_level(&step.to)?;
                assert!((state.mean()[0] - exact.mean()[0]).abs() < 1e-13);
                let (found, wanted) = (state.variances()[0], exact.variances()[0]);
                assert!((found - wanted).abs() <= 1e-12 * wanted, "{found} {wanted}");
            }
            assert!(
                plan.mean_defect()
                    .unwrap()
                    .iter()
                    .all(|defect| *defect < 1e-12)
            );
        }
        for (plan, evaluations) in [
            (
                RePaint::new(DpmSolverPlusPlus::new(), 3, 2)?.plan(&path)?,
                15,
            ),
            (RePaint::new(Heun::new(), 3, 2)?.plan(&path)?, 28),
        ] {
            assert_eq!(plan.evaluations(), evaluations);
            for pair in plan.steps().windows(2) {
                let up = pair[0].to.lambda() < pair[0].from.lambda();
                let read: usize = pair[1].stages[0].update.history.len();
                assert!(!up || read == 0, "history of before the jump");
            }
        }
    }
    Ok(())
}

#[test]
fn what_cannot_be_is_refused() -> Outcome {
    let zero = |name| Error::InvalidParameter {
        name,
        value: 0.0,
        requirement: "at least 1",
    };
    assert_eq!(RePaint::new(Heun::new(), 0, 1), Err(zero("jump_length")));
    assert_eq!(RePaint::new(Heun::new(), 1, 0), Err(zero("resamplings")));
    let flow = RectifiedFlow::new();
    let grid = Grid::trailing(&flow, 4)?;
    let endless = RePaint::new(FirstOrder::ddim(), 1, usize::MAX)?;
    assert!(matches!(
        endless.plan(&Path::new(&flow, &grid)?),
        Err(Error::StepCount { .. })
    ));
    // With two steps and a jump between them a resampling is two steps. Of 2²⁴ steps, what is refused
    // is the inner solver's first one; of two more, their number.
    let bare = Grid::from_lambdas(&VariancePreserving::default(), &[-1.0, 0.0, 1.0])?;
    let bare = Path::without_schedule(&bare);
    let inner = ExponentialRungeKutta::res(2)?;
    let most = RePaint::new(inner, 1, 1 << 23)?.plan(&bare);
    assert!(matches!(most, Err(Error::PathWithoutSchedule { .. })));
    let too_many = Error::StepCount {
        steps: (1 << 24) + 2,
        min: 1,
        max: 1 << 24,
    };
    let more = RePaint::new(inner, 1, (1 << 23) + 1)?.plan(&bare);
    assert_eq!(more, Err(too_many));
    // A jump that no grid has room for is none.
    let path = Path::new(&flow, &grid)?;
    let wide = RePaint::new(FirstOrder::ddim(), usize::MAX, usize::MAX)?;
    assert_eq!(wide.plan(&path)?, FirstOrder::ddim().plan(&path)?);
    Ok(())
}

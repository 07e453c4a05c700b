//! Single-step solvers on D at their limits: short steps, bad options, any τ.

use diffusion_sampler::{
    Error, Grid,
    posterior::Kappa,
    schedule::{Edm, RectifiedFlow, VarianceExploding},
    solver::{
        CfgPlusPlusSinglestep, DpmPlusPlusSde, DpmSolverPlusPlusSinglestep, DpmSolverSinglestep,
        ExponentialRungeKutta, FirstOrder, Path, Solver,
    },
};

use crate::common::{Outcome, paths, states};

const START: f64 = 0.7;

#[test]
fn a_step_too_short_for_a_node_is_first_order() -> Outcome {
    let flow = RectifiedFlow::new();
    for gap in [1e-16, 1e-15, 1e-13, 1e-11, 1e-9, 1e-6] {
        let times = [0.9, 0.5 + gap, 0.5, 0.2];
        let grid = Grid::from_times(&flow, &times)?;
        let path = Path::new(&flow, &grid)?;
        let without = Grid::from_times(&flow, &[0.9, 0.5, 0.2])?;
        for solver in [
            Box::new(DpmSolverPlusPlusSinglestep::order(2)?) as Box<dyn Solver>,
            Box::new(DpmSolverPlusPlusSinglestep::order(3)?),
            Box::new(DpmSolverPlusPlusSinglestep::order(2)?.with_kappa(Kappa::Ddpm)),
            Box::new(ExponentialRungeKutta::res(3)?),
            Box::new(ExponentialRungeKutta::heun()),
            Box::new(DpmPlusPlusSde::new().with_eta(0.0)?),
        ] {
            let ours = states(&path, &*solver, START)?;
            let expected = states(&Path::new(&flow, &without)?, &*solver, START)?;
            // The noise of later steps is another; the step itself does nothing.
            let plan = solver.plan(&path)?;
            if !plan.is_stochastic() {
                assert!(
                    (ours[1] - expected[0]).abs() < 1e-15 + 20.0 * gap,
                    "{gap:e} {solver:?}"
                );
            }
            assert!(ours.iter().all(|x| x.is_finite()), "{gap:e} {solver:?}");
        }
    }
    Ok(())
}

#[test]
fn a_step_whose_weights_overflow_is_first_order() -> Outcome {
    // e^h = 1e360 is beyond f64, as is the weight of a difference in noise form.
    let edm = Edm::new(1e-220, 1e140)?;
    let grid = Grid::from_times(&edm, &[1e140, 1e-220])?;
    let path = Path::new(&edm, &grid)?;
    let ddim = FirstOrder::ddim().plan(&path)?;
    for order in [2, 3] {
        let plan = DpmSolverSinglestep::order(order)?.plan(&path)?;
        assert_eq!(plan.steps(), ddim.steps(), "{order}");
    }
    Ok(())
}

#[test]
fn a_node_between_two_neighbouring_floats_is_none() -> Outcome {
    // Times 1 − u and 1 − 3u, u half an ulp: the one time between has λ a fifth of the step off.
    let flow = RectifiedFlow::new();
    let ulp = 0.5 * f64::EPSILON;
    for (count, evaluations) in [(3.0, 1), (3e5, 2)] {
        let grid = Grid::from_times(&flow, &[1.0 - ulp, 1.0 - count * ulp])?;
        let path = Path::new(&flow, &grid)?;
        for solver in [
            Box::new(DpmSolverPlusPlusSinglestep::order(2)?) as Box<dyn Solver>,
            Box::new(ExponentialRungeKutta::seeds(2)?),
            Box::new(DpmPlusPlusSde::new()),
        ] {
            let plan = solver.plan(&path)?;
            assert_eq!(plan.evaluations(), evaluations, "{count} {solver:?}");
        }
    }
    Ok(())
}

#[test]
fn a_node_near_the_end_is_a_level_of_its_own() -> Outcome {
    for (schedule, grid) in paths(1, false)? {
        let path = Path::new(&schedule, &grid)?;
        let solver = DpmSolverPlusPlusSinglestep::order(2)?.with_nodes(&[0.995])?;
        let plan = solver.plan(&path)?;
        let node = plan.steps()[0].stages[1].evaluate.ok_or("no evaluation")?;
        let (from, to) = (grid.start().lambda(), grid.end().lambda());
        let wanted = from + 0.995 * (to - from);
        assert!((node.lambda() - wanted).abs() < 1e-9, "{schedule:?}");
    }
    Ok(())
}

#[test]
fn cfg_plus_plus_steps_from_a_thousandfold_noise_are_first_order() -> Outcome {
    let edm = Edm::new(0.002, 2000.0)?;
    let grid = Grid::from_rhos(&edm, &[1500.0, 1000.1, 999.9, 10.0])?;
    let plan = CfgPlusPlusSinglestep::new(Kappa::Ddim).plan(&Path::new(&edm, &grid)?)?;
    let counts: Vec<usize> = plan.steps().iter().map(|s| s.stages.len()).collect();
    assert_eq!(counts, [1, 1, 4]);
    Ok(())
}

#[test]
fn bad_options_are_refused() -> Outcome {
    for order in [0, 1, 4] {
        let refused = Err(Error::InvalidParameter {
            name: "order",
            value: order as f64,
            requirement: "2 or 3 for a single-step solver",
        });
        assert_eq!(ExponentialRungeKutta::seeds(order), refused);
        assert_eq!(ExponentialRungeKutta::res(order), refused);
        assert!(DpmSolverPlusPlusSinglestep::order(order).is_err());
    }
    let two = ExponentialRungeKutta::res(2)?;
    let three = ExponentialRungeKutta::res(3)?;
    assert!(matches!(
        two.with_nodes(&[0.3, 0.6]),
        Err(Error::WrongLength {
            name: "nodes",
            expected: 1,
            found: 2
        })
    ));
    for nodes in [&[0.5, 0.5][..], &[0.0, 0.5], &[0.5, 1.1], &[f64::NAN, 0.5]] {
        assert!(
            matches!(three.with_nodes(nodes), Err(Error::InvalidEntry { .. })),
            "{nodes:?}"
        );
    }
    assert!(matches!(
        three.with_nodes(&[2.0 / 3.0, 0.9]),
        Err(Error::InvalidParameter {
            name: "first node",
            ..
        })
    ));
    for value in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(two.with_tau(value).is_err() && two.with_noise_scale(value).is_err());
        let sde = DpmPlusPlusSde::new();
        assert!(sde.with_eta(value).is_err() && sde.with_noise_scale(value).is_err());
        assert!(sde.with_node(value).is_err());
        let single = DpmSolverPlusPlusSinglestep::order(2)?;
        assert!(single.with_noise_scale(value).is_err());
        assert!(single.with_nodes(&[value]).is_err());
    }
    assert!(DpmPlusPlusSde::new().with_node(0.0).is_err());

    // Levels between the knots need a schedule, and one that has them.
    let schedule = VarianceExploding::new(0.01, 50.0)?;
    let grid = Grid::uniform_lambda(
        &schedule,
        4,
        diffusion_sampler::schedule::NoiseSchedule::lambda_range(&schedule),
    )?;
    let bare = Path::without_schedule(&grid);
    assert!(matches!(
        two.plan(&bare),
        Err(Error::PathWithoutSchedule { .. })
    ));
    assert!(matches!(
        DpmPlusPlusSde::new().plan(&bare),
        Err(Error::PathWithoutSchedule { .. })
    ));
    assert!(
        ExponentialRungeKutta::heun()
            .with_tau(1.0)?
            .plan(&bare)
            .is_ok()
    );
    let single = DpmSolverPlusPlusSinglestep::order(2)?.with_kappa(Kappa::Ddpm);
    assert!(single.plan(&bare).is_ok(), "the node is the step's end");
    let beyond = single.with_nodes(&[0.9])?;
    assert!(matches!(
        beyond.plan(&Path::new(&schedule, &grid)?),
        Err(Error::LambdaOutOfRange { .. })
    ));
    Ok(())
}

#[test]
fn any_finite_tau_gives_finite_weights() -> Outcome {
    for (schedule, grid) in paths(5, true)? {
        let path = Path::new(&schedule, &grid)?;
        for tau in [1e-200, 1e-8, 1e3, 1e100, 1e155, f64::MAX] {
            for solver in [
                ExponentialRungeKutta::seeds(2)?,
                ExponentialRungeKutta::seeds(3)?,
                ExponentialRungeKutta::heun(),
            ] {
                let plan = solver.with_tau(tau)?.plan(&path)?;
                assert!(
                    plan.mean_defect()
                        .unwrap()
                        .iter()
                        .all(|defect| *defect < 1e-13),
                    "{tau}"
                );
            }
        }
    }
    Ok(())
}

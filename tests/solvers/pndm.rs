//! PNDM and PLMS against their published recurrence, and against diffusers' list of calls.

use diffusion_sampler::{
    Error, Grid, NoiseLevel,
    schedule::{NoiseSchedule, RectifiedFlow, TableSchedule, VariancePreserving},
    solver::{FirstOrder, Heun, Ipndm, Path, Pndm, Solver},
};

use crate::common::{Outcome, assert_close, denoise, paths, states};

/// E of a state at a level.
fn noise(x: f64, level: &NoiseLevel) -> f64 {
    (x - level.alpha() * denoise(x, level)) / level.sigma()
}

/// Formula (9) of the paper with ᾱ = α²: the step of DDIM with a given ε. For any α and σ it is
/// this one.
fn transfer(x: f64, e: f64, from: &NoiseLevel, to: &NoiseLevel) -> f64 {
    to.alpha() * (x / from.alpha() + (to.rho() - from.rho()) * e)
}

/// diffusers' loop, from knot to knot, with `runge_kutta` steps of four calls.
fn recurrence(
    path: &Path<'_>,
    runge_kutta: usize,
    extrapolated: bool,
    start: f64,
) -> Result<Vec<f64>, Error> {
    let mut x = start;
    let mut ets: Vec<f64> = Vec::new();
    let mut states = Vec::new();
    for (i, (t, s)) in path.edges().enumerate() {
        let e = noise(x, &t);
        ets.insert(0, e);
        x = if s.is_clean() && (!extrapolated || ets.len() == 1) {
            s.alpha() * denoise(x, &t)
        } else if i < runge_kutta && !s.is_clean() {
            let m = path.at_time(0.5 * (t.time() + s.time()))?;
            let e2 = noise(transfer(x, e, &t, &m), &m);
            let e3 = noise(transfer(x, e2, &t, &m), &m);
            let e4 = noise(transfer(x, e3, &t, &s), &s);
            transfer(x, (e + 2.0 * e2 + 2.0 * e3 + e4) / 6.0, &t, &s)
        } else {
            let mean = match ets[..] {
                [e0] => 0.5 * (e0 + noise(transfer(x, e0, &t, &s), &s)),
                [e0, e1] => (3.0 * e0 - e1) / 2.0,
                [e0, e1, e2] => (23.0 * e0 - 16.0 * e1 + 5.0 * e2) / 12.0,
                [e0, e1, e2, e3, ..] => (55.0 * e0 - 59.0 * e1 + 37.0 * e2 - 9.0 * e3) / 24.0,
                [] => f64::NAN,
            };
            transfer(x, mean, &t, &s)
        };
        states.push(x);
    }
    Ok(states)
}

#[test]
fn pndm_is_the_published_recurrence() -> Outcome {
    for steps in [1, 2, 3, 4, 5, 12] {
        for clean in [true, false] {
            for (schedule, grid) in paths(steps, clean)? {
                let path = Path::new(&schedule, &grid)?;
                let start = 0.7 * grid.start().sigma();
                let solvers = [
                    (Pndm::new(), 3, false),
                    (Pndm::plms(), 0, false),
                    (Pndm::new().extrapolated_end(), 3, true),
                    (Pndm::plms().extrapolated_end(), 0, true),
                ];
                for (solver, runge_kutta, extrapolated) in solvers {
                    let ours = states(&path, &solver, start)?;
                    let theirs = recurrence(&path, runge_kutta, extrapolated, start)?;
                    let place = format!("{solver:?}, {schedule:?}, {steps} steps");
                    // A Runge–Kutta step multiplies rounding by up to e^h twice.
                    let tolerance = if steps < 5 { 1e-10 } else { 1e-12 };
                    assert_close(&ours, &theirs, tolerance, &place);
                }
            }
        }
    }
    Ok(())
}

#[test]
fn the_calls_are_those_of_the_published_schedulers() -> Outcome {
    let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
    for steps in [4, 10, 50] {
        let grid = Grid::leading(&schedule, steps, 1)?;
        let path = Path::new(&schedule, &grid)?;
        let times = |solver: Pndm| -> Result<Vec<f64>, Error> {
            let plan = solver.plan(&path)?;
            let evaluated = plan.stages().filter_map(|stage| stage.evaluate);
            Ok(evaluated.map(|level| level.model_time()).collect())
        };
        // The network's times g, g₁ twice; R = T//K.
        let r = (1000 / steps) as f64;
        let knots: Vec<f64> = (0..steps).rev().map(|k| k as f64 * r + 1.0).collect();
        let mut plms = knots.clone();
        plms.insert(1, knots[1]);
        assert_eq!(times(Pndm::plms())?, plms);
        let mut full = Vec::new();
        for pair in knots.windows(2).take(3) {
            let middle = 0.5 * (pair[0] + pair[1]);
            full.extend([pair[0], middle, middle, pair[1]]);
        }
        full.extend(&knots[3..]);
        assert_eq!(times(Pndm::new())?, full);
        assert_eq!((plms.len(), full.len()), (steps + 1, steps + 9));
    }
    Ok(())
}

#[test]
fn the_first_step_of_plms_is_heuns_and_the_later_ones_are_ipndms() -> Outcome {
    for (schedule, grid) in paths(8, true)? {
        let path = Path::new(&schedule, &grid)?;
        let start = 0.7 * grid.start().sigma();
        let ours = states(&path, &Pndm::plms(), start)?;
        let heun = states(&path, &Heun::new(), start)?;
        assert_close(&ours[..1], &heun[..1], 1e-13, "Heun");
        let (plms, ipndm) = (Pndm::plms().plan(&path)?, Ipndm::order(4)?.plan(&path)?);
        for (a, b) in plms.steps().iter().zip(ipndm.steps()).skip(1) {
            assert_eq!(a, b);
        }
    }
    Ok(())
}

#[test]
fn runge_kutta_steps_need_a_schedule_and_alpha_above_zero() -> Outcome {
    let flow = RectifiedFlow::new();
    let grid = Grid::trailing(&flow, 6)?;
    assert!(matches!(
        Pndm::new().plan(&Path::without_schedule(&grid)),
        Err(Error::TimeWithoutSchedule { .. })
    ));
    let stages = |solver: Pndm| -> Result<Vec<usize>, Error> {
        let plan = solver.plan(&Path::new(&flow, &grid)?)?;
        Ok(plan.steps().iter().map(|step| step.stages.len()).collect())
    };
    // The first knot has α = 0.
    assert_eq!(stages(Pndm::new())?, [1, 4, 4, 4, 1, 1]);
    assert_eq!(stages(Pndm::plms())?, [1, 2, 1, 1, 1, 1]);
    assert_eq!(flow.level(1.0)?.alpha(), 0.0);
    Ok(())
}

#[test]
fn a_step_whose_weights_overflow_is_of_first_order() -> Outcome {
    // e^h with h = 750 does not fit.
    let vp = VariancePreserving::new(0.1, 4e3)?;
    let grid = Grid::from_lambdas(&vp, &[-560.0, 190.0, 191.0, 192.0])?;
    let path = Path::new(&vp, &grid)?;
    let ddim = FirstOrder::ddim().plan(&path)?;
    let first = &ddim.steps()[0].stages[0].update;
    for solver in [Pndm::new(), Pndm::plms()] {
        let plan = solver.plan(&path)?;
        let [stage] = &plan.steps()[0].stages[..] else {
            return Err("more than one stage".into());
        };
        let update = &stage.update;
        assert_eq!((update.state, update.data), (first.state, first.data));
        assert!(update.history.is_empty());
    }
    Ok(())
}

//! DPM-Solver-1, -2, -3 and -fast against the published recurrences in ε.

use diffusion_sampler::{
    Error, Grid, NoiseLevel,
    posterior::Kappa,
    schedule::{LambdaRange, VariancePreserving},
    solver::{Dpm2, DpmFast, DpmSolverSinglestep, Path, Solver},
};

use crate::common::{Outcome, assert_close, denoise, normal, paths, states};

fn noise_estimate(x: f64, level: &NoiseLevel) -> f64 {
    (x - level.alpha() * denoise(x, level)) / level.sigma()
}

/// One step of k-diffusion's DPMSolver in x̂ = x/α, from `from` to ρ = `rho`.
fn step(
    order: usize,
    path: &Path<'_>,
    x: f64,
    (from, rho): (&NoiseLevel, f64),
) -> Result<f64, Error> {
    let y = x / from.alpha();
    let eps = noise_estimate(x, from);
    let h = -rho.ln() - from.lambda();
    let at = |r: f64| path.at_lambda(from.lambda() + r * h);
    // Below 1e-3 no step of these paths is: plain differences keep twelve digits.
    Ok(match order {
        1 => y - rho * h.exp_m1() * eps,
        2 => {
            let s1 = at(0.5)?;
            let u1 = y - s1.rho() * (0.5 * h).exp_m1() * eps;
            let e1 = noise_estimate(s1.alpha() * u1, &s1);
            y - rho * h.exp_m1() * eps - rho * h.exp_m1() * (e1 - eps)
        }
        _ => {
            let (r1, r2) = (1.0 / 3.0, 2.0 / 3.0);
            let (s1, s2) = (at(r1)?, at(r2)?);
            let u1 = y - s1.rho() * (r1 * h).exp_m1() * eps;
            let e1 = noise_estimate(s1.alpha() * u1, &s1);
            let u2 = y
                - s2.rho() * (r2 * h).exp_m1() * eps
                - s2.rho() * (r2 / r1) * ((r2 * h).exp_m1() / (r2 * h) - 1.0) * (e1 - eps);
            let e2 = noise_estimate(s2.alpha() * u2, &s2);
            y - rho * h.exp_m1() * eps - rho / r2 * (h.exp_m1() / h - 1.0) * (e2 - eps)
        }
    })
}

/// k-diffusion's dpm_solver_fast on the knots of a path, with these orders.
fn textbook(path: &Path<'_>, eta: f64, orders: &[usize]) -> Result<Vec<f64>, Error> {
    let knots = path.grid().levels();
    let last = knots.iter().rev().find(|knot| !knot.is_clean());
    let least = last.map_or(0.0, NoiseLevel::rho);
    let mut x = 0.7;
    let mut states = Vec::new();
    for (index, (from, to)) in path.edges().enumerate() {
        if to.is_clean() {
            x = to.alpha() * denoise(x, &from);
            states.push(x);
            continue;
        }
        let up = eta * to.rho() * (1.0 - (to.rho() / from.rho()).powi(2)).sqrt();
        let down = (to.rho() * to.rho() - up * up).sqrt().max(least);
        let up = (to.rho() * to.rho() - down * down).max(0.0).sqrt();
        let y = step(orders[index], path, x, (&from, down))?;
        let z = normal(index as u32, orders[index] as u8 - 1);
        x = to.alpha() * (y + up * z);
        states.push(x);
    }
    Ok(states)
}

#[test]
fn dpm_solvers_are_the_published_ones() -> Outcome {
    for clean in [true, false] {
        for steps in [1, 2, 5, 12] {
            for (schedule, grid) in paths(steps, clean)? {
                let path = Path::new(&schedule, &grid)?;
                for order in 1..=3 {
                    for eta in [0.0, 0.5, 1.0] {
                        let solver = DpmSolverSinglestep::order(order)?.with_kappa(Kappa::Eta(eta));
                        let ours = states(&path, &solver, 0.7)?;
                        let expected = textbook(&path, eta, &vec![order; steps])?;
                        let place = format!("{solver:?}, {schedule:?}, {steps}");
                        // Order 3 multiplies rounding by e^h: h is 7 at K = 1.
                        assert_close(&ours, &expected, 1e-10, &place);
                    }
                }
            }
        }
    }
    Ok(())
}

#[test]
fn dpm_fast_is_k_diffusions_for_every_number_of_evaluations() -> Outcome {
    let vp = VariancePreserving::default();
    for evaluations in 1..=17 {
        let steps = evaluations / 3 + 1;
        let orders = match evaluations % 3 {
            0 => [vec![3; steps - 2], vec![2, 1]].concat(),
            rest => [vec![3; steps - 1], vec![rest]].concat(),
        };
        assert_eq!(DpmFast::steps(evaluations), steps);
        assert_eq!(orders.iter().sum::<usize>(), evaluations);
        let range = LambdaRange::new(-3.0, 3.0)?;
        let grid = Grid::uniform_lambda(&vp, steps + 1, range)?.without_clean_end()?;
        let path = Path::new(&vp, &grid)?;
        for eta in [0.0, 0.7] {
            let solver = DpmFast::evaluations(evaluations)?.with_kappa(Kappa::Eta(eta));
            assert_eq!(solver.plan(&path)?.evaluations(), evaluations);
            let ours = states(&path, &solver, 0.7)?;
            let expected = textbook(&path, eta, &orders)?;
            assert_close(&ours, &expected, 1e-10, &format!("{evaluations}, {eta}"));
        }
        if evaluations % 3 == 0 {
            let solver = DpmFast::new();
            assert_eq!(
                solver.plan(&path)?,
                DpmFast::evaluations(evaluations)?.plan(&path)?
            );
        }
        assert!(matches!(
            DpmFast::evaluations(evaluations + 3)?.plan(&path),
            Err(Error::StepCount { steps: found, min, max }) if found == steps && min == max && max == steps + 1
        ));
    }
    Ok(())
}

#[test]
fn dpm_solver_2_is_dpm_2_and_bad_orders_are_errors() -> Outcome {
    for (schedule, grid) in paths(7, true)? {
        let path = Path::new(&schedule, &grid)?;
        let ours = states(&path, &DpmSolverSinglestep::order(2)?, 0.7)?;
        let other = states(&path, &Dpm2::new(), 0.7)?;
        assert_close(&ours, &other, 1e-13, "DPM-Solver-2");
    }
    for bad in [0, 4, usize::MAX] {
        assert!(matches!(
            DpmSolverSinglestep::order(bad),
            Err(Error::InvalidParameter { value, .. }) if value == bad as f64
        ));
    }
    assert!(DpmFast::evaluations(0).is_err());
    Ok(())
}

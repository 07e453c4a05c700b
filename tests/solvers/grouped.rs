//! Single-step solvers on the grid's own knots against diffusers' DPMSolverSinglestepScheduler.

use diffusion_sampler::{
    Grid, NoiseLevel,
    schedule::{LambdaRange, TableSchedule, VariancePreserving},
    solver::{GroupedSinglestep, Path, SecondOrderForm, Solver},
};

use crate::common::{Outcome, assert_close, denoise, paths, states};

/// diffusers' get_order_list, with what set_timesteps does to its flag.
fn order_list(order: usize, steps: usize, lower: bool, zero: bool) -> Vec<usize> {
    let lower = lower || !steps.is_multiple_of(order) || zero;
    let repeat = |pattern: &[usize], times: usize| pattern.repeat(times);
    let mut orders = match (order, lower) {
        (1, _) => vec![1; steps],
        (2, false) => repeat(&[1, 2], steps / 2),
        (2, true) if steps.is_multiple_of(2) => {
            [repeat(&[1, 2], steps / 2 - 1), vec![1, 1]].concat()
        }
        (2, true) => [repeat(&[1, 2], steps / 2), vec![1]].concat(),
        (_, false) => repeat(&[1, 2, 3], steps / 3),
        (_, true) => match steps % 3 {
            0 => [repeat(&[1, 2, 3], steps / 3 - 1), vec![1, 2, 1]].concat(),
            1 => [repeat(&[1, 2, 3], steps / 3), vec![1]].concat(),
            _ => [repeat(&[1, 2, 3], steps / 3), vec![1, 2]].concat(),
        },
    };
    if zero && let Some(last) = orders.last_mut() {
        *last = 1;
    }
    orders
}

/// The scheduler's updates, in the published variables.
fn textbook(path: &Path<'_>, orders: &[usize], (noise_form, exact): (bool, bool)) -> Vec<f64> {
    let knots = path.grid().levels();
    let output = |x: f64, level: &NoiseLevel| {
        let data = denoise(x, level);
        if noise_form {
            (x - level.alpha() * data) / level.sigma()
        } else {
            data
        }
    };
    let (mut x, mut sample) = (0.7, 0.7);
    let mut outputs: Vec<f64> = Vec::new();
    let mut states = Vec::new();
    for (i, &order) in orders.iter().enumerate() {
        outputs.push(output(x, &knots[i]));
        if order == 1 {
            sample = x;
        }
        let (to, start) = (&knots[i + 1], &knots[i + 1 - order]);
        let h = to.lambda() - start.lambda();
        let m = |back: usize| outputs[outputs.len() - 1 - back];
        let r = |knot: usize| (knots[knot].lambda() - start.lambda()) / h;
        // (factor of x, of D0, of D1, of D2): signs as in the source.
        let (a, b, c, d) = if to.is_clean() {
            (0.0, to.alpha(), 0.0, 0.0)
        } else if noise_form {
            let s = to.sigma();
            (
                to.alpha() / start.alpha(),
                -s * h.exp_m1(),
                -s * (h.exp_m1() / h - 1.0),
                -s * ((h.exp_m1() - h) / (h * h) - 0.5),
            )
        } else {
            let s = to.alpha();
            (
                to.sigma() / start.sigma(),
                -s * (-h).exp_m1(),
                s * ((-h).exp_m1() / h + 1.0),
                -s * (((-h).exp_m1() + h) / (h * h) - 0.5),
            )
        };
        x = match order {
            1 if to.is_clean() => to.alpha() * denoise(x, &knots[i]),
            1 => a * sample + b * m(0),
            2 => {
                let d1 = (m(0) - m(1)) / r(i);
                a * sample + b * m(1) + if exact { c } else { 0.5 * b } * d1
            }
            _ => {
                let (r0, r1) = (r(i), r(i - 1));
                let (d10, d11) = ((m(1) - m(2)) / r1, (m(0) - m(2)) / r0);
                let d1 = (r0 * d10 - r1 * d11) / (r0 - r1);
                let d2 = 2.0 * (d11 - d10) / (r0 - r1);
                let more = if exact { c * d1 + d * d2 } else { c * d11 };
                a * sample + b * m(2) + more
            }
        };
        states.push(x);
    }
    states
}

#[test]
fn grouped_solvers_are_diffusers() -> Outcome {
    let mut counts = [0; 3];
    for clean in [true, false] {
        for steps in [1, 2, 3, 4, 5, 6, 11, 12, 13] {
            for (schedule, grid) in paths(steps, clean)? {
                let path = Path::new(&schedule, &grid)?;
                for order in 1..=3 {
                    for (lower, noise_form, exact) in [
                        (false, false, false),
                        (true, false, false),
                        (false, false, true),
                        (false, true, false),
                        (true, true, true),
                    ] {
                        let mut solver = GroupedSinglestep::order(order)?;
                        if lower {
                            solver = solver.lower_order_final();
                        }
                        if noise_form {
                            solver = solver.in_noise_form();
                        }
                        if exact {
                            solver = solver.with_form(SecondOrderForm::Exact);
                        }
                        let orders = order_list(order, steps, lower, clean);
                        orders.iter().for_each(|order| counts[order - 1] += 1);
                        let ours = states(&path, &solver, 0.7)?;
                        let expected = textbook(&path, &orders, (noise_form, exact));
                        let place = format!("{solver:?}, {schedule:?}, {steps}");
                        assert_close(&ours, &expected, 1e-10, &place);
                    }
                }
            }
        }
    }
    assert!(counts.iter().all(|count| *count > 500), "{counts:?}");
    Ok(())
}

#[test]
fn a_group_ends_where_a_knot_is_too_near() -> Outcome {
    let vp = VariancePreserving::default();
    let read = |order: usize, lambdas: &[f64]| -> Result<Vec<usize>, Box<dyn std::error::Error>> {
        let grid = Grid::from_lambdas(&vp, lambdas)?;
        let plan = GroupedSinglestep::order(order)?.plan(&Path::new(&vp, &grid)?)?;
        for (_, weight) in plan.stages().flat_map(|stage| &stage.update.history) {
            assert!(weight.abs() < 10.0, "{weight}");
        }
        let reads = plan.stages().map(|stage| stage.update.history.len());
        Ok(reads.collect())
    };
    // After a tiny first edge the group starts anew; the next one where the list says so.
    let first = [-3.0, -3.0 + 1e-9, -2.0, -1.0, 0.0, 1.0, 2.0];
    assert_eq!(read(2, &first)?, [0, 0, 0, 1, 0, 1]);
    assert_eq!(read(3, &first)?, [0, 0, 1, 0, 1, 2]);
    // A tiny second edge spoils the third order only.
    let second = [-3.0, -2.0, -2.0 + 1e-9, -1.0, 0.0, 1.0, 2.0];
    assert_eq!(read(2, &second)?, [0, 1, 0, 1, 0, 1]);
    assert_eq!(read(3, &second)?, [0, 1, 0, 0, 1, 2]);
    Ok(())
}

#[test]
fn pure_noise_enters_no_group_and_bad_orders_are_errors() -> Outcome {
    let zero = TableSchedule::linear(1000, 1e-4, 0.02)?.zero_terminal_snr()?;
    let grid = Grid::trailing(&zero, 6)?;
    for order in [2, 3] {
        let plan = GroupedSinglestep::order(order)?.plan(&Path::new(&zero, &grid)?)?;
        let reads: Vec<usize> = plan.stages().map(|s| s.update.history.len()).collect();
        assert_eq!(reads[..2], [0, 0], "{reads:?}");
        assert_eq!(reads[5], 0);
        assert_eq!(plan.slots(), order - 1);
    }
    for bad in [0, 4] {
        assert!(GroupedSinglestep::order(bad).is_err());
    }
    // A step too wide for the weights of ε is first order.
    let vp = VariancePreserving::new(0.1, 4e3)?;
    let range = LambdaRange::new(-560.0, 200.0)?;
    let grid = Grid::uniform_lambda(&vp, 3, range)?.without_clean_end()?;
    let solver = GroupedSinglestep::order(2)?.in_noise_form();
    assert!(solver.plan(&Path::new(&vp, &grid)?).is_ok());
    Ok(())
}

#[test]
fn a_group_ends_at_a_knot_within_a_sixteenth_of_the_step() -> Outcome {
    let vp = VariancePreserving::default();
    for (first, joined) in [(0.9999 / 16.0, false), (1.0001 / 16.0, true)] {
        let grid = Grid::from_lambdas(&vp, &[-1.0, -1.0 + first, 0.0])?;
        let plan = GroupedSinglestep::order(2)?.plan(&Path::new(&vp, &grid)?)?;
        let update = &plan.steps()[1].stages[0].update;
        assert_eq!(update.history.len(), usize::from(joined), "{first}");
    }
    Ok(())
}

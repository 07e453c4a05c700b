//! Spacings in λ and ρ.

use diffusion_sampler::{
    Error, Grid, NoiseLevel,
    schedule::{
        Edm, LambdaRange, NoiseSchedule, RectifiedFlow, TableSchedule, VarianceExploding,
        VariancePreserving,
    },
};

use super::common::{Outcome, TABLE, is_sound};

/// A schedule and its range of λ.
type Bounded = (Box<dyn NoiseSchedule>, LambdaRange);

/// Schedules whose λ is bounded, with their ranges.
fn bounded() -> Result<Vec<Bounded>, Error> {
    let mut list: Vec<Bounded> = Vec::new();
    for table in [
        TableSchedule::linear(TABLE, 1e-4, 0.02)?,
        TableSchedule::cosine(TABLE)?,
    ] {
        let range = table.lambda_range();
        list.push((Box::new(table), range));
    }
    for (low, high) in [(0.002, 80.0), (0.03, 0.7), (0.29, 378.0)] {
        let edm = Edm::new(low, high)?;
        list.push((Box::new(edm), edm.lambda_range()));
        let ve = VarianceExploding::new(low, high)?;
        list.push((Box::new(ve), ve.lambda_range()));
    }
    let vp = VariancePreserving::default();
    list.push((Box::new(vp), LambdaRange::of_times(&vp, 1.0, 1e-3)?));
    let flow = RectifiedFlow::shifted(3.0)?;
    list.push((Box::new(flow), LambdaRange::of_times(&flow, 0.999, 1e-3)?));
    Ok(list)
}

#[test]
fn ramps_have_every_number_of_steps_hit_both_ends_and_follow_their_formula() -> Outcome {
    for (schedule, range) in bounded()? {
        let schedule = &*schedule;
        let (noisy, clean) = (range.noisy(), range.clean());
        for steps in (1..=60).chain([99, 100, 250, 999, 1000]) {
            let lambda = |u: f64| noisy + (clean - noisy) * u;
            let karras = |p: f64, u: f64| {
                let (a, b) = ((-noisy / p).exp(), (-clean / p).exp());
                -p * (a + (b - a) * u).ln()
            };
            let ramps: [(Grid, &dyn Fn(f64) -> f64); 4] = [
                (Grid::uniform_lambda(schedule, steps, range)?, &lambda),
                (Grid::karras(schedule, steps, range, 7.0)?, &|u| {
                    karras(7.0, u)
                }),
                (Grid::karras(schedule, steps, range, 3.0)?, &|u| {
                    karras(3.0, u)
                }),
                (Grid::exponential(schedule, steps, range, 1.5)?, &|u| {
                    clean - (clean - noisy) * (1.0 - u).powf(1.5)
                }),
            ];
            for (grid, formula) in ramps {
                is_sound(&grid, steps);
                // Through the schedule's time, which near t = 1 is known to 1e-16 of 1 − t.
                assert!((grid.start().lambda() - noisy).abs() < 5e-13);
                if steps > 1 {
                    let end = grid.levels()[steps - 1].lambda();
                    assert!(
                        (end - clean).abs() < 1e-13 * (1.0 + clean.abs()),
                        "{end} {clean}"
                    );
                }
                for (k, level) in grid.levels()[..steps].iter().enumerate() {
                    let u = k as f64 / (steps - 1).max(1) as f64;
                    let expected = formula(u);
                    let error = (level.lambda() - expected).abs();
                    assert!(
                        error < 2e-12,
                        "{schedule:?}, K = {steps}, k = {k}: {error:e}"
                    );
                }
            }
        }
    }
    Ok(())
}

#[test]
fn ramps_over_a_schedules_own_range_start_at_its_last_time_exactly() -> Outcome {
    for (schedule, range) in bounded()? {
        if range != schedule.lambda_range() {
            continue;
        }
        for steps in [1usize, 2, 18, 1000] {
            for grid in [
                Grid::uniform_lambda(&*schedule, steps, range)?,
                Grid::karras(&*schedule, steps, range, 7.0)?,
            ] {
                assert_eq!(grid.start(), schedule.level(schedule.last_time())?);
                let last = &grid.levels()[steps - 1];
                if steps > 1 {
                    assert_eq!(last.lambda(), range.clean());
                    if schedule.table_len().is_some() {
                        assert_eq!(last.time(), 1.0);
                    }
                }
            }
        }
    }
    Ok(())
}

#[test]
fn edm_with_18_steps_has_the_noise_levels_of_the_papers_formula() -> Outcome {
    // σ_i = (σ_max^(1/7) + i/17 (σ_min^(1/7) − σ_max^(1/7)))^7 for i < 18, σ_18 = 0.
    let edm = Edm::default();
    let grid = Grid::karras(&edm, 18, edm.lambda_range(), 7.0)?;
    let root = |sigma: f64| sigma.powf(1.0 / 7.0);
    for (i, level) in grid.levels()[..18].iter().enumerate() {
        let sigma = (root(80.0) + i as f64 / 17.0 * (root(0.002) - root(80.0))).powi(7);
        assert!((level.sigma() / sigma - 1.0).abs() < 1e-13, "{i}: {sigma}");
    }
    assert_eq!(
        (grid.start().sigma(), grid.levels()[17].sigma()),
        (80.0, 0.002)
    );
    assert_eq!(grid.levels()[18], NoiseLevel::clean());
    assert_eq!(grid.start_variance(), 6400.0);
    Ok(())
}

#[test]
fn ramps_take_any_positive_exponent_or_say_that_knots_coincide() -> Outcome {
    let edm = Edm::default();
    let range = edm.lambda_range();
    for exponent in [1e-3, 0.1, 1.0, 1e6, 1e300] {
        match Grid::karras(&edm, 10, range, exponent) {
            Ok(grid) => is_sound(&grid, 10),
            Err(Error::NoiseNotDecreasing {
                knot,
                lambda_before,
                lambda,
            }) => {
                assert!(exponent < 0.1, "exponent {exponent}");
                assert!(knot > 0 && lambda <= lambda_before);
            }
            Err(other) => return Err(format!("exponent {exponent}: {other}").into()),
        }
    }
    // The limit of a large exponent is uniform in λ.
    let (large, uniform) = (
        Grid::karras(&edm, 10, range, 1e9)?,
        Grid::uniform_lambda(&edm, 10, range)?,
    );
    for (a, b) in large.levels()[..10].iter().zip(uniform.levels()) {
        assert!((a.lambda() - b.lambda()).abs() < 1e-7);
    }
    for asked in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        for refused in [
            Grid::karras(&edm, 10, range, asked),
            Grid::exponential(&edm, 10, range, asked),
        ] {
            match refused {
                Err(Error::InvalidParameter { value, .. }) => {
                    assert_eq!(value.to_bits(), asked.to_bits());
                }
                other => return Err(format!("{other:?}").into()),
            }
        }
    }
    Ok(())
}

#[test]
fn unbounded_lambda_needs_an_explicit_cut() -> Outcome {
    let zero = TableSchedule::linear(TABLE, 1e-4, 0.02)?.zero_terminal_snr()?;
    let (vp, flow) = (VariancePreserving::default(), RectifiedFlow::new());
    let schedules: [&dyn NoiseSchedule; 3] = [&zero, &vp, &flow];
    for schedule in schedules {
        let range = schedule.lambda_range();
        for refused in [
            Grid::uniform_lambda(schedule, 5, range),
            Grid::karras(schedule, 5, range, 7.0),
            Grid::exponential(schedule, 5, range, 2.0),
        ] {
            assert_eq!(
                refused,
                Err(Error::UnboundedLambda {
                    noisy: range.noisy(),
                    clean: range.clean()
                })
            );
        }
        is_sound(
            &Grid::uniform_lambda(schedule, 5, LambdaRange::new(-3.0, 4.0)?)?,
            5,
        );
        assert!(matches!(
            Grid::uniform_lambda(schedule, 0, range),
            Err(Error::StepCount {
                steps: 0,
                min: 1,
                ..
            })
        ));
        assert!(matches!(
            Grid::uniform_lambda(schedule, usize::MAX, LambdaRange::new(-3.0, 4.0)?),
            Err(Error::StepCount {
                steps: usize::MAX,
                min: 1,
                ..
            })
        ));
    }
    // A cut beyond what the schedule reaches.
    let edm = Edm::default();
    match Grid::uniform_lambda(&edm, 5, LambdaRange::new(-5.0, 4.0)?) {
        Err(Error::LambdaOutOfRange {
            lambda,
            noisy,
            clean: _,
        }) => {
            assert_eq!((lambda, noisy), (-5.0, edm.lambda_range().noisy()));
        }
        other => return Err(format!("{other:?}").into()),
    }
    Ok(())
}

#[test]
fn a_schedules_own_rho_is_always_one_of_its_grid() -> Outcome {
    // ln(σ/α) of a level's own numbers can round past the end that its logarithms give.
    for steps in 2..400 {
        for schedule in [
            TableSchedule::linear(steps, 1e-4, 0.02)?,
            TableSchedule::scaled_linear(steps, 0.00085, 0.012)?,
            TableSchedule::cosine(steps)?,
        ] {
            let last = schedule.level(steps as f64)?;
            let grid = Grid::from_rhos(&schedule, &[last.rho(), 0.0])?;
            assert_eq!(grid.start(), last);
        }
    }
    for beta in 1..500 {
        let schedule = VariancePreserving::new(0.1, f64::from(beta))?;
        let last = schedule.level(1.0)?;
        let grid = Grid::from_rhos(&schedule, &[last.rho(), 0.0])?;
        assert_eq!(grid.start(), last);
    }
    Ok(())
}

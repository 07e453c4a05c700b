//! Lists of times, λ, ρ and levels, and grids with other ends.

use diffusion_sampler::{
    Error, Grid, NoiseLevel,
    schedule::{Edm, NoiseSchedule, TableSchedule, VarianceExploding},
};

use super::common::{Outcome, TABLE, is_sound, tables, times};

#[test]
fn a_start_between_two_knots_is_hit_exactly() -> Outcome {
    for schedule in tables()? {
        for steps in [1usize, 7, 50, 1000] {
            let grid = Grid::trailing(&schedule, steps)?;
            for time in [999.9, 700.3, 500.0, 333.25, 0.01] {
                let start = schedule.level(time)?;
                let part = grid.clone().starting_at(&schedule, start)?;
                assert_eq!(part.start(), start);
                let below: Vec<_> = grid
                    .levels()
                    .iter()
                    .filter(|level| level.time() < time)
                    .copied()
                    .collect();
                assert_eq!(part.levels()[1..], below);
                is_sound(&part, below.len());
                assert_eq!(part.start_variance(), schedule.start_variance(&start));
            }
            assert_eq!(
                grid.clone().starting_at(&schedule, NoiseLevel::clean()),
                Err(Error::StepCount {
                    steps: 0,
                    min: 1,
                    max: usize::MAX
                })
            );
        }
    }
    Ok(())
}

#[test]
fn a_grid_can_end_at_knot_1_and_nowhere_above_the_knot_before() -> Outcome {
    let schedule = TableSchedule::scaled_linear(TABLE, 0.00085, 0.012)?;
    let grid = Grid::leading(&schedule, 50, 1)?;
    let knot = schedule.level(1.0)?;
    let ended = grid.clone().ending_at(knot)?;
    assert_eq!((ended.end(), ended.steps()), (knot, 50));
    assert_eq!(ended.levels()[..50], grid.levels()[..50]);
    let before = grid.levels()[49];
    for refused in [before, schedule.level(900.0)?] {
        assert_eq!(
            grid.clone().ending_at(refused),
            Err(Error::EndNotBelow {
                before: before.time(),
                end: refused.time(),
            })
        );
    }
    Ok(())
}

#[test]
fn lists_of_times_lambdas_and_rhos_are_taken_as_given() -> Outcome {
    let schedule = TableSchedule::linear(TABLE, 1e-4, 0.02)?;
    let list = [1000.0, 730.5, 12.25, 1.0, 0.0];
    let grid = Grid::from_times(&schedule, &list)?;
    assert_eq!(times(&grid), list);
    let lambdas: Vec<f64> = grid.levels().iter().map(NoiseLevel::lambda).collect();
    let rhos: Vec<f64> = grid.levels().iter().map(NoiseLevel::rho).collect();
    for (found, tolerance) in [
        (Grid::from_lambdas(&schedule, &lambdas)?, 1e-11),
        (Grid::from_rhos(&schedule, &rhos)?, 1e-11),
    ] {
        is_sound(&found, 4);
        for (a, b) in found.levels().iter().zip(grid.levels()) {
            assert!(
                (a.time() - b.time()).abs() < tolerance,
                "{} {}",
                a.time(),
                b.time()
            );
        }
    }
    let edm = Edm::default();
    let grid = Grid::from_rhos(&edm, &[80.0, 3.0, 0.1, 0.0])?;
    for (level, sigma) in grid.levels().iter().zip([80.0, 3.0, 0.1, 0.0]) {
        assert!((level.sigma() - sigma).abs() <= 1e-15 * sigma);
    }
    let ve = VarianceExploding::new(0.01, 50.0)?;
    is_sound(&Grid::from_rhos(&ve, &[50.0, 0.01, 0.0])?, 2);
    Ok(())
}

#[test]
fn bad_lists_are_refused_with_the_place_and_the_value() -> Outcome {
    let schedule = TableSchedule::linear(TABLE, 1e-4, 0.02)?;
    for (list, place) in [
        (vec![500.0, 500.0, 0.0], 1),
        (vec![500.0, 400.0, 400.0, 0.0], 2),
        (vec![10.0, 20.0], 1),
        (vec![10.0, 0.0, 0.0], 2),
    ] {
        match Grid::from_times(&schedule, &list) {
            Err(Error::NoiseNotDecreasing {
                knot,
                lambda_before,
                lambda,
            }) => {
                assert_eq!(knot, place);
                assert_eq!(lambda_before, schedule.level(list[place - 1])?.lambda());
                assert_eq!(lambda, schedule.level(list[place])?.lambda());
            }
            other => return Err(format!("{list:?}: {other:?}").into()),
        }
    }
    for (list, count) in [(vec![], 0), (vec![500.0], 0)] {
        let refused = Error::StepCount {
            steps: count,
            min: 1,
            max: usize::MAX,
        };
        assert_eq!(Grid::from_times(&schedule, &list), Err(refused.clone()));
        assert_eq!(
            Grid::from_lambdas(&schedule, &vec![0.0; list.len()]),
            Err(refused.clone())
        );
        assert_eq!(
            Grid::from_rhos(&schedule, &vec![1.0; list.len()]),
            Err(refused)
        );
    }
    for bad in [f64::NAN, -1.0, 1000.5, f64::INFINITY] {
        assert!(matches!(
            Grid::from_times(&schedule, &[1000.0, bad]),
            Err(Error::TimeOutOfRange { time, last: 1000.0 }) if time.to_bits() == bad.to_bits()
        ));
    }
    for bad in [f64::NAN, -100.0, f64::NEG_INFINITY] {
        assert!(matches!(
            Grid::from_lambdas(&schedule, &[bad, 0.0]),
            Err(Error::LambdaOutOfRange { lambda, .. }) if lambda.to_bits() == bad.to_bits()
        ));
    }
    for bad in [f64::NAN, -1.0, f64::NEG_INFINITY] {
        assert!(matches!(
            Grid::from_rhos(&schedule, &[3.0, bad]),
            Err(Error::InvalidEntry { name: "rhos", index: 1, value, .. })
                if value.to_bits() == bad.to_bits()
        ));
    }
    for bad in [f64::NAN, -1.0, f64::INFINITY] {
        assert!(matches!(
            Grid::from_levels(vec![schedule.level(9.0)?, NoiseLevel::clean()], bad),
            Err(Error::InvalidParameter { name: "start_variance", value, .. })
                if value.to_bits() == bad.to_bits()
        ));
    }
    Ok(())
}

//! Grids cut and joined, lists of network indices, and starts within rounding of a knot.

use std::error::Error as StdError;

use diffusion_sampler::{
    Error, Grid, NoiseLevel,
    posterior::{Kappa, StridedPosterior},
    schedule::{Edm, NoiseSchedule, RectifiedFlow, TableSchedule, VarianceExploding},
};

type Outcome = Result<(), Box<dyn StdError>>;

fn table() -> Result<TableSchedule, Error> {
    TableSchedule::linear(1000, 1e-4, 0.02)
}

#[test]
fn a_start_within_rounding_of_a_knot_is_that_knot() -> Outcome {
    let flow = RectifiedFlow::new();
    let grid = Grid::trailing(&flow, 10)?;
    for k in 1..10 {
        let exact = grid.levels()[10 - k];
        // Sums of tenths, products with tenths and their neighbours in f64.
        let sum: f64 = (0..k).map(|_| 0.1).sum();
        let product = 0.1 * k as f64;
        for time in [sum, product, product.next_up(), product.next_down()] {
            let part = grid.clone().starting_at(&flow, flow.level(time)?)?;
            assert_eq!(part.start(), exact, "start at {time}");
            assert_eq!(part.levels(), &grid.levels()[10 - k..]);
        }
    }
    let table = table()?;
    let grid = Grid::trailing(&table, 10)?;
    for time in [700.0000000001, 699.9999999999] {
        let part = grid.clone().starting_at(&table, table.level(time)?)?;
        assert_eq!(part.levels(), &grid.levels()[3..], "start at {time}");
    }
    // The same way round through λ and back.
    for knot in &grid.levels()[..10] {
        let again = table.level(table.time_of_lambda(knot.lambda())?)?;
        assert_eq!(grid.clone().starting_at(&table, again)?.start(), *knot);
    }
    Ok(())
}

#[test]
fn a_start_a_millionth_above_a_knot_is_a_knot_of_its_own() -> Outcome {
    let (flow, table) = (RectifiedFlow::new(), table()?);
    for (schedule, scale) in [(&flow as &dyn NoiseSchedule, 1.0), (&table, 1000.0)] {
        let grid = Grid::trailing(schedule, 10)?;
        for k in 1..10 {
            let knot = grid.levels()[10 - k];
            for offset in [1e-6, -1e-6] {
                let start = schedule.level(knot.time() + offset)?;
                let part = grid.clone().starting_at(schedule, start)?;
                assert_eq!(part.start(), start, "scale {scale}");
                assert_eq!(part.steps(), if offset > 0.0 { k + 1 } else { k });
            }
        }
    }
    Ok(())
}

#[test]
fn a_start_at_pure_noise_or_at_the_end_is_no_special_case() -> Outcome {
    let flow = RectifiedFlow::new();
    let grid = Grid::trailing(&flow, 10)?;
    assert_eq!(grid.clone().starting_at(&flow, flow.level(1.0)?)?, grid);
    let open = grid.without_clean_end()?;
    assert_eq!(
        open.clone().starting_at(&flow, open.end()),
        Err(Error::StepCount {
            steps: 0,
            min: 1,
            max: usize::MAX
        })
    );
    Ok(())
}

#[test]
fn sections_keep_their_knots_and_the_initial_variance_of_the_schedule() -> Outcome {
    let (edm, exploding) = (Edm::default(), VarianceExploding::new(0.01, 50.0)?);
    for schedule in [&edm as &dyn NoiseSchedule, &exploding, &table()?] {
        let grid = Grid::trailing(schedule, 12)?;
        for start in 0..12 {
            for end in start + 1..=12 {
                let part = grid.section(start..end)?;
                assert_eq!(part.levels(), &grid.levels()[start..=end]);
                let expected = schedule.start_variance(&grid.levels()[start]);
                assert_eq!(part.start_variance(), expected);
                if start > 0 {
                    assert_eq!(
                        grid.section(0..start)?.then(&grid.section(start..12)?)?,
                        grid
                    );
                }
            }
        }
        for (start, end) in [(0, 0), (3, 3), (5, 4), (0, 13), (12, 13), (usize::MAX, 0)] {
            assert_eq!(
                grid.section(start..end),
                Err(Error::SectionOutOfRange {
                    start,
                    end,
                    steps: 12
                })
            );
        }
    }
    Ok(())
}

#[test]
fn grids_that_do_not_meet_are_not_joined() -> Outcome {
    let table = table()?;
    let grid = Grid::trailing(&table, 10)?;
    let (noisy, clean) = (grid.section(0..3)?, grid.section(4..10)?);
    assert_eq!(
        noisy.then(&clean),
        Err(Error::EdgesDoNotMeet {
            end: 700.0,
            start: 600.0
        })
    );
    // A finer grid below, of another spacing.
    let fine = Grid::quadratic(&table, 20)?.starting_at(&table, table.level(700.0)?)?;
    let joined = noisy.then(&fine)?;
    assert_eq!(joined.steps(), 3 + fine.steps());
    assert_eq!(joined.levels()[3..], fine.levels()[..]);
    Ok(())
}

#[test]
fn a_grid_without_its_clean_end_stops_one_knot_earlier() -> Outcome {
    let table = table()?;
    let grid = Grid::leading(&table, 20, 1)?;
    let open = grid.without_clean_end()?;
    assert_eq!(open.levels(), &grid.levels()[..20]);
    assert_eq!(open.without_clean_end()?, open);
    assert!(matches!(
        Grid::trailing(&table, 1)?.without_clean_end(),
        Err(Error::StepCount { steps: 0, .. })
    ));
    Ok(())
}

#[test]
fn indices_of_other_libraries_are_taken_as_the_network_sees_them() -> Outcome {
    let table = table()?;
    let list = [999.0, 500.25, 12.0, 0.0];
    let grid = Grid::from_indices(&table, &list)?;
    assert_eq!(grid.steps(), 4);
    for (level, index) in grid.levels().iter().zip(list) {
        assert_eq!(level.model_time(), index);
        assert!((level.time() - index - 1.0).abs() < 1e-3);
    }
    assert!(grid.end().is_clean());
    assert_eq!(
        Grid::from_indices(&table, &[951.0, 901.0])?.levels()[..2],
        [table.level(952.0)?, table.level(902.0)?]
    );
    for (at, bad) in [(0, 999.5), (1, -1.0), (2, f64::NAN), (3, -0.5)] {
        let mut list = list;
        list[at] = bad;
        match Grid::from_indices(&table, &list) {
            Err(Error::InvalidEntry {
                name: "indices",
                index,
                value,
                ..
            }) => assert_eq!((index, value.to_bits()), (at, bad.to_bits())),
            other => return Err(format!("{other:?}").into()),
        }
    }
    assert!(matches!(
        Grid::from_indices(&table, &[5.0, 5.0]),
        Err(Error::NoiseNotDecreasing { knot: 1, .. })
    ));
    assert_eq!(
        Grid::from_indices(&table, &[]),
        Err(Error::EmptyList { name: "indices" })
    );
    assert!(matches!(
        Grid::from_indices(&Edm::default(), &[1.0]),
        Err(Error::SpacingNeedsTable { .. })
    ));
    Ok(())
}

#[test]
fn rounded_model_times_change_nothing_else() -> Outcome {
    let table = table()?;
    let grid = Grid::from_indices(&table, &[998.5, 500.5, 12.3, 0.7])?;
    let rounded = grid.clone().with_rounded_model_times();
    let seen: Vec<f64> = rounded.into_iter().map(NoiseLevel::model_time).collect();
    assert_eq!(seen, [998.0, 500.0, 12.0, 1.0, 0.0]);
    for (a, b) in grid.into_iter().zip(&rounded) {
        assert_eq!(*a, b.with_model_time(a.model_time()));
    }
    Ok(())
}

#[test]
fn edges_are_the_neighbouring_knots() -> Outcome {
    let grid = Grid::trailing(&table()?, 7)?;
    let edges: Vec<_> = grid.edges().collect();
    assert_eq!(edges.len(), grid.steps());
    for (pair, edge) in grid.levels().windows(2).zip(edges) {
        assert_eq!((pair[0], pair[1]), edge);
    }
    assert_eq!(
        grid.edges().next_back(),
        Some((grid.levels()[6], grid.end()))
    );
    assert_eq!(grid.to_string().lines().count(), 9);
    Ok(())
}

#[test]
fn a_grid_refuses_the_levels_that_a_solver_would_refuse() -> Outcome {
    // σ underflows: the level is clean, in σ and in λ, and the next one cannot have less noise.
    let underflow = NoiseLevel::from_logs(1.0, 0.0, -800.0)?;
    assert!(underflow.is_clean() && underflow.lambda() == f64::INFINITY);
    let noisy = NoiseLevel::new(2.0, 1.0, 1.0)?;
    assert!(matches!(
        Grid::from_levels(vec![noisy, underflow, NoiseLevel::clean()], 1.0),
        Err(Error::NoiseNotDecreasing { knot: 2, .. })
    ));
    // σ_s/σ_t overflows: no solver has a coefficient for that.
    let (t, s) = (
        NoiseLevel::new(2.0, 0.0, 1e-200)?,
        NoiseLevel::new(1.0, 1.0, 1e200)?,
    );
    for refused in [
        Grid::from_levels(vec![t, s], 1.0).map(drop),
        StridedPosterior::new(t, s, Kappa::Ddim).map(drop),
    ] {
        assert!(
            matches!(
                refused,
                Err(Error::EdgeOverflow {
                    coefficient: "state",
                    from: 2.0,
                    to: 1.0,
                    ..
                })
            ),
            "{refused:?}"
        );
    }
    Ok(())
}

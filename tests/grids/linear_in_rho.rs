//! Network indices between knots with ρ linear, and spacings that leave the least index out.

use diffusion_sampler::{
    Error, Grid,
    schedule::{NoiseSchedule, RectifiedFlow, Sublevels, TableSchedule},
};

use super::common::{Outcome, TABLE, is_sound, tables};

/// numpy's `interp` over the table's ρ, at an index.
fn interpolated(rhos: &[f64], index: f64) -> f64 {
    let below = index as usize;
    match rhos.get(below + 1) {
        Some(high) => (high - rhos[below]) * (index - below as f64) + rhos[below],
        None => rhos[below],
    }
}

fn rhos(table: &TableSchedule) -> Result<Vec<f64>, Error> {
    let rho = |knot: usize| Ok(table.level(knot as f64)?.rho());
    (1..=TABLE).map(rho).collect()
}

fn indices(grid: &Grid) -> Vec<f64> {
    grid.edges().map(|(from, _)| from.model_time()).collect()
}

#[test]
fn unrounded_linspace_is_numpys_interpolation_of_rho() -> Outcome {
    for table in [
        TableSchedule::linear(TABLE, 1e-4, 0.02)?,
        TableSchedule::scaled_linear(TABLE, 0.00085, 0.012)?,
        TableSchedule::cosine(TABLE)?,
    ] {
        let rhos = rhos(&table)?;
        for steps in (2..=60).chain([333, 999, 1000]) {
            let grid = Grid::linspace_linear_in_rho(&table, steps)?;
            is_sound(&grid, steps);
            let step = 999.0 / (steps - 1) as f64;
            for (k, (from, _)) in grid.edges().enumerate() {
                let place = steps - 1 - k;
                // The index to the bit: numpy multiplies, the last is exact.
                let index = if k == 0 { 999.0 } else { place as f64 * step };
                assert_eq!(from.model_time(), index);
                let expected = interpolated(&rhos, index);
                assert!(
                    (from.rho() / expected - 1.0).abs() < 2e-11,
                    "{k} of {steps}"
                );
            }
        }
    }
    Ok(())
}

#[test]
fn halfway_between_two_knots_rho_is_their_mean() -> Outcome {
    // Index 0.5 of Stable Diffusion's table, where the two interpolations differ most.
    let table = TableSchedule::scaled_linear(TABLE, 0.00085, 0.012)?;
    let (low, high) = (table.level(1.0)?.rho(), table.level(2.0)?.rho());
    let in_rho = Grid::from_indices_linear_in_rho(&table, &[0.5])?.start();
    let in_lambda = Grid::from_indices(&table, &[0.5])?.start();
    assert!((in_rho.rho() - 0.5 * (low + high)).abs() < 1e-15);
    assert!((in_lambda.rho() - (low * high).sqrt()).abs() < 1e-15);
    assert!(in_rho.rho() - in_lambda.rho() > 1e-4);
    assert_eq!((in_rho.model_time(), in_lambda.model_time()), (0.5, 0.5));
    Ok(())
}

#[test]
fn at_knots_and_at_an_infinite_rho_both_interpolations_agree() -> Outcome {
    let whole = [999.0, 998.0, 500.0, 3.0, 0.0];
    for table in tables()? {
        assert_eq!(
            Grid::from_indices_linear_in_rho(&table, &whole)?,
            Grid::from_indices(&table, &whole)?
        );
    }
    let zero = TableSchedule::linear(TABLE, 1e-4, 0.02)?.zero_terminal_snr()?;
    assert_eq!(
        Grid::from_indices_linear_in_rho(&zero, &[998.25, 0.0])?,
        Grid::from_indices(&zero, &[998.25, 0.0])?
    );
    // The knots of sub-levels have their own times, and keep them.
    let flow = Sublevels::of(RectifiedFlow::new(), 10)?;
    let level = Grid::from_indices_linear_in_rho(&flow, &[3.5])?.start();
    // ρ of σ = 0.4 and 0.5 are 2/3 and 1: the mean is σ = 5/11.
    assert!((level.sigma() - 5.0 / 11.0).abs() < 1e-15);
    assert_eq!(level.model_time(), level.sigma());
    Ok(())
}

#[test]
fn spacings_without_their_least_index_are_the_lists_of_the_library() -> Outcome {
    let table = TableSchedule::linear(TABLE, 1e-4, 0.02)?;
    for steps in 1..TABLE {
        let grid = Grid::linspace_without_least(&table, steps)?;
        is_sound(&grid, steps);
        let step = 999.0 / steps as f64;
        let list: Vec<f64> = (1..=steps)
            .rev()
            .map(|k| {
                if k == steps {
                    999.0
                } else {
                    (k as f64 * step).round_ties_even()
                }
            })
            .collect();
        assert_eq!(indices(&grid), list, "{steps}");
        for offset in [0, 1] {
            let ratio = TABLE / (steps + 1);
            let list: Vec<f64> = (1..=steps)
                .rev()
                .map(|k| (k * ratio + offset) as f64)
                .collect();
            match Grid::leading_without_least(&table, steps, offset) {
                Ok(grid) => {
                    is_sound(&grid, steps);
                    assert_eq!(indices(&grid), list);
                }
                Err(error) => {
                    assert!(list[0] > 999.0, "{steps}, {offset}: {error}");
                    assert!(
                        matches!(error, Error::SpacingImpossible { knot, .. } if knot == list[0] + 1.0)
                    );
                }
            }
        }
    }
    // diffusers 0.42.1, UniPC, 10 steps.
    let linspace = [
        999.0, 899.0, 799.0, 699.0, 599.0, 500.0, 400.0, 300.0, 200.0, 100.0,
    ];
    assert_eq!(
        indices(&Grid::linspace_without_least(&table, 10)?),
        linspace
    );
    let leading = [
        901.0, 811.0, 721.0, 631.0, 541.0, 451.0, 361.0, 271.0, 181.0, 91.0,
    ];
    assert_eq!(
        indices(&Grid::leading_without_least(&table, 10, 1)?),
        leading
    );
    Ok(())
}

#[test]
fn what_has_no_such_indices_is_refused() -> Outcome {
    let table = TableSchedule::linear(TABLE, 1e-4, 0.02)?;
    for steps in [0, TABLE, usize::MAX] {
        for refused in [
            Grid::linspace_without_least(&table, steps),
            Grid::leading_without_least(&table, steps, 0),
        ] {
            assert!(
                matches!(refused, Err(Error::StepCount { steps: found, min: 1, .. }) if found == steps)
            );
        }
    }
    assert!(matches!(
        Grid::linspace_linear_in_rho(&table, 1),
        Err(Error::StepCount { min: 2, .. })
    ));
    let flow = RectifiedFlow::new();
    for refused in [
        Grid::linspace_without_least(&flow, 4),
        Grid::leading_without_least(&flow, 4, 0),
        Grid::linspace_linear_in_rho(&flow, 4),
        Grid::from_indices_linear_in_rho(&flow, &[4.0]),
    ] {
        assert!(matches!(refused, Err(Error::SpacingNeedsTable { .. })));
    }
    assert!(matches!(
        Grid::from_indices_linear_in_rho(&table, &[]),
        Err(Error::EmptyList { name: "indices" })
    ));
    for (list, place) in [(vec![999.5], 0), (vec![3.0, -0.5], 1), (vec![f64::NAN], 0)] {
        assert!(matches!(
            Grid::from_indices_linear_in_rho(&table, &list),
            Err(Error::InvalidEntry { index, .. }) if index == place
        ));
    }
    assert!(matches!(
        Grid::from_indices_linear_in_rho(&table, &[5.0, 5.0]),
        Err(Error::NoiseNotDecreasing { knot: 1, .. })
    ));
    Ok(())
}

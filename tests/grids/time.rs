//! Spacings in time and in indices at every number of steps, against independent formulas in
//! integers.

use diffusion_sampler::{
    Error, Grid, NoiseLevel,
    schedule::{
        Edm, LambdaRange, NoiseSchedule, RectifiedFlow, TableSchedule, VarianceExploding,
        VariancePreserving,
    },
};

use super::common::{Outcome, TABLE, is_sound, tables, times};

/// A grid by its number of steps.
type Constructor<'a> = &'a dyn Fn(usize) -> Result<Grid, Error>;

/// numerator/denominator rounded to the nearest integer, ties to even.
fn half_even(numerator: u64, denominator: u64) -> u64 {
    let (quotient, rest) = (numerator / denominator, numerator % denominator);
    match (2 * rest).cmp(&denominator) {
        std::cmp::Ordering::Less => quotient,
        std::cmp::Ordering::Greater => quotient + 1,
        std::cmp::Ordering::Equal => quotient + quotient % 2,
    }
}

/// The same, ties upwards.
fn half_up(numerator: u64, denominator: u64) -> u64 {
    (2 * numerator + denominator) / (2 * denominator)
}

#[test]
fn trailing_is_the_half_even_division_at_every_number_of_steps() -> Outcome {
    for schedule in tables()? {
        let mut ties = 0;
        for steps in 1..=TABLE {
            let grid = Grid::trailing(&schedule, steps)?;
            is_sound(&grid, steps);
            let products = || (0..=steps).rev().map(|left| (TABLE * left) as u64);
            let expected: Vec<u64> = products().map(|p| half_even(p, steps as u64)).collect();
            let found: Vec<u64> = times(&grid).iter().map(|t| *t as u64).collect();
            assert_eq!(found, expected, "K = {steps}");
            let away: Vec<u64> = products().map(|p| half_up(p, steps as u64)).collect();
            ties += usize::from(expected != away);
        }
        assert_eq!(ties, 62, "numbers of steps for which the tie rule matters");
    }
    Ok(())
}

#[test]
fn leading_is_the_integer_ratio_at_every_number_of_steps() -> Outcome {
    for schedule in tables()? {
        for offset in [0usize, 1, 7] {
            for steps in 1..=TABLE {
                let ratio = TABLE / steps;
                let expected: Vec<usize> = (0..steps).rev().map(|k| k * ratio + offset).collect();
                match Grid::leading(&schedule, steps, offset) {
                    Ok(grid) => {
                        is_sound(&grid, steps);
                        let indices: Vec<usize> = grid.levels()[..steps]
                            .iter()
                            .map(|level| level.model_time() as usize)
                            .collect();
                        assert_eq!(indices, expected, "K = {steps}");
                        assert!(expected[0] < TABLE);
                    }
                    Err(Error::SpacingImpossible {
                        spacing: "leading",
                        steps: asked,
                        table: TABLE,
                        knot,
                    }) => {
                        assert_eq!(asked, steps);
                        assert_eq!(knot, (expected[0] + 1) as f64);
                        assert!(expected[0] >= TABLE, "refused without need at {steps}");
                    }
                    Err(other) => return Err(format!("K = {steps}: {other}").into()),
                }
            }
        }
        assert!(Grid::leading(&schedule, TABLE, 0).is_ok());
        assert!(Grid::leading(&schedule, TABLE, 1).is_err());
        assert!(Grid::leading(&schedule, 2, usize::MAX).is_err());
    }
    Ok(())
}

#[test]
fn linspace_is_the_half_even_division_at_every_number_of_steps_but_1() -> Outcome {
    for schedule in tables()? {
        for steps in 2..=TABLE {
            let grid = Grid::linspace(&schedule, steps)?;
            is_sound(&grid, steps);
            assert_eq!(
                (grid.start().time(), grid.levels()[steps - 1].time()),
                (1000.0, 1.0)
            );
            let intervals = (steps - 1) as u64;
            for (position, level) in grid.levels()[..steps].iter().enumerate() {
                let k = (steps - 1 - position) as u64;
                let (index, product) = (level.model_time() as u64, 999 * k);
                // At an exact tie numpy's k·step may have been rounded to either side of it.
                if 2 * (product % intervals) == intervals {
                    assert!(index == product / intervals || index == product / intervals + 1);
                } else {
                    assert_eq!(index, half_even(product, intervals), "K = {steps}, k = {k}");
                }
            }
        }
        match Grid::linspace(&schedule, 1) {
            Err(Error::StepCount {
                steps: 1,
                min: 2,
                max: TABLE,
            }) => {}
            other => return Err(format!("{other:?}").into()),
        }
    }
    Ok(())
}

#[test]
fn quadratic_is_the_half_even_division_and_never_below_its_position() -> Outcome {
    for schedule in tables()? {
        for steps in 1..=TABLE {
            let grid = Grid::quadratic(&schedule, steps)?;
            is_sound(&grid, steps);
            let expected: Vec<u64> = (0..=steps as u64)
                .rev()
                .map(|left| half_even(1000 * left * left, (steps * steps) as u64).max(left))
                .collect();
            let found: Vec<u64> = times(&grid).iter().map(|t| *t as u64).collect();
            assert_eq!(found, expected, "K = {steps}");
            assert_eq!(grid.start().time(), 1000.0);
        }
    }
    Ok(())
}

#[test]
fn ddims_own_quadratic_starts_at_four_fifths_and_repeats_exactly_from_30_steps_on() -> Outcome {
    for schedule in tables()? {
        for steps in 2..=TABLE {
            match Grid::ddim_quadratic(&schedule, steps) {
                Ok(grid) => {
                    is_sound(&grid, steps);
                    assert!(steps < 30, "{steps} steps have a repeated index");
                    assert_eq!(grid.start().model_time(), 800.0);
                    for (position, level) in grid.levels()[..steps].iter().enumerate() {
                        // ⌊800 k²/(K − 1)²⌋ in integers; an exact integer may have been rounded to
                        // below.
                        let k = (steps - 1 - position) as u64;
                        let square = ((steps - 1) * (steps - 1)) as u64;
                        let exact = 800 * k * k / square;
                        let index = level.model_time() as u64;
                        let whole = (800 * k * k).is_multiple_of(square);
                        assert!(
                            index == exact || (whole && index + 1 == exact),
                            "{index} {exact}"
                        );
                    }
                }
                Err(Error::NoiseNotDecreasing {
                    knot,
                    lambda_before,
                    lambda,
                }) => {
                    assert!(steps >= 30, "{steps} steps were refused");
                    assert!(knot > 0 && knot <= steps);
                    assert_eq!(lambda_before, lambda);
                }
                Err(other) => return Err(format!("K = {steps}: {other}").into()),
            }
        }
        assert!(matches!(
            Grid::ddim_quadratic(&schedule, 1),
            Err(Error::StepCount {
                steps: 1,
                min: 2,
                max: TABLE,
            })
        ));
    }
    Ok(())
}

#[test]
fn well_known_lists_of_indices_come_out() -> Outcome {
    let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
    let indices = |grid: Grid| -> Vec<f64> {
        let levels = grid.levels();
        levels[..levels.len() - 1]
            .iter()
            .map(NoiseLevel::model_time)
            .collect()
    };
    let leading: Vec<f64> = (0..50).rev().map(|k| f64::from(20 * k + 1)).collect();
    assert_eq!((leading[0], leading[1], leading[49]), (981.0, 961.0, 1.0));
    assert_eq!(indices(Grid::leading(&schedule, 50, 1)?), leading);
    assert_eq!(
        indices(Grid::trailing(&schedule, 10)?),
        [
            999.0, 899.0, 799.0, 699.0, 599.0, 499.0, 399.0, 299.0, 199.0, 99.0
        ]
    );
    // 999 k/4 = 0, 249.75, 499.5, 749.25, 999: the tie at 499.5 goes to the even 500.
    assert_eq!(
        indices(Grid::linspace(&schedule, 5)?),
        [999.0, 749.0, 500.0, 250.0, 0.0]
    );
    assert_eq!(times(&Grid::trailing(&schedule, 1)?), [1000.0, 0.0]);
    assert_eq!(
        times(&Grid::quadratic(&schedule, 4)?),
        [1000.0, 562.0, 250.0, 62.0, 0.0]
    );
    Ok(())
}

#[test]
fn step_counts_outside_the_table_are_refused_with_the_count() -> Outcome {
    for schedule in tables()? {
        let constructors: [(&str, usize, Constructor<'_>); 5] = [
            ("trailing", 1, &|k| Grid::trailing(&schedule, k)),
            ("leading", 1, &|k| Grid::leading(&schedule, k, 0)),
            ("linspace", 2, &|k| Grid::linspace(&schedule, k)),
            ("quadratic", 1, &|k| Grid::quadratic(&schedule, k)),
            ("ddim_quadratic", 2, &|k| Grid::ddim_quadratic(&schedule, k)),
        ];
        for (name, least, constructor) in constructors {
            for asked in [0, TABLE + 1, usize::MAX] {
                match constructor(asked) {
                    Err(Error::StepCount {
                        steps,
                        min,
                        max: TABLE,
                    }) => assert_eq!((steps, min), (asked, least)),
                    other => return Err(format!("{name}({asked}): {other:?}").into()),
                }
            }
        }
    }
    Ok(())
}

#[test]
fn continuous_schedules_take_any_number_of_steps_and_refuse_spacings_of_tables() -> Outcome {
    let mut schedules: Vec<Box<dyn NoiseSchedule>> = vec![
        Box::new(VariancePreserving::default()),
        Box::new(RectifiedFlow::new()),
        Box::new(RectifiedFlow::shifted(3.0)?),
        Box::new(VarianceExploding::new(0.01, 50.0)?),
        Box::new(Edm::default()),
    ];
    // Last times for which T·K/K rounds past T at some K: 0.7 · 187/187 > 0.7.
    for sigma_max in [0.7, 1.1, 70.3, 79.9, 157.3] {
        schedules.push(Box::new(Edm::new(0.002, sigma_max)?));
    }
    for schedule in &schedules {
        let schedule = &**schedule;
        let last = schedule.last_time();
        for steps in 1..=1000 {
            for (grid, power) in [
                (Grid::trailing(schedule, steps)?, 1),
                (Grid::quadratic(schedule, steps)?, 2),
            ] {
                is_sound(&grid, steps);
                assert_eq!(grid.start().time(), last);
                for (k, time) in times(&grid).into_iter().enumerate() {
                    let u = (steps - k) as f64 / steps as f64;
                    assert!((time - last * u.powi(power)).abs() <= 4e-16 * last);
                }
            }
        }
        for refused in [
            Grid::leading(schedule, 10, 1),
            Grid::linspace(schedule, 10),
            Grid::ddim_quadratic(schedule, 10),
        ] {
            assert!(matches!(refused, Err(Error::SpacingNeedsTable { .. })));
        }
        for asked in [0, usize::MAX] {
            for refused in [
                Grid::trailing(schedule, asked),
                Grid::quadratic(schedule, asked),
            ] {
                assert!(
                    matches!(refused, Err(Error::StepCount { steps, min: 1, .. }) if steps == asked)
                );
            }
        }
    }
    Ok(())
}

#[test]
fn a_table_of_one_knot_makes_one_step() -> Outcome {
    let schedule = TableSchedule::from_betas(&[0.3])?;
    for grid in [
        Grid::trailing(&schedule, 1)?,
        Grid::leading(&schedule, 1, 0)?,
        Grid::quadratic(&schedule, 1)?,
        Grid::uniform_lambda(
            &schedule,
            1,
            LambdaRange::new(schedule.lambda_range().noisy(), 9.0)?,
        )?,
    ] {
        is_sound(&grid, 1);
        assert_eq!(times(&grid), [1.0, 0.0]);
    }
    Ok(())
}

#[test]
fn ddim_quadratic_truncates_the_squares_of_floats() -> Outcome {
    let table = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let mut below = 0;
    for steps in 2..=29_usize {
        let grid = Grid::ddim_quadratic(&table, steps)?;
        let root = 800_f64.sqrt();
        let step = root / (steps - 1) as f64;
        for (k, level) in grid.levels()[1..steps].iter().rev().enumerate() {
            // Exactly 800 (k/(K − 1))², which is often whole.
            let index = (k as f64 * step * (k as f64 * step)).floor();
            assert_eq!(level.time() - 1.0, index, "{steps} {k}");
            below += usize::from((800 * k * k / (steps - 1).pow(2)) as f64 > index);
        }
    }
    assert!(below > 0, "rounding never counts");
    Ok(())
}

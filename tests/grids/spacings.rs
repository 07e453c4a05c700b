//! Every grid constructor at every number of steps, against independent formulas in integers.

use std::error::Error as StdError;

use diffusion_sampler::{
    Error, Grid, NoiseLevel,
    schedule::{
        Edm, LambdaRange, NoiseSchedule, RectifiedFlow, TableSchedule, VarianceExploding,
        VariancePreserving,
    },
};

type Outcome = Result<(), Box<dyn StdError>>;

/// A grid by its number of steps.
type Constructor<'a> = &'a dyn Fn(usize) -> Result<Grid, Error>;

/// A schedule and its range of λ.
type Bounded = (Box<dyn NoiseSchedule>, LambdaRange);

const TABLE: usize = 1000;

fn tables() -> Result<Vec<TableSchedule>, Error> {
    Ok(vec![
        TableSchedule::linear(TABLE, 1e-4, 0.02)?,
        TableSchedule::cosine(TABLE)?,
        TableSchedule::linear(TABLE, 1e-4, 0.02)?.zero_terminal_snr()?,
        TableSchedule::cosine(TABLE)?.zero_terminal_snr()?,
    ])
}

fn times(grid: &Grid) -> Vec<f64> {
    grid.levels().iter().map(NoiseLevel::time).collect()
}

/// Exactly K steps, strictly decreasing noise, onto the clean end.
fn is_sound(grid: &Grid, steps: usize) {
    assert_eq!(grid.steps(), steps);
    assert_eq!(grid.levels().len(), steps + 1);
    for pair in grid.levels().windows(2) {
        assert!(pair[0].lambda() < pair[1].lambda(), "{pair:?}");
        assert!(pair[0].time() > pair[1].time(), "{pair:?}");
    }
    assert!(grid.end().is_clean());
}

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
                        // ⌊800 k²/(K − 1)²⌋ in integers; an exact integer may have been rounded to below.
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

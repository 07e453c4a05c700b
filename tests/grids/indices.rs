//! Spacings over network indices, against the lists of the programs that named them, and on
//! continuous schedules through sub-levels.

use diffusion_sampler::{
    Error, Grid,
    schedule::{Edm, NoiseSchedule, RectifiedFlow, Sublevels, TableSchedule, VariancePreserving},
};

use super::common::{Outcome, TABLE, is_sound, tables, times};

/// The indices of Beta(0.6, 0.6), by the number of steps.
const BETA_LISTS: [(usize, &[f64]); 4] = [
    (1, &[999.0]),
    (5, &[999.0, 876.0, 637.0, 362.0, 123.0]),
    (
        10,
        &[
            999.0, 959.0, 876.0, 765.0, 637.0, 500.0, 362.0, 234.0, 123.0, 40.0,
        ],
    ),
    (
        30,
        &[
            999.0, 993.0, 979.0, 959.0, 936.0, 908.0, 876.0, 842.0, 805.0, 765.0, 724.0, 681.0,
            637.0, 591.0, 546.0, 500.0, 453.0, 408.0, 362.0, 318.0, 275.0, 234.0, 194.0, 157.0,
            123.0, 91.0, 63.0, 40.0, 20.0, 6.0,
        ],
    ),
];

/// A grid by its schedule and number of steps.
type Constructor = fn(&dyn NoiseSchedule, usize) -> Result<Grid, Error>;

/// Every spacing of this file.
const ALL: [(&str, Constructor); 8] = [
    ("normal", |s, k| Grid::normal(s, k)),
    ("SGM uniform", |s, k| Grid::sgm_uniform(s, k)),
    ("simple", |s, k| Grid::simple(s, k)),
    ("DDIM uniform", |s, k| Grid::ddim_uniform(s, k)),
    ("beta", |s, k| Grid::beta_indices(s, k, (0.6, 0.6))),
    ("smoothstep", |s, k| Grid::smoothstep(s, k)),
    ("lcm", |s, k| Grid::lcm(s, k, 50)),
    ("turbo", |s, k| Grid::turbo(s, k, 10)),
];

fn indices(grid: &Grid) -> Vec<f64> {
    grid.edges().map(|(from, _)| from.time() - 1.0).collect()
}

/// ln ρ of a table's index.
fn log_rho(schedule: &dyn NoiseSchedule, index: usize) -> Result<f64, Error> {
    Ok(-schedule.level(index as f64 + 1.0)?.lambda())
}

#[test]
fn uniform_indices_are_k_diffusions_interpolation_of_ln_sigma() -> Outcome {
    for schedule in tables()? {
        for steps in (1..=60).chain([99, 100, 499, 500, 999, 1000]) {
            let last = (TABLE - 1) as f64;
            let normal: Vec<f64> = (0..steps)
                .map(|k| last * (1.0 - k as f64 / (steps.max(2) - 1) as f64))
                .collect();
            let sgm: Vec<f64> = (0..steps)
                .map(|k| last * (1.0 - k as f64 / steps as f64))
                .collect();
            for (grid, expected) in [
                (Grid::normal(&schedule, steps)?, normal),
                (Grid::sgm_uniform(&schedule, steps)?, sgm),
            ] {
                is_sound(&grid, steps);
                assert_eq!(grid.start(), schedule.level(TABLE as f64)?);
                for (level, t) in grid.levels().iter().zip(&expected).skip(1) {
                    let (low, high) = (t.floor() as usize, t.ceil() as usize);
                    let share = t - t.floor();
                    let (a, b) = (log_rho(&schedule, low)?, log_rho(&schedule, high)?);
                    if b.is_infinite() {
                        // The last cell of a table with zero terminal SNR: the time itself.
                        assert!((level.time() - 1.0 - t).abs() < 1e-9, "{t}");
                        continue;
                    }
                    let found = -level.lambda();
                    let error = (found - ((1.0 - share) * a + share * b)).abs();
                    assert!(error < 2e-12, "K = {steps}, t = {t}: {error:e}");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn between_knots_ln_sigma_and_not_ln_alpha_is_linear() -> Outcome {
    // Near the clean end the two differ by percents: index 0.5 lies elsewhere.
    let table = TableSchedule::scaled_linear(TABLE, 0.00085, 0.012)?;
    let time = table.knot_time(1.5)?;
    let middle = 0.5 * (table.level(1.0)?.lambda() + table.level(2.0)?.lambda());
    assert!((table.level(time)?.lambda() - middle).abs() < 1e-13);
    assert!((time - 1.5).abs() > 0.01, "{time}");
    assert_eq!((table.knot_time(0.25)?, table.knot_time(7.0)?), (0.25, 7.0));
    assert!(matches!(
        table.knot_time(1000.5),
        Err(Error::TimeOutOfRange { last: 1000.0, .. })
    ));
    Ok(())
}

#[test]
fn simple_is_the_truncated_product_of_floats() -> Outcome {
    let schedule = TableSchedule::linear(TABLE, 1e-4, 0.02)?;
    let mut unlike_integers = 0;
    for steps in 1..=TABLE {
        let grid = Grid::simple(&schedule, steps)?;
        is_sound(&grid, steps);
        let stride = TABLE as f64 / steps as f64;
        let expected: Vec<f64> = (0..steps)
            .map(|x| (TABLE as i64 - (1 + (x as f64 * stride) as i64)) as f64)
            .collect();
        assert_eq!(indices(&grid), expected, "{steps}");
        unlike_integers +=
            usize::from((0..steps).any(|x| expected[x] != (TABLE - 1 - x * TABLE / steps) as f64));
    }
    assert_eq!(unlike_integers, 70);
    Ok(())
}

#[test]
fn ddim_uniform_is_the_programs_list_where_that_has_the_right_length() -> Outcome {
    let schedule = TableSchedule::linear(TABLE, 1e-4, 0.02)?;
    let mut agree = Vec::new();
    for steps in 1..=500 {
        let grid = Grid::ddim_uniform(&schedule, steps)?;
        is_sound(&grid, steps);
        let mut listed: Vec<f64> = (1..TABLE)
            .step_by(TABLE / steps)
            .map(|i| i as f64)
            .collect();
        if listed.len() == steps {
            agree.push(steps);
        } else {
            assert!(listed.len() > steps, "it would give fewer");
            listed.truncate(steps);
        }
        listed.reverse();
        assert_eq!(indices(&grid), listed);
    }
    assert_eq!(agree.iter().filter(|steps| **steps > 1).count(), 20);
    assert!(agree.contains(&20) && agree.contains(&50) && !agree.contains(&30));
    assert!(matches!(
        Grid::ddim_uniform(&schedule, 1000),
        Err(Error::SpacingImpossible { .. })
    ));
    Ok(())
}

#[test]
fn beta_indices_are_the_rounded_quantiles_and_repeats_are_refused() -> Outcome {
    let schedule = TableSchedule::linear(TABLE, 1e-4, 0.02)?;
    // Computed with 30 digits.
    for (steps, expected) in BETA_LISTS {
        let grid = Grid::beta_indices(&schedule, steps, (0.6, 0.6))?;
        assert_eq!(indices(&grid), expected, "{steps}");
    }
    // Beta(½, ½) has the closed form sin²(½πp) = ½ − ½ cos πp, Beta(1, 1) is uniform.
    for steps in 1..=60 {
        let last = (TABLE - 1) as f64;
        let arcsine = |k: usize| {
            let p = 1.0 - k as f64 / steps as f64;
            // ½(1 − cos πp), exactly ½ in the middle, which falls on a tie.
            let cosine = (std::f64::consts::PI * p).cos();
            let half = if p == 0.5 { 0.0 } else { 0.5 * cosine };
            (last * (0.5 - half)).round_ties_even()
        };
        let expected: Vec<f64> = (0..steps).map(arcsine).collect();
        let grid = Grid::beta_indices(&schedule, steps, (0.5, 0.5))?;
        assert_eq!(indices(&grid), expected, "{steps}");
    }
    // Beta(1, b) and Beta(a, 1) have the quantiles 1 − (1 − p)^(1/b) and p^(1/a).
    for (shape, form) in [
        (
            (1.0, 0.7),
            (|p: f64| 1.0 - (1.0 - p).powf(1.0 / 0.7)) as fn(f64) -> f64,
        ),
        ((0.4, 1.0), |p: f64| p.powf(1.0 / 0.4)),
    ] {
        for steps in [1, 3, 8, 20] {
            let expected: Vec<f64> = (0..steps)
                .map(|k| (form(1.0 - k as f64 / steps as f64) * 999.0).round_ties_even())
                .collect();
            let grid = Grid::beta_indices(&schedule, steps, shape)?;
            assert_eq!(indices(&grid), expected, "{shape:?}, {steps}");
        }
    }
    let first = (1..=TABLE).find(|&k| Grid::beta_indices(&schedule, k, (0.6, 0.6)).is_err());
    assert_eq!(first, Some(139));
    assert!(matches!(
        Grid::beta_indices(&schedule, 139, (0.6, 0.6)),
        Err(Error::NoiseNotDecreasing { .. })
    ));
    for (shape, name) in [((0.0, 1.0), "alpha"), ((1.0, f64::NAN), "beta")] {
        let refused = Grid::beta_indices(&schedule, 4, shape);
        assert!(
            matches!(refused, Err(Error::InvalidParameter { name: found, .. }) if found == name)
        );
    }
    Ok(())
}

#[test]
fn smoothstep_lcm_and_turbo_are_their_formulas() -> Outcome {
    let schedule = TableSchedule::linear(TABLE, 1e-4, 0.02)?;
    for steps in 1..=77 {
        let grid = Grid::smoothstep(&schedule, steps)?;
        is_sound(&grid, steps);
        // In integers: (T − 1) a² (3K − 2a)/K³, a = K − k, halves upwards.
        let all = steps as u64;
        let value = |a: u64| {
            let (numerator, cube) = (999 * a * a * (3 * all - 2 * a), all * all * all);
            ((2 * numerator + cube) / (2 * cube)) as f64
        };
        let expected: Vec<f64> = (1..=all).rev().map(value).collect();
        assert_eq!(indices(&grid), expected, "{steps}");
    }
    assert!(Grid::smoothstep(&schedule, 78).is_err());
    for trained in [1, 4, 10, 50, 999, 1000] {
        let list: Vec<f64> = (1..=trained)
            .rev()
            .map(|j| (j * (TABLE / trained) - 1) as f64)
            .collect();
        for steps in 1..=trained.min(60) {
            let grid = Grid::lcm(&schedule, steps, trained)?;
            is_sound(&grid, steps);
            let expected: Vec<f64> = (0..steps)
                .map(|i| list[(i as f64 * (trained as f64 / steps as f64)).floor() as usize])
                .collect();
            assert_eq!(indices(&grid), expected, "{steps} of {trained}");
            let first = Grid::turbo(&schedule, steps, trained)?;
            assert_eq!(indices(&first), list[..steps]);
        }
        for refused in [
            Grid::lcm(&schedule, trained + 1, trained),
            Grid::turbo(&schedule, trained + 1, trained),
        ] {
            assert!(matches!(refused, Err(Error::StepCount { .. })));
        }
    }
    for (refused, bad) in [
        (Grid::lcm(&schedule, 4, 1001), 1001.0),
        (Grid::turbo(&schedule, 4, 0), 0.0),
        (Grid::turbo(&schedule, 0, 0), 0.0),
    ] {
        assert!(matches!(
            refused,
            Err(Error::InvalidParameter { name: "trained steps", value, .. }) if value == bad
        ));
    }
    let flow = RectifiedFlow::new();
    assert_eq!(
        Grid::turbo(&flow, 1, 10),
        Err(Error::SpacingNeedsTable { spacing: "turbo" })
    );
    Ok(())
}

#[test]
fn counts_and_continuous_schedules_are_refused() -> Outcome {
    let schedule = TableSchedule::linear(10, 1e-2, 0.2)?;
    for (name, grid) in ALL {
        for steps in [0, 11, usize::MAX] {
            assert!(
                matches!(
                    grid(&schedule, steps),
                    Err(Error::StepCount { .. } | Error::InvalidParameter { .. })
                ),
                "{name}"
            );
        }
        for schedule in [&RectifiedFlow::new() as &dyn NoiseSchedule, &Edm::default()] {
            assert!(
                matches!(grid(schedule, 4), Err(Error::SpacingNeedsTable { .. })),
                "{name}"
            );
        }
    }
    // A table of one knot makes one step.
    let one = TableSchedule::linear(1, 0.5, 0.5)?;
    for (name, grid) in ALL
        .iter()
        .filter(|(name, _)| !["DDIM uniform", "lcm", "turbo"].contains(name))
    {
        assert_eq!(times(&grid(&one, 1)?), [1.0, 0.0], "{name}");
    }
    Ok(())
}

#[test]
fn a_flow_with_sub_levels_has_comfyuis_numbers() -> Outcome {
    for shift in [1.0, 1.15, 3.0, 12.0] {
        let flow = RectifiedFlow::shifted(shift)?;
        let table = Sublevels::of(flow, 1000)?;
        let sigma = |t: f64| shift * t / (1.0 + (shift - 1.0) * t);
        let sigmas: Vec<f64> = (1..=1000).map(|i| sigma(f64::from(i) / 1000.0)).collect();
        for steps in [1, 2, 4, 7, 20, 30, 50] {
            let stride = 1000.0 / steps as f64;
            let simple: Vec<f64> = (0..steps)
                .map(|x| sigmas[1000 - (1 + (x as f64 * stride) as usize)])
                .collect();
            let beta: Vec<f64> = indices(&Grid::beta_indices(
                &TableSchedule::linear(1000, 1e-4, 0.02)?,
                steps,
                (0.6, 0.6),
            )?)
            .iter()
            .map(|&index| sigmas[index as usize])
            .collect();
            // ComfyUI's start and end are timestep(sigma) = 1000 σ, which sigma() shifts again.
            let linspace = |end: f64, intervals: usize| -> Vec<f64> {
                (0..steps)
                    .map(|k| 1.0 + (end - 1.0) * k as f64 / intervals.max(1) as f64)
                    .collect()
            };
            let twice = shift / (1000.0 + shift - 1.0);
            let with_zero = |mut list: Vec<f64>| {
                list.push(0.0);
                list
            };
            let cases = [
                (Grid::simple(&table, steps)?, with_zero(simple)),
                (
                    Grid::beta_indices(&table, steps, (0.6, 0.6))?,
                    with_zero(beta),
                ),
                (
                    Grid::normal(&table, steps)?,
                    with_zero(linspace(0.001, steps - 1).into_iter().map(sigma).collect()),
                ),
                (
                    Grid::sgm_uniform(&table, steps)?,
                    with_zero(linspace(0.001, steps).into_iter().map(sigma).collect()),
                ),
                (
                    Grid::from_times(&flow, &with_zero(linspace(twice, steps - 1)))?,
                    with_zero(
                        linspace(sigmas[0], steps - 1)
                            .into_iter()
                            .map(sigma)
                            .collect(),
                    ),
                ),
            ];
            for (grid, expected) in cases {
                is_sound(&grid, steps);
                for (level, expected) in grid.levels().iter().zip(expected) {
                    let error = (level.sigma() - expected).abs();
                    assert!(error < 4e-15, "shift {shift}, K = {steps}: {error:e}");
                    assert_eq!(level.model_time(), level.sigma());
                }
            }
        }
    }
    Ok(())
}

#[test]
fn edm_with_sub_levels_is_geometric_and_others_are_uniform_in_time() -> Outcome {
    let edm = Edm::new(0.002, 120.0)?;
    let table = Sublevels::of(&edm, 1000)?;
    let rho = |index: f64| (0.002f64.ln() + (120.0f64 / 0.002).ln() * index / 999.0).exp();
    for steps in [1, 2, 10, 37] {
        let grid = Grid::simple(&table, steps)?;
        let stride = 1000.0 / steps as f64;
        for (k, level) in grid.levels()[..steps].iter().enumerate() {
            let expected = rho(999.0 - (k as f64 * stride).floor());
            assert!((level.rho() / expected - 1.0).abs() < 2e-14);
        }
        // Uniform in index is uniform in λ.
        let normal = Grid::normal(&table, steps)?;
        let lambda = Grid::uniform_lambda(&edm, steps, edm.lambda_range())?;
        for (a, b) in normal.levels().iter().zip(lambda.levels()) {
            assert!(a.is_clean() && b.is_clean() || (a.lambda() - b.lambda()).abs() < 1e-13);
        }
    }
    let vp = VariancePreserving::default();
    let table = Sublevels::of(vp, 8)?;
    assert_eq!(table.table_len(), Some(8));
    assert_eq!(*table.schedule(), vp);
    assert_eq!(
        times(&Grid::trailing(&table, 4)?),
        [1.0, 0.75, 0.5, 0.25, 0.0]
    );
    assert_eq!(times(&Grid::leading(&table, 2, 0)?), [0.625, 0.125, 0.0]);
    assert_eq!(
        times(&Grid::from_indices(&table, &[7.0, 2.5])?),
        [1.0, 0.4375, 0.0]
    );
    assert_eq!(times(&Grid::quadratic(&table, 8)?)[7], 0.125);
    // The knots of a table stay its own.
    let own = TableSchedule::linear(20, 1e-3, 0.2)?;
    assert_eq!(
        Grid::simple(&Sublevels::of(&own, 7)?, 5)?,
        Grid::simple(&own, 5)?
    );
    assert_eq!(Sublevels::of(&own, 7)?.table_len(), Some(20));
    for count in [0, usize::MAX] {
        assert!(matches!(
            Sublevels::of(vp, count),
            Err(Error::StepCount { min: 1, .. })
        ));
    }
    Ok(())
}

#[test]
fn ties_round_as_those_who_named_the_spacing_round() -> Outcome {
    // Index 500.5 half way: to even in numpy, away from 0 in C.
    let schedule = TableSchedule::scaled_linear(1002, 0.00085, 0.012)?;
    let beta = Grid::beta_indices(&schedule, 2, (0.6, 0.6))?;
    assert_eq!(indices(&beta), [1001.0, 500.0]);
    let smoothstep = Grid::smoothstep(&schedule, 2)?;
    assert_eq!(indices(&smoothstep), [1001.0, 501.0]);
    Ok(())
}

//! Lists of a flow's σ: their rules, their bits, and the grids of them.

use diffusion_sampler::{
    Error, Grid,
    grid::FlowSigmas,
    schedule::{ModelTime, NoiseSchedule, RectifiedFlow, VariancePreserving},
};

use super::common::{Outcome, is_sound};

const T: usize = 1000;

/// A list by its number of steps.
type Rule = fn(usize) -> Result<FlowSigmas, Error>;

/// σ of step k of K.
type Definition = fn(f64, f64) -> f64;

/// Every rule that has no shift, with its value at step k of K.
const RULES: [(&str, Rule, Definition); 4] = [
    ("uniform", FlowSigmas::uniform, |k, all| 1.0 - k / all),
    (
        "Euler",
        |steps| FlowSigmas::euler(steps, T),
        |k, all| 1.0 - 0.999 * k / (all - 1.0).max(1.0),
    ),
    (
        "UniPC",
        |steps| FlowSigmas::uni_pc(steps, T),
        |k, all| 1.0 - 0.999 * k / all,
    ),
    (
        "DPM-Solver",
        |steps| FlowSigmas::dpm_solver(steps, T),
        |k, all| 0.999 * (all - k) / all,
    ),
];

#[test]
fn every_rule_has_the_values_of_its_definition_and_exactly_its_steps() -> Outcome {
    let flow = RectifiedFlow::new();
    for (name, rule, definition) in RULES {
        for steps in (1..=60).chain([100, 999, 1000]) {
            let list = rule(steps)?;
            assert_eq!(list.values().len(), steps);
            for (k, sigma) in list.values().iter().enumerate() {
                let expected = definition(k as f64, steps as f64);
                assert!((sigma - expected).abs() < 4e-16, "{name}, {k} of {steps}");
            }
            is_sound(&list.grid(&flow)?, steps);
        }
    }
    Ok(())
}

#[test]
fn lists_have_the_bits_of_numpy() -> Outcome {
    // Computed by numpy in f64, printed with all digits.
    let uniform = |steps| FlowSigmas::uniform(steps);
    for (list, expected) in [
        (
            FlowSigmas::uni_pc(5, T)?.shifted(3.0)?,
            [
                1.0,
                0.9231656668204891,
                0.8184296619411123,
                0.667221852098601,
                0.42979452054794515,
            ],
        ),
        (
            FlowSigmas::dpm_solver(5, T)?.shifted(3.0)?,
            [
                0.9996664442961973,
                0.9227216748768474,
                0.817809714389667,
                0.6662961316140507,
                0.4282652186338954,
            ],
        ),
        (
            FlowSigmas::euler_shifted_twice(5, T, 3.0)?,
            [
                1.0,
                0.900359066427289,
                0.7511210762331838,
                0.5029850746268658,
                0.00892857142857143,
            ],
        ),
        (
            FlowSigmas::euler(5, T)?.shifted(3.0)?,
            [
                1.0,
                0.9001199760047992,
                0.7503748125937031,
                0.5009990009990009,
                0.0029940119760479044,
            ],
        ),
        (
            uniform(5)?.shifted_by_mu(0.7)?,
            [
                1.0,
                0.8895639090016371,
                0.7512827010955053,
                0.573105985287212,
                0.33485791741468324,
            ],
        ),
        (
            uniform(5)?.shifted_linearly(0.7)?,
            [
                1.0,
                0.7368421052631579,
                0.5121951219512195,
                0.3181818181818181,
                0.14893617021276595,
            ],
        ),
        (
            uniform(5)?.stretched_to(0.02)?,
            [
                1.0,
                0.7550000000000001,
                0.51,
                0.2649999999999999,
                0.020000000000000018,
            ],
        ),
    ] {
        assert_eq!(list.values(), expected);
    }
    let thirteen = [
        1.0,
        0.9230769230769231,
        0.8461538461538461,
        0.7692307692307692,
        0.6923076923076923,
        0.6153846153846154,
        0.5384615384615384,
        0.46153846153846145,
        0.3846153846153846,
        0.3076923076923077,
        0.23076923076923073,
        0.15384615384615374,
        0.07692307692307693,
    ];
    assert_eq!(uniform(13)?.values(), thirteen);
    Ok(())
}

#[test]
fn the_networks_integers_are_those_of_the_library_at_every_number_of_steps() -> Outcome {
    // Σ_K Σ_k k t_k over the 500500 times that diffusers 0.42.1 lists for K = 1 to 1000, k from 1.
    // At shift 1 an exact product would give 1261 of them otherwise.
    let time = ModelTime::sigma().times(1000.0)?.truncated();
    let flow = RectifiedFlow::new().with_model_time(time);
    let uni_pc: Rule = |steps| FlowSigmas::uni_pc(steps, T);
    let dpm_solver: Rule = |steps| FlowSigmas::dpm_solver(steps, T);
    for (rule, shift, expected) in [
        (uni_pc, 1.0, 55_917_757_770_u64),
        (uni_pc, 3.0, 88_582_956_159),
        (uni_pc, 12.0, 126_035_746_130),
        (dpm_solver, 1.0, 55_750_601_503),
        (dpm_solver, 3.0, 88_358_074_131),
        (dpm_solver, 12.0, 125_757_954_146),
    ] {
        let mut total = 0;
        for steps in 1..=1000 {
            let list = rule(steps)?.shifted(shift)?.starting_below(1e-6)?;
            let grid = list.grid(&flow)?;
            for (k, (from, _)) in grid.edges().enumerate() {
                assert_eq!(from.model_time().fract(), 0.0);
                total += (k as u64 + 1) * from.model_time() as u64;
            }
        }
        assert_eq!(total, expected, "shift {shift}");
    }
    Ok(())
}

#[test]
fn a_grid_of_an_unshifted_flow_keeps_the_list_to_the_bit() -> Outcome {
    let flow = RectifiedFlow::new();
    for steps in 1..=200 {
        for list in [
            FlowSigmas::uniform(steps)?.shifted(3.0)?,
            FlowSigmas::uni_pc(steps, T)?.shifted_by_mu(1.15)?,
            FlowSigmas::euler_shifted_twice(steps, T, 7.0)?,
            FlowSigmas::dpm_solver(steps, T)?.shifted(1.7)?,
        ] {
            let grid = list.grid(&flow)?;
            for (level, sigma) in grid.levels().iter().zip(list.values()) {
                assert_eq!((level.sigma(), level.alpha()), (*sigma, 1.0 - sigma));
                assert_eq!((level.time(), level.model_time()), (*sigma, *sigma));
            }
            is_sound(&grid, steps);
        }
    }
    let given = [1.0, 0.99375, 0.9875, 0.909375, 0.725, 0.421875, 0.0];
    let grid = Grid::from_flow_sigmas(&flow, &given)?;
    let sigmas: Vec<f64> = grid.levels().iter().map(|level| level.sigma()).collect();
    assert_eq!(sigmas, given);
    assert_eq!((grid.start().alpha(), grid.end().alpha()), (0.0, 1.0));
    assert_eq!(grid.start().lambda(), f64::NEG_INFINITY);
    // A list with its 0 is not given another.
    assert_eq!(FlowSigmas::new(given)?.grid(&flow)?, grid);
    // Through references and boxes too.
    let boxed: Box<dyn NoiseSchedule> = Box::new(flow);
    assert_eq!(Grid::from_flow_sigmas(&boxed, &given)?, grid);
    Ok(())
}

#[test]
fn a_list_is_not_shifted_again_by_a_shifted_schedule() -> Outcome {
    let list = FlowSigmas::uniform(20)?.shifted(3.0)?;
    for schedule in [
        &RectifiedFlow::shifted(3.0)? as &dyn NoiseSchedule,
        &RectifiedFlow::shifted(0.01)?,
        &VariancePreserving::new(0.1, 40.0)?,
    ] {
        let from = usize::from(schedule.lambda_range().noisy().is_finite());
        let sigmas = &list.values()[from..];
        let grid = FlowSigmas::new(sigmas)?.grid(schedule)?;
        for (level, sigma) in grid.levels().iter().zip(sigmas) {
            let found = level.sigma() / (level.alpha() + level.sigma());
            assert!(
                (found - sigma).abs() < 1e-13 * sigma,
                "{schedule:?}, {sigma}"
            );
        }
    }
    // The time of a shifted flow is uniform again.
    let grid = list.grid(&RectifiedFlow::shifted(3.0)?)?;
    for (k, level) in grid.levels().iter().enumerate() {
        assert!((level.time() - (1.0 - k as f64 / 20.0)).abs() < 1e-15);
    }
    Ok(())
}

#[test]
fn three_forms_of_a_shift_are_one_that_multiplies_rho() -> Outcome {
    let rho = |sigma: f64| sigma / (1.0 - sigma);
    for shift in [0.1, 0.3, 1.0, 1.15, 3.0, 12.0] {
        let list = FlowSigmas::uniform(25)?;
        let forms = [
            list.clone().shifted(shift)?,
            list.clone().shifted_by_mu(shift.ln())?,
            list.clone().shifted_linearly(shift)?,
            list.clone().shifted(shift / 2.0)?.shifted(2.0)?,
        ];
        for form in &forms {
            // 1 stays 1, also where 1 + (s − 1) is not s.
            assert_eq!(form.values()[0], 1.0);
            for (new, old) in form.values().iter().zip(list.values()).skip(1) {
                assert!(
                    (rho(*new) / rho(*old) / shift - 1.0).abs() < 1e-13,
                    "{shift}"
                );
            }
        }
        let flow = RectifiedFlow::shifted(shift)?;
        for (sigma, time) in forms[0].values().iter().zip(list.values()) {
            assert!((flow.level(*time)?.sigma() - sigma).abs() < 4e-16);
        }
    }
    Ok(())
}

#[test]
fn the_shift_of_a_static_flow_euler_is_applied_twice_at_its_end_only() -> Outcome {
    // s/(T + s − 1), shifted again: s²/(T + s² − 1).
    for shift in [0.5, 3.0, 6.0] {
        for steps in [2, 10, 28, 50] {
            let twice = FlowSigmas::euler_shifted_twice(steps, T, shift)?;
            let (first, last) = (twice.values()[0], twice.values()[steps - 1]);
            let square = shift * shift;
            assert_eq!(first, 1.0);
            assert!((last - square / (999.0 + square)).abs() < 1e-15);
            // Uniform before the second shift.
            let end = shift / (999.0 + shift);
            let grid = twice.grid(&RectifiedFlow::shifted(shift)?)?;
            for (k, (from, _)) in grid.edges().enumerate() {
                let uniform = 1.0 + (end - 1.0) * k as f64 / (steps - 1) as f64;
                assert!((from.time() - uniform).abs() < 1e-15);
            }
        }
    }
    assert_eq!(
        FlowSigmas::euler_shifted_twice(9, T, 1.0)?,
        FlowSigmas::euler(9, T)?
    );
    assert_eq!(
        FlowSigmas::down_to(1.0 / T as f64, 9, T)?,
        FlowSigmas::euler(9, T)?
    );
    Ok(())
}

#[test]
fn a_stretch_scales_one_minus_sigma_and_ends_where_it_should() -> Outcome {
    for terminal in [0.0, 0.02, 0.1, 0.9] {
        for steps in [2, 3, 10, 30] {
            let list = FlowSigmas::uniform(steps)?.shifted(2.5)?;
            let stretched = list.clone().stretched_to(terminal)?;
            let (old, new) = (list.values(), stretched.values());
            assert_eq!(new[0], 1.0);
            assert!((new[steps - 1] - terminal).abs() < 2e-16);
            let ratio = (1.0 - terminal) / (1.0 - old[steps - 1]);
            for (old, new) in old.iter().zip(new) {
                assert!(((1.0 - new) - (1.0 - old) * ratio).abs() < 4e-16);
            }
            let grid = stretched.grid(&RectifiedFlow::new())?;
            assert_eq!(grid.steps(), steps - usize::from(new[steps - 1] == 0.0));
        }
        // The only σ is 1: 0/0 in the formula.
        let one = FlowSigmas::uniform(1)?;
        assert_eq!(one.clone().stretched_to(terminal)?, one);
    }
    Ok(())
}

#[test]
fn a_start_within_the_gap_is_moved_and_no_other() -> Outcome {
    let moved = FlowSigmas::uni_pc(4, T)?.starting_below(1e-6)?;
    assert_eq!(moved.values()[0], 1.0 - 1e-6);
    assert_eq!(moved.values()[1..], FlowSigmas::uni_pc(4, T)?.values()[1..]);
    let lower = FlowSigmas::dpm_solver(4, T)?;
    assert_eq!(lower.clone().starting_below(1e-6)?, lower);
    // 999999.0 of a million: Wan's first time is 999.
    let time = ModelTime::sigma().times(1000.0)?.truncated();
    assert_eq!(time.at(moved.values()[0]), 999.0);
    Ok(())
}

#[test]
fn a_list_to_zero_without_its_last_is_the_uniform_one() -> Outcome {
    for steps in 1..=50 {
        let hunyuan = FlowSigmas::linspace(1.0, 0.0, steps + 1)?.without_last()?;
        let uniform = FlowSigmas::uniform(steps)?;
        assert_eq!(hunyuan.values().len(), steps);
        for (a, b) in hunyuan.values().iter().zip(uniform.values()) {
            assert!((a - b).abs() < 3e-16);
        }
    }
    assert_eq!(FlowSigmas::linspace(0.7, 0.2, 1)?.values(), [0.7]);
    Ok(())
}

#[test]
fn what_is_no_list_of_sigmas_is_refused_with_its_values() -> Outcome {
    assert_eq!(
        FlowSigmas::new([]),
        Err(Error::EmptyList {
            name: "flow sigmas"
        })
    );
    for (list, place) in [
        (vec![1.5], 0),
        (vec![0.5, -0.1], 1),
        (vec![0.5, f64::NAN], 1),
    ] {
        assert!(matches!(
            FlowSigmas::new(list),
            Err(Error::InvalidEntry { index, .. }) if index == place
        ));
    }
    assert!(matches!(
        FlowSigmas::linspace(1.0, -1.0, 4),
        Err(Error::InvalidEntry {
            index: 1,
            value: -1.0,
            ..
        })
    ));
    for steps in [0, usize::MAX] {
        for (_, rule, _) in RULES {
            assert!(matches!(
                rule(steps),
                Err(Error::StepCount { min: 1, steps: found, .. }) if found == steps
            ));
        }
    }
    let list = || FlowSigmas::uniform(4);
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        for (refused, name) in [
            (list()?.shifted(bad), "shift"),
            (list()?.shifted_linearly(bad), "mu"),
            (FlowSigmas::euler_shifted_twice(4, T, bad), "shift"),
            (FlowSigmas::down_to(bad, 4, T), "smallest flow sigma"),
            (list()?.starting_below(bad), "gap below 1"),
        ] {
            assert!(
                matches!(&refused, Err(Error::InvalidParameter { name: found, .. }) if *found == name),
                "{bad}: {refused:?}"
            );
        }
    }
    for bad in [1e3, -1e3, f64::NAN] {
        assert!(matches!(
            list()?.shifted_by_mu(bad),
            Err(Error::InvalidParameter { name: "mu", .. })
        ));
    }
    for bad in [1.0, -0.1, f64::NAN] {
        assert!(matches!(
            list()?.stretched_to(bad),
            Err(Error::InvalidParameter {
                name: "terminal sigma",
                ..
            })
        ));
    }
    for refused in [
        FlowSigmas::euler(4, 0),
        FlowSigmas::uni_pc(4, 0),
        FlowSigmas::dpm_solver(4, 0),
        FlowSigmas::dpm_solver(4, 1),
    ] {
        assert!(matches!(
            refused,
            Err(Error::InvalidParameter {
                name: "training times",
                ..
            })
        ));
    }
    assert!(FlowSigmas::uniform(1)?.without_last().is_err());
    assert!(matches!(
        FlowSigmas::new([0.5, 0.5])?.grid(&RectifiedFlow::new()),
        Err(Error::NoiseNotDecreasing { knot: 1, .. })
    ));
    Ok(())
}

#[test]
fn a_shift_in_f32_takes_its_difference_from_one_before_the_cast() {
    let list = FlowSigmas::uniform(300).expect("a list").in_f32();
    let mut telling = 0;
    for shift in [1.1f64, 1.3, 3.1, 7.3] {
        let shifted = list.clone().shifted(shift).expect("a shift");
        let by = |excess: f32, x: f32| f64::from(shift as f32 * x / (1.0 + excess * x));
        for (x, y) in list.values().iter().zip(shifted.values()) {
            assert_eq!(*y, by((shift - 1.0) as f32, *x as f32));
            telling += usize::from(*y != by(shift as f32 - 1.0, *x as f32));
        }
    }
    assert!(telling > 0);
}

/// Those that take values off a list or move one of them too.
#[test]
fn every_operation_on_a_list_in_f32_gives_numbers_of_f32() -> Result<(), Error> {
    let list = || -> Result<FlowSigmas, Error> { Ok(FlowSigmas::uniform(7)?.in_f32()) };
    let all: [Result<FlowSigmas, Error>; 6] = [
        list()?.shifted(3.1),
        list()?.shifted_by_mu(0.7),
        list()?.shifted_linearly(1.3),
        list()?.stretched_to(0.1),
        list()?.starting_below(1e-6),
        list()?.without_last()?.shifted(3.1),
    ];
    for list in all {
        let list = list?;
        for &sigma in list.values() {
            assert_eq!(f64::from(sigma as f32), sigma, "{list:?}");
        }
    }
    let moved = list()?.starting_below(1e-6)?;
    assert_eq!(moved.values()[0], f64::from(1.0f32 - 1e-6f32));
    Ok(())
}

//! Flows: exact levels without a shift, what the network is told, and the rules for μ.

use diffusion_sampler::{
    Error, Grid,
    schedule::{ModelTime, NoiseSchedule, RectifiedFlow, Sublevels, UnitVariance, mu},
    solver::{Path, SaSolver, Solver},
};

use super::common::Outcome;

#[test]
fn without_a_shift_sigma_is_time_and_alpha_the_rest_to_the_bit() -> Outcome {
    let flow = RectifiedFlow::new();
    for i in 0..=100_000 {
        let time = f64::from(i) / 100_000.0;
        for time in [time, time.powi(9), (0.7 * time).sin(), 1.0 - 1e-5 * time] {
            let level = flow.level(time)?;
            assert_eq!((level.sigma(), level.alpha()), (time, 1.0 - time));
            assert_eq!(flow.time_of_flow_sigma(time)?, time);
        }
    }
    Ok(())
}

#[test]
fn the_time_of_a_flow_sigma_is_where_the_level_has_it() -> Outcome {
    for shift in [1e-20, 0.1, 3.0, 1e6] {
        let flow = RectifiedFlow::shifted(shift)?;
        for sigma in [0.0, 1e-9, 0.03, 0.5, 0.9, 1.0 - 1e-9, 1.0] {
            let time = flow.time_of_flow_sigma(sigma)?;
            let level = flow.level(time)?;
            // dσ/dt = s/(1 + (s − 1)t)² times a rounding of t.
            let slope = shift / (1.0 + (shift - 1.0) * time).powi(2);
            assert!((level.sigma() - sigma).abs() <= 4e-16 * (1.0 + slope));
        }
        for bad in [-0.1, 1.1, f64::NAN] {
            assert!(matches!(
                flow.time_of_flow_sigma(bad),
                Err(Error::InvalidParameter {
                    name: "flow sigma",
                    ..
                })
            ));
        }
    }
    Ok(())
}

/// The network's time at a σ.
type Definition = fn(f64) -> f64;

#[test]
fn the_network_is_told_its_own_function_of_the_shifted_sigma() -> Outcome {
    let thousand = ModelTime::sigma().times(1000.0)?;
    let mochi = ModelTime::one_minus_sigma().times(1000.0)?;
    let cases: [(ModelTime, Definition, &str); 6] = [
        (ModelTime::default(), |s| s, "sigma"),
        (thousand, |s| 1000.0 * s, "1000 sigma"),
        (ModelTime::one_minus_sigma(), |s| 1.0 - s, "1 - sigma"),
        (mochi, |s| 1000.0 * (1.0 - s), "1000 (1 - sigma)"),
        (
            thousand.truncated(),
            |s| (1000.0 * s) as u32 as f64,
            "trunc(1000 sigma)",
        ),
        (
            mochi.truncated(),
            |s| (1000.0 * (1.0 - s)) as u32 as f64,
            "trunc(1000 (1 - sigma))",
        ),
    ];
    for (time, definition, text) in cases {
        assert_eq!(time.to_string(), text);
        for shift in [0.2, 1.0, 3.0] {
            let flow = RectifiedFlow::shifted(shift)?.with_model_time(time);
            assert_eq!(flow.model_time(), time);
            assert_eq!(flow.shift(), shift);
            let grid = Grid::trailing(&flow, 7)?;
            let path = Path::new(&flow, &grid)?;
            let sublevels = Sublevels::of(flow, 100)?;
            for level in [
                grid.start(),
                grid.levels()[3],
                grid.end(),
                // Off the grid, of knots, and rescaled.
                path.at_lambda(0.3)?,
                path.at_time(0.123)?,
                sublevels.knot_level(37.5)?,
                Grid::simple(&sublevels, 9)?.levels()[4],
                Grid::from_flow_sigmas(&flow, &[0.77, 0.29])?.start(),
            ] {
                assert_eq!(level.model_time(), definition(level.sigma()), "{text}");
            }
            let rescaled = UnitVariance::of(flow).level(0.4)?;
            assert_eq!(rescaled.model_time(), flow.level(0.4)?.model_time());
            // Nothing else of the level depends on it.
            let plain = RectifiedFlow::shifted(shift)?.level(0.4)?;
            let own = flow.level(0.4)?;
            assert_eq!(own.with_model_time(plain.model_time()), plain);
        }
    }
    Ok(())
}

#[test]
fn factors_multiply_and_a_product_that_is_no_factor_is_refused() -> Outcome {
    let twice = ModelTime::sigma().times(250.0)?.times(4.0)?;
    assert_eq!(twice, ModelTime::sigma().times(1000.0)?);
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(
            ModelTime::sigma().times(bad),
            Err(Error::InvalidParameter {
                name: "factor of the model time",
                ..
            })
        ));
    }
    assert!(ModelTime::sigma().times(1e200)?.times(1e200).is_err());
    Ok(())
}

#[test]
fn fractions_of_the_networks_times_count_from_either_end() -> Outcome {
    // SA-Solver's noise between 0.2 and 0.8 of the times: of 1000σ, and of 1000(1 − σ).
    let solver = SaSolver::new(2, 2, 1.0)?.starting_within(0.2, 0.8)?;
    for time in [ModelTime::sigma(), ModelTime::one_minus_sigma()] {
        let flow = RectifiedFlow::new().with_model_time(time.times(1000.0)?);
        let grid = Grid::trailing(&flow, 10)?;
        let plan = solver.plan(&Path::new(&flow, &grid)?)?;
        for (step, (from, _)) in plan.steps().iter().zip(grid.edges()) {
            let noise = step.stages.iter().any(|stage| stage.update.noise > 0.0);
            let within = from.sigma() > 0.19 && from.sigma() < 0.81;
            assert_eq!(noise, within, "{time}: {from}");
        }
    }
    Ok(())
}

#[test]
fn a_linear_shift_is_the_static_shift_by_mu() -> Outcome {
    for mu in [0.5, 1.0, 3.25] {
        let flow = RectifiedFlow::shifted_linearly(mu)?;
        assert_eq!(flow, RectifiedFlow::shifted(mu)?);
        for t in [0.1, 0.5, 0.9] {
            let expected = mu / (mu + (1.0 / t - 1.0));
            assert!((flow.level(t)?.sigma() - expected).abs() < 2e-16);
        }
    }
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(
            RectifiedFlow::shifted_linearly(bad),
            Err(Error::InvalidParameter { name: "mu", .. })
        ));
    }
    Ok(())
}

#[test]
fn rules_for_mu_have_the_values_of_the_pipelines() -> Outcome {
    // Computed by diffusers 0.42.1: Flux, CogView4 and FLUX.2.
    for (tokens, expected) in [
        (64, 0.46749999999999997),
        (256, 0.5),
        (1024, 0.63),
        (3600, 1.0660416666666666),
        (4096, 1.15),
        // Not clamped.
        (9216, 2.0166666666666666),
    ] {
        assert_eq!(mu::linear(tokens, (256, 0.5), (4096, 1.15))?, expected);
    }
    let qwen = mu::linear(8100, (256, 0.5), (8192, 0.9))?;
    assert_eq!(qwen, 0.8953629032258065);
    for (tokens, expected) in [
        (256, 1.0),
        (1024, 1.75),
        (4096, 3.25),
        (3000, 2.817449488305466),
    ] {
        assert_eq!(mu::square_root(tokens, 256, 0.25, 0.75)?, expected);
    }
    for (tokens, steps, expected) in [
        (1024, 4, 2.0306897079499455),
        (4096, 28, 2.151443161774889),
        (4096, 50, 2.0233511571292637),
        (4300, 50, 2.0446937905157894),
        (4301, 50, 1.18469693),
        (16384, 28, 3.22998634),
    ] {
        assert_eq!(mu::flux2(tokens, steps), expected);
    }
    for (tokens, expected) in [(256, 1.0), (1024, 2.0), (6400, 5.0)] {
        assert_eq!(mu::qwen_layered(tokens), expected);
        assert_eq!(mu::square_root(tokens, 256, 0.0, 1.0)?, expected);
    }
    Ok(())
}

#[test]
fn flux_2_passes_through_its_two_lines_at_10_and_200_steps() {
    for tokens in [0, 100, 1024, 4096, 4300] {
        let n = tokens as f64;
        let at_10 = mu::flux2(tokens, 10) - (8.73809524e-5 * n + 1.89833333);
        let at_200 = mu::flux2(tokens, 200) - (0.00016927 * n + 0.45666666);
        assert!(at_10.abs() < 1e-14 && at_200.abs() < 1e-14);
        let middle = 0.5 * (mu::flux2(tokens, 10) + mu::flux2(tokens, 200));
        assert!((mu::flux2(tokens, 105) - middle).abs() < 1e-14);
    }
}

#[test]
fn a_rule_for_mu_without_a_value_is_refused() {
    assert!(matches!(
        mu::linear(1000, (256, 0.5), (256, 1.15)),
        Err(Error::InvalidParameter {
            name: "token count of the second resolution",
            ..
        })
    ));
    assert!(matches!(
        mu::linear(1000, (256, f64::NAN), (4096, 1.15)),
        Err(Error::InvalidParameter { name: "mu", .. })
    ));
    assert!(matches!(
        mu::square_root(1000, 0, 0.25, 0.75),
        Err(Error::InvalidParameter {
            name: "base tokens",
            value: 0.0,
            ..
        })
    ));
    assert!(matches!(
        mu::square_root(1000, 256, f64::INFINITY, 0.75),
        Err(Error::InvalidParameter { name: "mu", .. })
    ));
}

//! Whole runs on data that are one point: σ → 0 with second order, a degenerate schedule, wrong
//! signs, and this crate's plans.

use diffusion_sampler::{
    Grid, NoiseLevel,
    schedule::{RectifiedFlow, TableSchedule},
    testing::{
        Failure, check_knots, check_on_point,
        proptest::prelude::*,
        strategies::{grids, plans},
    },
};

use super::common::{config, run_on_point};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// When a hand-written 2M is first order.
#[derive(Clone, Copy, PartialEq)]
enum Guard {
    Never,
    /// Onto σ = 0, and where there is no step before.
    Limits,
}

/// DPM-Solver++(2M) by hand, with x₀ for every estimate.
fn two_m(levels: &[NoiseLevel], x: &[f64], x0: &[f64], guard: Guard) -> Vec<f64> {
    let mut x = x.to_vec();
    let mut last: Option<f64> = None;
    for pair in levels.windows(2) {
        let (t, s) = (pair[0], pair[1]);
        let h = s.lambda() - t.lambda();
        let ratio = last.map(|before| before / h);
        let first_order = match (ratio, guard) {
            (None, _) => true,
            (Some(ratio), Guard::Limits) => h.is_infinite() || ratio <= 1e-3 || ratio.is_nan(),
            (Some(_), Guard::Never) => false,
        };
        for (x, d) in x.iter_mut().zip(x0) {
            let estimate = match ratio {
                Some(ratio) if !first_order => (1.0 + 0.5 / ratio) * d - 0.5 / ratio * d,
                _ => *d,
            };
            // A repeated knot is no step.
            if h != 0.0 || guard == Guard::Never {
                *x = s.sigma() / t.sigma() * *x - s.alpha() * (-h).exp_m1() * estimate;
            }
        }
        last = Some(h);
    }
    x
}

#[test]
fn second_order_onto_sigma_0_is_found() {
    proptest!(config(200), |((_, grid) in grids())| {
        let (from, to) = (grid.start(), grid.end());
        check_on_point(&from, &to, 1e-8, |x, x0| two_m(grid.levels(), x, x0, Guard::Limits))?;
        prop_assume!(to.is_clean() && grid.steps() > 1);
        let planted = check_on_point(&from, &to, 1e-8, |x, x0| {
            two_m(grid.levels(), x, x0, Guard::Never)
        });
        match planted {
            Err(Failure::NotFinite { value, .. }) => prop_assert!(value.is_nan()),
            other => prop_assert!(false, "{other:?}"),
        }
    });
}

#[test]
fn zero_over_zero_on_a_degenerate_schedule_is_found() -> Outcome {
    // Quadratic spacing, rounded: knots repeat at the clean end.
    let table = TableSchedule::linear(100, 1e-3, 0.2)?;
    let steps = 90;
    let times: Vec<f64> = (0..=steps)
        .map(|k| (100.0 * (f64::from(steps - k) / f64::from(steps)).powi(2)).round())
        .collect();
    assert!(matches!(
        check_knots(&times, 90, 100.0, 0.0),
        Err(Failure::KnotOrder { .. })
    ));
    use diffusion_sampler::schedule::NoiseSchedule;
    let levels: Vec<NoiseLevel> = times
        .iter()
        .filter(|time| **time > 0.0)
        .map(|&time| table.level(time))
        .collect::<Result<_, _>>()?;
    let (from, to) = (levels[0], levels[levels.len() - 1]);
    let run = |guard| check_on_point(&from, &to, 1e-9, |x, x0| two_m(&levels, x, x0, guard));
    assert!(matches!(run(Guard::Never), Err(Failure::NotFinite { value, .. }) if value.is_nan()));
    run(Guard::Limits)?;
    // This crate's grid of this name has no such knots.
    let grid = Grid::quadratic(&table, 90)?;
    let own: Vec<f64> = grid.levels().iter().map(|level| level.time()).collect();
    check_knots(&own, 90, 100.0, 0.0)?;
    Ok(())
}

#[test]
fn every_plan_of_the_catalogue_is_exact_on_a_point() {
    proptest!(config(400), |((name, plan) in plans())| {
        let (from, to) = (plan.start(), plan.end());
        prop_assume!(!from.is_clean());
        prop_assume!(!plan.is_stochastic() || to.is_clean());
        // LCM's boundary scalings keep some of the state, by design; published weights that do not sum
        // to one miss the point.
        prop_assume!(name != "LCM" && name != "iPNDM-v 4, as published");
        // Heun's correction multiplies rounding by e^h, BELM by the ratio of two steps in ρ, squared.
        let multiplies = name == "Heun" || name.starts_with("BELM");
        let tolerance = if multiplies { 1e-5 } else { 1e-9 };
        check_on_point(&from, &to, tolerance, |x, x0| run_on_point(&plan, x, x0))?;
    });
}

/// Euler's method on a flow, x ← x + (σ_s − σ_t) u, with the sign of u.
fn euler(grid: &Grid, x: &[f64], x0: &[f64], sign: f64) -> Vec<f64> {
    let mut x = x.to_vec();
    for (t, s) in grid.edges() {
        for (x, x0) in x.iter_mut().zip(x0) {
            let noise = (*x - t.alpha() * x0) / t.sigma();
            *x += (s.sigma() - t.sigma()) * sign * (noise - x0);
        }
    }
    x
}

#[test]
fn a_flow_run_backwards_is_found() -> Outcome {
    let flow = RectifiedFlow::new();
    for steps in [1, 2, 5, 28] {
        let grid = Grid::trailing(&flow, steps)?;
        let (from, to) = (grid.start(), grid.end());
        check_on_point(&from, &to, 1e-12, |x, x0| euler(&grid, x, x0, 1.0))?;
        let failure = check_on_point(&from, &to, 1e-12, |x, x0| euler(&grid, x, x0, -1.0));
        assert!(
            matches!(failure, Err(Failure::PointFlow { .. })),
            "{failure:?}"
        );
    }
    Ok(())
}

#[test]
fn a_run_that_returns_another_shape_is_found() -> Outcome {
    let (t, clean) = (NoiseLevel::new(2.0, 0.6, 0.8)?, NoiseLevel::clean());
    let failure = check_on_point(&t, &clean, 1e-9, |x: &[f64], _| x[1..].to_vec());
    assert!(matches!(
        failure,
        Err(Failure::Length { array: "state", .. })
    ));
    let failure = check_on_point(&clean, &t, 1e-9, |x: &[f64], _| x.to_vec());
    assert!(matches!(failure, Err(Failure::Setup(_))));
    Ok(())
}

#[test]
fn a_miss_of_the_points_flow_is_measured_against_the_tolerance() -> Outcome {
    let (t, s) = (
        NoiseLevel::new(2.0, 0.6, 0.8)?,
        NoiseLevel::new(1.0, 0.8, 0.6)?,
    );
    let run = |miss: f64| {
        check_on_point(&t, &s, 1e-9, |x: &[f64], x0| {
            let pairs = x.iter().zip(x0);
            let terms = pairs.map(|(x, x0)| (0.8 * x0, 0.6 * (x - 0.6 * x0) / 0.8));
            terms
                .map(|(a, b)| a + b + miss * (a.abs() + b.abs()))
                .collect()
        })
    };
    run(0.9e-9)?;
    assert!(matches!(
        run(1.1e-9),
        Err(Failure::PointFlow { index: 0, .. })
    ));
    Ok(())
}

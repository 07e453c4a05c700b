//! Ramps of ρ and of a flow's σ, against their formulas in these values.

use std::f64::consts::{FRAC_PI_2, PI};

use diffusion_sampler::{
    Error, Grid,
    grid::SigmaRange,
    schedule::{
        Edm, LambdaRange, NoiseSchedule, RectifiedFlow, Sublevels, TableSchedule,
        VarianceExploding, VariancePreserving,
    },
};

use super::common::{Outcome, TABLE, is_sound};

/// A schedule, a range and its two ends.
type Case = (Box<dyn NoiseSchedule>, SigmaRange, f64, f64);

const STEPS: [usize; 8] = [1, 2, 3, 5, 10, 18, 31, 100];

/// Ranges of ρ on every kind of schedule.
fn in_rho() -> Result<Vec<Case>, Error> {
    let table = TableSchedule::scaled_linear(TABLE, 0.00085, 0.012)?;
    let ends = table.lambda_range();
    let mut cases: Vec<Case> = vec![(
        Box::new(table),
        ends.into(),
        (-ends.noisy()).exp(),
        (-ends.clean()).exp(),
    )];
    for (max, min) in [(80.0, 0.002), (14.6, 0.03), (1.5, 0.4)] {
        let range = SigmaRange::rhos(max, min)?;
        let schedules: [Box<dyn NoiseSchedule>; 4] = [
            Box::new(Edm::default()),
            Box::new(VarianceExploding::new(0.002, 80.0)?),
            Box::new(VariancePreserving::default()),
            Box::new(RectifiedFlow::shifted(3.0)?),
        ];
        for schedule in schedules {
            if schedule.lambda_range().noisy() <= range.lambdas().noisy() {
                cases.push((schedule, range, max, min));
            }
        }
    }
    Ok(cases)
}

/// Ranges of σ/(α + σ), on a flow and on another schedule.
fn in_flow_sigma() -> Result<Vec<Case>, Error> {
    let mut cases: Vec<Case> = Vec::new();
    for shift in [1.0, 3.0, 12.0] {
        let flow = RectifiedFlow::shifted(shift)?;
        let least = shift * 0.001 / (1.0 + (shift - 1.0) * 0.001);
        let range = SigmaRange::of(&Sublevels::of(flow, 1000)?)?;
        cases.push((Box::new(flow), range, 1.0, least));
        cases.push((Box::new(flow), SigmaRange::flow(0.9, 0.05)?, 0.9, 0.05));
    }
    let range = SigmaRange::flow(0.9, 0.05)?;
    cases.push((Box::new(VariancePreserving::default()), range, 0.9, 0.05));
    Ok(cases)
}

/// The values of a grid's levels in the measure of a case.
fn values(grid: &Grid, flow: bool) -> Vec<f64> {
    let value = |rho: f64| {
        if flow && rho.is_finite() {
            rho / (1.0 + rho)
        } else {
            rho
        }
    };
    grid.levels()
        .iter()
        .map(|level| {
            if flow && level.alpha() == 0.0 {
                1.0
            } else {
                value(level.rho())
            }
        })
        .collect()
}

/// Every grid of a spacing is the formula's list of ν, and then clean.
fn is_the_formula(
    name: &str,
    spacing: impl Fn(&dyn NoiseSchedule, usize, SigmaRange) -> Result<Grid, Error>,
    formula: impl Fn(usize, f64, f64) -> Vec<f64>,
) -> Outcome {
    let (fitting, all) = where_it_decreases(name, spacing, formula)?;
    assert_eq!(fitting, all);
    Ok(())
}

/// Every grid of a spacing is the formula's list of ν, and then clean, wherever that list decreases
/// and stays within its ends; elsewhere it is refused. How many there were of the first kind, and of
/// both.
fn where_it_decreases(
    name: &str,
    spacing: impl Fn(&dyn NoiseSchedule, usize, SigmaRange) -> Result<Grid, Error>,
    formula: impl Fn(usize, f64, f64) -> Vec<f64>,
) -> Result<(usize, usize), Box<dyn std::error::Error>> {
    let (mut fitting, mut all) = (0, 0);
    for (flow, cases) in [(false, in_rho()?), (true, in_flow_sigma()?)] {
        for (schedule, range, max, min) in cases {
            for steps in STEPS {
                let expected = formula(steps, max, min);
                let last = schedule.last_time();
                let place = format!("{name}, T = {last}, {max} to {min}, K = {steps}");
                all += 1;
                if !expected.windows(2).all(|pair| pair[0] > pair[1]) {
                    let refused = spacing(&*schedule, steps, range);
                    assert!(
                        matches!(
                            refused,
                            Err(Error::NoiseNotDecreasing { .. } | Error::LambdaOutOfRange { .. })
                        ),
                        "{place}"
                    );
                    continue;
                }
                fitting += 1;
                let grid =
                    spacing(&*schedule, steps, range).map_err(|e| format!("{place}: {e}"))?;
                is_sound(&grid, steps);
                assert_eq!(expected.len(), steps, "{place}");
                for (found, expected) in values(&grid, flow).iter().zip(&expected) {
                    // Through λ and the schedule's time and back; near σ = 1 of a flow 1 − σ is
                    // what carries the digits.
                    let error = (found / expected - 1.0).abs();
                    assert!(error < 3e-12, "{place}: {found} for {expected}, {error:e}");
                }
            }
        }
    }
    Ok((fitting, all))
}

/// u = k/(K − 1).
fn uniform(steps: usize) -> impl Iterator<Item = f64> {
    (0..steps).map(move |k| k as f64 / (steps.max(2) - 1) as f64)
}

#[test]
fn karras_is_k_diffusions_in_both_measures() -> Outcome {
    is_the_formula(
        "Karras",
        |s, k, range| Grid::karras(s, k, range, 7.0),
        |steps, max, min| {
            let (a, b) = (max.powf(1.0 / 7.0), min.powf(1.0 / 7.0));
            uniform(steps).map(|u| (a + u * (b - a)).powi(7)).collect()
        },
    )
}

#[test]
fn exponential_is_k_diffusions_polyexponential() -> Outcome {
    for power in [1.0, 0.5, 2.5] {
        is_the_formula(
            "polyexponential",
            |s, k, range| Grid::exponential(s, k, range, power),
            |steps, max, min| {
                let (a, b) = (max.ln(), min.ln());
                // linspace(1, 0, n)^rho (ln max − ln min) + ln min.
                uniform(steps)
                    .map(|u| ((1.0 - u).powf(power) * (a - b) + b).exp())
                    .collect()
            },
        )?;
    }
    Ok(())
}

#[test]
fn exponential_is_edms_ve_discretisation() -> Outcome {
    is_the_formula(
        "VE",
        |s, k, range| Grid::exponential(s, k, range, 1.0),
        |steps, max, min| {
            let squares = |u: f64| max * max * (min * min / (max * max)).powf(u);
            uniform(steps).map(|u| squares(u).sqrt()).collect()
        },
    )
}

#[test]
fn kl_optimal_is_uniform_in_the_arctan() -> Outcome {
    is_the_formula(
        "KL optimal",
        |s, k, range| Grid::kl_optimal(s, k, range),
        |steps, max, min| {
            uniform(steps)
                .map(|u| (u * min.atan() + (1.0 - u) * max.atan()).tan())
                .collect()
        },
    )
}

#[test]
fn kl_optimal_has_automatics_form_and_a_form_from_pure_noise() -> Outcome {
    // K + 1 values and no clean end.
    let edm = Edm::default();
    let (high, low) = (80.0f64.atan(), 0.002f64.atan());
    let grid = Grid::kl_optimal(&edm, 9, edm.lambda_range())?.without_clean_end()?;
    assert_eq!(grid.steps(), 8);
    for (k, level) in grid.levels().iter().enumerate() {
        let u = k as f64 / 8.0;
        let expected = (u * low + (1.0 - u) * high).tan();
        assert!((level.rho() / expected - 1.0).abs() < 1e-12);
    }
    // ρ = ∞ at the noisy end is arctan ρ = ½π.
    let flow = RectifiedFlow::new();
    let range = LambdaRange::new(f64::NEG_INFINITY, 3.0)?;
    for steps in [1, 2, 7, 1000] {
        let grid = Grid::kl_optimal(&flow, steps, range)?;
        is_sound(&grid, steps);
        assert_eq!(grid.start().alpha(), 0.0);
        for (level, u) in grid.levels()[..steps].iter().zip(uniform(steps)).skip(1) {
            let cotangent = ((1.0 - u) * FRAC_PI_2 + u * (-3.0f64).exp().atan()).cos()
                / ((1.0 - u) * FRAC_PI_2 + u * (-3.0f64).exp().atan()).sin();
            let error = (level.rho() * cotangent - 1.0).abs();
            assert!(error < 1e-12, "{steps}: {error:e}");
        }
    }
    Ok(())
}

/// The standard deviation that DDIM gives N(0, c²), over the true one: Euler's factors in ρ.
fn ratio(rhos: &[f64], data_std: f64) -> f64 {
    let square = data_std * data_std;
    let run: f64 = rhos
        .windows(2)
        .map(|pair| 1.0 - (pair[0] - pair[1]) * pair[0] / (square + pair[0] * pair[0]))
        .product();
    run * (square + rhos[0] * rhos[0]).sqrt() / data_std
}

#[test]
fn arctan_is_the_best_grid_for_gaussian_data() -> Outcome {
    let edm = Edm::default();
    for data_std in [0.25, 0.5, 1.0, 3.0] {
        for steps in [1, 2, 5, 12, 40] {
            let grid = Grid::arctan(&edm, steps, data_std)?;
            is_sound(&grid, steps);
            let rhos: Vec<f64> = grid.levels().iter().map(|level| level.rho()).collect();
            let angle = (80.0 / data_std).atan();
            for (k, rho) in rhos.iter().enumerate().take(steps) {
                let expected = data_std * ((1.0 - k as f64 / steps as f64) * angle).tan();
                assert!((rho / expected - 1.0).abs() < 1e-12);
            }
            let best = ratio(&rhos, data_std);
            let closed = (angle / steps as f64).cos().powi(steps as i32);
            assert!((best / closed - 1.0).abs() < 1e-11, "{best} {closed}");
            // Any other knot takes the distribution further from the data's.
            for knot in 1..steps {
                for factor in [0.98, 0.999, 1.001, 1.02] {
                    let mut other = rhos.clone();
                    other[knot] *= factor;
                    assert!(ratio(&other, data_std) < best);
                }
            }
        }
    }
    Ok(())
}

#[test]
fn arctan_starts_at_pure_noise_and_is_kl_optimal_onto_the_clean_end() -> Outcome {
    let flow = RectifiedFlow::shifted(3.0)?;
    for steps in [1, 2, 3, 10, 1000] {
        let grid = Grid::arctan(&flow, steps, 0.5)?;
        is_sound(&grid, steps);
        assert_eq!(grid.start(), flow.level(1.0)?);
        for (k, level) in grid.levels()[..steps].iter().enumerate().skip(1) {
            let angle = FRAC_PI_2 * (steps - k) as f64 / steps as f64;
            let error = (level.rho() / (0.5 * angle.sin() / angle.cos()) - 1.0).abs();
            assert!(error < 1e-12, "{error:e}");
        }
    }
    // With the clean end as the last of K + 1 angles it is the form between two ends.
    let edm = Edm::new(1e-13, 80.0)?;
    let between = Grid::kl_optimal(&edm, 11, SigmaRange::rhos(80.0, 1e-13)?)?;
    let onto = Grid::arctan(&edm, 10, 1.0)?;
    for (a, b) in between.levels()[..10].iter().zip(onto.levels()) {
        assert!((a.rho() / b.rho() - 1.0).abs() < 1e-11);
    }
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(
            Grid::arctan(&edm, 4, bad),
            Err(Error::InvalidParameter {
                name: "data_std",
                ..
            })
        ));
    }
    assert!(matches!(
        Grid::arctan(&edm, 0, 1.0),
        Err(Error::StepCount { steps: 0, .. })
    ));
    Ok(())
}

#[test]
fn beta_sigmas_are_the_quantiles_between_the_ends() -> Outcome {
    is_the_formula(
        "beta sigmas",
        |s, k, range| Grid::beta_sigmas(s, k, range, (0.5, 0.5)),
        |steps, max, min| {
            // Beta(½, ½) has the quantiles sin²(½πp).
            uniform(steps)
                .map(|u| min + (max - min) * (0.5 * PI * (1.0 - u)).sin().powi(2))
                .collect()
        },
    )?;
    // diffusers' 0.6, 5 values, computed with 40 digits.
    let grid = Grid::beta_sigmas(&Edm::default(), 5, SigmaRange::rhos(10.0, 2.0)?, (0.6, 0.6))?;
    let low = 0.175_680_378_652_695;
    for (level, q) in grid.levels().iter().zip([1.0, 1.0 - low, 0.5, low, 0.0]) {
        assert!((level.rho() - (2.0 + 8.0 * q)).abs() < 1e-13);
    }
    Ok(())
}

#[test]
fn laplace_has_the_quantiles_and_the_ranges_ends() -> Outcome {
    let (mu, scale) = (-0.2f64, 0.2f64);
    let (fitting, all) = where_it_decreases(
        "Laplace",
        |s, k, range| Grid::laplace(s, k, range, mu, scale),
        |steps, max, min| {
            // ComfyUI's line, without the 1e-5 under the logarithm.
            let value =
                |x: f64| mu - scale * (0.5 - x).signum() * (1.0 - 2.0 * (0.5 - x).abs()).ln();
            uniform(steps)
                .enumerate()
                .map(|(k, x)| match k {
                    0 => max,
                    k if k == steps - 1 => min,
                    _ => value(x).exp(),
                })
                .collect()
        },
    )?;
    assert!(fitting > all / 2 && fitting < all, "{fitting} of {all}");
    // Of a flow's σ no more than 1 can be had: ComfyUI's clamp would repeat it.
    let whole = SigmaRange::flow(1.0, 0.001)?;
    assert!(matches!(
        Grid::laplace(&RectifiedFlow::new(), 9, whole, 0.0, 0.5),
        Err(Error::NoiseNotDecreasing { knot: 1, .. })
    ));
    let range = SigmaRange::rhos(14.6, 0.03)?;
    for (mu, scale) in [(f64::NAN, 0.5), (0.0, 0.0), (0.0, -1.0)] {
        assert!(matches!(
            Grid::laplace(&Edm::default(), 4, range, mu, scale),
            Err(Error::InvalidParameter { .. })
        ));
    }
    Ok(())
}

/// ComfyUI's and Mochi's way of writing the parabola.
fn linear_quadratic(steps: usize, threshold: f64) -> Vec<f64> {
    if steps == 1 {
        return vec![1.0];
    }
    let linear = (steps / 2) as f64;
    let difference = linear - threshold * steps as f64;
    let rest = steps as f64 - linear;
    let quadratic = difference / (linear * rest * rest);
    let slope = threshold / linear - 2.0 * difference / (rest * rest);
    let constant = quadratic * linear * linear;
    (0..steps)
        .map(|i| {
            let i = i as f64;
            1.0 - if i < linear {
                i * threshold / linear
            } else {
                quadratic * i * i + slope * i + constant
            }
        })
        .collect()
}

#[test]
fn linear_quadratic_is_mochis_parabola() -> Outcome {
    for threshold in [0.025, 0.3] {
        is_the_formula(
            "linear quadratic",
            |s, k, range| Grid::linear_quadratic(s, k, range, threshold),
            |steps, max, _| {
                linear_quadratic(steps, threshold)
                    .into_iter()
                    .map(|x| max * x)
                    .collect()
            },
        )?;
    }
    let flow = RectifiedFlow::new();
    let range = SigmaRange::flow(1.0, 0.001)?;
    for bad in [0.0, 1.0, -0.1, f64::NAN] {
        assert!(matches!(
            Grid::linear_quadratic(&flow, 4, range, bad),
            Err(Error::InvalidParameter {
                name: "threshold",
                ..
            })
        ));
    }
    // Above two thirds the parabola turns back before 1.
    assert!(Grid::linear_quadratic(&flow, 20, range, 0.66).is_ok());
    assert!(matches!(
        Grid::linear_quadratic(&flow, 20, range, 0.8),
        Err(Error::NoiseNotDecreasing { .. } | Error::LambdaOutOfRange { .. })
    ));
    Ok(())
}

/// RES4LYF's list: an arc of `count` values around `pivot`, from `start` to `end`.
fn arc(count: usize, slope: f64, pivot: f64, start: f64, end: f64) -> Vec<f64> {
    let value = |x: f64| ((2.0 / PI) * (-slope * (x - pivot)).atan() + 1.0) / 2.0;
    let (most, least) = (value(0.0), value((count - 1) as f64));
    (0..count)
        .map(|x| (value(x as f64) - least) / (most - least) * (start - end) + end)
        .collect()
}

#[test]
fn bong_tangent_is_two_arcs() -> Outcome {
    for steps in (2..=60).chain([100, 1000]) {
        let all = steps + 2;
        let middle = ((all as f64 * 0.6 + all as f64 * 0.6) / 2.0) as usize;
        let pivot = (all as f64 * 0.6) as usize;
        let slope = 0.2 / (all as f64 / 40.0);
        let mut expected = arc(middle, slope, pivot as f64, 1.0, 0.5);
        expected.pop();
        let second = pivot as f64 - middle as f64;
        expected.extend(arc(all - middle, slope, second, 0.5, 0.0));
        assert_eq!(expected.len(), steps + 1);
        for (schedule, range, max, _) in in_flow_sigma()? {
            let grid = Grid::bong_tangent(&*schedule, steps, range)?;
            is_sound(&grid, steps);
            for (found, share) in values(&grid, true).iter().zip(&expected) {
                assert!((found - max * share).abs() < 1e-13, "{steps}: {found}");
            }
        }
        let edm = Edm::default();
        let grid = Grid::bong_tangent(&edm, steps, SigmaRange::rhos(10.0, 0.1)?)?;
        for (level, share) in grid.levels().iter().zip(&expected) {
            assert!((level.rho() - 10.0 * share).abs() < 1e-12);
        }
    }
    // The noisy end is the range's own, not a rounding of it.
    let table = TableSchedule::scaled_linear(TABLE, 0.00085, 0.012)?;
    for hundredths in 1..100 {
        let noisy = -0.01 * f64::from(hundredths);
        let grid = Grid::bong_tangent(&table, 5, LambdaRange::new(noisy, 3.0)?)?;
        assert_eq!(grid.levels()[0], table.level(table.time_of_lambda(noisy)?)?);
    }
    for steps in [0, 1] {
        let refused = Grid::bong_tangent(&Edm::default(), steps, SigmaRange::rhos(2.0, 1.0)?);
        assert!(matches!(refused, Err(Error::StepCount { min: 2, .. })));
    }
    Ok(())
}

#[test]
fn edm_vp_is_the_papers_discretisation() -> Outcome {
    let (fitting, all) = where_it_decreases(
        "VP",
        |s, k, range| Grid::edm_vp(s, k, range, 1e-3),
        |steps, max, min| {
            let epsilon = 1e-3;
            let (a, b) = ((min * min).ln_1p(), (max * max).ln_1p());
            let beta_d = 2.0 * (a / epsilon - b) / (epsilon - 1.0);
            let beta_min = b - 0.5 * beta_d;
            uniform(steps)
                .map(|u| 1.0 + u * (epsilon - 1.0))
                .map(|t| (0.5 * beta_d * t * t + beta_min * t).exp_m1().sqrt())
                .collect()
        },
    )?;
    assert!(fitting > all / 2 && fitting < all, "{fitting} of {all}");
    // On a VP schedule with its own ends it is uniform in the schedule's time.
    let vp = VariancePreserving::default();
    let range = LambdaRange::of_times(&vp, 1.0, 1e-3)?;
    let grid = Grid::edm_vp(&vp, 10, range, 1e-3)?;
    for (k, level) in grid.levels()[..10].iter().enumerate() {
        let time = 1.0 - k as f64 / 9.0 * (1.0 - 1e-3);
        assert!((level.time() - time).abs() < 1e-12);
    }
    assert!(Grid::edm_vp(&vp, 10, range, 1.0).is_err());
    Ok(())
}

#[test]
fn ranges_refuse_what_they_cannot_be() -> Outcome {
    for (max, min) in [
        (1.5, 0.1),
        (0.5, 0.5),
        (0.5, 0.0),
        (0.0, -1.0),
        (f64::NAN, 0.1),
    ] {
        assert!(matches!(
            SigmaRange::flow(max, min),
            Err(Error::InvalidParameter { .. })
        ));
    }
    assert!(SigmaRange::rhos(0.1, 0.2).is_err());
    // Without sub-levels a flow has no least noisy level.
    assert!(matches!(
        SigmaRange::of(&RectifiedFlow::new()),
        Err(Error::UnboundedLambda { .. })
    ));
    // A range in ρ that starts at ρ = ∞, for ramps that are not laid in an angle.
    let zero = TableSchedule::linear(TABLE, 1e-4, 0.02)?.zero_terminal_snr()?;
    let whole = SigmaRange::of(&zero)?;
    let unbounded = [
        Grid::karras(&zero, 4, whole, 7.0),
        Grid::exponential(&zero, 4, whole, 1.0),
        Grid::beta_sigmas(&zero, 4, whole, (0.6, 0.6)),
        Grid::laplace(&zero, 4, whole, 0.0, 0.5),
        Grid::linear_quadratic(&zero, 4, whole, 0.025),
        Grid::bong_tangent(&zero, 4, whole),
        Grid::edm_vp(&zero, 4, whole, 1e-3),
        Grid::iddpm(&zero, 4, whole),
    ];
    for refused in unbounded {
        assert!(matches!(refused, Err(Error::UnboundedLambda { .. })));
    }
    is_sound(&Grid::kl_optimal(&zero, 4, whole)?, 4);
    // Flow σ as a list, on a flow and elsewhere.
    let vp = VariancePreserving::default();
    let grid = Grid::from_flow_sigmas(&vp, &[0.9, 0.5, 0.25, 0.0])?;
    for (level, sigma) in grid.levels().iter().zip([0.9, 0.5, 0.25, 0.0]) {
        assert!((level.rho() - sigma / (1.0 - sigma)).abs() <= 1e-12 * level.rho());
    }
    for (list, index) in [
        (vec![1.5, 0.0], 0),
        (vec![0.5, -0.1], 1),
        (vec![0.5, f64::NAN], 1),
    ] {
        assert!(matches!(
            Grid::from_flow_sigmas(&vp, &list),
            Err(Error::InvalidEntry { index: found, .. }) if found == index
        ));
    }
    for steps in [0, usize::MAX] {
        for refused in [
            Grid::kl_optimal(&Edm::default(), steps, SigmaRange::rhos(2.0, 1.0)?),
            Grid::linear_quadratic(&Edm::default(), steps, SigmaRange::rhos(2.0, 1.0)?, 0.1),
            Grid::iddpm(&Edm::default(), steps, SigmaRange::rhos(2.0, 1.0)?),
        ] {
            assert!(matches!(refused, Err(Error::StepCount { .. })));
        }
    }
    Ok(())
}

#[test]
fn arctangents_keep_their_digits_near_pure_noise() -> Outcome {
    let (edm, steps) = (Edm::new(0.002, 1e8)?, 100_000);
    let all = steps as f64;
    // The angle from π/2: that of 1/ρ.
    let start = 1e-8_f64.atan();
    let kl = Grid::kl_optimal(&edm, steps, edm.lambda_range())?;
    let arctan = Grid::arctan(&edm, steps, 1.0)?;
    for k in [1, 2, 10, 1000] {
        let u = k as f64 / (all - 1.0);
        let rest = (1.0 - u) * start + u * 500.0_f64.atan();
        let error = kl.levels()[k].rho() * rest.tan() - 1.0;
        assert!(error.abs() < 1e-14, "KL {k}: {error:e}");
        let rest = start + (k as f64 / all) * 1e8_f64.atan();
        let error = arctan.levels()[k].rho() * rest.tan() - 1.0;
        assert!(error.abs() < 1e-14, "arctan {k}: {error:e}");
    }
    Ok(())
}

#[test]
fn lopsided_beta_sigmas_are_the_closed_form() -> Outcome {
    let edm = Edm::default();
    let grid = Grid::beta_sigmas(&edm, 5, edm.lambda_range(), (1.0, 3.0))?;
    for (k, level) in grid.levels()[..5].iter().enumerate() {
        // 1 − q = (1 − p)^(1/3) of Beta(1, 3), p = 1 − k/4.
        let expected = 0.002 + (80.0 - 0.002) * (1.0 - (k as f64 / 4.0).cbrt());
        let error = level.rho() / expected - 1.0;
        assert!(error.abs() < 1e-11, "{k}: {error:e}");
    }
    Ok(())
}

#[test]
fn a_schedule_of_hardly_any_noise_is_no_flow() -> Outcome {
    // α + σ = 1 to rounding, and still EDM's.
    let edm = Edm::new(1e-15, 1e-13)?;
    assert_eq!(SigmaRange::of(&edm)?, edm.lambda_range().into());
    let flow = RectifiedFlow::new();
    let own = SigmaRange::of(&Sublevels::of(flow, 1000)?)?;
    assert_ne!(own, own.lambdas().into());
    Ok(())
}

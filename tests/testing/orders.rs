//! Orders: UniPC's predictor on the corrector's history, half a second difference, and this crate's
//! solvers.

use diffusion_sampler::{
    Grid, KeyedNoise, NoiseLevel, Prediction, Sampler,
    oracle::{Gaussian, Oracle},
    schedule::VariancePreserving,
    solver::{Entry, Path, catalogue},
    testing::{Failure, check_order, proptest::prelude::*},
};

use super::common::{at_lambda, config, row};

type Outcome = Result<(), Box<dyn std::error::Error>>;

const MEANS: [f64; 3] = [1.0, -0.5, 0.3];
const VARIANCES: [f64; 3] = [0.05, 0.5, 3.0];
const STARTS: [f64; 3] = [0.3, -1.1, 0.8];

/// D = m + αv/(α²v + σ²)(x − αm) along each axis, written out.
fn estimate(x: &[f64], level: &NoiseLevel) -> Vec<f64> {
    let (alpha, sigma) = (level.alpha(), level.sigma());
    (0..3)
        .map(|i| {
            let gain = alpha * VARIANCES[i] / (alpha * alpha * VARIANCES[i] + sigma * sigma);
            MEANS[i] + gain * (x[i] - alpha * MEANS[i])
        })
        .collect()
}

/// The exact flow, x' = α'm + √(s'/s)(x − αm), written out.
fn exact(x: &[f64], from: &NoiseLevel, to: &NoiseLevel) -> Vec<f64> {
    let spread =
        |level: &NoiseLevel, v: f64| (level.alpha().powi(2) * v + level.sigma().powi(2)).sqrt();
    (0..3)
        .map(|i| {
            let growth = spread(to, VARIANCES[i]) / spread(from, VARIANCES[i]);
            to.alpha() * MEANS[i] + growth * (x[i] - from.alpha() * MEANS[i])
        })
        .collect()
}

/// K steps of even size between two λ's.
fn levels(steps: usize, (from, to): (f64, f64)) -> Vec<NoiseLevel> {
    (0..=steps)
        .map(|k| at_lambda(from + (to - from) * k as f64 / steps as f64))
        .collect()
}

/// a·x + Σ c_j y_j.
fn sum(terms: &[(f64, &[f64])]) -> Vec<f64> {
    (0..3)
        .map(|i| terms.iter().map(|(c, y)| c * y[i]).sum())
        .collect()
}

/// Which estimates UniPC's predictor sees.
#[derive(Clone, Copy, PartialEq)]
enum Predictor {
    /// Up to the newest.
    Right,
    /// Those of the corrector, which regards the newest as the result of the step.
    CorrectorsHistory,
}

/// UniPC-2 (Zhao et al. 2023), B₂, on x₀: a predictor of order 2 and a corrector, order 3 together.
fn unipc(steps: usize, range: (f64, f64), predictor: Predictor) -> Vec<f64> {
    let levels = levels(steps, range);
    let mut x = STARTS.to_vec();
    let mut history = vec![(levels[0].lambda(), estimate(&x, &levels[0]))];
    for pair in levels.windows(2) {
        let (t, s) = (pair[0], pair[1]);
        let h = s.lambda() - t.lambda();
        let phi = (-h).exp_m1();
        let base = (s.sigma() / t.sigma(), s.alpha() * phi);
        let seen = match predictor {
            Predictor::CorrectorsHistory if history.len() > 1 => &history[..history.len() - 1],
            _ => &history[..],
        };
        let predicted = {
            let (_, m0) = &seen[seen.len() - 1];
            match seen.len() {
                1 => sum(&[(base.0, &x), (-base.1, m0)]),
                n => {
                    let (before, m1) = &seen[n - 2];
                    let r = (before - seen[n - 1].0) / h;
                    let c = 0.5 * base.1 / r;
                    sum(&[(base.0, &x), (c - base.1, m0), (-c, m1)])
                }
            }
        };
        let newest = estimate(&predicted, &s);
        let (lambda, m0) = &history[history.len() - 1];
        x = match history.len() {
            1 => {
                let c = 0.5 * base.1;
                sum(&[(base.0, &x), (c - base.1, m0), (-c, &newest)])
            }
            n => {
                let (before, m1) = &history[n - 2];
                let r = (before - lambda) / h;
                // Solves [1 1; r 1] ρ = b.
                let first = phi / -h - 1.0;
                let b = (first / phi, 2.0 * (first / -h - 0.5) / phi);
                let rho0 = (b.0 - b.1) / (1.0 - r);
                let rho1 = b.0 - rho0;
                let (c0, c1) = (base.1 * rho0 / r, base.1 * rho1);
                sum(&[
                    (base.0, &x),
                    (c0 + c1 - base.1, m0),
                    (-c0, m1),
                    (-c1, &newest),
                ])
            }
        };
        history.push((s.lambda(), newest));
    }
    x
}

#[test]
fn unipc_with_the_correctors_history_loses_an_order_and_is_found() -> Outcome {
    let range = (-3.0, 3.0);
    let truth = exact(&STARTS, &at_lambda(range.0), &at_lambda(range.1));
    let measured = check_order(3, 160, &truth, |k| unipc(k, range, Predictor::Right))?;
    assert!((2.7..3.3).contains(&measured), "{measured}");
    let planted = |k| unipc(k, range, Predictor::CorrectorsHistory);
    match check_order(3, 160, &truth, planted) {
        Err(Failure::Order {
            claimed: 3,
            measured,
            steps: [160, 320],
            ..
        }) => {
            assert!((1.7..2.3).contains(&measured), "{measured}");
        }
        other => panic!("{other:?}"),
    }
    Ok(())
}

/// DPM-Solver++(3M) with its published second-difference term times `factor`; started from three
/// exact states.
fn three_m(steps: usize, (from, to): (f64, f64), factor: f64) -> Vec<f64> {
    let h = (to - from) / steps as f64;
    let start = at_lambda(from);
    let states = |k: f64| {
        let level = at_lambda(from - k * h);
        estimate(&exact(&STARTS, &start, &level), &level)
    };
    let (mut m1, mut m2) = (states(1.0), states(2.0));
    let mut x = STARTS.to_vec();
    for pair in levels(steps, (from, to)).windows(2) {
        let (t, s) = (pair[0], pair[1]);
        let m0 = estimate(&x, &t);
        // Even steps: r₀ = r₁ = 1.
        let first = sum(&[(1.0, &m0), (-1.0, &m1)]);
        let second = sum(&[(1.0, &m1), (-1.0, &m2)]);
        let d1 = sum(&[(1.5, &first), (-0.5, &second)]);
        let d2 = sum(&[(0.5, &first), (-0.5, &second)]);
        let e = (-h).exp_m1();
        x = sum(&[
            (s.sigma() / t.sigma(), &x),
            (-s.alpha() * e, &m0),
            (s.alpha() * (e / h + 1.0), &d1),
            (-s.alpha() * factor * ((e + h) / (h * h) - 0.5), &d2),
        ]);
        m2 = std::mem::replace(&mut m1, m0);
    }
    x
}

#[test]
fn half_a_second_difference_is_second_order_and_is_found() -> Outcome {
    let range = (-2.5, 3.0);
    let truth = exact(&STARTS, &at_lambda(range.0), &at_lambda(range.1));
    // The exact integral of the quadratic interpolant has twice the published weight.
    let measured = check_order(3, 160, &truth, |k| three_m(k, range, 2.0))?;
    assert!((2.7..3.3).contains(&measured), "{measured}");
    match check_order(3, 160, &truth, |k| three_m(k, range, 1.0)) {
        Err(Failure::Order { measured, .. }) => {
            assert!((1.7..2.3).contains(&measured), "{measured}");
        }
        other => panic!("{other:?}"),
    }
    Ok(())
}

#[test]
fn right_multistep_solvers_pass_on_many_ranges() {
    proptest!(config(40), |(from in -3.5..-1.5, to in 1.5..3.5)| {
        let truth = exact(&STARTS, &at_lambda(from), &at_lambda(to));
        check_order(3, 160, &truth, |k| unipc(k, (from, to), Predictor::Right))?;
        check_order(3, 160, &truth, |k| three_m(k, (from, to), 2.0))?;
        prop_assert!(check_order(3, 160, &truth, |k| three_m(k, (from, to), 1.0)).is_err());
        let stale = |k| unipc(k, (from, to), Predictor::CorrectorsHistory);
        prop_assert!(check_order(3, 160, &truth, stale).is_err());
    });
}

/// The first steps of a multistep method are of lower orders: they are replaced by the exact flow. A
/// predictor-corrector's state is the predicted one, and it starts by itself.
fn exact_steps(entry: &Entry) -> usize {
    let own = ["UniPC", "SA-Solver", "warmed up"];
    if entry.inverts || own.iter().any(|name| entry.name.contains(name)) {
        0
    } else {
        entry.solver.order() - 1
    }
}

#[test]
fn every_deterministic_solver_has_its_order_and_not_one_more() -> Outcome {
    let data = Gaussian::diagonal(&MEANS, &VARIANCES)?;
    let vp = VariancePreserving::default();
    let grid = |steps: usize| {
        let at = |k| -3.0 + 6.0 * k as f64 / steps as f64;
        Grid::from_lambdas(&vp, &(0..=steps).map(at).collect::<Vec<_>>())
    };
    for entry in catalogue() {
        // Groups of two and three edges need a multiple of both, or the last ones are of lower order.
        let grouped = entry.name.starts_with("grouped");
        let least = if grouped { 162 } else { 160 };
        let mut way = levels(least, (-3.0, 3.0));
        let plan = entry.solver.plan(&Path::new(&vp, &grid(least)?)?)?;
        if plan.is_stochastic() {
            continue;
        }
        if entry.inverts {
            way.reverse();
        }
        let truth = exact(&STARTS, &way[0], &way[least]);
        let run = |steps: usize| {
            let grid = grid(steps).unwrap();
            let path = Path::new(&vp, &grid).unwrap();
            let sampler = Sampler::along(&path, &entry.solver).unwrap();
            let mut model = data.clone().denoiser(Prediction::Data);
            let mut run = sampler
                .start_from(row(&STARTS), Prediction::Data, KeyedNoise::new(0))
                .unwrap();
            for level in grid.levels().iter().skip(1).take(exact_steps(&entry)) {
                run.advance(&mut model).unwrap();
                let reached = exact(&STARTS, &way[0], level);
                run.state_mut().assign(&row(&reached));
            }
            run.complete(&mut model).unwrap();
            run.into_state().into_raw_vec_and_offset().0
        };
        let order = entry.solver.order();
        check_order(order, least, &truth, run)
            .map_err(|failure| format!("{}: {failure}", entry.name))?;
        // The errors of a warm-up and of the rest have opposite signs, and may nearly cancel. Published
        // weights that are of order 2 in general are of order 3 on steps like these.
        if entry.name.contains("warmed up") || entry.name == "iPNDM-v 4, as published" {
            continue;
        }
        let failure = check_order(order + 1, least, &truth, run);
        assert!(
            matches!(failure, Err(Failure::Order { .. })),
            "{}: {failure:?}",
            entry.name
        );
    }
    Ok(())
}

#[test]
fn what_does_not_converge_or_is_exact_is_told() -> Outcome {
    // No convergence at all.
    let failure = check_order(1, 10, &[1.0], |_| vec![1.5f64]);
    assert_eq!(
        failure,
        Err(Failure::Order {
            claimed: 1,
            measured: 0.0,
            steps: [10, 20],
            errors: [0.5, 0.5]
        })
    );
    assert_eq!(
        check_order(5, 10, &[1.0], |_| vec![1.0f32]),
        Ok(f64::INFINITY)
    );
    assert!(matches!(
        check_order(1, 10, &[1.0], |_| vec![f32::NAN]),
        Err(Failure::NotFinite { .. })
    ));
    assert!(matches!(
        check_order(1, 10, &[1.0], |_| vec![1.0f32; 2]),
        Err(Failure::Length {
            expected: 1,
            found: 2,
            ..
        })
    ));
    Ok(())
}

#[test]
fn an_error_that_is_rounding_in_k_steps_only_is_no_order() {
    let broken = |steps| vec![if steps == 10 { 1.0f64 } else { 5.0 }];
    let failure = check_order(1, 10, &[1.0], broken).unwrap_err();
    assert!(matches!(
        failure,
        Failure::Order {
            steps: [10, 20],
            errors: [0.0, 4.0],
            ..
        }
    ));
}

#[test]
fn an_order_is_measured_against_numbers() {
    for wrong in [f64::NAN, f64::INFINITY] {
        let failure = check_order(1, 10, &[0.5, wrong], |_| vec![0.5f64, 7.0]);
        assert!(matches!(
            failure,
            Err(Failure::NotFinite {
                array: "exact result",
                index: 1,
                ..
            })
        ));
    }
    assert_eq!(
        check_order(1, 10, &[], |_| Vec::<f64>::new()),
        Err(Failure::Length {
            array: "exact result",
            expected: 1,
            found: 0
        })
    );
}

#[test]
fn the_claimed_order_must_be_nearer_than_the_one_below() {
    let of_order = |p: f64| move |steps: usize| vec![(steps as f64).powf(-p)];
    for (claimed, order) in [(1, 0.55), (2, 1.55), (3, 2.55), (2, 3.0)] {
        let measured = check_order(claimed, 10, &[0.0], of_order(order)).unwrap();
        assert!((measured - order).abs() < 1e-12);
        assert!(check_order(claimed, 10, &[0.0], of_order(claimed as f64 - 0.55)).is_err());
    }
}

//! Grids: t − T/K instead of the next knot, K + 1 knots of a trailing grid, zero steps.

use std::convert::Infallible;

use diffusion_sampler::{
    Error, Grid, Prediction,
    posterior::{Kappa, StridedPosterior},
    schedule::{NoiseSchedule, TableSchedule},
    testing::{
        Failure, check_edges, check_knots, check_marginals, check_spacing, proptest::prelude::*,
        strategies::grids,
    },
};

use super::common::config;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// DDIM from one level to another, on x₀.
fn ddim(t: (f64, f64), s: (f64, f64)) -> impl Fn(&[f64], &[f64], &[f64], &mut [f64]) {
    move |x, x0, _, out| {
        for i in 0..out.len() {
            out[i] = s.0 * x0[i] + s.1 / t.1 * (x[i] - t.0 * x0[i]);
        }
    }
}

#[test]
fn a_step_to_t_minus_t_over_k_is_found() -> Outcome {
    let table = TableSchedule::linear(1000, 1e-4, 0.02)?;
    // K = 300 leading: knots 3 apart from 897 on, then to clean; T/K is not 3.
    let grid = Grid::leading(&table, 300, 0)?;
    let knots: Vec<f64> = grid.levels().iter().map(|level| level.time()).collect();
    let stride = 1000 / 300;
    check_knots(&knots, 300, 898.0, 0.0)?;
    let planted: Vec<(f64, f64)> = knots[..300]
        .iter()
        .map(|&t| (t, (t - f64::from(stride + 1)).max(0.0)))
        .collect();
    let failure = check_edges(&knots, &planted).unwrap_err();
    assert_eq!(
        failure,
        Failure::Edge {
            step: 0,
            end: "reach",
            found: 894.0,
            expected: 895.0
        }
    );
    // As a black box: its coefficients are those of another level than the next knot's.
    let (from, next) = grid.edges().next().unwrap();
    let wrong = table.level(planted[0].1)?;
    let pair = |level: &diffusion_sampler::NoiseLevel| (level.alpha(), level.sigma());
    let found = check_marginals(
        &from,
        &next,
        Prediction::Data,
        1e-12,
        ddim(pair(&from), pair(&wrong)),
    );
    assert!(matches!(
        found,
        Err(Failure::Coefficient {
            coefficient: "coefficient on x0",
            ..
        })
    ));
    check_marginals(
        &from,
        &next,
        Prediction::Data,
        1e-12,
        ddim(pair(&from), pair(&next)),
    )?;
    Ok(())
}

#[test]
fn steps_to_the_next_knot_pass_on_every_grid() {
    proptest!(config(200), |((_, grid) in grids())| {
        let knots: Vec<f64> = grid.levels().iter().map(|level| level.time()).collect();
        check_knots(&knots, grid.steps(), knots[0], knots[grid.steps()])?;
        let edges: Vec<(f64, f64)> =
            grid.edges().map(|(from, to)| (from.time(), to.time())).collect();
        check_edges(&knots, &edges)?;
        for (t, s) in grid.edges() {
            StridedPosterior::new(t, s, Kappa::Ddim)?;
            let step = ddim((t.alpha(), t.sigma()), (s.alpha(), s.sigma()));
            check_marginals(&t, &s, Prediction::Data, 1e-12, step)?;
        }
    });
}

/// numpy's `arange(1000, 0, -1000/K)`, rounded, and 0 behind it: trailing timesteps elsewhere.
fn arange(steps: usize) -> Vec<f64> {
    let stride = 1000.0 / steps as f64;
    let count = (1000.0 / stride).ceil() as usize;
    let ramp = (0..count).map(|i| (1000.0 - i as f64 * stride).round_ties_even());
    ramp.chain([0.0]).collect()
}

#[test]
fn one_knot_too_many_is_found() {
    let check = |steps: usize| {
        check_spacing([steps], 1000.0, 0.0, |steps| match steps {
            0 => Err("no steps"),
            _ => Ok(arange(steps)),
        })
    };
    let wrong: Vec<usize> = (1..=1000).filter(|&steps| check(steps).is_err()).collect();
    assert!(!wrong.is_empty());
    for steps in wrong {
        assert_eq!(
            check(steps),
            Err(Failure::KnotCount {
                steps,
                found: steps + 2
            })
        );
    }
}

/// From T down by ⌊T/K⌋ for as long as something is left, and 0 behind it.
fn whole_strides(steps: usize) -> Vec<f64> {
    let knots = (0..1000).step_by(1000 / steps);
    knots
        .map(|down| (1000 - down) as f64)
        .chain([0.0])
        .collect()
}

#[test]
fn trailing_by_whole_strides_is_found() {
    let check = |steps: usize| {
        check_spacing([steps], 1000.0, 0.0, |steps| match steps {
            0 => Err("no steps"),
            _ => Ok(whole_strides(steps)),
        })
    };
    let wrong: Vec<usize> = (1..=1000).filter(|&steps| check(steps).is_err()).collect();
    // All but the 16 divisors of 1000.
    assert_eq!(wrong.len(), 984);
    for (steps, found) in [(30, 32), (300, 335), (600, 1001)] {
        assert_eq!(check(steps), Err(Failure::KnotCount { steps, found }));
    }
}

#[test]
fn the_crates_trailing_grids_pass_for_every_number_of_steps() -> Outcome {
    for length in [1, 2, 7, 50, 1000] {
        let table = TableSchedule::linear(length, 1e-4, 0.02)?;
        check_spacing(1..=length, length as f64, 0.0, |steps| {
            let grid = Grid::trailing(&table, steps)?;
            Ok::<_, Error>(grid.levels().iter().map(|level| level.time()).collect())
        })?;
    }
    Ok(())
}

#[test]
fn zero_steps_must_be_refused_and_nothing_may_panic() {
    // Integer division by the number of steps.
    let panics = |steps: usize| -> Result<Vec<f64>, Infallible> {
        let stride = 1000 / steps;
        Ok((0..=steps).map(|k| (1000 - k * stride) as f64).collect())
    };
    let failure = check_spacing([1, 2, 4], 1000.0, 0.0, panics).unwrap_err();
    assert_eq!(
        failure,
        Failure::Panicked {
            steps: 0,
            message: "attempt to divide by zero".to_owned()
        }
    );
    // An empty run.
    let empty = |steps: usize| -> Result<Vec<f64>, Infallible> {
        Ok((0..=steps)
            .map(|k| (1 - k) as f64)
            .take(steps + 1)
            .collect())
    };
    let failure = check_spacing([1], 1.0, 0.0, empty).unwrap_err();
    assert_eq!(failure, Failure::NoStepsAccepted { knots: 1 });
    let refuses = |_: usize| Err::<Vec<f64>, _>("too few");
    assert_eq!(
        check_spacing([3], 1.0, 0.0, refuses),
        Err(Failure::Refused {
            steps: 3,
            message: "too few".to_owned()
        })
    );
}

#[test]
fn broken_knots_are_found() {
    assert_eq!(
        check_knots(&[3.0, 2.0, 2.0, 0.0], 3, 3.0, 0.0),
        Err(Failure::KnotOrder {
            knot: 2,
            before: 2.0,
            value: 2.0
        })
    );
    assert_eq!(
        check_knots(&[952.0, 0.0], 1, 1000.0, 0.0),
        Err(Failure::KnotEnd {
            knot: "first",
            found: 952.0,
            expected: 1000.0
        })
    );
    assert_eq!(
        check_knots(&[1000.0, 1.0], 1, 1000.0, 0.0),
        Err(Failure::KnotEnd {
            knot: "last",
            found: 1.0,
            expected: 0.0
        })
    );
    assert_eq!(
        check_knots(&[], usize::MAX, 1.0, 0.0),
        Err(Failure::KnotCount {
            steps: usize::MAX,
            found: 0
        })
    );
    assert!(matches!(
        check_knots(&[1.0, f64::NAN], 1, 1.0, 0.0),
        Err(Failure::NotFinite { index: 1, .. })
    ));
    assert_eq!(
        check_edges(&[2.0, 1.0, 0.0], &[(2.0, 1.0)]),
        Err(Failure::KnotCount { steps: 1, found: 3 })
    );
    assert_eq!(
        check_edges(&[2.0, 1.0], &[(1.5, 1.0)]),
        Err(Failure::Edge {
            step: 0,
            end: "leave",
            found: 1.5,
            expected: 2.0
        })
    );
}

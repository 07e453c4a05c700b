//! Heavy ball and its generalisation against the authors' recurrence.

use diffusion_sampler::{
    Clip, Error, Grid, KeyedNoise, Prediction, Sampler, from_fn,
    schedule::{RectifiedFlow, VariancePreserving},
    solver::{HeavyBall, Ipndm, Path, Solver},
};
use ndarray::{Ix2, array};

use crate::common::{Outcome, assert_close, denoise, paths, states};

/// The authors' mixing of the last slopes or velocities, newest first.
fn mix(values: &[f64], b: f64) -> f64 {
    let sum = match values[..] {
        [v0] => b * v0,
        [v0, v1] => ((2.0 + b) * v0 - (2.0 - b) * v1) / 2.0,
        [v0, v1, v2] => ((18.0 + 5.0 * b) * v0 - (24.0 - 8.0 * b) * v1 + (6.0 - b) * v2) / 12.0,
        [v0, v1, v2, v3, ..] => {
            ((46.0 + 9.0 * b) * v0 - (78.0 - 19.0 * b) * v1 + (42.0 - 5.0 * b) * v2
                - (10.0 - b) * v3)
                / 24.0
        }
        [] => f64::NAN,
    };
    sum / b
}

fn recurrence(
    path: &Path<'_>,
    (order, b, generalised): (usize, f64, bool),
    start: f64,
) -> Vec<f64> {
    let mut x = start;
    let mut velocity: Option<f64> = None;
    let mut kept: Vec<f64> = Vec::new();
    let mut states = Vec::new();
    for (t, s) in path.edges() {
        let d = denoise(x, &t);
        let e = (x - t.alpha() * d) / t.sigma();
        let old = velocity.unwrap_or(e);
        let slope = if generalised {
            let v = (1.0 - b) * old + b * e;
            velocity = Some(v);
            kept.insert(0, v);
            kept.truncate(order);
            mix(&kept, b)
        } else {
            kept.insert(0, e);
            kept.truncate(order);
            let v = (1.0 - b) * old + b * mix(&kept, 1.0);
            velocity = Some(v);
            v
        };
        x = if s.is_clean() {
            s.alpha() * d
        } else {
            s.alpha() * (x / t.alpha() + (s.rho() - t.rho()) * slope)
        };
        states.push(x);
    }
    states
}

fn solver(order: usize, beta: f64, generalised: bool) -> Result<HeavyBall, Error> {
    let solver = HeavyBall::order(order)?.with_beta(beta)?;
    Ok(if generalised {
        solver.generalised()
    } else {
        solver
    })
}

#[test]
fn both_forms_are_the_authors_recurrence() -> Outcome {
    for order in 1..=4 {
        for beta in [1.0, 0.8, 0.3] {
            for generalised in [false, true] {
                let solver = solver(order, beta, generalised)?;
                for steps in [1, 2, 5, 12] {
                    for clean in [true, false] {
                        for (schedule, grid) in paths(steps, clean)? {
                            let path = Path::new(&schedule, &grid)?;
                            let start = 0.7 * grid.start().sigma();
                            let ours = states(&path, &solver, start)?;
                            let theirs = recurrence(&path, (order, beta, generalised), start);
                            let place = format!("{solver:?}, {schedule:?}, {steps} steps");
                            // With β = 0.3 the mixture multiplies rounding by about 20.
                            assert_close(&ours, &theirs, 1e-11, &place);
                        }
                    }
                }
            }
        }
    }
    Ok(())
}

#[test]
fn without_momentum_it_is_ipndm() -> Outcome {
    for order in 1..=4 {
        for generalised in [false, true] {
            for (schedule, grid) in paths(9, true)? {
                let path = Path::new(&schedule, &grid)?;
                let start = 0.7 * grid.start().sigma();
                let ours = states(&path, &solver(order, 1.0, generalised)?, start)?;
                let ipndm = states(&path, &Ipndm::order(order)?, start)?;
                assert_close(&ours, &ipndm, 1e-12, "iPNDM");
            }
        }
    }
    Ok(())
}

#[test]
fn the_velocity_is_the_models_under_a_clip_that_keeps_its_noise() -> Outcome {
    for (schedule, grid) in paths(6, false)? {
        let path = Path::new(&schedule, &grid)?;
        for generalised in [false, true] {
            let solver = solver(2, 0.7, generalised)?;
            let bound = 0.4;
            let clip = Clip::new(-bound, bound)?.keeping_noise();
            let sampler = Sampler::along(&path, &solver)?.with_clip(clip);
            let start = 0.7 * grid.start().sigma();
            let kind = Prediction::Data;
            let mut run = sampler.start_from(array![[start]], kind, KeyedNoise::new(5))?;
            let mut model = from_fn::<f64, Ix2>(kind, |x, level, out| {
                out.zip_mut_with(x, |o, &x| *o = denoise(x, level));
            });
            run.complete(&mut model)?;
            // α'D + σ'E, D clipped and E not, beside the slopes: x stands for αD + σE.
            let (mut x, mut velocity, mut kept) = (start, None, Vec::new());
            for (t, s) in path.edges() {
                let d = denoise(x, &t);
                let e = (x - t.alpha() * d) / t.sigma();
                let x_of_estimates = t.alpha() * d.clamp(-bound, bound) + t.sigma() * e;
                let old = velocity.unwrap_or(e);
                let slope = if generalised {
                    let v = 0.3 * old + 0.7 * e;
                    velocity = Some(v);
                    kept.insert(0, v);
                    kept.truncate(2);
                    mix(&kept, 0.7)
                } else {
                    kept.insert(0, e);
                    kept.truncate(2);
                    let v = 0.3 * old + 0.7 * mix(&kept, 1.0);
                    velocity = Some(v);
                    v
                };
                x = s.alpha() * (x_of_estimates / t.alpha() + (s.rho() - t.rho()) * slope);
            }
            let found = run.state()[[0, 0]];
            assert!((found - x).abs() < 1e-11 * x.abs().max(1.0), "{found} {x}");
        }
    }
    Ok(())
}

#[test]
fn pure_noise_has_no_velocity() -> Outcome {
    let flow = RectifiedFlow::new();
    let grid = Grid::trailing(&flow, 4)?;
    let path = Path::new(&flow, &grid)?;
    let stages = |solver: HeavyBall| -> Result<Vec<usize>, Error> {
        let plan = solver.plan(&path)?;
        Ok(plan.steps().iter().map(|step| step.stages.len()).collect())
    };
    assert_eq!(stages(solver(2, 0.8, false)?)?, [1, 1, 3, 1]);
    assert_eq!(stages(solver(2, 0.8, true)?)?, [1, 1, 3, 1]);
    assert_eq!(stages(solver(1, 0.8, false)?)?, [1, 1, 3, 1]);
    Ok(())
}

#[test]
fn options_out_of_range_are_refused() -> Outcome {
    assert!(HeavyBall::order(0).is_err() && HeavyBall::order(5).is_err());
    for beta in [0.0, 1e-7, 1.01, f64::NAN, -1.0] {
        assert!(matches!(
            HeavyBall::order(2)?.with_beta(beta),
            Err(Error::InvalidParameter { name: "beta", .. })
        ));
    }
    Ok(())
}

#[test]
fn there_are_slots_for_what_is_read_and_no_more() -> Outcome {
    let vp = VariancePreserving::default();
    let lambdas: Vec<f64> = (0..12).map(|k| -1.0 + 0.2 * f64::from(k)).collect();
    let grid = Grid::from_lambdas(&vp, &lambdas)?;
    for order in 1..=4 {
        // The state, the last E, and the velocities before: one at least, which the next one is made of.
        let generalised = solver(order, 0.8, true)?.plan(&Path::without_schedule(&grid))?;
        assert_eq!(generalised.slots(), 2 + [1, 1, 2, 3][order - 1]);
        // The state, the last velocity, and one E more than the method weighs; at order 1 as above.
        let plain = solver(order, 0.8, false)?.plan(&Path::without_schedule(&grid))?;
        assert_eq!(plain.slots(), 2 + [1, 2, 3, 4][order - 1]);
    }
    Ok(())
}

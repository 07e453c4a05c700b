//! The adaptive DPM-Solver against k-diffusion's dpm_adaptive.

use diffusion_sampler::{
    Error, Grid, KeyedNoise, NoiseLevel, Prediction, Sampler, from_fn,
    posterior::Kappa,
    run::{AdaptiveDpm, AdaptiveOutcome},
    schedule::{LambdaRange, RectifiedFlow, VariancePreserving},
    solver::{DpmSolverSinglestep, Path},
};
use ndarray::{Array2, Ix2, array};

use crate::common::{Outcome, denoise, normal, paths};

/// What k-diffusion is given.
#[derive(Clone, Copy, Debug)]
struct Options {
    order: usize,
    tolerances: (f64, f64),
    first: f64,
    coefficients: (f64, f64, f64),
    eta: f64,
    noise_scale: f64,
}

const DEFAULT: Options = Options {
    order: 3,
    tolerances: (0.05, 0.0078),
    first: 0.05,
    coefficients: (0.0, 1.0, 0.0),
    eta: 0.0,
    noise_scale: 1.0,
};

impl Options {
    fn solver(self) -> Result<AdaptiveDpm, Error> {
        let (p, i, d) = self.coefficients;
        AdaptiveDpm::order(self.order)?
            .with_tolerances(self.tolerances.0, self.tolerances.1)?
            .with_first_step(self.first)?
            .with_controller(p, i, d)?
            .with_noise_scale(self.noise_scale)
            .map(|solver| solver.with_kappa(Kappa::Eta(self.eta)))
    }
}

/// (x̂_low, x̂_high) of one attempt from `from` to ρ = `rho`, for one element x̂ = x/α.
fn pair(
    order: usize,
    path: &Path<'_>,
    y: f64,
    (from, rho): (&NoiseLevel, f64),
) -> Result<(f64, f64), Error> {
    let slope = |y: f64, level: &NoiseLevel| (y - denoise(level.alpha() * y, level)) / level.rho();
    let eps = slope(y, from);
    let h = -rho.ln() - from.lambda();
    let at = |r: f64| path.at_lambda(from.lambda() + r * h);
    let one = y - rho * h.exp_m1() * eps;
    if order == 2 {
        let s1 = at(0.5)?;
        let e1 = slope(y - s1.rho() * (0.5 * h).exp_m1() * eps, &s1);
        return Ok((one, one - rho * h.exp_m1() * (e1 - eps)));
    }
    let (r1, r2) = (1.0 / 3.0, 2.0 / 3.0);
    let (s1, s2) = (at(r1)?, at(r2)?);
    let e1 = slope(y - s1.rho() * (r1 * h).exp_m1() * eps, &s1);
    let low = one - rho / (2.0 * r1) * h.exp_m1() * (e1 - eps);
    let factor = s2.rho() * (r2 / r1) * ((r2 * h).exp_m1() / (r2 * h) - 1.0);
    let u2 = y - s2.rho() * (r2 * h).exp_m1() * eps - factor * (e1 - eps);
    let e2 = slope(u2, &s2);
    Ok((low, one - rho / r2 * (h.exp_m1() / h - 1.0) * (e2 - eps)))
}

/// k-diffusion's dpm_solver_adaptive, in its own state x̂ = x/α: (x, accepted, rejected).
fn textbook(
    options: Options,
    path: &Path<'_>,
    start: &[f64],
) -> Result<(Vec<f64>, usize, usize), Error> {
    let knots = path.grid().levels();
    let mut s = knots[0];
    let noisy = knots.iter().rev().find(|knot| !knot.is_clean());
    let end = *noisy.unwrap_or(&s);
    let mut x: Vec<f64> = start.iter().map(|x| x / s.alpha()).collect();
    // The norm and its tolerance are of the state itself, αx̂.
    let mut previous = start.to_vec();
    let (p, i, d) = options.coefficients;
    let e = if options.eta == 0.0 {
        options.order as f64
    } else {
        1.5
    };
    let exponents = [(p + i + d) / e, -(p + 2.0 * d) / e, d / e];
    let (mut h, mut errors, mut counts) = (options.first, [0.0; 3], (0, 0));
    while s.lambda() < end.lambda() - 1e-5 {
        let t = if s.lambda() + h < end.lambda() {
            path.at_lambda(s.lambda() + h)?
        } else {
            end
        };
        let up = options.eta * t.rho() * (1.0 - (t.rho() / s.rho()).powi(2)).sqrt();
        let down = (t.rho() * t.rho() - up * up).sqrt().max(end.rho());
        let up = (t.rho() * t.rho() - down * down).max(0.0).sqrt();
        let pairs = x
            .iter()
            .map(|x| pair(options.order, path, *x, (&s, down)))
            .collect::<Result<Vec<_>, Error>>()?;
        let scaled = pairs.iter().zip(&previous).map(|((low, high), previous)| {
            let (low, high) = (t.alpha() * low, t.alpha() * high);
            let size = low.abs().max(previous.abs());
            (low - high) / options.tolerances.1.max(options.tolerances.0 * size)
        });
        let sum: f64 = scaled.map(|scaled| scaled * scaled).sum();
        let inverse = 1.0 / ((sum / x.len() as f64).sqrt() + 1e-8);
        if counts == (0, 0) {
            errors = [inverse; 3];
        }
        errors[0] = inverse;
        let factor: f64 = (0..3).map(|j| errors[j].powf(exponents[j])).product();
        let factor = 1.0 + (factor - 1.0).atan();
        if factor >= 0.81 {
            errors = [errors[0], errors[0], errors[1]];
            let noise = up * options.noise_scale * normal(counts.0, 0);
            previous = pairs.iter().map(|(low, _)| t.alpha() * low).collect();
            x = pairs.iter().map(|(_, high)| high + noise).collect();
            s = t;
            counts.0 += 1;
        } else {
            counts.1 += 1;
        }
        h *= factor;
    }
    let x = x.iter().map(|x| end.alpha() * x).collect();
    Ok((x, counts.0 as usize, counts.1))
}

fn sample(
    solver: &AdaptiveDpm,
    path: &Path<'_>,
    start: &[f64],
) -> Result<AdaptiveOutcome<f64, Ix2>, Box<dyn std::error::Error>> {
    let mut model = from_fn::<f64, Ix2>(Prediction::Data, |x, level, out| {
        out.zip_mut_with(x, |o, &x| *o = denoise(x, level));
    });
    let x = Array2::from_shape_vec((start.len(), 1), start.to_vec())?;
    Ok(solver.sample(path, &mut model, x, &mut KeyedNoise::new(5))?)
}

#[test]
fn the_adaptive_solver_is_k_diffusions() -> Outcome {
    let wide = Options {
        first: 4.0,
        ..DEFAULT
    };
    let mut rejected = 0;
    for (options, start) in [
        (DEFAULT, &[0.7, -1.2, 2.0][..]),
        (
            Options {
                order: 2,
                ..DEFAULT
            },
            &[0.7, -1.2, 2.0],
        ),
        (wide, &[0.7, 0.1]),
        (
            Options {
                order: 2,
                tolerances: (0.0, 1e-3),
                ..wide
            },
            &[0.7],
        ),
        (
            Options {
                coefficients: (0.2, 0.7, 0.1),
                ..wide
            },
            &[-0.7],
        ),
        (
            Options {
                eta: 1.0,
                ..DEFAULT
            },
            &[0.7],
        ),
        (
            Options {
                eta: 0.6,
                order: 2,
                noise_scale: 1.1,
                ..wide
            },
            &[0.7],
        ),
    ] {
        for (schedule, grid) in paths(4, false)? {
            let place = format!("{options:?}, {schedule:?}");
            let path = Path::new(&schedule, &grid)?;
            let ours = sample(&options.solver()?, &path, start)?;
            let (expected, accepted, refused) = textbook(options, &path, start)?;
            assert_eq!(
                (ours.accepted, ours.rejected),
                (accepted, refused),
                "{place}"
            );
            // D at the start is evaluated once a step, not once an attempt.
            let attempts = options.order * (accepted + refused);
            assert_eq!(ours.evaluations, attempts - refused, "{place}");
            for (a, b) in ours.state.iter().zip(&expected) {
                // Steps are chosen from differences of the two orders, whose rounding adds up.
                assert!((a - b).abs() < 1e-9 * b.abs().max(1.0), "{place}: {a} {b}");
            }
            rejected += refused;
        }
    }
    assert!(rejected > 10, "{rejected}");
    Ok(())
}

#[test]
fn the_found_knots_are_a_grid_on_which_the_fixed_solver_does_the_same() -> Outcome {
    for order in [2, 3] {
        for (schedule, grid) in paths(3, true)? {
            let path = Path::new(&schedule, &grid)?;
            let solver = AdaptiveDpm::order(order)?.with_tolerances(1e-3, 1e-4)?;
            let found = sample(&solver, &path, &[0.7, -1.2])?;
            assert_eq!(found.levels.len(), found.accepted + 2);
            assert_eq!(found.levels[found.accepted + 1], grid.end());
            assert_eq!(found.levels[found.accepted], grid.levels()[2]);
            let own = Grid::from_levels(found.levels, grid.start_variance())?;
            let fixed = DpmSolverSinglestep::order(order)?;
            let path = Path::new(&schedule, &own)?;
            let mut run = Sampler::along(&path, &fixed)?.start_from(
                array![[0.7], [-1.2]],
                Prediction::Data,
                KeyedNoise::new(5),
            )?;
            run.complete(&mut from_fn::<f64, Ix2>(
                Prediction::Data,
                |x, level, out| {
                    out.zip_mut_with(x, |o, &x| *o = denoise(x, level));
                },
            ))?;
            for (a, b) in found.state.iter().zip(run.state()) {
                assert!((a - b).abs() < 1e-12 * b.abs().max(1.0), "{a} {b}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_run_that_cannot_be_done_is_an_error() -> Outcome {
    let vp = VariancePreserving::default();
    let grid = Grid::from_times(&vp, &[1.0, 1e-3])?;
    let path = Path::new(&vp, &grid)?;
    let refused = |solver: &AdaptiveDpm, path: &Path<'_>| match sample(solver, path, &[0.7]) {
        Ok(_) => Err("it ran".to_owned()),
        Err(error) => Ok(error.to_string()),
    };
    let solver = AdaptiveDpm::order(3)?.with_tolerances(0.0, 1e-9)?;
    let message = refused(&solver.with_evaluation_limit(100), &path)?;
    assert!(
        message.contains("100 evaluations were not enough"),
        "{message}"
    );
    assert!(sample(&solver, &path, &[0.7]).is_ok());
    let message = refused(&solver, &Path::without_schedule(&grid))?;
    assert!(message.contains("schedule"), "{message}");
    let flow = RectifiedFlow::new();
    let pure = Grid::trailing(&flow, 3)?;
    let message = refused(&solver, &Path::new(&flow, &pure)?)?;
    assert!(
        message.contains("infinite") || message.contains("inf"),
        "{message}"
    );
    for order in [0, 1, 4] {
        assert!(AdaptiveDpm::order(order).is_err());
    }
    for bad in [-1.0, f64::NAN, f64::INFINITY] {
        for refused in [
            solver.with_tolerances(bad, 1.0),
            solver.with_tolerances(0.1, bad),
            solver.with_first_step(bad),
            solver.with_controller(bad, 1.0, 0.0),
            solver.with_controller(0.0, bad, 0.0),
            solver.with_controller(0.0, 1.0, bad),
            solver.with_safety(bad),
            solver.with_noise_scale(bad),
        ] {
            assert!(matches!(
                refused,
                Err(Error::InvalidParameter { value, .. }) if value.is_nan() == bad.is_nan()
            ));
        }
    }
    assert!(solver.with_tolerances(0.1, 0.0).is_err());
    assert!(solver.with_controller(0.0, 0.0, 0.0).is_err());
    assert!(solver.with_first_step(0.0).is_err());
    Ok(())
}

#[test]
fn a_first_step_beyond_all_numbers_is_shortened() -> Outcome {
    // e^h overflows for the first attempts.
    let vp = VariancePreserving::new(0.1, 4e3)?;
    let range = LambdaRange::new(-560.0, 300.0)?;
    let grid = Grid::uniform_lambda(&vp, 2, range)?.without_clean_end()?;
    let path = Path::new(&vp, &grid)?;
    let solver = AdaptiveDpm::order(2)?.with_first_step(1e5)?;
    let found = sample(&solver, &path, &[0.7])?;
    // How many steps follow depends on single roundings: where ρ is above 1e6 the two estimates of
    // this model agree to the last bit, or do not.
    let first = found.levels[1].lambda() - found.levels[0].lambda();
    assert!((100.0..710.0).contains(&first), "{first}");
    assert!(found.accepted > 1 && found.levels[found.accepted] == grid.end());
    assert!(found.state[[0, 0]].is_finite());
    Ok(())
}

#[test]
fn steps_that_cannot_be_taken_are_an_error_not_a_hang() -> Outcome {
    let mut short = 0;
    for (schedule, grid) in paths(3, false)? {
        let path = Path::new(&schedule, &grid)?;
        let mut calls = 0;
        let mut random = from_fn::<f64, Ix2>(Prediction::Data, |_, _, out| {
            calls += 1;
            out.fill(1e200 * normal(calls, 0));
        });
        let mut message = |solver: AdaptiveDpm| -> Result<String, Box<dyn std::error::Error>> {
            let x = array![[0.7]];
            let stopped = solver.sample(&path, &mut random, x, &mut KeyedNoise::new(5));
            Ok(stopped.err().ok_or("it ran")?.to_string())
        };
        let solver = AdaptiveDpm::order(3)?;
        // A first step below the rounding of λ; estimates that never agree.
        for solver in [
            solver.with_first_step(1e-20)?,
            solver.with_tolerances(0.0, 1e-300)?,
        ] {
            let found = message(solver)?;
            let known = ["too short to be taken", "evaluations were not enough"];
            assert!(known.iter().any(|known| found.contains(known)), "{found}");
            short += usize::from(found.contains(known[0]));
        }
    }
    // Where the schedule's level at λ + h is that of λ, or below: rounding decides.
    assert!(short > 0);
    Ok(())
}

#[test]
fn options_count() -> Outcome {
    let vp = VariancePreserving::default();
    let grid = Grid::from_lambdas(&vp, &[-3.0, 3.0])?;
    let path = Path::new(&vp, &grid)?;
    let default = AdaptiveDpm::order(3)?;
    // No noise is no noise, however it is said: the exponents are those of the order.
    let plain = sample(&default, &path, &[0.7])?;
    for kappa in [
        Kappa::Ddim,
        Kappa::Eta(0.0),
        Kappa::Tau(0.0),
        Kappa::Gamma(0.0),
    ] {
        let same = sample(&default.with_kappa(kappa), &path, &[0.7])?;
        assert_eq!((&same.state, &same.levels), (&plain.state, &plain.levels));
    }
    let (expected, accepted, _) = textbook(DEFAULT, &path, &[0.7])?;
    assert_eq!(plain.accepted, accepted);
    assert!((plain.state[[0, 0]] - expected[0]).abs() < 1e-9);
    // A stricter acceptance rejects more.
    let wide = default.with_first_step(4.0)?;
    let rejected = |safety: f64| -> Result<usize, Box<dyn std::error::Error>> {
        Ok(sample(&wide.with_safety(safety)?, &path, &[0.7])?.rejected)
    };
    let (loose, strict) = (rejected(0.22)?, rejected(0.999)?);
    assert!(loose < strict, "{loose} {strict}");
    // A rest above 1e-5 is a step, one below belongs to the step before.
    for (rest, steps) in [(5e-3, 2), (2e-5, 2), (5e-6, 1)] {
        let grid = Grid::from_lambdas(&vp, &[0.0, 0.05 + rest])?;
        let found = sample(&default, &Path::new(&vp, &grid)?, &[0.7])?;
        assert_eq!((found.accepted, found.rejected), (steps, 0), "{rest}");
    }
    Ok(())
}

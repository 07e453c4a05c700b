//! Heun's method, Heun++ and churn against their published recurrences.

use diffusion_sampler::{
    Error, Grid, NoiseLevel,
    oracle::Gaussian,
    schedule::{Edm, NoiseSchedule, RectifiedFlow},
    solver::{Churn, Euler, Heun, HeunPlusPlus, Path, Solver},
};

use crate::common::{Outcome, assert_close, denoise, normal, paths, states};

/// The published methods run on y = x/c against τ = σ/c: k-diffusion's with c = α, flow matching's
/// with c = α + σ.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Line {
    Rho,
    Flow,
}

impl Line {
    pub(crate) fn scale(self, level: &NoiseLevel) -> f64 {
        match self {
            Self::Rho => level.alpha(),
            Self::Flow => level.alpha() + level.sigma(),
        }
    }

    pub(crate) fn time(self, level: &NoiseLevel) -> f64 {
        level.sigma() / self.scale(level)
    }

    /// The slope (y − D)/τ.
    pub(crate) fn slope(self, y: f64, level: &NoiseLevel) -> f64 {
        (y - denoise(self.scale(level) * y, level)) / self.time(level)
    }
}

/// S_churn, S_tmin, S_tmax, S_noise.
pub(crate) type Parameters = (f64, f64, f64, f64);

pub(crate) const CHURNS: [Parameters; 3] = [
    (1.5, 0.0, f64::INFINITY, 1.0),
    (40.0, 0.05, 20.0, 1.003),
    (0.3, 1.0, 1e3, 0.9),
];

pub(crate) fn churn((amount, least, most, noise): Parameters) -> Result<Churn, Error> {
    Churn::new(amount)?.between(least, most)?.with_noise(noise)
}

/// The churned state in x/α and its level, as k-diffusion writes it; not beyond the schedule.
pub(crate) fn churned(
    (amount, least, most, scale): Parameters,
    path: &Path<'_>,
    noisy: f64,
    x: f64,
    (step, from): (usize, NoiseLevel),
) -> Result<(f64, NoiseLevel), Error> {
    let (rho, steps) = (from.rho(), path.grid().steps() as f64);
    let gamma = if least <= rho && rho <= most {
        (amount / steps).min(2.0f64.sqrt() - 1.0)
    } else {
        0.0
    };
    let hat = (rho * (1.0 + gamma)).min((-noisy).exp());
    if hat <= rho * (1.0 + 1e-12) {
        return Ok((x, from));
    }
    let level = path.at_lambda(-hat.ln())?;
    let lifted = x / from.alpha() + scale * (hat * hat - rho * rho).sqrt() * normal(step as u32, 0);
    Ok((level.alpha() * lifted, level))
}

/// Heun's method, or Euler's where only the start counts, on `line` with churn.
fn textbook(
    line: Line,
    parameters: Option<Parameters>,
    heun: bool,
    (path, noisy): (&Path<'_>, f64),
) -> Result<Vec<f64>, Error> {
    let mut x = 0.7;
    let mut states = Vec::new();
    for (step, (from, to)) in path.edges().enumerate() {
        let mut start = from;
        if let Some(parameters) = parameters {
            (x, start) = churned(parameters, path, noisy, x, (step, from))?;
        }
        let y = x / line.scale(&start);
        let width = line.time(&to) - line.time(&start);
        let slope = line.slope(y, &start);
        let end = y + width * slope;
        let end = if heun && !to.is_clean() {
            y + width * 0.5 * (slope + line.slope(end, &to))
        } else {
            end
        };
        x = line.scale(&to) * end;
        states.push(x);
    }
    Ok(states)
}

#[test]
fn heun_is_the_textbooks_in_rho_and_in_flow_time() -> Outcome {
    for clean in [true, false] {
        for steps in [1, 2, 5, 12] {
            for (schedule, grid) in paths(steps, clean)? {
                let path = Path::new(&schedule, &grid)?;
                let noisy = schedule.lambda_range().noisy();
                for (line, solver) in [(Line::Rho, Heun::new()), (Line::Flow, Heun::in_flow_time())]
                {
                    let ours = states(&path, &solver, 0.7)?;
                    let expected = textbook(line, None, true, (&path, noisy))?;
                    let place = format!("{line:?}, {schedule:?}, {steps}");
                    // The correction amplifies rounding by e^h; at K = 1 that is e^7.
                    let tolerance = if steps == 1 { 1e-10 } else { 1e-12 };
                    assert_close(&ours, &expected, tolerance, &place);
                }
            }
        }
    }
    Ok(())
}

#[test]
fn churn_is_edms_before_euler_and_heun() -> Outcome {
    let mut noises = 0;
    for clean in [true, false] {
        for steps in [1, 2, 5, 12] {
            for (schedule, grid) in paths(steps, clean)? {
                let path = Path::new(&schedule, &grid)?;
                let noisy = schedule.lambda_range().noisy();
                for parameters in CHURNS {
                    let churn = churn(parameters)?;
                    let solvers: [(Line, bool, Box<dyn Solver>); 3] = [
                        (Line::Rho, false, Box::new(Euler::new().with_churn(churn))),
                        (Line::Rho, true, Box::new(Heun::stochastic(churn))),
                        (
                            Line::Flow,
                            true,
                            Box::new(Heun::in_flow_time().with_churn(churn)),
                        ),
                    ];
                    for (line, heun, solver) in solvers {
                        let ours = states(&path, &solver, 0.7)?;
                        let expected = textbook(line, Some(parameters), heun, (&path, noisy))?;
                        let place = format!("{solver:?}, {schedule:?}, {steps}");
                        assert_close(&ours, &expected, 1e-10, &place);
                        let plan = solver.plan(&path)?;
                        noises += plan.stages().filter(|s| s.update.noise > 0.0).count();
                    }
                }
            }
        }
    }
    assert!(noises > 500, "{noises}");
    Ok(())
}

#[test]
fn churn_stops_at_the_schedules_noisy_end_and_needs_a_schedule() -> Outcome {
    let edm = Edm::default();
    let grid = Grid::karras(&edm, 10, edm.lambda_range(), 7.0)?;
    let solver = Heun::stochastic(Churn::new(40.0)?);
    let plan = solver.plan(&Path::new(&edm, &grid)?)?;
    let noisy: Vec<bool> = plan
        .steps()
        .iter()
        .map(|step| step.stages[0].evaluate.is_none())
        .collect();
    assert!(!noisy[0] && noisy[1..].iter().all(|noisy| *noisy));
    // Knot 1 could only rise by a part of √2 − 1, up to σ_max.
    let fine = Grid::karras(&edm, 40, edm.lambda_range(), 7.0)?;
    let plan = solver.plan(&Path::new(&edm, &fine)?)?;
    let reached = plan.steps()[1].stages[1].evaluate.ok_or("an evaluation")?;
    assert!((reached.rho() - 80.0).abs() < 1e-11, "{}", reached.rho());
    assert!(matches!(
        solver.plan(&Path::without_schedule(&grid)),
        Err(Error::PathWithoutSchedule { .. })
    ));
    let none = Heun::stochastic(Churn::new(0.0)?);
    assert!(none.plan(&Path::without_schedule(&grid)).is_ok());
    // From α = 0 there is nothing to churn.
    let flow = RectifiedFlow::new();
    let grid = Grid::trailing(&flow, 4)?;
    let plan = solver.plan(&Path::new(&flow, &grid)?)?;
    assert_eq!(plan.steps()[0].stages.len(), 1);
    assert_eq!(plan.steps()[1].stages.len(), 3);
    Ok(())
}

#[test]
fn churns_bounds_belong_to_it() -> Outcome {
    let edm = Edm::default();
    let grid = Grid::karras(&edm, 6, edm.lambda_range(), 7.0)?;
    let path = Path::new(&edm, &grid)?;
    let churned = |least: f64, most: f64| -> Result<Vec<bool>, Error> {
        let churn = Churn::new(1.0)?.between(least, most)?;
        let plan = Euler::new().with_churn(churn).plan(&path)?;
        Ok(plan.steps().iter().map(|s| s.stages.len() == 2).collect())
    };
    let rho = |k: usize| grid.levels()[k].rho();
    let only = |wanted: std::ops::RangeInclusive<usize>| -> Vec<bool> {
        (0..6).map(|k| wanted.contains(&k)).collect()
    };
    assert_eq!(churned(rho(3), rho(3))?, only(3..=3));
    assert_eq!(churned(rho(4), rho(2))?, only(2..=4));
    assert_eq!(churned(rho(4).next_up(), rho(2).next_down())?, only(3..=3));
    Ok(())
}

#[test]
fn bad_churn_is_an_error_with_its_value() -> Outcome {
    for bad in [-0.5, f64::NAN, f64::INFINITY] {
        let refused = [
            Churn::new(bad).map(drop),
            Churn::new(1.0)?.between(bad, f64::INFINITY).map(drop),
            Churn::new(1.0)?.with_noise(bad).map(drop),
        ];
        for refused in refused {
            assert!(matches!(
                refused,
                Err(Error::InvalidParameter { value, .. }) if value.to_bits() == bad.to_bits()
            ));
        }
    }
    for most in [0.5, f64::NAN] {
        assert!(Churn::new(1.0)?.between(1.0, most).is_err());
    }
    Ok(())
}

/// ComfyUI's heunpp2, with churn.
fn plus_plus(
    line: Line,
    parameters: Option<Parameters>,
    (path, noisy): (&Path<'_>, f64),
) -> Result<Vec<f64>, Error> {
    let knots = path.grid().levels();
    let first = line.time(&knots[0]);
    let last = knots.len() - 1;
    let mut x = 0.7;
    let mut states = Vec::new();
    for (i, &from) in knots[..last].iter().enumerate() {
        let mut start = from;
        if let Some(parameters) = parameters {
            (x, start) = churned(parameters, path, noisy, x, (i, from))?;
        }
        let y = x / line.scale(&start);
        let d = line.slope(y, &start);
        let dt = line.time(&knots[i + 1]) - line.time(&start);
        let y2 = y + d * dt;
        let end = if i + 1 == last {
            y2
        } else {
            let d2 = line.slope(y2, &knots[i + 1]);
            if i + 2 == last {
                let w2 = line.time(&knots[i + 1]) / (2.0 * first);
                y + (d * (1.0 - w2) + d2 * w2) * dt
            } else {
                let y3 = y2 + d2 * (line.time(&knots[i + 2]) - line.time(&knots[i + 1]));
                let d3 = line.slope(y3, &knots[i + 2]);
                let w2 = line.time(&knots[i + 1]) / (3.0 * first);
                let w3 = line.time(&knots[i + 2]) / (3.0 * first);
                y + (d * (1.0 - w2 - w3) + d2 * w2 + d3 * w3) * dt
            }
        };
        x = line.scale(&knots[i + 1]) * end;
        states.push(x);
    }
    Ok(states)
}

#[test]
fn heun_plus_plus_is_comfys_in_rho_and_in_flow_time() -> Outcome {
    for clean in [true, false] {
        for steps in [1, 2, 3, 5, 12] {
            for (schedule, grid) in paths(steps, clean)? {
                let path = Path::new(&schedule, &grid)?;
                let noisy = schedule.lambda_range().noisy();
                for (line, solver) in [
                    (Line::Rho, HeunPlusPlus::new()),
                    (Line::Flow, HeunPlusPlus::in_flow_time()),
                ] {
                    let place = format!("{line:?}, {schedule:?}, {steps}");
                    let plan = solver.plan(&path)?;
                    let evaluations = if steps == 1 { 1 } else { 3 * steps - 3 };
                    assert_eq!(plan.evaluations(), evaluations, "{place}");
                    let ours = states(&path, &solver, 0.7)?;
                    let expected = plus_plus(line, None, (&path, noisy))?;
                    assert_close(&ours, &expected, 1e-12, &place);
                    for parameters in CHURNS {
                        let churned = solver.with_churn(churn(parameters)?);
                        let ours = states(&path, &churned, 0.7)?;
                        let expected = plus_plus(line, Some(parameters), (&path, noisy))?;
                        assert_close(&ours, &expected, 1e-10, &place);
                    }
                }
            }
        }
    }
    Ok(())
}

#[test]
fn heun_plus_plus_from_pure_noise_is_ddim_in_rho_only() -> Outcome {
    let flow = RectifiedFlow::new();
    let grid = Grid::trailing(&flow, 6)?;
    let path = Path::new(&flow, &grid)?;
    assert_eq!(HeunPlusPlus::new().plan(&path)?.evaluations(), 6);
    assert_eq!(HeunPlusPlus::in_flow_time().plan(&path)?.evaluations(), 15);
    Ok(())
}

/// The relative error in the standard deviation of N(0, v) data, by exact moments.
fn miss(solver: &dyn Solver, variance: f64, times: &[f64]) -> Result<f64, Error> {
    let flow = RectifiedFlow::new();
    let data = Gaussian::isotropic(&[0.0], variance)?;
    let grid = Grid::from_times(&flow, times)?;
    let plan = solver.plan(&Path::new(&flow, &grid)?)?;
    let laws = plan.moments(&data, &data.at_level(&grid.start())?)?;
    let found = laws.last().map_or(f64::NAN, |law| law.variances()[0]);
    let exact = data.at_level(&grid.end())?.variances()[0];
    Ok(((found / exact).sqrt() - 1.0).abs())
}

#[test]
fn flow_time_pays_on_flow_grids_that_stop_short_of_clean() -> Outcome {
    let times = |steps: u32, from: f64, to: f64| -> Vec<f64> {
        let at = |k| from + (to - from) * f64::from(k) / f64::from(steps);
        (0..=steps).map(at).collect()
    };
    let gain = |variance: f64, times: &[f64]| -> Result<f64, Error> {
        let rho = miss(&Heun::new(), variance, times)?;
        let flow = miss(&Heun::in_flow_time(), variance, times)?;
        println!("v = {variance}: {flow:.4} in flow time, {rho:.4} in rho");
        Ok(rho / flow)
    };
    for variance in [0.01, 0.05, 0.25, 1.0, 3.0] {
        assert!(gain(variance, &times(10, 1.0, 0.02))? > 1.4);
        assert!(gain(variance, &times(10, 0.999, 0.02))? > 1.4);
    }
    assert!(gain(0.25, &times(10, 1.0, 0.02))? > 7.5);
    assert!(gain(0.25, &times(10, 0.999, 0.02))? > 50.0);
    // The plain step from 0.1 onto σ = 0 costs both much more than what they differ by.
    let onto_clean = times(10, 1.0, 0.0);
    for solver in [Heun::new(), Heun::in_flow_time()] {
        assert!(miss(&solver, 0.05, &onto_clean)? > 0.05);
    }
    // There ρ is no worse, and better on wider data.
    for (variance, least, most) in [(0.01, 0.9, 1.05), (0.05, 0.7, 0.85), (0.25, 0.25, 0.35)] {
        let gain = gain(variance, &onto_clean)?;
        assert!((least..most).contains(&gain), "{variance}: {gain}");
    }
    Ok(())
}

//! DPM-2 against k-diffusion's recurrence.

use diffusion_sampler::{
    Error, Grid, NoiseLevel,
    posterior::Kappa,
    schedule::RectifiedFlow,
    solver::{Dpm2, Path, Solver},
};

use crate::common::{Outcome, assert_close, denoise, normal, paths, states};
use crate::heun::{CHURNS, Line, Parameters, churn, churned};

/// κ of DDIM's η, from its definition.
fn kappa(eta: f64, from: &NoiseLevel, to: &NoiseLevel) -> f64 {
    // 1 − η²(1 − r²), without cancellation.
    let r = to.rho() / from.rho();
    ((1.0 - eta * eta) + (eta * r).powi(2)).sqrt()
}

/// k-diffusion's dpm_2_ancestral on `line`; η = 0 is dpm_2.
fn textbook(
    (line, eta): (Line, f64),
    parameters: Option<Parameters>,
    (path, noisy): (&Path<'_>, f64),
) -> Result<Vec<f64>, Error> {
    let mut x = 0.7;
    let mut states = Vec::new();
    for (step, (from, to)) in path.edges().enumerate() {
        let mut start = from;
        if let Some(parameters) = parameters {
            (x, start) = churned(parameters, path, noisy, x, (step, from))?;
        }
        if to.is_clean() {
            x = to.alpha() * denoise(x, &start);
            states.push(x);
            continue;
        }
        let kappa = kappa(eta, &start, &to);
        let down = NoiseLevel::new(to.time(), to.alpha(), kappa * to.sigma())?;
        let tau = (line.time(&start) * line.time(&down)).sqrt();
        let rho = match line {
            Line::Rho => tau,
            Line::Flow => tau / (1.0 - tau),
        };
        let middle = path.at_lambda(-rho.ln())?;
        let y = x / line.scale(&start);
        let y2 = y + line.slope(y, &start) * (tau - line.time(&start));
        let end = y + line.slope(y2, &middle) * (line.time(&down) - line.time(&start));
        let noise = to.sigma() * (1.0 - kappa * kappa).sqrt();
        let stage = u8::from(start != from) + 1;
        x = line.scale(&down) * end;
        if noise > 0.0 {
            x += noise * normal(step as u32, stage);
        }
        states.push(x);
    }
    Ok(states)
}

#[test]
fn dpm_2_is_k_diffusions_with_churn_and_ancestral() -> Outcome {
    for clean in [true, false] {
        for steps in [1, 2, 5, 12] {
            for (schedule, grid) in paths(steps, clean)? {
                let path = Path::new(&schedule, &grid)?;
                let noisy = schedule.lambda_range().noisy();
                for (line, solver) in [(Line::Rho, Dpm2::new()), (Line::Flow, Dpm2::in_flow_time())]
                {
                    for eta in [0.0, 0.6, 1.0] {
                        // η = 1 puts the midpoint on the knot, up to rounding: the textbook would
                        // ask for it beyond the schedule's clean end.
                        let solver = solver.with_kappa(Kappa::Eta(eta));
                        let place = format!("{solver:?}, {schedule:?}, {steps}");
                        let ours = states(&path, &solver, 0.7)?;
                        let expected = textbook((line, eta), None, (&path, noisy))?;
                        assert_close(&ours, &expected, 1e-10, &place);
                        for parameters in CHURNS {
                            let churned = solver.with_churn(churn(parameters)?);
                            let ours = states(&path, &churned, 0.7)?;
                            let expected = textbook((line, eta), Some(parameters), (&path, noisy))?;
                            assert_close(&ours, &expected, 1e-10, &place);
                        }
                    }
                }
            }
        }
    }
    Ok(())
}

#[test]
fn with_ddpms_noise_the_midpoint_is_the_knot_and_no_noise_leads_onto_the_clean_end() -> Outcome {
    for (schedule, grid) in paths(5, true)? {
        let solver = Dpm2::new().with_kappa(Kappa::Ddpm);
        let plan = solver.plan(&Path::new(&schedule, &grid)?)?;
        for step in &plan.steps()[..4] {
            assert_eq!(step.stages[1].evaluate, Some(step.to));
            assert!(step.stages[1].update.noise > 0.0);
        }
        let last = &plan.steps()[4].stages;
        assert!(last.len() == 1 && last[0].update.noise == 0.0);
        // So no schedule is needed.
        assert!(solver.plan(&Path::without_schedule(&grid)).is_ok());
        assert!(matches!(
            Dpm2::new().plan(&Path::without_schedule(&grid)),
            Err(Error::PathWithoutSchedule { .. })
        ));
    }
    Ok(())
}

#[test]
fn fresh_noise_leaves_the_estimate_and_its_noise() -> Outcome {
    // κ = 0: the step leads to 0 and keeps nothing of the state.
    let flow = RectifiedFlow::new();
    let grid = Grid::trailing(&flow, 4)?;
    let plan = Dpm2::new()
        .with_kappa(Kappa::Fresh)
        .plan(&Path::new(&flow, &grid)?)?;
    for step in plan.steps() {
        let [stage] = &step.stages[..] else {
            return Err("one stage".into());
        };
        let update = &stage.update;
        assert_eq!((update.state, update.data), (0.0, step.to.alpha()));
        assert_eq!(update.noise, step.to.sigma());
    }
    Ok(())
}

#[test]
fn only_flow_time_has_a_midpoint_from_pure_noise() -> Outcome {
    let flow = RectifiedFlow::new();
    let grid = Grid::trailing(&flow, 4)?;
    let path = Path::new(&flow, &grid)?;
    let rho = Dpm2::new().plan(&path)?;
    let time = Dpm2::in_flow_time().plan(&path)?;
    assert_eq!((rho.evaluations(), time.evaluations()), (6, 7));
    let middle = time.steps()[0].stages[1].evaluate.ok_or("an evaluation")?;
    // √(1 · 0.75).
    assert!((middle.sigma() - 0.75f64.sqrt()).abs() < 1e-14);
    Ok(())
}

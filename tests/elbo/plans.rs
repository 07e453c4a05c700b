//! A plan as a code for data.

use diffusion_sampler::{
    Error, Grid,
    likelihood::{Decoder, EdgeVariance, Elbo},
    plan::Plan,
    posterior::{DataErrors, Kappa, ReverseVariance},
    schedule::{NoiseSchedule, RectifiedFlow, VariancePreserving},
    solver::{FirstOrder, Path, Solver, catalogue},
};

use super::common::{Outcome, gaussian, table};

/// The solvers of the catalogue whose steps are posteriors with noise.
const POSTERIORS: [&str; 8] = [
    "DDPM",
    "DDIM with eta 0.5",
    "constant tau 0.7",
    "fresh noise",
    "Euler ancestral with eta 1.2, capped",
    "Euler ancestral of flows",
    "TCD",
    "ER-SDE 1",
];

/// The bound of a plan by the formula of an edge, from the plan's scalars alone: κ from the
/// coefficient of the state, γ² = σ_s²(1 − κ²), v_p = noise².
fn by_hand(plan: &Plan, errors: &DataErrors) -> Result<Vec<f64>, Error> {
    let mut costs = Vec::new();
    let (_, edges) = plan
        .steps()
        .split_last()
        .ok_or(Error::EmptyList { name: "steps" })?;
    for step in edges {
        let update = &step.stages[0].update;
        let kappa = update.state * step.from.sigma() / step.to.sigma();
        let q = step.to.sigma().powi(2) * (1.0 - kappa) * (1.0 + kappa);
        let p = update.noise.powi(2);
        let m = errors.at(&step.from)?;
        let spread = errors.dim() as f64 * (q / p - 1.0 - (q / p).ln());
        costs.push(0.5 * (spread + update.data.powi(2) * m / p));
    }
    Ok(costs)
}

#[test]
fn plans_of_posteriors_cost_what_their_edges_cost() -> Outcome {
    let schedules: [&dyn NoiseSchedule; 3] = [
        &table()?,
        &VariancePreserving::default(),
        &RectifiedFlow::new(),
    ];
    for schedule in schedules {
        let last = schedule.last_time();
        let times: Vec<f64> = (0..8)
            .map(|k| last * 0.95 * (1.0 - f64::from(k) / 7.0))
            .collect();
        let grid = Grid::from_times(schedule, &times)?;
        let path = Path::new(schedule, &grid)?;
        let errors = DataErrors::of_gaussian(&gaussian()?, &grid)?;
        let (along, moment) = (errors.along(&grid)?, errors.second_moment());
        let decoder = Decoder::GaussianOptimal;
        let mut accepted = Vec::new();
        for entry in catalogue() {
            let Ok(plan) = entry.solver.plan(&path) else {
                continue;
            };
            match Elbo::of_plan(&plan, grid.start_variance()) {
                Ok(elbo) => {
                    let bound = elbo.evaluate(3, &along, moment, decoder)?;
                    for (found, expected) in bound.edges.iter().zip(by_hand(&plan, &errors)?) {
                        let error = (found / expected - 1.0).abs();
                        assert!(error < 1e-9, "{}: {found} {expected}", entry.name);
                    }
                    accepted.push(entry.name);
                }
                Err(Error::StepNotPosterior {
                    step, requirement, ..
                }) => {
                    assert!(step < 7, "{}", entry.name);
                    assert!(!requirement.is_empty());
                }
                Err(Error::DegenerateEdge { .. }) => assert!(entry.inverts, "{}", entry.name),
                Err(other) => return Err(format!("{}: {other}", entry.name).into()),
            }
        }
        assert_eq!(accepted, POSTERIORS);
        // Every form of the family, and by every route to it.
        for (kappa, variance) in [
            (Kappa::Ddpm, ReverseVariance::Posterior),
            (Kappa::Ddpm, ReverseVariance::FixedLarge),
            (Kappa::Ddpm, ReverseVariance::Explicit(0.3)),
            (Kappa::Eta(0.5), ReverseVariance::Posterior),
            (Kappa::Eta(0.5), ReverseVariance::Explicit(0.01)),
            (Kappa::Tau(0.7), ReverseVariance::Posterior),
            (Kappa::Tau(0.7), ReverseVariance::FixedLarge),
            (Kappa::Fresh, ReverseVariance::Posterior),
            (Kappa::Ancestral(1.0), ReverseVariance::Posterior),
        ] {
            let solver = FirstOrder::new(kappa).with_reverse_variance(variance);
            let elbo = Elbo::of_plan(&solver.plan(&path)?, grid.start_variance())?;
            let direct = Elbo::new(&grid, kappa, EdgeVariance::Policy(variance))?;
            let found = elbo.evaluate(3, &along, moment, decoder)?;
            let expected = direct.evaluate(3, &along, moment, decoder)?;
            assert_eq!(
                (found.prior, found.decoder),
                (expected.prior, expected.decoder)
            );
            for (found, expected) in found.edges.iter().zip(&expected.edges) {
                assert!(
                    (found / expected - 1.0).abs() < 1e-9,
                    "{kappa} {found} {expected}"
                );
            }
        }
    }
    Ok(())
}

#[test]
fn a_refused_plan_says_which_step_and_what_is_missing() -> Outcome {
    let schedule = table()?;
    let grid = Grid::trailing(&schedule, 5)?;
    let path = Path::new(&schedule, &grid)?;
    let refusal = |name: &str| -> Result<(usize, &str), Box<dyn std::error::Error>> {
        let entry = catalogue().into_iter().find(|entry| entry.name == name);
        let plan = entry.ok_or("no such solver")?.solver.plan(&path)?;
        match Elbo::of_plan(&plan, 1.0) {
            Err(Error::StepNotPosterior {
                step, requirement, ..
            }) => Ok((step, requirement)),
            other => Err(format!("{name}: {other:?}").into()),
        }
    };
    assert_eq!(refusal("DDIM")?.0, 0);
    assert!(refusal("DDIM")?.1.contains("add noise"));
    assert_eq!(refusal("Heun")?, (0, "have one stage"));
    assert_eq!(refusal("SDE-DPM-Solver++(2M)")?, (1, "read no history"));
    // A mean and a noise that belong to no edge, in one step of many.
    let ddpm = FirstOrder::ddpm().plan(&path)?;
    let changed = |change: &dyn Fn(&mut diffusion_sampler::plan::Step)| -> Result<Plan, Error> {
        let mut steps = ddpm.steps().to_vec();
        change(&mut steps[2]);
        Plan::new(steps, 0)
    };
    let refused = |plan: &Plan| match Elbo::of_plan(plan, 1.0) {
        Err(Error::StepNotPosterior {
            step,
            from,
            to,
            requirement,
        }) => Ok((step, from, to, requirement)),
        other => Err(format!("{other:?}")),
    };
    let data = changed(&|step| step.stages[0].update.data *= 1.0 + 1e-11)?;
    let (step, from, to, requirement) = refused(&data)?;
    assert_eq!((step, from, to), (2, 600.0, 400.0));
    assert!(requirement.contains("one kappa"));
    let state = changed(&|step| step.stages[0].update.state *= 1.0 + 1e-11)?;
    assert!(refused(&state)?.3.contains("one kappa"));
    let silent = changed(&|step| step.stages[0].update.noise = 0.0)?;
    assert!(refused(&silent)?.3.contains("add noise"));
    // Another noise is another v_p of the same mean, and no refusal.
    assert!(Elbo::of_plan(&changed(&|step| step.stages[0].update.noise *= 2.0)?, 1.0).is_ok());
    let elsewhere = changed(&|step| step.stages[0].evaluate = Some(step.to))?;
    assert_eq!(refused(&elsewhere)?.3, "evaluate the model where it starts");
    let mut steps = ddpm.steps().to_vec();
    steps[4].stages[0].update.data = 0.9;
    assert!(
        refused(&Plan::new(steps, 0)?)?
            .3
            .contains("estimate of x0 itself")
    );
    let mut steps = ddpm.steps().to_vec();
    steps[4].stages[0].update.state = 1e-9;
    assert!(
        refused(&Plan::new(steps, 0)?)?
            .3
            .contains("estimate of x0 itself")
    );
    // Noise onto the clean end is the decoder's.
    let mut steps = ddpm.steps().to_vec();
    steps[4].stages[0].update.noise = 0.1;
    assert_eq!(Elbo::of_plan(&Plan::new(steps, 0)?, 1.0)?.edges().len(), 4);
    assert!(Elbo::of_plan(&ddpm, 0.0).is_err());
    let open = grid.clone().without_clean_end()?;
    let open = FirstOrder::ddpm().plan(&Path::new(&schedule, &open)?)?;
    assert!(matches!(
        Elbo::of_plan(&open, 1.0),
        Err(Error::DegenerateEdge { .. })
    ));
    Ok(())
}

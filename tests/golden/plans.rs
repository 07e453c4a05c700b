//! Plans: the fingerprint, and every number of every level and update.

use diffusion_sampler::{
    Grid,
    plan::{Kept, Plan},
    solver::{Churn, Euler, Heun, Path, RePaint, Restart, Solver, catalogue},
};

use crate::hash::{Hash, Lines};
use crate::models::schedules;

pub(crate) fn plan(hash: &mut Hash, plan: &Plan) {
    hash.word(plan.fingerprint());
    for count in [
        plan.slots(),
        plan.given(),
        plan.evaluations(),
        plan.steps().len(),
    ] {
        hash.count(count);
    }
    for step in plan.steps() {
        hash.level(&step.from);
        hash.level(&step.to);
        for stage in &step.stages {
            hash.count(usize::from(stage.evaluate.is_some()));
            if let Some(level) = &stage.evaluate {
                hash.level(level);
            }
            let update = &stage.update;
            hash.numbers(&[update.state, update.data, update.noise]);
            for (slot, weight) in &update.history {
                hash.count(*slot);
                hash.number(*weight);
            }
            if let Some(store) = update.store {
                hash.count(store.slot);
                if let Kept::Linear { state, data } = store.kept {
                    hash.numbers(&[state, data]);
                }
            }
        }
    }
}

pub(crate) fn add(lines: &mut Lines) {
    let churn = Churn::new(30.0).unwrap();
    let more: [(&str, Box<dyn Solver>); 4] = [
        ("restart", Box::new(Restart::of_steps(Heun::new(), 24))),
        ("churn", Box::new(Euler::new().with_churn(churn))),
        (
            "RePaint",
            Box::new(RePaint::new(Heun::stochastic(churn), 3, 2).unwrap()),
        ),
        ("churn of Heun", Box::new(Heun::stochastic(churn))),
    ];
    let listed = catalogue()
        .into_iter()
        .map(|entry| (entry.name, entry.solver));
    let solvers: Vec<(&str, Box<dyn Solver>)> = listed.chain(more).collect();
    let schedules = schedules();
    for (name, solver) in &solvers {
        lines.add(format!("plan: {name}"), |hash| {
            for (_, schedule) in &schedules {
                let (schedule, range) = (&**schedule, schedule.lambda_range());
                let grids = [
                    Grid::trailing(schedule, 7),
                    Grid::karras(schedule, 12, range, 7.0),
                    Grid::uniform_lambda(schedule, 4, range),
                ];
                for grid in grids {
                    let path = grid.and_then(|grid| {
                        let path = Path::new(schedule, &grid)?;
                        solver.plan(&path)
                    });
                    match path {
                        Ok(path) => plan(hash, &path),
                        Err(_) => hash.word(u64::MAX),
                    }
                }
            }
        });
    }
}

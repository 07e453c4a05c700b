//! Which plans read a state from before a step, so that an edit of the state between steps would
//! not agree with it.

use diffusion_sampler::{
    Grid, KeyedNoise, Prediction, Sampler, from_fn,
    plan::{Kept, Plan, Stage, Step, Store, Update},
    schedule::TableSchedule,
    solver::{Heun, Path, Solver, catalogue},
};
use ndarray::{Array2, Ix2};

const STEPS: usize = 8;
/// The step before which the state is edited: every history is full by then.
const EDITED: usize = 4;

fn grid() -> (TableSchedule, Grid) {
    let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012).unwrap();
    let grid = Grid::trailing(&schedule, STEPS).unwrap();
    (schedule, grid)
}

#[test]
fn only_solvers_that_relate_states_read_earlier_ones() {
    let (schedule, grid) = grid();
    let path = Path::new(&schedule, &grid).unwrap();
    let reading: Vec<&str> = catalogue()
        .iter()
        .filter(|entry| !entry.inverts)
        .filter(|entry| {
            let plan = entry.solver.plan(&path).unwrap();
            let step = plan.steps().len() * EDITED / STEPS;
            plan.reads_earlier_state(step, 0)
        })
        .map(|entry| entry.name)
        .collect();
    // BELM relates three states; those for CFG++ keep x in place of E, which the guidance bends.
    assert_eq!(
        reading,
        [
            "2M for CFG++",
            "RES multistep for CFG++",
            "RES multistep for CFG++, ancestral",
            "BELM"
        ]
    );
}

/// On data of one point c every D is c: a run whose plan keeps only D and reads no earlier state
/// forgets where it was before an edit, and follows αc + σe of the new e. BELM does not.
#[test]
fn an_edited_state_is_followed_unless_an_earlier_one_is_read() {
    const POINT: f64 = 0.3;
    let (schedule, grid) = grid();
    let mut model = from_fn::<f64, Ix2>(Prediction::Data, |_, _, out| out.fill(POINT));
    let (mut followed, mut belm) = (0, None);
    for entry in catalogue() {
        let sampler = Sampler::new(&schedule, &grid, &entry.solver).unwrap();
        let plan = sampler.plan();
        let mut stores = plan.stages().filter_map(|stage| stage.update.store);
        let data_only = stores.all(|store| store.kept == Kept::Data);
        let simple = !entry.inverts && !plan.is_stochastic() && plan.steps().len() == STEPS;
        if !simple || !(data_only || entry.name == "BELM") {
            continue;
        }
        let x = Array2::from_elem((1, 1), 1.3);
        let mut run = sampler
            .start_from(x, Prediction::Data, KeyedNoise::new(0))
            .unwrap();
        for _ in 0..EDITED {
            run.advance(&mut model).unwrap();
        }
        let on_path = |e: f64, level: diffusion_sampler::NoiseLevel| {
            level.alpha() * POINT + level.sigma() * e
        };
        let edited = on_path(-2.0, run.level());
        run.state_mut().fill(edited);
        while run.step() < STEPS - 1 {
            run.advance(&mut model).unwrap();
        }
        let error = (run.state()[[0, 0]] - on_path(-2.0, run.level())).abs();
        if entry.name == "BELM" {
            belm = Some(error);
        } else {
            assert!(!plan.reads_earlier_state(EDITED, 0), "{}", entry.name);
            assert!(error < 1e-12, "{}: {error:e}", entry.name);
            followed += 1;
        }
    }
    assert!(followed > 10, "{followed}");
    assert!(belm.is_some_and(|error| error > 1e-3), "{belm:?}");
}

#[test]
fn stages_are_counted_within_their_step_and_slots_are_forgotten_when_rewritten() {
    let (schedule, grid) = grid();
    let path = Path::new(&schedule, &grid).unwrap();
    // Heun's second stage reads the slope of its own step, which is no state.
    let heun = Heun::new().plan(&path).unwrap();
    assert!((0..STEPS).all(|step| !heun.reads_earlier_state(step, 1)));

    let levels = grid.levels();
    let keep = Update {
        state: 1.0,
        ..Update::default()
    };
    let step = |index: usize, stages: Vec<Stage>| Step {
        from: levels[index],
        to: levels[index + 1],
        stages,
    };
    let read = Update {
        history: vec![(0, 1.0)],
        ..Update::default()
    };
    let plan = |second: Vec<Stage>| {
        let first = Stage::without_model(keep.clone().storing(Store::state(0)));
        Plan::new(vec![step(0, vec![first]), step(1, second)], 1).unwrap()
    };
    let reads = plan(vec![Stage::without_model(read.clone())]);
    assert!(!reads.reads_earlier_state(0, 0) && reads.reads_earlier_state(1, 0));
    assert!(
        !reads.reads_earlier_state(2, 0),
        "nothing is left to read it"
    );
    let again = Stage::without_model(keep.clone().storing(Store::state(0)));
    let rewrites = plan(vec![again, Stage::without_model(read)]);
    assert!(!rewrites.reads_earlier_state(1, 0) && rewrites.reads_earlier_state(1, 1));
}

/// Stages that pass a state on: a slot given at the start, x made anew from D, a slot read into x.
#[test]
fn a_state_is_known_by_where_it_comes_from() {
    let (_, grid) = grid();
    let levels = grid.levels();
    let step = |index: usize, stages: Vec<Stage>| Step {
        from: levels[index],
        to: levels[index + 1],
        stages,
    };
    let keep = Update {
        state: 1.0,
        ..Update::default()
    };
    let read = |slot: usize| Update {
        history: vec![(slot, 1.0)],
        ..Update::default()
    };
    let estimate = Update {
        data: 1.0,
        ..Update::default()
    };
    let kept = |state: f64, data: f64| Kept::Linear { state, data };
    let plain = |update: Update| Stage::without_model(update);
    let stored = |slot: usize| plain(keep.clone().storing(Store::state(slot)));

    let given = Plan::with_given(vec![step(0, vec![plain(read(0))])], 1, 1).unwrap();
    assert!(given.reads_earlier_state(0, 0));

    // What is kept of x and D: a multiple of x is a state, all else is an estimate.
    for (kept, is_state) in [
        (Kept::State, true),
        (Kept::Data, false),
        (Kept::Noise, false),
        (kept(0.5, 0.0), true),
        (kept(0.5, -0.5), false),
        (kept(0.0, 2.0), false),
        (kept(0.0, 0.0), false),
    ] {
        let update = keep.clone().storing(Store { slot: 0, kept });
        let plan = vec![
            step(0, vec![Stage::evaluating(levels[0], update)]),
            step(1, vec![plain(read(0))]),
        ];
        let plan = Plan::new(plan, 1).unwrap();
        assert_eq!(plan.reads_earlier_state(1, 0), is_state, "{kept:?}");
    }

    let made = vec![
        step(0, vec![Stage::evaluating(levels[0], estimate), stored(0)]),
        step(1, vec![plain(read(0))]),
    ];
    assert!(Plan::new(made, 1).unwrap().reads_earlier_state(1, 0));

    let passed = vec![
        step(0, vec![stored(0)]),
        step(1, vec![plain(read(0)), stored(1)]),
        step(2, vec![plain(read(1))]),
    ];
    assert!(Plan::new(passed, 2).unwrap().reads_earlier_state(2, 0));
}

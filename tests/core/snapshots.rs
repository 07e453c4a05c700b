//! Stored runs: resumed bit for bit at every stage, refused by every other plan.

use diffusion_sampler::{
    Error, Grid, KeyedNoise, NoiseLevel, Prediction, Sampler,
    plan::{Kept, Plan, Stage, Step, Store, Update},
    run::Snapshot,
    schedule::TableSchedule,
    solver::{DpmSolverPlusPlus, FirstOrder, Heun, Solver, catalogue},
};
use ndarray::Array2;

use crate::common::{Smooth, bits};

const KIND: Prediction = Prediction::Noise;

fn sampler(solver: &dyn Solver, steps: usize) -> Sampler {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02).unwrap();
    let grid = Grid::trailing(&schedule, steps).unwrap();
    Sampler::new(&schedule, &grid, solver).unwrap()
}

fn noise() -> KeyedNoise {
    KeyedNoise::new(8)
}

#[test]
fn a_stored_run_goes_on_bit_for_bit_at_every_stage() {
    for entry in catalogue() {
        let sampler = sampler(&*entry.solver, 4);
        let x = Array2::from_shape_fn((3, 5), |(i, j)| 0.3f32 * i as f32 - 0.2 * j as f32);
        let mut run = sampler.start_from(x, KIND, noise()).unwrap();
        let mut stored = vec![run.snapshot().unwrap()];
        while let Some(question) = run.ask().unwrap() {
            let output = question.x.mapv(|x| Smooth::at(x, &question.level()));
            stored.push(run.snapshot().unwrap());
            run.tell(&output).unwrap();
            stored.push(run.snapshot().unwrap());
        }
        assert!(stored.len() >= 9);
        for snapshot in stored {
            let mut resumed = sampler.resume(snapshot.clone(), KIND, noise()).unwrap();
            assert_eq!(resumed.snapshot().unwrap(), snapshot);
            resumed.complete(&mut Smooth(KIND)).unwrap();
            assert_eq!(bits(resumed.state()), bits(run.state()), "{}", entry.name);
            assert_eq!(resumed.history(), run.history());
        }
    }
}

/// A run of Heun's method in 4 steps, between the stages of step 1.
fn stored() -> Snapshot<Array2<f64>> {
    let mut run = sampler(&Heun::new(), 4)
        .start_from(Array2::ones((2, 3)), KIND, noise())
        .unwrap();
    for _ in 0..3 {
        assert!(run.ask().unwrap().is_some());
        run.tell(&Array2::<f64>::ones((2, 3))).unwrap();
    }
    run.snapshot().unwrap()
}

#[test]
fn a_snapshot_of_another_plan_is_refused_with_both_fingerprints() {
    let snapshot = stored();
    let others = [
        sampler(&Heun::new(), 5),
        sampler(&Heun::new(), 3),
        sampler(&FirstOrder::ddim(), 4),
        sampler(&DpmSolverPlusPlus::new(), 4),
    ];
    for other in others {
        let refused = other
            .resume(snapshot.clone(), KIND, noise())
            .map(drop)
            .unwrap_err();
        let (expected, found) = (other.plan().fingerprint(), snapshot.plan);
        let time = snapshot.level.time();
        assert_eq!(
            refused,
            Error::SnapshotOfAnotherPlan {
                expected,
                found,
                time
            }
        );
        let text = refused.to_string();
        for part in [
            format!("{expected:016x}"),
            format!("{found:016x}"),
            time.to_string(),
        ] {
            assert!(text.contains(&part), "{text}");
        }
    }
}

/// Every number of a plan is in its fingerprint, and a zero has no sign.
#[test]
fn plans_that_differ_in_one_number_have_different_fingerprints() {
    let level = |time: f64, sigma: f64| NoiseLevel::new(time, 0.5, sigma).unwrap();
    let update = Update {
        state: 0.5,
        data: 0.25,
        history: vec![(0, 0.75)],
        noise: 0.125,
        store: Some(Store::data(1)),
    };
    let (t, s) = (level(2.0, 0.75), level(1.0, 0.5));
    let one = || Step::simple(t, s, update.clone());
    let plan = |steps: Vec<Step>, slots, given| Plan::with_given(steps, slots, given).unwrap();
    let edited = |edit: &dyn Fn(&mut Step)| {
        let mut step = one();
        edit(&mut step);
        plan(vec![step], 2, 2)
    };
    let scalars = |edit: &dyn Fn(&mut Update)| edited(&|step| edit(&mut step.stages[0].update));
    let kept = |state: f64, data: f64| Kept::Linear { state, data };
    let store = |slot, kept| scalars(&move |u| u.store = Some(Store { slot, kept }));
    let plans = [
        plan(vec![one()], 2, 2),
        plan(vec![one()], 3, 2),
        plan(vec![one()], 3, 3),
        plan(vec![one(), Step::simple(s, s, Update::default())], 2, 2),
        edited(&|step| step.from = level(2.5, 0.75)),
        edited(&|step| step.from = t.with_model_time(7.0)),
        edited(&|step| step.from = level(2.0, 0.8)),
        edited(&|step| step.to = level(1.0, 0.6)),
        edited(&|step| step.to = NoiseLevel::new(1.0, 0.6, 0.5).unwrap()),
        edited(&|step| step.stages.push(Stage::without_model(Update::default()))),
        edited(&|step| step.stages[0].evaluate = Some(level(2.0, 0.7))),
        scalars(&|u| u.state = 0.25),
        scalars(&|u| u.data = 0.5),
        scalars(&|u| u.noise = 0.0),
        scalars(&|u| u.history = Vec::new()),
        scalars(&|u| u.history = vec![(1, 0.75)]),
        scalars(&|u| u.history = vec![(0, 0.5)]),
        scalars(&|u| u.history = vec![(0, 0.75), (1, 0.75)]),
        scalars(&|u| u.store = None),
        store(0, Kept::Data),
        store(1, Kept::Noise),
        store(1, Kept::State),
        store(1, kept(0.5, 0.25)),
        store(1, kept(0.5, 0.5)),
        store(1, kept(0.25, 0.25)),
    ];
    let fingerprints: Vec<u64> = plans.iter().map(Plan::fingerprint).collect();
    for (index, own) in fingerprints.iter().enumerate() {
        let first = fingerprints.iter().position(|other| other == own);
        assert_eq!(first, Some(index), "{index}");
    }
    let signed = |zero: f64| scalars(&move |u| u.state = zero);
    assert_eq!(signed(0.0).fingerprint(), signed(-0.0).fingerprint());
    assert!((&plans[3]).into_iter().eq(plans[3].steps()));
}

#[test]
fn a_snapshot_at_no_position_of_its_plan_is_refused() {
    let sampler = sampler(&Heun::new(), 4);
    let resume = |edit: &dyn Fn(&mut Snapshot<Array2<f64>>)| {
        let mut snapshot = stored();
        edit(&mut snapshot);
        sampler.resume(snapshot, KIND, noise()).map(drop)
    };
    assert_eq!(resume(&|_| ()), Ok(()));
    let level = stored().level;
    for (step, stage, time) in [
        (5, 0, level.time()),
        (usize::MAX, 0, level.time()),
        (4, 1, level.time()),
        (1, 2, level.time()),
        (2, 1, level.time()),
        (1, 1, 1.0),
    ] {
        let refused = resume(&|s| {
            (s.step, s.stage) = (step, stage);
            s.level = NoiseLevel::new(time, level.alpha(), level.sigma()).unwrap();
        });
        let expected = Error::SnapshotMisplaced {
            step,
            stage,
            steps: 4,
            time,
        };
        assert_eq!(refused, Err(expected.clone()));
        let text = expected.to_string();
        assert!(
            text.contains(&step.to_string()) && text.contains(&stage.to_string()),
            "{text}"
        );
    }
    assert_eq!(
        resume(&|s| s.history.clear()),
        Err(Error::WrongLength {
            name: "history",
            expected: 1,
            found: 0
        })
    );
    assert!(matches!(
        resume(&|s| s.history[0] = Array2::zeros((1, 1))),
        Err(Error::ShapeMismatch {
            name: "history",
            ..
        })
    ));
    assert!(matches!(
        resume(&|s| s.memory = Some(Array2::zeros((1, 1)))),
        Err(Error::ShapeMismatch {
            name: "guidance memory",
            ..
        })
    ));
    assert!(matches!(
        resume(&|s| s.state[[1, 2]] = f64::NAN),
        Err(Error::NonFiniteStart {
            array: "start state",
            sample: 1,
            element: 2,
            ..
        })
    ));
}

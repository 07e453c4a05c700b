//! What a plan, and the start of a run, refuse: each with its values.

use diffusion_sampler::{
    Error, Grid, KeyedNoise, NoiseLevel, Prediction, Sampler,
    plan::{Kept, MAX_SLOTS, MAX_STAGES, Plan, Stage, Step, Store, Update},
    run::{Instruction, Machine},
    solver::{FirstOrder, Path},
};
use ndarray::{Array1, Array2, arr0};

fn level(time: f64) -> NoiseLevel {
    NoiseLevel::new(time, 1.0, time).unwrap()
}

/// A step 3 → 2 of these stages after a good one 4 → 3 that stores D in slot 0.
fn plan(stages: Vec<Stage>, slots: usize) -> Result<Plan, Error> {
    let first = Step::simple(
        level(4.0),
        level(3.0),
        Update::default().storing(Store::data(0)),
    );
    let second = Step {
        from: level(3.0),
        to: level(2.0),
        stages,
    };
    Plan::new(vec![first, second], slots)
}

fn refused(stages: Vec<Stage>, slots: usize) -> Error {
    plan(stages, slots).unwrap_err()
}

fn reading(history: &[(usize, f64)]) -> Stage {
    let update = Update {
        state: 1.0,
        history: history.to_vec(),
        ..Update::default()
    };
    Stage::evaluating(level(3.0), update)
}

#[track_caller]
fn names(error: &Error, values: &[&str]) {
    let text = error.to_string();
    for value in values {
        assert!(text.contains(value), "{text} does not name {value}");
    }
}

#[test]
fn a_plan_needs_steps_that_meet() {
    let error = Plan::new(Vec::new(), 0).unwrap_err();
    assert!(matches!(
        error,
        Error::StepCount {
            steps: 0,
            min: 1,
            ..
        }
    ));
    names(&error, &["0", "1"]);
    let step = |from, to| Step::simple(level(from), level(to), Update::default());
    let error = Plan::new(vec![step(4.0, 3.0), step(2.5, 1.0)], 0).unwrap_err();
    assert_eq!(
        error,
        Error::EdgesDoNotMeet {
            end: 3.0,
            start: 2.5
        }
    );
    names(&error, &["3", "2.5"]);
    // The time alone does not make a level.
    let other = NoiseLevel::new(3.0, 0.5, 3.0).unwrap();
    let apart = Step::simple(other, level(1.0), Update::default());
    assert!(matches!(
        Plan::new(vec![step(4.0, 3.0), apart], 0),
        Err(Error::EdgesDoNotMeet { .. })
    ));
}

#[test]
fn a_step_needs_one_to_as_many_stages_as_noise_has_keys() {
    let stage = || Stage::without_model(Update::default());
    for found in [0, MAX_STAGES + 1] {
        let error = refused(vec![stage(); found], 1);
        assert_eq!(
            error,
            Error::StageCount {
                step: 1,
                found,
                max: MAX_STAGES
            }
        );
        names(&error, &["1", &found.to_string(), &MAX_STAGES.to_string()]);
    }
    assert!(plan(vec![stage(); MAX_STAGES], 1).is_ok());
    let step = Step::simple(level(3.0), level(2.0), Update::default());
    let error = Instruction::new(&step, 1, 7).unwrap_err();
    assert!(matches!(
        error,
        Error::NoSuchStage {
            step: 7,
            stage: 1,
            stages: 1
        }
    ));
    // By hand a step may have more stages than a plan's: those beyond cannot be taken.
    let (from, to) = (level(3.0), level(2.0));
    let stages = vec![stage(); MAX_STAGES + 2];
    let step = Step { from, to, stages };
    assert!(Instruction::new(&step, MAX_STAGES - 1, 0).is_ok());
    let (found, max) = (MAX_STAGES + 1, MAX_STAGES);
    let error = Instruction::new(&step, MAX_STAGES, 5).map(drop);
    assert_eq!(
        error,
        Err(Error::StageCount {
            step: 5,
            found,
            max
        })
    );
}

#[test]
fn slots_must_exist_be_written_before_and_be_read_once() {
    let error = Plan::new(
        vec![Step::simple(level(4.0), level(3.0), Update::default())],
        MAX_SLOTS + 1,
    )
    .unwrap_err();
    let (found, max) = (MAX_SLOTS + 1, MAX_SLOTS);
    assert_eq!(error, Error::TooManySlots { found, max });
    names(&error, &["9", "8"]);

    let most = Plan::new(
        vec![Step::simple(level(4.0), level(3.0), Update::default())],
        MAX_SLOTS,
    );
    assert_eq!(most.map(|plan| plan.slots()), Ok(MAX_SLOTS));
    let machine = |slots| Machine::with_history(Array1::<f64>::zeros(1), vec![], slots);
    assert_eq!(machine(MAX_SLOTS).map(|_| ()), Ok(()));
    let too_many = Error::TooManySlots { found, max };
    assert_eq!(machine(MAX_SLOTS + 1).map(|_| ()), Err(too_many));

    let (step, stage) = (1, 1);
    let pass = || Stage::without_model(Update::default());
    let out_of_range = Error::SlotOutOfRange {
        step,
        stage,
        slot: 5,
        slots: 2,
    };
    assert_eq!(refused(vec![pass(), reading(&[(5, 1.0)])], 2), out_of_range);
    let storing = Stage::evaluating(level(3.0), Update::default().storing(Store::data(5)));
    assert_eq!(refused(vec![pass(), storing], 2), out_of_range);
    names(&out_of_range, &["stage 1", "step 1", "slot 5", "has 2"]);

    let error = refused(vec![pass(), reading(&[(0, 1.0), (1, 1.0)])], 2);
    assert_eq!(
        error,
        Error::SlotNotWritten {
            step,
            stage,
            slot: 1
        }
    );
    names(&error, &["stage 1", "step 1", "slot 1"]);

    let error = refused(vec![pass(), reading(&[(0, 1.0), (0, 0.5)])], 2);
    assert_eq!(
        error,
        Error::SlotReadTwice {
            step,
            stage,
            slot: 0
        }
    );
    names(&error, &["stage 1", "step 1", "slot 0"]);

    // A slot that an update writes is read as it was before.
    let update = reading(&[(1, 1.0)]).update.storing(Store::data(1));
    assert_eq!(
        refused(vec![pass(), Stage::evaluating(level(3.0), update)], 2),
        Error::SlotNotWritten {
            step,
            stage,
            slot: 1
        }
    );
}

#[test]
fn given_slots_must_exist_and_count_as_written() {
    let step = Step {
        from: level(4.0),
        to: level(3.0),
        stages: vec![Stage::evaluating(level(4.0), reading(&[(1, 1.0)]).update)],
    };
    let steps = || vec![step.clone()];
    assert!(matches!(
        Plan::with_given(steps(), 2, 1),
        Err(Error::SlotNotWritten { slot: 1, .. })
    ));
    assert_eq!(Plan::with_given(steps(), 2, 2).unwrap().given(), 2);
    let error = Plan::with_given(steps(), 2, 3).unwrap_err();
    assert!(matches!(
        error,
        Error::SlotOutOfRange {
            slot: 2,
            slots: 2,
            ..
        }
    ));
    names(&error, &["slot 2", "has 2"]);
}

#[test]
fn estimates_need_an_evaluation_and_noise_a_level_that_has_some() {
    for (state, store) in [
        (
            Update {
                data: 0.5,
                ..Update::default()
            },
            None,
        ),
        (Update::default(), Some(Store::data(0))),
        (Update::default(), Some(Store::noise(0))),
        (Update::default(), Some(Store::linear(0, 1.0, 0.5))),
    ] {
        let update = Update { store, ..state };
        let error = refused(vec![Stage::without_model(update)], 1);
        assert_eq!(error, Error::DataWithoutEvaluation { step: 1, stage: 0 });
        names(&error, &["stage 0", "step 1"]);
    }
    for store in [Store::state(0), Store::linear(0, 2.0, 0.0)] {
        let update = Update::default().storing(store);
        assert!(plan(vec![Stage::without_model(update)], 1).is_ok());
    }
    let clean = NoiseLevel::clean();
    let noise = Stage::evaluating(clean, Update::default().storing(Store::noise(0)));
    let error = refused(vec![noise], 1);
    assert!(matches!(error, Error::DegenerateEdge { from: 0.0, .. }));
    names(&error, &["sigma > 0"]);
    assert_eq!(Kept::Noise.coefficients(Some(&level(2.0))), Ok((0.5, -0.5)));
    assert_eq!(Kept::State.coefficients(None), Ok((1.0, 0.0)));
}

#[test]
fn coefficients_are_finite_and_noise_is_not_negative() {
    let bad: [fn(&mut Update, f64); 6] = [
        |u, v| u.state = v,
        |u, v| u.data = v,
        |u, v| u.noise = v,
        |u, v| u.history = vec![(0, v)],
        |u, v| u.store = Some(Store::linear(0, v, 0.0)),
        |u, v| u.store = Some(Store::linear(0, 0.0, v)),
    ];
    for edit in bad {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let mut update = Update::default();
            edit(&mut update, value);
            let error = refused(vec![Stage::evaluating(level(3.0), update)], 1);
            assert!(
                matches!(error, Error::InvalidEntry { index: 1, .. }),
                "{error}"
            );
            names(&error, &["[1]", &value.to_string(), "finite"]);
        }
    }
    let update = Update {
        noise: -0.25,
        ..Update::default()
    };
    let error = refused(vec![Stage::evaluating(level(3.0), update)], 1);
    names(&error, &["[1]", "-0.25", "at least 0"]);
}

#[test]
fn joined_plans_must_meet_and_have_what_the_second_is_given() {
    let step = |from, to, update| Step::simple(level(from), level(to), update);
    let one = |from, to| Plan::new(vec![step(from, to, Update::default())], 0).unwrap();
    let joined = one(4.0, 3.0).then(one(3.0, 1.0)).unwrap();
    assert_eq!((joined.start(), joined.end()), (level(4.0), level(1.0)));
    let error = one(4.0, 3.0).then(one(2.0, 1.0)).unwrap_err();
    assert_eq!(
        error,
        Error::EdgesDoNotMeet {
            end: 3.0,
            start: 2.0
        }
    );

    let reads = || {
        let update = reading(&[(0, 1.0)]).update;
        Plan::with_given(vec![step(3.0, 1.0, update)], 1, 1).unwrap()
    };
    let error = one(4.0, 3.0).then(reads()).unwrap_err();
    assert!(matches!(
        error,
        Error::SlotOutOfRange {
            slot: 0,
            slots: 0,
            ..
        }
    ));
    // A first plan that has the slot and writes it gives it; one that does not write it does not.
    let writes = Update::default().storing(Store::state(0));
    let first = Plan::new(vec![step(4.0, 3.0, writes)], 1).unwrap();
    let joined = first.then(reads()).unwrap();
    assert_eq!((joined.slots(), joined.given()), (1, 0));
    let silent = Plan::new(vec![step(4.0, 3.0, Update::default())], 1).unwrap();
    assert!(matches!(
        silent.then(reads()),
        Err(Error::SlotNotWritten {
            step: 1,
            stage: 0,
            slot: 0
        })
    ));
    // Given slots of the first stay given.
    let kept = reads().then(one(1.0, 0.5)).unwrap();
    assert_eq!((kept.slots(), kept.given()), (1, 1));
}

#[test]
fn coefficients_beyond_the_element_type_are_refused_at_the_start() {
    // Score prediction: D = (x + σ²o)/α, and σ²/α = 1e50.
    let levels = vec![
        NoiseLevel::new(2.0, 1e-20, 1e15).unwrap(),
        NoiseLevel::new(1.0, 1.0, 1.0).unwrap(),
        NoiseLevel::clean(),
    ];
    let grid = Grid::from_levels(levels, 1.0).unwrap();
    let path = Path::without_schedule(&grid);
    let sampler = Sampler::along(&path, &FirstOrder::ddim()).unwrap();
    let kind = Prediction::Score;
    let single = sampler.start_from(Array2::<f32>::zeros((1, 2)), kind, KeyedNoise::new(0));
    let error = single.map(drop).unwrap_err();
    let Error::CoefficientOverflow { step: 0, value } = error else {
        panic!("{error}");
    };
    assert!((value / 1e50 - 1.0).abs() < 1e-9, "{value:e}");
    names(&error, &["step 0", &format!("{value:e}")]);
    let double = sampler.start_from(Array2::<f64>::zeros((1, 2)), kind, KeyedNoise::new(0));
    assert!(double.is_ok());
    // By hand it is refused where it comes.
    let mut machine = Machine::new(Array2::<f32>::zeros((1, 2)), 0).unwrap();
    let stage = Instruction::new(&sampler.plan().steps()[0], 0, 0).unwrap();
    let output = Array2::<f32>::zeros((1, 2));
    let told = machine.tell(&stage, kind, &output, &mut KeyedNoise::new(0));
    assert!(matches!(
        told,
        Err(Error::CoefficientOverflow { step: 0, .. })
    ));
}

#[test]
fn a_machine_refuses_what_has_no_samples_and_too_much_history() {
    let refused = Machine::new(arr0(1.0f64), 0).map(drop);
    assert_eq!(refused, Err(Error::NoSampleAxis));
    let x = || Array2::<f64>::zeros((2, 2));
    let error = Machine::with_history(x(), vec![x(), x()], 1).map(drop);
    let expected = Error::WrongLength {
        name: "history",
        expected: 1,
        found: 2,
    };
    assert_eq!(error, Err(expected));
    let full = Machine::with_history(x(), vec![x(), x()], 2).unwrap();
    assert_eq!(full.history(), [x(), x()]);
}

//! One `advance`, one step: also where a plan has updates without a model.

use std::{cell::RefCell, ops::ControlFlow, rc::Rc};

use diffusion_sampler::{
    KeyedNoise, NoiseLevel, Prediction, Sampler,
    forward::fill_normal,
    noise::{NoiseKey, NoiseSource, Stream},
    plan::{Plan, Stage, Step, Store, Update},
};
use ndarray::Array2;

use crate::common::{Smooth, bits, difference};

fn level(time: f64) -> NoiseLevel {
    let sigma = time / 10.0;
    NoiseLevel::new(time, (1.0 - sigma * sigma).sqrt(), sigma).unwrap()
}

/// Three steps: the first ends, the second consists of, and the third starts with an update without
/// a model.
fn plan() -> Plan {
    let halve = Stage {
        evaluate: None,
        update: Update {
            state: 0.5,
            ..Update::default()
        },
    };
    let churn = Stage {
        evaluate: None,
        update: Update {
            state: 1.0,
            noise: 0.3,
            ..Update::default()
        },
    };
    let towards = |level| {
        Stage::evaluating(
            level,
            Update {
                state: 0.25,
                data: 0.75,
                ..Update::default()
            },
        )
    };
    let step = |from, to, stages| Step {
        from: level(from),
        to: level(to),
        stages,
    };
    Plan::new(
        vec![
            step(9.0, 6.0, vec![towards(level(9.0)), halve]),
            step(6.0, 3.0, vec![churn.clone()]),
            step(3.0, 0.0, vec![churn, towards(level(3.0))]),
        ],
        0,
    )
    .unwrap()
}

/// Writes down where on a path the noise of a step is.
#[derive(Clone, Debug, Default)]
struct Recorder(Rc<RefCell<Vec<(u32, Stream, u8)>>>);

impl NoiseSource<f64> for Recorder {
    fn fill(&mut self, key: NoiseKey, _: u64, out: &mut [f64]) {
        out.fill(0.0);
        self.0.borrow_mut().push((key.step, key.stream, key.path));
    }
}

/// Two noises of a step share a path where a model is evaluated further down between them.
#[test]
fn noises_of_a_step_are_asked_for_on_one_path_or_on_their_own() {
    let churn = || Stage {
        evaluate: None,
        update: Update {
            state: 1.0,
            noise: 0.3,
            ..Update::default()
        },
    };
    let towards = |time| Stage::evaluating(level(time), Update::default());
    let step = |from, to, stages| Step {
        from: level(from),
        to: level(to),
        stages,
    };
    let steps = vec![
        step(9.0, 6.0, vec![towards(9.0), churn(), churn()]),
        step(6.0, 3.0, vec![churn(), towards(4.0), churn()]),
    ];
    let sampler = Sampler::from_plan(Plan::new(steps, 0).unwrap(), 1.0).unwrap();
    let wanted = [(0, 1, 1), (0, 2, 2), (1, 0, 0), (1, 2, 0)];
    let wanted = wanted.map(|(step, stage, path)| (step, Stream::Step(stage), path));
    let start = Array2::zeros((1, 2));
    let recorder = Recorder::default();
    let run = sampler.start_from(start, Prediction::Data, recorder.clone());
    let mut run = run.unwrap();
    run.complete(&mut Smooth(Prediction::Data)).unwrap();
    assert_eq!(*recorder.0.borrow(), wanted);
}

#[test]
fn each_advance_takes_one_step_also_through_updates_without_a_model() {
    const SEED: u64 = 8;
    let sampler = Sampler::from_plan(plan(), 1.0).unwrap();
    let mut run = sampler
        .start::<f64, _, _>((3, 4), Prediction::Data, KeyedNoise::new(SEED))
        .unwrap();
    let noise = |step| {
        let mut z = Array2::<f64>::zeros((3, 4));
        fill_normal(&mut z, &mut KeyedNoise::new(SEED), step, Stream::Step(0)).unwrap();
        z
    };
    let towards = |x: &Array2<f64>, time| x.mapv(|x| 0.25 * x + 0.75 * Smooth::at(x, &level(time)));
    let mut x = run.state().to_owned();
    let mut expected = Vec::new();
    x = towards(&x, 9.0) * 0.5;
    expected.push(x.clone());
    x = x + noise(1) * 0.3;
    expected.push(x.clone());
    x = towards(&(x + noise(2) * 0.3), 3.0);
    expected.push(x);

    let mut stepped = run.clone();
    for (index, expected) in expected.iter().enumerate() {
        stepped.advance(&mut Smooth(Prediction::Data)).unwrap();
        assert_eq!(stepped.step(), index + 1);
        assert!(difference(stepped.state(), expected) < 1e-14);
    }
    let mut seen = Vec::new();
    let flow = run.complete_with(&mut Smooth(Prediction::Data), |report| {
        assert!(difference(&report.x, &expected[report.step]) < 1e-14);
        seen.push(report.step);
        ControlFlow::Continue(())
    });
    assert_eq!((seen, flow), (vec![0, 1, 2], Ok(ControlFlow::Continue(()))));
    assert_eq!(bits(run.state()), bits(stepped.state()));
}

#[test]
fn asking_runs_the_updates_without_a_model() {
    let sampler = Sampler::from_plan(plan(), 1.0).unwrap();
    let start = || {
        sampler
            .start::<f64, _, _>((3, 4), Prediction::Data, KeyedNoise::new(8))
            .unwrap()
    };
    let (mut run, mut told) = (start(), start());
    run.complete(&mut Smooth(Prediction::Data)).unwrap();
    let mut asked = Vec::new();
    while let Some(question) = told.ask().unwrap() {
        asked.push((question.step(), question.stage, question.level()));
        let output = question.x.mapv(|x| Smooth::at(x, &question.level()));
        told.tell(&output).unwrap();
    }
    assert_eq!(asked, [(0, 0, level(9.0)), (2, 1, level(3.0))]);
    assert_eq!(bits(told.state()), bits(run.state()));
}

#[test]
fn history_read_and_written_in_one_update_takes_its_old_value() {
    // x' = x + 2H₀ + 3H₁ + D, H₀' = 5x + 7D, with H₀ and H₁ stored by the steps before.
    let store = |slot, state, data| Some(Store::linear(slot, state, data));
    let evaluating = |time: f64, history, store| Step {
        from: level(time),
        to: level(time - 1.0),
        stages: vec![Stage::evaluating(
            level(time),
            Update {
                state: 1.0,
                data: 1.0,
                history,
                noise: 0.0,
                store,
            },
        )],
    };
    let plan = Plan::new(
        vec![
            evaluating(4.0, vec![], store(0, 1.0, -1.0)),
            evaluating(3.0, vec![], store(1, 0.0, 1.0)),
            evaluating(2.0, vec![(1, 3.0), (0, 2.0)], store(0, 5.0, 7.0)),
            evaluating(1.0, vec![(0, 1.0)], None),
        ],
        2,
    )
    .unwrap();
    let x = Array2::from_shape_fn((3, 2), |(i, j)| i as f64 - 0.7 * j as f64);
    let at = |x: &Array2<f64>, time| x.mapv(|x| Smooth::at(x, &level(time)));
    let d = at(&x, 4.0);
    let (h0, x1) = (&x - &d, &x + &d);
    let h1 = at(&x1, 3.0);
    let x2 = &x1 + &h1;
    let d = at(&x2, 2.0);
    let x3 = &x2 + &h1 * 3.0 + &h0 * 2.0 + &d;
    let h0 = &x2 * 5.0 + &d * 7.0;
    let expected = &x3 + &at(&x3, 1.0) + &h0;

    let sampler = Sampler::from_plan(plan, 1.0).unwrap();
    let mut run = sampler
        .start_from(x, Prediction::Data, KeyedNoise::new(0))
        .unwrap();
    let mut told = run.clone();
    run.complete(&mut Smooth(Prediction::Data)).unwrap();
    assert!(difference(run.state(), &expected) < 1e-14);
    // The same with outputs told in another layout.
    while let Some(question) = told.ask().unwrap() {
        let output = question.x.mapv(|x| Smooth::at(x, &question.level()));
        let mut transposed = Array2::zeros((2, 3)).reversed_axes();
        transposed.assign(&output);
        assert!(transposed.as_slice().is_none());
        told.tell(&transposed).unwrap();
    }
    assert_eq!(bits(told.state()), bits(run.state()));
}

//! Who drives a run: `run`, `advance`, ask and tell, a callback that stops it, a clone that goes
//! on.

use std::ops::ControlFlow;

use diffusion_sampler::{
    Error, KeyedNoise, Prediction, RunError,
    noise::RngNoise,
    solver::{FirstOrder, Heun},
};
use ndarray::Array2;
use rand::SeedableRng;
use rand::rngs::SmallRng;

use crate::common::{Smooth, bits, difference, drive, evaluating_first, sampler, solvers};

const SHAPE: (usize, usize) = (5, 3);
const STEPS: usize = 7;
const KIND: Prediction = Prediction::Noise;

#[test]
fn ask_and_tell_advance_and_run_give_the_same_bits() {
    for (name, solver) in solvers() {
        let sampler = sampler(&*solver, STEPS);
        let start = || {
            sampler
                .start::<f32, _, _>(SHAPE, KIND, KeyedNoise::new(3))
                .unwrap()
        };
        let (mut whole, mut stepped, mut told) = (start(), start(), start());
        whole.complete(&mut Smooth(KIND)).unwrap();
        while !stepped.is_finished() {
            stepped.advance(&mut Smooth(KIND)).unwrap();
            while told.step() < stepped.step() {
                let question = told.ask().unwrap().unwrap();
                let output = question.x.mapv(|x| Smooth::at(x, &question.level()));
                told.tell(&output).unwrap();
            }
            assert_eq!(bits(stepped.state()), bits(told.state()), "{name}");
        }
        assert!(told.ask().unwrap().is_none() && told.is_finished());
        assert_eq!(bits(whole.state()), bits(stepped.state()), "{name}");
        let sampled: Array2<f32> = sampler.sample(&mut Smooth(KIND), SHAPE, 3).unwrap();
        assert_eq!(bits(&sampled), bits(whole.state()), "{name}");
    }
}

#[test]
fn asking_again_changes_nothing() {
    let mut run = sampler(&Heun::new(), 3)
        .start::<f64, _, _>(SHAPE, KIND, KeyedNoise::new(3))
        .unwrap();
    while let Some(question) = run.ask().unwrap() {
        let first = (
            bits(question.x),
            question.level(),
            question.step(),
            question.stage,
        );
        let question = run.ask().unwrap().unwrap();
        let again = (
            bits(question.x),
            question.level(),
            question.step(),
            question.stage,
        );
        assert_eq!(first, again);
        let output = question.x.mapv(|x| Smooth::at(x, &question.level()));
        run.tell(&output).unwrap();
    }
}

#[test]
fn a_clone_goes_on_bit_for_bit_from_every_evaluation() {
    for (name, solver) in solvers() {
        let mut run = sampler(&*solver, STEPS)
            .start::<f64, _, _>(SHAPE, KIND, KeyedNoise::new(11))
            .unwrap();
        let expected = bits(&drive(&mut run.clone()));
        let mut between_stages = 0;
        while let Some(question) = run.ask().unwrap() {
            between_stages += usize::from(question.stage > 0);
            let output = question.x.mapv(|x| Smooth::at(x, &question.level()));
            // One copy is driven by ask and tell; the other by a model, from the middle of a step.
            assert_eq!(bits(&drive(&mut run.clone())), expected, "{name}");
            let mut copy = run.clone();
            let step = copy.step();
            copy.advance(&mut Smooth(KIND)).unwrap();
            assert_eq!(copy.step(), step + 1, "{name}");
            copy.complete(&mut Smooth(KIND)).unwrap();
            assert_eq!(bits(copy.state()), expected, "{name}");
            run.tell(&output).unwrap();
        }
        let plan = sampler(&*solver, STEPS).plan().clone();
        let later = plan.steps().iter().flat_map(|step| &step.stages[1..]);
        let stages = later.filter(|stage| stage.evaluate.is_some()).count();
        assert_eq!(between_stages, stages, "{name}");
    }
}

#[test]
fn a_cloned_generator_resumes_the_run() {
    let mut run = sampler(&FirstOrder::ddpm(), STEPS)
        .start::<f32, _, _>(SHAPE, KIND, RngNoise::new(SmallRng::seed_from_u64(4)))
        .unwrap();
    for _ in 0..3 {
        run.advance(&mut Smooth(KIND)).unwrap();
    }
    let mut copy = run.clone();
    run.complete(&mut Smooth(KIND)).unwrap();
    copy.complete(&mut Smooth(KIND)).unwrap();
    assert_eq!(bits(run.state()), bits(copy.state()));
    let other: Array2<f32> = {
        let mut run = sampler(&FirstOrder::ddpm(), STEPS)
            .start(SHAPE, KIND, RngNoise::new(SmallRng::seed_from_u64(5)))
            .unwrap();
        run.complete(&mut Smooth(KIND)).unwrap();
        run.into_state()
    };
    assert_ne!(bits(run.state()), bits(&other));
}

#[test]
fn reports_show_the_state_the_levels_and_the_data_estimate() {
    for (name, solver) in evaluating_first() {
        let sampler = sampler(&*solver, STEPS);
        let start = || {
            sampler
                .start::<f64, _, _>(SHAPE, KIND, KeyedNoise::new(9))
                .unwrap()
        };
        let (mut run, mut shadow) = (start(), start());
        let mut seen = 0;
        let flow = run
            .complete_with(&mut Smooth(KIND), |report| {
                let before = shadow.state().to_owned();
                assert_eq!((report.step, report.steps), (seen, STEPS));
                assert_eq!((report.from, shadow.level()), (shadow.level(), report.from));
                let (alpha, sigma) = (report.from.alpha(), report.from.sigma());
                let data = before.mapv(|x| (x - sigma * Smooth::at(x, &report.from)) / alpha);
                assert!(difference(report.data, &data) < 1e-13, "{name}");
                shadow.advance(&mut Smooth(KIND)).unwrap();
                assert_eq!(bits(&report.x), bits(shadow.state()), "{name}");
                assert_eq!(report.to, shadow.level());
                seen += 1;
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!((seen, flow), (STEPS, ControlFlow::Continue(())));
        assert!(run.is_finished());
    }
}

#[test]
fn an_observer_stops_a_run_that_can_go_on() {
    for (name, solver) in solvers() {
        let sampler = sampler(&*solver, STEPS);
        let start = || {
            sampler
                .start::<f64, _, _>(SHAPE, KIND, KeyedNoise::new(9))
                .unwrap()
        };
        let (mut whole, mut run) = (start(), start());
        whole.complete(&mut Smooth(KIND)).unwrap();
        let mut calls = 0;
        let flow = run
            .complete_with(&mut Smooth(KIND), |report| {
                calls += 1;
                if report.step == 2 {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })
            .unwrap();
        assert_eq!((calls, run.step(), flow), (3, 3, ControlFlow::Break(())));
        run.complete(&mut Smooth(KIND)).unwrap();
        assert_eq!(bits(run.state()), bits(whole.state()), "{name}");
    }
}

#[test]
fn a_finished_run_refuses_more_and_keeps_its_state() {
    let mut run = sampler(&FirstOrder::ddim(), 2)
        .start::<f64, _, _>(SHAPE, KIND, KeyedNoise::new(9))
        .unwrap();
    run.complete(&mut Smooth(KIND)).unwrap();
    let state = run.state().to_owned();
    let finished = Error::RunFinished { steps: 2 };
    assert_eq!(run.tell(&state), Err(finished.clone()));
    assert_eq!(
        run.advance(&mut Smooth(KIND)),
        Err(RunError::Sampler(finished))
    );
    assert!(run.ask().unwrap().is_none());
    assert_eq!(run.complete(&mut Smooth(KIND)), Ok(()));
    assert_eq!((run.step(), run.level()), (2, run.plan().end()));
    assert_eq!(bits(run.state()), bits(&state));
}

//! Stages by hand on machines that do not fit them, and scalars that arrays contradict.

use diffusion_sampler::{
    Error, Grid, KeyedNoise, NoiseLevel, Prediction, RunError, Sampler,
    denoiser::{Guided, Models},
    from_fn,
    guidance::{
        ClassifierFree, Combination, Composed, Evaluation, Guidance, Products, Projected, Rescaled,
        Tangential, ZeroStar,
    },
    plan::{Plan, Stage, Step, Store, Update},
    run::{Instruction, Machine},
    schedule::RectifiedFlow,
    solver::FirstOrder,
};
use ndarray::{Ix2, array};

fn level(time: f64) -> NoiseLevel {
    NoiseLevel::new(time, 1.0, time).unwrap()
}

/// A step that keeps D in `slot`, and one without the model that reads it.
fn keeping(slot: usize) -> Plan {
    let reading = Stage::without_model(Update {
        state: 1.0,
        history: vec![(slot, 10.0)],
        ..Update::default()
    });
    let steps = vec![
        Step::simple(
            level(3.0),
            level(2.0),
            Update {
                state: 1.0,
                ..Update::default()
            }
            .storing(Store::data(slot)),
        ),
        Step {
            from: level(2.0),
            to: level(1.0),
            stages: vec![reading],
        },
    ];
    Plan::new(steps, slot + 1).unwrap()
}

#[test]
fn a_machine_refuses_slots_that_it_does_not_have() {
    let plan = keeping(2);
    for step in [0, 1] {
        let mut machine = Machine::new(array![[1.0f64, 2.0]], 1).unwrap();
        let stage = Instruction::new(&plan.steps()[step], 0, step).unwrap();
        let output = array![[0.5, 0.5]];
        let result = machine.tell(&stage, Prediction::Data, &output, &mut KeyedNoise::new(0));
        let expected = Error::SlotOutOfRange {
            step,
            stage: 0,
            slot: 2,
            slots: 1,
        };
        assert_eq!(result, Err(expected));
        assert_eq!(machine.state(), array![[1.0, 2.0]]);
    }
}

#[test]
fn an_output_told_to_a_stage_without_the_model_is_not_taken_for_its_history() {
    let plan = keeping(0);
    let mut machine = Machine::new(array![[1.0f64, 2.0]], 1).unwrap();
    for (step, output) in [array![[0.5, 0.25]], array![[100.0, 100.0]]]
        .iter()
        .enumerate()
    {
        let stage = Instruction::new(&plan.steps()[step], 0, step).unwrap();
        machine
            .tell(&stage, Prediction::Data, output, &mut KeyedNoise::new(0))
            .unwrap();
    }
    assert_eq!(machine.state(), array![[6.0, 4.5]]);
}

fn sampler() -> Sampler {
    let flow = RectifiedFlow::new();
    let grid = Grid::trailing(&flow, 4).unwrap();
    Sampler::new(&flow, &grid, &FirstOrder::ddim()).unwrap()
}

#[test]
fn an_output_that_is_not_finite_is_reported_as_such_by_every_form_with_products() {
    let forms: [Box<dyn Guidance>; 4] = [
        Box::new(ZeroStar::with_scale(3.0).unwrap()),
        Box::new(Tangential::with_scale(3.0).unwrap()),
        Box::new(Projected::new(3.0).unwrap()),
        Box::new(Projected::new(3.0).unwrap().with_momentum(-0.5).unwrap()),
    ];
    for form in forms {
        let name = form.name();
        // The second output of sample 1 holds a NaN.
        let first = from_fn::<f64, Ix2>(Prediction::Flow, |_, _, out| out.fill(0.5));
        let second = from_fn::<f64, Ix2>(Prediction::Flow, |_, _, out| {
            out.fill(0.5);
            out[[1, 0]] = f64::NAN;
        });
        let mut model = Guided::new(Models((first, second)), form);
        let mut run = sampler()
            .start_from(
                array![[1.0, 2.0], [0.5, -1.0]],
                Prediction::Flow,
                KeyedNoise::new(0),
            )
            .unwrap();
        let error = run.advance(&mut model).unwrap_err().to_string();
        assert!(error.contains("model output"), "{name}: {error}");
    }
}

#[test]
fn a_composition_needs_a_condition() {
    assert!(matches!(
        Composed::new(&[]),
        Err(Error::OutputCount { found: 1, .. })
    ));
}

#[test]
fn rescaling_leaves_an_output_without_spread_alone() {
    let guidance = Rescaled::new(ClassifierFree::with_scale(7.5).unwrap(), 0.7).unwrap();
    let at = Evaluation::new(level(1.0), Prediction::Noise);
    // One element a sample, or a constant: no standard deviation to be brought to.
    for n in [1, 3, 1000] {
        for i in 1..200 {
            let (c, u) = (0.01 * f64::from(i), 0.37 - 0.003 * f64::from(i));
            let size = f64::from(n);
            let products = Products::new(
                n as usize,
                2,
                &[0.0, size * c, size * u],
                &[
                    &[0.0, 0.0, 0.0],
                    &[0.0, size * c * c, size * c * u],
                    &[0.0, size * c * u, size * u * u],
                ],
            )
            .unwrap();
            let combination = guidance.combine(&at, Some(&products)).unwrap();
            assert_eq!(combination.models(), [7.5, -6.5], "{n} {c} {u}");
        }
    }
}

#[test]
fn a_machine_has_no_more_slots_than_a_plan() {
    let x = array![[1.0f64, 2.0]];
    for slots in [9, 1 << 40, usize::MAX] {
        let refused = Machine::new(x.clone(), slots).unwrap_err();
        assert_eq!(
            refused,
            Error::TooManySlots {
                found: slots,
                max: 8
            }
        );
    }
}

#[test]
fn a_form_that_wants_more_outputs_than_a_model_has_is_refused_before_the_call() {
    let mut calls = 0;
    let model = from_fn::<f64, Ix2>(Prediction::Flow, |_, _, _| calls += 1);
    let form = ClassifierFree::with_scale(3.0).unwrap();
    let mut guided = Guided::new(model, form);
    let mut run = sampler()
        .start_from(array![[1.0f64, 2.0]], Prediction::Flow, KeyedNoise::new(0))
        .unwrap();
    let error = run.advance(&mut guided).unwrap_err();
    assert_eq!(
        error,
        RunError::Sampler(Error::TooFewOutputs {
            guidance: "classifier-free guidance",
            wanted: 2,
            found: 1
        })
    );
    drop(guided);
    assert_eq!(calls, 0);
}

#[test]
fn a_stage_by_hand_is_checked_as_in_a_plan() {
    let (from, to) = (level(0.9), level(0.4));
    let update = Update {
        history: vec![(0, 1.0); 20],
        ..Update::default()
    };
    let step = Step::simple(from, to, update);
    let read_twice = Error::SlotReadTwice {
        step: 3,
        stage: 0,
        slot: 0,
    };
    assert_eq!(Instruction::new(&step, 0, 3).unwrap_err(), read_twice);
    let single = Combination::single();
    assert!(
        step.stages[0]
            .coefficients(Prediction::Data, &single)
            .is_err()
    );
    let index = u32::MAX as usize + 1;
    let plain = Step::simple(from, to, Update::default());
    assert!(matches!(
        Instruction::new(&plain, 0, index),
        Err(Error::StepCount { .. })
    ));
}

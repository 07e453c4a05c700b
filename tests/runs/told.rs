//! Runs that are told: outputs in one array, and the estimate of x₀ that a run keeps.

use diffusion_sampler::{
    Clip, Error, KeyedNoise, NoiseLevel, Prediction, Sampler, Trajectory,
    denoiser::{Guided, Models},
    guidance::{ClassifierFree, Guidance, Projected, Rescaled, Unguided},
    solver::{FirstOrder, Heun},
};
use ndarray::{Array2, ArrayRef2, Axis, Ix2, concatenate, s};

use crate::common::{Smooth, bits, evaluating_first, sampler, solvers};

const SHAPE: (usize, usize) = (3, 5);
const KIND: Prediction = Prediction::Velocity;

fn start(sampler: &Sampler) -> Trajectory<f64, Ix2> {
    sampler.start(SHAPE, KIND, KeyedNoise::new(4)).unwrap()
}

/// Samplers with every kind of clip.
fn clipped(sampler: &Sampler) -> [Sampler; 4] {
    let fixed = Clip::new(-0.6, 0.6).unwrap();
    let dynamic = Clip::dynamic(0.8, 1.5).unwrap();
    [
        sampler.clone(),
        sampler.clone().with_clip(fixed),
        sampler.clone().with_clip(fixed.keeping_noise()),
        sampler.clone().with_clip(dynamic),
    ]
}

fn forms() -> Vec<Box<dyn Guidance>> {
    let free = || ClassifierFree::with_scale(3.0).unwrap();
    vec![
        Box::new(Unguided),
        Box::new(free()),
        Box::new(Rescaled::new(free(), 0.7).unwrap()),
        Box::new(Projected::new(2.0).unwrap().with_momentum(-0.5).unwrap()),
    ]
}

/// The outputs of the two models below, one array each.
fn outputs(x: &ArrayRef2<f64>, level: &NoiseLevel) -> [Array2<f64>; 2] {
    [1.0, 0.3].map(|share| x.mapv(|x| share * Smooth::at(x, level)))
}

#[test]
fn outputs_in_one_array_are_those_of_the_list() {
    for (name, solver) in solvers() {
        for guidance in &forms() {
            let (mut listed, mut stacked) =
                (start(&sampler(&*solver, 5)), start(&sampler(&*solver, 5)));
            while let Some(question) = listed.ask_guided(guidance).unwrap() {
                let wanted = question.query.outputs();
                let [first, second] = outputs(question.x, &question.level());
                // Others' rows are around them.
                let others = Array2::from_elem((2, SHAPE.1), f64::NAN);
                let parts = [&others, &first, &second].map(|part| part.view());
                let all = concatenate(Axis(0), &parts).unwrap();
                let rows = all.slice(s![2..2 + wanted * SHAPE.0, ..]);
                stacked.tell_stacked(guidance, &rows).unwrap();
                let list = [&*first, &*second];
                listed.tell_guided(guidance, &list[..wanted]).unwrap();
            }
            assert!(stacked.is_finished());
            assert_eq!(
                bits(stacked.state()),
                bits(listed.state()),
                "{name}, {guidance:?}"
            );
        }
    }
}

/// The buffers of a run fit the outputs of each step, however many the step before had.
#[test]
fn steps_with_and_without_guidance_take_turns() {
    let model = |share: f64| {
        diffusion_sampler::from_fn::<f64, Ix2>(KIND, move |x, level, out| {
            out.zip_mut_with(x, |out, &x| *out = share * Smooth::at(x, level));
        })
    };
    let mut alone = model(1.0);
    let mut both = Guided::new(Models((model(1.0), model(0.3))), forms().remove(1));
    for sampler in clipped(&sampler(&FirstOrder::ddim(), 6)) {
        let [mut advanced, mut told, mut other] = [(); 3].map(|()| start(&sampler));
        for step in 0..6 {
            let level = told.level();
            let [first, second] = outputs(told.state(), &level);
            let columns =
                [&first, &second].map(|output| output.t().as_standard_layout().to_owned());
            let columns = columns.each_ref().map(|output| output.t());
            if step % 2 == 0 {
                advanced.advance(&mut alone).unwrap();
                told.tell(&first).unwrap();
                other.tell(&columns[0]).unwrap();
            } else {
                let free = &forms()[1];
                advanced.advance(&mut both).unwrap();
                told.tell_guided(free, &[&*first, &*second]).unwrap();
                let list = columns.each_ref().map(|output| &**output);
                other.tell_guided(free, &list).unwrap();
            }
            let expected = bits(told.state());
            assert_eq!(
                bits(advanced.state()),
                expected,
                "{step}, {:?}",
                sampler.clip()
            );
            assert_eq!(
                bits(other.state()),
                expected,
                "{step}, {:?}",
                sampler.clip()
            );
        }
    }
}

#[test]
fn stacked_outputs_of_another_shape_are_refused_and_change_nothing() {
    let mut run = start(&sampler(&FirstOrder::ddim(), 5));
    let before = run.snapshot().unwrap();
    for shape in [(4, 5), (2, 5), (0, 5), (3, 4), (21, 5)] {
        let refused = run.tell_stacked(&Unguided, &Array2::<f64>::zeros(shape));
        match shape {
            (21, _) => assert_eq!(refused, Err(Error::OutputCount { found: 7, max: 6 })),
            _ => assert!(
                matches!(refused, Err(Error::ShapeMismatch { .. })),
                "{shape:?}"
            ),
        }
    }
    // The error shows the array as it was told.
    let refused = run.tell_stacked(&Unguided, &Array2::<f64>::zeros((6, 4)));
    assert!(matches!(refused, Err(Error::ShapeMismatch { found, .. }) if found == [6, 4]));
    // Two outputs where one is read.
    let refused = run.tell_stacked(&Unguided, &Array2::<f64>::zeros((6, 5)));
    assert!(matches!(
        refused,
        Err(Error::WrongLength {
            expected: 1,
            found: 2,
            ..
        })
    ));
    assert_eq!(run.snapshot().unwrap(), before);
}

#[test]
fn a_batch_of_no_samples_is_told_no_rows() {
    let sampler = sampler(&FirstOrder::ddim(), 5);
    let run = sampler.start::<f64, _, _>((0, 5), KIND, KeyedNoise::new(4));
    let mut run = run.unwrap();
    while run.ask().unwrap().is_some() {
        let none = Array2::<f64>::zeros((0, 5));
        run.tell_stacked(&Unguided, &none).unwrap();
    }
    assert!(run.is_finished());
}

#[test]
fn the_kept_estimate_of_a_told_run_is_the_one_that_a_callback_is_shown() {
    // Steps with one evaluation: the callback is shown the first, the run keeps the last.
    let single = |(_, solver): &(_, Box<dyn diffusion_sampler::solver::Solver>)| {
        let plan = sampler(&**solver, 5).plan().clone();
        plan.steps().iter().all(|step| step.stages.len() == 1)
    };
    let solvers: Vec<_> = evaluating_first().into_iter().filter(single).collect();
    assert!(solvers.len() > 4, "{}", solvers.len());
    for (name, solver) in solvers {
        for sampler in clipped(&sampler(&*solver, 5)) {
            for guidance in &forms() {
                compare(&sampler, guidance, name);
            }
        }
    }
}

fn compare(sampler: &Sampler, guidance: &dyn Guidance, name: &str) {
    let model = |share: f64| {
        diffusion_sampler::from_fn::<f64, Ix2>(KIND, move |x, level, out| {
            out.zip_mut_with(x, |out, &x| *out = share * Smooth::at(x, level));
        })
    };
    let mut model = Guided::new(Models((model(1.0), model(0.3))), guidance);
    let (mut shown, mut observed) = (Vec::new(), start(sampler).keeping_data().unwrap());
    let mut called = start(sampler).keeping_data().unwrap();
    let flow = observed.complete_with(&mut model, |report| {
        shown.push(bits(report.data));
        std::ops::ControlFlow::Continue(())
    });
    assert!(flow.unwrap().is_continue());
    let (mut told, mut plain) = (start(sampler).keeping_data().unwrap(), start(sampler));
    for shown in &shown {
        let question = told.ask_guided(guidance).unwrap().unwrap();
        let list = outputs(question.x, &question.level());
        let list = [&*list[0], &*list[1]];
        let wanted = question.query.outputs();
        if guidance.outputs() == 1 {
            told.tell(list[0]).unwrap();
        } else {
            told.tell_guided(guidance, &list[..wanted]).unwrap();
        }
        plain.tell_guided(guidance, &list[..wanted]).unwrap();
        called.advance(&mut model).unwrap();
        for run in [&told, &called] {
            assert_eq!(bits(run.data().unwrap()), *shown, "{name}, {guidance:?}");
            assert_eq!(bits(run.state()), bits(plain.state()));
        }
    }
    assert!(told.is_finished() && plain.data().is_none());
    // What the callback was shown last is also kept.
    assert_eq!(bits(observed.data().unwrap()), bits(told.data().unwrap()));
}

#[test]
fn the_kept_estimate_is_that_of_the_last_evaluation_in_any_layout() {
    // Of a model that predicts x₀ it is the output itself, at each of a step's stages.
    let sampler = sampler(&Heun::new(), 4);
    let run = sampler.start::<f64, _, _>(SHAPE, Prediction::Data, KeyedNoise::new(1));
    let mut run = run.unwrap().keeping_data().unwrap();
    assert!(run.data().unwrap().iter().all(|x| *x == 0.0));
    let mut count = 0.0;
    while run.ask().unwrap().is_some() {
        count += 1.0;
        let output = Array2::from_shape_fn((5, 3), |(j, i)| count + 0.1 * (i * 5 + j) as f64);
        run.tell(&output.t()).unwrap();
        assert_eq!(*run.data().unwrap(), output.t());
    }
    assert!(count > 4.0);
    run.restart(KeyedNoise::new(2)).unwrap();
    assert!(run.data().unwrap().iter().all(|x| *x == 0.0));
}

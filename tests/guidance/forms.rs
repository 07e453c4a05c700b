//! One step of a run is the published formula, for every form, prediction and level.

use diffusion_sampler::{
    Denoiser, KeyedNoise, NoiseLevel, Prediction, Query,
    denoiser::{Classifier, Guided, Models, WithClassifier},
    guidance::{
        ClassifierFree, ClassifierGuidance, Combination, Evaluation, Guidance, GuidanceWeight,
    },
    posterior::Kappa,
    run::{DdimStep, Machine},
    solver::FirstOrder,
};
use ndarray::{Array3, Axis, Ix3};

use crate::common::{
    Image, Network, PREDICTIONS, SHAPE, answer, bits, difference, edges, other_layouts, outputs,
    run, sampler, state, step,
};
use crate::formulas::cases;

const TOLERANCE: f64 = 1e-12;

fn after(to: &NoiseLevel, data: &Array3<f64>, noise: &Array3<f64>) -> Array3<f64> {
    data * to.alpha() + noise * to.sigma()
}

#[test]
fn a_step_is_the_published_formula() {
    for case in cases() {
        for prediction in PREDICTIONS {
            for (from, to) in edges() {
                let (x, data) = step((from, to), prediction, &*case.guidance, None);
                let (d, e) = case.expected(&state(), &[from], prediction);
                let (name, at) = (case.name, from.rho());
                let found = (difference(&data, &d), difference(&x, &after(&to, &d, &e)));
                assert!(
                    found.0 < TOLERANCE && found.1 < TOLERANCE,
                    "{name}, {prediction:?}, {at}: {found:?}"
                );
            }
        }
    }
}

#[test]
fn a_step_with_a_level_for_each_sample_is_the_published_formula() {
    let (from, to): (Vec<_>, Vec<_>) = edges()[..3].iter().copied().unzip();
    let single = DdimStep::per_sample(&from, &to, Kappa::Ddim).unwrap();
    for case in cases() {
        for prediction in PREDICTIONS {
            let mut machine = Machine::new(state(), 0).unwrap();
            let mut model = Guided::new(Network::new(prediction), &case.guidance);
            single
                .take(&mut machine, &mut model, &mut KeyedNoise::new(1), 0)
                .unwrap();
            let (d, e) = case.expected(&state(), &from, prediction);
            let mut expected = d.clone();
            for (i, to) in to.iter().enumerate() {
                let mut row = expected.index_axis_mut(Axis(0), i);
                row.assign(
                    &(&d.index_axis(Axis(0), i) * to.alpha()
                        + &e.index_axis(Axis(0), i) * to.sigma()),
                );
            }
            let found = difference(machine.state(), &expected);
            assert!(found < TOLERANCE, "{}, {prediction:?}: {found}", case.name);
        }
    }
}

#[test]
fn told_outputs_in_any_layout_give_the_bits_of_an_advance() {
    for case in cases() {
        for (from, to) in edges() {
            let prediction = Prediction::Velocity;
            let (x, _) = step((from, to), prediction, &*case.guidance, None);
            let at = Evaluation::new(from, prediction).in_step(0, to);
            let wanted = case.guidance.wanted(&at).unwrap();
            let outputs = outputs(wanted, &state(), &from);
            let mut layouts = vec![outputs.clone()];
            for layout in 0..2 {
                let stored = outputs.iter().map(|o| other_layouts(o)[layout].clone());
                layouts.push(stored.collect());
            }
            for outputs in layouts {
                let mut run = run(&sampler(&[from, to], &FirstOrder::ddim()), prediction);
                assert_eq!(run.ask().unwrap().unwrap().level(), from);
                let told: Vec<&Image> = outputs.iter().map(|o| &**o).collect();
                run.tell_guided(&case.guidance, &told).unwrap();
                assert_eq!(bits(run.state()), bits(&x), "{}, {}", case.name, from.rho());
            }
        }
    }
}

#[test]
fn one_combination_for_the_batch_is_the_same_for_each_sample() {
    let (from, to) = edges()[0];
    let sampler = sampler(&[from, to], &FirstOrder::ddim());
    let combination = Combination::affine(&[2.5, -1.0, -0.5]).unwrap();
    let outputs = outputs(3, &state(), &from);
    let told: Vec<&Image> = outputs.iter().map(|o| &**o).collect();
    let mut states = [1, SHAPE.0].map(|count| {
        let mut run = run(&sampler, Prediction::Noise);
        run.tell_combined(&vec![combination; count], &told).unwrap();
        run.into_state()
    });
    assert_eq!(bits(&states[0]), bits(&states[1]));
    // Different ones act on their own samples alone.
    let other = Combination::affine(&[1.0, 0.0, 0.0]).unwrap();
    let mut run = run(&sampler, Prediction::Noise);
    run.tell_combined(&[combination, other, combination], &told)
        .unwrap();
    let different = run.state().index_axis(Axis(0), 1).to_owned();
    states[0].index_axis_mut(Axis(0), 1).assign(&different);
    assert_eq!(bits(run.state()), bits(&states[0]));
    assert_ne!(bits(run.state()), bits(&states[1]));
}

#[test]
fn only_the_wanted_outputs_are_computed() {
    let levels: Vec<_> = [0.8, 0.5, 0.2, 0.0]
        .iter()
        .map(|&t| NoiseLevel::new(t, 1.0 - t, t).unwrap())
        .collect();
    // ρ is 4, 1 and 0.25.
    let weight = GuidanceWeight::interval(2.0, 0.5, 2.0).unwrap();
    let sampler = sampler(&levels, &FirstOrder::ddim());
    let mut run = run(&sampler, Prediction::Flow);
    let mut model = Guided::new(Network::new(Prediction::Flow), ClassifierFree::new(weight));
    run.complete(&mut model).unwrap();
    assert_eq!(model.model().calls, [(1, 3), (2, 6), (1, 3)]);
}

#[test]
fn an_empty_batch_does_not_call_the_model() {
    let (from, to) = edges()[0];
    let sampler = sampler(&[from, to], &FirstOrder::ddim());
    let guidance = ClassifierFree::with_scale(2.0).unwrap();
    let mut model = Guided::new(Network::new(Prediction::Noise), guidance);
    let empty: Array3<f64> = sampler.sample(&mut model, (0, 2, 3), 1).unwrap();
    assert!(empty.is_empty() && model.model().calls.is_empty());
}

struct Gradient;

impl Classifier<f64, Ix3> for Gradient {
    type Error = std::convert::Infallible;

    fn gradient(
        &mut self,
        x: &Image,
        query: &Query<'_>,
        out: &mut Image,
    ) -> Result<(), Self::Error> {
        let level = query.level();
        out.zip_mut_with(x, |o, &x| *o = answer(2, x, &level));
        Ok(())
    }
}

/// One step with any model.
fn with(model: &mut impl Denoiser<f64, Ix3, Error = std::convert::Infallible>) -> Array3<f64> {
    let (from, to) = edges()[1];
    let mut run = run(
        &sampler(&[from, to], &FirstOrder::ddim()),
        model.prediction(),
    );
    run.advance(model).unwrap();
    run.into_state()
}

#[test]
fn separate_models_and_a_classifier_are_outputs_of_one() {
    let kind = Prediction::Noise;
    let cfg = ClassifierFree::with_scale(3.0).unwrap();
    let both = ClassifierGuidance::around(cfg.clone(), GuidanceWeight::constant(1.5).unwrap());
    let models = || Models((Network::new(kind), Network::from(kind, 1)));
    // The second model may be unconditional, a weaker one, or that of a negative prompt.
    let expected = with(&mut Guided::new(Network::new(kind), cfg.clone()));
    assert_eq!(
        bits(&with(&mut Guided::new(models(), cfg))),
        bits(&expected)
    );
    let expected = with(&mut Guided::new(Network::new(kind), both.clone()));
    let behind = WithClassifier::behind(models(), 2, Gradient);
    assert_eq!(bits(&with(&mut Guided::new(behind, both))), bits(&expected));
}

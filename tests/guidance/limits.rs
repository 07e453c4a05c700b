//! Outputs that agree, vanish or are constant: no form divides by what is 0.

use diffusion_sampler::{
    denoiser::{Guided, Models},
    from_fn,
    guidance::{
        ClassifierFree, Guidance, PerpendicularNegative, PlusPlus, Projected, Rescaled, Tangential,
        WeightedSum, ZeroStar,
    },
    solver::FirstOrder,
};
use ndarray::{Array3, Ix3};

use crate::common::{Network, PREDICTIONS, difference, edges, run, sampler};

fn forms() -> Vec<Box<dyn Guidance>> {
    let apg = Projected::new(3.0).unwrap().with_radius(1.0).unwrap();
    let cfg = ClassifierFree::with_scale(4.0).unwrap();
    vec![
        Box::new(cfg.clone()),
        Box::new(Rescaled::new(cfg, 0.7).unwrap()),
        Box::new(apg),
        Box::new(apg.with_momentum(-0.5).unwrap()),
        Box::new(ZeroStar::with_scale(4.0).unwrap()),
        Box::new(Tangential::with_scale(4.0).unwrap()),
        Box::new(PerpendicularNegative::new(4.0, 0.5).unwrap()),
        Box::new(PlusPlus::new(0.6).unwrap()),
    ]
}

#[test]
fn outputs_that_agree_are_the_models_one_answer() {
    for prediction in PREDICTIONS {
        for (from, to) in edges() {
            let sampler = sampler(&[from, to], &FirstOrder::ddim());
            let mut plain = run(&sampler, prediction);
            plain.complete(&mut Network::new(prediction)).unwrap();
            for form in forms() {
                let one = || Network::new(prediction);
                let name = form.name();
                // The published 1e-8 in CFG-Zero* is all that tells them apart.
                let tolerance = if name == "CFG-Zero*" { 1e-7 } else { 1e-12 };
                let mut guided = run(&sampler, prediction);
                let mut model = Guided::new(Models((one(), one(), one())), form);
                guided.complete(&mut model).unwrap();
                let found = difference(guided.state(), plain.state());
                assert!(found < tolerance, "{name}, {prediction:?}: {found}");
            }
        }
    }
}

#[test]
fn outputs_that_vanish_or_are_constant_give_finite_states() {
    for prediction in PREDICTIONS {
        for (first, second) in [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (2.0, -1.0)] {
            for form in forms() {
                let constant =
                    |value| from_fn::<f64, Ix3>(prediction, move |_, _, out| out.fill(value));
                let name = form.name();
                let models = Models((constant(first), constant(second), constant(0.1)));
                let (from, to) = edges()[0];
                let mut run = run(&sampler(&[from, to], &FirstOrder::ddim()), prediction);
                run.complete(&mut Guided::new(models, form)).unwrap();
                assert!(run.state().iter().all(|v| v.is_finite()), "{name}");
            }
        }
    }
}

#[test]
fn rescaling_one_weighed_output_gives_it_its_own_scale() {
    let (from, to) = edges()[0];
    let sampler = sampler(&[from, to], &FirstOrder::ddim());
    for prediction in PREDICTIONS {
        for (weight, phi, total) in [(0.5, 1.0, 1.0), (-2.0, 0.5, -1.5), (0.0, 0.7, 0.0)] {
            let states: [Array3<f64>; 2] = [
                Box::new(Rescaled::new(WeightedSum::new(&[weight]).unwrap(), phi).unwrap())
                    as Box<dyn Guidance>,
                Box::new(WeightedSum::new(&[total]).unwrap()),
            ]
            .map(|form| {
                let mut run = run(&sampler, prediction);
                let mut model = Guided::new(Network::new(prediction), form);
                run.complete(&mut model).unwrap();
                run.into_state()
            });
            assert!(
                difference(&states[0], &states[1]) < 1e-14,
                "{weight}, {phi}"
            );
        }
    }
}

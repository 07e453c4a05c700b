//! Guidance: every form, linear or not, with one solver of each kind.

use diffusion_sampler::{
    Clip, Denoiser, Prediction, Real,
    denoiser::{Guided, WithClassifier},
    guidance::{
        ClassifierFree, ClassifierGuidance, Composed, Guidance, GuidanceWeight, OnInterval,
        PerpendicularNegative, Perturbed, PlusPlus, Projected, Rescaled, Tangential, WeightedSum,
        ZeroStar,
    },
    solver::{CfgPlusPlus, DpmSolverPlusPlus, FirstOrder, Solver},
};
use ndarray::{Array2, Array3, Ix3};

use crate::hash::Lines;
use crate::models::{Network, Towards};
use crate::runs::sampler;

fn forms() -> Vec<(&'static str, Box<dyn Guidance>)> {
    let free = || ClassifierFree::with_scale(4.0).unwrap();
    let weight = |w| GuidanceWeight::constant(w).unwrap();
    let projected = || Projected::new(3.0).unwrap();
    let zero = || ZeroStar::with_scale(4.0).unwrap();
    let six = [0.5, 2.0, -1.75, 0.125, 0.25, -0.4];
    let interval = GuidanceWeight::interval(3.0, 0.7, 2.5).unwrap();
    vec![
        ("classifier-free", Box::new(free())),
        ("interval", Box::new(ClassifierFree::new(interval))),
        (
            "composed",
            Box::new(Composed::new(&[3.0, 1.5, -0.5]).unwrap()),
        ),
        (
            "perturbed",
            Box::new(Perturbed::new(3.0, weight(2.0)).unwrap()),
        ),
        ("weighted sum", Box::new(WeightedSum::new(&six).unwrap())),
        ("CFG++", Box::new(PlusPlus::new(0.6).unwrap())),
        ("rescaled", Box::new(Rescaled::new(free(), 0.7).unwrap())),
        ("APG", Box::new(projected())),
        (
            "APG, all options",
            Box::new(
                projected()
                    .with_eta(-0.2)
                    .and_then(|form| form.with_radius(1.5)?.with_momentum(-0.5))
                    .unwrap(),
            ),
        ),
        ("CFG-Zero*", Box::new(zero().zero_steps(1))),
        (
            "CFG-Zero* on an interval",
            Box::new(OnInterval::new(zero(), 0.7, 2.5).unwrap()),
        ),
        ("TCFG", Box::new(Tangential::with_scale(4.0).unwrap())),
        (
            "perp-neg",
            Box::new(PerpendicularNegative::new(4.0, 0.8).unwrap()),
        ),
    ]
}

fn of<A: Real>(lines: &mut Lines, kind: &str) {
    let solvers: [(&str, Box<dyn Solver>); 3] = [
        ("DDPM", Box::new(FirstOrder::ddpm())),
        ("DPM-Solver++", Box::new(DpmSolverPlusPlus::new())),
        ("CFG++", Box::new(CfgPlusPlus::res())),
    ];
    let clip = Clip::dynamic(0.9, 1.5).unwrap();
    for (name, form) in forms() {
        lines.add(format!("guidance: {name}, {kind}"), |hash| {
            for (_, solver) in &solvers {
                for prediction in [Prediction::Noise, Prediction::Flow] {
                    let mut model = Guided::new(Network(prediction), &form);
                    let sampler = sampler(&**solver, 6);
                    let x: Array3<A> = sampler.sample(&mut model, (3, 2, 19), 5).unwrap();
                    hash.elements(&x);
                    let sampler = sampler.with_clip(clip);
                    let x: Array3<A> = sampler.sample(&mut model, (3, 2, 19), 5).unwrap();
                    hash.elements(&x);
                }
            }
        });
    }
    lines.add(format!("guidance: classifier, {kind}"), |hash| {
        let weight = || GuidanceWeight::constant(1.5).unwrap();
        let network = Network(Prediction::Noise);
        let mut alone = Guided::new(
            WithClassifier::new(network, Towards),
            ClassifierGuidance::new(weight()),
        );
        let mut around = Guided::new(
            WithClassifier::behind(network, 2, Towards),
            ClassifierGuidance::around(ClassifierFree::with_scale(2.0).unwrap(), weight()),
        );
        let models: [&mut dyn Denoiser<A, Ix3, Error = _>; 2] = [&mut alone, &mut around];
        for model in models {
            let sampler = sampler(&FirstOrder::ddim(), 6);
            let x: Array3<A> = sampler.sample(model, (3, 2, 19), 5).unwrap();
            hash.elements(&x);
        }
    });
}

pub(crate) fn add(lines: &mut Lines) {
    of::<f32>(lines, "f32");
    of::<f64>(lines, "f64");
    // Inner products of arrays large enough for threads.
    lines.add("guidance: large, f32", |hash| {
        let form = Rescaled::new(ClassifierFree::with_scale(4.0).unwrap(), 0.7).unwrap();
        let mut model = Guided::new(Network(Prediction::Noise), form);
        let sampler = sampler(&FirstOrder::ddim(), 2);
        let x: Array2<f32> = sampler.sample(&mut model, (2, (1 << 19) + 13), 5).unwrap();
        hash.elements(&x);
    });
}

//! CFG++ beside classifier-free guidance.

use diffusion_sampler::{
    Grid, KeyedNoise, NoiseLevel, Prediction, Sampler,
    denoiser::WithClassifier,
    denoiser::{Guided, Models},
    guidance::{ClassifierFree, ClassifierGuidance, GuidanceWeight, PlusPlus},
    oracle::{Gaussian, GaussianMixture, LabelledOracle, Oracle},
    plan::{Plan, Stage, Step, Store, Update},
    schedule::TableSchedule,
    solver::{DpmSolverPlusPlus, FirstOrder, GradientEstimation, Solver},
};
use ndarray::{Array2, Array3};

use crate::common::{Image, Network, PREDICTIONS, difference, edges, run, state};
use crate::formulas::cases;

fn mixture() -> GaussianMixture {
    let at = |x: f64, y: f64, v: f64| Gaussian::isotropic(&[x, y], v).unwrap();
    GaussianMixture::new(
        &[1.0, 2.0, 1.0],
        vec![at(-1.0, 0.5, 0.2), at(1.0, 0.0, 0.3), at(0.0, -1.0, 0.1)],
        vec![0, 1, 1],
    )
    .unwrap()
}

fn grid() -> Grid {
    Grid::trailing(&TableSchedule::linear(1000, 1e-4, 0.02).unwrap(), 12).unwrap()
}

fn sample(
    solver: &dyn Solver,
    guidance: impl diffusion_sampler::guidance::Guidance,
    prediction: Prediction,
) -> Array2<f64> {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02).unwrap();
    let sampler = Sampler::new(&schedule, &grid(), solver).unwrap();
    let conditional = mixture().condition(1).unwrap().denoiser(prediction);
    let models = Models((conditional, mixture().denoiser(prediction)));
    let mut model = Guided::new(models, guidance);
    sampler.sample(&mut model, (9, 2), 5).unwrap()
}

fn worst(a: &Array2<f64>, b: &Array2<f64>) -> f64 {
    (a - b).iter().fold(0.0, |m: f64, v| m.max(v.abs()))
}

#[test]
fn with_ddim_it_is_cfg_with_scale_lambda_over_one_minus_r() {
    let lambda = 0.4;
    let levels = grid().levels().to_vec();
    let scale = GuidanceWeight::by_level(move |t: &NoiseLevel| {
        let k = levels.iter().position(|level| level == t).unwrap();
        let s = levels[k + 1];
        let r = s.sigma() * t.alpha() / (t.sigma() * s.alpha());
        lambda / (1.0 - r) - 1.0
    });
    for prediction in PREDICTIONS {
        let ddim = FirstOrder::ddim();
        let plus = sample(&ddim, PlusPlus::new(lambda).unwrap(), prediction);
        let cfg = sample(&ddim, ClassifierFree::new(scale.clone()), prediction);
        let found = worst(&plus, &cfg);
        assert!(found < 1e-11, "{prediction:?}: {found}");
    }
}

#[test]
fn cfg_is_classifier_guidance_of_the_unconditional_model_with_one_more() {
    let (w, kind) = (1.5, Prediction::Noise);
    let cfg = sample(
        &FirstOrder::ddim(),
        ClassifierFree::with_weight(w).unwrap(),
        kind,
    );
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02).unwrap();
    let sampler = Sampler::new(&schedule, &grid(), &FirstOrder::ddim()).unwrap();
    let classifier = mixture().classifier(1).unwrap();
    let weight = GuidanceWeight::constant(1.0 + w).unwrap();
    let model = WithClassifier::new(mixture().denoiser(kind), classifier);
    let mut model = Guided::new(model, ClassifierGuidance::new(weight));
    let guided: Array2<f64> = sampler.sample(&mut model, (9, 2), 5).unwrap();
    assert!(worst(&cfg, &guided) < 1e-11);
}

#[test]
fn with_2m_it_stays_finite() {
    for prediction in PREDICTIONS {
        let guidance = PlusPlus::new(0.6).unwrap();
        let x = sample(&DpmSolverPlusPlus::new(), guidance, prediction);
        assert!(x.iter().all(|v| v.abs() < 10.0), "{x}");
    }
}

/// Takes one DDIM step whose plan keeps something.
fn kept(store: Store, prediction: Prediction) -> Array3<f64> {
    let (from, to) = edges()[0];
    let r = to.sigma() * from.alpha() / (from.sigma() * to.alpha());
    let update = Update {
        state: to.sigma() / from.sigma(),
        data: to.alpha() * (1.0 - r),
        ..Update::default()
    };
    let stages = vec![Stage::evaluating(from, update.storing(store))];
    let plan = Plan::new(vec![Step { from, to, stages }], 1).unwrap();
    let sampler = Sampler::from_plan(plan, 1.0).unwrap();
    let noise = KeyedNoise::new(3);
    let mut run = sampler.start_from(state(), prediction, noise).unwrap();
    let guidance = PlusPlus::new(0.6).unwrap();
    run.advance(&mut Guided::new(Network::new(prediction), guidance))
        .unwrap();
    run.history()[0].clone()
}

#[test]
fn what_is_stored_is_the_guided_data_and_the_unconditional_noise() {
    let case = cases()
        .into_iter()
        .find(|case| case.name == "CFG++")
        .unwrap();
    for prediction in PREDICTIONS {
        let (d, e) = case.expected(&state(), &[edges()[0].0], prediction);
        assert!(difference(&kept(Store::data(0), prediction), &d) < 1e-12);
        assert!(difference(&kept(Store::noise(0), prediction), &e) < 1e-12);
        let original: &Image = &state();
        assert!(difference(&kept(Store::state(0), prediction), original) == 0.0);
    }
}

#[test]
fn a_2m_step_extrapolates_guided_data_and_renoises_with_the_unconditional() {
    let case = cases()
        .into_iter()
        .find(|case| case.name == "CFG++")
        .unwrap();
    let levels: Vec<_> = [0.8, 0.6, 0.35]
        .iter()
        .map(|&t| NoiseLevel::new(t, 1.0 - t, t).unwrap())
        .collect();
    for prediction in PREDICTIONS {
        let sampler = crate::common::sampler(&levels, &DpmSolverPlusPlus::new());
        let mut run = run(&sampler, prediction);
        let mut model = Guided::new(Network::new(prediction), PlusPlus::new(0.6).unwrap());
        run.complete(&mut model).unwrap();
        let mut x = state();
        let mut before: Option<(Array3<f64>, f64)> = None;
        for pair in levels.windows(2) {
            let (t, s) = (pair[0], pair[1]);
            let (d, e) = case.expected(&x, &[t], prediction);
            let h = (s.alpha() * t.sigma() / (s.sigma() * t.alpha())).ln();
            let used = match &before {
                Some((old, last)) => &d + (&d - old) * (0.5 * h / last),
                None => d.clone(),
            };
            let moved = &d * t.alpha() + e * t.sigma();
            x = moved * (s.sigma() / t.sigma()) + used * (s.alpha() * (1.0 - (-h).exp()));
            before = Some((d, h));
        }
        assert!(difference(run.state(), &x) < 1e-12, "{prediction:?}");
    }
}

#[test]
fn with_gradient_estimation_it_is_comfyuis_cfg_pp_form() {
    let case = cases()
        .into_iter()
        .find(|case| case.name == "CFG++")
        .unwrap();
    let gamma = 1.8;
    let solver = GradientEstimation::new().with_gamma(gamma).unwrap();
    // In x/α and ρ, as ComfyUI: d from the unconditional estimate, the state from the guided one.
    let levels: Vec<_> = [0.9, 0.7, 0.5, 0.3]
        .iter()
        .map(|&t| NoiseLevel::new(t, (1.0 - t * t).sqrt(), t).unwrap())
        .collect();
    for prediction in PREDICTIONS {
        let sampler = crate::common::sampler(&levels, &solver);
        let mut run = run(&sampler, prediction);
        let mut model = Guided::new(Network::new(prediction), PlusPlus::new(0.6).unwrap());
        run.complete(&mut model).unwrap();
        let mut x = state() / levels[0].alpha();
        let mut old: Option<Array3<f64>> = None;
        for pair in levels.windows(2) {
            let (denoised, d) = case.expected(&(&x * pair[0].alpha()), &[pair[0]], prediction);
            let dt = pair[1].rho() - pair[0].rho();
            x = denoised + &d * pair[1].rho();
            if let Some(old) = &old {
                x = x + (&d - old) * ((gamma - 1.0) * dt);
            }
            old = Some(d);
        }
        let expected = x * levels[3].alpha();
        assert!(difference(run.state(), &expected) < 1e-12, "{prediction:?}");
    }
}

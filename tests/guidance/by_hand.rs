//! Guided models called outside a run.

use std::convert::Infallible;

use diffusion_sampler::{
    Denoiser, Error, NoiseLevel, Prediction, Query, RunError,
    denoiser::{Guided, Models},
    guidance::{ClassifierFree, Guidance, PlusPlus, Projected, WeightedSum},
    solver::FirstOrder,
};
use ndarray::{Array3, Ix3};

use crate::common::{
    Image, Network, PREDICTIONS, bits, difference, edges, outputs, run, sampler, state,
};
use crate::formulas::{cases, fill, samples};

/// Hands the query on.
struct Wrapper<M>(M);

impl<M: Denoiser<f64, Ix3>> Denoiser<f64, Ix3> for Wrapper<M> {
    type Error = M::Error;

    fn prediction(&self) -> Prediction {
        self.0.prediction()
    }

    fn denoise(&mut self, x: &Image, query: &Query<'_>, out: &mut Image) -> Result<(), M::Error> {
        self.0.denoise(x, query, out)
    }
}

/// The formula of a case, in the model's own terms.
fn expected(
    case: &crate::formulas::Case,
    levels: &[NoiseLevel],
    prediction: Prediction,
) -> Array3<f64> {
    let (data, _) = case.expected(&state(), levels, prediction);
    let mut own = data.clone();
    for (i, sample) in samples(&state(), levels, prediction).iter().enumerate() {
        let data: Vec<f64> = data
            .index_axis(ndarray::Axis(0), i)
            .iter()
            .copied()
            .collect();
        fill(&mut own, i, &sample.own(&data));
    }
    own
}

/// Those that a call by hand can do; outside a run no step is the first.
fn callable(name: &str) -> bool {
    !["CFG++", "CFG-Zero*, a zero step"].contains(&name)
}

#[test]
fn a_call_by_hand_is_guided() {
    for case in cases().iter().filter(|case| callable(case.name)) {
        for prediction in PREDICTIONS {
            for (level, _) in edges() {
                let query = Query::new(&level);
                let mut model = Guided::new(Network::new(prediction), &case.guidance);
                let [mut a, mut b, mut c] = [(); 3].map(|()| Array3::zeros(state().dim()));
                model.estimate(&*state(), &query, &mut a).unwrap();
                model.denoise(&state(), &query, &mut b).unwrap();
                Wrapper(model).denoise(&state(), &query, &mut c).unwrap();
                let found = difference(&a, &expected(case, &[level], prediction));
                assert!(
                    found < 1e-12,
                    "{}, {prediction:?}, {}: {found}",
                    case.name,
                    level.rho()
                );
                assert_eq!((bits(&a), bits(&a)), (bits(&b), bits(&c)), "{}", case.name);
            }
        }
    }
}

#[test]
fn a_call_by_hand_takes_a_level_for_each_sample() {
    let levels: Vec<_> = edges()[..3].iter().map(|edge| edge.0).collect();
    let query = Query::per_sample(&levels).unwrap();
    for case in cases().iter().filter(|case| callable(case.name)) {
        for prediction in PREDICTIONS {
            let mut model = Guided::new(Network::new(prediction), &case.guidance);
            let mut out = Array3::zeros(state().dim());
            model.estimate(&*state(), &query, &mut out).unwrap();
            let found = difference(&out, &expected(case, &levels, prediction));
            assert!(found < 1e-12, "{}, {prediction:?}: {found}", case.name);
        }
    }
}

#[test]
fn weights_on_the_own_output_need_no_conversion_at_the_clean_level() {
    let level = NoiseLevel::clean();
    let guidance = ClassifierFree::with_scale(3.0).unwrap();
    for prediction in PREDICTIONS {
        let mut model = Guided::new(Network::new(prediction), &guidance);
        let mut out = Array3::zeros(state().dim());
        model
            .estimate(&*state(), &Query::new(&level), &mut out)
            .unwrap();
        let o = outputs(2, &state(), &level);
        let expected = &o[0] * 3.0 - &o[1] * 2.0;
        assert!(difference(&out, &expected) < 1e-15, "{prediction:?}");
    }
}

#[test]
fn estimates_that_a_prediction_cannot_say_are_refused_at_the_clean_level() {
    let level = NoiseLevel::clean();
    let mut model = Guided::new(
        Network::new(Prediction::Noise),
        Projected::new(2.0).unwrap(),
    );
    let mut out = Array3::zeros(state().dim());
    let error = model.estimate(&*state(), &Query::new(&level), &mut out);
    assert!(matches!(
        error,
        Err(RunError::Sampler(Error::PredictionUndefined {
            sigma: 0.0,
            ..
        }))
    ));
}

#[test]
fn a_run_with_a_wrapped_or_enclosed_guided_model_is_guided() {
    let kind = Prediction::Noise;
    let (from, to) = edges()[0];
    let sampler = sampler(&[from, to], &FirstOrder::ddim());
    let cfg = ClassifierFree::with_scale(3.0).unwrap();
    let direct = {
        let mut run = run(&sampler, kind);
        run.advance(&mut Guided::new(Network::new(kind), &cfg))
            .unwrap();
        run.into_state()
    };
    let mut wrapped = run(&sampler, kind);
    wrapped
        .advance(&mut Wrapper(Guided::new(Network::new(kind), &cfg)))
        .unwrap();
    assert!(difference(wrapped.state(), &direct) < 1e-14);
    // One of several: 0.5·(3 o₀ − 2 o₁) + 0.5·o₂.
    let models = Models((
        Guided::new(Network::new(kind), &cfg),
        Network::from(kind, 2),
    ));
    let mut model = Guided::new(models, WeightedSum::new(&[0.5, 0.5]).unwrap());
    let mut enclosed = run(&sampler, kind);
    enclosed.advance(&mut model).unwrap();
    let flat = WeightedSum::new(&[1.5, -1.0, 0.5]).unwrap();
    let mut expected = run(&sampler, kind);
    expected
        .advance(&mut Guided::new(Network::new(kind), flat))
        .unwrap();
    assert!(difference(enclosed.state(), expected.state()) < 1e-14);
}

fn refused_by_hand(guidance: impl Guidance, name: &str) {
    let level = edges()[0].0;
    let query = Query::new(&level);
    let mut model = Guided::new(Network::new(Prediction::Noise), guidance);
    let mut out = Array3::zeros(state().dim());
    match model.estimate(&*state(), &query, &mut out) {
        Err(RunError::<Infallible>::Sampler(Error::StatefulGuidance { guidance })) => {
            assert_eq!(guidance, name);
        }
        other => panic!("{other:?}"),
    }
    model.denoise(&state(), &query, &mut out).unwrap();
    assert!(out.iter().all(|v| v.is_nan()));
}

#[test]
fn momentum_and_two_estimates_are_refused_by_hand() {
    let momentum = Projected::new(2.0).unwrap().with_momentum(-0.5).unwrap();
    refused_by_hand(momentum, "projected guidance");
    refused_by_hand(PlusPlus::new(0.5).unwrap(), "CFG++");
}

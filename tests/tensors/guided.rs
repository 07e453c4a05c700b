//! Guidance of every form on tensors, against trajectories.

use std::convert::Infallible;

use diffusion_sampler::{
    Clip, Error, KeyedNoise, Prediction, RunError, Sampler,
    guidance::{ClassifierFree, Combination, Guidance, Projected},
    tensor::{ArrayOps, Flat, FlatOps},
};
use ndarray::{Array3, Ix3};

use crate::common::{
    PREDICTIONS, SHAPE, SIZES, difference, expected, flat, forms, one_step, outputs, stochastic,
};
use crate::naive::{Naive, Rows};

fn rows(values: &[f64]) -> Rows<f64> {
    Rows::new(values, &SIZES)
}

fn on_rows(
    sampler: &Sampler,
    prediction: Prediction,
    guidance: &dyn Guidance,
    ops: Naive<f64>,
) -> Vec<f64> {
    let noise = KeyedNoise::new(11);
    let mut run = sampler
        .on(ops)
        .start(&Rows::zeros(&SIZES), prediction, noise)
        .unwrap();
    run.complete_guided(guidance, |x, query| {
        let all = outputs(&x.values(), query);
        Ok::<_, Infallible>(all.iter().map(|values| rows(values)).collect())
    })
    .unwrap();
    run.into_state().values()
}

#[test]
fn every_form_of_guidance_gives_the_state_of_a_trajectory() {
    for (name, guidance) in forms() {
        let guidance = guidance.as_ref();
        for prediction in PREDICTIONS {
            let sampler = stochastic();
            let (state, _) = expected::<f64>(&sampler, prediction, Some(guidance));
            let case = format!("{name}, {prediction}");
            // Inner products on the host are the kernel's: the same bits.
            let host = on_rows(&sampler, prediction, guidance, Naive::new());
            assert_eq!(host, state, "{case}");
            let own = on_rows(&sampler, prediction, guidance, Naive::overriding());
            let error = difference(&own, &state);
            assert!(error < 1e-12, "{case}: {error}");
        }
    }
}

#[test]
fn flat_vectors_and_arrays_are_guided_alike() {
    for (name, guidance) in forms() {
        let (guidance, sampler, noise) = (guidance.as_ref(), stochastic(), KeyedNoise::new(11));
        let (state, _) = expected::<f32>(&sampler, Prediction::Velocity, Some(guidance));
        let like = Flat::<f32>::zeros(&SIZES).unwrap();
        let mut run = sampler
            .on(FlatOps::new())
            .start(&like, Prediction::Velocity, noise)
            .unwrap();
        run.complete_guided(guidance, |x, query| {
            let all = outputs(x.as_slice(), query).into_iter();
            all.map(|values| Flat::new(values, x.shape())).collect()
        })
        .unwrap();
        assert_eq!(run.state().as_slice(), state, "{name}");

        let like = Array3::<f32>::zeros(SHAPE);
        let ops = ArrayOps::<f32, Ix3>::new();
        let mut run = sampler
            .on(ops)
            .start(&like, Prediction::Velocity, noise)
            .unwrap();
        run.complete_guided(guidance, |x, query| {
            let all = outputs(&flat(x), query).into_iter();
            all.map(|values| Array3::from_shape_vec(SHAPE, values))
                .collect()
        })
        .unwrap();
        assert_eq!(flat(run.state()), state, "{name}");
    }
}

#[test]
fn guidance_with_dynamic_thresholding_is_that_of_a_trajectory() {
    let clip = Clip::dynamic(0.7, 1.5).unwrap();
    for (name, guidance) in forms() {
        let sampler = stochastic().with_clip(clip);
        let guidance = guidance.as_ref();
        let (state, _) = expected::<f64>(&sampler, Prediction::Noise, Some(guidance));
        for ops in [Naive::new(), Naive::overriding()] {
            let found = on_rows(&sampler, Prediction::Noise, guidance, ops);
            let error = difference(&found, &state);
            assert!(error < 1e-12, "{name}: {error}");
        }
    }
}

#[test]
fn combinations_of_each_sample_act_on_that_sample() {
    let sampler = one_step();
    let combinations: Vec<Combination> = [1.0, 2.5, 4.0]
        .iter()
        .map(|s| Combination::affine(&[*s, 1.0 - s]).unwrap())
        .collect();
    let start = |noise| sampler.start::<f64, _, _>(SHAPE, Prediction::Noise, noise);
    let mut array = start(KeyedNoise::new(3)).unwrap();
    let like = Rows::zeros(&SIZES);
    let mut run = sampler
        .on(Naive::new())
        .start(&like, Prediction::Noise, KeyedNoise::new(3))
        .unwrap();
    let question = run.ask().unwrap().unwrap();
    let values: Vec<Vec<f64>> = outputs(&question.x.values(), &question.query.with_outputs(2));
    let tensors: Vec<Rows<f64>> = values.iter().map(|values| rows(values)).collect();
    run.tell_combined(&combinations, &[&tensors[0], &tensors[1]])
        .unwrap();
    let arrays = values.map_arrays();
    array
        .tell_combined(&combinations, &[&arrays[0], &arrays[1]])
        .unwrap();
    assert_eq!(run.state().values(), flat(&array.into_state()));
}

trait MapArrays {
    fn map_arrays(self) -> Vec<Array3<f64>>;
}

impl MapArrays for Vec<Vec<f64>> {
    fn map_arrays(self) -> Vec<Array3<f64>> {
        let array = |values| Array3::from_shape_vec(SHAPE, values).unwrap();
        self.into_iter().map(array).collect()
    }
}

#[test]
fn momentum_goes_on_from_a_snapshot_and_comes_back_from_a_refusal() {
    let (sampler, noise) = (stochastic(), KeyedNoise::new(11));
    let guidance = Projected::new(1.5).unwrap().with_momentum(-0.6).unwrap();
    let (state, _) = expected::<f64>(&sampler, Prediction::Noise, Some(&guidance));
    let mut run = sampler
        .on(Naive::new())
        .start(&Rows::zeros(&SIZES), Prediction::Noise, noise)
        .unwrap();
    let model = |x: &Rows<f64>, query: &diffusion_sampler::Query<'_>| {
        let all = outputs(&x.values(), query);
        Ok::<_, Infallible>(all.iter().map(|values| rows(values)).collect::<Vec<_>>())
    };
    run.advance_guided(&guidance, model).unwrap();
    run.advance_guided(&guidance, model).unwrap();
    // The library fails after the memory has changed: it is as before.
    let memory = run.memory().cloned().unwrap();
    run.ops().fails.set(Some(("linear combination", 1)));
    assert!(run.advance_guided(&guidance, model).is_err());
    assert_eq!(run.memory(), Some(&memory));
    let mut resumed = sampler
        .on(Naive::new())
        .resume(run.snapshot().unwrap(), Prediction::Noise, noise)
        .unwrap();
    resumed.complete_guided(&guidance, model).unwrap();
    run.complete_guided(&guidance, model).unwrap();
    assert_eq!(run.state().values(), state);
    assert_eq!(resumed.state().values(), state);
}

#[test]
fn a_guidance_interval_asks_for_no_more_outputs_than_it_uses() {
    let sampler = stochastic();
    let inner = ClassifierFree::with_scale(2.0).unwrap();
    let guidance = diffusion_sampler::guidance::OnInterval::new(inner, 0.3, 2.0).unwrap();
    let noise = KeyedNoise::new(11);
    let mut run = sampler
        .on(Naive::new())
        .start(&Rows::zeros(&SIZES), Prediction::Noise, noise)
        .unwrap();
    let mut asked = Vec::new();
    run.complete_guided(&guidance, |x, query| {
        let rho = query.level().sigma() / query.level().alpha();
        asked.push((query.outputs(), (0.3..=2.0).contains(&rho)));
        let all = outputs(&x.values(), query);
        Ok::<_, Infallible>(all.iter().map(|values| rows(values)).collect())
    })
    .unwrap();
    assert!(
        asked
            .iter()
            .all(|&(outputs, inside)| outputs == 1 + usize::from(inside))
    );
    assert!(asked.iter().any(|a| a.1) && asked.iter().any(|a| !a.1));
}

#[test]
fn outputs_of_another_number_are_refused_with_both_numbers() {
    let (sampler, noise) = (stochastic(), KeyedNoise::new(1));
    let guidance = ClassifierFree::with_scale(2.0).unwrap();
    for count in [0, 1, 3] {
        let like = Rows::zeros(&SIZES);
        let mut run = sampler
            .on(Naive::new())
            .start(&like, Prediction::Noise, noise)
            .unwrap();
        let answer = vec![Rows::<f64>::zeros(&SIZES); count];
        let refused = run.advance_guided(&guidance, |_, _| Ok::<_, Infallible>(answer.clone()));
        match refused.unwrap_err() {
            RunError::Sampler(Error::WrongLength { found, .. }) => assert_eq!(found, count),
            RunError::Sampler(Error::OutputCount { found, .. }) => assert_eq!(found, count),
            other => panic!("{other}"),
        }
        assert_eq!(run.step(), 0);
    }
}

#[test]
fn asking_for_guidance_says_how_many_outputs_it_wants() {
    let (sampler, noise) = (stochastic(), KeyedNoise::new(11));
    for (name, guidance) in forms() {
        let guidance = guidance.as_ref();
        let (state, _) = expected::<f64>(&sampler, Prediction::Noise, Some(guidance));
        let ops = Naive::new();
        let like = Rows::zeros(&SIZES);
        let mut run = sampler
            .on(&ops)
            .start(&like, Prediction::Noise, noise)
            .unwrap();
        let mut array = sampler.start(SHAPE, Prediction::Noise, noise).unwrap();
        while let Some(question) = run.ask_guided(guidance).unwrap() {
            let values = outputs(&question.x.values(), &question.query);
            let tensors: Vec<Rows<f64>> = values.iter().map(|values| rows(values)).collect();
            run.tell_guided(guidance, &tensors.iter().collect::<Vec<_>>())
                .unwrap();
            let question = array.ask_guided(guidance).unwrap().unwrap();
            assert_eq!(question.query.outputs(), values.len());
            let arrays = values.map_arrays();
            let arrays: Vec<_> = arrays.iter().map(|array| &**array).collect();
            array.tell_guided(guidance, &arrays).unwrap();
        }
        assert_eq!(run.state().values(), state, "{name}");
        assert_eq!(flat(&array.into_state()), state, "{name}");
    }
}

//! The momentum of projected guidance over a run.

use std::ops::ControlFlow;

use diffusion_sampler::{
    Error, KeyedNoise, NoiseLevel, Prediction,
    denoiser::Guided,
    guidance::{ClassifierGuidance, GuidanceWeight, OnInterval, Projected},
    posterior::Kappa,
    run::{DdimStep, Machine},
    solver::{DpmSolverPlusPlus, FirstOrder, Solver},
};
use ndarray::{Array3, Axis};

use crate::common::{Image, Network, PREDICTIONS, bits, difference, edges, run, sampler, state};
use crate::formulas::{fill, mix, samples};

const MOMENTUM: f64 = -0.6;
const RADIUS: f64 = 2.0;

fn guidance() -> Projected {
    let form = Projected::new(1.5).unwrap().with_eta(0.3).unwrap();
    form.with_radius(RADIUS)
        .unwrap()
        .with_momentum(MOMENTUM)
        .unwrap()
}

fn levels() -> Vec<NoiseLevel> {
    [0.8, 0.65, 0.5, 0.3, 0.15, 0.05]
        .iter()
        .map(|&t| NoiseLevel::new(t, 1.0 - t, t).unwrap())
        .collect()
}

/// D of Algorithm 1; `average` is the running one of every sample.
fn estimate(
    x: &Image,
    levels: &[NoiseLevel],
    prediction: Prediction,
    average: &mut Array3<f64>,
) -> Array3<f64> {
    let mut data = x.to_owned();
    for (i, sample) in samples(x, levels, prediction).iter().enumerate() {
        let before: Vec<f64> = average.index_axis(Axis(0), i).iter().copied().collect();
        let delta = mix(1.0, &sample.data_difference(), MOMENTUM, &before);
        fill(average, i, &delta);
        fill(&mut data, i, &sample.projected(1.5, 0.3, RADIUS, &delta));
    }
    data
}

/// The states and data estimates of an explicit loop: DDIM or DPM-Solver++(2M) as published.
fn by_loop(second: bool, prediction: Prediction) -> Vec<(Array3<f64>, Array3<f64>)> {
    let (mut x, mut average) = (state(), Array3::zeros(state().dim()));
    let mut before: Option<(Array3<f64>, f64)> = None;
    let mut all = Vec::new();
    for pair in levels().windows(2) {
        let (t, s) = (pair[0], pair[1]);
        let data = estimate(&x, &[t], prediction, &mut average);
        let h = (s.alpha() / s.sigma()).ln() - (t.alpha() / t.sigma()).ln();
        let used = match &before {
            Some((old, last)) if second => {
                let half = 0.5 * h / last;
                &data * (1.0 + half) - old * half
            }
            _ => data.clone(),
        };
        x = &x * (s.sigma() / t.sigma()) + used * (s.alpha() * (1.0 - (-h).exp()));
        before = Some((data.clone(), h));
        all.push((x.clone(), data));
    }
    all
}

fn solvers() -> [(bool, Box<dyn Solver>); 2] {
    [
        (false, Box::new(FirstOrder::ddim())),
        (true, Box::new(DpmSolverPlusPlus::new())),
    ]
}

#[test]
fn momentum_accumulates_as_in_an_explicit_loop() {
    for (second, solver) in solvers() {
        for prediction in PREDICTIONS {
            let mut run = run(&sampler(&levels(), &*solver), prediction);
            let mut model = Guided::new(Network::new(prediction), guidance());
            let mut found = Vec::new();
            let _ = run
                .complete_with(&mut model, |report| {
                    found.push((report.x.to_owned(), report.data.to_owned()));
                    ControlFlow::Continue(())
                })
                .unwrap();
            let expected = by_loop(second, prediction);
            assert_eq!(found.len(), expected.len());
            for ((x, data), (naive, estimate)) in found.iter().zip(&expected) {
                let worst = difference(x, naive).max(difference(data, estimate));
                assert!(worst < 1e-11, "{second}, {prediction:?}: {worst}");
            }
            // Observed or not, the bits are the same.
            let mut plain = crate::common::run(&sampler(&levels(), &*solver), prediction);
            plain.complete(&mut model).unwrap();
            assert_eq!(bits(plain.state()), bits(run.state()));
        }
    }
}

#[test]
fn clones_and_snapshots_go_on_bit_for_bit() {
    for (_, solver) in solvers() {
        let prediction = Prediction::Velocity;
        let sampler = sampler(&levels(), &*solver);
        let mut model = Guided::new(Network::new(prediction), guidance());
        let mut whole = run(&sampler, prediction);
        whole.complete(&mut model).unwrap();
        for stop in 0..=5 {
            let mut run = run(&sampler, prediction);
            for _ in 0..stop {
                run.advance(&mut model).unwrap();
            }
            let snapshot = run.snapshot().unwrap();
            assert_eq!(snapshot.memory.is_some(), stop > 0);
            let mut resumed = sampler
                .resume(snapshot, prediction, KeyedNoise::new(3))
                .unwrap();
            let mut copy = run.clone();
            for run in [&mut run, &mut copy, &mut resumed] {
                run.complete(&mut model).unwrap();
                assert_eq!(bits(run.state()), bits(whole.state()), "{stop}");
            }
        }
    }
}

#[test]
fn momentum_rests_outside_an_interval() {
    // ρ is 4, 1.86, 1, 0.43 and 0.18.
    let form = OnInterval::new(guidance(), 0.4, 2.0).unwrap();
    let prediction = Prediction::Flow;
    let mut run = run(&sampler(&levels(), &FirstOrder::ddim()), prediction);
    let mut model = Guided::new(Network::new(prediction), form);
    run.complete(&mut model).unwrap();
    let (mut x, mut average) = (state(), Array3::zeros(state().dim()));
    for pair in levels().windows(2) {
        let (t, s) = (pair[0], pair[1]);
        let rho = t.sigma() / t.alpha();
        let data = if rho > 0.4 && rho <= 2.0 {
            estimate(&x, &[t], prediction, &mut average)
        } else {
            let o = x.mapv(|x| crate::common::answer(0, x, &t));
            &x - &(o * t.sigma())
        };
        let noise = (&x - &(&data * t.alpha())) / t.sigma();
        x = data * s.alpha() + noise * s.sigma();
    }
    assert!(difference(run.state(), &x) < 1e-12);
    let counts: Vec<_> = model.model().calls.iter().map(|call| call.0).collect();
    assert_eq!(counts, [1, 2, 2, 2, 1]);
}

#[test]
fn momentum_with_a_level_for_each_sample_is_each_samples_own() {
    let (from, to): (Vec<_>, Vec<_>) = edges()[..3].iter().copied().unzip();
    let first = DdimStep::per_sample(&from, &to, Kappa::Ddim).unwrap();
    // Back at other levels, each sample's own.
    let later: Vec<_> = to
        .iter()
        .map(|s| NoiseLevel::new(s.time() * 0.5, s.alpha(), s.sigma() * 0.5).unwrap())
        .collect();
    let second = DdimStep::per_sample(&to, &later, Kappa::Ddim).unwrap();
    let prediction = Prediction::Noise;
    let mut machine = Machine::new(state(), 0).unwrap();
    let mut model = Guided::new(Network::new(prediction), guidance());
    let (mut x, mut average) = (state(), Array3::zeros(state().dim()));
    for (index, (single, t, s)) in [(first, &from, &to), (second, &to, &later)]
        .into_iter()
        .enumerate()
    {
        single
            .take(
                &mut machine,
                &mut model,
                &mut KeyedNoise::new(1),
                index as u32,
            )
            .unwrap();
        let data = estimate(&x, t, prediction, &mut average);
        for i in 0..3 {
            let data = data.index_axis(Axis(0), i);
            let noise = (&x.index_axis(Axis(0), i) - &(&data * t[i].alpha())) / t[i].sigma();
            let next = &data * s[i].alpha() + noise * s[i].sigma();
            x.index_axis_mut(Axis(0), i).assign(&next);
        }
        assert!(difference(machine.state(), &x) < 1e-12);
        assert!(difference(machine.memory().unwrap(), &average) < 1e-12);
    }
}

#[test]
fn momentum_with_a_classifier_behind_it_is_both_formulas() {
    let weight = GuidanceWeight::constant(0.7).unwrap();
    let form = ClassifierGuidance::around(guidance(), weight);
    for prediction in PREDICTIONS {
        let mut run = run(&sampler(&levels(), &FirstOrder::ddim()), prediction);
        run.complete(&mut Guided::new(Network::new(prediction), form.clone()))
            .unwrap();
        let (mut x, mut average) = (state(), Array3::zeros(state().dim()));
        for pair in levels().windows(2) {
            let (t, s) = (pair[0], pair[1]);
            let mut data = estimate(&x, &[t], prediction, &mut average);
            for (i, sample) in samples(&x, &[t], prediction).iter().enumerate() {
                let row: Vec<f64> = data.index_axis(Axis(0), i).iter().copied().collect();
                fill(&mut data, i, &sample.classified(&row, 0.7, 2));
            }
            let noise = (&x - &(&data * t.alpha())) / t.sigma();
            x = data * s.alpha() + noise * s.sigma();
        }
        let found = difference(run.state(), &x);
        assert!(found < 1e-11, "{prediction:?}: {found}");
    }
}

#[test]
fn an_interval_holds_and_guides_each_sample_by_its_own_level() {
    // ρ of the samples is 0.75, 2.33 and 3: only the second is guided.
    let (from, to): (Vec<_>, Vec<_>) = edges()[..3].iter().copied().unzip();
    let single = DdimStep::per_sample(&from, &to, Kappa::Ddim).unwrap();
    let prediction = Prediction::Noise;
    let form = OnInterval::new(guidance(), 1.0, 2.5).unwrap();
    let mut machine = Machine::new(state(), 0).unwrap();
    let mut model = Guided::new(Network::new(prediction), form);
    single
        .take(&mut machine, &mut model, &mut KeyedNoise::new(1), 0)
        .unwrap();
    let mut plain = Machine::new(state(), 0).unwrap();
    let mut network = Network::new(prediction);
    single
        .take(&mut plain, &mut network, &mut KeyedNoise::new(1), 0)
        .unwrap();
    let mut average = Array3::zeros(state().dim());
    let data = estimate(&state(), &from, prediction, &mut average);
    for i in [0, 2] {
        let row = |a: &Image| a.index_axis(Axis(0), i).to_owned();
        let (a, b) = (row(machine.state()), row(plain.state()));
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-13));
        assert!(row(machine.memory().unwrap()).iter().all(|&m| m == 0.0));
    }
    let (t, s) = (from[1], to[1]);
    let data = data.index_axis(Axis(0), 1);
    let noise = (&state().index_axis(Axis(0), 1) - &(&data * t.alpha())) / t.sigma();
    let next = &data * s.alpha() + noise * s.sigma();
    let found = machine.state().index_axis(Axis(0), 1).to_owned() - next;
    assert!(found.iter().all(|v| v.abs() < 1e-12));
}

#[test]
fn a_refused_stage_leaves_the_memory_as_it_was() {
    let sampler = sampler(&levels(), &FirstOrder::ddim());
    let guidance = Projected::new(50.0).unwrap().with_eta(1.0).unwrap();
    let guidance = guidance.with_momentum(MOMENTUM).unwrap();
    let state = state().mapv(|x| x as f32);
    let run = sampler.start_from(state, Prediction::Data, KeyedNoise::new(3));
    let mut run = run.unwrap();
    let (one, two) = (run.state().to_owned(), run.state() * 0.5);
    run.tell_guided(&guidance, &[&one, &two]).unwrap();
    let before = run.memory().unwrap().to_owned();
    // The inner products are finite, in f64; the update in f32 is not.
    let mut large = one.clone();
    large[[1, 1, 3]] = f32::MAX;
    let refused = run.tell_guided(&guidance, &[&large, &two]);
    assert!(
        matches!(refused, Err(Error::NonFinite { .. })),
        "{refused:?}"
    );
    assert_eq!(*run.memory().unwrap(), before);
}

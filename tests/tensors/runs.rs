//! Whole runs without guidance: the bits of a trajectory.

use std::convert::Infallible;

use diffusion_sampler::{
    Clip, KeyedNoise, NoiseLevel, Prediction, Query, Real, Sampler,
    guidance::{ClassifierFree, Combination},
    noise::{BrownianPath, NoiseSource},
    run::TensorRun,
    schedule::VariancePreserving,
    solver::{DdimInversion, DpmSolverPlusPlus, FirstOrder, Heun},
    tensor::{ArrayOps, Flat, FlatOps, TensorOps},
};
use ndarray::{Array2, Array3, Ix2, Ix3};

use crate::common::{
    PREDICTIONS, SHAPE, SIZES, answer, clips, difference, expected, flat, sampler, samplers,
    stochastic,
};
use crate::naive::{Naive, Rows};

fn level(query: &Query<'_>) -> NoiseLevel {
    query.level()
}

pub(crate) fn on_arrays<A: Real>(sampler: &Sampler, prediction: Prediction) -> Vec<A> {
    let like = Array3::zeros(SHAPE);
    let model = |x: &Array3<A>, query: &Query<'_>| {
        Ok::<_, Infallible>(x.mapv(|x| answer(0, x, &level(query))))
    };
    let samples = sampler.on(ArrayOps::<A, Ix3>::new());
    flat(&samples.sample(&like, prediction, 11, model).unwrap())
}

pub(crate) fn on_flat<A: Real>(sampler: &Sampler, prediction: Prediction) -> Vec<A> {
    let like = Flat::zeros(&SIZES).unwrap();
    let model = |x: &Flat<A>, query: &Query<'_>| {
        let values = x.as_slice().iter().map(|&x| answer(0, x, &level(query)));
        Flat::new(values.collect(), x.shape())
    };
    let samples = sampler
        .on(FlatOps::new())
        .sample(&like, prediction, 11, model);
    samples.unwrap().into_vec()
}

pub(crate) fn on_rows<A: Real>(sampler: &Sampler, prediction: Prediction, ops: Naive<A>) -> Vec<A> {
    let model = |x: &Rows<A>, query: &Query<'_>| {
        Ok::<_, Infallible>(x.map(|x| answer(0, x, &level(query))))
    };
    let samples = sampler
        .on(ops)
        .sample(&Rows::zeros(&SIZES), prediction, 11, model);
    samples.unwrap().values()
}

fn every_kind_of_tensor_gives_the_bits_of_a_trajectory<A: Real>() {
    for (name, sampler) in samplers() {
        for prediction in PREDICTIONS {
            let (state, _) = expected::<A>(&sampler, prediction, None);
            let case = format!("{name}, {prediction}");
            assert_eq!(
                on_arrays::<A>(&sampler, prediction),
                state,
                "{case}, arrays"
            );
            assert_eq!(on_flat::<A>(&sampler, prediction), state, "{case}, flat");
            let rows = on_rows::<A>(&sampler, prediction, Naive::new());
            assert_eq!(rows, state, "{case}, rows");
        }
    }
}

#[test]
fn every_kind_of_tensor_gives_the_bits_of_a_trajectory_in_f64() {
    every_kind_of_tensor_gives_the_bits_of_a_trajectory::<f64>();
}

#[test]
fn every_kind_of_tensor_gives_the_bits_of_a_trajectory_in_f32() {
    every_kind_of_tensor_gives_the_bits_of_a_trajectory::<f32>();
}

#[test]
fn the_noise_of_a_long_sample_is_that_of_a_trajectory() {
    // Noise is filled in pieces of 1,024.
    let shape = [1, 2500];
    let sampler = sampler(&VariancePreserving::default(), 2, &FirstOrder::ddpm());
    let model = |x: &Rows<f64>, query: &Query<'_>| {
        Ok::<_, Infallible>(x.map(|x| answer(0, x, &level(query))))
    };
    let samples = sampler.on(Naive::new());
    let samples = samples.sample(&Rows::zeros(&shape), Prediction::Data, 11, model);
    let mut model = diffusion_sampler::from_fn::<f64, Ix2>(Prediction::Data, |x, level, out| {
        out.zip_mut_with(x, |out, &x| *out = answer(0, x, level));
    });
    let expected: Array2<f64> = sampler.sample(&mut model, (1, 2500), 11).unwrap();
    let found = samples.unwrap().values();
    assert!(
        found
            .iter()
            .zip(&expected)
            .all(|(a, b)| a.to_bits() == b.to_bits())
    );
}

#[test]
fn clipped_runs_are_those_of_a_trajectory() {
    for (name, clip) in clips() {
        for prediction in PREDICTIONS {
            let sampler = stochastic().with_clip(clip);
            let (state, _) = expected::<f64>(&sampler, prediction, None);
            let case = format!("{name}, {prediction}");
            assert_eq!(on_arrays::<f64>(&sampler, prediction), state, "{case}");
            assert_eq!(on_flat::<f64>(&sampler, prediction), state, "{case}");
            for ops in [Naive::new(), Naive::overriding()] {
                let rows = on_rows::<f64>(&sampler, prediction, ops);
                let error = difference(&rows, &state);
                assert!(error < 1e-14, "{case}: {error}");
            }
        }
    }
}

#[test]
fn a_deterministic_run_downloads_nothing_and_uploads_its_start_alone() {
    let schedule = VariancePreserving::default();
    let sampler = sampler(&schedule, 8, &DpmSolverPlusPlus::new());
    let ops = Naive::<f32>::new();
    let run = sampler
        .on(ops)
        .start(&Rows::zeros(&SIZES), Prediction::Noise, KeyedNoise::new(1));
    let mut run = run.unwrap();
    run.complete(|x, query| Ok::<_, Infallible>(x.map(|x| answer(0, x, &query.level()))))
        .unwrap();
    assert_eq!(run.ops().downloads.get(), 0);
    assert_eq!(run.ops().uploads.get(), 1);
}

#[test]
fn a_run_by_ask_and_tell_is_the_run_with_a_closure() {
    for (name, sampler) in samplers() {
        let (state, history) = expected::<f32>(&sampler, Prediction::Velocity, None);
        let like = Rows::zeros(&SIZES);
        let run =
            sampler
                .on(Naive::<f32>::new())
                .start(&like, Prediction::Velocity, KeyedNoise::new(11));
        let mut run = run.unwrap();
        let mut asked = 0;
        while let Some(question) = run.ask().unwrap() {
            let output = question.x.map(|x| answer(0, x, &level(&question.query)));
            run.tell(&output).unwrap();
            asked += 1;
        }
        assert_eq!(
            asked,
            sampler
                .plan()
                .stages()
                .filter(|s| s.evaluate.is_some())
                .count()
        );
        assert!(run.is_finished() && run.ask().unwrap().is_none(), "{name}");
        let (x, slots) = run.into_parts();
        assert_eq!(x.values(), state, "{name}");
        let slots: Vec<Vec<f32>> = slots.iter().map(Rows::values).collect();
        assert_eq!(slots, history, "{name}");
    }
}

#[test]
fn a_run_resumed_at_any_stage_ends_with_the_same_bits() {
    let schedule = VariancePreserving::default();
    for solver in [
        &Heun::new() as &dyn diffusion_sampler::solver::Solver,
        &DpmSolverPlusPlus::sde(),
    ] {
        let sampler = sampler(&schedule, 4, solver);
        let (prediction, noise) = (Prediction::Noise, KeyedNoise::new(11));
        let (state, _) = expected::<f64>(&sampler, prediction, None);
        let mut run = sampler
            .on(Naive::<f64>::new())
            .start(&Rows::zeros(&SIZES), prediction, noise)
            .unwrap();
        while let Some(question) = run.ask().unwrap() {
            let output = question.x.map(|x| answer(0, x, &level(&question.query)));
            let snapshot = run.snapshot().unwrap();
            let mut resumed = sampler
                .on(Naive::<f64>::new())
                .resume(snapshot, prediction, noise)
                .unwrap();
            assert_eq!(resumed.cursor(), run.cursor());
            // From the middle of a step on, by asking; a closure then takes the others.
            let _ = resumed.ask().unwrap();
            resumed.tell(&output).unwrap();
            resumed
                .complete(|x, query| Ok::<_, Infallible>(x.map(|x| answer(0, x, &query.level()))))
                .unwrap();
            assert_eq!(resumed.into_state().values(), state);
            run.tell(&output).unwrap();
        }
    }
}

#[test]
fn a_clone_goes_on_as_the_run_does() {
    let sampler = stochastic();
    let model = |x: &Rows<f64>, query: &Query<'_>| {
        Ok::<_, Infallible>(x.map(|x| answer(0, x, &level(query))))
    };
    let noise = KeyedNoise::new(11);
    let run = sampler
        .on(Naive::<f64>::new())
        .start(&Rows::zeros(&SIZES), Prediction::Noise, noise);
    let mut run: TensorRun<_> = run.unwrap();
    run.advance(model).unwrap();
    let mut copy = run.clone();
    assert_eq!((copy.step(), copy.cursor().step()), (1, 1));
    assert!(format!("{copy:?}").starts_with("TensorRun { driver:"));
    run.complete(model).unwrap();
    copy.complete(model).unwrap();
    assert_eq!(run.state(), copy.state());
    assert_eq!(
        run.state().values(),
        expected::<f64>(&sampler, Prediction::Noise, None).0
    );
}

#[test]
fn the_history_of_a_run_has_the_slots_of_its_plan() {
    for (name, sampler) in samplers() {
        let slots = sampler.plan().slots();
        let noise = KeyedNoise::new(11);
        let mut run = sampler
            .on(Naive::<f64>::new())
            .start(&Rows::zeros(&SIZES), Prediction::Noise, noise)
            .unwrap();
        run.advance(|x, query| Ok::<_, Infallible>(x.map(|x| answer(0, x, &query.level()))))
            .unwrap();
        let history: Vec<Vec<f64>> = run.history().iter().map(Rows::values).collect();
        assert_eq!(history.len(), slots, "{name}");
        let (_, parts) = run.into_parts();
        assert!(parts.iter().map(Rows::values).eq(history), "{name}");
    }
}

/// Zeros of the other sign give a state of the other sign where the weight on the state is 0.
#[test]
fn a_run_starts_with_the_zeros_of_a_trajectory() {
    fn zeros<O>(ops: &O, x: &O::Tensor) -> Vec<O::Tensor>
    where
        O: TensorOps + Clone,
        O::Error: std::fmt::Debug,
        KeyedNoise: NoiseSource<O::Element>,
    {
        let sampler = sampler(&VariancePreserving::default(), 4, &DpmSolverPlusPlus::new());
        let count = sampler.plan().slots();
        let noise = KeyedNoise::new(11);
        let run = sampler
            .on(ops.clone())
            .start_from(x.clone(), Prediction::Data, noise);
        let mut zeros = run.unwrap().into_parts().1;
        assert!(count > 0 && zeros.len() == count);
        // Normals of both signs, times 0.
        let sampler = sampler.with_start_variance(0.0).unwrap();
        let run = sampler.on(ops.clone()).start(x, Prediction::Data, noise);
        zeros.push(run.unwrap().into_state());
        zeros
    }
    let x = vec![-1.0_f64; SIZES.iter().product()];
    let by_kernel = zeros(&FlatOps::new(), &Flat::new(x.clone(), &SIZES).unwrap());
    let by_terms = zeros(&Naive::new(), &Rows::new(&x, &SIZES));
    let of_rows = by_terms.iter().flat_map(Rows::values);
    for value in by_kernel
        .into_iter()
        .flat_map(Flat::into_vec)
        .chain(of_rows)
    {
        assert_eq!(value.to_bits(), 0);
    }
}

#[test]
fn an_inversion_starts_from_data_and_history_can_be_given() {
    let schedule = VariancePreserving::default();
    let grid = diffusion_sampler::Grid::trailing(&schedule, 5).unwrap();
    let sampler = Sampler::new(&schedule, &grid, &DdimInversion::new()).unwrap();
    let data: Vec<f64> = (0..42).map(|i| f64::from(i).sin()).collect();
    let noise = KeyedNoise::new(0);
    let array = Array3::from_shape_vec(SHAPE, data.clone()).unwrap();
    let mut array = sampler.start_from(array, Prediction::Data, noise).unwrap();
    array
        .complete(&mut crate::common::Network(Prediction::Data))
        .unwrap();
    let rows = Rows::new(&data, &SIZES);
    let mut run = sampler
        .on(Naive::<f64>::new())
        .start_from(rows, Prediction::Data, noise)
        .unwrap();
    run.complete(|x, query| Ok::<_, Infallible>(x.map(|x| answer(0, x, &query.level()))))
        .unwrap();
    assert_eq!(run.into_state().values(), flat(&array.into_state()));
}

#[test]
fn the_kept_estimate_is_that_of_a_trajectory() {
    for (name, clip) in clips() {
        let sampler = stochastic().with_clip(clip);
        let mut estimates = Vec::new();
        let noise = KeyedNoise::new(11);
        let mut array = sampler
            .start::<f64, _, _>(SHAPE, Prediction::Velocity, noise)
            .unwrap();
        let _ = array
            .complete_with(
                &mut crate::common::Network(Prediction::Velocity),
                |report| {
                    estimates.push(report.data.iter().copied().collect::<Vec<_>>());
                    std::ops::ControlFlow::Continue(())
                },
            )
            .unwrap();
        let like = Rows::zeros(&SIZES);
        let run = sampler
            .on(Naive::<f64>::new())
            .start(&like, Prediction::Velocity, noise)
            .unwrap();
        let mut run = run.keeping_data();
        assert!(run.data().is_none());
        for expected in estimates {
            run.advance(|x, query| Ok::<_, Infallible>(x.map(|x| answer(0, x, &query.level()))))
                .unwrap();
            let error = difference(&run.data().unwrap().values(), &expected);
            assert!(error < 1e-14, "{name}: {error}");
        }
    }
}

#[test]
fn a_refused_step_leaves_no_estimate_behind() {
    let sampler = stochastic();
    let (like, noise) = (Rows::zeros(&SIZES), KeyedNoise::new(11));
    let start = || {
        sampler
            .on(Naive::<f64>::new())
            .start(&like, Prediction::Data, noise)
    };
    let mut run = start().unwrap().keeping_data();
    let by = |value: f64| move |x: &Rows<f64>, _: &Query<'_>| Ok::<_, Infallible>(x.map(|_| value));
    run.ops().fails.set(Some(("upload", 0)));
    assert!(run.advance(by(0.25)).is_err());
    assert!(run.data().is_none());
    run.advance(by(0.5)).unwrap();
    assert_eq!(run.data().unwrap().values(), [0.5; 42]);
}

/// The bounds of dynamic thresholding are compared once for a batch, not once for each sample: with
/// the square of the number of samples this takes minutes.
#[test]
fn the_time_of_thresholding_grows_with_the_number_of_samples_only() {
    const POINTS: usize = 100_000;
    let sampler = crate::common::one_step().with_clip(Clip::dynamic(0.9, 2.0).unwrap());
    let like = Rows::<f32>::zeros(&[POINTS, 2]);
    let run = sampler
        .on(Naive::overriding())
        .start(&like, Prediction::Data, KeyedNoise::new(1));
    let (mut run, begun) = (run.unwrap(), std::time::Instant::now());
    run.complete(|x, _| Ok::<_, Infallible>(x.map(|_| 0.5)))
        .unwrap();
    assert!(run.is_finished());
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}

#[test]
fn the_kept_estimate_is_that_of_a_steps_first_evaluation() {
    let schedule = VariancePreserving::default();
    let sampler = sampler(&schedule, 3, &Heun::new());
    let like = Rows::zeros(&SIZES);
    let run = sampler
        .on(Naive::<f64>::new())
        .start(&like, Prediction::Data, KeyedNoise::new(11));
    let mut run = run.unwrap().keeping_data();
    let mut evaluations = 0.0;
    for first in [1.0, 3.0, 5.0] {
        run.advance(|x, _| {
            evaluations += 1.0;
            Ok::<_, Infallible>(x.map(|_| evaluations))
        })
        .unwrap();
        assert_eq!(run.data().unwrap().values(), [first; 42]);
    }
    assert_eq!(evaluations, 5.0);
}

#[test]
fn noise_that_depends_on_the_interval_is_that_of_a_trajectory() {
    let schedule = VariancePreserving::default();
    let sampler = sampler(&schedule, 5, &DpmSolverPlusPlus::sde());
    let (prediction, path) = (Prediction::Noise, BrownianPath::new(11));
    let mut array = sampler.start::<f64, _, _>(SHAPE, prediction, path).unwrap();
    array
        .complete(&mut crate::common::Network(prediction))
        .unwrap();
    let run = sampler
        .on(Naive::<f64>::new())
        .start(&Rows::zeros(&SIZES), prediction, path);
    let mut run = run.unwrap();
    run.complete(|x, query| Ok::<_, Infallible>(x.map(|x| answer(0, x, &query.level()))))
        .unwrap();
    assert_eq!(run.into_state().values(), flat(&array.into_state()));
}

#[test]
fn what_is_told_without_asking_is_told_to_the_next_evaluation() {
    let guidance = ClassifierFree::with_scale(2.0).unwrap();
    for (name, sampler) in samplers() {
        let like = Rows::<f64>::zeros(&SIZES);
        let noise = KeyedNoise::new(11);
        let run = sampler
            .on(Naive::new())
            .start(&like, Prediction::Data, noise);
        let mut asking = run.unwrap();
        let mut telling = [asking.clone(), asking.clone(), asking.clone()];
        let (one, two) = (like.map(|_| 0.3), like.map(|_| -0.2));
        while asking.ask().unwrap().is_some() {
            asking.tell(&one).unwrap();
            let [plain, guided, combined] = &mut telling;
            plain.tell(&one).unwrap();
            guided.tell_guided(&guidance, &[&one, &one]).unwrap();
            let second = Combination::affine(&[0.0, 1.0]).unwrap();
            combined.tell_combined(&[second], &[&two, &one]).unwrap();
        }
        for mut run in telling {
            assert!(run.ask().unwrap().is_none());
            let error = difference(&run.state().values(), &asking.state().values());
            assert!(error < 1e-14, "{name}: {error}");
        }
    }
}

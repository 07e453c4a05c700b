//! What runs on tensors refuse, and how they stand afterwards.

use std::convert::Infallible;

use diffusion_sampler::{
    Error, Grid, KeyedNoise, Prediction, RunError, Sampler,
    guidance::{ClassifierFree, Rescaled},
    noise::{Demand, NoiseKey, NoiseSource, Stream},
    run::Snapshot,
    schedule::{RectifiedFlow, TableSchedule},
    solver::{DpmSolverPlusPlus, FirstOrder},
    tensor::{ArrayOps, Flat, FlatOps, Scale, TensorOps},
};
use ndarray::{Array0, Array2, Ix0, Ix2};

use crate::common::{SIZES, answer, clips, expected, stochastic};
use crate::naive::{Broken, Naive, Rows};

const NOISE: Prediction = Prediction::Noise;

fn run(ops: Naive<f64>) -> diffusion_sampler::run::TensorRun<Naive<f64>> {
    let like = Rows::zeros(&SIZES);
    stochastic()
        .on(ops)
        .start(&like, NOISE, KeyedNoise::new(11))
        .unwrap()
}

pub(crate) fn model(
    x: &Rows<f64>,
    query: &diffusion_sampler::Query<'_>,
) -> Result<Rows<f64>, Infallible> {
    Ok(x.map(|x| answer(0, x, &query.level())))
}

#[test]
fn an_output_of_another_shape_is_refused_and_the_run_goes_on() {
    let mut run = run(Naive::new());
    let refused = run.tell(&Rows::zeros(&[3, 2, 6])).unwrap_err();
    let mismatch = Error::ShapeMismatch {
        name: "model output",
        expected: SIZES.to_vec(),
        found: vec![3, 2, 6],
    };
    assert_eq!(refused, RunError::Sampler(mismatch));
    run.complete(model).unwrap();
    assert_eq!(
        run.state().values(),
        expected::<f64>(&stochastic(), NOISE, None).0
    );
    let finished = run.tell(&Rows::zeros(&SIZES)).unwrap_err();
    assert_eq!(finished, RunError::Sampler(Error::RunFinished { steps: 5 }));
    let finished = run.advance(model).unwrap_err();
    assert_eq!(finished, RunError::Sampler(Error::RunFinished { steps: 5 }));
}

#[test]
fn a_failure_of_the_library_comes_back_as_its_own_error_and_the_run_goes_on() {
    let end = expected::<f64>(&stochastic(), NOISE, None).0;
    for method in ["linear combination", "upload"] {
        for after in 0..3 {
            let mut run = run(Naive::new());
            run.ops().fails.set(Some((method, after)));
            let mut failures = 0;
            while !run.is_finished() {
                let step = run.step();
                match run.advance(model) {
                    Ok(()) => {}
                    Err(RunError::Tensor(error)) => {
                        assert_eq!(error, Broken(method));
                        assert_eq!(run.step(), step);
                        failures += 1;
                    }
                    Err(other) => panic!("{other}"),
                }
            }
            assert_eq!(failures, 1, "{method} {after}");
            assert_eq!(run.state().values(), end);
        }
    }
}

#[test]
fn a_failing_download_comes_back_too() {
    let guidance = Rescaled::new(ClassifierFree::with_scale(2.0).unwrap(), 0.7).unwrap();
    let mut guided = run(Naive::new());
    guided.ops().fails.set(Some(("download", 0)));
    let refused = guided.advance_guided(&guidance, |x, query| {
        Ok::<_, Infallible>(vec![model(x, query)?, x.clone()])
    });
    assert_eq!(refused, Err(RunError::Tensor(Broken("download"))));
    for (name, clip) in clips() {
        let sampler = stochastic().with_clip(clip);
        let like = Rows::zeros(&SIZES);
        let mut run = sampler
            .on(Naive::<f64>::new())
            .start(&like, NOISE, KeyedNoise::new(1))
            .unwrap();
        run.ops().fails.set(Some(("download", 0)));
        assert_eq!(
            run.advance(model),
            Err(RunError::Tensor(Broken("download"))),
            "{name}"
        );
    }
}

#[test]
fn a_start_that_fails_says_so() {
    for method in ["linear combination", "upload"] {
        let ops = Naive::<f64>::new();
        ops.fails.set(Some((method, 0)));
        let refused = stochastic()
            .on(ops)
            .start(&Rows::zeros(&SIZES), NOISE, KeyedNoise::new(1));
        assert_eq!(refused.unwrap_err(), RunError::Tensor(Broken(method)));
    }
    assert_eq!(
        RunError::<Infallible, _>::Tensor(Broken("it")).to_string(),
        "the tensor library failed: it is broken"
    );
}

#[test]
fn the_models_own_error_comes_back_and_the_run_can_go_on() {
    let mut run = run(Naive::new());
    let refused = run.advance(|_, _| Err::<Rows<f64>, _>("the network is gone"));
    assert_eq!(refused, Err(RunError::Denoiser("the network is gone")));
    run.complete(model).unwrap();
    assert_eq!(
        run.state().values(),
        expected::<f64>(&stochastic(), NOISE, None).0
    );
}

#[test]
fn values_that_are_not_finite_are_found_where_the_library_looks() {
    let poisoned = |x: &Rows<f64>, _: &diffusion_sampler::Query<'_>| {
        let mut output = x.clone();
        output.rows[1][3] = f64::NAN;
        Ok::<_, Infallible>(output)
    };
    let mut rows = run(Naive::overriding());
    let before = rows.state().clone();
    match rows.advance(poisoned).unwrap_err() {
        RunError::Sampler(Error::NonFinite {
            step: 0,
            sample: 1,
            element: 3,
            array: "model output",
            value,
        }) => assert!(value.is_nan()),
        other => panic!("{other}"),
    }
    assert_eq!(rows.state(), &before);
    rows.complete(model).unwrap();
    assert_eq!(
        rows.state().values(),
        expected::<f64>(&stochastic(), NOISE, None).0
    );
    // A library that does not look is not made to.
    assert!(run(Naive::new()).complete(poisoned).is_ok());
    // The kernel always looks.
    let like = Flat::<f64>::zeros(&SIZES).unwrap();
    let mut flat = stochastic()
        .on(FlatOps::new())
        .start(&like, NOISE, KeyedNoise::new(1))
        .unwrap();
    let refused = flat.advance(|x, _| {
        let mut output = x.clone();
        output.as_mut_slice()[17] = f64::INFINITY;
        Ok::<_, Infallible>(output)
    });
    let infinite = Error::NonFinite {
        step: 0,
        sample: 1,
        element: 3,
        array: "model output",
        value: f64::INFINITY,
    };
    assert_eq!(refused, Err(RunError::Sampler(infinite)));
}

#[test]
fn a_start_that_is_not_finite_is_refused() {
    let mut x = Rows::<f64>::zeros(&SIZES);
    x.rows[2][0] = f64::NEG_INFINITY;
    let refused = stochastic()
        .on(Naive::overriding())
        .start_from(x, NOISE, KeyedNoise::new(1));
    let start = Error::NonFiniteStart {
        array: "start state",
        sample: 2,
        element: 0,
        value: f64::NEG_INFINITY,
    };
    assert_eq!(refused.unwrap_err(), RunError::Sampler(start));
}

#[test]
fn a_snapshot_that_does_not_fit_is_refused() {
    let sampler = stochastic();
    let noise = KeyedNoise::new(11);
    let mut run = run(Naive::new());
    run.advance(model).unwrap();
    let stored = run.snapshot().unwrap();
    let resume = |edit: fn(&mut Snapshot<Rows<f64>>)| {
        let mut snapshot = stored.clone();
        edit(&mut snapshot);
        match sampler.on(Naive::new()).resume(snapshot, NOISE, noise) {
            Err(RunError::Sampler(error)) => error,
            other => panic!("{other:?}"),
        }
    };
    let found = stored.plan ^ 1;
    let error = resume(|snapshot| snapshot.plan ^= 1);
    assert!(matches!(error, Error::SnapshotOfAnotherPlan { found: f, .. } if f == found));
    let error = resume(|snapshot| snapshot.step = 9);
    assert!(matches!(
        error,
        Error::SnapshotMisplaced {
            step: 9,
            steps: 5,
            ..
        }
    ));
    let error = resume(|snapshot| snapshot.history.clear());
    assert!(matches!(
        error,
        Error::WrongLength {
            name: "history",
            found: 0,
            ..
        }
    ));
    let error = resume(|snapshot| snapshot.history[0] = Rows::zeros(&[1, 2, 7]));
    assert!(matches!(
        error,
        Error::ShapeMismatch {
            name: "history",
            ..
        }
    ));
    let error = resume(|snapshot| snapshot.memory = Some(Rows::zeros(&[3, 2, 1])));
    assert!(matches!(
        error,
        Error::ShapeMismatch {
            name: "guidance memory",
            ..
        }
    ));
}

#[test]
fn a_new_state_must_have_the_old_ones_shape() {
    let mut run = run(Naive::new());
    assert!(matches!(
        run.set_state(Rows::zeros(&[1, 2, 7])),
        Err(Error::ShapeMismatch { name: "state", .. })
    ));
    let other = Rows::new(&[0.25; 42], &SIZES);
    run.set_state(other.clone()).unwrap();
    assert_eq!(run.state(), &other);
}

#[test]
fn an_empty_batch_takes_its_steps_without_the_model() {
    for sizes in [[0, 2, 7], [3, 0, 7]] {
        let like = Flat::<f32>::zeros(&sizes).unwrap();
        let mut run = stochastic()
            .on(FlatOps::new())
            .start(&like, NOISE, KeyedNoise::new(1))
            .unwrap();
        run.complete(|_, _| -> Result<Flat<f32>, Error> { panic!("called") })
            .unwrap();
        assert!(run.is_finished());
        let like = Array2::<f32>::zeros((0, 4));
        let ops = ArrayOps::<f32, Ix2>::new();
        let mut run = stochastic()
            .on(ops)
            .start(&like, NOISE, KeyedNoise::new(1))
            .unwrap();
        run.complete(|_, _| -> Result<Array2<f32>, Error> { panic!("called") })
            .unwrap();
    }
}

#[test]
fn a_tensor_without_axes_has_no_samples() {
    let refused = stochastic().on(ArrayOps::<f32, Ix0>::new());
    let like = Array0::zeros(());
    let refused = refused.start(&like, NOISE, KeyedNoise::new(1)).unwrap_err();
    assert_eq!(refused, RunError::Sampler(Error::NoSampleAxis));
    let refused = stochastic().on(ArrayOps::<f32, Ix0>::new());
    let refused = refused
        .start_from(like, NOISE, KeyedNoise::new(1))
        .unwrap_err();
    assert_eq!(refused, RunError::Sampler(Error::NoSampleAxis));
}

#[test]
fn what_the_sampler_refuses_is_refused_before_anything_is_made() {
    // ε says nothing of x₀ where α = 0.
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)
        .unwrap()
        .zero_terminal_snr()
        .unwrap();
    let grid = Grid::trailing(&schedule, 4).unwrap();
    let sampler = Sampler::new(&schedule, &grid, &FirstOrder::ddim()).unwrap();
    let like = Rows::<f64>::zeros(&SIZES);
    let refused = sampler
        .on(Naive::new())
        .start(&like, NOISE, KeyedNoise::new(1))
        .unwrap_err();
    assert!(matches!(
        refused,
        RunError::Sampler(Error::PredictionUndefined { .. })
    ));
    // Given slots where the plan wants none.
    let flow = RectifiedFlow::new();
    let grid = Grid::trailing(&flow, 4).unwrap();
    let sampler = Sampler::new(&flow, &grid, &DpmSolverPlusPlus::new()).unwrap();
    let given = vec![like.clone()];
    let refused =
        sampler
            .on(Naive::new())
            .start_with(like, given, Prediction::Flow, KeyedNoise::new(1));
    let length = Error::WrongLength {
        name: "given history slots",
        expected: 0,
        found: 1,
    };
    assert_eq!(refused.unwrap_err(), RunError::Sampler(length));
}

#[test]
fn linear_combinations_of_our_own_tensors_are_checked() {
    let (a, b) = (
        Flat::new(vec![1.0f32, 2.0], &[2, 1]).unwrap(),
        Flat::zeros(&[1, 2]).unwrap(),
    );
    let ops = FlatOps::<f32>::new();
    let one = Scale::Same(1.0);
    assert_eq!(
        ops.linear_combination(&[]),
        Err(Error::EmptyList { name: "terms" })
    );
    let refused = ops.linear_combination(&[(one, &a), (one, &b)]);
    assert!(matches!(
        refused,
        Err(Error::ShapeMismatch { name: "term", .. })
    ));
    let refused = ops.linear_combination(&[(Scale::PerSample(&[1.0]), &a)]);
    assert!(matches!(
        refused,
        Err(Error::WrongLength {
            expected: 2,
            found: 1,
            ..
        })
    ));
    let refused = ops.linear_combination(&[(Scale::Same(1e300), &a)]);
    assert!(matches!(
        refused,
        Err(Error::InvalidParameter { value: 1e300, .. })
    ));
    // More terms than one pass of the kernel takes, in order.
    let terms = vec![(Scale::PerSample(&[0.5, -1.0]), &a); 40];
    let sum = ops.linear_combination(&terms).unwrap();
    assert_eq!(sum.as_slice(), [20.0, -80.0]);
    let (ops, a) = (ArrayOps::<f64, Ix2>::new(), ndarray::array![[1.0], [2.0]]);
    let terms = vec![(Scale::PerSample(&[0.5, -1.0]), &a); 40];
    assert_eq!(
        ops.linear_combination(&terms).unwrap(),
        ndarray::array![[20.0], [-80.0]]
    );
    assert_eq!(
        ops.linear_combination(&[]),
        Err(Error::EmptyList { name: "terms" })
    );
}

#[test]
fn a_snapshot_on_the_host_goes_to_tensors_of_its_shape_only() {
    let mut run = run(Naive::new());
    run.advance(model).unwrap();
    let stored = run.snapshot_on_host().unwrap();
    let resume = |like: &Rows<f64>, ops: Naive<f64>| {
        let noise = KeyedNoise::new(11);
        stochastic()
            .on(ops)
            .resume_from_host(stored.clone(), like, NOISE, noise)
    };
    let like = Rows::zeros(&SIZES);
    let mut resumed = resume(&like, Naive::new()).unwrap();
    resumed.complete(model).unwrap();
    run.complete(model).unwrap();
    assert_eq!(resumed.state(), run.state());
    let refused = resume(&Rows::zeros(&[3, 7, 2]), Naive::new()).unwrap_err();
    let mismatch = Error::ShapeMismatch {
        name: "snapshot",
        expected: vec![3, 7, 2],
        found: SIZES.to_vec(),
    };
    assert_eq!(refused, RunError::Sampler(mismatch));
    let ops = Naive::new();
    ops.fails.set(Some(("upload", 1)));
    let refused = resume(&like, ops).unwrap_err();
    assert_eq!(refused, RunError::Tensor(Broken("upload")));
    run.ops().fails.set(Some(("download", 0)));
    let refused = run.snapshot_on_host().unwrap_err();
    assert_eq!(refused, RunError::Tensor(Broken("download")));
}

/// Noise for the steps of a run and not for its start.
#[derive(Debug)]
struct ForSteps;

impl NoiseSource<f64> for ForSteps {
    fn fill(&mut self, _: NoiseKey, _: u64, out: &mut [f64]) {
        out.fill(0.5);
    }

    fn check(&self, demand: &Demand<'_>) -> Result<(), Error> {
        match demand.stream {
            Stream::Start => Err(Error::EmptyList { name: "starts" }),
            _ => Ok(()),
        }
    }
}

#[test]
fn a_start_for_which_there_is_no_noise_is_refused() {
    let like = Rows::zeros(&SIZES);
    let refused = stochastic().on(Naive::new()).start(&like, NOISE, ForSteps);
    let error = Error::EmptyList { name: "starts" };
    assert_eq!(refused.unwrap_err(), RunError::Sampler(error));
    let run = stochastic()
        .on(Naive::new())
        .start_from(like, NOISE, ForSteps);
    assert!(run.is_ok());
}

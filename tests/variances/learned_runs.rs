//! Runs of a network that gives the variance beside its prediction.

use diffusion_sampler::{
    Error, Grid, KeyedNoise, Prediction, RunError, Sampler,
    denoiser::{Guided, from_query_fn, split_channels},
    guidance::ClassifierFree,
    noise::{LearnedNoise, NoiseKey, NoiseSource, PerSample, Stream},
    schedule::TableSchedule,
    solver::{DpmSolverPlusPlus, FirstOrder, Heun, Solver},
};
use ndarray::{Array2, Array3, ArrayRef, Axis, Ix2, array, concatenate};

use crate::common::{Outcome, linear};

const ELEMENTS: usize = 3;

/// A made-up network: a prediction of ε and an f in (−1, 1) that depend on state and level.
fn network(x: f64, sigma: f64) -> (f64, f64) {
    ((sigma * x).sin() + 0.1 * x, (1.7 * x - sigma).tanh())
}

fn two_heads() -> impl diffusion_sampler::Denoiser<f64, Ix2, Error = Error> {
    from_query_fn::<f64, Ix2, Error>(Prediction::Noise, 2, |x, query, out| {
        // The network returns both along its channels.
        let parts =
            |part: fn((f64, f64)) -> f64| x.mapv(|x| part(network(x, query.level().sigma())));
        let (noise, f) = (parts(|heads| heads.0), parts(|heads| heads.1));
        let result: Array2<f64> = concatenate![Axis(1), noise, f];
        split_channels(&result, out)
    })
}

fn sampler(solver: &dyn Solver, steps: usize) -> Result<Sampler, Error> {
    let schedule = linear()?;
    Sampler::new(&schedule, &Grid::trailing(&schedule, steps)?, solver)
}

type Run = diffusion_sampler::Trajectory<f64, Ix2, LearnedNoise<f64>>;

fn start(sampler: &Sampler, samples: usize, seed: u64) -> Result<Run, Error> {
    let noise = LearnedNoise::new(KeyedNoise::new(seed));
    sampler.start((samples, ELEMENTS), Prediction::Noise, noise)
}

/// guided-diffusion's p_sample_loop on its respaced betas, written out for one element at a time,
/// with this crate's normals.
fn published(
    steps: usize,
    samples: usize,
    seed: u64,
) -> Result<Array2<f64>, Box<dyn std::error::Error>> {
    let mut acp = Vec::new();
    let mut product = 1.0;
    for i in 0..1000 {
        product *= 1.0 - (1e-4 + (0.02 - 1e-4) * f64::from(i) / 999.0);
        acp.push(product);
    }
    let used: Vec<usize> = (1..=steps).map(|k| 1000 * k / steps - 1).collect();
    let mut source = KeyedNoise::new(seed);
    let mut x = Array2::<f64>::zeros((samples, ELEMENTS));
    let slice = x.as_slice_mut().ok_or("no slice")?;
    source.fill_batch(NoiseKey::new(0, 0, Stream::Start), samples, slice)?;
    for (step, index) in (0..steps).rev().enumerate() {
        let (abar, before) = (
            acp[used[index]],
            if index > 0 { acp[used[index - 1]] } else { 1.0 },
        );
        let beta = 1.0 - abar / before;
        let posterior = beta * (1.0 - before) / (1.0 - abar);
        let mut z = vec![0.0; samples * ELEMENTS];
        let key = NoiseKey::new(0, step as u32, Stream::Step(0));
        NoiseSource::fill_batch(&mut source, key, samples, &mut z)?;
        for (x, z) in x.iter_mut().zip(z) {
            let (eps, f) = network(*x, (1.0 - abar).sqrt());
            let xstart = *x / abar.sqrt() - (1.0 / abar - 1.0).sqrt() * eps;
            let mean = beta * before.sqrt() / (1.0 - abar) * xstart
                + (1.0 - before) * (1.0 - beta).sqrt() / (1.0 - abar) * *x;
            let frac = (f + 1.0) / 2.0;
            let log_variance = frac * beta.ln() + (1.0 - frac) * posterior.ln();
            let noise = if index > 0 {
                (0.5 * log_variance).exp() * z
            } else {
                0.0
            };
            *x = mean + noise;
        }
    }
    Ok(x)
}

#[test]
fn a_run_is_the_published_loop() -> Outcome {
    for steps in [5, 50] {
        let sampler = sampler(&FirstOrder::ddpm(), steps)?;
        let mut run = start(&sampler, 4, 21)?;
        run.complete_learned(&mut two_heads())?;
        let expected = published(steps, 4, 21)?;
        let misses = run
            .state()
            .iter()
            .zip(&expected)
            .map(|(a, b)| (a - b).abs());
        let largest = misses.fold(0.0, f64::max);
        let size = expected.iter().map(|x| x.abs()).fold(0.0, f64::max);
        assert!(largest < 1e-9 * size, "{steps} steps: {largest} of {size}");
    }
    Ok(())
}

#[test]
fn told_and_completed_runs_are_the_same() -> Outcome {
    let sampler = sampler(&FirstOrder::ddpm(), 6)?;
    let (mut completed, mut told) = (start(&sampler, 3, 2)?, start(&sampler, 3, 2)?);
    completed.complete_learned(&mut two_heads())?;
    while let Some(question) = told.ask()? {
        let sigma = question.level().sigma();
        let (noise, f) = (
            question.x.mapv(|x| network(x, sigma).0),
            question.x.mapv(|x| network(x, sigma).1),
        );
        told.tell_learned(&noise, &f)?;
    }
    assert_eq!(completed.state(), told.state());
    // A clone in the middle goes on alike.
    let mut first = start(&sampler, 3, 2)?;
    first.advance_learned(&mut two_heads())?;
    let mut second = first.clone();
    first.complete_learned(&mut two_heads())?;
    second.complete_learned(&mut two_heads())?;
    assert_eq!(first.state(), completed.state());
    assert_eq!(second.state(), completed.state());
    Ok(())
}

#[test]
fn constant_outputs_are_fixed_small_and_fixed_large() -> Outcome {
    use diffusion_sampler::posterior::ReverseVariance;
    for (f, policy) in [
        (-1.0, ReverseVariance::Posterior),
        (1.0, ReverseVariance::FixedLarge),
    ] {
        let plain = sampler(&FirstOrder::ddpm().with_reverse_variance(policy), 8)?;
        let mut expected =
            plain.start::<f64, _, _>((2, 3), Prediction::Noise, KeyedNoise::new(6))?;
        let mut model =
            from_query_fn::<f64, Ix2, Error>(Prediction::Noise, 2, move |x, query, out| {
                let heads = out.len() / x.len();
                for (head, mut part) in out.axis_chunks_iter_mut(Axis(0), x.nrows()).enumerate() {
                    part.assign(&x.mapv(|x| {
                        if head == 0 {
                            query.level().sigma() * x
                        } else {
                            f
                        }
                    }));
                }
                assert!(heads <= 2);
                Ok(())
            });
        expected.complete(&mut model)?;
        let mut run = start(&sampler(&FirstOrder::ddpm(), 8)?, 2, 6)?;
        run.complete_learned(&mut model)?;
        for (found, expected) in run.state().iter().zip(expected.state()) {
            assert!((found - expected).abs() < 1e-13 * expected.abs().max(1.0));
        }
    }
    Ok(())
}

#[test]
fn a_sample_is_the_same_in_any_batch() -> Outcome {
    let sampler = sampler(&FirstOrder::ddpm(), 5)?;
    let mut seven = start(&sampler, 7, 3)?;
    seven.complete_learned(&mut two_heads())?;
    for row in 0..7 {
        let noise = LearnedNoise::new(KeyedNoise::new(3).with_first_sample(row as u64)?);
        let mut alone = sampler.start::<f64, _, _>((1, ELEMENTS), Prediction::Noise, noise)?;
        alone.complete_learned(&mut two_heads())?;
        assert_eq!(alone.state().row(0), seven.state().row(row));
    }
    let batch = LearnedNoise::new(PerSample::of([KeyedNoise::new(9), KeyedNoise::new(3)]));
    let mut run = sampler.start::<f64, _, _>((2, ELEMENTS), Prediction::Noise, batch)?;
    run.complete_learned(&mut two_heads())?;
    assert_eq!(run.state().row(1), seven.state().row(0));
    Ok(())
}

#[test]
fn a_guided_run_takes_f_before_its_outputs() -> Outcome {
    let sampler = sampler(&FirstOrder::ddpm(), 4)?;
    let guidance = ClassifierFree::with_scale(3.0)?;
    let f = Array2::from_elem((2, ELEMENTS), 0.25f64);
    let mut guided = start(&sampler, 2, 5)?;
    let mut by_hand = start(&sampler, 2, 5)?;
    while let Some(question) = guided.ask_guided(&guidance)? {
        let outputs = [question.x.mapv(f64::sin), question.x.mapv(|x| 0.5 * x)];
        let combined = &outputs[1] + 3.0 * (&outputs[0] - &outputs[1]);
        guided.interpolate(&f)?;
        let told: Vec<_> = outputs.iter().map(|output| &**output).collect();
        guided.tell_guided(&guidance, &told)?;
        assert!(by_hand.ask()?.is_some());
        by_hand.tell_learned(&combined, &f)?;
    }
    for (a, b) in guided.state().iter().zip(by_hand.state()) {
        assert!((a - b).abs() < 1e-12 * b.abs().max(1.0));
    }
    Ok(())
}

#[test]
fn a_step_without_a_variance_stops_the_run() -> Outcome {
    let sampler = sampler(&FirstOrder::ddpm(), 3)?;
    let mut run = start(&sampler, 2, 5)?;
    let output = Array2::<f64>::zeros((2, ELEMENTS));
    assert!(matches!(
        run.tell(&output),
        Err(Error::NonFinite { step: 0, .. })
    ));
    // That of an earlier step does not serve.
    let mut run = start(&sampler, 2, 5)?;
    run.tell_learned(&output, &output)?;
    assert!(matches!(
        run.tell(&output),
        Err(Error::NonFinite { step: 1, .. })
    ));
    Ok(())
}

#[test]
fn what_cannot_be_interpolated_is_refused_and_leaves_the_run_as_it_was() -> Outcome {
    let plain = sampler(&FirstOrder::ddpm(), 3)?;
    let mut run = start(&plain, 2, 5)?;
    let before = run.state().to_owned();
    let output = Array2::<f64>::zeros((2, ELEMENTS));
    let mut f = output.clone();
    f[[1, 2]] = f64::NAN;
    let refused = run.tell_learned(&output, &f);
    assert!(matches!(
        refused,
        Err(Error::NonFinite {
            step: 0,
            sample: 1,
            element: 2,
            array: "variance output",
            ..
        })
    ));
    let refused = run.tell_learned(&output, &array![[0.0f64]]);
    assert!(matches!(
        refused,
        Err(Error::ShapeMismatch {
            name: "variance output",
            ..
        })
    ));
    assert_eq!((run.step(), run.state()), (0, &*before));

    let mut deterministic = start(&sampler(&FirstOrder::ddim(), 3)?, 2, 5)?;
    let refused = deterministic.tell_learned(&output, &output);
    assert!(matches!(
        refused,
        Err(Error::DeterministicLikelihood { .. })
    ));
    let mut stages = start(&sampler(&Heun::new(), 3)?, 2, 5)?;
    let refused = stages.tell_learned(&output, &output);
    assert!(matches!(
        refused,
        Err(Error::StageCount {
            step: 0,
            found: 2,
            max: 1
        })
    ));

    while run.ask()?.is_some() {
        run.tell_learned(&output, &output)?;
    }
    assert!(matches!(
        run.interpolate(&output),
        Err(Error::RunFinished { steps: 3 })
    ));
    Ok(())
}

#[test]
fn models_that_do_not_fit_are_refused() -> Outcome {
    let sampler = sampler(&FirstOrder::ddpm(), 3)?;
    let mut one =
        diffusion_sampler::from_fn::<f64, Ix2>(Prediction::Noise, |_, _, out| out.fill(0.0));
    let refused = start(&sampler, 2, 5)?.advance_learned(&mut one);
    let expected = Error::TooFewOutputs {
        guidance: "learned variance",
        wanted: 2,
        found: 1,
    };
    assert!(matches!(refused, Err(RunError::Sampler(error)) if error == expected));
    let mut guided = Guided::new(two_heads(), ClassifierFree::with_scale(2.0)?);
    let refused = start(&sampler, 2, 5)?.advance_learned(&mut guided);
    assert!(matches!(
        refused,
        Err(RunError::Sampler(Error::NestedGuidance { .. }))
    ));
    let mut other = from_query_fn::<f64, Ix2, Error>(Prediction::Data, 2, |_, _, _| Ok(()));
    let refused = start(&sampler, 2, 5)?.advance_learned(&mut other);
    assert!(matches!(
        refused,
        Err(RunError::Sampler(Error::PredictionMismatch { .. }))
    ));
    // Halves that the model forgets.
    for forgotten in 0..2 {
        let mut half = from_query_fn::<f64, Ix2, Error>(Prediction::Noise, 2, move |x, _, out| {
            let kept: &mut ArrayRef<f64, Ix2> = out;
            let mut parts = kept.axis_chunks_iter_mut(Axis(0), x.nrows());
            if let Some(mut part) = parts.nth(1 - forgotten) {
                part.fill(0.0);
            }
            Ok(())
        });
        let refused = start(&sampler, 2, 5)?.advance_learned(&mut half);
        let Err(RunError::Sampler(Error::OutputNotWritten { output, .. })) = refused else {
            return Err(format!("{refused:?}").into());
        };
        assert_eq!(output, forgotten);
    }
    Ok(())
}

#[test]
fn an_empty_batch_takes_its_steps_and_a_multistep_solver_of_one_stage_does_too() -> Outcome {
    let mut empty = start(&sampler(&FirstOrder::ddpm(), 3)?, 0, 5)?;
    empty.complete_learned(&mut two_heads())?;
    assert!(empty.is_finished());
    // Its noise is that of DDPM's γ, and so is the lower end.
    let mut run = start(&sampler(&DpmSolverPlusPlus::sde(), 6)?, 2, 5)?;
    run.complete_learned(&mut two_heads())?;
    assert!(run.state().iter().all(|x| x.is_finite()));
    Ok(())
}

#[test]
fn channels_become_outputs() -> Outcome {
    let network = Array3::from_shape_fn((2, 4, 3), |(b, c, w)| (100 * b + 10 * c + w) as f64);
    let mut out = Array3::zeros((4, 2, 3));
    split_channels(&network, &mut out)?;
    for ((row, channel, w), value) in out.indexed_iter() {
        let (output, sample) = (row / 2, row % 2);
        assert_eq!(
            *value,
            (100 * sample + 10 * (2 * output + channel) + w) as f64
        );
    }
    let refused = split_channels(&network, &mut Array3::zeros((4, 3, 3)));
    assert!(matches!(refused, Err(Error::ShapeMismatch { .. })));
    let refused = split_channels(&array![1.0], &mut array![1.0, 2.0]);
    assert!(matches!(
        refused,
        Err(Error::WrongAxis { axis: 1, axes: 1 })
    ));
    let _ = TableSchedule::cosine(10)?;
    Ok(())
}

#[test]
fn a_run_on_tensors_is_the_same_run() -> Outcome {
    use diffusion_sampler::tensor::{Flat, FlatOps};
    let sampler = sampler(&FirstOrder::ddpm(), 6)?;
    let mut expected = start(&sampler, 3, 2)?;
    expected.complete_learned(&mut two_heads())?;
    let like = Flat::<f64>::zeros(&[3, ELEMENTS])?;
    let noise = LearnedNoise::new(KeyedNoise::new(2));
    let mut run = sampler
        .on(FlatOps::new())
        .start(&like, Prediction::Noise, noise)?;
    let mut broken = vec![0.0; 3 * ELEMENTS];
    broken[4] = f64::NAN;
    let refused = run.interpolate(&Flat::new(broken, &[3, ELEMENTS])?);
    let named = matches!(
        refused,
        Err(RunError::Sampler(Error::NonFinite {
            step: 0,
            sample: 1,
            element: 1,
            ..
        }))
    );
    assert!(named);
    assert!(run.interpolate(&Flat::zeros(&[3, 1])?).is_err());
    while let Some(question) = run.ask()? {
        let sigma = question.level().sigma();
        let x = question.x.as_slice();
        let noise = x.iter().map(|&x| network(x, sigma).0).collect();
        let f = x.iter().map(|&x| network(x, sigma).1).collect();
        let shape = [3, ELEMENTS];
        let (noise, f) = (Flat::new(noise, &shape)?, Flat::new(f, &shape)?);
        run.interpolate(&f)?;
        run.tell(&noise)?;
    }
    let values: Vec<f64> = expected.state().iter().copied().collect();
    assert_eq!(run.state().as_slice(), values);
    Ok(())
}

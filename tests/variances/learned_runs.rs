//! Runs of a network that gives the variance beside its prediction.

use diffusion_sampler::{
    Error, Grid, KeyedNoise, Prediction, Sampler,
    denoiser::from_query_fn,
    guidance::ClassifierFree,
    noise::{LearnedNoise, NoiseKey, NoiseSource, PerSample, Stream},
    posterior::{Kappa, StridedPosterior},
    schedule::RectifiedFlow,
    solver::{DpmSolverPlusPlus, FirstOrder},
};
use ndarray::{Array2, Axis, Ix2};

use crate::common::{Outcome, linear};
use crate::two_heads::{ELEMENTS, network, sampler, start, two_heads};

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
fn a_run_is_restarted_after_a_step_of_a_network_without_a_variance() -> Outcome {
    let sampler = sampler(&FirstOrder::ddpm(), 6)?;
    let (mut expected, mut run) = (start(&sampler, 3, 2)?, start(&sampler, 3, 2)?);
    expected.complete_learned(&mut two_heads())?;
    // Onto the clean end there is no noise; the buffer has room for one output then.
    let mut one =
        diffusion_sampler::from_fn::<f64, Ix2>(Prediction::Noise, |_, _, out| out.fill(0.0));
    for _ in 0..5 {
        run.advance_learned(&mut two_heads())?;
    }
    run.advance(&mut one)?;
    run.restart(LearnedNoise::new(KeyedNoise::new(2)))?;
    run.complete_learned(&mut two_heads())?;
    assert_eq!(run.state(), expected.state());
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
fn a_run_is_resumed_and_restarted_to_the_bit() -> Outcome {
    let sampler = sampler(&FirstOrder::ddpm(), 6)?;
    let mut whole = start(&sampler, 3, 2)?;
    whole.complete_learned(&mut two_heads())?;
    let mut first = start(&sampler, 3, 2)?;
    for _ in 0..3 {
        first.advance_learned(&mut two_heads())?;
    }
    let noise = || LearnedNoise::new(KeyedNoise::new(2));
    let mut resumed = sampler.resume(first.snapshot().unwrap(), Prediction::Noise, noise())?;
    resumed.complete_learned(&mut two_heads())?;
    assert_eq!(resumed.state(), whole.state());
    // Nothing of the run before is left.
    first.restart(noise())?;
    first.complete_learned(&mut two_heads())?;
    assert_eq!(first.state(), whole.state());
    Ok(())
}

#[test]
fn pure_noise_is_a_start_like_any_other() -> Outcome {
    // α = 0: γ = σ_s and β = σ_t² = 1, so that f = 1 adds z itself.
    let schedule = linear()?.zero_terminal_snr()?;
    let grid = Grid::from_times(&schedule, &[1000.0, 400.0, 0.0])?;
    let sampler = Sampler::new(&schedule, &grid, &FirstOrder::ddpm())?;
    let noise = LearnedNoise::new(KeyedNoise::new(4));
    let mut run = sampler.start::<f64, _, _>((2, 3), Prediction::Velocity, noise)?;
    let (zeros, one) = (Array2::zeros((2, 3)), Array2::from_elem((2, 3), 1.0));
    // v = αE − σD is −D here: D = 0.
    run.tell_learned(&zeros, &one)?;
    let mut z = vec![0.0; 6];
    let key = NoiseKey::new(0, 0, Stream::Step(0));
    NoiseSource::<f64>::fill_batch(&mut KeyedNoise::new(4), key, 2, &mut z)?;
    for (found, z) in run.state().iter().zip(z) {
        assert!((found - z).abs() < 1e-14 * z.abs(), "{found} and {z}");
    }
    Ok(())
}

#[test]
fn on_a_flow_f_is_between_the_forward_variance_of_its_own_scale_and_the_posteriors() -> Outcome {
    // β by Bayes in the scale in which α² + σ² = 1, times the target's scale.
    let flow = RectifiedFlow::new();
    let grid = Grid::from_times(&flow, &[0.9, 0.5, 0.0])?;
    let sampler = Sampler::new(&flow, &grid, &FirstOrder::ddpm())?;
    let noise = LearnedNoise::new(KeyedNoise::new(4));
    let mut run = sampler.start::<f64, _, _>((2, 3), Prediction::Data, noise)?;
    let before = run.state().to_owned();
    let f = Array2::from_elem((2, 3), 0.4);
    run.tell_learned(&Array2::zeros((2, 3)), &f)?;
    let (alpha_t, sigma_t, alpha_s, sigma_s) = (0.1f64, 0.9f64, 0.5f64, 0.5f64);
    let (n_t, n_s) = (alpha_t.hypot(sigma_t), alpha_s.hypot(sigma_s));
    let ratio = (alpha_t / n_t) / (alpha_s / n_s);
    let beta = n_s * n_s * (1.0 - ratio * ratio);
    let r = sigma_s * alpha_t / (sigma_t * alpha_s);
    let gamma2 = sigma_s * sigma_s * (1.0 - r * r);
    let v = beta.powf(0.7) * gamma2.powf(0.3);
    let mut z = vec![0.0; 6];
    let key = NoiseKey::new(0, 0, Stream::Step(0));
    NoiseSource::<f64>::fill_batch(&mut KeyedNoise::new(4), key, 2, &mut z)?;
    for ((found, x), z) in run.state().iter().zip(&before).zip(z) {
        let expected = r * sigma_s / sigma_t * x + v.sqrt() * z;
        assert!((found - expected).abs() < 1e-13, "{found} and {expected}");
    }
    Ok(())
}

#[test]
fn every_element_of_a_long_sample_has_its_own_variance() -> Outcome {
    // Longer than the pieces in which a kernel draws.
    const LONG: usize = 5003;
    let schedule = linear()?;
    let grid = Grid::from_times(&schedule, &[800.0, 400.0, 0.0])?;
    let sampler = Sampler::new(&schedule, &grid, &FirstOrder::ddpm())?;
    let noise = LearnedNoise::new(KeyedNoise::new(4));
    let x = Array2::<f64>::zeros((2, LONG));
    let mut run = sampler.start_from(x.clone(), Prediction::Data, noise)?;
    let f = Array2::from_shape_fn((2, LONG), |(b, i)| ((i + 7 * b) % 21) as f64 / 10.0 - 1.0);
    run.tell_learned(&x, &f)?;
    let q = StridedPosterior::new(grid.start(), grid.levels()[1], Kappa::Ddpm)?;
    let mut z = vec![0.0; 2 * LONG];
    let key = NoiseKey::new(0, 0, Stream::Step(0));
    NoiseSource::<f64>::fill_batch(&mut KeyedNoise::new(4), key, 2, &mut z)?;
    for ((found, f), z) in run.state().iter().zip(&f).zip(z) {
        let expected = q.learned_variance(*f)?.sqrt() * z;
        assert!((found - expected).abs() <= 1e-14 * z.abs());
    }
    Ok(())
}

#[test]
fn the_model_is_asked_for_two_outputs() -> Outcome {
    let sampler = sampler(&FirstOrder::ddpm(), 3)?;
    let mut asked = Vec::new();
    let mut model = from_query_fn::<f64, Ix2, Error>(Prediction::Noise, 2, |_, query, out| {
        asked.push(query.outputs());
        out.fill(0.0);
        Ok(())
    });
    start(&sampler, 2, 5)?.complete_learned(&mut model)?;
    drop(model);
    assert_eq!(asked, [2, 2, 2]);
    Ok(())
}

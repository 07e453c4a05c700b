//! A run draws torch's tensors one after the other, in torch's order.

use diffusion_sampler::{
    noise::{NoiseKey, NoiseSource, Stream, TorchCpu, TorchCuda, TorchNoise},
    solver::{DpmSolverPlusPlus, FirstOrder, SaSolver, Solver},
    tensor::{Flat, FlatOps},
};
use ndarray::{Array2, s};

use crate::common::{KIND, model, randn, sampler, samples};

/// Shorter than a block, of whole blocks and not; longer than the pieces in which a run asks.
const BATCHES: [(usize, usize); 6] = [(1, 3), (3, 5), (5, 3), (2, 16), (3, 33), (2, 2500)];

/// Batches that were drawn beforehand: x_T, then one for each step.
#[derive(Clone)]
struct Replayed(Vec<Array2<f32>>);

impl Replayed {
    /// Successive `torch.randn(batch)` of one generator.
    fn of_torch((samples, elements): (usize, usize), mut generator: TorchCpu) -> Self {
        let mut batch = || {
            let tensor = randn(&mut generator, samples * elements);
            Array2::from_shape_vec((samples, elements), tensor).unwrap()
        };
        Self((0..7).map(|_| batch()).collect())
    }
}

impl NoiseSource<f32> for Replayed {
    fn fill(&mut self, key: NoiseKey, first: u64, out: &mut [f32]) {
        let tensor = match key.stream {
            Stream::Start => 0,
            Stream::Step(0) => key.step as usize + 1,
            other => panic!("no solver here draws for {other:?}"),
        };
        let piece = first as usize..first as usize + out.len();
        let row = self.0[tensor].slice(s![key.row as usize, piece]);
        out.copy_from_slice(row.as_slice().unwrap());
    }
}

fn solvers() -> [(&'static str, Box<dyn Solver>); 3] {
    [
        ("DDPM", Box::new(FirstOrder::ddpm())),
        ("Euler, ancestral", Box::new(FirstOrder::ancestral())),
        ("DPM-Solver++, SDE", Box::new(DpmSolverPlusPlus::sde())),
    ]
}

#[test]
fn a_run_draws_successive_tensors_of_the_whole_batch() {
    for (name, solver) in solvers() {
        let sampler = sampler(&*solver);
        for batch in BATCHES {
            let shape = [batch.0, batch.1];
            let noise = TorchNoise::new(TorchCpu::new(42), &shape).unwrap();
            let expected = samples(
                &sampler,
                batch,
                Replayed::of_torch(batch, TorchCpu::new(42)),
            );
            assert_eq!(
                samples(&sampler, batch, noise),
                expected,
                "{name}, {batch:?}"
            );
        }
    }
}

#[test]
fn a_run_on_tensors_draws_the_same() {
    let sampler = sampler(&FirstOrder::ddpm());
    for batch in BATCHES {
        let shape = [batch.0, batch.1];
        let mut noise = TorchNoise::new(TorchCpu::new(42), &shape).unwrap();
        let expected = samples(&sampler, batch, noise.clone());
        let like = Flat::<f32>::zeros(&shape).unwrap();
        let run = sampler.on(FlatOps::new());
        let mut run = run.start(&like, KIND, &mut noise).unwrap();
        let deviation = sampler.start_variance().sqrt() as f32;
        let start = randn::<f32>(&mut TorchCpu::new(42), batch.0 * batch.1);
        let state = run.state().as_slice();
        assert!(state.iter().zip(&start).all(|(x, z)| *x == deviation * z));
        while let Some(question) = run.ask().unwrap() {
            // The model of `samples`: E of N(¼, ½) at this level.
            let (alpha, sigma) = (question.level().alpha(), question.level().sigma());
            let variance = 0.5 * alpha * alpha + sigma * sigma;
            let epsilon = |x: &f32| (sigma * (f64::from(*x) - 0.25 * alpha) / variance) as f32;
            let values = question.x.as_slice().iter().map(epsilon).collect();
            run.tell(&Flat::new(values, &shape).unwrap()).unwrap();
        }
        let close = |(x, y): (&f32, &f32)| (x - y).abs() < 1e-4;
        assert!(run.state().as_slice().iter().zip(&expected).all(close));
        drop(run);
        // x_T and five of six steps.
        let mut generator = TorchCpu::new(42);
        (0..6).for_each(|_| drop(randn::<f32>(&mut generator, batch.0 * batch.1)));
        assert_eq!(noise.generators().next(), Some(&generator));
    }
}

/// A list of generators, as diffusers takes it: each sample as if it were alone.
#[test]
fn a_sample_with_its_own_generator_comes_out_as_alone() {
    let sampler = sampler(&FirstOrder::ddpm());
    for batch in BATCHES {
        let seeds = [3, 1 << 40, 5, 7, 11];
        let generators = seeds.iter().take(batch.0).map(|&seed| TorchCpu::new(seed));
        let shape = [batch.0, batch.1];
        let noise = TorchNoise::per_sample(generators.clone(), &shape).unwrap();
        let together = samples(&sampler, batch, noise);
        for (row, generator) in generators.enumerate() {
            let alone = TorchNoise::new(generator, &[1, batch.1]).unwrap();
            let alone = samples(&sampler, (1, batch.1), alone);
            assert_eq!(together.row(row), alone.row(0), "{batch:?}");
        }
    }
}

/// Noise on the steps in the middle only, from a library that draws at every step.
#[test]
fn tensors_of_steps_without_noise_are_dropped_on_request() {
    let solver = SaSolver::new(2, 2, 1.0)
        .unwrap()
        .within_rho(0.5, 3.0)
        .unwrap();
    let sampler = sampler(&solver);
    let noisy = |step: &diffusion_sampler::plan::Step| {
        step.stages.iter().any(|stage| stage.update.noise != 0.0)
    };
    let noisy: Vec<bool> = sampler.plan().steps().iter().map(noisy).collect();
    assert!(!noisy[0] && noisy.iter().any(|noisy| *noisy), "{noisy:?}");
    for batch in BATCHES {
        let noise = TorchNoise::new(TorchCpu::new(6), &[batch.0, batch.1]).unwrap();
        let expected = samples(&sampler, batch, Replayed::of_torch(batch, TorchCpu::new(6)));
        let every = samples(&sampler, batch, noise.clone().at_every_step());
        assert_eq!(every, expected, "{batch:?}");
        assert_ne!(samples(&sampler, batch, noise), expected, "{batch:?}");
    }
}

/// Noise of the caller's between two steps, and a run that begins with a state, as image to image
/// does: neither moves the steps that a library draws at.
#[test]
fn at_every_step_other_noise_is_one_tensor_more_and_a_second_run_begins_at_its_first_step() {
    let mut noise = TorchNoise::new(TorchCpu::new(6), &[3, 5])
        .unwrap()
        .at_every_step();
    let mut generator = TorchCpu::new(6);
    let tensors: Vec<Vec<f32>> = (0..11).map(|_| randn(&mut generator, 15)).collect();
    let draws = [
        (0, Stream::Start, 0),
        (2, Stream::Step(0), 3),
        (2, Stream::Forward, 4),
        (2, Stream::User(1), 5),
        (4, Stream::Step(0), 7),
        (2, Stream::Step(0), 10),
    ];
    for (step, stream, tensor) in draws {
        let mut batch = [0.0f32; 15];
        let key = NoiseKey::new(0, step, stream);
        noise.fill_batch(key, 3, &mut batch).unwrap();
        assert_eq!(batch[..], tensors[tensor], "{step} {stream:?}");
    }
}

/// The snapshot holds the run, the source the generator's state.
#[test]
fn a_run_resumed_with_a_copy_of_its_source_goes_on_to_the_same_bits() {
    let sampler = sampler(&FirstOrder::ddpm());
    for batch in BATCHES {
        let noise = TorchNoise::new(TorchCpu::new(8), &[batch.0, batch.1]).unwrap();
        let whole = samples(&sampler, batch, noise.clone());
        for steps in 0..6 {
            let mut noise = noise.clone();
            let mut run = sampler.start(batch, KIND, &mut noise).unwrap();
            for _ in 0..steps {
                run.advance(&mut model(batch.1))
                    .map_err(|_| "a step failed")
                    .unwrap();
            }
            let snapshot = run.snapshot().unwrap();
            drop(run);
            let mut resumed = sampler.resume(snapshot, KIND, noise).unwrap();
            resumed
                .complete(&mut model(batch.1))
                .map_err(|_| "the run failed")
                .unwrap();
            assert_eq!(resumed.state(), &whole);
        }
    }
}

/// The source of a run that is over makes another's, as one generator does for several calls of a
/// pipeline: after the tensor that ancestral schedulers draw for the last step.
#[test]
fn a_second_run_goes_on_where_the_first_ended() {
    let (sampler, batch) = (sampler(&FirstOrder::ddpm()), (3, 5));
    let mut noise = TorchNoise::new(TorchCpu::new(8), &[3, 5]).unwrap();
    let first = samples(&sampler, batch, &mut noise);
    let second = samples(&sampler, batch, &mut noise);
    let mut generator = TorchCpu::new(8);
    (0..6).for_each(|_| drop(randn::<f32>(&mut generator, 15)));
    assert_eq!(
        second,
        samples(&sampler, batch, Replayed::of_torch(batch, generator))
    );
    assert_ne!(first, second);
}

#[test]
fn a_run_draws_successive_tensors_of_a_card() {
    let sampler = sampler(&FirstOrder::ddpm());
    for batch in BATCHES {
        let noise = TorchNoise::new(TorchCuda::new(42), &[batch.0, batch.1]).unwrap();
        let mut generator = TorchCuda::new(42);
        let mut tensor = || {
            let mut tensor = Array2::zeros(batch);
            generator.randn(tensor.as_slice_mut().unwrap());
            tensor
        };
        let replayed = Replayed((0..7).map(|_| tensor()).collect());
        let expected = samples(&sampler, batch, replayed);
        assert_eq!(samples(&sampler, batch, noise), expected, "{batch:?}");
    }
}

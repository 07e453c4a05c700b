//! Batches that start together: every stream, whole runs, the order of the samples, other sources.

use diffusion_sampler::{
    Error, KeyedNoise, Real, Sampler, Trajectory,
    forward::{diffuse, fill_normal},
    noise::{
        BrownianPath, NoiseKey, NoiseSource, PerSample, PureNoise, RngNoise, SampleNoise, Stream,
    },
    posterior::{Kappa, StridedPosterior},
    schedule::NoiseSchedule,
    solver::{DpmSolverPlusPlus, FirstOrder, Solver},
};
use ndarray::{Array2, Ix2};
use proptest::prelude::*;
use rand::{SeedableRng, rngs::StdRng};

use crate::common::{KIND, Request, Smooth, list, numbers, part, requests, row, sampler, schedule};

fn stochastic_solvers() -> [(&'static str, Box<dyn Solver>); 3] {
    [
        ("DDPM", Box::new(FirstOrder::ddpm())),
        ("half the noise", Box::new(FirstOrder::new(Kappa::Tau(0.5)))),
        ("SDE 2M", Box::new(DpmSolverPlusPlus::sde())),
    ]
}

fn completed<A: Real, N: NoiseSource<A>>(
    sampler: &Sampler,
    shape: (usize, usize),
    noise: N,
) -> Array2<A> {
    let mut run: Trajectory<A, Ix2, N> = sampler.start(shape, KIND, noise).unwrap();
    run.complete(&mut Smooth).unwrap();
    run.into_state()
}

fn runs_agree<A: Real>(requests: &[Request], length: usize) {
    for (name, solver) in stochastic_solvers() {
        let sampler = sampler(&*solver, 5);
        let shape = (requests.len(), length);
        let batch = completed::<A, _>(&sampler, shape, list(requests));
        for (sample, request) in requests.iter().enumerate() {
            let alone = completed::<A, _>(&sampler, (1, length), request.alone());
            assert_eq!(row(&batch, sample), row(&alone, 0), "{name}, {request:?}");
        }
    }
}

/// `work` on a batch and on each request's part of it.
fn each_agrees<A: Real>(
    requests: &[Request],
    length: usize,
    work: impl Fn(&mut Array2<A>, &mut dyn NoiseSource<A>, std::ops::Range<usize>),
) {
    let start = numbers::<A>((requests.len(), length));
    let mut batch = start.clone();
    work(&mut batch, &mut list(requests), 0..requests.len());
    for (sample, request) in requests.iter().enumerate() {
        let mut alone = part(&start, sample);
        work(&mut alone, &mut request.alone(), sample..sample + 1);
        assert_eq!(row(&batch, sample), row(&alone, 0), "{request:?}");
    }
}

fn calls_agree<A: Real>(requests: &[Request], length: usize, step: u32) {
    let streams = [
        Stream::Start,
        Stream::Step(0),
        Stream::Step(3),
        Stream::Forward,
        Stream::User(9),
    ];
    for stream in streams {
        each_agrees::<A>(requests, length, |x, mut noise, _| {
            fill_normal(x, &mut noise, step, stream).unwrap();
        });
    }
    let schedule = schedule();
    let levels: Vec<_> = (0..requests.len())
        .map(|sample| schedule.level(150.0 * sample as f64).unwrap())
        .collect();
    each_agrees::<A>(requests, length, |x, mut noise, rows| {
        diffuse(x, &levels[rows], &mut noise, step).unwrap();
    });
    let [from, to] = [700.0, 300.0].map(|time| schedule.level(time).unwrap());
    let posterior = StridedPosterior::new(from, to, Kappa::Ddpm).unwrap();
    each_agrees::<A>(requests, length, |x, mut noise, _| {
        let data = x.mapv(|x| -x);
        let taken = posterior.sample_in_place(x, &data, &mut noise, step);
        taken.unwrap();
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_run_of_mixed_requests_is_the_run_of_each_alone(
        requests in requests(), length in prop_oneof![1usize..70, Just(1500)],
    ) {
        runs_agree::<f32>(&requests, length);
        runs_agree::<f64>(&requests, length);
    }

    #[test]
    fn every_stream_of_mixed_requests_is_that_of_each_alone(
        requests in requests(), length in prop_oneof![1usize..70, Just(1500)], step: u32,
    ) {
        calls_agree::<f32>(&requests, length, step);
        calls_agree::<f64>(&requests, length, step);
    }

    #[test]
    fn samples_that_change_places_take_their_results_along(
        (requests, order) in requests().prop_flat_map(|requests| {
            let order: Vec<usize> = (0..requests.len()).collect();
            (Just(requests), Just(order).prop_shuffle())
        }),
    ) {
        let sampler = sampler(&FirstOrder::ddpm(), 4);
        let shape = (requests.len(), 33);
        let plain = completed::<f32, _>(&sampler, shape, list(&requests));
        let moved: Vec<_> = order.iter().map(|&from| requests[from]).collect();
        let moved = completed::<f32, _>(&sampler, shape, list(&moved));
        for (to, from) in order.into_iter().enumerate() {
            prop_assert_eq!(row(&moved, to), row(&plain, from));
        }
    }

    #[test]
    fn a_list_of_one_seeds_samples_in_order_is_that_seeds_noise(
        seed: u64, first in 0u64..1 << 52, count in 1usize..6, step: u32,
    ) {
        let samples: Vec<_> = (0..count as u64)
            .map(|index| Request { seed, sample: first + index })
            .collect();
        let keyed = KeyedNoise::new(seed).with_first_sample(first).unwrap();
        let (mut ours, mut plain) = (vec![0f64; 37 * count], vec![0f64; 37 * count]);
        let key = NoiseKey::new(0, step, Stream::Step(1));
        list(&samples).fill_batch(key, count, &mut ours).unwrap();
        keyed.fill_batch(key, count, &mut plain).unwrap();
        prop_assert_eq!(ours, plain);
    }
}

#[test]
fn requests_with_noise_paths_of_their_own_follow_them_as_alone() {
    let paths = [
        BrownianPath::new(3),
        BrownianPath::new(4).with_tau(0.5).unwrap(),
        BrownianPath::new(3).with_first_sample(9).unwrap(),
    ];
    let sampler = sampler(&FirstOrder::new(Kappa::Tau(0.5)), 6);
    let batch = completed::<f32, _>(&sampler, (3, 50), PerSample::of(paths));
    for (sample, path) in paths.into_iter().enumerate() {
        let alone = completed::<f32, _>(&sampler, (1, 50), path);
        assert_eq!(row(&batch, sample), row(&alone, 0));
    }
}

/// The noise of one sample, negated.
#[derive(Clone, Copy, Debug)]
struct Negative(KeyedNoise);

impl PureNoise<f32> for Negative {
    fn draw(&self, key: NoiseKey, first: u64, out: &mut [f32]) {
        self.0.draw(key, first, out);
        out.iter_mut().for_each(|z| *z = -*z);
    }
}

impl NoiseSource<f32> for Negative {
    fn fill(&mut self, key: NoiseKey, first: u64, out: &mut [f32]) {
        self.draw(key, first, out);
    }
}

#[test]
fn requests_may_have_sources_of_different_types() {
    let sources: [Box<dyn PureNoise<f32>>; 3] = [
        Box::new(KeyedNoise::new(1)),
        Box::new(Negative(KeyedNoise::new(1))),
        Box::new(BrownianPath::new(2)),
    ];
    let sampler = sampler(&FirstOrder::ddpm(), 6);
    let shape = (1, 20);
    let batch = completed::<f32, _>(&sampler, (3, 20), PerSample::of(sources));
    let alone = [
        completed::<f32, _>(&sampler, shape, KeyedNoise::new(1)),
        completed::<f32, _>(&sampler, shape, Negative(KeyedNoise::new(1))),
        completed::<f32, _>(&sampler, shape, BrownianPath::new(2)),
    ];
    for (sample, alone) in alone.iter().enumerate() {
        assert_eq!(row(&batch, sample), row(alone, 0), "{sample}");
    }
    // The model is odd: the first two are mirror images, which the third is not.
    assert!((0..20).all(|j| batch[[0, j]] == -batch[[1, j]]));
    assert!((0..20).all(|j| batch[[0, j]] != batch[[2, j]]));
}

#[test]
fn a_reference_to_a_list_serves_several_runs() {
    let noise = PerSample::of([KeyedNoise::new(5), KeyedNoise::new(6)]);
    let sampler = sampler(&FirstOrder::ddpm(), 4);
    let first = completed::<f64, _>(&sampler, (2, 9), &noise);
    assert_eq!(completed::<f64, _>(&sampler, (2, 9), &noise), first);
    let refused = sampler.start::<f64, _, _>((3, 9), KIND, &noise).err();
    assert!(matches!(refused, Some(Error::WrongLength { .. })));
    let boxed: Box<dyn NoiseSource<f64>> = Box::new(noise);
    assert_eq!(completed::<f64, _>(&sampler, (2, 9), boxed), first);
}

#[test]
fn what_is_said_to_be_pure_is_what_is_asked() {
    let keyed = KeyedNoise::new(4).with_first_sample(6).unwrap();
    let sources: [Box<dyn PureNoise<f32>>; 3] = [
        Box::new(keyed),
        Box::new(BrownianPath::new(4)),
        Box::new(PerSample::new(vec![SampleNoise::new(keyed); 3])),
    ];
    let key = NoiseKey::new(2, 8, Stream::Step(0));
    for mut source in sources {
        let (mut filled, mut drawn) = ([0f32; 70], [0f32; 70]);
        source.fill(key, 5, &mut filled);
        source.as_pure().unwrap().draw(key, 5, &mut drawn);
        assert_eq!(filled, drawn);
    }
    let generator = RngNoise::new(StdRng::seed_from_u64(1));
    assert!(NoiseSource::<f32>::as_pure(&generator).is_none());
}

//! Keyed noise: the same bits for any batch, shard and number of threads; and the same run in
//! either precision.

use diffusion_sampler::{
    Denoiser, KeyedNoise, Prediction, Real, Sampler,
    noise::{NoiseKey, NoiseSource},
};
use ndarray::{Array2, ArrayRef, Axis, Ix2, s};

use crate::common::{Smooth, bits, difference, sampler, solver, solvers};

const KIND: Prediction = Prediction::Velocity;
const SAMPLES: usize = 64;
const DIM: usize = 37;
const SEED: u64 = 0xDEAD_BEEF_0123;

/// The samples `first..first + count` of the whole, as a run of their own.
fn shard<A: Real>(sampler: &Sampler, first: usize, count: usize) -> Array2<A>
where
    Smooth: Denoiser<A, Ix2, Error = std::convert::Infallible>,
{
    let noise = KeyedNoise::new(SEED)
        .with_first_sample(first as u64)
        .unwrap();
    let mut run = sampler.start((count, DIM), KIND, noise).unwrap();
    run.complete(&mut Smooth(KIND)).unwrap();
    run.into_state()
}

fn any_split_gives_the_whole<A: Real>() {
    for (name, solver) in solvers() {
        let sampler = sampler(&*solver, 6);
        let whole: Array2<A> = sampler
            .sample(&mut Smooth(KIND), (SAMPLES, DIM), SEED)
            .unwrap();
        for batch in [1, 7, 16, SAMPLES] {
            for first in (0..SAMPLES).step_by(batch) {
                let count = batch.min(SAMPLES - first);
                let part = shard::<A>(&sampler, first, count);
                let expected = whole.slice(s![first..first + count, ..]);
                assert_eq!(
                    bits(&part),
                    bits(&expected),
                    "{name}, batch {batch} at {first}"
                );
            }
        }
    }
}

#[test]
fn batches_and_shards_do_not_change_a_sample_in_f32() {
    any_split_gives_the_whole::<f32>();
}

#[test]
fn batches_and_shards_do_not_change_a_sample_in_f64() {
    any_split_gives_the_whole::<f64>();
}

#[test]
fn four_threads_that_share_a_sampler_give_the_bits_of_one() {
    for (name, solver) in solvers() {
        let sampler = sampler(&*solver, 6);
        let whole: Array2<f32> = sampler
            .sample(&mut Smooth(KIND), (SAMPLES, DIM), SEED)
            .unwrap();
        let quarter = SAMPLES / 4;
        let parts: Vec<Array2<f32>> = std::thread::scope(|scope| {
            let shared = &sampler;
            let handles: Vec<_> = (0..4)
                .map(|i| scope.spawn(move || shard(shared, i * quarter, quarter)))
                .collect();
            handles.into_iter().map(|h| h.join().unwrap()).collect()
        });
        let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
        let joined = ndarray::concatenate(Axis(0), &views).unwrap();
        assert_eq!(bits(&joined), bits(&whole), "{name}");
    }
}

#[test]
fn a_run_that_moves_to_another_thread_goes_on_bit_for_bit() {
    let sampler = sampler(&*solver("SDE-DPM-Solver++(2M)"), 6);
    let mut run = sampler
        .start::<f32, _, _>((3, DIM), KIND, KeyedNoise::new(SEED))
        .unwrap();
    let mut stays = run.clone();
    stays.complete(&mut Smooth(KIND)).unwrap();
    run.advance(&mut Smooth(KIND)).unwrap();
    let moved = std::thread::spawn(move || {
        run.complete(&mut Smooth(KIND)).unwrap();
        run.into_state()
    });
    assert_eq!(bits(&moved.join().unwrap()), bits(stays.state()));
}

#[test]
fn another_seed_gives_other_samples() {
    let sampler = sampler(&*solver("DDIM"), 6);
    let one: Array2<f32> = sampler.sample(&mut Smooth(KIND), (3, DIM), 1).unwrap();
    let other: Array2<f32> = sampler.sample(&mut Smooth(KIND), (3, DIM), 2).unwrap();
    assert!(difference(&one, &other) > 0.01);
    let rows: Vec<_> = one.outer_iter().map(|row| bits(&row.to_owned())).collect();
    assert!(rows[0] != rows[1] && rows[1] != rows[2] && rows[0] != rows[2]);
}

/// The normals of f32 for both precisions.
struct Rounded(KeyedNoise);

impl NoiseSource<f32> for Rounded {
    fn fill(&mut self, key: NoiseKey, first: u64, out: &mut [f32]) {
        self.0.fill(key, first, out);
    }
}

impl NoiseSource<f64> for Rounded {
    fn fill(&mut self, key: NoiseKey, first: u64, out: &mut [f64]) {
        let mut narrow = vec![0f32; out.len()];
        self.0.fill(key, first, &mut narrow);
        for (wide, narrow) in out.iter_mut().zip(narrow) {
            *wide = f64::from(narrow);
        }
    }
}

#[test]
fn both_precisions_agree_to_that_of_f32_on_the_same_noise() {
    for (name, solver) in solvers() {
        for kind in [Prediction::Noise, Prediction::Data, KIND, Prediction::Flow] {
            let sampler = sampler(&*solver, 10);
            let shape = (8, DIM);
            let mut narrow = sampler
                .start::<f32, _, _>(shape, kind, Rounded(KeyedNoise::new(2)))
                .unwrap();
            let mut wide = sampler
                .start::<f64, _, _>(shape, kind, Rounded(KeyedNoise::new(2)))
                .unwrap();
            let start: &ArrayRef<f64, Ix2> = wide.state();
            assert!(difference(narrow.state(), start) < 1e-15);
            // An error of one step is carried on by the factors of those behind it: errors are
            // measured against the largest state on the way.
            let (mut scale, mut worst) = (1.0, 0.0);
            while !wide.is_finished() {
                narrow.advance(&mut Smooth(kind)).unwrap();
                wide.advance(&mut Smooth(kind)).unwrap();
                scale = wide.state().iter().fold(scale, |s, x| f64::max(s, x.abs()));
                let error = narrow.state().iter().zip(wide.state());
                worst = error.fold(worst, |w, (&n, &x)| f64::max(w, (f64::from(n) - x).abs()));
            }
            assert!(
                worst / scale < 1e-5,
                "{name}, {}: {}",
                kind.name(),
                worst / scale
            );
            assert!(worst > 0.0, "{name}: f32 was not rounded");
        }
    }
}

//! Batching: noise in the order of the batch, a threshold pooled over it, state left behind; and
//! names that mean the same sampler.

use std::collections::BTreeSet;

use diffusion_sampler::{
    Clip, Grid, KeyedNoise, Prediction, Sampler, from_fn,
    noise::{NoiseKey, NoiseSource, NormalElement},
    schedule::TableSchedule,
    solver::{DpmSolverPlusPlus, FirstOrder, Path, Solver, catalogue},
    testing::{
        AnySchedule, Failure, check_batching, check_distinct, check_guidance, proptest::prelude::*,
        strategies::grids,
    },
};
use ndarray::Ix2;
use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::common::config;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// The elements of one sample.
const ROW: usize = 6;

/// Keyed noise for a batch whose rows are any samples of a larger one.
#[derive(Debug)]
struct Samples<'a>(KeyedNoise, &'a [u64]);

impl<A: NormalElement> NoiseSource<A> for Samples<'_> {
    fn fill(&mut self, key: NoiseKey, first: u64, out: &mut [A]) {
        let mut own = key;
        own.row = self.1[key.row as usize];
        self.0.fill(own, first, out);
    }
}

/// This crate's sampler as a function from sample numbers to samples.
fn run(sampler: &Sampler, samples: &[u64]) -> Vec<f32> {
    let mut model = from_fn::<f32, Ix2>(Prediction::Data, |x, level, out| {
        let (a, s) = (level.alpha() as f32, level.sigma() as f32);
        out.zip_mut_with(x, |o, &x| *o = 2.0 * a * x / (1.0 + s + x * x) + 0.1);
    });
    let noise = Samples(KeyedNoise::new(5), samples);
    let shape = (samples.len(), ROW);
    let mut run = sampler.start(shape, Prediction::Data, noise).unwrap();
    run.complete(&mut model).unwrap();
    run.into_state().into_raw_vec_and_offset().0
}

#[test]
fn the_crates_samplers_give_the_same_bits_in_any_batch() {
    let solvers: [Box<dyn Solver>; 3] = [
        Box::new(FirstOrder::ddpm()),
        Box::new(DpmSolverPlusPlus::sde()),
        Box::new(DpmSolverPlusPlus::new()),
    ];
    proptest!(config(60), |((schedule, grid) in grids(), index in 0..3usize, clips in any::<bool>())| {
        let sampler = Sampler::new(&schedule, &grid, &solvers[index])?;
        let sampler = if clips { sampler.with_clip(Clip::dynamic(0.9, 3.0)?) } else { sampler };
        check_batching(5, |samples| run(&sampler, samples))?;
    });
}

#[test]
fn noise_in_the_order_of_the_batch_is_found() {
    let failure = check_batching(4, |samples| {
        let mut rng = SmallRng::seed_from_u64(1);
        let count = samples.len() * ROW;
        (0..count).map(|_| rng.random::<f64>()).collect::<Vec<_>>()
    });
    // Sample 2 is the first of the second part.
    assert!(
        matches!(
            failure,
            Err(Failure::Batch {
                batch: "one of two batches",
                sample: 2,
                element: 0,
                ..
            })
        ),
        "{failure:?}"
    );
}

/// One step with dynamic thresholding, its quantile taken over `rows` rows at a time.
fn thresholded(samples: &[u64], pooled: bool) -> Vec<f64> {
    let mut out = vec![0.0; samples.len() * ROW];
    for (&sample, row) in samples.iter().zip(out.chunks_exact_mut(ROW)) {
        let mut noise = Samples(KeyedNoise::new(5), std::slice::from_ref(&sample));
        let key = NoiseKey::new(0, 0, diffusion_sampler::noise::Stream::Start);
        NoiseSource::<f64>::fill(&mut noise, key, 0, row);
    }
    let size = if pooled { out.len() } else { ROW };
    for part in out.chunks_exact_mut(size) {
        let mut sizes: Vec<f64> = part.iter().map(|v: &f64| v.abs()).collect();
        sizes.sort_by(f64::total_cmp);
        let bound = sizes[(sizes.len() - 1) * 9 / 10].max(1.0);
        for value in part {
            *value = value.clamp(-bound, bound) / bound;
        }
    }
    out
}

#[test]
fn thresholding_pooled_over_the_batch_is_found() -> Outcome {
    check_batching(7, |samples| thresholded(samples, false))?;
    let failure = check_batching(7, |samples| thresholded(samples, true));
    assert!(matches!(failure, Err(Failure::Batch { .. })), "{failure:?}");
    Ok(())
}

#[test]
fn state_that_a_call_leaves_behind_is_found() {
    // A table cast in place at the end of the first call.
    let mut table = [0.1f64, 0.2, 0.3];
    let failure = check_batching(3, |samples| {
        let out = samples.iter().map(|&s| table[s as usize]).collect();
        table.iter_mut().for_each(|v| *v = f64::from(*v as f32));
        out
    });
    assert!(matches!(
        failure,
        Err(Failure::Batch {
            batch: "the same batch again",
            sample: 0,
            ..
        })
    ));
    // State that only smaller batches change.
    let mut spoiled = 0.0f64;
    let failure = check_batching(3, |samples| {
        let out = samples.iter().map(|&s| s as f64 + spoiled).collect();
        if samples.len() == 3 && samples[0] == 2 {
            spoiled = 1.0;
        }
        out
    });
    assert!(matches!(
        failure,
        Err(Failure::Batch {
            batch: "the same batch at the end",
            ..
        })
    ));
}

#[test]
fn wrong_counts_and_values_of_batches_are_found() {
    assert!(matches!(
        check_batching(3, |_| vec![1.0f32; 4]),
        Err(Failure::Length {
            expected: 3,
            found: 4,
            ..
        })
    ));
    assert!(matches!(
        check_batching(2, |samples| vec![1.0f32; samples.len().max(2)]),
        Err(Failure::Length { .. })
    ));
    assert!(matches!(
        check_batching(2, |_| vec![f32::NAN; 2]),
        Err(Failure::NotFinite { .. })
    ));
    assert!(check_batching(1, |_| vec![1.0f64]).is_ok());
}

#[test]
fn an_unknown_name_that_silently_becomes_euler_is_found() -> Outcome {
    let table = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
    let any = AnySchedule::new("scaled linear", table);
    let grid = Grid::trailing(&any, 7)?;
    let run = |solver: &dyn Solver| {
        let sampler = Sampler::new(&any, &grid, solver).unwrap();
        run(&sampler, &[0, 1])
    };
    // The whole catalogue: every name is a sampler of its own, but where two are known for one method,
    // whose plans then read the same.
    let mut seen = BTreeSet::new();
    let path = Path::new(&any, &grid)?;
    let mut entries = Vec::new();
    for entry in catalogue().into_iter().filter(|entry| !entry.inverts) {
        if seen.insert(entry.solver.plan(&path)?.to_string()) {
            entries.push(entry);
        }
    }
    assert!(entries.len() > 60, "{}", entries.len());
    let names: Vec<&str> = entries.iter().map(|entry| entry.name).collect();
    check_distinct(&names, |name| {
        run(&entries
            .iter()
            .find(|entry| entry.name == name)
            .unwrap()
            .solver)
    })?;
    let planted = |name: &str| match name {
        "dpmpp_2m" => run(&DpmSolverPlusPlus::new()),
        "ddpm" => run(&FirstOrder::ddpm()),
        _ => run(&FirstOrder::ddim()),
    };
    assert_eq!(
        check_distinct(&["euler", "ddpm", "dpmpp_2m", "unipc"], planted),
        Err(Failure::SameResult {
            first: "euler".to_owned(),
            second: "unipc".to_owned()
        })
    );
    assert!(matches!(
        check_distinct(&["euler", "heun"], |_| vec![f32::INFINITY]),
        Err(Failure::NotFinite { .. })
    ));
    for names in [&[][..], &["euler"]] {
        assert!(matches!(
            check_distinct(names, |_| vec![1.0f32]),
            Err(Failure::Length { expected: 2, .. })
        ));
    }
    assert!(matches!(
        check_guidance::<f64>(&[], 1e-9, |_, _, _, _| panic!("called")),
        Err(Failure::Length { array: "laws", .. })
    ));
    Ok(())
}

#[test]
fn nothing_is_not_independent_of_its_batch() {
    let length = |expected| {
        let (array, found) = ("samples", 0);
        Err(Failure::Length {
            array,
            expected,
            found,
        })
    };
    assert_eq!(check_batching::<f32>(0, |_| vec![]), length(1));
    assert_eq!(check_batching::<f32>(4, |_| vec![]), length(4));
}

#[test]
fn a_sampler_that_treats_one_sample_alone_otherwise_is_found() {
    let planted = |samples: &[u64]| -> Vec<f64> {
        let alone = f64::from(u8::from(samples.len() == 1));
        samples
            .iter()
            .map(|&sample| sample as f64 + alone)
            .collect()
    };
    // Two and three samples, never one.
    let failure = check_batching(5, planted).unwrap_err();
    assert!(matches!(
        failure,
        Failure::Batch {
            batch: "a batch of one",
            sample: 0,
            ..
        }
    ));
}

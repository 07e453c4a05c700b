//! A sample comes out the same whatever else is in the batch.

use diffusion_sampler::oracle::Oracle;
use diffusion_sampler::solver::{DpmSolverPlusPlus, FirstOrder};
use diffusion_sampler::{KeyedNoise, Prediction, noise::PerSample, noise::SampleNoise};
use ndarray::{Array2, Axis, Slice, s};

use crate::common::{bits, ddim, mixture, sampler};

#[test]
fn results_and_sweeps_of_a_sample_do_not_depend_on_the_batch() {
    let mut model = mixture().denoiser(Prediction::Noise);
    for (sampler, tolerance) in [
        (sampler(&FirstOrder::ddpm(), 40), 1e-3),
        (sampler(&DpmSolverPlusPlus::new(), 40), 1e-3),
        (ddim(40), 1e-3),
    ] {
        let parallel = sampler.parallel(8, tolerance).unwrap();
        let (all, report) = parallel.sample(&mut model, (7, 4), 3).unwrap();
        let all: Array2<f64> = all;
        let sweeps = report.sweeps_of_samples();
        // Otherwise nothing is shown: they end after different numbers of sweeps.
        assert!(sweeps.iter().min() < sweeps.iter().max(), "{sweeps:?}");
        assert_eq!(sweeps.iter().max(), Some(&report.sweeps()));
        for (sample, &swept) in sweeps.iter().enumerate() {
            let noise = SampleNoise::new(KeyedNoise::new(3)).with_sample(sample as u64);
            let noise = PerSample::new(vec![noise.unwrap()]);
            let mut alone = parallel
                .start::<f64, _, _>((1, 4), Prediction::Noise, noise)
                .unwrap();
            alone.complete(&mut model).unwrap();
            assert_eq!(alone.report().sweeps(), swept);
            let row = all.slice_axis(Axis(0), Slice::from(sample..sample + 1));
            assert_eq!(bits(&alone.into_state()), bits(&row.to_owned()));
        }
    }
}

#[test]
fn a_sample_that_has_ended_is_left_alone() {
    let mut model = mixture().denoiser(Prediction::Noise);
    let parallel = ddim(40).parallel(15, 1e-2).unwrap();
    let mut run = parallel
        .start::<f64, _, _>((7, 4), Prediction::Noise, KeyedNoise::new(3))
        .unwrap();
    let mut ended: Vec<Option<Vec<f64>>> = vec![None; 7];
    while !run.is_finished() {
        let there = |run: &diffusion_sampler::run::ParallelRun<f64, ndarray::Ix2>| {
            let question = run.ask().unwrap();
            let samples = question.and_then(|question| question.query.samples().map(<[_]>::to_vec));
            samples.unwrap_or_default()
        };
        run.advance(&mut model).unwrap();
        let running = there(&run);
        for (sample, kept) in ended.iter_mut().enumerate() {
            let state = run.state().slice(s![sample, ..]).to_vec();
            match kept {
                Some(kept) => assert_eq!(*kept, state),
                None if !running.contains(&sample) => *kept = Some(state),
                None => {}
            }
        }
    }
    assert!(ended.iter().all(Option::is_some));
}

#[test]
fn empty_batches_and_empty_samples_are_finished_at_once() {
    let mut model = mixture().denoiser(Prediction::Noise);
    for shape in [(0, 4), (3, 0)] {
        let parallel = sampler(&FirstOrder::ddpm(), 10).parallel(4, 0.0).unwrap();
        let (found, report) = parallel.sample::<f32, _, _>(&mut model, shape, 1).unwrap();
        assert_eq!((found.dim(), report.sweeps(), report.rows()), (shape, 0, 0));
    }
}

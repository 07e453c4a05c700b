//! What a server keeps of a batch: the noise of each request, and runs on tensors.

use std::convert::Infallible;

use diffusion_sampler::{
    Grid, KeyedNoise, Prediction, Sampler,
    noise::{BrownianPath, PerSample, SampleNoise},
    run::Snapshot,
    schedule::TableSchedule,
    solver::DpmSolverPlusPlus,
    tensor::{Flat, FlatOps},
};
use proptest::prelude::*;

use crate::formats::{assert_returns, json, of_json, of_postcard, postcard, returned};

fn samples() -> impl Strategy<Value = SampleNoise> {
    let sample = prop_oneof![0u64..3, 0u64..1 << 53, Just((1 << 53) - 1)];
    (any::<u64>(), sample, any::<u32>(), any::<u32>()).prop_map(|(seed, sample, joined, taken)| {
        let noise = SampleNoise::new(KeyedNoise::new(seed)).with_sample(sample);
        noise.unwrap().joining_at(joined).having_taken(taken)
    })
}

proptest! {
    #[test]
    fn the_noise_of_a_batch_returns(list in prop::collection::vec(samples(), 0..5)) {
        assert_returns(&PerSample::new(list));
    }
}

#[test]
fn other_sources_of_a_batch_return_too() {
    let path = BrownianPath::new(3).with_tau(0.7).unwrap();
    assert_returns(&PerSample::of([path, path]));
}

#[test]
fn the_layout_is_the_documented_one() {
    let noise = SampleNoise::new(KeyedNoise::new(7))
        .with_sample(2)
        .unwrap()
        .joining_at(5);
    let text = concat!(
        r#"{"samples":[{"source":{"seed":7,"first_sample":0},"#,
        r#""sample":2,"joined":5,"taken":0}]}"#
    );
    assert_eq!(json(&PerSample::new(vec![noise])), text);
    for (from, to) in [
        (r#""sample":2"#, r#""sample":9007199254740992"#),
        (r#""sample":2"#, r#""sample":-1"#),
        (r#""joined":5"#, r#""joined":4294967296"#),
        (r#","taken":0"#, ""),
        (r#""taken":0"#, r#""taken":0,"left":1"#),
        (r#""taken":0"#, r#""taken":null"#),
    ] {
        assert!(
            of_json::<PerSample>(&text.replace(from, to)).is_err(),
            "{to}"
        );
    }
    let number =
        of_json::<PerSample>(&text.replace(r#""sample":2"#, r#""sample":9007199254740992"#));
    assert!(number.unwrap_err().contains("9007199254740992"));
    // A list that says it is longer than the input.
    assert!(
        of_postcard::<PerSample>(&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]).is_err()
    );
    assert!(of_postcard::<PerSample>(&postcard(&PerSample::new(vec![noise]))).is_ok());
}

#[test]
fn a_run_on_tensors_is_stored_and_goes_on_with_the_same_bits() {
    let schedule = TableSchedule::cosine(1000).unwrap();
    let grid = Grid::trailing(&schedule, 5).unwrap();
    let sampler = Sampler::new(&schedule, &grid, &DpmSolverPlusPlus::sde()).unwrap();
    let noise = PerSample::of([KeyedNoise::new(3), KeyedNoise::new(4)]);
    let like = Flat::<f32>::zeros(&[2, 3]).unwrap();
    let model = |x: &Flat<f32>, query: &diffusion_sampler::Query<'_>| {
        let sigma = query.level().sigma() as f32;
        let values = x.as_slice().iter().map(|x| (x * sigma).sin()).collect();
        Flat::new(values, x.shape())
    };
    let start = || {
        sampler
            .on(FlatOps::new())
            .start(&like, Prediction::Noise, noise.clone())
            .unwrap()
    };
    let mut whole = start();
    whole.complete(model).unwrap();
    let mut run = start();
    while !run.is_finished() {
        let stored = (
            sampler.clone(),
            noise.clone(),
            run.snapshot_on_host().unwrap(),
        );
        for (sampler, noise, snapshot) in returned(&stored) {
            let there = sampler.on(FlatOps::new());
            let resumed = there.resume_from_host(snapshot, &like, Prediction::Noise, noise);
            let mut resumed = resumed.unwrap();
            resumed.complete(model).unwrap();
            assert_eq!(resumed.state(), whole.state());
        }
        run.advance(model).unwrap();
    }
    // The same snapshot as an ndarray array's.
    let text = json(&run.snapshot().unwrap());
    let array: Snapshot<ndarray::Array2<f32>> = of_json(&text).unwrap();
    let flat = array
        .try_map(|a| Flat::new(a.iter().copied().collect(), a.shape()))
        .unwrap();
    assert_eq!(flat, run.snapshot().unwrap());
    let refused = run
        .snapshot()
        .unwrap()
        .try_map(|_| Err::<Infallible, _>("refused"));
    assert_eq!(refused.unwrap_err(), "refused");
}

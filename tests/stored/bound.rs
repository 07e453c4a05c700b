//! A snapshot is bound to the noise of its run, where the plan draws any.

use diffusion_sampler::{
    Clip, Error, Grid, KeyedNoise, NoiseLevel, Prediction, Sampler, from_fn,
    noise::{
        BrownianPath, LearnedNoise, NoiseKey, NoiseScales, NoiseSource, PerSample, RngNoise,
        SampleNoise, ScaledNoise, TorchCpu, TorchCuda, TorchNoise,
    },
    run::Snapshot,
    schedule::TableSchedule,
    solver::FirstOrder,
};
use ndarray::{Array2, ArrayRef2, Ix2};
use rand::{SeedableRng, rngs::StdRng};

use crate::formats::returned;

const KIND: Prediction = Prediction::Noise;

fn sampler(solver: &FirstOrder) -> Sampler {
    let schedule = TableSchedule::linear(100, 1e-3, 0.1).unwrap();
    let grid = Grid::trailing(&schedule, 4).unwrap();
    Sampler::new(&schedule, &grid, solver).unwrap()
}

fn shrink(x: &ArrayRef2<f32>, level: &NoiseLevel, out: &mut ArrayRef2<f32>) {
    out.zip_mut_with(x, |o, &x| *o = level.sigma() as f32 * x);
}

/// The snapshot after one step, with the noise as it then is, and where the run ends.
fn interrupted<N: NoiseSource<f32> + Clone>(
    solver: &FirstOrder,
    mut noise: N,
) -> (Snapshot<Array2<f32>>, N, Array2<f32>) {
    let mut model = from_fn::<f32, Ix2>(KIND, shrink);
    let mut run = sampler(solver)
        .start::<f32, _, _>((2, 3), KIND, &mut noise)
        .unwrap();
    run.advance(&mut model).unwrap();
    let snapshot = run.snapshot().unwrap();
    let state = run.into_state();
    let kept = noise.clone();
    let mut rest = sampler(solver)
        .resume(snapshot.clone(), KIND, noise)
        .unwrap();
    assert_eq!(*rest.state(), state);
    rest.complete(&mut model).unwrap();
    (snapshot, kept, rest.into_state())
}

/// Through every format with the same noise: the same bits. With each of the others: refused.
fn is_bound<N: NoiseSource<f32> + Clone>(name: &str, noise: N, others: Vec<N>) {
    let (snapshot, kept, end) = interrupted(&FirstOrder::ddpm(), noise);
    assert!(snapshot.noise.is_some(), "{name}");
    let mut model = from_fn::<f32, Ix2>(KIND, shrink);
    for read in returned(&snapshot) {
        let mut run = sampler(&FirstOrder::ddpm())
            .resume(read, KIND, kept.clone())
            .unwrap();
        run.complete(&mut model).unwrap();
        assert_eq!(run.into_state(), end, "{name}");
    }
    for (index, other) in others.into_iter().enumerate() {
        let found = other.fingerprint();
        let refused = sampler(&FirstOrder::ddpm()).resume(snapshot.clone(), KIND, other);
        let Err(Error::SnapshotOfAnother { what, expected, .. }) = refused else {
            panic!("{name}, other {index}: not refused by name");
        };
        assert_eq!(what, "noise");
        assert_eq!(Some(expected), found.map(|found| format!("{found:016x}")));
    }
}

#[test]
fn every_source_of_the_crate_is_told_from_others() {
    let keyed = KeyedNoise::new;
    let shard = keyed(7).with_first_sample(1).unwrap();
    is_bound("keyed", keyed(7), vec![keyed(8), shard]);
    let path = BrownianPath::new(3);
    let others = vec![BrownianPath::new(4), path.with_tau(0.5).unwrap()];
    is_bound("a path", path, others);
    let batch = |seeds: [u64; 2]| PerSample::of(seeds.map(keyed));
    let joined = SampleNoise::new(keyed(2)).with_sample(1).unwrap();
    let joined = PerSample::new(vec![SampleNoise::new(keyed(1)), joined]);
    is_bound(
        "samples",
        batch([1, 2]),
        vec![batch([2, 1]), batch([1, 3]), joined],
    );
    let scales = |last| NoiseScales::new(3, [&[1.0; 11][..], &[last]].concat()).unwrap();
    let scaled = |seed, last| ScaledNoise::new(keyed(seed), scales(last));
    is_bound(
        "scaled",
        scaled(1, 1.0),
        vec![scaled(2, 1.0), scaled(1, 0.5)],
    );
    let cpu = |seed| TorchNoise::new(TorchCpu::new(seed), &[2, 3]).unwrap();
    // The generator as it was before the run is another one than it is now.
    is_bound("torch", cpu(1), vec![cpu(1), cpu(2)]);
    let card = |seed| TorchNoise::new(TorchCuda::new(seed), &[2, 3]).unwrap();
    is_bound("torch on a card", card(1), vec![card(1), card(2)]);
    let learned = |seed| LearnedNoise::<f32>::new(keyed(seed));
    let [one, other] = [1, 2].map(|seed| NoiseSource::<f32>::fingerprint(&learned(seed)));
    assert!(one.is_some() && one != other && one != NoiseSource::<f32>::fingerprint(&keyed(1)));
}

/// Keyed noise of a user's, who says nothing of it.
#[derive(Clone)]
struct Unsaid(KeyedNoise);

impl NoiseSource<f32> for Unsaid {
    fn fill(&mut self, key: NoiseKey, first: u64, out: &mut [f32]) {
        self.0.fill(key, first, out);
    }
}

#[test]
fn a_source_that_does_not_say_which_it_is_is_taken_for_its_like_only() {
    let (snapshot, noise, end) = interrupted(&FirstOrder::ddpm(), Unsaid(KeyedNoise::new(1)));
    assert_eq!(snapshot.noise, None);
    let mut run = sampler(&FirstOrder::ddpm())
        .resume(snapshot.clone(), KIND, noise)
        .unwrap();
    run.complete(&mut from_fn::<f32, Ix2>(KIND, shrink))
        .unwrap();
    assert_eq!(run.into_state(), end);
    // It is the same noise here, but nothing says so.
    let refused = sampler(&FirstOrder::ddpm()).resume(snapshot.clone(), KIND, KeyedNoise::new(1));
    assert!(matches!(
        refused.map(drop),
        Err(Error::SnapshotOfAnother { what: "noise", .. })
    ));
    let rng = RngNoise::new(StdRng::seed_from_u64(1));
    let taken = sampler(&FirstOrder::ddpm()).resume(snapshot, KIND, rng);
    assert!(taken.is_ok());
}

#[test]
fn a_plan_without_noise_goes_on_with_any() {
    let (snapshot, _, end) = interrupted(&FirstOrder::ddim(), KeyedNoise::new(1));
    assert_eq!(snapshot.noise, None);
    let mut run = sampler(&FirstOrder::ddim())
        .resume(snapshot, KIND, KeyedNoise::new(2))
        .unwrap();
    run.complete(&mut from_fn::<f32, Ix2>(KIND, shrink))
        .unwrap();
    assert_eq!(run.into_state(), end);
}

#[test]
fn another_prediction_and_another_clip_are_refused_by_name() {
    let (snapshot, noise, _) = interrupted(&FirstOrder::ddpm(), KeyedNoise::new(1));
    let own = sampler(&FirstOrder::ddpm());
    let clip = Clip::new(-1.0, 1.0).unwrap();
    let refused = own.resume(snapshot.clone(), Prediction::Velocity, noise);
    let text = refused.map(drop).unwrap_err().to_string();
    assert!(text.contains("prediction Noise, not Velocity"), "{text}");
    let refused = own.with_clip(clip).resume(snapshot, KIND, noise);
    let text = refused.map(drop).unwrap_err().to_string();
    assert!(text.contains("clip none, not Clip"), "{text}");
}

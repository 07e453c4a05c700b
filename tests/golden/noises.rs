//! Normals of every source whose bits do not depend on the platform.

use diffusion_sampler::{
    KeyedNoise, Real,
    noise::{
        BrownianPath, Interval, NoiseKey, NoiseScales, NoiseSource, PerSample, RngNoise,
        SampleNoise, ScaledNoise, Stream, TorchCpu, TorchCuda, TorchNoise,
    },
};
use rand::RngCore;

use crate::hash::Lines;

const STREAMS: [Stream; 4] = [
    Stream::Start,
    Stream::Step(0),
    Stream::Step(255),
    Stream::Forward,
];

/// Weyl's sequence, mixed: a generator of the user's.
struct Weyl(u64);

impl RngCore for Weyl {
    fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed ^ (mixed >> 29)
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        for part in out.chunks_mut(8) {
            let word = self.next_u64().to_le_bytes();
            part.copy_from_slice(&word[..part.len()]);
        }
    }
}

fn batch<A: Real>(
    lines: &mut Lines,
    name: &str,
    mut source: impl NoiseSource<A>,
    (key, samples, dim): (NoiseKey, usize, usize),
) {
    lines.add(name, |hash| {
        let mut out = vec![A::zero(); samples * dim];
        source.fill_batch(key, samples, &mut out).unwrap();
        hash.elements(&out);
    });
}

fn of<A: Real>(lines: &mut Lines, kind: &str) {
    for seed in [0, 2024, u64::MAX] {
        for (stream, row, step) in [(0, 0, 0), (1, 7, 3), (2, 1 << 40, u32::MAX), (3, 2, 1)] {
            let key = NoiseKey::new(row, step, STREAMS[stream]);
            let name = format!("noise: keyed, {kind}, seed {seed}, stream {stream}");
            batch::<A>(lines, &name, KeyedNoise::new(seed), (key, 3, 1003));
        }
    }
    let interval =
        |from, to| NoiseKey::new(4, 2, Stream::Step(0)).with_interval(Interval::new(from, to));
    for (from, to) in [
        (-3.0, -2.5),
        (0.0, 1e-3),
        (-7.25, 11.0),
        (2.0, f64::INFINITY),
    ] {
        let path = BrownianPath::new(9).with_tau(0.7).unwrap();
        let name = format!("noise: Brownian path, {kind}, {from} to {to}");
        batch::<A>(lines, &name, path, (interval(from, to), 2, 517));
    }
    let key = NoiseKey::new(0, 5, Stream::Step(1));
    let keyed = KeyedNoise::new(3);
    let rng = RngNoise::new(Weyl(1));
    batch::<A>(
        lines,
        &format!("noise: a generator, {kind}"),
        rng,
        (key, 2, 301),
    );
    let sample = |seed| SampleNoise::new(KeyedNoise::new(seed));
    let rows = PerSample::new(vec![sample(5).joining_at(2), sample(6).having_taken(3)]);
    batch::<A>(
        lines,
        &format!("noise: per sample, {kind}"),
        rows,
        (key, 2, 301),
    );
    let factors = (0..6 * 43).map(|i| 0.5 + f64::from(i % 17) / 8.0);
    let scales = NoiseScales::new(43, factors.collect()).unwrap();
    let scaled = ScaledNoise::new(keyed, scales);
    batch::<A>(
        lines,
        &format!("noise: scaled, {kind}"),
        scaled,
        (key, 3, 43),
    );
}

pub(crate) fn add(lines: &mut Lines) {
    of::<f32>(lines, "f32");
    of::<f64>(lines, "f64");
    let key = NoiseKey::new(0, 0, Stream::Start);
    for seed in [0, 42, u64::MAX] {
        for shape in [[1, 5], [2, 16], [3, 1001]] {
            let name = format!("noise: torch, f32, seed {seed}, {shape:?}");
            let cpu = TorchNoise::new(TorchCpu::new(seed), &shape).unwrap();
            let size = (key, shape[0], shape[1]);
            batch::<f32>(lines, &format!("{name}, CPU"), cpu, size);
            let cuda = TorchNoise::new(TorchCuda::new(seed), &shape).unwrap();
            batch::<f32>(lines, &format!("{name}, CUDA"), cuda, size);
        }
    }
}

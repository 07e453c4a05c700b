//! Flat batches of normals: what a run draws, and the documented layout from key to normal.
#![allow(clippy::unwrap_used)]

use diffusion_sampler::{
    Error, Grid, KeyedNoise, Prediction, Real, Sampler,
    forward::diffuse,
    noise::{BrownianPath, Interval, NoiseKey, NoiseSource, RngNoise, Stream},
    posterior::{Kappa, StridedPosterior},
    schedule::{NoiseSchedule, TableSchedule, VarianceExploding},
    solver::FirstOrder,
};
use ndarray::Array3;
use proptest::prelude::*;
use rand::{SeedableRng, rngs::StdRng};

const KEY: NoiseKey = NoiseKey::new(0, 0, Stream::Start);

/// Philox4x32-10, as its authors write it.
fn philox(mut c: [u32; 4], mut k: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let product = |m: u32, x: u32| {
            let product = u64::from(m) * u64::from(x);
            ((product >> 32) as u32, product as u32)
        };
        let ((high0, low0), (high1, low1)) =
            (product(0xD251_1F53, c[0]), product(0xCD9E_8D57, c[2]));
        c = [high1 ^ c[1] ^ k[0], low1, high0 ^ c[3] ^ k[1], low0];
        k = [
            k[0].wrapping_add(0x9E37_79B9),
            k[1].wrapping_add(0xBB67_AE85),
        ];
    }
    c
}

/// Where a row is, as the module's documentation says.
#[derive(Clone, Copy, Debug)]
struct Place {
    seed: u64,
    sample: u64,
    step: u32,
    stream: u32,
}

impl Place {
    fn words(&self, counter: u64, turns: u64) -> [u32; 4] {
        let key = self
            .seed
            .wrapping_add(turns.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let high = (self.sample >> 32) as u32 % (1 << 22);
        philox(
            [
                counter as u32,
                self.sample as u32,
                self.step,
                high + (self.stream << 22),
            ],
            [key as u32, (key >> 32) as u32],
        )
    }

    fn single(&self, element: u64) -> f64 {
        let (turns, e) = (element >> 34, element % (1 << 34));
        let words = self.words(16 * (e / 64) + e % 16, turns);
        let [u, v] = if e % 64 < 32 {
            [words[0], words[1]]
        } else {
            [words[2], words[3]]
        };
        let uniform = f64::from(((u / 2) | 1) as f32) / 2f64.powi(31);
        let angle = f64::from((v as i32).div_euclid(2) | 1) / 2f64.powi(30);
        let p = if v % 2 == 1 { -1.0 } else { 1.0 };
        pair(uniform, angle, [p, 1.0])[(e % 32 / 16) as usize]
    }

    fn double(&self, element: u64) -> f64 {
        let (turns, e) = (element >> 33, element % (1 << 33));
        let [a, b, c, d] = self.words(16 * (e / 32) + e % 16, turns).map(u64::from);
        let (u, v) = (a + (b << 32), c + (d << 32));
        let uniform = ((u >> 12) as f64 + 0.5) / 2f64.powi(52);
        let angle = ((v >> 11 << 12 >> 12) as f64 + 0.5) / 2f64.powi(52);
        let sign = |bit| if bit == 1 { -1.0 } else { 1.0 };
        pair(uniform, angle, [sign(v % 2), sign(v >> 63)])[(e % 32 / 16) as usize]
    }
}

fn pair(uniform: f64, angle: f64, signs: [f64; 2]) -> [f64; 2] {
    let r = (-2.0 * libm::log(uniform)).sqrt();
    let sine = |x| libm::sin(std::f64::consts::FRAC_PI_2 * x);
    [
        signs[0] * r * sine(1.0 - angle.abs()),
        signs[1] * r * sine(angle),
    ]
}

fn streams() -> impl Strategy<Value = (Stream, u32)> {
    prop_oneof![
        Just((Stream::Start, 0)),
        Just((Stream::Forward, 1)),
        any::<u8>().prop_map(|n| (Stream::Step(n), 2 + u32::from(n))),
        any::<u8>().prop_map(|n| (Stream::User(n), 258 + u32::from(n))),
    ]
}

proptest! {
    /// The relative errors follow from those of the polynomials: half the logarithm's, the sine's,
    /// and the roundings of both sides.
    #[test]
    fn the_documented_layout_gives_the_normals(
        seed: u64, sample in 0u64..1 << 54, (stream, number) in streams(), step: u32,
        first in prop_oneof![0u64..300, any::<u64>().prop_map(|first| first >> 28)],
    ) {
        let place = Place { seed, sample, step, stream: number };
        let key = NoiseKey::new(sample, step, stream);
        let (mut singles, mut doubles) = ([0f32; 130], [0f64; 130]);
        KeyedNoise::new(seed).fill(key, first, &mut singles);
        KeyedNoise::new(seed).fill(key, first, &mut doubles);
        for (element, (&single, &double)) in (first..).zip(singles.iter().zip(&doubles)) {
            let expected = place.single(element);
            let error = (f64::from(single) - expected).abs();
            prop_assert!(error <= 6e-7 * expected.abs(), "{}: {} {}", element, single, expected);
            let expected = place.double(element);
            let error = (double - expected).abs();
            prop_assert!(error <= 3e-15 * expected.abs(), "{}: {} {}", element, double, expected);
        }
    }

    #[test]
    fn a_flat_batch_is_its_rows(
        seed: u64, row in 0u64..9, (stream, _) in streams(), step: u32, samples in 1usize..5,
        length in 0usize..100,
    ) {
        let (key, noise) = (NoiseKey::new(row, step, stream), KeyedNoise::new(seed));
        let mut rows = vec![0f32; samples * length];
        for sample in 0..samples {
            let mut key = key;
            key.row += sample as u64;
            noise.fill_row(key, &mut rows[sample * length..][..length]);
        }
        let mut flat = vec![0f32; samples * length];
        noise.fill_batch(key, samples, &mut flat).unwrap();
        prop_assert_eq!(&flat, &rows);
        let source: &mut dyn NoiseSource<f32> = &mut { noise };
        flat.fill(0.0);
        source.fill_batch(key, samples, &mut flat).unwrap();
        prop_assert_eq!(&flat, &rows);
    }
}

#[test]
fn a_flat_batch_whose_length_is_no_multiple_is_refused() {
    let wrong = |expected, found| {
        Err(Error::WrongLength {
            name: "normals of a batch",
            expected,
            found,
        })
    };
    for (samples, length, expected) in [(3, 10, 9), (0, 5, 0), (11, 10, 0)] {
        let mut out = vec![7f64; length];
        let refused = wrong(expected, length);
        assert_eq!(
            KeyedNoise::new(1).fill_batch(KEY, samples, &mut out),
            refused
        );
        let mut source = RngNoise::new(StdRng::seed_from_u64(1));
        assert_eq!(source.fill_batch(KEY, samples, &mut out), refused);
        assert_eq!(out, vec![7.0; length]);
    }
    assert_eq!(
        KeyedNoise::new(1).fill_batch::<f32>(KEY, 0, &mut []),
        Ok(())
    );
    assert_eq!(
        KeyedNoise::new(1).fill_batch::<f32>(KEY, 7, &mut []),
        Ok(())
    );
}

#[test]
fn a_flat_batch_in_an_interval_is_refused_where_the_path_has_none() {
    let mut path = BrownianPath::new(1);
    let step = NoiseKey::new(0, 0, Stream::Step(0));
    let mut out = [0f32; 6];
    let outside = step.with_interval(Interval::new(-17.0, 0.0));
    let refused = path.fill_batch(outside, 2, &mut out);
    assert!(matches!(refused, Err(Error::KnotOutsidePath { .. })));
    assert_eq!(out, [0.0; 6]);
    let inside = step.with_interval(Interval::new(-1.0, 0.0));
    assert_eq!(path.fill_batch(inside, 2, &mut out), Ok(()));
}

const SHAPE: (usize, usize, usize) = (3, 5, 7);

/// x_T, and every step of a DDPM run, from flat normals and the posterior's scalars.
fn a_run_by_hand<A: Real>(schedule: &dyn NoiseSchedule, seed: u64) {
    let grid = Grid::trailing(schedule, 6).unwrap();
    let sampler = Sampler::new(schedule, &grid, &FirstOrder::ddpm()).unwrap();
    let noise = KeyedNoise::new(seed).with_first_sample(4).unwrap();
    let mut run = sampler.start(SHAPE, Prediction::Data, noise).unwrap();

    let mut z = vec![A::zero(); 3 * 5 * 7];
    let start = NoiseKey::new(0, 0, Stream::Start);
    noise.fill_batch(start, SHAPE.0, &mut z).unwrap();
    let deviation = A::cast(sampler.start_variance().sqrt());
    let mut x: Vec<A> = z.iter().map(|&z| deviation * z).collect();
    assert_eq!(run.state().as_slice().unwrap(), x);

    let mut noisy = 0;
    for step in 0..6 {
        let taken = &sampler.plan().steps()[step];
        let q = StridedPosterior::new(taken.from, taken.to, Kappa::Ddpm).unwrap();
        let data: Vec<A> = x.iter().map(|&x| A::cast(0.1) * x - A::cast(0.3)).collect();
        let key = NoiseKey::new(0, step as u32, Stream::Step(0));
        noise.fill_batch(key, SHAPE.0, &mut z).unwrap();
        let scalars = [q.state_coefficient(), q.data_coefficient(), q.gamma()];
        let [c_t, c_0, gamma] = scalars.map(A::cast);
        for ((x, &d), &z) in x.iter_mut().zip(&data).zip(&z) {
            *x = c_t * *x + c_0 * d;
            if q.gamma() != 0.0 {
                *x += gamma * z;
            }
        }
        noisy += usize::from(q.gamma() != 0.0);
        let data = Array3::from_shape_vec(SHAPE, data).unwrap();
        run.tell(&data).unwrap();
        assert_eq!(run.state().as_slice().unwrap(), x, "step {step}");
    }
    assert_eq!(noisy, 5);
}

#[test]
fn flat_batches_are_what_a_run_draws_at_its_start_and_at_its_steps() {
    let (table, exploding) = (
        TableSchedule::linear(1000, 1e-4, 0.02).unwrap(),
        VarianceExploding::new(0.01, 50.0).unwrap(),
    );
    for schedule in [&table as &dyn NoiseSchedule, &exploding] {
        for seed in [0, 8, u64::MAX] {
            a_run_by_hand::<f32>(schedule, seed);
            a_run_by_hand::<f64>(schedule, seed);
        }
    }
}

#[test]
fn a_flat_batch_of_the_forward_stream_is_what_diffuse_adds() {
    let level = TableSchedule::linear(1000, 1e-4, 0.02)
        .unwrap()
        .level(500.0);
    let (level, noise) = (level.unwrap(), KeyedNoise::new(3));
    let data = Array3::from_shape_fn(SHAPE, |(i, j, k)| (i * 35 + j * 7 + k) as f32 / 50.0);
    let mut x = data.clone();
    diffuse(&mut x, &[level], &mut { noise }, 12).unwrap();
    let mut z = vec![0f32; x.len()];
    let key = NoiseKey::new(0, 12, Stream::Forward);
    noise.fill_batch(key, SHAPE.0, &mut z).unwrap();
    let (alpha, sigma) = (level.alpha() as f32, level.sigma() as f32);
    for ((x, data), z) in x.iter().zip(&data).zip(z) {
        assert_eq!(*x, alpha * data + sigma * z);
    }
}

//! The normals: distribution, independence, one map from keys to bits.
//!
//! The seeds are fixed, so no outcome is left to chance; each statistical assertion would fail for
//! one seed in a thousand if the noise were perfect, and a family of several is judged as one.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::{Mutex, MutexGuard, PoisonError};

use diffusion_sampler::{
    KeyedNoise,
    kernel::{SimdLevel, force_simd_level},
    noise::{NoiseKey, NoiseSource, RngNoise, Stream},
};
use proptest::prelude::*;
use rand::{RngCore, SeedableRng, rngs::StdRng};

const KEY: NoiseKey = NoiseKey::new(0, 0, Stream::Start);

/// How often a perfect generator fails an assertion.
const FALSE_POSITIVES: f64 = 1e-3;

/// Φ(z).
fn cdf(z: f64) -> f64 {
    0.5 * libm::erfc(-z * std::f64::consts::FRAC_1_SQRT_2)
}

/// The bound that the largest |z| of `count` standard normal scores keeps but for one family in a
/// thousand.
fn critical(count: usize) -> f64 {
    let (mut low, mut high) = (0.0, 10.0);
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if 2.0 * cdf(-middle) * count as f64 > FALSE_POSITIVES {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// Asserts that no score of a family of standard normals is too large.
fn accept(law: &str, scores: &[(String, f64)]) {
    let bound = critical(scores.len());
    for (name, score) in scores {
        assert!(
            score.abs() < bound,
            "{law}, {name}: {score} exceeds {bound}"
        );
    }
}

fn row<A: Copy + Default>(mut source: impl NoiseSource<A>, key: NoiseKey, length: usize) -> Vec<A> {
    let mut out = vec![A::default(); length];
    source.fill(key, 0, &mut out);
    out
}

fn wide<A: Into<f64>>(values: Vec<A>) -> Vec<f64> {
    values.into_iter().map(Into::into).collect()
}

/// Kolmogorov–Smirnov, χ² in 1024 equal classes, and four moments.
fn assert_standard_normal(law: &str, values: &[f64]) {
    let n = values.len() as f64;
    let mut uniforms: Vec<f64> = values.iter().map(|&z| cdf(z)).collect();

    let mut counts = vec![0u32; 1024];
    for u in &uniforms {
        counts[((u * 1024.0) as usize).min(1023)] += 1;
    }
    let expected = n / 1024.0;
    let chi2: f64 = counts
        .iter()
        .map(|&c| (f64::from(c) - expected).powi(2) / expected)
        .sum();
    // Wilson and Hilferty: the cube root is nearly normal. Too good a fit is refused as well.
    let spread = 2.0 / (9.0 * 1023.0);
    let score = ((chi2 / 1023.0).cbrt() - 1.0 + spread) / spread.sqrt();
    accept(law, &[("chi-squared".into(), score)]);

    uniforms.sort_unstable_by(f64::total_cmp);
    let distance = uniforms.iter().enumerate().fold(0.0f64, |d, (i, &u)| {
        d.max((i + 1) as f64 / n - u).max(u - i as f64 / n)
    });
    // P(D√n > x) → 2 exp(−2x²).
    let bound = (-0.5 * (FALSE_POSITIVES / 2.0).ln()).sqrt();
    assert!(
        distance * n.sqrt() < bound,
        "{law}, KS: {} exceeds {bound}",
        distance * n.sqrt()
    );

    // E zᵏ and Var zᵏ of a normal.
    let moments = [
        (1, 0.0, 1.0),
        (2, 1.0, 2.0),
        (3, 0.0, 15.0),
        (4, 3.0, 96.0f64),
    ];
    let scores = moments.map(|(k, mean, variance)| {
        let found = values.iter().map(|z| z.powi(k)).sum::<f64>() / n;
        (
            format!("moment {k}"),
            (found - mean) / (variance / n).sqrt(),
        )
    });
    accept(law, &scores);
}

#[test]
fn keyed_noise_is_standard_normal() {
    const N: usize = 3 << 20;
    assert_standard_normal("f32", &wide(row::<f32>(KeyedNoise::new(1), KEY, N)));
    assert_standard_normal("f64", &wide(row::<f64>(KeyedNoise::new(2), KEY, N)));
}

#[test]
fn noise_from_a_generator_is_standard_normal() {
    const N: usize = 1 << 20;
    let rng = StdRng::seed_from_u64;
    assert_standard_normal("f32", &wide(row::<f32>(RngNoise::new(rng(3)), KEY, N)));
    assert_standard_normal("f64", &wide(row::<f64>(RngNoise::new(rng(4)), KEY, N)));
}

/// Rows of two elements, the samples of two-dimensional toys.
#[test]
fn short_rows_of_many_samples_are_standard_normal() {
    let mut source = KeyedNoise::new(5);
    let mut values = vec![0f32; 1 << 19];
    for (row, pair) in (0..).zip(values.chunks_exact_mut(2)) {
        source.fill(NoiseKey::new(row, 0, Stream::Start), 0, pair);
    }
    assert_standard_normal("rows of two", &wide(values));
}

/// Counts beyond ±2, ±3, ±4 and ±5 are Poisson; Anscombe's root makes them normal.
fn assert_tails<A: Copy + Default + Into<f64>>(law: &str, seed: u64)
where
    KeyedNoise: NoiseSource<A>,
{
    const N: usize = 1 << 25;
    let mut source = KeyedNoise::new(seed);
    let mut piece = vec![A::default(); 1 << 14];
    let mut counts = [[0u32; 2]; 4];
    for first in (0..N).step_by(piece.len()) {
        source.fill(KEY, first as u64, &mut piece);
        for &value in &piece {
            let z: f64 = value.into();
            for count in counts.iter_mut().take((z.abs() as usize).saturating_sub(1)) {
                count[usize::from(z > 0.0)] += 1;
            }
        }
    }
    let scores: Vec<_> = (2u32..)
        .zip(counts)
        .flat_map(|(k, pair)| {
            let expected = N as f64 * cdf(-f64::from(k));
            let root = move |x: f64| 2.0 * (x + 0.375).sqrt();
            pair.map(|c| {
                (
                    format!("beyond {k} sd: {c}, expected {expected}"),
                    root(f64::from(c)) - root(expected),
                )
            })
        })
        .collect();
    accept(law, &scores);
}

#[test]
fn tails_are_normal_up_to_five_standard_deviations() {
    assert_tails::<f32>("f32", 6);
    assert_tails::<f64>("f64", 7);
}

/// Scores of the correlations of two sequences and of their squares, which a shared radius would
/// betray.
fn correlations(name: &str, a: &[f64], b: &[f64]) -> [(String, f64); 2] {
    let n = a.len().min(b.len()) as f64;
    let sum = |f: fn(f64) -> f64| a.iter().zip(b).map(|(&x, &y)| f(x) * f(y)).sum::<f64>();
    [
        (format!("{name}, values"), sum(|z| z) / n.sqrt()),
        // Var(z² − 1) = 2.
        (
            format!("{name}, squares"),
            sum(|z| z * z - 1.0) / (2.0 * n.sqrt()),
        ),
    ]
}

fn assert_no_lag(law: &str, values: &[f64]) {
    // Neighbours, the lanes and rows of a block on either side, blocks, and pages.
    let lags = [
        1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 127, 128, 256,
        1024, 4096, 65536,
    ];
    let scores: Vec<_> = lags
        .iter()
        .flat_map(|&lag| correlations(&format!("lag {lag}"), values, &values[lag..]))
        .collect();
    accept(law, &scores);
}

#[test]
fn elements_are_uncorrelated_at_any_lag() {
    const N: usize = 1 << 20;
    assert_no_lag("f32", &wide(row::<f32>(KeyedNoise::new(8), KEY, N)));
    assert_no_lag("f64", &wide(row::<f64>(KeyedNoise::new(9), KEY, N)));
    let rng = StdRng::seed_from_u64;
    assert_no_lag(
        "f32, generator",
        &wide(row::<f32>(RngNoise::new(rng(10)), KEY, N)),
    );
    assert_no_lag(
        "f64, generator",
        &wide(row::<f64>(RngNoise::new(rng(11)), KEY, N)),
    );
}

/// Keys that differ in one bit or in one part only, each with every other.
fn assert_independent<A: Copy + Default + Into<f64>>(law: &str)
where
    KeyedNoise: NoiseSource<A>,
{
    const N: usize = 1 << 16;
    let streams = [
        Stream::Forward,
        Stream::Step(0),
        Stream::Step(1),
        Stream::User(0),
        Stream::User(255),
    ];
    let keys: Vec<_> = [KEY]
        .into_iter()
        .chain([1, 2, 1 << 31, 1 << 32, 1 << 52].map(|row| NoiseKey::new(row, 0, Stream::Start)))
        .chain([1, 2, 1 << 31].map(|step| NoiseKey::new(0, step, Stream::Start)))
        .chain(streams.map(|stream| NoiseKey::new(0, 0, stream)))
        .collect();
    let mut rows: Vec<_> = keys
        .iter()
        .map(|&key| {
            (
                format!("{key:?}"),
                wide(row::<A>(KeyedNoise::new(12), key, N)),
            )
        })
        .collect();
    for seed in [13, 12 + (1 << 32)] {
        rows.push((
            format!("seed {seed}"),
            wide(row::<A>(KeyedNoise::new(seed), KEY, N)),
        ));
    }
    let mut scores = Vec::new();
    for (i, (a, x)) in rows.iter().enumerate() {
        for (b, y) in &rows[..i] {
            scores.extend(correlations(&format!("{a} with {b}"), x, y));
        }
    }
    accept(law, &scores);
}

#[test]
fn samples_steps_streams_and_seeds_are_uncorrelated() {
    assert_independent::<f32>("f32");
    assert_independent::<f64>("f64");
}

/// One element over 2¹⁸ samples and over 2¹⁸ steps: the counter's other words.
#[test]
fn one_element_over_samples_and_over_steps_is_standard_normal_and_uncorrelated() {
    let mut source = KeyedNoise::new(14);
    let mut at = |key| {
        let mut out = [0f32; 1];
        source.fill(key, 5, &mut out);
        f64::from(out[0])
    };
    let samples: Vec<f64> = (0..1 << 18)
        .map(|row| at(NoiseKey::new(row, 0, Stream::Start)))
        .collect();
    let steps: Vec<f64> = (0..1 << 18)
        .map(|step| at(NoiseKey::new(0, step, Stream::Start)))
        .collect();
    for (law, values) in [("samples", samples), ("steps", steps)] {
        assert_standard_normal(law, &values);
        assert_no_lag(law, &values);
    }
}

/// Rows and steps at the ends of their ranges, and every stream: no two share their noise.
#[test]
fn no_two_keys_share_a_row() {
    let streams = [Stream::Start, Stream::Forward]
        .into_iter()
        .chain((0..=255).map(Stream::Step))
        .chain((0..=255).map(Stream::User));
    let mut seen = std::collections::HashMap::new();
    for stream in streams {
        for row in [0, 1, (1 << 32) - 1, 1 << 32, 1 << 53, (1 << 54) - 1] {
            for step in [0, 1, u32::MAX] {
                let key = NoiseKey::new(row, step, stream);
                let mut out = [0f64; 2];
                KeyedNoise::new(0).fill(key, 0, &mut out);
                if let Some(other) = seen.insert(out.map(f64::to_bits), key) {
                    panic!("{key:?} and {other:?}");
                }
            }
        }
    }
    assert_eq!(seen.len(), 514 * 18);
}

#[test]
fn a_shard_gets_the_rows_of_the_whole() {
    for index in [1u64, 7, 1 << 32, (1 << 53) - 1] {
        let shard = KeyedNoise::new(15).with_first_sample(index).unwrap();
        let expected: Vec<f32> = row(
            KeyedNoise::new(15),
            NoiseKey::new(index, 0, Stream::Start),
            70,
        );
        assert_eq!(row::<f32>(shard, KEY, 70), expected, "{index}");
    }
    assert!(KeyedNoise::new(15).with_first_sample(1 << 53).is_err());
}

/// Cuts of a row in ascending order.
fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0usize..600, 0..20).prop_map(|mut cuts| {
        cuts.extend([0, 600]);
        cuts.sort_unstable();
        cuts
    })
}

fn pieces<A: Copy + Default>(
    source: &mut impl NoiseSource<A>,
    key: NoiseKey,
    first: u64,
    cuts: &[usize],
) -> Vec<A> {
    let mut out = vec![A::default(); 600];
    for pair in cuts.windows(2) {
        source.fill(key, first + pair[0] as u64, &mut out[pair[0]..pair[1]]);
    }
    out
}

const LEVELS: [SimdLevel; 3] = [SimdLevel::Portable, SimdLevel::Avx2, SimdLevel::Avx512];

/// The level is the process's, so one test at a time sets it.
fn own_the_level() -> MutexGuard<'static, ()> {
    static OWNER: Mutex<()> = Mutex::new(());
    OWNER.lock().unwrap_or_else(PoisonError::into_inner)
}

proptest! {
    #[test]
    fn any_cut_at_any_offset_and_level_gives_the_same_bits(
        seed: u64, row: u64, step: u32, first in 0u64..1 << 40, cuts in cuts(),
    ) {
        let key = NoiseKey::new(row, step, Stream::Step(3));
        let _owned = own_the_level();
        let singles: Vec<f32> = pieces(&mut KeyedNoise::new(seed), key, first, &[0, 600]);
        let doubles: Vec<f64> = pieces(&mut KeyedNoise::new(seed), key, first, &[0, 600]);
        for level in LEVELS {
            force_simd_level(Some(level));
            prop_assert_eq!(&pieces::<f32>(&mut KeyedNoise::new(seed), key, first, &cuts), &singles);
            prop_assert_eq!(&pieces::<f64>(&mut KeyedNoise::new(seed), key, first, &cuts), &doubles);
        }
        force_simd_level(None);
    }

    #[test]
    fn however_a_generators_noise_is_asked_for_it_is_the_same(seed: u64, cuts in cuts()) {
        let _owned = own_the_level();
        let source = RngNoise::new(StdRng::seed_from_u64(seed));
        let singles: Vec<f32> = pieces(&mut source.clone(), KEY, 0, &[0, 600]);
        let doubles: Vec<f64> = pieces(&mut source.clone(), KEY, 0, &[0, 600]);
        for level in LEVELS {
            force_simd_level(Some(level));
            prop_assert_eq!(&pieces::<f32>(&mut source.clone(), KEY, 0, &cuts), &singles);
            prop_assert_eq!(&pieces::<f64>(&mut source.clone(), KEY, 0, &cuts), &doubles);
        }
        force_simd_level(None);
    }

    #[test]
    fn a_clone_goes_on_as_the_original(seed: u64, taken in 0usize..200) {
        let mut source = RngNoise::new(StdRng::seed_from_u64(seed));
        source.fill(KEY, 0, &mut vec![0f32; taken]);
        source.fill(KEY, 0, &mut vec![0f64; taken / 3]);
        let mut resumed = source.clone();
        prop_assert_eq!(row::<f32>(&mut source, KEY, 100), row::<f32>(&mut resumed, KEY, 100));
        prop_assert_eq!(row::<f64>(&mut source, KEY, 100), row::<f64>(&mut resumed, KEY, 100));
    }
}

/// A generator whose words this file defines: SplitMix64.
struct SplitMix(u64);

impl RngCore for SplitMix {
    fn next_u32(&mut self) -> u32 {
        self.next_u64() as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        for piece in out.chunks_mut(8) {
            piece.copy_from_slice(&self.next_u64().to_le_bytes()[..piece.len()]);
        }
    }
}

/// FNV-1a.
fn hash(words: impl Iterator<Item = u64>) -> u64 {
    words
        .flat_map(u64::to_le_bytes)
        .fold(0xCBF2_9CE4_8422_2325, |h, byte| {
            (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
        })
}

/// Value stability, not correctness: whoever changes these numbers changes every sample that was
/// ever drawn with a seed, and says so in the changelog.
#[test]
fn value_stability_pins() {
    fn bits<A: Copy + Default + Into<f64>>(source: impl NoiseSource<A>) -> ([u64; 3], u64) {
        let key = NoiseKey::new(3, 17, Stream::Step(1));
        // An f32 is widened exactly.
        let bits = wide(row(source, key, 10_000)).into_iter().map(f64::to_bits);
        let bits: Vec<u64> = bits.collect();
        ([bits[0], bits[1], bits[2]], hash(bits.into_iter()))
    }
    assert_eq!(
        bits::<f32>(KeyedNoise::new(7)),
        (
            [
                0xBFE5_C7A4_8000_0000,
                0xBFDA_AF4C_8000_0000,
                0xBFF4_D815_6000_0000
            ],
            0x0928_739A_9DC7_1314
        )
    );
    assert_eq!(
        bits::<f64>(KeyedNoise::new(7)),
        (
            [
                0xBFBA_47B5_AEB8_EAFC,
                0x3FF1_5A43_FB15_E105,
                0x3FA0_B0A9_F568_7857
            ],
            0x80AF_B5D1_21E1_7902
        )
    );
    assert_eq!(
        bits::<f32>(RngNoise::new(SplitMix(7))),
        (
            [
                0x3FDF_8725_0000_0000,
                0xBFD3_9A89_0000_0000,
                0x3FE8_33C8_2000_0000
            ],
            0x80BD_0D92_FB45_25AA
        )
    );
    assert_eq!(
        bits::<f64>(RngNoise::new(SplitMix(7))),
        (
            [
                0xBFE0_3811_5EE3_FAFE,
                0xBFF7_BC0A_C00C_FF3F,
                0xBFDB_3C52_04CF_7410
            ],
            0x2691_DB73_15DA_6797
        )
    );
}

#[test]
fn sources_can_be_sent_and_shared() {
    fn assert<T: Send + Sync>() {}
    assert::<KeyedNoise>();
    assert::<diffusion_sampler::noise::BrownianPath>();
    assert::<RngNoise<StdRng>>();
    assert::<NoiseKey>();
}

#[test]
fn a_boxed_source_gives_the_bits_of_its_source() {
    let boxed: Box<dyn NoiseSource<f32>> = Box::new(KeyedNoise::new(3));
    assert_eq!(row(boxed, KEY, 70), row::<f32>(KeyedNoise::new(3), KEY, 70));
}

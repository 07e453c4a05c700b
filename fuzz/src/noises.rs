//! Noise in pieces is the noise of the whole, for any seed, key and cut; and keyed normals are those
//! of the documented layout, computed here anew.

use diffusion_sampler::KeyedNoise;
use diffusion_sampler::kernel::{SimdLevel, force_simd_level};
use diffusion_sampler::noise::{
    BrownianPath, Demand, Interval, NoiseKey, NoiseSource, NormalElement, Stream, TorchCpu,
    TorchCuda, TorchGenerator, TorchNoise,
};

use crate::input::{Input, Mix};

/// No normal of the transforms is larger: √(−2 ln 2⁻⁵³) is 8.57.
const LARGEST: f64 = 8.6;

/// Longer rows than this are drawn by their own test.
const LONGEST: usize = 200;

fn stream(input: &mut Input<'_>) -> Stream {
    let number = input.byte();
    match input.below(4) {
        0 => Stream::Start,
        1 => Stream::Forward,
        2 => Stream::User(number),
        _ => Stream::Step(number),
    }
}

/// The lengths of the pieces of a row.
fn cut(input: &mut Input<'_>, length: usize) -> Vec<usize> {
    let mut left = length;
    let mut pieces = Vec::new();
    while left > 0 && pieces.len() < 8 {
        let piece = input.below(256).min(left);
        pieces.push(piece);
        left -= piece;
    }
    pieces.push(left);
    pieces
}

fn same<A: NormalElement + PartialEq + std::fmt::Debug>(one: &[A], other: &[A], what: &str) {
    let bits = |list: &[A]| list.iter().map(|z| z.wide().to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(one), bits(other), "{what}");
}

/// A source that was not asked before gives the row in pieces as it gives it whole.
fn in_pieces<A, S>(source: &S, key: NoiseKey, first: u64, whole: &[A], pieces: &[usize])
where
    A: NormalElement + PartialEq + std::fmt::Debug + Default,
    S: NoiseSource<A> + Clone,
{
    let mut source = source.clone();
    let mut row = vec![A::default(); whole.len()];
    let mut at = 0;
    for &piece in pieces {
        source.fill(key, first + at as u64, &mut row[at..at + piece]);
        at += piece;
    }
    same(&row, whole, "pieces of a row");
}

fn of_row(mut key: NoiseKey, row: u64) -> NoiseKey {
    key.row = row;
    key
}

fn philox(mut c: [u32; 4], mut k: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let p = 0xD251_1F53 * u64::from(c[0]);
        let q = 0xCD9E_8D57 * u64::from(c[2]);
        let (high, low) = (|w: u64| (w >> 32) as u32, |w: u64| w as u32);
        c = [high(q) ^ c[1] ^ k[0], low(q), high(p) ^ c[3] ^ k[1], low(p)];
        k = [
            k[0].wrapping_add(0x9E37_79B9),
            k[1].wrapping_add(0xBB67_AE85),
        ];
    }
    c
}

/// One normal by the documented layout, in f64 with the platform's functions.
fn by_layout(wide: bool, seed: u64, counter: [u32; 3], element: u64) -> f64 {
    let (block, places) = if wide { (32, 2) } else { (64, 4) };
    // Counters of a seed, and then those of the next.
    let elements = (1u64 << 32) / 16 * block;
    let seeds = element / elements;
    let seed = seed.wrapping_add(seeds.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let element = element % elements;
    let index = 16 * (element / block) + element % 16;
    let place = element % block / 16;
    let words = philox(
        [index as u32, counter[0], counter[1], counter[2]],
        [seed as u32, (seed >> 32) as u32],
    );
    let quarter = std::f64::consts::FRAC_PI_2;
    let (uniform, angle, first, second) = if wide {
        let [w0, w1, w2, w3] = words.map(u64::from);
        let (u, v) = (w0 | w1 << 32, w2 | w3 << 32);
        (
            ((u >> 12) as f64 + 0.5) / 2f64.powi(52),
            (((v >> 11) % (1 << 52)) as f64 + 0.5) / 2f64.powi(52),
            v & 1,
            v >> 63,
        )
    } else {
        let (u, v) = match place < places / 2 {
            true => (words[0], words[1]),
            false => (words[2], words[3]),
        };
        let a = f64::from((v as i32) >> 1 | 1) / 2f64.powi(30);
        (
            f64::from((u >> 1 | 1) as f32) / 2f64.powi(31),
            a,
            u64::from(v & 1),
            0,
        )
    };
    let sign = |bit: u64| if bit == 1 { -1.0 } else { 1.0 };
    let radius = (-2.0 * uniform.ln()).sqrt();
    match place % 2 {
        0 => sign(first) * radius * (quarter * (1.0 - angle.abs())).sin(),
        _ => sign(second) * radius * (quarter * angle).sin(),
    }
}

fn keyed<A>(input: &mut Input<'_>)
where
    A: NormalElement + PartialEq + std::fmt::Debug + Default,
{
    let (seed, row, step) = (input.long(), input.long(), input.long() as u32);
    let stream = stream(input);
    let first = match input.below(3) {
        0 => 0,
        1 => input.word() as u64,
        _ => input.long().min(u64::MAX - LONGEST as u64),
    };
    let length = input.below(LONGEST + 1);
    let pieces = cut(input, length);
    let noise = KeyedNoise::new(seed);
    let key = NoiseKey::new(row, step, stream);
    let level = *input.choose(&[SimdLevel::Portable, SimdLevel::Avx2, SimdLevel::Avx512]);
    force_simd_level(Some(level));
    let mut whole = vec![A::default(); length];
    NoiseSource::fill(&mut noise.clone(), key, first, &mut whole);
    force_simd_level(None);
    in_pieces(&noise, key, first, &whole, &pieces);

    // A shard has the rows of the whole.
    let shift = input.long() >> 11;
    let shard = noise.with_first_sample(shift).expect("less than 2^53");
    if let Some(own) = row.checked_sub(shift) {
        in_pieces(&shard, of_row(key, own), first, &whole, &[length]);
    }

    // A batch of rows is its rows.
    let samples = 1 + input.below(4);
    let mut batch = vec![A::default(); samples * (length / samples)];
    let per_sample = batch.len() / samples;
    noise
        .fill_batch(key, samples, &mut batch)
        .expect("a multiple of the samples");
    for sample in 0..samples {
        let mut alone = vec![A::default(); per_sample];
        noise.fill_row(of_row(key, row.wrapping_add(sample as u64)), &mut alone);
        same(
            &batch[sample * per_sample..][..per_sample],
            &alone,
            "a batch",
        );
    }

    // One element, by the text.
    if length > 0 {
        let at = input.below(length);
        let number = match stream {
            Stream::Start => 0,
            Stream::Forward => 1,
            Stream::Step(n) => 2 + u32::from(n),
            Stream::User(n) => 258 + u32::from(n),
            _ => return,
        };
        let counter = [
            row as u32,
            step,
            (row >> 32) as u32 & ((1 << 22) - 1) | number << 22,
        ];
        let wide = size_of::<A>() == 8;
        let expected = by_layout(wide, seed, counter, first + at as u64);
        // The documented errors, and as much for the functions used here.
        let bound = if wide { 4e-15 } else { 6.2e-7 };
        let found = whole[at].wide();
        let error = (found - expected).abs();
        assert!(
            error <= bound * expected.abs(),
            "{found} and {expected}, element {at} from {first}"
        );
    }
    for z in &whole {
        assert!(z.wide().abs() < LARGEST, "{}", z.wide());
    }
}

fn brownian<A>(input: &mut Input<'_>)
where
    A: NormalElement + PartialEq + std::fmt::Debug + Default,
{
    let mut path = BrownianPath::new(input.long());
    if input.flag() {
        path = path.with_tau(input.number()).unwrap_or(path);
    }
    if input.flag() {
        let (from, to) = (input.number(), input.number());
        let over = path.with_interval(Interval::new(from, to));
        path = over.unwrap_or(path);
    }
    let interval = Interval::new(input.number(), input.number());
    let demanded = [interval];
    let demand = Demand::batch(1, 4, 0..1, Stream::Step(0)).with_intervals(&demanded);
    let taken = NoiseSource::<A>::check(&path, &demand).is_ok();
    let key = NoiseKey::new(
        input.long(),
        input.long() as u32,
        Stream::Step(input.byte()),
    );
    let key = key.with_interval(interval).on_path(input.byte());
    let length = input.below(80);
    let pieces = cut(input, length);
    let first = input.word() as u64;
    let mut whole = vec![A::default(); length];
    NoiseSource::fill(&mut path.clone(), key, first, &mut whole);
    for z in &whole {
        let z = z.wide();
        // A weighted sum whose squared weights add up to one: 100 terms at most.
        assert!(!taken || z.abs() < 10.0 * LARGEST, "{z} over {interval:?}");
        assert!(taken || !z.is_finite(), "{z} over {interval:?}, refused");
    }
    if taken {
        in_pieces(&path, key, first, &whole, &pieces);
    }
}

/// Tensors of a generator, whole and in the pieces in which a run asks for them.
fn torch<A, G>(input: &mut Input<'_>, generator: G, randn: fn(&mut G, &mut [A]))
where
    A: NormalElement + PartialEq + std::fmt::Debug + Default,
    G: TorchGenerator<A> + Clone + PartialEq + std::fmt::Debug,
{
    let (samples, elements) = (1 + input.below(4), input.below(40));
    let shape = [samples, elements];
    let mut noise = TorchNoise::new(generator.clone(), &shape).expect("a small shape");
    let mut whole = generator;
    for step in 0..1 + input.below(3) as u32 {
        let stream = match step {
            0 => Stream::Start,
            _ => Stream::Step(0),
        };
        let mut expected = vec![A::default(); samples * elements];
        randn(&mut whole, &mut expected);
        let mut found = vec![A::default(); samples * elements];
        for sample in 0..samples {
            let key = NoiseKey::new(sample as u64, step.saturating_sub(1), stream);
            let mut at = 0;
            for piece in cut(input, elements) {
                let row = &mut found[sample * elements..][..elements];
                noise.fill(key, at as u64, &mut row[at..at + piece]);
                at += piece;
            }
        }
        same(&found, &expected, "a tensor in pieces");
        assert!(expected.iter().all(|z| z.wide().abs() < LARGEST));
    }
    // Rows, elements and orders that no run asks for: NaN or numbers, no panic.
    let mut mix = Mix(input.long());
    for _ in 0..input.below(4) {
        let mut out = vec![A::default(); input.below(50)];
        let key = NoiseKey::new(mix.next() % 6, mix.next() as u32 % 5, stream(input));
        noise.fill(key, mix.next() % 50, &mut out);
    }
    let _ = noise.fill(
        NoiseKey::new(u64::MAX, u32::MAX, Stream::Start),
        u64::MAX,
        &mut [A::default()],
    );
}

/// Noise in pieces.
pub fn noise(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    match input.below(8) {
        0 | 1 => keyed::<f32>(&mut input),
        2 | 3 => keyed::<f64>(&mut input),
        4 => match input.flag() {
            true => brownian::<f32>(&mut input),
            false => brownian::<f64>(&mut input),
        },
        5 => {
            let generator = TorchCpu::new(input.long());
            match input.flag() {
                true => torch::<f32, _>(&mut input, generator, TorchCpu::randn),
                false => torch::<f64, _>(&mut input, generator, TorchCpu::randn),
            }
        }
        _ => {
            let generator = TorchCuda::new(input.long()).after(input.long());
            torch::<f32, _>(&mut input, generator, TorchCuda::randn);
        }
    }
}

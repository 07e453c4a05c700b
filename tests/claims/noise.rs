//! Rows 17 and 18: the same bits whatever the batch, the shards, the threads and the SIMD level;
//! and the law of the normals.

use std::error::Error;

use diffusion_sampler::{
    Grid, KeyedNoise, Prediction, Real, Sampler,
    kernel::{SimdLevel, force_simd_level},
    noise::{NoiseKey, NoiseSource, Stream},
    oracle::{Gaussian, Oracle},
    schedule::TableSchedule,
    solver::DpmSolverPlusPlus,
};
use ndarray::{Array2, Axis, concatenate};

use super::{Accept, Claim};

/// The claims of this topic.
pub(crate) fn claims() -> Result<Vec<Claim>, Box<dyn Error>> {
    let mut claims = bits::<f32>("f32")?;
    claims.extend(bits::<f64>("f64")?);
    claims.extend(law::<f32>("f32"));
    claims.extend(law::<f64>("f64"));
    Ok(claims)
}

const SAMPLES: usize = 64;
const DIM: usize = 37;

/// The samples `first..first + count` of a stochastic multistep run.
fn run<A: Real>(first: usize, count: usize) -> Result<Array2<A>, Box<dyn Error + Send + Sync>> {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let sampler = Sampler::new(
        &schedule,
        &Grid::trailing(&schedule, 6)?,
        &DpmSolverPlusPlus::new().with_tau(1.0)?,
    )?;
    let mut model = Gaussian::isotropic(&[0.5; DIM], 0.3)?.denoiser(Prediction::Velocity);
    let noise = KeyedNoise::new(17).with_first_sample(first as u64)?;
    let mut run = sampler.start((count, DIM), Prediction::Velocity, noise)?;
    run.complete(&mut model)?;
    Ok(run.into_state())
}

/// The samples in pieces of the given size, which threads compute where `threads` is more than one.
fn pieces<A: Real>(size: usize, threads: usize) -> Result<Array2<A>, Box<dyn Error + Send + Sync>> {
    let starts: Vec<usize> = (0..SAMPLES).step_by(size).collect();
    let part = |first: &usize| run::<A>(*first, size.min(SAMPLES - first));
    let parts: Vec<Array2<A>> = std::thread::scope(|scope| {
        let workers: Vec<_> = starts
            .chunks(starts.len().div_ceil(threads))
            .map(|starts| {
                scope.spawn(move || starts.iter().map(part).collect::<Result<Vec<_>, _>>())
            })
            .collect();
        let mut parts = Vec::new();
        for worker in workers {
            parts.extend(worker.join().map_err(|_| "a worker panicked")??);
        }
        Ok::<_, Box<dyn Error + Send + Sync>>(parts)
    })?;
    let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
    Ok(concatenate(Axis(0), &views)?)
}

/// Row 17, as the number of values that differ in any bit from the plain run of all samples.
fn bits<A: Real>(name: &str) -> Result<Vec<Claim>, Box<dyn Error>> {
    let failed = |error: Box<dyn Error + Send + Sync>| error.to_string();
    let whole = run::<A>(0, SAMPLES).map_err(failed)?;
    let differing = |other: &Array2<A>| {
        whole
            .iter()
            .zip(other)
            .filter(|(a, b)| a.widen().to_bits() != b.widen().to_bits())
            .count() as f64
    };
    let mut claims = Vec::new();
    let mut claim = |what: String, other: &Array2<A>| {
        claims.push(Claim::new(
            format!("{name} values that differ {what}"),
            "bits of one run of 64 samples, SDE 2M",
            differing(other),
            Accept::Within(0.0, 0.0),
        ));
    };
    for size in [1, 7] {
        let other = pieces::<A>(size, 1).map_err(failed)?;
        claim(format!("in batches of {size}"), &other);
    }
    for threads in [2, 8] {
        let other = pieces::<A>(SAMPLES / threads, threads).map_err(failed)?;
        claim(format!("in {threads} shards on {threads} threads"), &other);
    }
    for level in [SimdLevel::Portable, SimdLevel::Avx2, SimdLevel::Avx512] {
        force_simd_level(Some(level));
        let other = run::<A>(0, SAMPLES);
        force_simd_level(None);
        claim(
            format!("at SIMD level {level:?} or the machine's best"),
            &other.map_err(failed)?,
        );
    }
    Ok(claims)
}

const ROWS: usize = 128;
const ROW: usize = 1 << 17;

fn fill<A: Real>(row: usize, step: u32, stream: Stream) -> Vec<f64> {
    let key = NoiseKey::new(row as u64, step, stream);
    let mut out = vec![A::zero(); ROW];
    KeyedNoise::new(18).fill(key, 0, &mut out);
    out.iter().map(|z| z.widen()).collect()
}

/// √n times the correlation of two sequences: standard normal for independent ones.
fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let sum: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
    sum / (a.len().min(b.len()) as f64).sqrt()
}

/// Row 18 on 2²⁴ draws.
fn law<A: Real>(name: &str) -> Vec<Claim> {
    let rows: Vec<Vec<f64>> = (0..ROWS)
        .map(|row| fill::<A>(row, 3, Stream::Step(0)))
        .collect();
    let mut sorted: Vec<f64> = rows.iter().flatten().copied().collect();
    let count = sorted.len() as f64;

    // Within a row at several lags, between rows, steps and streams: 11 normals, |z| < 3.92
    // together at 0.1 %.
    let all: Vec<f64> = sorted.clone();
    let mut worst = [1, 2, 3, 4, 16, 32, 64, 256]
        .iter()
        .map(|&lag| correlation(&all, &all[lag..]).abs())
        .fold(0.0, f64::max);
    worst = worst.max(correlation(&all, &all[ROW..]).abs());
    for other in [
        fill::<A>(0, 4, Stream::Step(0)),
        fill::<A>(0, 3, Stream::Start),
    ] {
        worst = worst.max(correlation(&rows[0], &other).abs());
    }

    // Draws beyond 1σ to 5σ, in standard deviations of their binomial counts: 5 normals, |z| < 3.72
    // together at 0.1 %.
    let tails = (1..=5)
        .map(|edge| {
            let edge = f64::from(edge);
            let p = libm::erfc(edge * std::f64::consts::FRAC_1_SQRT_2);
            let beyond = sorted.iter().filter(|z| z.abs() > edge).count() as f64;
            ((beyond - count * p) / (count * p * (1.0 - p)).sqrt()).abs()
        })
        .fold(0.0, f64::max);

    // 64 bins of equal probability: χ² with 63 degrees of freedom, 103.44 at 0.1 %.
    let mut bins = [0.0; 64];
    for z in &sorted {
        let p = 0.5 * libm::erfc(-z * std::f64::consts::FRAC_1_SQRT_2);
        bins[((64.0 * p) as usize).min(63)] += 1.0;
    }
    let expected = count / 64.0;
    let chi_square: f64 = bins
        .iter()
        .map(|found| (found - expected) * (found - expected) / expected)
        .sum();

    sorted.sort_unstable_by(f64::total_cmp);
    let distance = sorted
        .iter()
        .enumerate()
        .map(|(i, z)| {
            let p = 0.5 * libm::erfc(-z * std::f64::consts::FRAC_1_SQRT_2);
            (p - i as f64 / count).max((i + 1) as f64 / count - p)
        })
        .fold(0.0, f64::max);
    vec![
        Claim::new(
            format!("{name} normals, 2²⁴ draws: Kolmogorov–Smirnov √n·D"),
            "standard normal, critical value at 0.1 %",
            distance * count.sqrt(),
            Accept::Below(1.9495),
        ),
        Claim::new(
            format!("{name} normals: χ² over 64 bins of equal probability"),
            "χ² with 63 degrees of freedom, critical value at 0.1 %",
            chi_square,
            Accept::Below(103.44),
        ),
        Claim::new(
            format!("{name} normals: largest deviation of the tails beyond 1σ to 5σ"),
            "binomial counts in standard deviations, 0.1 % together",
            tails,
            Accept::Below(3.72),
        ),
        Claim::new(
            format!("{name} normals: largest correlation over lags, samples, steps and streams"),
            "independence, in standard errors, 0.1 % together",
            worst,
            Accept::Below(3.92),
        ),
    ]
}

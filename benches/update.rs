//! One step, x ← a·x + b·e in place, against the speed of memory.
//!
//! The limit is a hand-unrolled triad on the same buffers, measured alternately with the step in slices of at most
//! 200 µs whose order flips each time. Printed are the median, p10 and p90 of limit ÷ step; the exit status is 1 if a
//! median stays below its gate (0.85; 0.70 in L1) twice. Criterion's own report of the step follows.
#![allow(unsafe_code)]

use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use criterion::Criterion;
use diffusion_sampler::{linear_combination, simd_level};
use ndarray::{Array1, ArrayView1, ArrayViewMut1};

/// a + b = 1 and e = x keep the state where it is, so that no slice meets other numbers than the one before.
const A: f32 = 0.75;
const B: f32 = 0.25;

/// (name, elements, gate on the median)
const SIZES: [(&str, usize, f64); 5] = [
    ("1 Ki", 1 << 10, 0.70),
    ("4 Ki", 4 << 10, 0.70),
    ("64 Ki", 64 << 10, 0.85),
    ("768 Ki", 768 << 10, 0.85),
    ("16 Mi", 16 << 20, 0.85),
];

/// The limit: aligned 256-bit loads and stores, four to a round.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn triad_avx2(x: &mut [f32], e: &[f32]) {
    use std::arch::x86_64::*;
    let len = x.len().min(e.len());
    let head = (x.as_ptr().addr().wrapping_neg() % 32 / 4).min(len);
    for i in 0..head {
        x[i] = A * x[i] + B * e[i];
    }
    let (a, b) = (_mm256_set1_ps(A), _mm256_set1_ps(B));
    let mut i = head;
    while i + 32 <= len {
        // SAFETY: i + 32 ≤ len, and x + i is a multiple of 32 bytes.
        unsafe {
            let (px, pe) = (x.as_mut_ptr().add(i), e.as_ptr().add(i));
            let step = |k: usize| {
                let ax = _mm256_mul_ps(a, _mm256_load_ps(px.add(k)));
                _mm256_add_ps(ax, _mm256_mul_ps(b, _mm256_loadu_ps(pe.add(k))))
            };
            let (v0, v1, v2, v3) = (step(0), step(8), step(16), step(24));
            _mm256_store_ps(px, v0);
            _mm256_store_ps(px.add(8), v1);
            _mm256_store_ps(px.add(16), v2);
            _mm256_store_ps(px.add(24), v3);
        }
        i += 32;
    }
    for i in i..len {
        x[i] = A * x[i] + B * e[i];
    }
}

fn triad(x: &mut [f32], e: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: AVX2 is there.
        return unsafe { triad_avx2(x, e) };
    }
    let (chunks, rest) = x.as_chunks_mut::<64>();
    let (e_chunks, e_rest) = e.as_chunks::<64>();
    for (x, e) in chunks.iter_mut().zip(e_chunks) {
        for (x, e) in x.iter_mut().zip(e) {
            *x = A * *x + B * e;
        }
    }
    for (x, e) in rest.iter_mut().zip(e_rest) {
        *x = A * *x + B * e;
    }
}

fn step(x: &mut [f32], e: &[f32]) {
    let result = linear_combination(
        &mut ArrayViewMut1::from(x),
        f64::from(A),
        &[(f64::from(B), &ArrayView1::from(e))],
    );
    assert_eq!(result, Ok(()));
}

/// The time of `rounds` calls.
fn time(rounds: usize, mut call: impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..rounds {
        call();
    }
    start.elapsed().as_secs_f64()
}

/// Median, p10 and p90 of limit ÷ step, and the median times of both per element in ns.
struct Measured {
    ratio: [f64; 3],
    limit: f64,
    step: f64,
}

fn quantile(values: &mut [f64], q: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * q).round() as usize]
}

fn measure(len: usize) -> Measured {
    let mut x = Array1::<f32>::from_shape_fn(len, |i| (i % 97) as f32 - 48.0).to_vec();
    let e = x.clone();
    triad(&mut x, &e);
    step(&mut x, &e);
    // As many rounds as fit into 200 µs; a call that takes longer is a slice of its own.
    let one = time(3, || triad(black_box(&mut x), black_box(&e))) / 3.0;
    let rounds = ((150e-6 / one) as usize).clamp(1, 10_000);
    let slices = ((1.0 / (one * rounds as f64)) as usize).clamp(40, 2_000);
    let (mut ratios, mut limits, mut steps) = (Vec::new(), Vec::new(), Vec::new());
    for slice in 0..slices {
        let limit = |x: &mut Vec<f32>| time(rounds, || triad(black_box(x), black_box(&e)));
        let ours = |x: &mut Vec<f32>| time(rounds, || step(black_box(x), black_box(&e)));
        let (l, s) = if slice % 2 == 0 {
            let l = limit(&mut x);
            (l, ours(&mut x))
        } else {
            let s = ours(&mut x);
            (limit(&mut x), s)
        };
        ratios.push(l / s);
        limits.push(l / (rounds * len) as f64 * 1e9);
        steps.push(s / (rounds * len) as f64 * 1e9);
    }
    Measured {
        ratio: [0.5, 0.1, 0.9].map(|q| quantile(&mut ratios, q)),
        limit: quantile(&mut limits, 0.5),
        step: quantile(&mut steps, 0.5),
    }
}

fn report(name: &str, len: usize) -> f64 {
    let Measured { ratio, limit, step } = measure(len);
    println!(
        "{name:>7}: limit / step {:.3} (p10 {:.3}, p90 {:.3}); limit {limit:.4}, step {step:.4} ns an element",
        ratio[0], ratio[1], ratio[2]
    );
    ratio[0]
}

fn main() -> ExitCode {
    println!("SIMD level {:?}", simd_level());
    let mut failed = false;
    for (name, len, gate) in SIZES {
        if report(name, len) < gate && report(name, len) < gate {
            println!("{name:>7}: below {gate}");
            failed = true;
        }
    }

    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    let mut x = vec![1.0f32; 64 << 10];
    let e = x.clone();
    criterion.bench_function("step, 64 Ki f32", |bencher| {
        bencher.iter(|| step(black_box(&mut x), black_box(&e)));
    });
    criterion.final_summary();
    ExitCode::from(u8::from(failed))
}

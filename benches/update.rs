//! One step, x ← a·x + b·e in place, against the speed of memory.
//!
//! `cargo bench --bench update [-- --quick]`. The limit is a hand-unrolled triad on the same buffers, measured alternately with the step in slices of at most
//! 200 µs whose order flips each time. Printed are the median, p10 and p90 of limit ÷ step; the exit status is 1 if a
//! median stays below its gate (0.85; 0.70 in L1) twice. Criterion's own report of the step follows.
#![allow(unsafe_code)]

#[path = "support/mod.rs"]
mod support;

use std::cell::RefCell;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;

use criterion::Criterion;
use diffusion_sampler::kernel::{linear_combination, simd_level};
use ndarray::{Array1, ArrayView1, ArrayViewMut1};
use support::{Compared, compare};

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

/// Median of limit ÷ step at one size.
fn report(name: &str, len: usize, seconds: f64) -> f64 {
    let state = Array1::<f32>::from_shape_fn(len, |i| (i % 97) as f32 - 48.0).to_vec();
    let e = state.clone();
    // Both work on the same buffers, in turn.
    let x = RefCell::new(state);
    let Compared { ratio, times } = compare(
        seconds,
        || triad(black_box(&mut x.borrow_mut()), black_box(&e)),
        || step(black_box(&mut x.borrow_mut()), black_box(&e)),
    );
    let [limit, step] = times.map(|time| time / len as f64 * 1e9);
    println!(
        "{name:>7}: limit / step {:.3} (p10 {:.3}, p90 {:.3}); limit {limit:.4}, step {step:.4} ns an element",
        ratio[0], ratio[1], ratio[2]
    );
    ratio[0]
}

fn main() -> ExitCode {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let seconds = if quick { 0.5 } else { 3.0 };
    println!("SIMD level {:?}", simd_level());
    let mut failed = false;
    for (name, len, gate) in SIZES {
        if report(name, len, seconds) < gate && report(name, len, seconds) < gate {
            println!("{name:>7}: below {gate}");
            failed = true;
        }
    }

    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    for (name, len, _) in SIZES {
        let mut x = vec![1.0f32; len];
        let e = x.clone();
        criterion.bench_function(&format!("step, {name} f32"), |bencher| {
            bencher.iter(|| step(black_box(&mut x), black_box(&e)));
        });
    }
    criterion.final_summary();
    ExitCode::from(u8::from(failed))
}

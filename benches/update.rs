//! One step, x ← a·x + b·e in place, against the speed of memory.
//!
//! `cargo bench --bench update [-- --quick]`. The limit is a hand-unrolled triad on the same buffers, measured alternately with the step in slices of at most
//! 200 µs whose order flips each time. Printed are the median, p10 and p90 of limit ÷ step; the exit status is 1 if a
//! median stays below its gate (0.85; 0.70 in L1) twice. Criterion's own report of the step follows.

#[path = "support/mod.rs"]
mod support;

use std::cell::RefCell;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;

use criterion::Criterion;
use diffusion_sampler::kernel::{linear_combination, simd_level};
use ndarray::{Array1, ArrayView1, ArrayViewMut1};
use support::limits::triad;
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
        || triad(black_box(&mut x.borrow_mut()), black_box(&e), [A, B]),
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

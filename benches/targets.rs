//! The crate's other performance targets, each a ratio of two pieces of code in one run: guided steps, layouts, noise,
//! stochastic steps, the cost of a call. `cargo bench --bench targets [-- --quick]`; the exit status is 1 if a median
//! misses its gate twice.

#[path = "support/mod.rs"]
mod support;

use std::error::Error;
use std::hint::black_box;
use std::process::ExitCode;

use diffusion_sampler::{
    KeyedNoise, NoiseLevel, Prediction,
    kernel::{SimdLevel, force_simd_level, linear_combination, simd_level},
    noise::{NoiseKey, NoiseSource, Stream},
    posterior::Kappa,
    run::{DdimStep, Machine},
};
use ndarray::{Array1, Array2, Array4, ArrayD, Axis, IxDyn};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use rand_distr::StandardNormal;

use support::{Compared, compare};

type Outcome = Result<(), Box<dyn Error>>;

/// Collects the rows of the table and whether a gate was missed.
struct Report {
    seconds: f64,
    failed: bool,
}

impl Report {
    /// One row: a ratio that should be at most `target` and has to be at most `gate`.
    fn at_most(
        &mut self,
        name: &str,
        (target, gate): (f64, f64),
        mut measure: impl FnMut(f64) -> Compared,
    ) {
        let mut found = measure(self.seconds);
        if found.ratio[0] > gate {
            found = measure(self.seconds);
        }
        let [median, p10, p90] = found.ratio;
        let verdict = match median {
            m if m <= target => "meets the target",
            m if m <= gate => "passes the gate",
            _ => "MISSES THE GATE",
        };
        self.failed |= median > gate;
        println!("| {name} | {median:.3} | {p10:.3} to {p90:.3} | {target} ({gate}) | {verdict} |");
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let mut report = Report {
        seconds: if quick { 0.5 } else { 3.0 },
        failed: false,
    };
    println!("SIMD level {:?}\n", simd_level());
    println!("| ratio | median | p10 to p90 | target (gate) | |");
    println!("|---|---|---|---|---|");
    guided(&mut report)?;
    permuted(&mut report)?;
    normals(&mut report);
    stochastic(&mut report)?;
    calls(&mut report)?;
    Ok(ExitCode::from(u8::from(report.failed)))
}

/// One pass over x and two outputs (4 streams) against two passes in place (6 streams).
fn guided(report: &mut Report) -> Outcome {
    for (name, len) in [("32 Ki", 1 << 15), ("768 Ki", 3 << 18), ("16 Mi", 1 << 24)] {
        let mut x = Array1::<f32>::from_elem(len, 0.5);
        let mut y = x.clone();
        let (c, u) = (x.clone(), x.clone());
        report.at_most(
            &format!("fused guided step ÷ two passes, {name} f32"),
            (0.65, 0.75),
            |seconds| {
                compare(
                    seconds,
                    || {
                        drop(linear_combination(
                            black_box(&mut x),
                            0.5,
                            &[(1.0, &*c), (-0.5, &*u)],
                        ))
                    },
                    || {
                        drop(linear_combination(black_box(&mut y), 0.5, &[(1.0, &*c)]));
                        drop(linear_combination(black_box(&mut y), 1.0, &[(-0.5, &*u)]));
                    },
                )
            },
        );
    }
    Ok(())
}

/// Arrays whose axes are permuted alike against contiguous ones.
fn permuted(report: &mut Report) -> Outcome {
    for (name, shape) in [("64 Ki", (4, 16, 32, 32)), ("768 Ki", (12, 64, 32, 32))] {
        let e = Array4::<f32>::from_elem(shape, 0.5);
        let (mut x, mut y) = (e.clone(), e.clone());
        let mut permuted = x.view_mut().permuted_axes([0, 2, 3, 1]);
        let e_permuted = e.view().permuted_axes([0, 2, 3, 1]);
        report.at_most(
            &format!("permuted layout ÷ contiguous, {name} f32"),
            (1.05, 1.2),
            |seconds| {
                compare(
                    seconds,
                    || {
                        drop(linear_combination(
                            black_box(&mut permuted),
                            0.5,
                            &[(0.5, &*e_permuted)],
                        ))
                    },
                    || drop(linear_combination(black_box(&mut y), 0.5, &[(0.5, &*e)])),
                )
            },
        );
    }
    Ok(())
}

const NORMALS: usize = 1 << 16;

fn key(step: u32) -> NoiseKey {
    NoiseKey::new(0, step, Stream::User(0))
}

/// Keyed normals against rand_distr's ziggurat with a small generator.
fn normals(report: &mut Report) {
    let best = simd_level();
    for level in [SimdLevel::Portable, SimdLevel::Avx2, SimdLevel::Avx512] {
        force_simd_level(Some(level));
        if simd_level() != level {
            continue;
        }
        let bounds = match level {
            SimdLevel::Portable => (0.90, 1.0),
            SimdLevel::Avx2 => (0.48, 0.60),
            SimdLevel::Avx512 => (0.35, 0.45),
        };
        let mut ours = vec![0.0f32; NORMALS];
        let mut theirs = ours.clone();
        let mut rng = SmallRng::seed_from_u64(1);
        let mut step = 0;
        report.at_most(
            &format!("f32 normals ÷ rand_distr with SmallRng, {level:?}"),
            bounds,
            |seconds| {
                compare(
                    seconds,
                    || {
                        step += 1;
                        KeyedNoise::new(1).fill(key(step), 0, black_box(&mut ours));
                    },
                    || {
                        for value in black_box(&mut theirs).iter_mut() {
                            *value = rng.sample(StandardNormal);
                        }
                    },
                )
            },
        );
    }
    force_simd_level(Some(best));
}

/// A stochastic step against filling an array with its noise.
fn stochastic(report: &mut Report) -> Outcome {
    let (t, s) = (
        NoiseLevel::new(2.0, 0.6, 0.8)?,
        NoiseLevel::new(1.0, 0.8, 0.6)?,
    );
    let step = DdimStep::new(t, s, Kappa::Ddpm)?;
    for (name, len) in [("64 Ki", 1 << 16), ("768 Ki", 3 << 18)] {
        let output = Array2::<f32>::from_elem((8, len / 8), 0.5);
        let mut filled = output.clone();
        let mut machine = Machine::new(output.clone(), 0)?;
        let mut noise = KeyedNoise::new(1);
        let mut other = noise;
        report.at_most(
            &format!("η = 1 step ÷ its normals alone, {name} f32"),
            (1.15, 1.3),
            |seconds| {
                compare(
                    seconds,
                    || {
                        // x₀ as the output: the state keeps its size, however often the step is taken.
                        let taken = step.tell(
                            black_box(&mut machine),
                            Prediction::Data,
                            &output,
                            &mut noise,
                            1,
                        );
                        assert_eq!(taken, Ok(()));
                    },
                    || {
                        // One row at a time into an array that is there: the fill and nothing else.
                        for (row, mut values) in filled.axis_iter_mut(Axis(0)).enumerate() {
                            if let Some(values) = values.as_slice_mut() {
                                let key = NoiseKey::new(row as u64, 1, Stream::User(0));
                                other.fill(key, 0, black_box(values));
                            }
                        }
                    },
                )
            },
        );
    }
    Ok(())
}

/// The time of one call at two elements, in units of 100 ns.
fn calls(report: &mut Report) -> Outcome {
    let mut fixed = Array1::<f32>::from_elem(2, 0.5);
    let e = fixed.clone();
    let mut dynamic = ArrayD::<f32>::from_elem(IxDyn(&[2]), 0.5);
    let d = dynamic.clone();
    let per_call = |compared: Compared| Compared {
        ratio: [compared.times[0] * 1e7; 3],
        ..compared
    };
    report.at_most(
        "one call at 2 elements, fixed dimension, in 100 ns",
        (0.30, 2.0),
        |seconds| {
            per_call(compare(
                seconds,
                || {
                    drop(linear_combination(
                        black_box(&mut fixed),
                        0.5,
                        &[(0.5, &*e)],
                    ))
                },
                || (),
            ))
        },
    );
    report.at_most(
        "one call at 2 elements, dynamic dimension, in 100 ns",
        (1.0, 2.0),
        |seconds| {
            per_call(compare(
                seconds,
                || {
                    drop(linear_combination(
                        black_box(&mut dynamic),
                        0.5,
                        &[(0.5, &*d)],
                    ))
                },
                || (),
            ))
        },
    );
    Ok(())
}

//! The crate's other performance targets, each a ratio of two pieces of code in one run: guided steps, layouts, noise,
//! stochastic steps, the cost of a call. `cargo bench --bench targets [-- --quick]`; the exit status is 1 if a median
//! misses its gate twice.

#[path = "support/guidance.rs"]
mod guidance;
#[cfg(feature = "half")]
#[path = "support/halves.rs"]
mod halves;
#[path = "support/mod.rs"]
mod support;
#[path = "support/tensors.rs"]
mod tensors;

use std::cell::RefCell;
use std::error::Error;
use std::hint::black_box;
use std::process::ExitCode;

use diffusion_sampler::{
    Grid, KeyedNoise, NoiseLevel, Prediction, Sampler,
    kernel::bench::{gram_of_slices, run_array},
    kernel::{SimdLevel, force_simd_level, linear_combination, simd_level},
    noise::{NoiseKey, NoiseSource, Stream},
    posterior::Kappa,
    run::{DdimStep, Machine},
    schedule::TableSchedule,
    solver::FirstOrder,
};
use ndarray::{Array1, Array2, Array4, ArrayD, Axis, IxDyn};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use rand_distr::StandardNormal;

use support::limits::{guided, read, triad};
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

    /// One row: a ratio that should be at least `target` and has to be at least `gate`.
    fn at_least(
        &mut self,
        name: &str,
        (target, gate): (f64, f64),
        mut measure: impl FnMut(f64) -> Compared,
    ) {
        let mut found = measure(self.seconds);
        if found.ratio[0] < gate {
            found = measure(self.seconds);
        }
        let [median, p10, p90] = found.ratio;
        let verdict = match median {
            m if m >= target => "meets the target",
            m if m >= gate => "passes the gate",
            _ => "MISSES THE GATE",
        };
        self.failed |= median < gate;
        println!(
            "| {name} | {median:.3} | {p10:.3} to {p90:.3} | ≥ {target} ({gate}) | {verdict} |"
        );
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
    guided_against_its_limit(&mut report);
    guidance::steps(&mut report)?;
    pages(&mut report)?;
    reduction(&mut report);
    permuted(&mut report)?;
    normals(&mut report);
    stochastic(&mut report)?;
    stochastic_parts(&mut report)?;
    #[cfg(feature = "half")]
    halves::steps(&mut report)?;
    tensors::runs(&mut report)?;
    calls(&mut report)?;
    tells(&mut report)?;
    Ok(ExitCode::from(u8::from(report.failed)))
}

/// The hand-unrolled guided step against ours, on the same buffers.
fn guided_against_its_limit(report: &mut Report) {
    for (name, len) in [("32 Ki", 1 << 15), ("768 Ki", 3 << 18), ("16 Mi", 1 << 24)] {
        let e = Array1::<f32>::from_elem(len, 0.5);
        let (f, x) = (e.clone(), RefCell::new(e.clone()));
        report.at_least(
            &format!("three-stream limit ÷ guided step, {name} f32"),
            (0.95, 0.85),
            |seconds| {
                compare(
                    seconds,
                    || {
                        if let (Some(x), Some(e), Some(f)) =
                            (x.borrow_mut().as_slice_mut(), e.as_slice(), f.as_slice())
                        {
                            guided(black_box(x), black_box([e, f]), [0.5, 0.75, -0.25]);
                        }
                    },
                    || {
                        drop(linear_combination(
                            black_box(&mut x.borrow_mut()),
                            0.5,
                            &[(0.75, &*e), (-0.25, &*f)],
                        ))
                    },
                )
            },
        );
    }
}

/// The arrays of a run, in huge pages, against the limit on the same pages and against ordinary ones.
fn pages(report: &mut Report) -> Outcome {
    let setting = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
    if !setting.is_ok_and(|setting| setting.contains("[madvise]")) {
        println!("| huge pages | – | – | – | not by request on this system |");
        return Ok(());
    }
    const LEN: usize = 1 << 24;
    let x = RefCell::new(run_array::<f32>(LEN, 0.5)?);
    let e = run_array::<f32>(LEN, 0.5)?;
    let step = |x: &mut Array1<f32>, e: &Array1<f32>| {
        drop(linear_combination(black_box(x), 0.5, &[(0.5, &**e)]));
    };
    report.at_least(
        "limit ÷ step, 16 Mi f32, both on huge pages",
        (0.95, 0.85),
        |seconds| {
            compare(
                seconds,
                || {
                    if let (Some(x), Some(e)) = (x.borrow_mut().as_slice_mut(), e.as_slice()) {
                        triad(black_box(x), black_box(e), [0.5, 0.5]);
                    }
                },
                || step(&mut x.borrow_mut(), &e),
            )
        },
    );
    let (mut small_x, small_e) = (Array1::from_elem(LEN, 0.5), Array1::from_elem(LEN, 0.5));
    report.at_least(
        "step on 4 KiB pages ÷ step on huge pages, 16 Mi f32",
        (1.4, 1.1),
        |seconds| {
            compare(
                seconds,
                || step(&mut small_x, &small_e),
                || step(&mut x.borrow_mut(), &e),
            )
        },
    );
    // The run fills its outputs with NaN before the model writes them.
    report.at_most(
        "a new array of NaN ÷ a new array of zeros, 16 Mi f32",
        (1.05, 1.2),
        |seconds| {
            compare(
                seconds,
                || drop(black_box(run_array(LEN, f32::NAN))),
                || drop(black_box(run_array(LEN, 0.0f32))),
            )
        },
    );
    Ok(())
}

/// Sums and inner products against reading the same arrays.
fn reduction(report: &mut Report) {
    for (name, len, bounds) in [
        ("768 Ki", 3 << 18, (0.25, 0.1)),
        ("16 Mi", 1 << 24, (0.5, 0.25)),
    ] {
        let arrays: Vec<Vec<f32>> = (0..3).map(|_| vec![0.5; len]).collect();
        for count in [2, 3] {
            let slices: Vec<&[f32]> = arrays[..count].iter().map(|array| &array[..]).collect();
            report.at_least(
                &format!("reading {count} arrays ÷ their inner products, {name} f32"),
                bounds,
                |seconds| {
                    compare(
                        seconds,
                        || {
                            black_box(read(black_box(&slices)));
                        },
                        || {
                            black_box(gram_of_slices(4, black_box(&slices)));
                        },
                    )
                },
            );
        }
    }
}

/// Arrays whose axes are permuted alike against contiguous ones.
fn permuted(report: &mut Report) -> Outcome {
    for (name, shape) in [("64 Ki", (4, 16, 32, 32)), ("768 Ki", (12, 64, 32, 32))] {
        let e = Array4::<f32>::from_elem(shape, 0.5);
        // The same buffers: others may lie better or worse to each other.
        let x = RefCell::new(e.clone());
        let e_permuted = e.view().permuted_axes([0, 2, 3, 1]);
        report.at_most(
            &format!("permuted layout ÷ contiguous, {name} f32"),
            (1.05, 1.2),
            |seconds| {
                compare(
                    seconds,
                    || {
                        let mut x = x.borrow_mut();
                        let mut permuted = x.view_mut().permuted_axes([0, 2, 3, 1]);
                        drop(linear_combination(
                            black_box(&mut permuted),
                            0.5,
                            &[(0.5, &*e_permuted)],
                        ))
                    },
                    || {
                        let mut x = x.borrow_mut();
                        drop(linear_combination(black_box(&mut x), 0.5, &[(0.5, &*e)]))
                    },
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
        let x = Array2::<f32>::from_elem((8, len / 8), 0.5);
        let (output, mut filled) = (x.clone(), x.clone());
        let mut machine = Machine::new(x, 0)?;
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
                        let machine = black_box(&mut machine);
                        let taken = step.tell(machine, Prediction::Data, &output, &mut noise, 1);
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

/// A stochastic step against its two parts: the normals alone, then the step without noise.
fn stochastic_parts(report: &mut Report) -> Outcome {
    let (t, s) = (
        NoiseLevel::new(2.0, 0.6, 0.8)?,
        NoiseLevel::new(1.0, 0.8, 0.6)?,
    );
    let (noisy, plain) = (
        DdimStep::new(t, s, Kappa::Ddpm)?,
        DdimStep::new(t, s, Kappa::Ddim)?,
    );
    for (name, len) in [("64 Ki", 1 << 16), ("768 Ki", 3 << 18)] {
        let x = Array2::<f32>::from_elem((8, len / 8), 0.5);
        let (output, mut filled) = (x.clone(), x.clone());
        let mut other = Machine::new(x.clone(), 0)?;
        let mut machine = Machine::new(x, 0)?;
        let (mut noise, mut unused) = (KeyedNoise::new(1), KeyedNoise::new(1));
        report.at_most(
            &format!("η = 1 step ÷ (its normals + the plain step), {name} f32"),
            (1.05, 1.2),
            |seconds| {
                compare(
                    seconds,
                    || {
                        let machine = black_box(&mut machine);
                        let taken = noisy.tell(machine, Prediction::Data, &output, &mut noise, 1);
                        assert_eq!(taken, Ok(()));
                    },
                    || {
                        for (row, mut values) in filled.axis_iter_mut(Axis(0)).enumerate() {
                            if let Some(values) = values.as_slice_mut() {
                                let key = NoiseKey::new(row as u64, 1, Stream::User(0));
                                KeyedNoise::new(1).fill(key, 0, black_box(values));
                            }
                        }
                        let other = black_box(&mut other);
                        let taken = plain.tell(other, Prediction::Data, &output, &mut unused, 1);
                        assert_eq!(taken, Ok(()));
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
        (0.15, 2.0),
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
        (0.25, 2.0),
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

/// The time of one `tell` of a run at two elements, in units of 100 ns: all of a run of 200 steps but its start.
fn tells(report: &mut Report) -> Outcome {
    const STEPS: usize = 200;
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let grid = Grid::trailing(&schedule, STEPS)?;
    let cases = [
        ("plain", FirstOrder::ddim(), (0.4, 2.0)),
        ("noisy", FirstOrder::ddpm(), (1.2, 3.5)),
    ];
    for (name, solver, limits) in cases {
        let sampler = Sampler::new(&schedule, &grid, &solver)?;
        let x = Array2::<f32>::from_elem((1, 2), 0.5);
        let output = x.clone();
        let start = sampler.start_from(x, Prediction::Velocity, KeyedNoise::new(1))?;
        report.at_most(
            &format!("Trajectory::tell at 2 elements, {name}, in 100 ns"),
            limits,
            |seconds| {
                let mut compared = compare(
                    seconds,
                    || {
                        let mut run = start.clone();
                        for _ in 0..STEPS {
                            assert_eq!(run.tell(black_box(&output)), Ok(()));
                        }
                        black_box(run.state());
                    },
                    || (),
                );
                compared.ratio = [compared.times[0] * 1e7 / STEPS as f64; 3];
                compared
            },
        );
    }
    Ok(())
}

//! Limits of memory, of steps, of threads and of indices.
//!
//! Public entries that make large arrays are called in processes of their own, under a limit of the
//! address space that leaves them more and more room, so that each of their allocations fails in
//! turn: the outcome is a result or [`Error::TooLarge`](diffusion_sampler::Error::TooLarge), never
//! the end of the process. Then plans of a million steps, a sampler that threads share, and rows
//! and elements beyond 2³².
//!
//! `cargo run --release -p reliability --bin limits [full]`

use std::convert::Infallible;
use std::error::Error as StdError;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use diffusion_sampler::{
    Clip, Denoiser, Error, Grid, KeyedNoise, Prediction, Query, Sampler,
    denoiser::{Guided, Models},
    editing::ExactInversion,
    guidance::Projected,
    likelihood::{FlowLikelihood, Measurement, Probes},
    noise::{BrownianPath, NoiseKey, NoiseSource, Stream, TorchCpu, TorchNoise},
    oracle::{Empirical, Gaussian, MixtureFit, Oracle, sample_moments},
    schedule::{RectifiedFlow, TableSchedule, VariancePreserving},
    solver::{DpmSolverPlusPlus, DpmSolverPlusPlusSinglestep, FirstOrder, Path, Solver, UniPc},
    tensor::{Flat, FlatOps},
};
use ndarray::{Array2, ArrayRef, ArrayView2, Axis, Dimension, ShapeBuilder, Slice};

type Outcome<T = ()> = Result<T, Box<dyn StdError>>;

const KIND: Prediction = Prediction::Velocity;

/// A model that allocates nothing.
#[derive(Clone, Copy, Debug)]
struct Plain;

impl<A: diffusion_sampler::Real, D: Dimension> Denoiser<A, D> for Plain {
    type Error = Infallible;

    fn prediction(&self) -> Prediction {
        KIND
    }

    fn denoise(
        &mut self,
        x: &ArrayRef<A, D>,
        query: &Query<'_>,
        out: &mut ArrayRef<A, D>,
    ) -> Result<(), Infallible> {
        let samples = x.shape()[0].max(1);
        let factor = A::cast(0.5 * query.level().sigma());
        for row in 0..out.shape()[0] {
            let one = |row: usize| Slice::from(row..row + 1);
            let x = x.slice_axis(Axis(0), one(row % samples));
            out.slice_axis_mut(Axis(0), one(row))
                .zip_mut_with(&x, |o, &x| *o = factor * x);
        }
        Ok(())
    }

    fn reads_rows(&self) -> bool {
        true
    }
}

fn sampler(solver: &dyn Solver, steps: usize) -> Outcome<Sampler> {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    Ok(Sampler::new(
        &schedule,
        &Grid::trailing(&schedule, steps)?,
        solver,
    )?)
}

fn rows(samples: usize, elements: usize) -> Array2<f64> {
    Array2::from_shape_fn((samples, elements), |(i, j)| {
        ((i * 31 + j * 17) % 101) as f64 / 50.0 - 1.0
    })
}

/// An entry under a limit: its inputs are made before the limit is set, and given back.
type Case = (&'static str, fn() -> Outcome<Box<dyn Fn() -> Outcome>>);

const CASES: &[Case] = &[
    (
        "a run with history, guidance memory and thresholding",
        || {
            let clip = Clip::dynamic(0.9, 2.0)?;
            let sampler = sampler(&DpmSolverPlusPlus::sde(), 5)?.with_clip(clip);
            let guidance = Projected::new(1.5)?.with_momentum(-0.5)?;
            Ok(Box::new(move || {
                let noise = KeyedNoise::new(1);
                let mut run = sampler.start::<f64, _, _>((64, 20_000), KIND, noise)?;
                run.advance(&mut Guided::new(Models((Plain, Plain)), guidance))?;
                run.try_clone()?
                    .complete(&mut Guided::new(Models((Plain, Plain)), guidance))?;
                let snapshot = run.snapshot()?;
                sampler.resume(snapshot, KIND, noise)?;
                Ok(())
            }))
        },
    ),
    ("plans of 200,000 steps", || {
        Ok(Box::new(|| {
            let schedule = VariancePreserving::default();
            let grid = Grid::trailing(&schedule, 200_000)?;
            let path = Path::new(&schedule, &grid)?;
            FirstOrder::ddpm().plan(&path)?;
            DpmSolverPlusPlus::new().plan(&path)?;
            UniPc::order(2)?.plan(&path)?;
            Ok(())
        }))
    }),
    ("plans of several stages a step", || {
        Ok(Box::new(|| {
            let schedule = VariancePreserving::default();
            let grid = Grid::trailing(&schedule, 100_000)?;
            DpmSolverPlusPlusSinglestep::order(3)?.plan(&Path::new(&schedule, &grid)?)?;
            Ok(())
        }))
    }),
    ("tables", || {
        Ok(Box::new(|| {
            TableSchedule::cosine(1 << 20)?
                .zero_terminal_snr()?
                .snr_shifted(3.0)?;
            TableSchedule::scaled_linear(1 << 20, 1e-10, 1e-9)?;
            Ok(())
        }))
    }),
    ("a run in parallel over its steps", || {
        let sampler = sampler(&FirstOrder::ddim(), 20)?;
        Ok(Box::new(move || {
            let parallel = sampler.parallel(10, 1e-2)?;
            parallel.sample::<f32, _, _>(&mut Plain, (8, 50_000), 1)?;
            Ok(())
        }))
    }),
    ("tensors and noise of torch", || {
        let sampler = sampler(&FirstOrder::ddpm(), 4)?;
        Ok(Box::new(move || {
            let like = Flat::<f32>::zeros(&[300, 2_000])?;
            let generators = (0..300).map(TorchCpu::new);
            let noise = TorchNoise::per_sample(generators, &[300, 2_000])?;
            let mut run = sampler.on(FlatOps::new()).start(&like, KIND, noise)?;
            while run.ask()?.is_some() {
                run.tell(&like)?;
            }
            run.snapshot_on_host()?;
            Ok(())
        }))
    }),
    ("Gaussians, mixtures and fits", || {
        let points = rows(3000, 120);
        Ok(Box::new(move || {
            let (mean, covariance) = sample_moments(&points)?;
            let gaussian = Gaussian::new(&mean, &covariance)?;
            gaussian.moments()?;
            gaussian.axes()?;
            Empirical::new(&points)?.moments()?;
            MixtureFit::new(3)
                .with_rounds(1)
                .with_starts(1)?
                .fit(&points)?;
            Ok(())
        }))
    }),
    ("moments and stability", || {
        let points = rows(500, 60);
        let (mean, covariance) = sample_moments(&points)?;
        let gaussian = Gaussian::new(&mean, &covariance)?;
        let sampler = sampler(&DpmSolverPlusPlus::sde(), 300)?;
        Ok(Box::new(move || {
            sampler.moments(&gaussian)?;
            sampler.stability(&gaussian)?;
            Ok(())
        }))
    }),
    ("likelihoods", || {
        let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
        let grid = Grid::trailing(&schedule, 6)?;
        let points = rows(400, 40);
        let data = Gaussian::isotropic(&[0.0; 40], 1.0)?;
        Ok(Box::new(move || {
            let options = Measurement::at(&grid)?.with_draws(1)?.with_batch(200)?;
            options.of(&points, &mut Plain)?;
            let noisy = grid.without_clean_end()?;
            let flow = FlowLikelihood::new(&Path::new(&schedule, &noisy)?)?;
            flow.exact(&data, &points)?;
            let probes = Probes::rademacher(2, 1)?;
            flow.estimate(&mut (&data).denoiser(KIND), &points, &probes)?;
            Ok(())
        }))
    }),
    ("inversion", || {
        let x = rows(50, 20_000);
        let sampler = sampler(&FirstOrder::ddim(), 2)?;
        Ok(Box::new(move || {
            ExactInversion::new(&sampler)?.invert(&x, &mut Plain)?;
            Ok(())
        }))
    }),
    ("reading a snapshot", || {
        let sampler = sampler(&FirstOrder::ddim(), 5)?;
        let run = sampler.start::<f32, _, _>((100, 3_000), KIND, KeyedNoise::new(1))?;
        let bytes = serde_json::to_vec(&(&sampler, run.snapshot()?))?;
        Ok(Box::new(move || {
            type Stored = (Sampler, diffusion_sampler::run::Snapshot<Array2<f32>>);
            let _: Stored = serde_json::from_slice(&bytes)?;
            Ok(())
        }))
    }),
];

/// The exit code of a case that was told that the memory is not there.
const REFUSED: u8 = 3;

/// A case with so much room beyond what the process has.
fn limited(index: usize, room: u64) -> Outcome<u8> {
    let (_, prepare) = CASES.get(index).ok_or("no such case")?;
    let work = prepare()?;
    // Rayon starts its threads at the first long slice, and panics where it cannot.
    let (mut sum, one) = (vec![0.0f32; 1 << 20], vec![1.0f32; 1 << 20]);
    let (mut sum, one) = (
        ndarray::ArrayViewMut1::from(&mut sum[..]),
        ndarray::ArrayView1::from(&one[..]),
    );
    diffusion_sampler::kernel::linear_combination(&mut sum, 1.0, &[(1.0, &*one)])?;
    let pages = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = pages.split(' ').next().unwrap_or("").parse()?;
    let limit = Some(pages * rustix::param::page_size() as u64 + room);
    let limits = rustix::process::Rlimit {
        current: limit,
        maximum: limit,
    };
    rustix::process::setrlimit(rustix::process::Resource::As, limits)?;
    match work() {
        Ok(()) => Ok(0),
        Err(error) if error.to_string().contains("the memory can hold") => Ok(REFUSED),
        Err(error) => Err(error),
    }
}

fn ladder(per_octave: u32) -> Outcome<usize> {
    let own = std::env::current_exe()?;
    let mut findings = 0;
    for (index, (name, _)) in CASES.iter().enumerate() {
        let (mut refused, mut worked, mut processes) = (0, 0, 0);
        for step in 0..=14 * per_octave {
            let room = (65536.0 * 2f64.powf(f64::from(step) / f64::from(per_octave))) as u64;
            let outcome = Command::new(&own)
                .args(["case", &index.to_string(), &room.to_string()])
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .output()?;
            processes += 1;
            match outcome.status.code() {
                Some(0) => worked += 1,
                Some(code) if code == i32::from(REFUSED) => refused += 1,
                _ => {
                    findings += 1;
                    let text = String::from_utf8_lossy(&outcome.stderr);
                    let last = text.lines().last().unwrap_or("");
                    println!(
                        "finding: {name} with {room} bytes: {} {last}",
                        outcome.status
                    );
                }
            }
            // It has all that it wants.
            if worked >= 2 {
                break;
            }
        }
        println!("{name}: {refused} of {processes} limits refused, {worked} enough");
        if refused == 0 || worked == 0 {
            findings += 1;
            println!("finding: {name} was not refused, or never worked");
        }
    }
    Ok(findings)
}

/// The most memory that the process has had, in MiB.
fn peak() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB"));
    Ok(kib.unwrap_or("0").trim().parse::<u64>()? / 1024)
}

/// Plans and runs of so many steps, and of a quarter: the time grows as the number of steps does.
fn long_runs(steps: usize) -> Outcome<usize> {
    let mut findings = 0;
    let solvers: [(&str, Box<dyn Solver>); 3] = [
        ("DDPM", Box::new(FirstOrder::ddpm())),
        ("DPM-Solver++(2M) SDE", Box::new(DpmSolverPlusPlus::sde())),
        ("UniPC", Box::new(UniPc::order(2)?)),
    ];
    for (name, solver) in &solvers {
        let mut seconds = Vec::new();
        for steps in [steps / 4, steps] {
            let schedule = VariancePreserving::default();
            let mut clock = Clock::new();
            let grid = Grid::trailing(&schedule, steps)?;
            clock.lap("grid");
            let sampler = Sampler::new(&schedule, &grid, &**solver)?;
            clock.lap("plan");
            sampler.plan().fingerprint();
            clock.lap("fingerprint");
            let data = Gaussian::isotropic(&[0.5, -0.5], 0.3)?;
            let states = sampler.moments(&data)?;
            if states.len() != steps {
                return Err("states are missing".into());
            }
            drop(states);
            clock.lap("moments");
            let mut model = (&data).denoiser(KIND);
            let mut run = sampler.start::<f32, _, _>((2, 2), KIND, KeyedNoise::new(1))?;
            clock.lap("start");
            run.complete(&mut model)?;
            clock.lap("run");
            let end = run.state().to_owned();
            let snapshot = run.snapshot()?;
            sampler.resume(snapshot, KIND, KeyedNoise::new(1))?;
            clock.lap("snapshot");
            run.restart(KeyedNoise::new(1))?;
            run.complete(&mut model)?;
            clock.lap("restart");
            if *run.state() != end {
                findings += 1;
                println!("finding: {name}: a restarted run has other bits");
            }
            println!("{name}, {steps} steps: {clock}; peak {} MiB", peak()?);
            seconds.push(clock.laps);
        }
        for (short, long) in seconds[0].iter().zip(&seconds[1]) {
            // Four times as many steps: four times the time, sixteen times would be quadratic.
            if long.1 > 10.0 * short.1 + 0.5 {
                findings += 1;
                println!(
                    "finding: {name}: {} takes {} s, then {} s",
                    short.0, short.1, long.1
                );
            }
        }
    }
    Ok(findings)
}

/// The seconds of each part.
struct Clock {
    last: Instant,
    laps: Vec<(&'static str, f64)>,
}

impl Clock {
    fn new() -> Self {
        Self {
            last: Instant::now(),
            laps: Vec::new(),
        }
    }

    fn lap(&mut self, name: &'static str) {
        self.laps.push((name, self.last.elapsed().as_secs_f64()));
        self.last = Instant::now();
    }
}

impl std::fmt::Display for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let each = |(name, seconds): &(&str, f64)| format!("{name} {seconds:.3} s");
        f.write_str(&self.laps.iter().map(each).collect::<Vec<_>>().join(", "))
    }
}

/// Runs on threads that share one sampler have the bits that they have alone.
fn shared_sampler(runs: u64) -> Outcome<usize> {
    let schedule = RectifiedFlow::new();
    let grid = Grid::trailing(&schedule, 6)?;
    let sampler = Sampler::new(&schedule, &grid, &DpmSolverPlusPlus::sde())?;
    let one = |seed: u64| -> Result<Array2<f32>, Error> {
        let sampled = sampler.sample(&mut Plain, (2, 8), seed);
        sampled.map_err(|error| match error {
            diffusion_sampler::RunError::Sampler(error) => error,
            _ => Error::NoSampleAxis,
        })
    };
    let alone: Vec<Array2<f32>> = (0..runs).map(one).collect::<Result<_, _>>()?;
    let different: u64 = std::thread::scope(|scope| {
        let (one, alone) = (&one, &alone);
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                scope.spawn(move || {
                    let own = (thread..runs).step_by(8);
                    let bits = |x: &Array2<f32>| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                    own.filter(|&seed| {
                        let same = one(seed).map(|x| bits(&x) == bits(&alone[seed as usize]));
                        !same.unwrap_or(false)
                    })
                    .count() as u64
                })
            })
            .collect();
        let counts = threads.into_iter().map(|thread| thread.join().unwrap_or(1));
        counts.sum()
    });
    println!("{runs} runs on 8 threads with one sampler: {different} with other bits");
    Ok(usize::from(different > 0))
}

/// Rows and elements beyond 2³².
fn beyond_an_index_of_32_bits(full: bool) -> Outcome<usize> {
    let mut findings = 0;
    let mut check = |what: &str, right: bool| {
        println!("{what}: {}", if right { "right" } else { "WRONG" });
        findings += usize::from(!right);
    };
    const FAR: u64 = 1 << 32;
    let key = NoiseKey::new(3, 5, Stream::Step(0));
    let mut sources: [(&str, Box<dyn NoiseSource<f32>>); 2] = [
        ("keyed noise", Box::new(KeyedNoise::new(7))),
        ("a Brownian path", Box::new(BrownianPath::new(7))),
    ];
    for (name, source) in &mut sources {
        let key = match *name {
            "keyed noise" => key,
            _ => key.with_interval(diffusion_sampler::noise::Interval::new(-1.0, 1.0)),
        };
        let mut at = |first: u64| {
            let mut z = [0.0f32; 64];
            source.fill(key, first, &mut z);
            z
        };
        let places = [
            0,
            1,
            FAR - 64,
            FAR,
            FAR + 64,
            1 << 33,
            1 << 34,
            (1 << 34) + 64,
            1 << 40,
        ];
        let drawn: Vec<[f32; 64]> = places.iter().map(|place| at(place & !63)).collect();
        let mut distinct = drawn.clone();
        distinct.sort_by(|a, b| a[0].total_cmp(&b[0]));
        distinct.dedup();
        // 0 and 1 are in one block.
        check(
            &format!("{name}: rows of elements far apart"),
            distinct.len() == places.len() - 1,
        );
        let across = at(FAR - 32);
        let (before, after) = (at(FAR - 64), at(FAR));
        let same = across[..32] == before[32..] && across[32..] == after[..32];
        check(&format!("{name}: pieces across element 2^32"), same);
    }
    // x, y, x, y, … of a view without elements of its own: mean and variance are known.
    let samples = if full {
        (1usize << 32) + (1 << 20)
    } else {
        1 << 24
    };
    let value = [0.25f32];
    let view = ArrayView2::from_shape((samples, 1).strides((0, 0)), &value)?;
    let (mean, covariance) = sample_moments(&view)?;
    let right = (mean[0] - 0.25).abs() < 1e-6 && covariance[[0, 0]].abs() < 1e-12;
    check(&format!("moments of {samples} rows of one view"), right);
    Ok(findings)
}

fn checked(full: bool) -> Outcome<usize> {
    let started = Instant::now();
    let mut findings = ladder(if full { 4 } else { 1 })?;
    let ladder = started.elapsed();
    findings += long_runs(if full { 1_000_000 } else { 40_000 })?;
    findings += shared_sampler(if full { 100_000 } else { 2_000 })?;
    findings += beyond_an_index_of_32_bits(full)?;
    println!(
        "{findings} findings; {:.1} s, of them {:.1} s under limits",
        started.elapsed().as_secs_f64(),
        ladder.as_secs_f64()
    );
    Ok(findings)
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize| words.get(index).and_then(|word| word.parse::<u64>().ok());
    let outcome = match (words.first().map(String::as_str), number(1), number(2)) {
        (Some("case"), Some(index), Some(room)) => limited(index as usize, room),
        (word, ..) => checked(word == Some("full")).map(|findings| u8::from(findings > 0)),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

//! No abort: whichever of its larger allocations fails, a public entry gives an error.
//!
//! Each case is run again and again; in the n-th run the n-th allocation of at least 4 KiB fails,
//! until a run needs no more (from the 64th on with gaps that grow). An allocation that cannot fail would end this process. Smaller ones
//! are left alone: boxed names and lists of axes.
//!
//! Lists whose entries own memory, the steps of a plan, are made of many small allocations. Those are
//! made with so many bytes in all that one of the larger allocations is just granted, and then every
//! further one fails, however small.
//!
//! With `SURVEY=1` in the environment nothing fails; each larger allocation that is not made by
//! `try_reserve` is printed with the place that asks for it.

#![allow(unsafe_code, clippy::unwrap_used, clippy::panic)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::convert::Infallible;
use std::error::Error as StdError;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering::SeqCst};

use diffusion_sampler::{
    Clip, Denoiser, Error, Grid, KeyedNoise, NoiseLevel, Prediction, Query, Sampler,
    denoiser::{Guided, Models},
    editing::{DdpmInversion, ExactInversion, Inpaint, slerp},
    forward::{diffuse, fill_normal},
    grid::spacings,
    guidance::{ClassifierFree, Projected, ZeroStar},
    kernel,
    likelihood::{
        Decoder, EdgeCosts, EdgeVariance, FiniteDifferences, FlowLikelihood, Measurement, Probes,
        element_errors,
    },
    moments::{GuidedGaussian, weak_errors},
    noise::{
        BrownianPath, LearnedNoise, NoiseScales, PerSample, ScaledNoise, Stream, TorchCpu,
        TorchNoise,
    },
    oracle::{
        Empirical, Gaussian, GaussianMixture, LabelledOracle, MixtureFit, Oracle, frechet_distance,
        sample_moments,
    },
    posterior::{DiagonalVariance, Kappa},
    run::{AdaptiveDpm, DdimStep, Machine, PositionSampler, PositionSchedule},
    schedule::{NoiseSchedule, TableSchedule, VariancePreserving},
    solver::{
        DdimInversion, DpmSolverPlusPlus, FirstOrder, Path, RePaint, Restart, Solver, catalogue,
    },
    tensor::{ArrayOps, Flat, FlatOps},
    tuning::{Spectrum, Surrogate, WarmStart},
};
use ndarray::{Array2, Axis, Ix2, ShapeBuilder, Slice};
use rand::{SeedableRng, rngs::StdRng};

/// Allocations from this size on fail.
const LARGE: usize = 4 << 10;

struct Failing;

thread_local! {
    /// Whether this thread's larger allocations are counted: tests make their inputs side by side.
    static ARMED: Cell<bool> = const { Cell::new(false) };
}

/// What it was. A thread that is being torn down is never armed.
fn arm(armed: bool) -> bool {
    ARMED.try_with(|own| own.replace(armed)).unwrap_or(false)
}

static SURVEY: AtomicBool = AtomicBool::new(false);
/// How many larger allocations are still to succeed.
static LEFT: AtomicUsize = AtomicUsize::new(0);
static FIRED: AtomicBool = AtomicBool::new(false);
/// The bytes that the armed thread has.
static HELD: AtomicIsize = AtomicIsize::new(0);
/// The bytes that it may have, where that is what fails.
static BUDGET: AtomicIsize = AtomicIsize::new(0);
/// How many larger allocations it has made, and what it had after each.
static MARKS: AtomicUsize = AtomicUsize::new(0);
static AFTER: [AtomicIsize; 4096] = [const { AtomicIsize::new(0) }; 4096];

/// Whether an allocation of the armed thread that changes what it has by so much is beyond its budget.
fn beyond(budget: isize, size: usize, change: isize) -> bool {
    let held = HELD.load(SeqCst) + change;
    if held > budget {
        FIRED.store(true, SeqCst);
        return true;
    }
    HELD.store(held, SeqCst);
    if size >= LARGE {
        let mark = MARKS.fetch_add(1, SeqCst);
        if let Some(after) = AFTER.get(mark) {
            after.store(held, SeqCst);
        }
    }
    false
}

fn given_back(size: usize) {
    if ARMED.try_with(Cell::get).unwrap_or(false) {
        HELD.fetch_sub(size as isize, SeqCst);
    }
}

/// Whether an allocation that changes what there is by so much fails.
fn fails(size: usize, change: isize) -> bool {
    if !ARMED.try_with(Cell::get).unwrap_or(false) {
        return false;
    }
    match BUDGET.load(SeqCst) {
        0 => {}
        budget => return beyond(budget, size, change),
    }
    if size < LARGE {
        return false;
    }
    if SURVEY.load(SeqCst) {
        arm(false);
        let trace = Backtrace::force_capture().to_string();
        if !trace.contains("try_reserve") {
            let own = trace.lines().filter(|line| line.contains("./src/"));
            let own: Vec<&str> = own.take(3).map(str::trim).collect();
            println!("SURVEY {size} {own:?}");
        }
        arm(true);
        return false;
    }
    if LEFT.load(SeqCst) > 0 {
        LEFT.fetch_sub(1, SeqCst);
        return false;
    }
    FIRED.store(true, SeqCst);
    arm(false);
    true
}

// SAFETY: every call goes to the system's allocator unchanged, or says that there is no memory.
unsafe impl GlobalAlloc for Failing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if fails(layout.size(), layout.size() as isize) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's contract is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if fails(layout.size(), layout.size() as isize) {
            return std::ptr::null_mut();
        }
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if fails(size, size as isize - layout.size() as isize) {
            return std::ptr::null_mut();
        }
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        given_back(layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Failing = Failing;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

type Outcome = Result<(), Box<dyn StdError>>;

/// Runs `work` with each of its larger allocations failing in turn; `work` has its inputs ready.
fn survives(name: &str, work: impl Fn() -> Outcome) {
    let _alone = ONE_AT_A_TIME.lock();
    work().unwrap_or_else(|error| panic!("{name} fails with all the memory: {error}"));
    if std::env::var_os("SURVEY").is_some() {
        println!("SURVEY of {name}");
        SURVEY.store(true, SeqCst);
        arm(true);
        let _ = work();
        arm(false);
        return;
    }
    // All of the first 64; of those after them, which mostly repeat in loops, fewer and fewer.
    let mut failing = 0;
    loop {
        LEFT.store(failing, SeqCst);
        FIRED.store(false, SeqCst);
        arm(true);
        let outcome = work();
        arm(false);
        if !FIRED.load(SeqCst) {
            outcome.unwrap();
            assert!(failing > 0, "{name} makes no larger array");
            return;
        }
        // A guess that cannot be made may be left out; what is given is right then.
        if let Err(error) = outcome {
            let text = error.to_string();
            assert!(
                text.contains("than an array or the memory can hold")
                    || text.contains("memory allocation failed"),
                "{name}, allocation {failing}: {text}"
            );
        }
        failing += 1 + failing / 64;
    }
}

/// Runs `work` with a budget of bytes that just grants each of its larger allocations in turn.
fn survives_budgets(name: &str, work: impl Fn() -> Result<(), Error>) {
    let _alone = ONE_AT_A_TIME.lock();
    let within = |budget: isize| {
        HELD.store(0, SeqCst);
        FIRED.store(false, SeqCst);
        MARKS.store(0, SeqCst);
        BUDGET.store(budget, SeqCst);
        arm(true);
        let outcome = work();
        arm(false);
        BUDGET.store(0, SeqCst);
        outcome
    };
    within(isize::MAX).unwrap_or_else(|error| panic!("{name} fails with all the memory: {error}"));
    let marks = MARKS.load(SeqCst).min(AFTER.len());
    let mut budgets: Vec<isize> = AFTER[..marks]
        .iter()
        .map(|mark| mark.load(SeqCst))
        .collect();
    budgets.sort_unstable();
    budgets.dedup();
    let mut refused = 0;
    for budget in budgets {
        for more in [0, 8, 200] {
            match within(budget + more) {
                Ok(()) => {}
                Err(Error::TooLarge { .. }) if FIRED.load(SeqCst) => refused += 1,
                Err(error) => panic!("{name} with {budget} bytes: {error}"),
            }
        }
    }
    assert!(refused > 0, "{name} was never refused");
}

const KIND: Prediction = Prediction::Velocity;
const SAMPLES: usize = 20;
const ELEMENTS: usize = 64;

/// A model that allocates nothing and answers every output it is asked for.
#[derive(Clone, Copy, Debug)]
struct Plain;

impl<A: diffusion_sampler::Real, D: ndarray::Dimension> Denoiser<A, D> for Plain {
    type Error = Infallible;

    fn prediction(&self) -> Prediction {
        KIND
    }

    fn denoise(
        &mut self,
        x: &ndarray::ArrayRef<A, D>,
        query: &Query<'_>,
        out: &mut ndarray::ArrayRef<A, D>,
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

    fn reads_positions(&self) -> bool {
        true
    }
}

fn schedule() -> TableSchedule {
    TableSchedule::linear(1000, 1e-4, 0.02).unwrap()
}

fn sampler(solver: &dyn Solver, steps: usize) -> Sampler {
    let schedule = schedule();
    let grid = Grid::trailing(&schedule, steps).unwrap();
    Sampler::new(&schedule, &grid, solver).unwrap()
}

fn normals(shape: (usize, usize)) -> Array2<f64> {
    let mut x = Array2::zeros(shape);
    fill_normal(&mut x, &mut KeyedNoise::new(1), 0, Stream::User(0)).unwrap();
    x
}

/// What the test itself makes, which may not fail.
fn own<T>(make: impl FnOnce() -> T) -> T {
    let armed = arm(false);
    let made = make();
    arm(armed);
    made
}

#[test]
fn tables_grids_and_plans() {
    survives("tables", || {
        let linear = TableSchedule::linear(2000, 1e-4, 0.02)?;
        TableSchedule::scaled_linear(2000, 1e-4, 0.02)?;
        TableSchedule::sigmoid(2000, 1e-4, 0.02)?;
        TableSchedule::cosine(2000)?.snr_shifted(3.0)?;
        linear.zero_terminal_snr()?;
        linear.snr_shifted(1.0)?;
        Ok(())
    });
    let (table, path) = (schedule(), VariancePreserving::default());
    for entry in spacings() {
        survives(entry.name, || {
            // A spacing that a schedule cannot have makes no array.
            let schedules: [&dyn NoiseSchedule; 2] = [&table, &path];
            for schedule in schedules {
                if let Err(error @ Error::TooLarge { .. }) = entry.spacing.grid(schedule, 300) {
                    return Err(error.into());
                }
            }
            Grid::trailing(&table, 300)?;
            Ok(())
        });
    }
    let grid = Grid::trailing(&table, 200).unwrap();
    for entry in catalogue() {
        survives(entry.name, || {
            let plan = entry.solver.plan(&Path::new(&table, &grid)?)?;
            plan.fingerprint();
            plan.mean_defect()?;
            Ok(())
        });
    }
    survives("joined and repeated plans", || {
        let plan = || FirstOrder::ddpm().plan(&Path::new(&table, &grid)?);
        own(|| grid.clone())
            .starting_at(&table, grid.levels()[20])?
            .without_clean_end()?;
        RePaint::new(FirstOrder::ddpm(), 10, 2)?.plan(&Path::new(&table, &grid)?)?;
        Restart::of_steps(FirstOrder::ddim(), 500).plan(&Path::new(&table, &grid)?)?;
        let up = DdimInversion::new().plan(&Path::new(&table, &grid)?)?;
        up.then(plan()?)?;
        let kappas = own(|| vec![Kappa::Ddpm; 200]);
        FirstOrder::per_edge(kappas).plan(&Path::new(&table, &grid)?)?;
        Ok(())
    });
}

/// More steps than are made on one look at the memory.
#[test]
fn long_plans_of_every_solver_within_any_budget() {
    const STEPS: usize = 1100;
    let schedule = VariancePreserving::default();
    let grid = Grid::trailing(&schedule, STEPS).unwrap();
    for entry in catalogue() {
        survives_budgets(entry.name, || {
            let plan = entry.solver.plan(&Path::new(&schedule, &grid)?)?;
            own(|| drop(plan));
            Ok(())
        });
    }
    let data = Gaussian::isotropic(&[0.5, -0.5], 0.3).unwrap();
    let sampler = Sampler::new(&schedule, &grid, &FirstOrder::ddpm()).unwrap();
    survives_budgets("moments", || sampler.moments(&data).map(drop));
}

#[test]
fn runs_of_every_solver() {
    let x = normals((SAMPLES, ELEMENTS));
    for entry in catalogue() {
        let sampler = sampler(&*entry.solver, 50);
        survives(entry.name, || {
            let mut run = sampler.start_from(own(|| x.clone()), KIND, KeyedNoise::new(1))?;
            run.advance(&mut Plain)?;
            let snapshot = run.snapshot()?;
            run.try_clone()?.complete(&mut Plain)?;
            sampler
                .resume(snapshot, KIND, KeyedNoise::new(1))?
                .complete(&mut Plain)?;
            if !entry.inverts {
                run.restart(KeyedNoise::new(2))?;
                run.complete(&mut Plain)?;
            }
            // Axes in another order are copied.
            let transposed = own(|| Array2::<f64>::zeros((SAMPLES, ELEMENTS).f()));
            sampler.start_from(transposed, KIND, KeyedNoise::new(1))?;
            Ok(())
        });
    }
}

#[test]
fn guided_clipped_and_told_runs() {
    let fixed = Clip::new(-1.0, 1.0).unwrap();
    let dynamic = Clip::dynamic(0.9, 2.0).unwrap().keeping_noise();
    let plain = sampler(&DpmSolverPlusPlus::sde(), 10);
    let momentum = || Projected::new(1.5).unwrap().with_momentum(-0.5).unwrap();
    for sampler in [
        plain.clone().with_clip(fixed),
        plain.clone().with_clip(dynamic),
        plain.clone(),
    ] {
        survives("a sample", || {
            sampler.sample::<f64, _, _>(&mut Plain, (SAMPLES, ELEMENTS), 1)?;
            sampler.sample_vec::<f32, _>(&mut Plain, &[SAMPLES, ELEMENTS], 1)?;
            Ok(())
        });
        survives("guidance", || {
            let noise = KeyedNoise::new(1);
            let mut run = sampler.start::<f64, _, _>((SAMPLES, ELEMENTS), KIND, noise)?;
            run.complete(&mut Guided::new(Models((Plain, Plain)), momentum()))?;
            let mut run = sampler.start::<f64, _, _>((SAMPLES, ELEMENTS), KIND, noise)?;
            run.complete(&mut Guided::new(Plain, ZeroStar::with_scale(3.0)?))?;
            let run = sampler.start::<f64, _, _>((SAMPLES, ELEMENTS), KIND, noise)?;
            let mut run = run.keeping_data()?;
            run.complete(&mut Guided::new(Plain, ClassifierFree::with_scale(3.0)?))?;
            let mut run = sampler.start::<f64, _, _>((SAMPLES, ELEMENTS), KIND, noise)?;
            let _ = run.complete_with(&mut Plain, |_| std::ops::ControlFlow::Continue(()))?;
            Ok(())
        });
        let both = Array2::from_elem((2 * SAMPLES, ELEMENTS), 0.1f64);
        let halves = both.mapv(half::f16::from_f64);
        let one = halves
            .slice_axis(Axis(0), Slice::from(..SAMPLES))
            .to_owned();
        survives("told", || {
            let noise = KeyedNoise::new(1);
            let mut run = sampler.start::<f32, _, _>((SAMPLES, ELEMENTS), KIND, noise)?;
            while run.ask()?.is_some() {
                run.tell_stacked(&momentum(), &halves)?;
            }
            let mut run = sampler.start::<f32, _, _>((SAMPLES, ELEMENTS), KIND, noise)?;
            while run.ask()?.is_some() {
                run.tell(&one)?;
            }
            let mut machine = Machine::new(own(|| normals((SAMPLES, ELEMENTS))), 0)?;
            let level = |time| schedule_level(time);
            let from: Vec<_> = own(|| (0..SAMPLES).map(|n| level(900.0 - n as f64)).collect());
            let to: Vec<_> = own(|| vec![level(100.0); SAMPLES]);
            let step = DdimStep::per_sample(&from, &to, Kappa::Ddpm)?;
            step.take(&mut machine, &mut Plain, &mut KeyedNoise::new(1), 0)?;
            Ok(())
        });
    }
}

fn schedule_level(time: f64) -> NoiseLevel {
    schedule().level(time).unwrap()
}

#[test]
fn runs_with_other_noise() {
    let sampler = sampler(&FirstOrder::ddpm(), 20);
    let shape = (300, 40);
    survives("noise of torch", || {
        let noise = TorchNoise::new(TorchCpu::new(7), &[300, 40])?;
        let mut run = sampler.start::<f32, _, _>(shape, KIND, noise)?;
        run.complete(&mut Plain)?;
        let each = (0..300).map(TorchCpu::new);
        let noise = TorchNoise::per_sample(each, &[300, 40])?;
        let mut run = sampler.start::<f32, _, _>(shape, KIND, noise)?;
        run.complete(&mut Plain)?;
        run.snapshot()?;
        Ok(())
    });
    survives("noise by sample, along a path and learned", || {
        let noise = own(|| PerSample::of((0..300).map(KeyedNoise::new)));
        sampler
            .start::<f32, _, _>(shape, KIND, noise)?
            .complete(&mut Plain)?;
        sampler
            .start::<f32, _, _>(shape, KIND, BrownianPath::new(1))?
            .complete(&mut Plain)?;
        let learned = LearnedNoise::new(KeyedNoise::new(1));
        let mut run = sampler.start::<f32, _, _>(shape, KIND, learned)?;
        run.complete_learned(&mut Plain)?;
        let scales = NoiseScales::new(40, own(|| vec![1.0; 40 * 20]))?;
        let noise = ScaledNoise::new(KeyedNoise::new(1), scales);
        sampler
            .start::<f32, _, _>(shape, KIND, noise)?
            .complete(&mut Plain)?;
        Ok(())
    });
}

#[test]
fn parallel_and_adaptive_runs_positions_and_tensors() {
    let plain = sampler(&DpmSolverPlusPlus::sde(), 12);
    survives("parallel", || {
        let parallel = plain.parallel(6, 1e-3)?;
        parallel.sample::<f64, _, _>(&mut Plain, (SAMPLES, 1000), 1)?;
        let guided = &mut Guided::new(Plain, ClassifierFree::with_scale(3.0)?);
        parallel.sample::<f64, _, _>(guided, (SAMPLES, 1000), 1)?;
        Ok(())
    });
    let schedule = VariancePreserving::default();
    let grid = Grid::trailing(&schedule, 8).unwrap();
    survives("adaptive", || {
        let path = Path::new(&schedule, &grid)?;
        let x = own(|| normals((SAMPLES, ELEMENTS)));
        AdaptiveDpm::order(3)?.sample(&path, &mut Plain, x, &mut KeyedNoise::new(1))?;
        Ok(())
    });
    let table = crate::schedule();
    let short = Grid::trailing(&table, 10).unwrap();
    survives("positions", || {
        let staircase = PositionSchedule::staircase(&short, 100, 1)?;
        let sampler = PositionSampler::new(staircase, 1, Kappa::Ddpm)?;
        let mut run = sampler.start::<f32, _, _>((SAMPLES, 100), KIND, KeyedNoise::new(1))?;
        run.complete(&mut Plain)?;
        Ok(())
    });
    survives("tensors", || {
        let answer = own(|| vec![0.5f32; SAMPLES * ELEMENTS]);
        let like = Flat::<f32>::zeros(&[SAMPLES, ELEMENTS])?;
        let sampler = plain.on(FlatOps::new());
        let mut run = sampler.start(&like, KIND, KeyedNoise::new(1))?;
        let output = Flat::new(own(|| answer.clone()), &[SAMPLES, ELEMENTS])?;
        run.tell(&output)?;
        run.snapshot()?;
        let snapshot = run.snapshot_on_host()?;
        let mut resumed =
            plain
                .on(FlatOps::new())
                .resume_from_host(snapshot, &like, KIND, KeyedNoise::new(1))?;
        while resumed.ask()?.is_some() {
            resumed.tell_guided(&ZeroStar::with_scale(3.0)?, &[&output, &like])?;
        }
        let ops = ArrayOps::<f32, Ix2>::new();
        let like = own(|| Array2::<f32>::zeros((SAMPLES, ELEMENTS)));
        let mut run = plain.on(ops).start(&like, KIND, KeyedNoise::new(1))?;
        while run.ask()?.is_some() {
            run.tell(&like)?;
        }
        run.snapshot()?;
        Ok(())
    });
}

#[test]
fn editing_and_the_forward_process() {
    let x = normals((SAMPLES, ELEMENTS));
    let ddim = sampler(&FirstOrder::ddim(), 5);
    let ddpm = sampler(&FirstOrder::ddpm(), 5);
    let mask = x.mapv(|v| v.abs().min(1.0));
    survives("editing", || {
        slerp(&x, &x, &[0.5])?;
        ExactInversion::new(&ddim)?.invert(&x, &mut Plain)?;
        DdpmInversion::new(&ddpm)?.invert(&x, &mut Plain, &mut KeyedNoise::new(1))?;
        let known = own(|| x.clone());
        let mut paint = Inpaint::new(known, &mask, KeyedNoise::new(3))?;
        let mut run = ddpm.start::<f64, _, _>((SAMPLES, ELEMENTS), KIND, KeyedNoise::new(1))?;
        run.advance(&mut Plain)?;
        paint.blend(&mut run)?;
        let mut y = own(|| Array2::<f64>::zeros((2000, 3)));
        let levels = own(|| vec![schedule_level(100.0); 2000]);
        diffuse(&mut y, &levels[..], &mut KeyedNoise::new(1), 0)?;
        let terms = [(0.5, &*x), (0.25, &*x)];
        let mut sum = own(|| x.clone());
        kernel::linear_combination(&mut sum, 1.0, &terms)?;
        Ok(())
    });
}

#[test]
fn oracles_fits_and_their_reports() {
    const D: usize = 30;
    let points = normals((200, D));
    let covariance = points.t().dot(&points) / 200.0;
    let mean = [0.1; D];
    let level = schedule_level(400.0);
    let modes = |count: usize| {
        let means = (0..count).map(|k| [k as f64; D]);
        let parts = means.map(|mean| Gaussian::new(&mean, &covariance).unwrap());
        let weights = vec![1.0; count];
        GaussianMixture::new(&weights, parts.collect(), (0..count).collect()).unwrap()
    };
    let mixture = modes(3);
    survives("Gaussians", || {
        let gaussian = Gaussian::new(&mean, &covariance)?;
        let other = Gaussian::isotropic(&mean, 0.5)?;
        gaussian.moments()?;
        gaussian.axes()?;
        gaussian.posterior_covariance(&mean, &level)?;
        gaussian.wasserstein_squared(&other)?;
        gaussian.kl(&other)?;
        gaussian.sample(40, &mut StdRng::seed_from_u64(1))?;
        gaussian.at_level(&level)?.moments()?;
        gaussian.element_errors(own(|| vec![level; 1]).as_slice())?;
        sample_moments(&points)?;
        frechet_distance(&mean, &covariance, &mean, &covariance)?;
        Ok(())
    });
    let high = [0.1; 1000];
    survives("elements by the thousand", || {
        let gaussian = Gaussian::diagonal(&high, &[1.0; 1000])?;
        gaussian.data_estimate(&high, &level)?;
        gaussian.score(&high, &level)?;
        Ok(())
    });
    survives("mixtures and points", || {
        mixture.moments()?;
        mixture.posterior_covariance(&mean, &level)?;
        mixture.posterior_variance(&mean, &level)?;
        mixture.class_log_posterior(&mean, &level)?;
        mixture.condition(1)?;
        mixture.sample(100, &mut StdRng::seed_from_u64(1))?;
        let empirical = Empirical::new(&points)?;
        empirical.moments()?;
        empirical.posterior_covariance(&mean, &level)?;
        empirical.responsibilities(&mean, &level)?;
        empirical.sample(100, &mut StdRng::seed_from_u64(1))?;
        empirical.condition(0)?;
        let x = own(|| Array2::<f32>::zeros((60, D)));
        let mut out = own(|| Array2::<f32>::zeros((60, D)));
        let query = Query::new(&level);
        (&mixture).denoiser(KIND).denoise(&x, &query, &mut out)?;
        Ok(())
    });
    survives("a fit", || {
        MixtureFit::new(3).with_rounds(3).fit(&points)?;
        MixtureFit::new(2).diagonal().with_rounds(2).fit(&points)?;
        Ok(())
    });
}

#[test]
fn moments_stability_modes_and_tuning() {
    const D: usize = 24;
    let points = normals((200, D));
    let covariance = points.t().dot(&points) / 200.0;
    let data = Gaussian::new(&[0.2; D], &covariance).unwrap();
    let other = Gaussian::isotropic(&[0.0; D], 0.7).unwrap();
    let crossed = Gaussian::new(&[0.0; D], &(&covariance * 0.5 + Array2::<f64>::eye(D))).unwrap();
    let table = schedule();
    let grid = Grid::trailing(&table, 40).unwrap();
    for solver in [DpmSolverPlusPlus::sde(), DpmSolverPlusPlus::new()] {
        let sampler = sampler(&solver, 40);
        survives("moments", || {
            sampler.moments(&data)?;
            sampler.moment_report(&data)?;
            sampler.stability(&data)?.warnings()?;
            let free = ClassifierFree::with_scale(2.0)?;
            for pair in own(|| {
                [
                    [data.clone(), other.clone()],
                    [data.clone(), crossed.clone()],
                ]
            }) {
                sampler.guided_moments(&free, KIND, &pair)?;
            }
            let parts = own(|| vec![data.clone(), crossed.clone()]);
            GuidedGaussian::new(&[1.5, -0.5], parts)?.tilted(&grid.levels()[30])?;
            weak_errors(&solver, &Path::new(&table, &grid)?, &data)?;
            Ok(())
        });
    }
    let parts = [-2.0, 2.0].map(|m| Gaussian::isotropic(&[m], 0.1).unwrap());
    let line = GaussianMixture::new(&[0.4, 0.6], parts.into(), vec![0, 1]).unwrap();
    let parts = [-2.0, 2.0].map(|m| Gaussian::isotropic(&[m, m], 0.3).unwrap());
    let plane = GaussianMixture::new(&[0.4, 0.6], parts.into(), vec![0, 1]).unwrap();
    let short = |solver: &dyn Solver| sampler(solver, 6);
    let (ddim, ddpm) = (short(&FirstOrder::ddim()), short(&FirstOrder::ddpm()));
    survives("modes", || {
        ddim.modes(&mut (&line).denoiser(KIND), &line, 1e-2)?;
        ddpm.modes(&mut (&line).denoiser(KIND), &line, 1e-1)?;
        ddim.modes(&mut (&plane).denoiser(KIND), &plane, 1e-1)?;
        Ok(())
    });
    survives("a warm start and a spectrum", || {
        let warm = WarmStart::of_sample(&points, 5)?;
        warm.directions()?;
        WarmStart::of_gaussian(&data, 5)?;
        warm.draw::<f64, _, _>(
            (300, D),
            &own(|| schedule_level(500.0)),
            &mut KeyedNoise::new(1),
        )?;
        Spectrum::images().gaussian(2000)?;
        Ok(())
    });
    survives("a surrogate", || {
        let surrogate = Surrogate::mixture(&line, &table, 2000, 1)?;
        surrogate.error(&ddim)?;
        Ok(())
    });
}

#[test]
fn likelihoods() {
    const D: usize = 16;
    let points = normals((100, D));
    let data = Gaussian::diagonal(&[0.0; D], &[1.0; D]).unwrap();
    let table = schedule();
    let grid = Grid::trailing(&table, 60).unwrap();
    let kind = EdgeVariance::Optimal;
    survives("measured bounds", || {
        let measured = Measurement::at(&grid)?
            .with_draws(2)?
            .with_batch(50)?
            .of(&points, &mut Plain)?;
        let costs = EdgeCosts::new(
            &grid,
            Kappa::Ddpm,
            kind,
            measured.errors(),
            Decoder::Mass(0.0),
        )?;
        costs.cheapest()?.grid(20)?;
        element_errors(
            &mut Plain,
            &points,
            &grid.levels()[..50],
            &mut KeyedNoise::new(1),
        )?;
        Ok(())
    });
    survives("variances", || {
        let errors = data.element_errors(&grid.levels()[..60])?;
        let variance = DiagonalVariance::new(errors);
        FirstOrder::new(Kappa::Ddpm)
            .plan_diagonal(&Path::new(&table, &grid)?, &variance.with_final_noise())?;
        Ok(())
    });
    survives("densities of the flow", || {
        let noisy = own(|| grid.clone()).without_clean_end()?;
        let path = Path::new(&table, &noisy)?;
        let flow = FlowLikelihood::new(&path)?;
        flow.exact(&data, &points)?
            .with_exact_start(&data)?
            .bits_per_dimension()?;
        let mut exact = (&data).denoiser(KIND);
        flow.estimate(&mut exact, &points, &Probes::rademacher(3, 1)?)?;
        let mut differences = FiniteDifferences::new(Plain);
        let estimate = flow.estimate(&mut differences, &points, &Probes::basis());
        match estimate {
            // Where its copies cannot be had, there is no derivative.
            Err(error) if error.to_string().contains("Jacobian product") => Ok(()),
            other => {
                other?;
                Ok(())
            }
        }
    });
}

#[test]
fn stored_forms() {
    let sampler = sampler(&DpmSolverPlusPlus::sde(), 100);
    let run = sampler.start::<f64, _, _>((SAMPLES, ELEMENTS), KIND, KeyedNoise::new(1));
    let snapshot = run.unwrap().snapshot().unwrap();
    let bytes = serde_json::to_vec(&(&sampler, &snapshot, schedule())).unwrap();
    survives("reading", || {
        type Stored = (
            Sampler,
            diffusion_sampler::run::Snapshot<Array2<f64>>,
            TableSchedule,
        );
        let (_, read, _): Stored = serde_json::from_slice(&bytes)?;
        assert!(read.state == snapshot.state);
        Ok(())
    });
}

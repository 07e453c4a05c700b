//! One step of diffusion-sampler beside one step of candle-transformers' schedulers: one process, the same data.
//! See README.md for what is compared and how.

use std::alloc::{GlobalAlloc, Layout, System};
use std::error::Error;
use std::hint::black_box;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use candle_core::{Device, Tensor};
use candle_transformers::models::stable_diffusion::ddim::DDIMSchedulerConfig;
use candle_transformers::models::stable_diffusion::ddpm::{DDPMScheduler, DDPMSchedulerConfig};
use candle_transformers::models::stable_diffusion::schedulers::{
    BetaSchedule, Scheduler, SchedulerConfig, TimestepSpacing,
};
use diffusion_sampler::{
    Grid, KeyedNoise, Prediction, Sampler, Trajectory,
    kernel::simd_level,
    posterior::Kappa,
    run::{DdimStep, Machine},
    schedule::{NoiseSchedule, TableSchedule},
    solver::{FirstOrder, Path},
};
use ndarray::{Array, Array2, Dimension, IntoDimension, IxDyn};
use rustix::time::{ClockId, clock_gettime};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const TRAIN: usize = 1000;
const STEPS: usize = 20;
const BETAS: (f64, f64) = (1e-4, 0.02);
/// The single step: candle's index 499 → 449, which is our time 500 → 450 (time 0 is clean).
const FROM: usize = 500;
const TO: usize = FROM - TRAIN / STEPS;
/// A slice of calls lasts no longer than this, unless it is a single call.
const SLICE: Duration = Duration::from_micros(200);
const MOST_CALLS: usize = 190;
/// Steps of a 20-step plan on which both agree: candle's last one does not go to the clean end.
const COMMON: usize = STEPS - 1;

/// Counts while `COUNTING` is set; otherwise the system's allocator behind one predictable branch.
struct Counter;

static COUNTING: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is the system allocator's own; the counter beside it does not allocate.
unsafe impl GlobalAlloc for Counter {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn count() {
    if COUNTING.load(Ordering::Relaxed) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

#[global_allocator]
static ALLOCATOR: Counter = Counter;

/// Something that takes steps: `rewind` sets up `calls` of them outside the clock, `calls` takes them.
trait Case {
    fn rewind(&mut self, calls: usize) -> Result<()>;
    fn calls(&mut self, calls: usize) -> Result<()>;
    /// The state after the last call.
    fn values(&self) -> Result<Vec<f32>>;
}

/// The two entry points of candle's schedulers.
enum Candle {
    Ddim(Box<dyn Scheduler>),
    Ddpm(DDPMScheduler),
}

impl Candle {
    fn ddim(eta: f64) -> Result<Self> {
        let config = DDIMSchedulerConfig {
            beta_start: BETAS.0,
            beta_end: BETAS.1,
            beta_schedule: BetaSchedule::Linear,
            eta,
            train_timesteps: TRAIN,
            timestep_spacing: TimestepSpacing::Trailing,
            ..DDIMSchedulerConfig::default()
        };
        Ok(Self::Ddim(config.build(STEPS)?))
    }

    fn ddpm() -> Result<Self> {
        let config = DDPMSchedulerConfig {
            beta_start: BETAS.0,
            beta_end: BETAS.1,
            beta_schedule: BetaSchedule::Linear,
            train_timesteps: TRAIN,
            ..DDPMSchedulerConfig::default()
        };
        Ok(Self::Ddpm(DDPMScheduler::new(STEPS, config)?))
    }

    /// The step from our time `from`, which candle calls `from` − 1.
    fn step(&mut self, e: &Tensor, from: usize, x: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Ddim(scheduler) => scheduler.step(e, from - 1, x)?,
            Self::Ddpm(scheduler) => scheduler.step(e, from - 1, x)?,
        })
    }
}

struct Theirs {
    scheduler: Candle,
    start: Tensor,
    x: Tensor,
    e: Tensor,
}

impl Theirs {
    fn new(scheduler: Candle, data: &Data) -> Result<Self> {
        let start = Tensor::from_slice(&data.x, (1, data.x.len()), &Device::Cpu)?;
        let e = Tensor::from_slice(&data.e, (1, data.e.len()), &Device::Cpu)?;
        Ok(Self {
            scheduler,
            x: start.clone(),
            start,
            e,
        })
    }
}

impl Case for Theirs {
    fn rewind(&mut self, _: usize) -> Result<()> {
        self.x = self.start.clone();
        Ok(())
    }

    fn calls(&mut self, calls: usize) -> Result<()> {
        for _ in 0..calls {
            self.x = self.scheduler.step(&self.e, black_box(FROM), &self.x)?;
        }
        Ok(())
    }

    fn values(&self) -> Result<Vec<f32>> {
        Ok(self.x.flatten_all()?.to_vec1()?)
    }
}

/// [`DdimStep::tell`] in place, again and again the same step.
struct Apply<D: Dimension> {
    step: DdimStep,
    start: Array<f32, D>,
    machine: Machine<f32, D>,
    e: Array<f32, D>,
    noise: KeyedNoise,
    key: u32,
}

impl<D: Dimension> Apply<D> {
    fn new<S: IntoDimension<Dim = D>>(kappa: Kappa, data: &Data, shape: S) -> Result<Self> {
        let schedule = schedule()?;
        let step = DdimStep::new(
            schedule.level(FROM as f64)?,
            schedule.level(TO as f64)?,
            kappa,
        )?;
        let shape = shape.into_dimension();
        let start = Array::from_shape_vec(shape.clone(), data.x.clone())?;
        Ok(Self {
            step,
            machine: Machine::new(start.clone(), 0)?,
            start,
            e: Array::from_shape_vec(shape, data.e.clone())?,
            noise: KeyedNoise::new(1),
            key: 0,
        })
    }
}

impl<D: Dimension> Case for Apply<D> {
    fn rewind(&mut self, _: usize) -> Result<()> {
        self.machine.state_mut().assign(&self.start);
        Ok(())
    }

    fn calls(&mut self, calls: usize) -> Result<()> {
        for _ in 0..calls {
            self.key = self.key.wrapping_add(1);
            self.step.tell(
                black_box(&mut self.machine),
                Prediction::Noise,
                &self.e,
                &mut self.noise,
                self.key,
            )?;
        }
        Ok(())
    }

    fn values(&self) -> Result<Vec<f32>> {
        Ok(self.machine.state().iter().copied().collect())
    }
}

/// [`Trajectory::tell`]: whole runs, one after the other. The runs are set up by `rewind`.
struct Tell<D: Dimension> {
    start: Trajectory<f32, D>,
    runs: Vec<Trajectory<f32, D>>,
    last: usize,
    e: Array<f32, D>,
}

impl<D: Dimension> Tell<D> {
    fn new<S: IntoDimension<Dim = D>>(kappa: Kappa, data: &Data, shape: S) -> Result<Self> {
        // The plan starts with the step that the other cases take.
        let times: Vec<f64> = (0..=STEPS)
            .map(|k| FROM.saturating_sub(k * (FROM - TO)) as f64)
            .take_while(|&time| time > 0.0)
            .collect();
        let grid = Grid::from_times(&schedule()?, &times)?;
        let sampler = Sampler::along(&Path::without_schedule(&grid), &FirstOrder::new(kappa))?;
        let shape = shape.into_dimension();
        let x = Array::from_shape_vec(shape.clone(), data.x.clone())?;
        let start = sampler.start_from(x, Prediction::Noise, KeyedNoise::new(1))?;
        Ok(Self {
            runs: vec![start.clone()],
            start,
            last: 0,
            e: Array::from_shape_vec(shape, data.e.clone())?,
        })
    }

    fn steps(&self) -> usize {
        self.start.plan().steps().len()
    }
}

impl<D: Dimension> Case for Tell<D> {
    fn rewind(&mut self, calls: usize) -> Result<()> {
        self.runs.clear();
        self.runs
            .extend(std::iter::repeat_n(&self.start, calls.div_ceil(self.steps())).cloned());
        black_box(self.runs.iter().map(|run| run.state().sum()).sum::<f32>());
        Ok(())
    }

    fn calls(&mut self, calls: usize) -> Result<()> {
        let mut left = calls;
        let steps = self.steps();
        for (index, run) in self.runs.iter_mut().enumerate() {
            for _ in 0..left.min(steps) {
                black_box(&mut *run).tell(&self.e)?;
            }
            self.last = index;
            left -= left.min(steps);
        }
        Ok(())
    }

    fn values(&self) -> Result<Vec<f32>> {
        Ok(self.runs[self.last].state().iter().copied().collect())
    }
}

fn schedule() -> Result<TableSchedule> {
    Ok(TableSchedule::linear(TRAIN, BETAS.0, BETAS.1)?)
}

/// The state and the model's output, the same for both.
struct Data {
    x: Vec<f32>,
    e: Vec<f32>,
}

impl Data {
    fn new(len: usize) -> Self {
        let wave = |i: usize, step: usize| ((i * step) % 1009) as f32 / 252.0 - 2.0;
        Self {
            x: (0..len).map(|i| wave(i + 1, 31)).collect(),
            e: (0..len).map(|i| wave(i + 5, 57)).collect(),
        }
    }

    fn constant(len: usize) -> Self {
        Self {
            x: vec![1.0; len],
            e: vec![0.5; len],
        }
    }
}

/// The largest |a − b| ÷ max(1, |b|).
fn difference(a: &[f32], b: &[f32]) -> f32 {
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs() / b.abs().max(1.0))
        .fold(0.0, f32::max)
}

/// The deterministic step: every step of a 20-step run but the last, each from the same state.
fn check_steps() -> Result<f32> {
    let data = Data::new(1 << 12);
    let schedule = schedule()?;
    let knots: Vec<usize> = Grid::trailing(&schedule, STEPS)?
        .levels()
        .iter()
        .enumerate()
        .map(|(k, _)| TRAIN - k * (TRAIN / STEPS))
        .collect();
    let mut candle = Candle::ddim(0.0)?;
    if let Candle::Ddim(scheduler) = &candle {
        let theirs: Vec<usize> = scheduler.timesteps().iter().map(|t| t + 1).collect();
        if theirs[..] != knots[..STEPS] {
            return Err("the schedulers do not visit the same times".into());
        }
    }
    let mut x = Tensor::from_slice(&data.x, (1, data.x.len()), &Device::Cpu)?;
    let e = Tensor::from_slice(&data.e, (1, data.e.len()), &Device::Cpu)?;
    let output = Array2::from_shape_vec((1, data.e.len()), data.e.clone())?;
    let mut worst: f32 = 0.0;
    for edge in knots[..=COMMON].windows(2) {
        let before: Vec<f32> = x.flatten_all()?.to_vec1()?;
        let mut ours = Machine::new(Array2::from_shape_vec((1, before.len()), before)?, 0)?;
        x = candle.step(&e, edge[0], &x)?;
        let (from, to) = (
            schedule.level(edge[0] as f64)?,
            schedule.level(edge[1] as f64)?,
        );
        DdimStep::new(from, to, Kappa::Ddim)?.tell(
            &mut ours,
            Prediction::Noise,
            &output,
            &mut KeyedNoise::new(0),
            0,
        )?;
        let theirs: Vec<f32> = x.flatten_all()?.to_vec1()?;
        worst = worst.max(difference(ours.state().as_slice().unwrap_or(&[]), &theirs));
    }
    Ok(worst)
}

/// Mean and standard deviation of one step from a constant state.
fn moments(case: &mut dyn Case) -> Result<(f64, f64)> {
    case.rewind(1)?;
    case.calls(1)?;
    let values = case.values()?;
    let n = values.len() as f64;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    let square = values
        .iter()
        .map(|&v| (f64::from(v) - mean).powi(2))
        .sum::<f64>();
    Ok((mean, (square / n).sqrt()))
}

fn require(holds: bool, what: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(what.into()) }
}

/// The checks before any timing.
fn check() -> Result<()> {
    let worst = check_steps()?;
    println!("η = 0, {COMMON} steps of 4096 elements: largest relative difference {worst:.1e}");
    require(worst < 1e-5, "the deterministic steps disagree")?;

    let data = Data::new(1 << 12);
    let shape = (1, data.x.len());
    let mut theirs = Theirs::new(Candle::ddim(0.0)?, &data)?;
    theirs.calls(1)?;
    let mut apply = Apply::new(Kappa::Ddim, &data, shape)?;
    apply.calls(1)?;
    let mut tell = Tell::new(Kappa::Ddim, &data, shape)?;
    tell.calls(1)?;
    let expected = theirs.values()?;
    let worst = difference(&apply.values()?, &expected).max(difference(&tell.values()?, &expected));
    println!("η = 0, the step that is timed: largest relative difference {worst:.1e}");
    require(worst < 1e-5, "the timed steps disagree")?;

    let data = Data::constant(1 << 18);
    let shape = (1, data.x.len());
    let cases: [(&str, Box<dyn Case>); 4] = [
        (
            "candle DDIM",
            Box::new(Theirs::new(Candle::ddim(1.0)?, &data)?),
        ),
        (
            "candle DDPM",
            Box::new(Theirs::new(Candle::ddpm()?, &data)?),
        ),
        ("DdimStep", Box::new(Apply::new(Kappa::Ddpm, &data, shape)?)),
        (
            "Trajectory",
            Box::new(Tell::new(Kappa::Ddpm, &data, shape)?),
        ),
    ];
    let mut first = None;
    for (name, mut case) in cases {
        let (mean, deviation) = moments(&mut *case)?;
        println!("η = 1, {name}: mean {mean:.4}, deviation {deviation:.4} of 256 Ki elements");
        let (m, d) = *first.get_or_insert((mean, deviation));
        // Six standard errors of the difference of two means, and of two deviations.
        let error = 6.0 * d * (2.0 / data.x.len() as f64).sqrt();
        require(
            (mean - m).abs() < error && (deviation - d).abs() < error,
            "the stochastic steps disagree",
        )?;
    }
    println!();
    Ok(())
}

/// Allocations per call.
fn allocations(case: &mut dyn Case) -> Result<f64> {
    const CALLS: usize = 8;
    case.rewind(CALLS)?;
    case.calls(CALLS)?;
    case.rewind(CALLS)?;
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    COUNTING.store(true, Ordering::Relaxed);
    let result = case.calls(CALLS);
    COUNTING.store(false, Ordering::Relaxed);
    result?;
    Ok((ALLOCATIONS.load(Ordering::Relaxed) - before) as f64 / CALLS as f64)
}

fn quantile(values: &mut [f64], q: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1) as f64;
    values
        .get((last * q).round() as usize)
        .copied()
        .unwrap_or(f64::NAN)
}

/// This thread's processor time where candle has no other threads, else the wall clock. A call of 100 ms loses the
/// processor to other jobs far more often than a slice of 200 µs, and the wall clock would count that against it.
static CLOCK: LazyLock<ClockId> = LazyLock::new(|| {
    let alone = candle_core::utils::get_num_threads() == 1
        && std::env::var_os("CANDLE_NUM_THREADS").is_none();
    if alone {
        ClockId::ThreadCPUTime
    } else {
        ClockId::Monotonic
    }
});

/// Nanoseconds.
fn now() -> f64 {
    let time = clock_gettime(*CLOCK);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// Nanoseconds per call over `calls` calls.
fn time(case: &mut dyn Case, calls: usize) -> Result<f64> {
    case.rewind(calls)?;
    let start = now();
    case.calls(calls)?;
    Ok((now() - start) / calls as f64)
}

/// As many calls as fill a slice.
fn calls_per_slice(case: &mut dyn Case) -> Result<usize> {
    time(case, 1)?;
    let one = time(case, 1)?.min(time(case, 1)?);
    Ok(((SLICE.as_nanos() as f64 * 0.75 / one) as usize).clamp(1, MOST_CALLS))
}

/// Prints one row of the table.
fn row(
    size: &str,
    len: usize,
    theirs: (&str, &mut dyn Case),
    ours: (&str, &mut dyn Case),
) -> Result<()> {
    let (their_name, theirs) = theirs;
    let (our_name, ours) = ours;
    let allocated = (allocations(theirs)?, allocations(ours)?);
    let calls = (calls_per_slice(theirs)?, calls_per_slice(ours)?);
    let budget = Instant::now();
    let (mut their_times, mut our_times, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for slice in 0..2000 {
        if slice >= 20 && budget.elapsed() > Duration::from_secs(2) {
            break;
        }
        let (t, o) = if slice % 2 == 0 {
            let t = time(theirs, calls.0)?;
            (t, time(ours, calls.1)?)
        } else {
            let o = time(ours, calls.1)?;
            (time(theirs, calls.0)?, o)
        };
        their_times.push(t);
        our_times.push(o);
        ratios.push(t / o);
    }
    let [median, low, high] = [0.5, 0.1, 0.9].map(|q| quantile(&mut ratios, q));
    let per = if len == 2 { 1.0 } else { len as f64 };
    let unit = if len == 2 { "call" } else { "element" };
    let digits = if len == 2 { 0 } else { 3 };
    println!(
        "| {size} | {their_name} | {our_name} | {unit} | {:.digits$} | {:.digits$} | **{median:.1}** ({low:.1}–{high:.1}) | {} / {} |",
        quantile(&mut their_times, 0.5) / per,
        quantile(&mut our_times, 0.5) / per,
        allocated.0,
        allocated.1,
    );
    Ok(())
}

fn rows(size: &str, len: usize) -> Result<()> {
    let data = Data::new(len);
    let fixed = (1, len);
    {
        let mut theirs = Theirs::new(Candle::ddim(0.0)?, &data)?;
        let name = "DDIM, η = 0";
        let mut ours = Tell::new(Kappa::Ddim, &data, fixed)?;
        row(
            size,
            len,
            (name, &mut theirs),
            ("`Trajectory::tell`", &mut ours),
        )?;
        let mut ours = Apply::new(Kappa::Ddim, &data, fixed)?;
        row(
            size,
            len,
            (name, &mut theirs),
            ("`DdimStep::tell`", &mut ours),
        )?;
        if len == 2 {
            let shape = IxDyn(&[1, len]);
            let mut ours = Tell::new(Kappa::Ddim, &data, shape.clone())?;
            row(
                size,
                len,
                (name, &mut theirs),
                ("`Trajectory::tell`, `IxDyn`", &mut ours),
            )?;
            let mut ours = Apply::new(Kappa::Ddim, &data, shape)?;
            row(
                size,
                len,
                (name, &mut theirs),
                ("`DdimStep::tell`, `IxDyn`", &mut ours),
            )?;
        }
    }
    let mut theirs = Theirs::new(Candle::ddim(1.0)?, &data)?;
    let mut ours = Tell::new(Kappa::Ddpm, &data, fixed)?;
    row(
        size,
        len,
        ("DDIM, η = 1", &mut theirs),
        ("`Trajectory::tell`", &mut ours),
    )?;
    let mut theirs = Theirs::new(Candle::ddpm()?, &data)?;
    row(
        size,
        len,
        ("DDPM", &mut theirs),
        ("`Trajectory::tell`", &mut ours),
    )
}

fn main() -> Result<()> {
    println!(
        "SIMD level of diffusion-sampler: {:?}; candle's threads: {}; clock: {:?}\n",
        simd_level(),
        candle_core::utils::get_num_threads(),
        *CLOCK
    );
    check()?;
    println!(
        "| n | candle-transformers | diffusion-sampler | ns per | theirs | ours | theirs ÷ ours (p10–p90) | allocations a call |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (size, len) in [
        ("2", 2),
        ("64 Ki", 64 << 10),
        ("1 Mi", 1 << 20),
        ("16 Mi", 16 << 20),
    ] {
        rows(size, len)?;
    }
    Ok(())
}

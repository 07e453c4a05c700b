//! What each way into the crate costs a step, beside the bare kernel on arrays of the same size.
//! `cargo bench --bench ways [-- --quick]`; `--features half` adds the rows of f16 and bf16.

#[path = "support/allocations.rs"]
mod allocations;
#[path = "support/mod.rs"]
mod support;

use std::error::Error;
use std::hint::black_box;

use diffusion_sampler::denoiser::from_slice_fn;
use diffusion_sampler::guidance::Combination;
use diffusion_sampler::kernel::linear_combination;
use diffusion_sampler::posterior::Kappa;
use diffusion_sampler::run::{DdimStep, Instruction, Machine, TensorRun};
use diffusion_sampler::schedule::TableSchedule;
use diffusion_sampler::solver::FirstOrder;
use diffusion_sampler::tensor::{Flat, FlatOps};
use diffusion_sampler::{Grid, KeyedNoise, Prediction, Sampler, from_fn};
#[cfg(feature = "half")]
use diffusion_sampler::{ModelElement, Trajectory};
use ndarray::{Array2, Ix2};

use support::{compare, limits};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// v: with a small output the state stays small, however long a run is.
const KIND: Prediction = Prediction::Velocity;
/// Steps of the runs that are measured step by step.
const LONG: usize = 1000;
/// Steps of the runs that are measured whole.
const SHORT: usize = 20;
/// Every element. Not 0: an array of zeros may lie in one page of memory, whatever its length.
const VALUE: f32 = 0.1;
/// Calls in which allocations are counted.
const CALLS: usize = 50;

/// What one way costs at one size.
struct Row {
    name: &'static str,
    /// Median, p10 and p90 of its time ÷ that of what it is compared with.
    ratio: [f64; 3],
    /// Seconds a step.
    time: f64,
    /// Allocations a call.
    allocations: usize,
}

fn main() -> Result<()> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let seconds = if quick { 0.5 } else { 2.0 };
    let mut columns = Vec::new();
    for shape in [(1, 2), (4, 1 << 14), (12, 1 << 16)] {
        columns.push(Size::new(shape, seconds)?.rows()?);
    }
    println!("| way | n = 2 | ns | 64 Ki | 768 Ki | µs | allocations |");
    println!("|---|---|---|---|---|---|---|");
    let [small, middle, large] = &columns[..] else {
        return Err("three sizes are measured".into());
    };
    for ((small, middle), large) in small.iter().zip(middle).zip(large) {
        let ratio = |row: &Row| {
            format!(
                "{:.2} ({:.2} to {:.2})",
                row.ratio[0], row.ratio[1], row.ratio[2]
            )
        };
        println!(
            "| {} | {} | {:.0} | {} | {} | {:.1} | {} |",
            small.name,
            ratio(small),
            small.time * 1e9,
            ratio(middle),
            ratio(large),
            large.time * 1e6,
            large.allocations
        );
    }
    Ok(())
}

/// The arrays of one size.
struct Size {
    shape: (usize, usize),
    seconds: f64,
    sampler: Sampler,
    short: Sampler,
    output: Array2<f32>,
}

/// The update of the kernel alone, x ← a·x + b·e: what every way is compared with.
struct Kernel {
    x: Array2<f32>,
    e: Array2<f32>,
}

impl Kernel {
    fn new(shape: (usize, usize)) -> Self {
        let (x, e) = (
            Array2::from_elem(shape, VALUE),
            Array2::from_elem(shape, VALUE),
        );
        Self { x, e }
    }

    fn step(&mut self) {
        let terms = [(0.7, &*self.e)];
        drop(linear_combination(black_box(&mut self.x), 0.7, &terms));
    }

    /// The least that a model does, it writes its output; then the update.
    fn step_with_model(&mut self, from: &Array2<f32>) {
        self.e.assign(black_box(from));
        self.step();
    }
}

impl Size {
    fn new(shape: (usize, usize), seconds: f64) -> Result<Self> {
        let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
        let sampler = |steps| {
            let grid = Grid::trailing(&schedule, steps)?;
            Sampler::new(&schedule, &grid, &FirstOrder::ddim())
        };
        let output = Array2::from_elem(shape, VALUE);
        let (sampler, short) = (sampler(LONG)?, sampler(SHORT)?);
        Ok(Self {
            shape,
            seconds,
            sampler,
            short,
            output,
        })
    }

    fn rows(&self) -> Result<Vec<Row>> {
        let mut rows = vec![
            self.limit(),
            self.scalars(),
            self.ddim_step()?,
            self.machine()?,
            self.told()?,
            self.flat()?,
        ];
        #[cfg(feature = "half")]
        rows.extend([
            self.half::<half::f16>("`tell`, outputs in f16")?,
            self.half::<half::bf16>("`tell`, outputs in bf16")?,
        ]);
        rows.extend([self.advanced()?, self.whole(), self.whole_slices()]);
        Ok(rows)
    }

    /// A way whose step is compared with the kernel's update.
    fn row(&self, name: &'static str, mut step: impl FnMut()) -> Row {
        let mut kernel = Kernel::new(self.shape);
        let compared = compare(self.seconds, &mut step, || kernel.step());
        Row {
            name,
            ratio: compared.ratio,
            time: compared.times[0],
            allocations: counted(step),
        }
    }

    /// The hand-unrolled loop.
    fn limit(&self) -> Row {
        let mut kernel = Kernel::new(self.shape);
        self.row("a hand-unrolled loop of your own", move || {
            if let (Some(x), Some(e)) = (kernel.x.as_slice_mut(), kernel.e.as_slice()) {
                limits::triad(black_box(x), black_box(e), [0.7, 0.7]);
            }
        })
    }

    /// The plan's scalars, read once a step, and a plain loop.
    fn scalars(&self) -> Row {
        let mut kernel = Kernel::new(self.shape);
        let mut steps = self.sampler.plan().steps().iter().cycle();
        self.row("the plan's scalars, a plain loop", move || {
            let stage = steps.next().and_then(|step| step.stages.first());
            let coefficients = stage.map(|stage| stage.coefficients(KIND, &Combination::single()));
            let Some(Ok(c)) = coefficients else { return };
            let (a, b) = (c.state[0] as f32, c.outputs[0][0] as f32);
            if let (Some(x), Some(e)) = (kernel.x.as_slice_mut(), kernel.e.as_slice()) {
                for (x, e) in black_box(x).iter_mut().zip(black_box(e)) {
                    *x = a * *x + b * e;
                }
            }
        })
    }

    fn ddim_step(&self) -> Result<Row> {
        let edge = &self.sampler.plan().steps()[LONG / 2];
        let step = DdimStep::new(edge.from, edge.to, Kappa::Ddim)?;
        let mut machine = Machine::new(self.output.clone(), 0)?;
        let mut noise = KeyedNoise::new(0);
        Ok(self.row("`DdimStep::tell`", move || {
            let machine = black_box(&mut machine);
            assert_eq!(
                step.tell(machine, KIND, &self.output, &mut noise, 0),
                Ok(())
            );
        }))
    }

    fn machine(&self) -> Result<Row> {
        let mut machine = Machine::new(self.output.clone(), 0)?;
        let mut noise = KeyedNoise::new(0);
        let mut steps = self.sampler.plan().steps().iter().enumerate().cycle();
        Ok(self.row("`Machine::tell`", move || {
            let Some((index, step)) = steps.next() else {
                return;
            };
            let Ok(instruction) = Instruction::new(step, 0, index) else {
                return;
            };
            let machine = black_box(&mut machine);
            assert_eq!(
                machine.tell(&instruction, KIND, &self.output, &mut noise),
                Ok(())
            );
        }))
    }

    fn told(&self) -> Result<Row> {
        let start = self
            .sampler
            .start_from(self.output.clone(), KIND, KeyedNoise::new(0))?;
        let mut run = start.clone();
        Ok(self.row("ask and tell on arrays", move || {
            if run.is_finished() {
                run.clone_from(&start);
            }
            assert!(run.ask().is_ok_and(|question| question.is_some()));
            assert_eq!(run.tell(black_box(&self.output)), Ok(()));
        }))
    }

    fn flat(&self) -> Result<Row> {
        let (rows, columns) = self.shape;
        let output = Flat::new(vec![VALUE; rows * columns], &[rows, columns])?;
        let on = || self.sampler.on(FlatOps::new());
        let start: TensorRun<FlatOps<f32>> =
            on().start_from(output.clone(), KIND, KeyedNoise::new(0))?;
        let mut run = start.clone();
        Ok(self.row("ask and tell on a flat `Vec`", move || {
            if run.is_finished() {
                run.clone_from(&start);
            }
            assert!(run.ask().is_ok_and(|question| question.is_some()));
            assert!(run.tell(black_box(&output)).is_ok());
        }))
    }

    #[cfg(feature = "half")]
    fn half<O: ModelElement<f32>>(&self, name: &'static str) -> Result<Row> {
        let output = self.output.map(|value| O::narrowed(*value));
        let start = self
            .sampler
            .start_from(self.output.clone(), KIND, KeyedNoise::new(0))?;
        let mut run: Trajectory<f32, Ix2> = start.clone();
        Ok(self.row(name, move || {
            if run.is_finished() {
                run.clone_from(&start);
            }
            assert_eq!(run.tell(black_box(&output)), Ok(()));
        }))
    }

    /// A model that writes its output, called by the run: the same writing stands beside the kernel.
    fn advanced(&self) -> Result<Row> {
        let mut model = from_fn::<f32, Ix2>(KIND, |_, _, out| out.assign(black_box(&self.output)));
        let start = self
            .sampler
            .start_from(self.output.clone(), KIND, KeyedNoise::new(0))?;
        let mut run = start.clone();
        let mut step = || {
            if run.is_finished() {
                run.clone_from(&start);
            }
            assert!(run.advance(&mut model).is_ok());
        };
        let mut kernel = Kernel::new(self.shape);
        let compared = compare(self.seconds, &mut step, || {
            kernel.step_with_model(&self.output)
        });
        Ok(Row {
            name: "`advance` with a `Denoiser`",
            ratio: compared.ratio,
            time: compared.times[0],
            allocations: counted(step),
        })
    }

    /// A whole run, its start included, beside as many updates with the model's writing.
    fn whole(&self) -> Row {
        let mut model = from_fn::<f32, Ix2>(KIND, |_, _, out| out.assign(black_box(&self.output)));
        self.run_row("`sample`, 20 steps", || {
            assert!(self.short.sample(&mut model, self.shape, 0).is_ok());
        })
    }

    fn whole_slices(&self) -> Row {
        let output = self.output.as_slice().unwrap_or_default();
        let mut model = from_slice_fn(KIND, |_: &[f32], _, out: &mut [f32]| {
            out.copy_from_slice(black_box(output));
        });
        let shape = [self.shape.0, self.shape.1];
        self.run_row("`sample_vec`, 20 steps", || {
            assert!(self.short.sample_vec(&mut model, &shape, 0).is_ok());
        })
    }

    fn run_row(&self, name: &'static str, mut run: impl FnMut()) -> Row {
        let mut kernel = Kernel::new(self.shape);
        let compared = compare(self.seconds, &mut run, || {
            for _ in 0..SHORT {
                kernel.step_with_model(&self.output);
            }
        });
        Row {
            name,
            ratio: compared.ratio,
            time: compared.times[0] / SHORT as f64,
            allocations: counted(run),
        }
    }
}

/// Allocations a call, after the first.
fn counted(mut call: impl FnMut()) -> usize {
    call();
    let before = allocations::calls();
    for _ in 0..CALLS {
        call();
    }
    (allocations::calls() - before).div_ceil(CALLS)
}

//! Sequences of actions, as a robot's policy plans them: 16 actions of 7 numbers in ten steps. What
//! is the sampler's share of the time from an observation to a plan?
//!
//! The samplers and the runs are made once. A run begins anew at every observation, without
//! allocating; from the second observation on, the last plan, shifted and noised, saves six of the
//! ten steps. The policy is a perceptron in plain Rust; a real one takes longer.
//!
//! `cargo run --release --example actions`

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use diffusion_sampler::{
    Grid, KeyedNoise, Prediction, Sampler, Trajectory,
    forward::{diffuse, fill_normal},
    from_fn,
    noise::Stream,
    schedule::TableSchedule,
    solver::{DpmSolverPlusPlus, FirstOrder, Solver},
};
use ndarray::{Array1, Array2, Array3, ArrayRef, Ix3};

/// Plans at once, actions in a plan, numbers in an action.
const PLAN: (usize, usize, usize) = (1, 16, 7);
const NUMBERS: usize = 16 * 7;
/// The actions of a plan that are executed before the next observation.
const EXECUTED: usize = 8;
const STEPS: usize = 10;
/// A warm start takes the last of them.
const WARM: usize = 4;
const OBSERVATION: usize = 32;
const HIDDEN: usize = 256;
const OBSERVATIONS: u64 = 2000;

/// A perceptron with two hidden layers: (plan, observation, time) to the plan without noise.
struct Policy {
    layers: [Array2<f32>; 3],
    input: Array1<f32>,
}

impl Policy {
    fn new() -> Result<Self, diffusion_sampler::Error> {
        let layer = |number, rows, columns| {
            let mut weights = Array2::zeros((rows, columns));
            let noise = &mut KeyedNoise::new(1);
            fill_normal(&mut weights, noise, number, Stream::User(0))?;
            Ok(weights / (columns as f32).sqrt())
        };
        let inputs = NUMBERS + OBSERVATION + 1;
        let (first, last) = (layer(0, HIDDEN, inputs)?, layer(2, NUMBERS, HIDDEN)?);
        Ok(Self {
            layers: [first, layer(1, HIDDEN, HIDDEN)?, last],
            input: Array1::zeros(inputs),
        })
    }

    /// What is seen now.
    fn observe(&mut self, observation: u64) {
        for (i, input) in self.input.iter_mut().skip(NUMBERS).enumerate() {
            *input = (observation as f32 * 0.01 + i as f32).sin();
        }
    }

    fn plan(&mut self, x: &ArrayRef<f32, Ix3>, time: f64, out: &mut ArrayRef<f32, Ix3>) {
        for (input, x) in self.input.iter_mut().zip(x) {
            *input = *x;
        }
        self.input[NUMBERS + OBSERVATION] = time as f32 / 100.0;
        let [first, second, third] = &self.layers;
        let hidden = first.dot(&self.input).mapv_into(f32::tanh);
        let hidden = second.dot(&hidden).mapv_into(f32::tanh);
        for (out, value) in out.iter_mut().zip(third.dot(&hidden)) {
            *out = value;
        }
    }
}

/// The median and the 99th percentile, in µs.
fn microseconds(mut times: Vec<Duration>) -> (f64, f64) {
    times.sort();
    let at = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1e6;
    (at(50), at(99))
}

fn timed(mut work: impl FnMut(u64)) -> (f64, f64) {
    let times = (0..OBSERVATIONS).map(|observation| {
        let start = Instant::now();
        work(observation);
        start.elapsed()
    });
    microseconds(times.collect())
}

/// All that is not the policy: the start, and every step with an output that is there already.
fn without_policy(
    run: &mut Trajectory<f32, Ix3>,
    output: &Array3<f32>,
) -> Result<(), diffusion_sampler::Error> {
    while let Some(question) = run.ask()? {
        black_box(question.x);
        run.tell(output)?;
    }
    Ok(())
}

/// The time of the sampler and of the policy for one plan.
fn measure(name: &str, solver: &dyn Solver) -> Result<(), Box<dyn Error>> {
    let schedule = TableSchedule::cosine(100)?;
    let grid = Grid::trailing(&schedule, STEPS)?;
    let rest = grid.section(STEPS - WARM..STEPS)?;
    let sampler = Sampler::new(&schedule, &grid, solver)?;
    let mut policy = Policy::new()?;
    let mut cold: Trajectory<f32, Ix3> =
        sampler.start(PLAN, Prediction::Data, KeyedNoise::new(0))?;
    let mut warm: Trajectory<f32, Ix3> = Sampler::new(&schedule, &rest, solver)?.start(
        PLAN,
        Prediction::Data,
        KeyedNoise::new(0),
    )?;

    // What a controller does; the first plans are those of runs that are not reused.
    let mut plan = Array3::zeros(PLAN);
    for observation in 0..50 {
        policy.observe(observation);
        let mut model = from_fn(
            Prediction::Data,
            |x: &ArrayRef<f32, Ix3>, level, out: &mut ArrayRef<f32, Ix3>| {
                policy.plan(x, level.model_time(), out);
            },
        );
        cold.restart(KeyedNoise::new(observation))?;
        cold.complete(&mut model)?;
        assert_eq!(
            *cold.state(),
            sampler.sample(&mut model, PLAN, observation)?
        );
        if observation == 0 {
            plan.assign(cold.state());
            continue;
        }
        let actions: &mut [f32] = plan.as_slice_mut().ok_or("a new array is contiguous")?;
        actions.copy_within(EXECUTED * PLAN.2.., 0);
        let mut noise = KeyedNoise::new(observation);
        diffuse(&mut plan, &[rest.start()], &mut noise, 0)?;
        warm.restart_from(&plan, noise)?;
        warm.complete(&mut model)?;
        plan.assign(warm.state());
    }

    let (x, mut output) = (plan.clone(), Array3::zeros(PLAN));
    let (model, _) = timed(|_| {
        for step in 0..STEPS {
            policy.plan(&x, step as f64, &mut output);
        }
    });
    let mut failed = Ok(());
    let (share, worst) = timed(|seed| {
        let begun = cold.restart(KeyedNoise::new(seed));
        let done = begun.and_then(|()| without_policy(&mut cold, &output));
        failed = std::mem::replace(&mut failed, Ok(())).and(done);
    });
    let (again, _) = timed(|seed| {
        let begun = warm.restart_from(&x, KeyedNoise::new(seed));
        let done = begun.and_then(|()| without_policy(&mut warm, &output));
        failed = std::mem::replace(&mut failed, Ok(())).and(done);
    });
    let (anew, _) = timed(|seed| {
        let run = sampler.start(PLAN, Prediction::Data, KeyedNoise::new(seed));
        let done = run.and_then(|mut run| without_policy(&mut run, &output));
        failed = std::mem::replace(&mut failed, Ok(())).and(done);
    });
    failed?;
    println!(
        "{name:<22} {share:>9.2} {worst:>9.2} {again:>9.2} {anew:>9.2} {model:>9.0} {:>8.1} %",
        100.0 * share / (share + model)
    );
    // Without optimization the figures mean nothing.
    assert!(cfg!(debug_assertions) || (share < 200.0 && share < 0.25 * model));
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("µs for a plan of 16 × 7 numbers in {STEPS} steps; warm: {WARM} steps");
    println!(
        "{:<22} {:>9} {:>9} {:>9} {:>9} {:>9} {:>10}",
        "sampler", "restarted", "99 %", "warm", "new run", "policy", "share"
    );
    measure("DDIM", &FirstOrder::ddim())?;
    measure("DPM-Solver++ 2M", &DpmSolverPlusPlus::new())?;
    measure("DDPM, stochastic", &FirstOrder::ddpm())?;
    measure("SDE 2M, stochastic", &DpmSolverPlusPlus::sde())?;
    Ok(())
}

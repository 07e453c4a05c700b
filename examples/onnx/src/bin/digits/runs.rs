//! Whole runs: guided, of many steps, deterministic and not.

use std::time::{Duration, Instant};

use diffusion_sampler::denoiser::Guided;
use diffusion_sampler::guidance::ClassifierFree;
use diffusion_sampler::ndarray::{Array2, ArrayRef, Ix2};
use diffusion_sampler::oracle::Gaussian;
use diffusion_sampler::schedule::TableSchedule;
use diffusion_sampler::solver::{DpmSolverPlusPlus, FirstOrder, Solver, UniPc};
use diffusion_sampler::{Denoiser, Grid, Prediction, Query, Sampler};
use diffusion_sampler_onnx::{digits::Digits, graph::Graph};
use digits_network::{CLASSES, Network, PIXELS};

use crate::Result;
use crate::evaluation::{ROUNDING, difference};

const STEPS: usize = 20;
const SAMPLES: usize = 20;
const SCALE: f64 = 2.0;
const SEED: u64 = 42;

/// Runs every solver on the graph and on the network.
pub fn compare<G: Graph>(graph: &mut G) -> Result<()>
where
    G::Error: 'static,
{
    let network = Network::trained()?;
    let classes: Vec<usize> = (0..SAMPLES).map(|sample| sample % CLASSES).collect();
    let solvers: [(&str, &dyn Solver); 4] = [
        ("DDIM", &FirstOrder::ddim()),
        ("DPM++ 2M", &DpmSolverPlusPlus::new()),
        ("UniPC of order 3", &UniPc::order(3)?),
        ("DPM++ 2M SDE", &DpmSolverPlusPlus::sde()),
    ];
    println!(
        "{:18} {:>10} {:>10} {:>12} {:>8}",
        "", "difference", "allowed", "runtime", "sampler"
    );
    for (name, solver) in solvers {
        let sampler = sampler(solver)?;
        let (theirs, spent) = run(&sampler, Digits::new(&mut *graph, &classes)?)?;
        let (ours, _) = run(&sampler, network.denoiser(&classes)?)?;
        let (difference, allowed) = (difference(&theirs, &ours), allowed(&sampler)?);
        let (runtime, share) = (spent.model.as_secs_f64() * 1e3, 100.0 * spent.share());
        println!("{name:18} {difference:>10.1e} {allowed:>10.1e} {runtime:>9.1} ms {share:>6.1} %");
        if difference > allowed {
            return Err(format!("{name}: {difference:e} is more than rounding").into());
        }
    }
    Ok(())
}

fn sampler(solver: &dyn Solver) -> Result<Sampler> {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    Ok(Sampler::new(
        &schedule,
        &Grid::trailing(&schedule, STEPS)?,
        solver,
    )?)
}

/// What an error of one evaluation becomes in a run, guided: the two outputs enter with the weights
/// s and 1 − s, and the crate says what errors at all evaluations add up to, on Gaussian data of
/// variance 1.
fn allowed(sampler: &Sampler) -> Result<f64> {
    let report = sampler.stability(&Gaussian::isotropic(&[0.0], 1.0)?)?;
    let added = report.model_error().iter().copied().fold(0.0, f64::max);
    Ok(added * (2.0 * SCALE - 1.0) * ROUNDING)
}

/// The samples of a guided run, and where its time went.
fn run<M>(sampler: &Sampler, model: M) -> Result<(Array2<f32>, Spent)>
where
    M: Denoiser<f32, Ix2>,
    M::Error: std::fmt::Debug + std::fmt::Display + 'static,
{
    let timed = Timed {
        model,
        spent: Duration::ZERO,
    };
    let mut model = Guided::new(timed, ClassifierFree::with_scale(SCALE)?);
    // The first run also pays for what is made once.
    sampler.sample(&mut model, (SAMPLES, PIXELS), SEED)?;
    let before = model.model().spent;
    let start = Instant::now();
    let samples = sampler.sample(&mut model, (SAMPLES, PIXELS), SEED)?;
    let whole = start.elapsed();
    let model = model.model().spent - before;
    Ok((samples, Spent { model, whole }))
}

/// The time of a run, and how much of it was the model's.
struct Spent {
    model: Duration,
    whole: Duration,
}

impl Spent {
    /// The part that the sampler took.
    fn share(&self) -> f64 {
        1.0 - self.model.as_secs_f64() / self.whole.as_secs_f64()
    }
}

/// A model and the time that it has taken.
struct Timed<M> {
    model: M,
    spent: Duration,
}

impl<M: Denoiser<f32, Ix2>> Denoiser<f32, Ix2> for Timed<M> {
    type Error = M::Error;

    fn prediction(&self) -> Prediction {
        self.model.prediction()
    }

    fn outputs(&self) -> Option<usize> {
        self.model.outputs()
    }

    fn denoise(
        &mut self,
        x: &ArrayRef<f32, Ix2>,
        query: &Query<'_>,
        out: &mut ArrayRef<f32, Ix2>,
    ) -> std::result::Result<(), M::Error> {
        let start = Instant::now();
        let answer = self.model.denoise(x, query, out);
        self.spent += start.elapsed();
        answer
    }
}

//! The same runs on a library's tensors and on ndarray's arrays, compared. The library is the
//! caller's: this file knows its `TensorOps` and a network in its operations, nothing else.

use std::fmt::{Debug, Display};
use std::ops::ControlFlow;

use diffusion_sampler::denoiser::Guided;
use diffusion_sampler::guidance::{
    ClassifierFree, Combination, Guidance, Projected, Rescaled, Unguided,
};
use diffusion_sampler::ndarray::{Array4, Axis, Ix4};
use diffusion_sampler::run::TensorRun;
use diffusion_sampler::schedule::TableSchedule;
use diffusion_sampler::solver::{DpmSolverPlusPlus, FirstOrder, Heun, Solver, UniPc};
use diffusion_sampler::tensor::TensorOps;
use diffusion_sampler::{Clip, Denoiser, Grid, KeyedNoise, Query, Sampler, Trajectory};

use crate::counting::{Counting, Traffic};
use crate::reference::{self, PREDICTION, Reference, SHAPE, Weights};

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
type Outputs<L> = std::result::Result<Vec<<L as Library>::Tensor>, <L as Library>::Error>;
type Run<'c, L> = TensorRun<Counting<'c, <L as Library>::Ops>>;

const STEPS: usize = 20;
const SEED: u64 = 42;

/// f32 rounds to 2^-24 = 6e-8 of a value. A network of 32 and 48 terms a sum, at guidance scale 4
/// (weights 4 and -3), returns outputs of some 7 · √48 · 6e-8 = 3e-6 relative error; a step of 20
/// passes on a twentieth of it. Three times that bounds what a run adds up.
pub const TOLERANCE: f64 = 1e-5;

/// A tensor library, and a network in its operations.
pub trait Library {
    type Tensor: Clone;
    type Error: Debug + Display + 'static;
    type Ops: TensorOps<Tensor = Self::Tensor, Element = f32, Error = Self::Error> + Copy;

    fn ops(&self) -> Self::Ops;

    /// Zeros in this shape.
    fn zeros(&self, shape: [usize; 4]) -> std::result::Result<Self::Tensor, Self::Error>;

    /// The outputs of one forward call for a batch of `labels`, as long as `x` or a multiple of it.
    fn forward(&self, x: &Self::Tensor, time: f64, labels: &[usize]) -> Outputs<Self>;
}

/// How far one run is from ours.
pub struct Line {
    pub name: &'static str,
    /// Largest difference, in units of our largest element.
    pub difference: f64,
    pub uploads: usize,
    pub downloads: usize,
}

/// Largest difference, in units of our largest element.
pub fn difference(values: &[f64], ours: impl IntoIterator<Item = f64>) -> f64 {
    let (mut largest, mut scale) = (0.0, 0.0);
    for (value, ours) in values.iter().zip(ours) {
        largest = f64::max(largest, (value - ours).abs());
        scale = f64::max(scale, ours.abs());
    }
    largest / scale
}

pub fn sampler(solver: &dyn Solver) -> Result<Sampler> {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let grid = Grid::trailing(&schedule, STEPS)?;
    Ok(Sampler::new(&schedule, &grid, solver)?)
}

/// All runs on the tensors of `library`.
pub fn compare<L: Library>(library: &L) -> Result<Vec<Line>> {
    let weights = Weights::new();
    let cases = Cases {
        library,
        weights: &weights,
    };
    let (two_m, three_m) = (DpmSolverPlusPlus::new(), DpmSolverPlusPlus::multistep(3)?);
    let unipc = UniPc::order(3)?;
    let classes = ClassifierFree::with_scale(4.0)?;
    let momentum = Projected::with_scale(6.0)?
        .with_radius(20.0)?
        .with_momentum(-0.5)?;
    let rescaled = Rescaled::new(ClassifierFree::with_scale(6.0)?, 0.7)?;
    let (clip, dynamic) = (Clip::new(-1.0, 1.0)?, Clip::dynamic(0.9, 3.0)?);
    let keeping = clip.keeping_noise();
    let noisy = STEPS - 1;
    let plain = |solver: &dyn Solver| sampler(solver);
    let clipped = |clip| Ok::<_, Box<dyn std::error::Error>>(sampler(&two_m)?.with_clip(clip));
    // The uploads are the start noise, and that of each step but the last where a run has noise.
    Ok(vec![
        cases.run("2M, guided", &plain(&two_m)?, &classes, (1, 0))?,
        cases.run(
            "DDPM",
            &plain(&FirstOrder::ddpm())?,
            &Unguided,
            (1 + noisy, 0),
        )?,
        cases.run(
            "SDE 2M, guided",
            &plain(&DpmSolverPlusPlus::sde())?,
            &classes,
            (1 + noisy, 0),
        )?,
        cases.run(
            "third order, two history slots",
            &plain(&three_m)?,
            &classes,
            (1, 0),
        )?,
        cases.run(
            "UniPC of order 3, three history slots",
            &plain(&unipc)?,
            &classes,
            (1, 0),
        )?,
        cases.run(
            "Heun, two evaluations a step",
            &plain(&Heun::new())?,
            &classes,
            (1, 0),
        )?,
        cases.run(
            "projected, with momentum",
            &plain(&two_m)?,
            &momentum,
            (1, 0),
        )?,
        cases.run("rescaled", &plain(&two_m)?, &rescaled, (1, 0))?,
        cases.run("clipped", &clipped(clip)?, &classes, (1, 0))?,
        cases.run(
            "clipped, keeping the noise",
            &clipped(keeping)?,
            &classes,
            (1, 0),
        )?,
        // The quantile of |D| is taken on the host, once an evaluation.
        cases.run(
            "dynamic thresholding",
            &clipped(dynamic)?,
            &classes,
            (1, STEPS),
        )?,
        cases.resumed("snapshot and resume", &plain(&three_m)?, &momentum)?,
        cases.by_hand("ask and tell", &plain(&two_m)?, &classes)?,
        cases.previews("estimates of the data, kept", &plain(&three_m)?, &momentum)?,
        cases.per_sample(
            "a combination for each sample",
            &plain(&FirstOrder::ddpm())?,
        )?,
    ])
}

struct Cases<'a, L> {
    library: &'a L,
    weights: &'a Weights,
}

impl<L: Library> Cases<'_, L> {
    /// Whole runs with a closure and with a denoiser.
    fn run(
        &self,
        name: &'static str,
        sampler: &Sampler,
        guidance: &dyn Guidance,
        traffic: (usize, usize),
    ) -> Result<Line> {
        let counts = Traffic::default();
        let mut run = self.start(sampler, &counts)?;
        run.complete_guided(guidance, |x, query| self.outputs(x, query))?;
        let ours = self.ours(sampler, guidance)?;
        let line = self.line(name, &counts, run, &ours)?;
        assert_eq!((line.uploads, line.downloads), traffic, "{name}");
        Ok(line)
    }

    /// A run that stops at step 7, and another that goes on from its snapshot.
    fn resumed(
        &self,
        name: &'static str,
        sampler: &Sampler,
        guidance: &dyn Guidance,
    ) -> Result<Line> {
        let counts = Traffic::default();
        let mut first = self.start(sampler, &counts)?;
        for _ in 0..7 {
            first.advance_guided(guidance, |x, query| self.outputs(x, query))?;
        }
        let snapshot = first.snapshot()?;
        let ops = self.counting(&counts);
        let mut second = sampler
            .on(ops)
            .resume(snapshot, PREDICTION, KeyedNoise::new(SEED))?;
        second.complete_guided(guidance, |x, query| self.outputs(x, query))?;
        first.complete_guided(guidance, |x, query| self.outputs(x, query))?;
        assert_eq!(self.values(first.state())?, self.values(second.state())?);
        self.line(name, &counts, second, &self.ours(sampler, guidance)?)
    }

    /// The loop of one's own: evaluate when you like, and tell.
    fn by_hand(
        &self,
        name: &'static str,
        sampler: &Sampler,
        guidance: &dyn Guidance,
    ) -> Result<Line> {
        let counts = Traffic::default();
        let mut run = self.start(sampler, &counts)?;
        while let Some(question) = run.ask()? {
            let (x, query) = (question.x, question.query.with_outputs(2));
            let outputs = self.outputs(x, &query).map_err(|error| error.to_string())?;
            run.tell_guided(guidance, &[&outputs[0], &outputs[1]])?;
        }
        self.line(name, &counts, run, &self.ours(sampler, guidance)?)
    }

    /// The estimate of x₀ after every step, guided: what a preview shows. The farthest one counts.
    fn previews(
        &self,
        name: &'static str,
        sampler: &Sampler,
        guidance: &dyn Guidance,
    ) -> Result<Line> {
        let mut previews: Vec<Array4<f32>> = Vec::new();
        let mut model = Guided::new(Reference(self.weights), guidance);
        let mut ours = self.our_start(sampler)?;
        let _ = ours.complete_with(&mut model, |report| {
            previews.push(report.data.to_owned());
            ControlFlow::Continue(())
        })?;
        let counts = Traffic::default();
        let mut run = self.start(sampler, &counts)?.keeping_data();
        let mut largest: f64 = 0.0;
        for preview in &previews {
            run.advance_guided(guidance, |x, query| self.outputs(x, query))?;
            let data = self.values(run.data().ok_or("an estimate is kept")?)?;
            let data: Vec<f64> = data.into_iter().map(f64::from).collect();
            let preview = preview.iter().map(|value| f64::from(*value));
            largest = largest.max(difference(&data, preview));
        }
        assert!(largest < TOLERANCE, "{name}: {largest:e}");
        let line = self.line(name, &counts, run, &ours.into_state())?;
        let difference = largest.max(line.difference);
        Ok(Line { difference, ..line })
    }

    /// Weights of one's own for every sample: the first unguided, the others at scales 3 and 5.
    fn per_sample(&self, name: &'static str, sampler: &Sampler) -> Result<Line> {
        let weights = [[1.0, 0.0], [3.0, -2.0], [5.0, -4.0]];
        let combinations = weights.map(|weights| Combination::affine(&weights));
        let combinations = combinations
            .into_iter()
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let counts = Traffic::default();
        let mut run = self.start(sampler, &counts)?;
        while let Some(question) = run.ask()? {
            let (x, query) = (question.x, question.query.with_outputs(2));
            let outputs = self.outputs(x, &query).map_err(|error| error.to_string())?;
            run.tell_combined(&combinations, &[&outputs[0], &outputs[1]])?;
        }
        let mut ours = self.our_start(sampler)?;
        while let Some(question) = ours.ask()? {
            let query = question.query.with_outputs(2);
            let mut outputs = Array4::zeros((2 * SHAPE[0], SHAPE[1], SHAPE[2], SHAPE[3]));
            Reference(self.weights).denoise(question.x, &query, &mut outputs)?;
            let (with, without) = outputs.view().split_at(Axis(0), SHAPE[0]);
            ours.tell_combined(&combinations, &[&with, &without])?;
        }
        self.line(name, &counts, run, &ours.into_state())
    }

    fn counting<'c>(&self, traffic: &'c Traffic) -> Counting<'c, L::Ops> {
        let ops = self.library.ops();
        Counting { ops, traffic }
    }

    fn start<'c>(&self, sampler: &Sampler, traffic: &'c Traffic) -> Result<Run<'c, L>> {
        let like = self
            .library
            .zeros(SHAPE)
            .map_err(|error| error.to_string())?;
        let ops = self.counting(traffic);
        Ok(sampler
            .on(ops)
            .start(&like, PREDICTION, KeyedNoise::new(SEED))?)
    }

    /// All outputs that the query wants, in one call.
    fn outputs(&self, x: &L::Tensor, query: &Query<'_>) -> Outputs<L> {
        let labels = reference::labels(query.outputs());
        self.library.forward(x, reference::time(query), &labels)
    }

    fn our_start(&self, sampler: &Sampler) -> Result<Trajectory<f32, Ix4>> {
        Ok(sampler.start(SHAPE, PREDICTION, KeyedNoise::new(SEED))?)
    }

    fn ours(&self, sampler: &Sampler, guidance: &dyn Guidance) -> Result<Array4<f32>> {
        let mut run = self.our_start(sampler)?;
        run.complete(&mut Guided::new(Reference(self.weights), guidance))?;
        Ok(run.into_state())
    }

    fn values(&self, tensor: &L::Tensor) -> Result<Vec<f32>> {
        let values = self.library.ops().download(tensor);
        Ok(values.map_err(|error| error.to_string())?)
    }

    /// Compares the ends of two runs.
    fn line(
        &self,
        name: &'static str,
        counts: &Traffic,
        run: Run<'_, L>,
        ours: &Array4<f32>,
    ) -> Result<Line> {
        let values: Vec<f64> = self
            .values(run.state())?
            .into_iter()
            .map(f64::from)
            .collect();
        assert_eq!(values.len(), ours.len());
        let difference = difference(&values, ours.iter().map(|value| f64::from(*value)));
        assert!(difference < TOLERANCE, "{name}: {difference:e}");
        let (uploads, downloads) = (counts.uploads.get(), counts.downloads.get());
        Ok(Line {
            name,
            difference,
            uploads,
            downloads,
        })
    }
}

/// The table of all runs.
pub fn print(lines: &[Line]) {
    println!(
        "{:34} {:>10} {:>8} {:>10}",
        "run", "difference", "uploads", "downloads"
    );
    for Line {
        name,
        difference,
        uploads,
        downloads,
    } in lines
    {
        println!("{name:34} {difference:>10.1e} {uploads:>8} {downloads:>10}");
    }
}

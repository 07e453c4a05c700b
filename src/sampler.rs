//! From a grid and a solver to runs.

use std::sync::Arc;

use ndarray::{Array, Dimension, IntoDimension};

use crate::clip::Clip;
use crate::denoiser::Denoiser;
use crate::error::{Error, RunError, require_non_negative};
use crate::forward::start_noise;
use crate::grid::Grid;
use crate::memory;
use crate::noise::{KeyedNoise, NoiseSource};
use crate::plan::Plan;
use crate::prediction::Prediction;
use crate::real::Real;
use crate::run::{Snapshot, Trajectory};
use crate::solver::Solver;

/// A sampler: a plan, the start law and the options of its runs. Immutable, cheap to clone, shared between threads.
///
/// ```
/// use diffusion_sampler::{Grid, Prediction, Sampler, from_fn, schedule::TableSchedule, solver::DpmSolverPp2M};
/// use ndarray::{Array4, ArrayRef, Ix4};
///
/// let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
/// let sampler = Sampler::new(&Grid::trailing(&schedule, 20)?, &DpmSolverPp2M::new())?;
/// let mut model = from_fn(Prediction::Noise, |x: &ArrayRef<f32, Ix4>, level, out: &mut ArrayRef<f32, Ix4>| {
///     out.zip_mut_with(x, |o, &x| *o = x * level.sigma() as f32);
/// });
/// let images: Array4<f32> = sampler.sample(&mut model, (2, 3, 8, 8), 42)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Sampler {
    plan: Arc<Plan>,
    start_variance: f64,
    clip: Option<Clip>,
}

impl Sampler {
    /// The sampler that runs `solver` on `grid`; the start law is the schedule's.
    ///
    /// # Errors
    ///
    /// What the solver refuses.
    pub fn new(grid: &Grid, solver: &dyn Solver) -> Result<Self, Error> {
        Ok(Self {
            plan: Arc::new(solver.plan(grid)?),
            start_variance: grid.start_variance(),
            clip: None,
        })
    }

    /// A sampler from a plan, with start law N(0, `start_variance` I).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless the variance is finite and at least 0.
    pub fn from_plan(plan: Plan, start_variance: f64) -> Result<Self, Error> {
        Self {
            plan: Arc::new(plan),
            start_variance: 1.0,
            clip: None,
        }
        .with_start_variance(start_variance)
    }

    /// The same sampler with start law N(0, `variance` I).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless the variance is finite and at least 0.
    pub fn with_start_variance(self, variance: f64) -> Result<Self, Error> {
        require_non_negative("start_variance", variance)?;
        Ok(Self {
            start_variance: variance,
            ..self
        })
    }

    /// The same sampler with the estimate of x₀ clipped at every evaluation.
    #[must_use]
    pub fn with_clip(self, clip: Clip) -> Self {
        Self {
            clip: Some(clip),
            ..self
        }
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// v_T of the start law N(0, v_T I).
    pub fn start_variance(&self) -> f64 {
        self.start_variance
    }

    /// The clipping of x₀, if any.
    pub fn clip(&self) -> Option<Clip> {
        self.clip
    }

    /// Samples of the given shape, axis 0 being the sample, with the keyed noise of `seed`.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start) and [`Trajectory::run`].
    pub fn sample<A, S, M>(
        &self,
        model: &mut M,
        shape: S,
        seed: u64,
    ) -> Result<Array<A, S::Dim>, RunError<M::Error>>
    where
        A: Real,
        S: IntoDimension,
        M: Denoiser<A, S::Dim> + ?Sized,
    {
        let mut run = self.start(shape, model.prediction(), KeyedNoise::new(seed))?;
        run.run(model)?;
        Ok(run.into_state())
    }

    /// A run from the start law: x_T ~ N(0, v_T I).
    ///
    /// # Errors
    ///
    /// [`Error::NoSampleAxis`] for a 0-dimensional shape, [`Error::TooLarge`], [`Error::PredictionUndefined`] when the
    /// prediction says nothing at a level where the plan evaluates the model, [`Error::UnsupportedPlan`] for a plan that
    /// leads to more noise (DDIM inversion), which starts from data by [`start_from`](Self::start_from).
    pub fn start<A, S, N>(
        &self,
        shape: S,
        prediction: Prediction,
        mut noise: N,
    ) -> Result<Trajectory<A, S::Dim, N>, Error>
    where
        A: Real,
        S: IntoDimension,
        N: NoiseSource<A>,
    {
        self.check_start()?;
        let shape = shape.into_dimension();
        let mut x = memory::zeros(shape)?;
        let deviation = self.start_variance.sqrt();
        start_noise(&mut x, deviation, &mut noise)?;
        self.start_from(x, prediction, noise)
    }

    /// A run from a given state at the plan's first level: image to image, inversion, a state computed elsewhere.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_from<A, D, N>(
        &self,
        x: Array<A, D>,
        prediction: Prediction,
        noise: N,
    ) -> Result<Trajectory<A, D, N>, Error>
    where
        A: Real,
        D: Dimension,
        N: NoiseSource<A>,
    {
        Trajectory::new(Arc::clone(&self.plan), prediction, self.clip, x, noise)
    }

    /// Goes on with a run that [`Trajectory::snapshot`] has stored, taken from a sampler with the same plan.
    ///
    /// # Errors
    ///
    /// As [`start_from`](Self::start_from); [`Error::WrongLength`], [`Error::ShapeMismatch`] and [`Error::RunFinished`] for a
    /// snapshot that does not fit the plan.
    pub fn resume<A, D, N>(
        &self,
        snapshot: Snapshot<A, D>,
        prediction: Prediction,
        noise: N,
    ) -> Result<Trajectory<A, D, N>, Error>
    where
        A: Real,
        D: Dimension,
        N: NoiseSource<A>,
    {
        let plan = Arc::clone(&self.plan);
        Trajectory::resume(plan, prediction, self.clip, snapshot, noise)
    }

    /// Refuses a start law for a plan that leads to more noise.
    pub(crate) fn check_start(&self) -> Result<(), Error> {
        if self.plan.start().lambda() < self.plan.end().lambda() {
            return Ok(());
        }
        Err(Error::UnsupportedPlan {
            feature: "it leads to more noise, so that it starts from data and has no start law",
        })
    }
}

//! From a grid and a solver to runs.

mod distribution;
#[cfg(feature = "serde")]
mod stored;

use std::sync::Arc;

use ndarray::{Array, Dimension, IntoDimension, IxDyn};

use crate::apply::start_noise;
use crate::clip::Clip;
use crate::denoiser::Denoiser;
use crate::error::{Error, RunError, require_non_negative};
use crate::grid::Grid;
use crate::memory;
use crate::noise::{KeyedNoise, NoiseSource};
use crate::plan::Plan;
use crate::prediction::Prediction;
use crate::real::Real;
use crate::run::{Machine, Snapshot, TensorSampler, Trajectory};
use crate::schedule::NoiseSchedule;
use crate::solver::{Path, Solver};
use crate::tensor::TensorOps;

/// A sampler: a plan, the initial distribution and the options of its runs. Immutable, cheap to clone, shared
/// between threads.
///
/// ```
/// use diffusion_sampler::{Grid, Prediction, Sampler, from_fn, schedule::TableSchedule};
/// use diffusion_sampler::solver::DpmSolverPlusPlus;
/// use ndarray::{Array4, Ix4};
///
/// let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
/// let grid = Grid::trailing(&schedule, 20)?;
/// let sampler = Sampler::new(&schedule, &grid, &DpmSolverPlusPlus::new())?;
/// let mut model = from_fn::<f32, Ix4>(Prediction::Noise, |x, level, out| {
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
    /// The sampler that runs `solver` on a grid of `schedule`; the initial distribution is the
    /// schedule's.
    ///
    /// # Errors
    ///
    /// As [`Path::new`], and what the solver refuses.
    pub fn new(
        schedule: &dyn NoiseSchedule,
        grid: &Grid,
        solver: &dyn Solver,
    ) -> Result<Self, Error> {
        Self::along(&Path::new(schedule, grid)?, solver)
    }

    /// The sampler that runs `solver` along a path: of bare levels, for example.
    ///
    /// # Errors
    ///
    /// What the solver refuses.
    pub fn along(path: &Path<'_>, solver: &dyn Solver) -> Result<Self, Error> {
        Ok(Self {
            plan: Arc::new(solver.plan(path)?),
            start_variance: path.grid().start_variance(),
            clip: None,
        })
    }

    /// A sampler from a plan, with initial distribution N(0, `start_variance` I).
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

    /// The same sampler with initial distribution N(0, `variance` I).
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

    /// The plan, to be kept by a run.
    pub(crate) fn shared_plan(&self) -> Arc<Plan> {
        Arc::clone(&self.plan)
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// v_T of the initial distribution N(0, v_T I).
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
    /// As [`start`](Self::start) and [`Trajectory::complete`].
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
        run.complete(model)?;
        Ok(run.into_state())
    }

    /// Samples of the given shape as a flat vector in row-major order, axis 0 being the sample, for
    /// programs without an array library; see [`from_slice_fn`](crate::denoiser::from_slice_fn).
    ///
    /// # Errors
    ///
    /// As [`sample`](Self::sample).
    pub fn sample_vec<A, M>(
        &self,
        model: &mut M,
        shape: &[usize],
        seed: u64,
    ) -> Result<Vec<A>, RunError<M::Error>>
    where
        A: Real,
        M: Denoiser<A, IxDyn> + ?Sized,
    {
        // A run's arrays are in standard layout, from their first element on.
        Ok(self.sample(model, shape, seed)?.into_raw_vec_and_offset().0)
    }

    /// The same sampler for the tensors of another library, or for flat vectors. What it gives starts
    /// one run; call it again for the next, which costs nothing.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, KeyedNoise, Prediction, Sampler};
    /// use diffusion_sampler::{schedule::RectifiedFlow, solver::FirstOrder};
    /// use diffusion_sampler::tensor::{Flat, FlatOps};
    ///
    /// let schedule = RectifiedFlow::new();
    /// let grid = Grid::trailing(&schedule, 4)?;
    /// let sampler = Sampler::new(&schedule, &grid, &FirstOrder::ddim())?;
    /// let like = Flat::<f32>::zeros(&[2, 3])?;
    /// let mut run = sampler.on(FlatOps::new()).start(&like, Prediction::Flow, KeyedNoise::new(1))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on<O: TensorOps>(&self, ops: O) -> TensorSampler<O> {
        TensorSampler::new(self.clone(), ops)
    }

    /// A run from the initial distribution: x_T ~ N(0, v_T I).
    ///
    /// # Errors
    ///
    /// [`Error::NoSampleAxis`] for a 0-dimensional shape, [`Error::TooLarge`],
    /// [`Error::PredictionUndefined`] when the prediction says nothing at a level where the plan
    /// evaluates the model, [`Error::StartsFromData`] for a plan that does not lead to less
    /// noise (DDIM inversion), which starts from data by [`start_from`](Self::start_from); what the noise's
    /// [`check`](NoiseSource::check) refuses.
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
        self.plan.require_denoising()?;
        let shape = shape.into_dimension();
        let mut x = memory::zeros(shape)?;
        let deviation = self.start_variance.sqrt();
        start_noise(&mut x, deviation, &mut noise)?;
        self.start_from(x, prediction, noise)
    }

    /// A run from a given state at the plan's first level: image to image, inversion, a state
    /// computed elsewhere.
    ///
    /// Image to image with strength 0.6: the grid of 20 steps from knot 600 of 1000 on, here 12 of
    /// them, from the image with the noise of that level.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, KeyedNoise, Prediction, Sampler, from_fn, forward::diffuse};
    /// use diffusion_sampler::schedule::{NoiseSchedule, TableSchedule};
    /// use diffusion_sampler::solver::DpmSolverPlusPlus;
    /// use ndarray::{Array2, Ix2};
    ///
    /// let schedule = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?;
    /// let grid = Grid::trailing(&schedule, 20)?.starting_at(&schedule, schedule.level(600.0)?)?;
    /// assert_eq!(grid.steps(), 12);
    /// let sampler = Sampler::new(&schedule, &grid, &DpmSolverPlusPlus::new())?;
    /// let mut model = from_fn::<f32, Ix2>(Prediction::Noise, |x, level, noise| {
    ///     noise.zip_mut_with(x, |e, &x| *e = level.sigma() as f32 * x);
    /// });
    /// let mut image = Array2::<f32>::from_elem((1, 64), 0.3);
    /// diffuse(&mut image, &[grid.start()], &mut KeyedNoise::new(1), 0)?;
    /// let mut run = sampler.start_from(image, Prediction::Noise, KeyedNoise::new(2))?;
    /// run.complete(&mut model)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    #[doc(alias = "img2img")]
    #[doc(alias = "strength")]
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
        self.start_with(x, Vec::new(), prediction, noise)
    }

    /// A run of a plan whose first slots are given: exact inversion, which starts from a pair of
    /// states, or the history of an earlier run.
    ///
    /// # Errors
    ///
    /// As [`start_from`](Self::start_from); [`Error::WrongLength`] unless there are as many slots
    /// as [`Plan::given`] says.
    pub fn start_with<A, D, N>(
        &self,
        x: Array<A, D>,
        history: Vec<Array<A, D>>,
        prediction: Prediction,
        noise: N,
    ) -> Result<Trajectory<A, D, N>, Error>
    where
        A: Real,
        D: Dimension,
        N: NoiseSource<A>,
    {
        if history.len() != self.plan.given() {
            return Err(Error::WrongLength {
                name: "given history slots",
                expected: self.plan.given(),
                found: history.len(),
            });
        }
        let machine = Machine::with_history(x, history, self.plan.slots())?;
        Trajectory::new(self, prediction, machine, noise)
    }

    /// Resumes a run from a [snapshot](Trajectory::snapshot), taken from a sampler with the
    /// same plan.
    ///
    /// # Errors
    ///
    /// As [`start_from`](Self::start_from); [`Error::SnapshotOfAnotherPlan`] and
    /// [`Error::SnapshotMisplaced`]; [`Error::WrongLength`] and [`Error::ShapeMismatch`] for arrays
    /// that do not fit.
    pub fn resume<A, D, N>(
        &self,
        snapshot: Snapshot<Array<A, D>>,
        prediction: Prediction,
        noise: N,
    ) -> Result<Trajectory<A, D, N>, Error>
    where
        A: Real,
        D: Dimension,
        N: NoiseSource<A>,
    {
        Trajectory::resume(self, prediction, snapshot, noise)
    }
}

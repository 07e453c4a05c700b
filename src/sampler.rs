//! From a grid and a solver to runs.

#[cfg(feature = "serde")]
mod stored;

use std::sync::Arc;

use ndarray::{Array, Dimension, IntoDimension, Ix2, IxDyn};

use crate::apply::start_noise;
use crate::clip::Clip;
use crate::denoiser::Denoiser;
use crate::error::{Error, RunError, require_non_negative};
use crate::grid::Grid;
use crate::guidance::{Guidance, MAX_OUTPUTS};
use crate::level::NoiseLevel;
use crate::memory;
use crate::modes::{self, ModeReport};
use crate::moments::MomentReport;
use crate::noise::{KeyedNoise, NoiseSource};
use crate::oracle::{Gaussian, GaussianMixture};
use crate::plan::Plan;
use crate::prediction::Prediction;
use crate::real::Real;
use crate::run::{Machine, Snapshot, TensorSampler, Trajectory};
use crate::schedule::NoiseSchedule;
use crate::solver::{Path, Solver};
use crate::stability::StabilityReport;
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
    /// evaluates the model, [`Error::StartsFromData`] for a plan that leads to more noise (DDIM
    /// inversion), which starts from data by [`start_from`](Self::start_from); what the noise's
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

    /// The exact distribution of the state after every step when the data are `data`, the model is
    /// exact and the run starts from the initial distribution; see [`Plan::moments`].
    ///
    /// ```
    /// use diffusion_sampler::{
    ///     Grid, Sampler, oracle::Gaussian, schedule::TableSchedule, solver::FirstOrder,
    /// };
    ///
    /// // How far DDIM in 10 steps misses N(2, 0.5²): exactly, without a sample drawn.
    /// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    /// let grid = Grid::trailing(&schedule, 10)?;
    /// let sampler = Sampler::new(&schedule, &grid, &FirstOrder::ddim())?;
    /// let states = sampler.moments(&Gaussian::isotropic(&[2.0], 0.25)?)?;
    /// let last = &states[9];
    /// println!("mean {}, sd {}", last.mean()[0], last.variances()[0].sqrt());
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Plan::moments`]; [`Error::ClippedMoments`]; [`Error::StartsFromData`] for a plan that
    /// leads to more noise (`Plan::moments` takes its initial distribution).
    pub fn moments(&self, data: &Gaussian) -> Result<Vec<Gaussian>, Error> {
        let initial = self.initial(data)?;
        self.plan.moments(data, &initial)
    }

    /// The same of a guided run, whose outputs are the exact estimates of `outputs`; see
    /// [`Plan::guided_moments`].
    ///
    /// # Errors
    ///
    /// As [`Plan::guided_moments`], and as [`moments`](Self::moments).
    pub fn guided_moments(
        &self,
        guidance: &dyn Guidance,
        prediction: Prediction,
        outputs: &[Gaussian],
    ) -> Result<Vec<Gaussian>, Error> {
        let initial = self.initial_of(outputs)?;
        self.plan
            .guided_moments(guidance, prediction, outputs, &initial)
    }

    /// The distribution after every step beside the data's at its level: mean, covariance, W₂ and KL,
    /// as a table that prints.
    ///
    /// # Errors
    ///
    /// As [`moments`](Self::moments).
    pub fn moment_report(&self, data: &Gaussian) -> Result<MomentReport, Error> {
        let initial = self.initial(data)?;
        let states = self.plan.moments(data, &initial)?;
        MomentReport::new(&self.plan, &initial, states, |level| data.at_level(level))
    }

    /// The same of a guided run, beside what `truth` says that it should be at each level: the
    /// marginals of the condition's data, [`GuidedGaussian::flow`](crate::moments::GuidedGaussian::flow),
    /// a tilted distribution.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, Prediction, Sampler, guidance::ClassifierFree};
    /// use diffusion_sampler::{moments::GuidedGaussian, oracle::Gaussian};
    /// use diffusion_sampler::{schedule::RectifiedFlow, solver::DpmSolverPlusPlus};
    ///
    /// let flow = RectifiedFlow::new();
    /// let grid = Grid::trailing(&flow, 20)?;
    /// let sampler = Sampler::new(&flow, &grid, &DpmSolverPlusPlus::new())?;
    /// let class = Gaussian::isotropic(&[1.0], 0.25)?;
    /// let all = Gaussian::isotropic(&[0.0], 1.0)?;
    /// let exact = GuidedGaussian::classifier_free(2.0, class.clone(), all.clone())?;
    /// let report = sampler.guided_moment_report(
    ///     &ClassifierFree::with_scale(3.0)?,
    ///     Prediction::Flow,
    ///     &[class, all],
    ///     |level| exact.flow(&Gaussian::centred(1, 1.0)?, &grid.start(), level),
    /// )?;
    /// println!("{report}");
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`guided_moments`](Self::guided_moments), and what `truth` refuses.
    pub fn guided_moment_report(
        &self,
        guidance: &dyn Guidance,
        prediction: Prediction,
        outputs: &[Gaussian],
        truth: impl Fn(&NoiseLevel) -> Result<Gaussian, Error>,
    ) -> Result<MomentReport, Error> {
        let initial = self.initial_of(outputs)?;
        let states = self.guided_moments(guidance, prediction, outputs)?;
        MomentReport::new(&self.plan, &initial, states, truth)
    }

    /// The exact distribution of this sampler's result with `model`, in one or two dimensions, beside
    /// that of `truth` at the plan's end: masses of the modes, moments and distances, by quadrature.
    /// Guidance, non-linear forms too, and clips are those of the run itself.
    ///
    /// `tolerance` is for masses and moments, relative to the truth's root mean square;
    /// [`ModeReport::error`] says what was reached with the most points that are tried. Several
    /// thousand points run through the plan at once, some of them nine deviations out. See
    /// [`modes`](crate::modes) for what is supported.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, Prediction, Sampler};
    /// use diffusion_sampler::oracle::{Gaussian, GaussianMixture, Oracle};
    /// use diffusion_sampler::{schedule::TableSchedule, solver::FirstOrder};
    ///
    /// let modes = vec![Gaussian::isotropic(&[-2.0], 0.1)?, Gaussian::isotropic(&[1.0], 0.1)?];
    /// let data = GaussianMixture::new(&[0.2, 0.8], modes, vec![0, 1])?;
    /// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    /// let grid = Grid::trailing(&schedule, 10)?;
    /// let sampler = Sampler::new(&schedule, &grid, &FirstOrder::ddim())?;
    /// let report = sampler.modes(&mut (&data).denoiser(Prediction::Noise), &data, 1e-9)?;
    /// println!("{report}");
    /// assert!(report.masses()[0] < 0.2, "the smaller mode gets too little");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::ModesUnsupported`]; [`Error::GivenHistory`]; [`Error::StartsFromData`];
    /// [`Error::InvalidParameter`] for a tolerance that is not positive, or where the truth has no
    /// density at the plan's end; as [`start_from`](Self::start_from) and [`Trajectory::complete`].
    pub fn modes<M: Denoiser<f64, Ix2> + ?Sized>(
        &self,
        model: &mut M,
        truth: &GaussianMixture,
        tolerance: f64,
    ) -> Result<ModeReport, RunError<M::Error>> {
        modes::report(self, model, truth, tolerance)
    }

    /// The initial distribution in the dimension of `data`, of a sampler that has moments.
    fn initial(&self, data: &Gaussian) -> Result<Gaussian, Error> {
        if self.clip.is_some() {
            return Err(Error::ClippedMoments);
        }
        self.plan.require_denoising()?;
        Gaussian::centred(data.mean().len(), self.start_variance)
    }

    fn initial_of(&self, outputs: &[Gaussian]) -> Result<Gaussian, Error> {
        let first = outputs.first().ok_or(Error::OutputCount {
            found: 0,
            max: MAX_OUTPUTS,
        })?;
        self.initial(first)
    }

    /// What this sampler makes of data with the spectrum of `data`, and of errors on the way, before
    /// it runs; see [`StabilityReport`].
    ///
    /// # Errors
    ///
    /// As [`moments`](Self::moments).
    pub fn stability(&self, data: &Gaussian) -> Result<StabilityReport, Error> {
        let initial = self.initial(data)?;
        self.plan.stability(data, &initial)
    }
}

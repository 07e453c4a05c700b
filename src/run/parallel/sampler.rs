//! A sampler that evaluates many steps in one call.

use ndarray::{Array, Dimension, IntoDimension};

use super::{ParallelReport, ParallelRun};
use crate::apply::start_noise;
use crate::denoiser::Denoiser;
use crate::error::{Error, RunError, require_non_negative};
use crate::memory;
use crate::noise::{KeyedNoise, NoiseSource};
use crate::prediction::Prediction;
use crate::real::Real;
use crate::sampler::Sampler;

/// The data's variance where nobody says it: EDM's, whose data have standard deviation 0.5 (Karras
/// et al. 2022, "Elucidating the Design Space of Diffusion-Based Generative Models").
const DATA_VARIANCE: f64 = 0.25;

/// A sampler whose runs evaluate the model at many points of the plan in one call, by Picard
/// iteration (Shih, Belkhale, Ermon, Sadigh, Anari 2023, "Parallel Sampling of Diffusion Models");
/// made by [`Sampler::parallel`]. See [`ParallelRun`].
#[derive(Clone, Debug, PartialEq)]
pub struct ParallelSampler {
    pub(super) sampler: Sampler,
    pub(super) window: usize,
    pub(super) tolerance: f64,
    pub(super) data_variance: f64,
}

impl Sampler {
    /// The same sampler for models that batch better than they iterate: each sample's next `window`
    /// evaluations are made in one call, and repeated until the states at which they were made
    /// agree with those that they lead to, to the `tolerance`. The result is that of
    /// [`sample`](Self::sample): bit for bit with tolerance 0, otherwise to some multiple of it.
    ///
    /// **Window.** The rows of one call are at most `window` times the samples. The run keeps three
    /// arrays of so many rows (states, states of the next call, outputs), and one more for each
    /// further output of guidance.
    ///
    /// **Tolerance.** An output that was computed at a state x̃ is used at x where the root mean
    /// square of x − x̃ over the sample's elements is at most `tolerance` · √(α² + σ²): in units of
    /// the marginal deviation of data of variance one. It is decided for each sample by itself.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, Prediction, Sampler, oracle::{Gaussian, Oracle}};
    /// use diffusion_sampler::{schedule::TableSchedule, solver::FirstOrder};
    /// use ndarray::Array2;
    ///
    /// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    /// let grid = Grid::trailing(&schedule, 100)?;
    /// let sampler = Sampler::new(&schedule, &grid, &FirstOrder::ddpm())?;
    /// let mut model = Gaussian::isotropic(&[0.5; 8], 0.2)?.denoiser(Prediction::Noise);
    /// let sequential: Array2<f32> = sampler.sample(&mut model, (4, 8), 1)?;
    /// let (parallel, report) = sampler.parallel(100, 1e-3)?.sample(&mut model, (4, 8), 1)?;
    /// assert!(report.sweeps() < 30, "in place of 100 calls");
    /// let difference = (&parallel - &sequential).mapv(f32::abs);
    /// assert!(difference.iter().all(|difference| *difference < 0.02));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless the window is at least 1 and the tolerance finite and at
    /// least 0.
    #[doc(alias("paradigms", "picard"))]
    pub fn parallel(&self, window: usize, tolerance: f64) -> Result<ParallelSampler, Error> {
        if window == 0 {
            return Err(Error::InvalidParameter {
                name: "window",
                value: 0.0,
                requirement: "at least 1",
            });
        }
        require_non_negative("tolerance", tolerance)?;
        Ok(ParallelSampler {
            sampler: self.clone(),
            window,
            tolerance,
            data_variance: DATA_VARIANCE,
        })
    }
}

impl ParallelSampler {
    /// The same with another guess of the data's variance, of one element; 0.25 by default. It
    /// changes how many sweeps a run needs, and never what it converges to.
    ///
    /// Between two sweeps a state moves, and the output that was computed at its old place x̃ is
    /// carried along as if the data were Gaussian of this variance v: the estimate of x₀ becomes D
    /// + αv/(α²v + σ²)·(x − x̃). At v = 0 it is held fast, at v = ∞ the estimate of ε is.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless the variance is at least 0; it may be infinite.
    pub fn with_data_variance(self, variance: f64) -> Result<Self, Error> {
        if variance.is_nan() || variance < 0.0 {
            return Err(Error::InvalidParameter {
                name: "data variance",
                value: variance,
                requirement: "at least 0",
            });
        }
        Ok(Self {
            data_variance: variance,
            ..self
        })
    }

    /// The sampler that runs one evaluation after the other.
    pub fn sampler(&self) -> &Sampler {
        &self.sampler
    }

    /// The most evaluations of one sample in one call.
    pub fn window(&self) -> usize {
        self.window
    }

    /// The tolerance, in units of the marginal deviation √(α² + σ²).
    pub fn tolerance(&self) -> f64 {
        self.tolerance
    }

    /// Samples of the given shape, axis 0 being the sample, with the keyed noise of `seed`: those
    /// of
    /// [`Sampler::sample`] to the tolerance; and what they cost.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start) and [`ParallelRun::complete`].
    #[allow(clippy::type_complexity)] // The samples and their report, or why there are none.
    pub fn sample<A, S, M>(
        &self,
        model: &mut M,
        shape: S,
        seed: u64,
    ) -> Result<(Array<A, S::Dim>, ParallelReport), RunError<M::Error>>
    where
        A: Real,
        S: IntoDimension,
        M: Denoiser<A, S::Dim> + ?Sized,
    {
        let mut run = self.start(shape, model.prediction(), KeyedNoise::new(seed))?;
        run.complete(model)?;
        Ok(run.into_parts())
    }

    /// A run from the initial distribution, as [`Sampler::start`].
    ///
    /// # Errors
    ///
    /// As [`Sampler::start`] and [`start_from`](Self::start_from).
    pub fn start<A, S, N>(
        &self,
        shape: S,
        prediction: Prediction,
        mut noise: N,
    ) -> Result<ParallelRun<A, S::Dim, N>, Error>
    where
        A: Real,
        S: IntoDimension,
        N: NoiseSource<A>,
    {
        self.sampler.plan().require_denoising()?;
        let mut x = memory::zeros(shape.into_dimension())?;
        let deviation = self.sampler.start_variance().sqrt();
        start_noise(&mut x, deviation, &mut noise)?;
        self.start_from(x, prediction, noise)
    }

    /// A run from a state at the plan's first level, as [`Sampler::start_from`].
    ///
    /// # Errors
    ///
    /// As [`Sampler::start_from`]; [`Error::NoiseNotRepeatable`] for a plan that draws noise from a
    /// source that is no pure function of its key; [`Error::WrongLength`] for a plan with [given
    /// slots](crate::plan::Plan::given); [`Error::TooLarge`] where the window's memory is not to be
    /// had.
    pub fn start_from<A, D, N>(
        &self,
        x: Array<A, D>,
        prediction: Prediction,
        noise: N,
    ) -> Result<ParallelRun<A, D, N>, Error>
    where
        A: Real,
        D: Dimension,
        N: NoiseSource<A>,
    {
        ParallelRun::new(self.clone(), prediction, x, noise)
    }
}

//! What stands for the data while spacings are compared.

use ndarray::Array2;

use crate::error::{Error, RunError, require};
use crate::grid::Grid;
use crate::memory::{self, Copied, Listed};
use crate::noise::{KeyedNoise, NoiseKey, Stream};
use crate::oracle::{ExactDenoiser, Gaussian, GaussianMixture, Oracle};
use crate::prediction::Prediction;
use crate::sampler::Sampler;
use crate::schedule::NoiseSchedule;
use crate::solver::DpmSolverPlusPlus;

/// Data in the place of the network's: a sampler's error on it is known without a call of the
/// network.
///
/// | made by | error in percent of the data's rms deviation | which samplers |
/// |---|---|---|
/// | [`gaussian`](Self::gaussian) | W₂ of the result from the data, exactly, by [`Sampler::moments`] | all |
/// | [`mixture`](Self::mixture) | mean distance of the results from those of 400 steps from the same x_T, under the mixture's exact denoiser | deterministic ones |
///
/// The Gaussian sees nothing of modes; its error costs microseconds. The mixture's is a run of the
/// sampler on every one of its samples; it is a mean distance and not a root mean square, which the
/// few samples that end in another mode would decide. The distance between *distributions* under a mixture is not
/// offered: from a batch it has a noise that searches learn by heart. A stochastic sampler has no
/// path to compare, so that for it there is the Gaussian alone.
#[derive(Clone, Debug)]
pub struct Surrogate {
    /// The data's moments, along their axes.
    gaussian: Gaussian,
    paths: Option<Paths>,
}

/// Runs of a mixture from given starts, and where they should end.
#[derive(Clone, Debug)]
struct Paths {
    model: ExactDenoiser<GaussianMixture>,
    /// Standard normals.
    start: Array2<f64>,
    end: Array2<f64>,
}

/// Steps of the reference.
const REFERENCE: usize = 400;

impl Surrogate {
    /// Gaussian data. Only the spectrum and the mean along each axis matter.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for data without variance.
    pub fn gaussian(data: &Gaussian) -> Result<Self, Error> {
        let total: f64 = data.variances().iter().sum();
        require(total > 0.0, "variance of the data", total, "positive")?;
        Ok(Self {
            gaussian: along_axes(data)?,
            paths: None,
        })
    }

    /// Data of a mixture, by `samples` runs from the keyed noise of `seed`. The reference runs here,
    /// once: 400 steps of DPM-Solver++(2M), uniform in λ, from the last time of `schedule` to its
    /// least noisy level, then D.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] without samples or for data without variance; what the schedule
    /// refuses.
    pub fn mixture(
        data: &GaussianMixture,
        schedule: &dyn NoiseSchedule,
        samples: usize,
        seed: u64,
    ) -> Result<Self, Error> {
        require(samples > 0, "samples", 0.0, "at least 1")?;
        let (mean, covariance) = data.moments()?;
        let surrogate = Self::gaussian(&Gaussian::new(&mean, &covariance)?)?;
        let mut start = memory::zeros(ndarray::Ix2(samples, mean.len()))?;
        if let Some(normals) = start.as_slice_mut() {
            let key = NoiseKey::new(0, 0, Stream::Start);
            KeyedNoise::new(seed).fill_batch(key, samples, normals)?;
        }
        let range = Reach::of(schedule)?;
        let grid = range.grid(schedule, &range.uniform(REFERENCE - 1)?)?;
        let reference = Sampler::new(schedule, &grid, &DpmSolverPlusPlus::new())?;
        let mut paths = Paths {
            model: data.clone().denoiser(Prediction::Data),
            end: start.copy()?,
            start,
        };
        paths.end = paths.run(&reference)?;
        Ok(Self {
            paths: Some(paths),
            ..surrogate
        })
    }

    /// The data's moments, along their axes: what the stability of a plan is judged on.
    pub fn moments(&self) -> &Gaussian {
        &self.gaussian
    }

    /// The error of a sampler in percent of the data's root mean square deviation.
    ///
    /// ```
    /// use diffusion_sampler::tuning::{Spectrum, Surrogate};
    /// use diffusion_sampler::{Grid, Sampler, schedule::TableSchedule, solver::FirstOrder};
    ///
    /// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    /// let sampler = Sampler::new(&schedule, &Grid::trailing(&schedule, 10)?, &FirstOrder::ddim())?;
    /// let error = Surrogate::gaussian(&Spectrum::images().gaussian(64)?)?.error(&sampler)?;
    /// assert!((error - 20.4582).abs() < 1e-3);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Sampler::moments`]; with a mixture [`Error::InvalidParameter`] for a sampler that adds
    /// noise, and what a run refuses.
    pub fn error(&self, sampler: &Sampler) -> Result<f64, Error> {
        let total: f64 = self.gaussian.variances().iter().sum();
        let square = match &self.paths {
            None => {
                let states = sampler.moments(&self.gaussian)?;
                let target = self.gaussian.at_level(&sampler.plan().end())?;
                // A plan has a step.
                let last = states.last().unwrap_or(&self.gaussian);
                last.wasserstein_squared(&target)?
            }
            Some(paths) => {
                let noisy = f64::from(u8::from(sampler.plan().is_stochastic()));
                let requirement = "none: the paths of a stochastic sampler have no reference";
                require(noisy == 0.0, "noise of the sampler", noisy, requirement)?;
                let end = paths.run(sampler)?;
                return Ok(100.0 * paths.distance(&end) / total.sqrt());
            }
        };
        Ok(100.0 * (square / total).sqrt())
    }
}

impl Paths {
    /// The mean distance of the samples from where they should be.
    fn distance(&self, found: &Array2<f64>) -> f64 {
        let rows = found.outer_iter().zip(self.end.outer_iter());
        let distance = |(a, b): (ndarray::ArrayView1<'_, f64>, ndarray::ArrayView1<'_, f64>)| {
            let square: f64 = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum();
            square.sqrt()
        };
        rows.map(distance).sum::<f64>() / found.nrows() as f64
    }

    fn run(&self, sampler: &Sampler) -> Result<Array2<f64>, Error> {
        let deviation = sampler.start_variance().sqrt();
        let mut x = self.start.copy()?;
        x.mapv_inplace(|z| deviation * z);
        let mut run = sampler.start_from(x, Prediction::Data, KeyedNoise::new(0))?;
        match run.complete(&mut self.model.clone()) {
            Ok(()) => Ok(run.into_state()),
            Err(RunError::Sampler(error) | RunError::Denoiser(error)) => Err(error),
            Err(RunError::Tensor(never)) => match never {},
        }
    }
}

/// The same data in the coordinates of its axes.
fn along_axes(data: &Gaussian) -> Result<Gaussian, Error> {
    Gaussian::diagonal(&data.to_axes(data.mean())?, data.variances())
}

/// Where the inner knots of a grid may lie: between the noisiest and the least noisy level of a
/// schedule, in λ.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    pub(super) noisy: f64,
    pub(super) clean: f64,
}

/// The levels of a continuous schedule: as many as the tables of most networks have.
const SUBLEVELS: usize = 1000;

impl Reach {
    pub(super) fn of(schedule: &dyn NoiseSchedule) -> Result<Self, Error> {
        let table = crate::schedule::Sublevels::of(schedule, SUBLEVELS)?;
        let last = table.table_len().unwrap_or(SUBLEVELS) as f64;
        let range = schedule.lambda_range();
        let finite = |lambda: f64, knot: f64| match lambda.is_finite() {
            true => Ok(lambda),
            false => Ok(table.knot_level(knot)?.lambda()),
        };
        let (noisy, clean) = (
            finite(range.noisy(), last - 1.0)?,
            finite(range.clean(), 1.0)?,
        );
        require(
            noisy < clean,
            "lambda at the clean end",
            clean,
            "above the noisy end",
        )?;
        Ok(Self { noisy, clean })
    }

    pub(super) fn length(&self) -> f64 {
        self.clean - self.noisy
    }

    /// `count` knots uniform in λ, the last one at the clean end of the reach.
    pub(super) fn uniform(&self, count: usize) -> Result<Vec<f64>, Error> {
        let at = |k: usize| self.noisy + self.length() * k as f64 / count as f64;
        (1..=count).map(at).listed()
    }

    /// The grid from the schedule's last time through the inner knots to the clean level.
    pub(super) fn grid(&self, schedule: &dyn NoiseSchedule, inner: &[f64]) -> Result<Grid, Error> {
        self.grid_from(schedule, schedule.last_time(), inner)
    }

    /// The same from another time.
    pub(super) fn grid_from(
        &self,
        schedule: &dyn NoiseSchedule,
        start: f64,
        inner: &[f64],
    ) -> Result<Grid, Error> {
        let mut times = memory::reserve(&[inner.len() + 2])?;
        times.push(start);
        for &lambda in inner {
            times.push(schedule.time_of_lambda(lambda.clamp(self.noisy, self.clean))?);
        }
        times.push(0.0);
        Grid::from_times(schedule, &times)
    }
}

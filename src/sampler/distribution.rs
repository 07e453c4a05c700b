//! What a sampler makes, before it runs: moments, modes, stability.

use ndarray::Ix2;

use super::Sampler;
use crate::denoiser::Denoiser;
use crate::error::{Error, RunError};
use crate::guidance::{Guidance, MAX_OUTPUTS};
use crate::level::NoiseLevel;
use crate::modes::{self, ModeReport};
use crate::moments::MomentReport;
use crate::oracle::{Gaussian, GaussianMixture};
#[cfg(doc)]
use crate::plan::Plan;
use crate::prediction::Prediction;
#[cfg(doc)]
use crate::run::Trajectory;
use crate::stability::StabilityReport;

impl Sampler {
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
    /// does not lead to less noise (`Plan::moments` takes its initial distribution).
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

    /// The distribution after every step beside the data's at its level: mean, covariance, W₂ and
    /// KL, as a table that prints.
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
    /// marginals of the condition's data,
    /// [`GuidedGaussian::flow`](crate::moments::GuidedGaussian::flow), a tilted distribution.
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

    /// The exact distribution of this sampler's result with `model`, in one or two dimensions,
    /// beside that of `truth` at the plan's end: masses of the modes, moments and distances, by
    /// quadrature. Guidance, non-linear forms too, and clips are those of the run itself.
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

    /// What this sampler makes of data with the spectrum of `data`, and of errors on the way,
    /// before it runs; see [`StabilityReport`].
    ///
    /// # Errors
    ///
    /// As [`moments`](Self::moments).
    pub fn stability(&self, data: &Gaussian) -> Result<StabilityReport, Error> {
        let initial = self.initial(data)?;
        self.plan.stability(data, &initial)
    }
}

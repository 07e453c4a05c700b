//! The exact distribution of a plan's state on Gaussian data, guidance included where it is linear:
//! before a run, without a sample drawn.
//!
//! | question | answer |
//! |---|---|
//! | the distribution after every step | [`Sampler::moments`](crate::Sampler::moments), [`Plan::moments`] |
//! | of a guided run | [`Sampler::guided_moments`](crate::Sampler::guided_moments), [`Plan::guided_moments`] |
//! | how far it is from the truth | [`Sampler::moment_report`](crate::Sampler::moment_report), [`MomentReport`] |
//! | what guidance should give | [`GuidedGaussian`] |
//! | the order of a solver in distribution | [`weak_order`] |
//! | whether a solver is consistent | [`Plan::mean_defect`] |
//!
//! What is not Gaussian, modes above all, [`modes`](crate::modes) sees; the page
//! [distribution](crate::guide::distribution) compares both.

mod affine;
mod axes;
mod defect;
mod full;
mod guided;
mod guided_gaussian;
mod ranges;
mod report;
mod weak;

pub use affine::AffineEstimate;
pub use guided_gaussian::GuidedGaussian;
pub use report::{MomentReport, StepMoments};
pub use weak::{WeakOrder, weak_errors, weak_order};

use crate::error::Error;
use crate::guidance::{Guidance, output_count};
use crate::level::NoiseLevel;
use crate::memory::Listed;
use crate::oracle::Gaussian;
use crate::plan::Plan;
use crate::prediction::Prediction;
use guided::{Rows, Weights};

impl Plan {
    /// The exact distribution of the state after every step when x₀ ~ `data`, the model is exact
    /// (D = E\[x₀ | x_t\]) and the run starts from x_T ~ `initial`.
    ///
    /// Where both share their axes, or one of them is isotropic, the state is a Gaussian of its own
    /// along every eigenvector of the covariance; otherwise the joint of the state and the history
    /// slots goes through as matrices, O(d³) a step. With data of variance 0 the result is the
    /// distribution given x₀: every member of the κ family then keeps N(α_t x₀, σ_t² I).
    ///
    /// State and slots are propagated as linear forms in independent normals, and a variance is a
    /// sum of squares: it is never negative. One below 1e-60 counts as 0.
    ///
    /// ```
    /// use diffusion_sampler::{
    ///     Grid, oracle::Gaussian, schedule::TableSchedule, solver::{FirstOrder, Path, Solver},
    /// };
    /// use ndarray::array;
    ///
    /// // How far DDIM in 10 steps misses correlated data: exactly, without a sample drawn.
    /// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    /// let grid = Grid::trailing(&schedule, 10)?;
    /// let plan = FirstOrder::ddim().plan(&Path::new(&schedule, &grid)?)?;
    /// let data = Gaussian::new(&[2.0, 0.0], &array![[0.3, 0.1], [0.1, 0.2]])?;
    /// let states = plan.moments(&data, &Gaussian::centred(2, 1.0)?)?;
    /// println!("squared distance {}", states[9].wasserstein_squared(&data)?);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::WrongLength`] unless both have the same dimension; [`Error::InvalidEntry`], with
    /// the step, for a mean beyond 1e30 or a variance beyond 1e60; [`Error::GivenHistory`] for a
    /// plan with given slots.
    pub fn moments(&self, data: &Gaussian, initial: &Gaussian) -> Result<Vec<Gaussian>, Error> {
        let single = |stage: &crate::plan::Stage| {
            stage.evaluate.is_some().then_some((Weights::first(), None))
        };
        let rows: Vec<_> = self.stages().map(single).listed()?;
        self.propagate(std::slice::from_ref(data), &rows, initial)
    }

    /// The exact distribution of a *guided* run's state after every step: the model makes
    /// `prediction`, its output j is the exact estimate of the Gaussian `outputs[j]` (of the data
    /// given the condition, of all data, of the negative condition, of a weaker model), and they
    /// combine by `guidance`, where that needs no inner products: classifier-free, in an interval,
    /// by level, composed, CFG++, or any form of your own that is linear where the plan evaluates
    /// it. A gradient output is that of the exact classifier that tells its Gaussian from the first
    /// one, ∇ ln p_j(x) − ∇ ln p_0(x). The Gaussians may differ in their axes.
    ///
    /// ```
    /// use diffusion_sampler::{Grid, Prediction, guidance::ClassifierFree, oracle::Gaussian};
    /// use diffusion_sampler::{schedule::RectifiedFlow, solver::{FirstOrder, Path, Solver}};
    ///
    /// let flow = RectifiedFlow::new();
    /// let plan = FirstOrder::ddim().plan(&Path::new(&flow, &Grid::trailing(&flow, 50)?)?)?;
    /// let class = Gaussian::isotropic(&[1.0], 0.25)?;
    /// let all = Gaussian::isotropic(&[0.0], 1.0)?;
    /// let guidance = ClassifierFree::with_scale(3.0)?;
    /// let states = plan.guided_moments(
    ///     &guidance, Prediction::Flow, &[class, all], &Gaussian::centred(1, 1.0)?,
    /// )?;
    /// // Guidance narrows: a standard deviation of 0.5 comes out as 0.13.
    /// assert!(states[49].variances()[0].sqrt() < 0.14);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`moments`](Self::moments); [`Error::NonLinearGuidance`] with the form and the step;
    /// [`Error::TooFewOutputs`] for fewer Gaussians than the form wants;
    /// [`Error::PredictionUndefined`]; what the guidance refuses.
    pub fn guided_moments(
        &self,
        guidance: &dyn Guidance,
        prediction: Prediction,
        outputs: &[Gaussian],
        initial: &Gaussian,
    ) -> Result<Vec<Gaussian>, Error> {
        output_count(outputs.len())?;
        let rows = guided::rows_of(self, guidance, prediction, outputs.len())?;
        self.propagate(outputs, &rows, initial)
    }

    /// The same for any estimate of x₀ that is affine along each axis of `initial`, given as
    /// a function of (axis, level): a wrong model, a weight of your own.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEntry`], with the step, for a mean beyond 1e30 or a variance beyond 1e60;
    /// [`Error::GivenHistory`] for a plan with given slots.
    pub fn moments_with(
        &self,
        initial: &Gaussian,
        estimate: impl Fn(usize, &NoiseLevel) -> AffineEstimate,
    ) -> Result<Vec<Gaussian>, Error> {
        self.require_no_history()?;
        axes::propagate(self, initial, |_, axis, level| {
            (estimate(axis, level), None)
        })
    }

    fn require_no_history(&self) -> Result<(), Error> {
        match self.given() {
            0 => Ok(()),
            given => Err(Error::GivenHistory { given }),
        }
    }

    /// Along the axes where all Gaussians share them, as matrices otherwise.
    fn propagate(
        &self,
        data: &[Gaussian],
        rows: &[Option<Rows>],
        initial: &Gaussian,
    ) -> Result<Vec<Gaussian>, Error> {
        self.require_no_history()?;
        for gaussian in data {
            gaussian.check_dim(initial)?;
        }
        let used = guided::used(rows);
        let counted = data.iter().zip(used).filter(|(_, used)| *used);
        let counted: Vec<&Gaussian> = counted.map(|(gaussian, _)| gaussian).listed()?;
        let frame = match counted.split_first() {
            Some((first, others)) => first.frame_with(others.iter().copied().chain([initial])),
            None => Ok(initial),
        };
        let Ok(frame) = frame else {
            return full::propagate(self, data, rows, initial);
        };
        let means: Vec<Vec<f64>> = data.iter().map(|g| frame.to_axes(g.mean())).all_listed()?;
        let start = frame.with_axes_of(&frame.to_axes(initial.mean())?, initial.variances())?;
        let along = |row: &Weights, axis: usize, level: &NoiseLevel| {
            let mut sum = AffineEstimate {
                gain: row.state,
                offset: 0.0,
            };
            for ((gaussian, mean), &weight) in data.iter().zip(&means).zip(&row.of) {
                if weight != 0.0 {
                    let variance = gaussian.variances()[axis];
                    let own = AffineEstimate::of_gaussian(mean[axis], variance, level);
                    sum.gain += weight * own.gain;
                    sum.offset += weight * own.offset;
                }
            }
            sum
        };
        axes::propagate(self, &start, |stage, axis, level| match rows.get(stage) {
            Some(Some((row, other))) => (
                along(row, axis, level),
                other.as_ref().map(|row| along(row, axis, level)),
            ),
            _ => (AffineEstimate::NONE, None),
        })
    }
}

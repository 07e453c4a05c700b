//! The reverse variance that follows from how well the model knows the data.

use std::sync::Arc;

use super::{DataErrors, StridedPosterior, check_finite};
use crate::error::{Error, require, require_all, require_length};
use crate::level::NoiseLevel;
use crate::memory::{Copied, Listed};

/// The best isotropic reverse variance of every edge, for any κ and any stride:
///
/// ```text
/// v_p = γ² + c² M_t/d        c = α_s(1 − κr)
/// ```
///
/// with M_t = E|x₀ − D(x_t)|² of the level t that the edge leaves and d the number of elements of a
/// sample. Of all v_p it has the least KL; the mean is untouched. γ = 0 is allowed: DDIM's mean
/// with the noise that it lacks. M_t comes as a table by level ([`new`](Self::new)), or from the
/// second moment of a network's ε ([`from_noise_moments`](Self::from_noise_moments)), which needs
/// no data: one pass over the model's own states will do.
///
/// On an edge onto σ = 0 it adds no noise, as every sampler of images; the exact distribution of
/// Gaussian data needs c²M_t/d there too ([`with_final_noise`](Self::with_final_noise)).
///
/// ```
/// use diffusion_sampler::{Grid, posterior::{AnalyticVariance, DataErrors, Kappa}};
/// use diffusion_sampler::schedule::TableSchedule;
/// use diffusion_sampler::solver::{FirstOrder, Path, Solver};
///
/// let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
/// let grid = Grid::trailing(&schedule, 10)?;
/// // Standard normal data in 3 dimensions: M_t = 3σ_t².
/// let levels = grid.levels()[..10].to_vec();
/// let errors = levels.iter().map(|level| 3.0 * level.sigma() * level.sigma()).collect();
/// let variance = AnalyticVariance::new(DataErrors::new(3, 3.0, levels, errors)?)?;
/// let solver = FirstOrder::new(Kappa::Ddim).with_analytic_variance(variance);
/// assert!(solver.plan(&Path::new(&schedule, &grid)?)?.is_stochastic());
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
///
/// Bao, Li, Zhu and Zhang (2022), "Analytic-DPM: an Analytic Estimate of the Optimal Reverse
/// Variance in Diffusion Probabilistic Models".
#[doc(alias("Analytic-DPM", "Analytic-DDIM", "ms_eps"))]
#[derive(Clone, Debug, PartialEq)]
pub struct AnalyticVariance {
    /// Levels and errors alone: what a bound needs beside them is not kept.
    pub(crate) errors: Arc<DataErrors>,
    /// The largest M_t/d.
    pub(crate) largest: Option<f64>,
    pub(crate) final_noise: bool,
}

impl AnalyticVariance {
    /// From M_t by level. Levels of a grid that are not listed are interpolated as
    /// [`DataErrors::at`] says.
    ///
    /// # Errors
    ///
    /// None for errors that [`DataErrors`] accepts.
    pub fn new(errors: DataErrors) -> Result<Self, Error> {
        let (levels, list) = (errors.levels().copy()?, errors.errors().copy()?);
        let errors = DataErrors::new(errors.dim(), 0.0, levels, list)?;
        Ok(Self {
            errors: Arc::new(errors),
            largest: None,
            final_noise: false,
        })
    }

    /// From the second moments of a network's estimate of ε, m_t = E|E(x_t)|²/d at each level:
    /// M_t/d = ρ_t²(1 − m_t) with ρ = σ/α, and 0 where m_t > 1.
    ///
    /// This is an identity of the exact model, E|ε|² = E|E|² + E|ε − E|²: a network that is not
    /// exact gets another number than its own M_t. 1 − m_t is a difference of two numbers close to
    /// each other where the level is noisy, so that M_t/d = ρ_t²(1 − m_t) has a large error there:
    /// [`bounded`](Self::bounded) clips it, as the authors do.
    ///
    /// ```
    /// use diffusion_sampler::{NoiseLevel, posterior::{AnalyticVariance, Kappa, StridedPosterior}};
    ///
    /// // Standard normal data under a variance-preserving level: E = σx, m = σ².
    /// let (t, s) = (NoiseLevel::new(2.0, 0.6, 0.8)?, NoiseLevel::new(1.0, 0.8, 0.6)?);
    /// let variance = AnalyticVariance::from_noise_moments(5, vec![t], &[0.64])?;
    /// let q = StridedPosterior::new(t, s, Kappa::Ddpm)?;
    /// let c = q.data_coefficient();
    /// assert!((variance.of(&q)? - (q.variance() + c * c * 0.64)).abs() < 1e-15);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::WrongLength`] unless there is a moment for each level; [`Error::InvalidEntry`] for
    /// one that is negative or not finite; [`Error::PredictionUndefined`] for a level with α = 0,
    /// where ε says nothing of x₀; as [`DataErrors::new`].
    pub fn from_noise_moments(
        dim: usize,
        levels: Vec<NoiseLevel>,
        moments: &[f64],
    ) -> Result<Self, Error> {
        require_length("noise moments", levels.len(), moments.len())?;
        let valid = |_, moment: f64| moment.is_finite() && moment >= 0.0;
        require_all("noise moments", moments, valid, "finite and at least 0")?;
        if let Some(pure) = levels.iter().find(|level| level.alpha() == 0.0) {
            return Err(Error::PredictionUndefined {
                prediction: "noise",
                alpha: pure.alpha(),
                sigma: pure.sigma(),
                time: pure.time(),
            });
        }
        let error = |(level, moment): (&NoiseLevel, &f64)| {
            let rho = level.rho();
            dim as f64 * (rho * (rho * (1.0 - moment).max(0.0)))
        };
        let errors = levels.iter().zip(moments).map(error).listed()?;
        Self::new(DataErrors::new(dim, 0.0, levels, errors)?)
    }

    /// The same for data in \[`low`, `high`\]: M_t/d is at most ((high − low)/2)², the largest
    /// variance of a number in that interval (Popoviciu).
    ///
    /// It is what the authors' published code does, with 1 for data from −1 to 1. The other bounds,
    /// γ² below (m_t ≤ 1) and γ² + c²ρ_t² above (m_t ≥ 0), hold of themselves here.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] unless both are finite and `low` ≤ `high`.
    pub fn bounded(self, low: f64, high: f64) -> Result<Self, Error> {
        require(low.is_finite(), "low end of the data", low, "finite")?;
        let valid = high.is_finite() && low <= high;
        require(
            valid,
            "high end of the data",
            high,
            "finite, at least the low end",
        )?;
        let half = 0.5 * (high - low);
        let largest = half * half;
        require(
            largest.is_finite(),
            "range of the data",
            high - low,
            "of a finite square",
        )?;
        Ok(Self {
            largest: Some(largest),
            ..self
        })
    }

    /// The same, which adds its noise also onto σ = 0, where v_p = α_s² M_t/d.
    ///
    /// A sample is then a draw from the model's distribution of x₀ given the last state, instead of
    /// its mean: what the exact distribution of Gaussian data needs, and what images are better
    /// without.
    #[must_use]
    pub fn with_final_noise(self) -> Self {
        Self {
            final_noise: true,
            ..self
        }
    }

    /// M_t/d at a level, bounded.
    ///
    /// # Errors
    ///
    /// As [`DataErrors::at`].
    pub fn mean_error(&self, level: &NoiseLevel) -> Result<f64, Error> {
        let dim = self.errors.dim();
        if dim == 0 {
            return Ok(0.0);
        }
        let error = self.errors.at(level)? / dim as f64;
        Ok(error.min(self.largest.unwrap_or(f64::INFINITY)))
    }

    /// v_p on an edge.
    ///
    /// # Errors
    ///
    /// As [`DataErrors::at`] for the level that the edge leaves; [`Error::EdgeOverflow`] where the
    /// variance overflows.
    pub fn of(&self, posterior: &StridedPosterior) -> Result<f64, Error> {
        if posterior.to.is_clean() && !self.final_noise {
            return Ok(0.0);
        }
        posterior.optimal_variance(self.mean_error(&posterior.from)?)
    }
}

impl StridedPosterior {
    /// γ² + c²·`error`: the v_p of least KL for a data error of `error` an element.
    pub(super) fn optimal_variance(&self, error: f64) -> Result<f64, Error> {
        let c = self.data_coefficient();
        let variance = self.variance() + c * c * error;
        check_finite(&self.from, &self.to, "noise", variance)?;
        Ok(variance)
    }
}

//! A reverse variance for each element.

use std::sync::Arc;

use super::{ElementErrors, StridedPosterior};
use crate::error::{Error, require_all, require_cost, require_length};
use crate::memory::{self, Listed};
use crate::special::spread_excess;

/// The best reverse variance of each element, on every edge, for any κ and any stride:
///
/// ```text
/// v_i = γ² + c² M_{t,i}        c = α_s(1 − κr)
/// ```
///
/// with M_{t,i} = E(x₀ − D(x_t))_i². For independent Gaussian elements a sampler with these
/// variances, also onto σ = 0 ([`with_final_noise`](Self::with_final_noise)), has the exact
/// distribution for every K, stride and κ.
///
/// A plan's noise is one number a step.
/// [`FirstOrder::plan_diagonal`](crate::solver::FirstOrder::plan_diagonal) gives a plan, and the
/// scales by which [`ScaledNoise`](crate::noise::ScaledNoise) makes one variance those of all
/// elements.
///
/// Bao, Li, Sun, Zhu and Zhang (2022), "Estimating the Optimal Covariance with Imperfect Mean in
/// Diffusion Probabilistic Models", let a network predict such variances for each state; here they
/// are averages over the data.
#[derive(Clone, Debug, PartialEq)]
pub struct DiagonalVariance {
    errors: Arc<ElementErrors>,
    final_noise: bool,
}

impl DiagonalVariance {
    /// From M_{t,i} by level.
    pub fn new(errors: ElementErrors) -> Self {
        Self {
            errors: Arc::new(errors),
            final_noise: false,
        }
    }

    /// The same, which adds its noise also onto σ = 0, where v_i = α_s² M_{t,i}: see
    /// [`AnalyticVariance::with_final_noise`](super::AnalyticVariance::with_final_noise).
    #[must_use]
    pub fn with_final_noise(self) -> Self {
        Self {
            final_noise: true,
            ..self
        }
    }

    /// The number of elements d.
    pub fn dim(&self) -> usize {
        self.errors.dim()
    }

    /// v_i on an edge, one for each element.
    ///
    /// # Errors
    ///
    /// As [`ElementErrors::at`] for the level that the edge leaves; [`Error::EdgeOverflow`] where a
    /// variance overflows.
    pub fn of(&self, posterior: &StridedPosterior) -> Result<Vec<f64>, Error> {
        if posterior.to.is_clean() && !self.final_noise {
            return memory::repeated(0.0, self.dim());
        }
        let errors = self.errors.at(&posterior.from)?;
        let variances = errors
            .iter()
            .map(|&error| posterior.optimal_variance(error));
        variances.all_listed()
    }
}

impl StridedPosterior {
    /// KL(q(x_s | x_t, x₀) ‖ N(c_t x_t + c_0 x̂₀, diag(v))) in nats, for (x₀ − x̂₀)_i² =
    /// `data_errors` and v = `variances`, element by element:
    ///
    /// ```text
    /// Σ_i ½[γ²/v_i − 1 − ln(γ²/v_i)] + c_0² (x₀ − x̂₀)_i²/(2v_i)
    /// ```
    ///
    /// It is the term of the variational bound for a diagonal or
    /// [learned](Self::learned_variance) variance, and iDDPM's loss L_vlb for one sample.
    ///
    /// ```
    /// use diffusion_sampler::{NoiseLevel, posterior::{Kappa, StridedPosterior}};
    ///
    /// let (t, s) = (NoiseLevel::new(2.0, 0.6, 0.8)?, NoiseLevel::new(1.0, 0.8, 0.6)?);
    /// let q = StridedPosterior::new(t, s, Kappa::Ddpm)?;
    /// let whole = q.kl(2, 0.3 + 0.1, 0.2)?;
    /// assert!((q.kl_by_element(&[0.3, 0.1], &[0.2, 0.2])? - whole).abs() < 1e-15);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::WrongLength`] unless there is a variance for each error; [`Error::InvalidEntry`]
    /// for an error that is negative or a variance that is not positive, or either not finite;
    /// [`Error::DeterministicLikelihood`] at γ = 0; [`Error::CostOverflow`].
    pub fn kl_by_element(&self, data_errors: &[f64], variances: &[f64]) -> Result<f64, Error> {
        require_length("reverse variances", data_errors.len(), variances.len())?;
        let non_negative = |_, error: f64| error.is_finite() && error >= 0.0;
        require_all(
            "data errors",
            data_errors,
            non_negative,
            "finite and at least 0",
        )?;
        let positive = |_, variance: f64| variance.is_finite() && variance > 0.0;
        require_all(
            "reverse variances",
            variances,
            positive,
            "positive and finite",
        )?;
        if self.variance() == 0.0 {
            return Err(Error::DeterministicLikelihood {
                from: self.from.time(),
                to: self.to.time(),
            });
        }
        let c = self.data_coefficient();
        let terms = data_errors.iter().zip(variances).map(|(error, &variance)| {
            0.5 * spread_excess(self.variance(), variance) + 0.5 * c * c * error / variance
        });
        require_cost("KL of an edge", terms.sum())
    }
}

//! Churn: noise before a step.

use super::Path;
use crate::error::{Error, require, require_non_negative};
use crate::level::NoiseLevel;
use crate::plan::{Stage, Update};
use crate::posterior::step_size;

/// Noise that a step begins with: up from ρ to ρ̂, and down from there. Karras et al. (2022),
/// Algorithm 2, and the four parameters of k-diffusion's `euler`, `heun` and `dpm_2`.
///
/// With K the number of steps of the path, on every knot with ρ in \[S_tmin, S_tmax\]:
///
/// ```text
/// ρ̂ = ρ (1 + min(S_churn/K, √2 − 1))      x̂ = (α̂/α) x + α̂ S_noise √(ρ̂² − ρ²) z
/// ```
///
/// The noise lives in x/α, so that with S_noise = 1 x̂ has the marginal of the schedule's level at ρ̂.
/// Where ρ̂ would lie beyond the noisy end of the schedule, that end is taken: a run that starts
/// there has no churn in its first step. None at α = 0. A churned step is one stage longer, without
/// an evaluation.
///
/// ```
/// use diffusion_sampler::solver::Churn;
///
/// // The paper's choice for ImageNet-64.
/// let churn = Churn::new(40.0)?.between(0.05, 50.0)?.with_noise(1.003)?;
/// assert!(Churn::new(-1.0).is_err() && churn.between(2.0, 1.0).is_err());
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[doc(alias("S_churn", "s_churn", "S_noise", "s_noise"))]
#[doc(alias("S_tmin", "s_tmin", "S_tmax", "s_tmax"))]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Churn {
    pub(super) amount: f64,
    pub(super) least: f64,
    pub(super) most: f64,
    pub(super) noise: f64,
}

/// The most by which ρ grows: its square doubles.
const MOST: f64 = std::f64::consts::SQRT_2 - 1.0;

impl Churn {
    /// S_churn at every level, S_noise = 1.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] where S_churn is negative or not finite.
    pub fn new(amount: f64) -> Result<Self, Error> {
        require_non_negative("S_churn", amount)?;
        Ok(Self::of(amount))
    }

    pub(super) fn of(amount: f64) -> Self {
        Self {
            amount,
            least: 0.0,
            most: f64::INFINITY,
            noise: 1.0,
        }
    }

    /// The same on levels with S_tmin ≤ ρ ≤ S_tmax only.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for an S_tmin that is negative or not finite, or an S_tmax below
    /// it.
    pub fn between(self, least: f64, most: f64) -> Result<Self, Error> {
        require_non_negative("S_tmin", least)?;
        require(most >= least, "S_tmax", most, "at least S_tmin")?;
        Ok(Self {
            least,
            most,
            ..self
        })
    }

    /// The same with its noise scaled by S_noise. Any other than 1 changes the marginals.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] where S_noise is negative or not finite.
    pub fn with_noise(self, noise: f64) -> Result<Self, Error> {
        require_non_negative("S_noise", noise)?;
        Ok(Self { noise, ..self })
    }

    /// The same with S_churn multiplied: a run of only some of K steps has the churn of all of them.
    #[cfg(feature = "diffusers")]
    pub(crate) fn times(self, factor: f64) -> Self {
        Self {
            amount: self.amount * factor,
            ..self
        }
    }

    /// S_noise.
    #[cfg(feature = "diffusers")]
    pub(crate) fn noise_scale(&self) -> f64 {
        self.noise
    }

    /// ρ̂/ρ − 1, of a step from ρ that is one of `steps`.
    pub(crate) fn growth(&self, rho: f64, steps: usize) -> f64 {
        let inside = self.least <= rho && rho <= self.most && rho.is_finite();
        match inside {
            true => (self.amount / steps as f64).min(MOST),
            false => 0.0,
        }
    }

    /// Where a step from `from` really starts, and the stage that leads there, if any.
    fn lift(&self, path: &Path<'_>, from: NoiseLevel) -> Result<(Vec<Stage>, NoiseLevel), Error> {
        let growth = self.growth(from.rho(), path.grid().steps());
        if growth == 0.0 {
            return Ok((Vec::new(), from));
        }
        let wanted = from.lambda() - libm::log1p(growth);
        let up = path.at_lambda(wanted.max(path.noisiest(wanted)?))?;
        let h = step_size(&up, &from);
        if h <= 0.0 {
            return Ok((Vec::new(), from));
        }
        // ρ̂² − ρ² = ρ̂²(1 − e^−2h).
        let update = Update {
            state: up.alpha() / from.alpha(),
            noise: self.noise * up.sigma() * (-libm::expm1(-2.0 * h)).sqrt(),
            ..Update::default()
        };
        Ok((vec![Stage::without_model(update)], up))
    }
}

/// [`Churn::lift`], where there is churn.
pub(super) fn lift(
    churn: Option<Churn>,
    path: &Path<'_>,
    from: NoiseLevel,
) -> Result<(Vec<Stage>, NoiseLevel), Error> {
    match churn {
        Some(churn) => churn.lift(path, from),
        None => Ok((Vec::new(), from)),
    }
}

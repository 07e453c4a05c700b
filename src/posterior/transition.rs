//! A Gaussian transition between two levels: the posterior and the forward process in one form.

use super::{StridedPosterior, check_finite, step_size};
use crate::error::Error;
use crate::level::NoiseLevel;

/// A Gaussian transition of the state: x' = state·x + data·x₀ + noise·z.
///
/// | transition | from | made by |
/// |---|---|---|
/// | q(x_s \| x_t, x₀), the posterior | noisy t | [`StridedPosterior::transition`] |
/// | q(x_t \| x_s, x₀), the forward step given the data | clean s | [`StridedPosterior::forward_step`] |
/// | q(x_t \| x_s), the forward step of a Markov chain | clean s | [`Transition::forward_step`] |
///
/// [`sample_in_place`](Self::sample_in_place) applies it to arrays.
///
/// ```
/// use diffusion_sampler::{NoiseLevel, posterior::{Kappa, StridedPosterior}};
///
/// let (t, s) = (NoiseLevel::new(2.0, 0.6, 0.8)?, NoiseLevel::new(1.0, 0.8, 0.6)?);
/// let q = StridedPosterior::new(t, s, Kappa::Ddpm)?.transition();
/// // Given x₀ = 1, x_t has mean 0.6 and x_s mean 0.8.
/// assert!((q.state * 0.6 + q.data - 0.8).abs() < 1e-15);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Transition {
    /// The coefficient on the state that the transition leaves.
    pub state: f64,
    /// The coefficient on x₀.
    pub data: f64,
    /// The standard deviation of the noise that it adds.
    pub noise: f64,
}

impl Transition {
    /// The forward step q(x_t | x_s), which needs no x₀: x_t = (α_t/α_s) x_s + √β_{t|s} z with
    /// β_{t|s} = σ_t² − (α_t/α_s)² σ_s², from `from` to the noisier `to`.
    ///
    /// This is the Markov chain of DDPM (Ho, Jain and Abbeel 2020, "Denoising Diffusion
    /// Probabilistic Models") between any two levels: restarts, churn and the resampling steps of
    /// inpainting use it.
    ///
    /// ```
    /// use diffusion_sampler::{NoiseLevel, posterior::Transition};
    ///
    /// let (s, t) = (NoiseLevel::new(1.0, 0.8, 0.6)?, NoiseLevel::new(2.0, 0.6, 0.8)?);
    /// let step = Transition::forward_step(&s, &t)?;
    /// assert_eq!((step.state, step.data), (0.6 / 0.8, 0.0));
    /// // Variances add up to that of t.
    /// assert!((step.state.powi(2) * 0.36 + step.noise.powi(2) - 0.64).abs() < 1e-15);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::DegenerateEdge`] unless `to` is noisier than `from` and `from` has α > 0;
    /// [`Error::EdgeOverflow`] where α_t/α_s overflows.
    pub fn forward_step(from: &NoiseLevel, to: &NoiseLevel) -> Result<Self, Error> {
        let h = step_size(to, from);
        if h.is_nan() || h <= 0.0 || from.alpha() == 0.0 {
            return Err(Error::DegenerateEdge {
                from: from.time(),
                to: to.time(),
                requirement: "lead to more noise, from a level with alpha > 0",
            });
        }
        Self {
            state: to.alpha() / from.alpha(),
            data: 0.0,
            noise: to.sigma() * (-libm::expm1(-2.0 * h)).sqrt(),
        }
        .checked(from, to)
    }

    fn checked(self, from: &NoiseLevel, to: &NoiseLevel) -> Result<Self, Error> {
        check_finite(from, to, "state", self.state)?;
        check_finite(from, to, "data", self.data)?;
        check_finite(from, to, "noise", self.noise)?;
        Ok(self)
    }
}

impl StridedPosterior {
    /// The posterior as a transition: (c_t, c_0, γ).
    pub fn transition(&self) -> Transition {
        Transition {
            state: self.state_coefficient(),
            data: self.data_coefficient(),
            noise: self.gamma(),
        }
    }

    /// The forward step given the data, q(x_t | x_s, x₀) = N(α_t x₀ + κ(σ_t/σ_s)(x_s − α_s x₀),
    /// σ_t²(1 − κ²) I): the same joint distribution as the posterior's, read from s to t.
    ///
    /// Only at κ = r (DDPM) does it not depend on x₀; it is then
    /// [`Transition::forward_step`].
    ///
    /// # Errors
    ///
    /// [`Error::DegenerateEdge`] when s is clean and κ > 0, where the noise of x_s is undetermined;
    /// [`Error::EdgeOverflow`] where a coefficient overflows.
    pub fn forward_step(&self) -> Result<Transition, Error> {
        let (t, s) = (&self.from, &self.to);
        if s.is_clean() && self.kappa > 0.0 {
            return Err(Error::DegenerateEdge {
                from: s.time(),
                to: t.time(),
                requirement: "leave a level with sigma > 0, or have kappa = 0",
            });
        }
        let state = if self.kappa == 0.0 {
            0.0
        } else {
            self.kappa * t.sigma() / s.sigma()
        };
        // α_t − κ(σ_t/σ_s)α_s = α_t(1 − κ/r) is 0 at DDPM's κ = r, however κ was rounded.
        let excess = 1.0 - self.kappa / self.ratio();
        // Equivalent mutant: replace > with >=: at κ = 0 the excess is 1 or no number.
        let data = if self.kappa > 0.0 && excess.abs() <= 4.0 * f64::EPSILON {
            0.0
        } else {
            t.alpha() - state * s.alpha()
        };
        Transition {
            state,
            data,
            noise: t.sigma() * (self.one_minus_kappa * (1.0 + self.kappa)).sqrt(),
        }
        .checked(s, t)
    }
}

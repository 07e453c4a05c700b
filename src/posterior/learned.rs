//! The reverse variance that a network gives with its prediction.

use super::{Kappa, ReverseVariance, StridedPosterior};
use crate::error::{Error, require};
use crate::level::NoiseLevel;

impl StridedPosterior {
    /// The variance that a network's second output f in \[−1, 1\] stands for: in logarithms between
    /// the posterior variance (f = −1) and the forward variance of the *strided* edge (f = 1),
    ///
    /// ```text
    /// ln v = u ln β + (1 − u) ln γ²        u = (f + 1)/2
    /// ```
    ///
    /// with β the variance of [`ReverseVariance::FixedLarge`], which is β_{t|s} = σ_t² −
    /// (α_t/α_s)²σ_s² under a variance-preserving schedule. Networks are trained at DDPM's κ = r,
    /// where γ² = β̃. For another κ > 0 the lower end is that κ's γ², which such a network knows
    /// nothing of: the variance is defined, and its use is the caller's decision. f beyond ±1
    /// extrapolates, as in the authors' code.
    ///
    /// [`LearnedNoise`](crate::noise::LearnedNoise) applies it in a run,
    /// [`kl_by_element`](Self::kl_by_element) makes it a loss. Nichol and Dhariwal (2021),
    /// "Improved Denoising Diffusion Probabilistic Models".
    ///
    /// ```
    /// use diffusion_sampler::{NoiseLevel, posterior::{Kappa, StridedPosterior}};
    ///
    /// let (t, s) = (NoiseLevel::new(2.0, 0.6, 0.8)?, NoiseLevel::new(1.0, 0.8, 0.6)?);
    /// let q = StridedPosterior::new(t, s, Kappa::Ddpm)?;
    /// assert_eq!(q.learned_variance(-1.0)?, q.variance());
    /// assert!((q.learned_variance(1.0)? - q.forward_variance()?).abs() < 1e-15);
    /// # Ok::<(), diffusion_sampler::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for an f that is not finite; [`Error::DegenerateEdge`] onto σ =
    /// 0 and on an up-edge; [`Error::DeterministicLikelihood`] at γ = 0, of which there is no
    /// logarithm; [`Error::EdgeOverflow`] where the variance overflows.
    #[doc(alias("learned_range", "LEARNED_RANGE"))]
    pub fn learned_variance(&self, f: f64) -> Result<f64, Error> {
        require(f.is_finite(), "variance output", f, "finite")?;
        let log_ratio = self.learned_range(self.gamma)?;
        let variance = self.variance() * libm::exp(0.5 * (f + 1.0) * log_ratio);
        super::check_finite(&self.from, &self.to, "noise", variance)?;
        Ok(variance)
    }

    /// ln(β/`noise`²), the length of the interval in which a learned variance lies.
    fn learned_range(&self, noise: f64) -> Result<f64, Error> {
        if self.to.is_clean() {
            return Err(Error::DegenerateEdge {
                from: self.from.time(),
                to: self.to.time(),
                requirement: "lead to a level with sigma > 0: there is no variance to interpolate",
            });
        }
        if noise == 0.0 {
            return Err(Error::DeterministicLikelihood {
                from: self.from.time(),
                to: self.to.time(),
            });
        }
        let largest = self.reverse_variance(ReverseVariance::FixedLarge)?;
        Ok(libm::log(largest) - 2.0 * libm::log(noise))
    }
}

/// ln(β/noise²) of an edge on which a plan adds `noise`.
pub(crate) fn learned_range(from: NoiseLevel, to: NoiseLevel, noise: f64) -> Result<f64, Error> {
    StridedPosterior::new(from, to, Kappa::Ddpm)?.learned_range(noise)
}

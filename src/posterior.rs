//! The strided posterior q(x_s | x_t, x₀) between any two levels, as scalars. Its methods on arrays
//! are in `on_arrays.rs`.

mod analytic;
mod between;
mod data_errors;
mod diagonal;
mod element_errors;
mod learned;
mod likelihood;
mod policy;
#[cfg(feature = "serde")]
mod stored;
mod transition;

pub use analytic::AnalyticVariance;
pub use data_errors::DataErrors;
pub use diagonal::DiagonalVariance;
pub use element_errors::ElementErrors;
pub(crate) use learned::learned_range;
pub use policy::{Kappa, ReverseVariance};
pub use transition::Transition;

use crate::error::{Error, require_non_negative};
use crate::level::NoiseLevel;

/// The strided posterior q(x_s | x_t, x₀) = N(c_t x_t + c_0 x₀, γ² I) on the edge t → s, between
/// any two levels of any schedule.
///
/// c_t = (σ_s/σ_t) κ and c_0 = α_s (1 − κ r), with r = σ_s α_t/(σ_t α_s). For every κ in \[0, 1\]
/// the marginal of x_s given x₀ is N(α_s x₀, σ_s² I) when that of x_t is N(α_t x₀, σ_t² I). The
/// scalars are formed without subtracting nearly equal numbers: 1 − κr = (1 − κ) + κ(1 − r), 1 − r
/// = −expm1(−h).
///
/// ```
/// use diffusion_sampler::{NoiseLevel, posterior::{Kappa, StridedPosterior}};
///
/// let (t, s) = (NoiseLevel::new(2.0, 0.6, 0.8)?, NoiseLevel::new(1.0, 0.8, 0.6)?);
/// let q = StridedPosterior::new(t, s, Kappa::Eta(0.5))?;
/// // Marginals match: mean and variance of x_s given x₀ = 1.
/// assert!((q.state_coefficient() * 0.6 + q.data_coefficient() - 0.8).abs() < 1e-15);
/// assert!(((q.state_coefficient() * 0.8).powi(2) + q.variance() - 0.36).abs() < 1e-15);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StridedPosterior {
    from: NoiseLevel,
    to: NoiseLevel,
    kappa: f64,
    one_minus_kappa: f64,
    gamma: f64,
}

impl StridedPosterior {
    /// The posterior on the edge `from` → `to`.
    ///
    /// Up-edges (`to` noisier than `from`) are allowed for [`Kappa::Ddim`], [`Kappa::Gamma`] and
    /// [`Kappa::Fresh`].
    ///
    /// # Errors
    ///
    /// [`Error::DegenerateEdge`] when `from` is clean (ε is then undetermined), or for an up-edge
    /// under a policy that is not defined there, or from α = 0 to α = 0;
    /// [`Error::InvalidParameter`] for η or τ that is negative or not finite;
    /// [`Error::EtaOutOfRange`] for an η that would need γ > σ_s (of [`Kappa::FlowEta`], κ < 0);
    /// [`Error::GammaOutOfRange`] when γ is not in \[0, σ_s\]; [`Error::EdgeOverflow`] when a coefficient overflows.
    pub fn new(from: NoiseLevel, to: NoiseLevel, kappa: Kappa) -> Result<Self, Error> {
        let h = check_ends(&from, &to)?;
        if h < 0.0 && !matches!(kappa, Kappa::Ddim | Kappa::Gamma(_) | Kappa::Fresh) {
            return Err(Error::DegenerateEdge {
                from: from.time(),
                to: to.time(),
                requirement: "lead to less noise under this policy",
            });
        }
        Self::of_parts(from, to, kappa.parts(&from, &to, h)?)
    }

    /// The posterior with κ = e^(−`decay`), `decay` ≥ 0 (+∞ keeps nothing of x_t).
    pub(crate) fn decaying(from: NoiseLevel, to: NoiseLevel, decay: f64) -> Result<Self, Error> {
        check_ends(&from, &to)?;
        Self::of_parts(from, to, policy::decaying(decay))
    }

    /// From (κ, 1 − κ, γ/σ_s), each in its own stable form.
    fn of_parts(
        from: NoiseLevel,
        to: NoiseLevel,
        (kappa, one_minus_kappa, ratio): (f64, f64, f64),
    ) -> Result<Self, Error> {
        Self {
            from,
            to,
            kappa,
            one_minus_kappa,
            gamma: ratio * to.sigma(),
        }
        .checked()
    }

    /// Refuses coefficients that f64 cannot hold.
    fn checked(self) -> Result<Self, Error> {
        check_finite(&self.from, &self.to, "state", self.state_coefficient())?;
        check_finite(&self.from, &self.to, "data", self.data_coefficient())?;
        Ok(self)
    }

    /// The level t that the edge leaves.
    pub fn from(&self) -> NoiseLevel {
        self.from
    }

    /// The level s that the edge reaches.
    pub fn to(&self) -> NoiseLevel {
        self.to
    }

    /// h = λ_s − λ_t; +∞ onto σ_s = 0 and from α_t = 0.
    pub fn step_size(&self) -> f64 {
        step_size(&self.from, &self.to)
    }

    /// r = e^−h = σ_s α_t/(σ_t α_s); 0 onto σ_s = 0 and from α_t = 0.
    pub fn ratio(&self) -> f64 {
        libm::exp(-self.step_size())
    }

    /// κ, the correlation of the noises of x_t and x_s given x₀.
    pub fn kappa(&self) -> f64 {
        self.kappa
    }

    /// γ, the posterior's standard deviation.
    pub fn gamma(&self) -> f64 {
        self.gamma
    }

    /// γ², the posterior's variance; +∞ where it overflows.
    pub fn variance(&self) -> f64 {
        self.gamma * self.gamma
    }

    /// c_t = (σ_s/σ_t) κ, the mean's coefficient on x_t.
    pub fn state_coefficient(&self) -> f64 {
        // κ = 0 keeps nothing, also where σ_s/σ_t overflows.
        if self.kappa == 0.0 {
            return 0.0;
        }
        self.to.sigma() / self.from.sigma() * self.kappa
    }

    /// c_0 = α_s (1 − κ r), the mean's coefficient on x₀.
    pub fn data_coefficient(&self) -> f64 {
        let (alpha, h) = (self.to.alpha(), self.step_size());
        // r = 0: D itself, whatever κ is.
        if h == f64::INFINITY || self.kappa == 0.0 {
            return alpha;
        }
        // α_s(1 − r). Far up, where r > e, from the definition of r: there is no cancellation, and
        // r may overflow.
        // Equivalent mutant: replace < with <=: at −1 both forms are right to rounding.
        let fresh = if h < -1.0 {
            alpha - self.to.sigma() / self.from.sigma() * self.from.alpha()
        } else {
            -alpha * libm::expm1(-h)
        };
        alpha * self.one_minus_kappa + self.kappa * fresh
    }

    /// β_{t|s} = σ_t² − (α_t/α_s)² σ_s² = σ_t² (1 − r²), the variance that the forward process adds
    /// from s to t.
    ///
    /// # Errors
    ///
    /// [`Error::DegenerateEdge`] on an up-edge, where t is the less noisy end: the forward process
    /// does not lead there; [`Error::EdgeOverflow`] where the variance overflows.
    pub fn forward_variance(&self) -> Result<f64, Error> {
        let h = self.step_size();
        if h < 0.0 {
            return Err(Error::DegenerateEdge {
                from: self.from.time(),
                to: self.to.time(),
                requirement: "lead to less noise: a forward variance is that from its end to its start",
            });
        }
        let (sigma, share) = (self.from.sigma(), -libm::expm1(-2.0 * h));
        // σ² may overflow: over no distance nothing is added.
        if share == 0.0 {
            return Ok(0.0);
        }
        let variance = sigma * sigma * share;
        check_finite(&self.from, &self.to, "noise", variance)?;
        Ok(variance)
    }

    /// v_p under a policy.
    ///
    /// # Errors
    ///
    /// [`Error::EdgeOverflow`] where the variance overflows;
    /// [`Error::InvalidParameter`] for an explicit variance that is negative or not finite;
    /// [`Error::DegenerateEdge`] for "fixed large" on an up-edge.
    pub fn reverse_variance(&self, policy: ReverseVariance) -> Result<f64, Error> {
        if let ReverseVariance::Explicit(variance) = policy {
            require_non_negative("reverse variance", variance)?;
        }
        if self.to.is_clean() {
            return Ok(0.0);
        }
        let variance = match policy {
            ReverseVariance::Posterior => self.variance(),
            ReverseVariance::FixedLarge => {
                let norm = |level: &NoiseLevel| level.marginal_variance(1.0);
                self.forward_variance()? * norm(&self.to) / norm(&self.from)
            }
            ReverseVariance::Explicit(variance) => variance,
        };
        check_finite(&self.from, &self.to, "noise", variance)?;
        Ok(variance)
    }

    /// The posterior of the composed edge, this one followed by `next`: given x₀, κ multiplies.
    ///
    /// # Errors
    ///
    /// [`Error::EdgesDoNotMeet`] unless `next` starts where this edge ends;
    /// [`Error::DegenerateEdge`] when the composed edge leads from α = 0 to α = 0;
    /// [`Error::EdgeOverflow`] when a coefficient overflows.
    pub fn compose(&self, next: &Self) -> Result<Self, Error> {
        if self.to != next.from {
            return Err(Error::EdgesDoNotMeet {
                end: self.to.time(),
                start: next.from.time(),
            });
        }
        check_ends(&self.from, &next.to)?;
        let kappa = self.kappa * next.kappa;
        let one_minus_kappa = self.one_minus_kappa + self.kappa * next.one_minus_kappa;
        // γ² = σ_s²(1 − κ)(1 + κ).
        let ratio = (one_minus_kappa * (1.0 + kappa)).sqrt();
        Self {
            from: self.from,
            to: next.to,
            kappa,
            one_minus_kappa,
            gamma: ratio * next.to.sigma(),
        }
        .checked()
    }
}

/// h = λ_s − λ_t, from the logarithms of α and σ apart, which keeps neighbouring knots of a fine
/// table exact.
pub(crate) fn step_size(from: &NoiseLevel, to: &NoiseLevel) -> f64 {
    (to.log_alpha() - from.log_alpha()) + (from.log_sigma() - to.log_sigma())
}

/// h of the edge, where both ends allow one.
fn check_ends(from: &NoiseLevel, to: &NoiseLevel) -> Result<f64, Error> {
    let degenerate = |requirement| Error::DegenerateEdge {
        from: from.time(),
        to: to.time(),
        requirement,
    };
    if from.is_clean() {
        return Err(degenerate("start at a level with sigma > 0"));
    }
    let h = step_size(from, to);
    if h.is_nan() {
        return Err(degenerate("not lead from alpha = 0 to alpha = 0"));
    }
    Ok(h)
}

/// Refuses a coefficient of an edge that f64 cannot hold.
fn check_finite(
    from: &NoiseLevel,
    to: &NoiseLevel,
    coefficient: &'static str,
    value: f64,
) -> Result<(), Error> {
    if value.is_finite() {
        return Ok(());
    }
    Err(Error::EdgeOverflow {
        coefficient,
        value,
        from: from.time(),
        to: to.time(),
    })
}

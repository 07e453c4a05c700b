//! The strided posterior q(x_s | x_t, x₀) between any two levels, as scalars.

use crate::error::{Error, require_non_negative};
use crate::level::NoiseLevel;
use crate::special::spread_excess;

/// What q is on an edge t → s: the posterior's standard deviation γ, written as κ = √(1 − γ²/σ_s²).
///
/// With h = λ_s − λ_t, r = e^−h = σ_s α_t/(σ_t α_s):
///
/// | policy | κ | γ | composes |
/// |---|---|---|---|
/// | [`Ddim`](Self::Ddim) | 1 | 0 | yes |
/// | [`Ddpm`](Self::Ddpm) | r | σ_s √(1 − r²) | yes |
/// | [`Eta`](Self::Eta) | √(1 − η²(1 − r²)) | η σ_s √(1 − r²) | at η = 0 and 1 |
/// | [`Tau`](Self::Tau) | r^(τ²) | σ_s √(1 − r^(2τ²)) | yes |
/// | [`Gamma`](Self::Gamma) | √(1 − γ²/σ_s²) | γ | – |
/// | [`Fresh`](Self::Fresh) | 0 | σ_s | yes |
///
/// "Composes" means that the chain over any subset of the knots agrees with the chain over all of them: κ multiplies.
/// DDIM and η are Song, Meng and Ermon's (2021, "Denoising Diffusion Implicit Models"); τ is the constant noise rate of
/// the stochastic exponential integrators (its square is k-diffusion's eta); `Fresh` is the step of consistency models.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kappa {
    /// γ = 0: deterministic. On an up-edge (s noisier than t) this is DDIM inversion's step.
    Ddim,
    /// The ancestral sampler: γ² is the variance of the Markov chain's own posterior ("fixed small").
    Ddpm,
    /// η times the ancestral γ; 0 is DDIM, 1 is DDPM.
    Eta(f64),
    /// Constant noise rate τ; 0 is DDIM, 1 is DDPM.
    Tau(f64),
    /// An explicit γ, in [0, σ_s].
    Gamma(f64),
    /// γ = σ_s: the estimate of x₀ with fresh noise, nothing of x_t is kept.
    Fresh,
}

/// What the reverse step adds as noise, apart from what q is: the reverse variance v_p.
///
/// γ² belongs to q; a sampler may use another variance for p. Ho, Jain and Abbeel (2020, section 3.2) give two choices at
/// κ = r: [`Posterior`](Self::Posterior) is right for data that are a single point, [`FixedLarge`](Self::FixedLarge) for
/// standard normal data. The mean keeps the κ of q.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub enum ReverseVariance {
    /// v_p = γ².
    #[default]
    Posterior,
    /// "Fixed large": v_p = β_{t|s}(α_s² + σ_s²)/(α_t² + σ_t²) with β_{t|s} = σ_t² − (α_t/α_s)²σ_s², which is β_{t|s} for
    /// a variance-preserving schedule. No noise onto σ_s = 0.
    FixedLarge,
    /// v_p on every edge but one onto σ_s = 0, which gets none.
    Explicit(f64),
}

/// The strided posterior q(x_s | x_t, x₀) = N(c_t x_t + c_0 x₀, γ² I) on the edge t → s, between any two levels of any
/// schedule.
///
/// c_t = (σ_s/σ_t) κ and c_0 = α_s (1 − κ r), with r = σ_s α_t/(σ_t α_s). For every κ in \[0, 1\] the marginal of x_s given
/// x₀ is N(α_s x₀, σ_s² I) when that of x_t is N(α_t x₀, σ_t² I). The scalars are formed without subtracting nearly equal
/// numbers: 1 − κr = (1 − κ) + κ(1 − r), 1 − r = −expm1(−h).
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
    /// Up-edges (`to` noisier than `from`) are allowed for [`Kappa::Ddim`], [`Kappa::Gamma`] and [`Kappa::Fresh`].
    ///
    /// # Errors
    ///
    /// [`Error::DegenerateEdge`] when `from` is clean (ε is then undetermined), or for an up-edge under a policy that is
    /// not defined there; [`Error::InvalidParameter`] for η or τ that is negative or not finite;
    /// [`Error::GammaOutOfRange`] when γ is not in \[0, σ_s\].
    pub fn new(from: NoiseLevel, to: NoiseLevel, kappa: Kappa) -> Result<Self, Error> {
        let degenerate = |requirement| Error::DegenerateEdge {
            from: from.time(),
            to: to.time(),
            requirement,
        };
        if from.is_clean() {
            return Err(degenerate("start at a level with sigma > 0"));
        }
        let h = step_size(&from, &to);
        if h.is_nan() {
            return Err(degenerate("not lead from alpha = 0 to alpha = 0"));
        }
        if h < 0.0 && matches!(kappa, Kappa::Ddpm | Kappa::Eta(_) | Kappa::Tau(_)) {
            return Err(degenerate("lead to less noise under this policy"));
        }
        let out_of_range = |gamma: f64| Error::GammaOutOfRange {
            gamma,
            sigma_to: to.sigma(),
            from: from.time(),
            to: to.time(),
        };
        // (κ, 1 − κ, γ/σ_s), each in its own stable form.
        let (kappa, one_minus_kappa, ratio) = match kappa {
            Kappa::Ddim => (1.0, 0.0, 0.0),
            Kappa::Fresh => (0.0, 1.0, 1.0),
            Kappa::Ddpm => Self::constant_rate(h, 1.0),
            Kappa::Tau(tau) => {
                require_non_negative("tau", tau)?;
                Self::constant_rate(h, tau)
            }
            Kappa::Eta(eta) => {
                require_non_negative("eta", eta)?;
                let ratio = eta * (-libm::expm1(-2.0 * h)).sqrt();
                // κ² = 1 − η²(1 − r²) = (1 − η)(1 + η) + η²r².
                let r = libm::exp(-h);
                let squared = (1.0 - eta) * (1.0 + eta) + eta * eta * r * r;
                // Not `squared < 0`: η² overflows to a NaN here.
                if !(squared >= 0.0 || to.is_clean()) {
                    return Err(out_of_range(ratio * to.sigma()));
                }
                let kappa = squared.max(0.0).sqrt();
                (kappa, (ratio * ratio / (1.0 + kappa)).min(1.0), ratio)
            }
            Kappa::Gamma(gamma) => {
                if !(gamma >= 0.0 && gamma <= to.sigma()) {
                    return Err(out_of_range(gamma));
                }
                let ratio = if gamma == 0.0 {
                    0.0
                } else {
                    gamma / to.sigma()
                };
                let kappa = ((1.0 - ratio) * (1.0 + ratio)).sqrt();
                (kappa, ratio * ratio / (1.0 + kappa), ratio)
            }
        };
        Ok(Self {
            from,
            to,
            kappa,
            one_minus_kappa,
            gamma: ratio * to.sigma(),
        })
    }

    /// κ = r^(τ²): (κ, 1 − κ, γ/σ_s). As a power of r: e^(−τ²h) would be NaN at τ = 0, h = ∞.
    fn constant_rate(h: f64, tau: f64) -> (f64, f64, f64) {
        // A τ² that overflows would be NaN at h = 0.
        let rate = (tau * tau).min(f64::MAX);
        if rate == 0.0 {
            return (1.0, 0.0, 0.0);
        }
        let decay = rate * h;
        (
            libm::exp(-decay),
            -libm::expm1(-decay),
            (-libm::expm1(-2.0 * decay)).sqrt(),
        )
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

    /// γ², the posterior's variance.
    pub fn variance(&self) -> f64 {
        self.gamma * self.gamma
    }

    /// c_t = (σ_s/σ_t) κ, the mean's coefficient on x_t.
    pub fn state_coefficient(&self) -> f64 {
        self.to.sigma() / self.from.sigma() * self.kappa
    }

    /// c_0 = α_s (1 − κ r), the mean's coefficient on x₀.
    pub fn data_coefficient(&self) -> f64 {
        let (alpha, h) = (self.to.alpha(), self.step_size());
        // r = 0: D itself, whatever κ is.
        if h == f64::INFINITY {
            return alpha;
        }
        // α_s(1 − r). Far up, where r > e, from the definition of r: there is no cancellation, and r may overflow.
        let fresh = if h < -1.0 {
            alpha - self.to.sigma() * self.from.alpha() / self.from.sigma()
        } else {
            -alpha * libm::expm1(-h)
        };
        alpha * self.one_minus_kappa + self.kappa * fresh
    }

    /// β_{t|s} = σ_t² − (α_t/α_s)² σ_s² = σ_t² (1 − r²), the variance that the forward process adds from s to t. Negative on
    /// an up-edge, where t is the less noisy end.
    pub fn forward_variance(&self) -> f64 {
        let sigma = self.from.sigma();
        sigma * sigma * -libm::expm1(-2.0 * self.step_size())
    }

    /// v_p under a policy.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for an explicit variance that is negative or not finite; [`Error::DegenerateEdge`] for
    /// "fixed large" on an up-edge.
    pub fn reverse_variance(&self, policy: ReverseVariance) -> Result<f64, Error> {
        if let ReverseVariance::Explicit(variance) = policy {
            require_non_negative("reverse variance", variance)?;
        }
        if self.to.is_clean() {
            return Ok(0.0);
        }
        match policy {
            ReverseVariance::Posterior => Ok(self.variance()),
            ReverseVariance::FixedLarge => {
                if self.step_size() < 0.0 {
                    return Err(Error::DegenerateEdge {
                        from: self.from.time(),
                        to: self.to.time(),
                        requirement: "lead to less noise for the fixed-large variance",
                    });
                }
                let norm = |level: &NoiseLevel| {
                    level.alpha() * level.alpha() + level.sigma() * level.sigma()
                };
                Ok(self.forward_variance() * norm(&self.to) / norm(&self.from))
            }
            ReverseVariance::Explicit(variance) => Ok(variance),
        }
    }

    /// The posterior of the composed edge, this one followed by `next`: given x₀, κ multiplies.
    ///
    /// # Errors
    ///
    /// [`Error::EdgesDoNotMeet`] unless `next` starts where this edge ends.
    pub fn compose(&self, next: &Self) -> Result<Self, Error> {
        if self.to != next.from {
            return Err(Error::EdgesDoNotMeet {
                end: self.to.time(),
                start: next.from.time(),
            });
        }
        let kappa = self.kappa * next.kappa;
        let one_minus_kappa = self.one_minus_kappa + self.kappa * next.one_minus_kappa;
        // γ² = σ_s²(1 − κ)(1 + κ).
        let ratio = (one_minus_kappa * (1.0 + kappa)).sqrt();
        Ok(Self {
            from: self.from,
            to: next.to,
            kappa,
            one_minus_kappa,
            gamma: ratio * next.to.sigma(),
        })
    }

    /// The chain upwards, q(x_t | x_s, x₀) = N(α_t x₀ + κ(σ_t/σ_s)(x_s − α_s x₀), σ_t²(1 − κ²) I), as the coefficients on
    /// x_s and x₀ and the standard deviation.
    ///
    /// Only at κ = r (DDPM) does it not depend on x₀: x_t = (α_t/α_s) x_s + √β_{t|s} z, which is what restarts, churn and
    /// inpainting's up-steps use ([`up_step`](Self::up_step)).
    ///
    /// # Errors
    ///
    /// [`Error::DegenerateEdge`] when s is clean and κ > 0, where the noise of x_s is undetermined.
    pub fn upward(&self) -> Result<Upward, Error> {
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
        let data = if self.kappa > 0.0 && excess.abs() <= 4.0 * f64::EPSILON {
            0.0
        } else {
            t.alpha() - state * s.alpha()
        };
        Ok(Upward {
            state,
            data,
            deviation: t.sigma() * (self.one_minus_kappa * (1.0 + self.kappa)).sqrt(),
        })
    }

    /// The up-step that needs no x₀: x_t = a·x_s + b·z with a = α_t/α_s and b = √β_{t|s}, from `low` to the noisier `high`.
    ///
    /// # Errors
    ///
    /// [`Error::DegenerateEdge`] unless `high` is noisier than `low` and `low` has α > 0.
    pub fn up_step(low: &NoiseLevel, high: &NoiseLevel) -> Result<Upward, Error> {
        let h = step_size(high, low);
        if h.is_nan() || h <= 0.0 || low.alpha() == 0.0 {
            return Err(Error::DegenerateEdge {
                from: low.time(),
                to: high.time(),
                requirement: "lead to more noise, from a level with alpha > 0",
            });
        }
        Ok(Upward {
            state: high.alpha() / low.alpha(),
            data: 0.0,
            deviation: high.sigma() * (-libm::expm1(-2.0 * h)).sqrt(),
        })
    }

    /// ω = c_0²/(2γ²), the price in nats of one unit of squared data error on this edge when v_p = γ²: the ELBO's weight.
    ///
    /// ω ≥ (snr_s − snr_t)/2, with equality exactly at DDPM's κ = r.
    ///
    /// # Errors
    ///
    /// [`Error::DeterministicLikelihood`] at γ = 0, where the KL is infinite.
    pub fn elbo_weight(&self) -> Result<f64, Error> {
        if self.variance() == 0.0 {
            return Err(Error::DeterministicLikelihood {
                from: self.from.time(),
                to: self.to.time(),
            });
        }
        let ratio = self.data_coefficient() / self.gamma;
        Ok(0.5 * ratio * ratio)
    }

    /// KL(q(x_s | x_t, x₀) ‖ N(c_t x_t + c_0 x̂₀, v_p I)) in nats, for `dim` elements and |x₀ − x̂₀|² = `data_error`:
    /// (d/2)\[γ²/v_p − 1 − ln(γ²/v_p)\] + c_0² |x₀ − x̂₀|²/(2v_p).
    ///
    /// # Errors
    ///
    /// [`Error::DeterministicLikelihood`] at γ = 0 or v_p = 0; [`Error::InvalidParameter`] for a negative or non-finite
    /// variance or error.
    pub fn kl(&self, dim: usize, data_error: f64, reverse_variance: f64) -> Result<f64, Error> {
        require_non_negative("data error", data_error)?;
        require_non_negative("reverse variance", reverse_variance)?;
        if self.variance() == 0.0 || reverse_variance == 0.0 {
            return Err(Error::DeterministicLikelihood {
                from: self.from.time(),
                to: self.to.time(),
            });
        }
        let c = self.data_coefficient();
        let spread = 0.5 * dim as f64 * spread_excess(self.variance(), reverse_variance);
        Ok(spread + 0.5 * c * c * data_error / reverse_variance)
    }
}

/// A step of the forward chain: x_t = a·x_s + b·x₀ + c·z.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Upward {
    /// The coefficient on x_s.
    pub state: f64,
    /// The coefficient on x₀.
    pub data: f64,
    /// The standard deviation of the noise added.
    pub deviation: f64,
}

/// h = λ_s − λ_t, from the logarithms of α and σ apart, which keeps neighbouring knots of a fine table exact.
pub(crate) fn step_size(from: &NoiseLevel, to: &NoiseLevel) -> f64 {
    (to.log_alpha() - from.log_alpha()) + (from.log_sigma() - to.log_sigma())
}

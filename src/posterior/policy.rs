//! What the posterior of an edge is, and what the reverse step adds as noise.

use crate::error::{Error, require_non_negative};
use crate::level::NoiseLevel;

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
/// | [`CappedEta`](Self::CappedEta) | √(1 − min(1, η²(1 − r²))) | min(σ_s, η σ_s √(1 − r²)) | at η = 0 and 1 |
/// | [`FlowEta`](Self::FlowEta) | (1 − q)/(1 + η s'(1 − r)) | σ_s √(1 − κ²) | at η = 0 |
/// | [`Ancestral`](Self::Ancestral) | of `FlowEta` on a flow, else of `CappedEta` | | |
///
/// "Composes" means that the chain over any subset of the knots agrees with the chain over all of
/// them: κ multiplies. DDIM and η are Song, Meng and Ermon's (2021, "Denoising Diffusion Implicit
/// Models"); τ is the constant noise rate of the stochastic exponential integrators (its square is
/// k-diffusion's eta); `Fresh` is the step of consistency models.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
#[doc(alias("DDIM", "DDPM", "ancestral", "eta", "noise policy"))]
pub enum Kappa {
    /// γ = 0: deterministic. On an up-edge (s noisier than t) this is DDIM inversion's step.
    Ddim,
    /// The ancestral sampler: γ² is the variance of the Markov chain's own posterior ("fixed
    /// small").
    #[doc(alias = "ancestral")]
    Ddpm,
    /// η times the ancestral γ; 0 is DDIM, 1 is DDPM.
    #[doc(alias = "eta")]
    Eta(f64),
    /// Constant noise rate τ; 0 is DDIM, 1 is DDPM.
    Tau(f64),
    /// An explicit γ, in [0, σ_s].
    Gamma(f64),
    /// γ = σ_s: the estimate of x₀ with fresh noise, nothing of x_t is kept.
    Fresh,
    /// η times the ancestral γ, at most σ_s: k-diffusion's `get_ancestral_step`, in which η above 1
    /// is capped where it asks for more noise than the level has. [`Eta`](Self::Eta) refuses it
    /// there, and is the same everywhere else. (ComfyUI's `euler_ancestral` drops the noise where
    /// the cap is reached; k-diffusion and this policy add it.)
    #[doc(alias("euler_ancestral", "get_ancestral_step"))]
    CappedEta(f64),
    /// The ancestral step of rectified flows: ComfyUI's `sample_euler_ancestral_RF`, diffusers'
    /// `LTXEulerAncestralRFScheduler`.
    ///
    /// With s' = ρ/(1 + ρ) = σ/(α + σ), which is σ itself on a flow, the step goes down to d =
    /// s'_s(1 − q), q = η(1 − s'_s/s'_t), then up to s'_s by the flow's own noise: κ = ρ_d/ρ_s with
    /// ρ_d = d/(1 − d), or κ = (1 − q)/(1 + η s'_s (1 − r)), 1 − κ = η(1 − r)/(1 + η s'_s (1 −
    /// r)). 0 is DDIM; as h → 0 it is the noise rate τ² = η. An η with q > 1 is refused, but onto σ_s
    /// = 0.
    #[doc(alias = "euler_ancestral_RF")]
    FlowEta(f64),
    /// As ComfyUI's `euler_ancestral` chooses: [`FlowEta`](Self::FlowEta) where both ends lie on a
    /// flow (α + σ = 1 to 1e-12), [`CappedEta`](Self::CappedEta) elsewhere.
    #[doc(alias("euler_ancestral", "Euler a"))]
    Ancestral(f64),
}

/// (κ, 1 − κ, γ/σ_s).
pub(super) type Parts = (f64, f64, f64);

/// What rounding makes of a κ² or κ of 0, so that the largest η, as an error states it, is accepted.
const ROUNDING: f64 = 32.0 * f64::EPSILON;

/// From where on κ² is formed from γ: below, η² costs no more than two bits.
const LARGE_ETA: f64 = 2.0;

/// How far α + σ of a flow's level may lie from 1.
const FLOW_TOLERANCE: f64 = 1e-12;

impl Kappa {
    /// (κ, 1 − κ, γ/σ_s) on an edge of size h, each in its own stable form.
    pub(super) fn parts(self, from: &NoiseLevel, to: &NoiseLevel, h: f64) -> Result<Parts, Error> {
        match self {
            Self::Ddim => Ok((1.0, 0.0, 0.0)),
            Self::Fresh => Ok(FRESH),
            Self::Ddpm => Ok(constant_rate(h, 1.0)),
            Self::Tau(tau) => {
                require_non_negative("tau", tau)?;
                Ok(constant_rate(h, tau))
            }
            Self::Eta(eta) => {
                let parts = eta_parts(eta, h, to)?;
                // γ = σ_s.
                let max = 1.0 / (-libm::expm1(-2.0 * h)).sqrt();
                parts.ok_or_else(|| eta_out_of_range(from, to, eta, max))
            }
            Self::CappedEta(eta) => Ok(eta_parts(eta, h, to)?.unwrap_or(FRESH)),
            Self::FlowEta(eta) => flow_parts(eta, h, from, to),
            Self::Ancestral(eta) if lies_on_flow(from) && lies_on_flow(to) => {
                flow_parts(eta, h, from, to)
            }
            Self::Ancestral(eta) => Ok(eta_parts(eta, h, to)?.unwrap_or(FRESH)),
            Self::Gamma(gamma) => gamma_parts(gamma, from, to),
        }
    }
}

impl Kappa {
    /// Whether some edge gets noise under this policy.
    pub(crate) fn is_stochastic(self) -> bool {
        match self {
            Self::Ddim => false,
            Self::Ddpm | Self::Fresh => true,
            Self::Eta(scale)
            | Self::Tau(scale)
            | Self::Gamma(scale)
            | Self::CappedEta(scale)
            | Self::FlowEta(scale)
            | Self::Ancestral(scale) => scale > 0.0,
        }
    }
}

/// Nothing of x_t is kept.
const FRESH: Parts = (0.0, 1.0, 1.0);

/// κ = r^(τ²).
fn constant_rate(h: f64, tau: f64) -> Parts {
    // A τ² that overflows would be NaN at h = 0.
    let rate = (tau * tau).min(f64::MAX);
    // As a power of r: e^(−τ²h) would be NaN at τ = 0, h = ∞.
    if rate == 0.0 {
        return (1.0, 0.0, 0.0);
    }
    decaying(rate * h)
}

/// κ = e^(−decay).
pub(super) fn decaying(decay: f64) -> Parts {
    (
        libm::exp(-decay),
        -libm::expm1(-decay),
        (-libm::expm1(-2.0 * decay)).sqrt(),
    )
}

/// γ = ησ_s√(1 − r²); `None` where it would exceed σ_s.
fn eta_parts(eta: f64, h: f64, to: &NoiseLevel) -> Result<Option<Parts>, Error> {
    require_non_negative("eta", eta)?;
    // At the largest η rounding may make it more than 1.
    let ratio = eta * (-libm::expm1(-2.0 * h)).sqrt();
    // κ² = 1 − η²(1 − r²) = (1 − η)(1 + η) + η²r². For a large η both terms are, and over a short
    // step they cancel; there γ/σ_s itself is right to rounding.
    // Equivalent mutant: replace > with >=: at 2 both forms are right to rounding.
    let squared = if eta > LARGE_ETA {
        (1.0 - ratio) * (1.0 + ratio)
    } else {
        let r = libm::exp(-h);
        (1.0 - eta) * (1.0 + eta) + eta * eta * r * r
    };
    if !to.is_clean() {
        // Equivalent mutant: replace < with <=: a value at the bound of rounding is either.
        if squared < -ROUNDING {
            return Ok(None);
        }
        if squared <= 0.0 {
            return Ok(Some(FRESH));
        }
    }
    let kappa = squared.max(0.0).sqrt();
    let one_minus_kappa = (ratio * ratio / (1.0 + kappa)).min(1.0);
    Ok(Some((kappa, one_minus_kappa, ratio.min(1.0))))
}

/// κ = (1 − q)/(1 + ηs'(1 − r)), 1 − κ = η(1 − r)/(1 + ηs'(1 − r)) with s' = σ_s/(α_s + σ_s) and
/// q = η(1 − r)α_s/(α_s + σ_s): ComfyUI's d and ρ_d, with α_s cancelled.
fn flow_parts(eta: f64, h: f64, from: &NoiseLevel, to: &NoiseLevel) -> Result<Parts, Error> {
    require_non_negative("eta", eta)?;
    // A power of two keeps the sum of the largest numbers, and the shares, as they are.
    // Equivalent mutant: replace > with >=; replace * with /: the quarters of smaller numbers have the
    // same shares; of those near the subnormal ones to a few last places, which λ does not have.
    let (alpha, sigma) = if to.alpha().max(to.sigma()) > 0.5 * f64::MAX {
        (0.25 * to.alpha(), 0.25 * to.sigma())
    } else {
        (to.alpha(), to.sigma())
    };
    let (data_share, noise_share) = (alpha / (alpha + sigma), sigma / (alpha + sigma));
    let rate = -libm::expm1(-h);
    let q = eta * rate * data_share;
    // Equivalent mutant: replace > with >=: a value at the bound of rounding is either.
    if q > 1.0 + ROUNDING && !to.is_clean() {
        let max = 1.0 / (rate * data_share);
        return Err(eta_out_of_range(from, to, eta, max));
    }
    let scale = 1.0 + eta * rate * noise_share;
    let kappa = (1.0 - q).max(0.0) / scale;
    let one_minus_kappa = (eta * rate / scale).min(1.0);
    let ratio = (one_minus_kappa * (1.0 + kappa)).sqrt();
    Ok((kappa, one_minus_kappa, ratio))
}

fn lies_on_flow(level: &NoiseLevel) -> bool {
    (level.alpha() + level.sigma() - 1.0).abs() <= FLOW_TOLERANCE
}

fn gamma_parts(gamma: f64, from: &NoiseLevel, to: &NoiseLevel) -> Result<Parts, Error> {
    if !(gamma >= 0.0 && gamma <= to.sigma()) {
        return Err(Error::GammaOutOfRange {
            gamma,
            sigma_to: to.sigma(),
            from: from.time(),
            to: to.time(),
        });
    }
    let ratio = if gamma == 0.0 {
        0.0
    } else {
        gamma / to.sigma()
    };
    let kappa = ((1.0 - ratio) * (1.0 + ratio)).sqrt();
    Ok((kappa, ratio * ratio / (1.0 + kappa), ratio))
}

fn eta_out_of_range(from: &NoiseLevel, to: &NoiseLevel, eta: f64, max: f64) -> Error {
    Error::EtaOutOfRange {
        eta,
        max,
        from: from.time(),
        to: to.time(),
    }
}

/// The policy's name, with its parameter.
impl std::fmt::Display for Kappa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ddim => f.pad("DDIM"),
            Self::Ddpm => f.pad("DDPM"),
            Self::Eta(eta) => write!(f, "eta {eta}"),
            Self::Tau(tau) => write!(f, "tau {tau}"),
            Self::Gamma(gamma) => write!(f, "gamma {gamma}"),
            Self::Fresh => f.pad("fresh"),
            Self::CappedEta(eta) => write!(f, "eta {eta}, capped"),
            Self::FlowEta(eta) => write!(f, "eta {eta} of flows"),
            Self::Ancestral(eta) => write!(f, "ancestral, eta {eta}"),
        }
    }
}

/// What the reverse step adds as noise, apart from what q is: the reverse variance v_p.
///
/// γ² belongs to q; a sampler may use another variance for p. Ho, Jain and Abbeel (2020, section
/// 3.2) give two choices at κ = r: [`Posterior`](Self::Posterior) is right for data that are a
/// single point, [`FixedLarge`](Self::FixedLarge) for standard normal data. The mean keeps the κ of
/// q.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
#[non_exhaustive]
#[doc(alias = "variance_type")]
pub enum ReverseVariance {
    /// v_p = γ².
    #[default]
    Posterior,
    /// "Fixed large": v_p = β_{t|s}(α_s² + σ_s²)/(α_t² + σ_t²) with β_{t|s} = σ_t² −
    /// (α_t/α_s)²σ_s², which is β_{t|s} for a variance-preserving schedule. No noise onto σ_s = 0.
    FixedLarge,
    /// v_p on every edge but one onto σ_s = 0, which gets none.
    Explicit(f64),
}

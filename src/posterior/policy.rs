//! What the posterior of an edge is, and what the reverse step adds as noise.

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

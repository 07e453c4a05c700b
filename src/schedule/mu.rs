//! μ, from which a flow's shift is made, by the size of the image and the number of steps.
//!
//! A model whose shift depends on the resolution states a rule for μ. What μ is depends on the
//! model too: the shift is s = e^μ ([`shifted_by_mu`](super::RectifiedFlow::shifted_by_mu);
//! `time_shift_type` "exponential"), or s = μ itself
//! ([`shifted_linearly`](super::RectifiedFlow::shifted_linearly); "linear").
//!
//! | rule | μ | models |
//! |---|---|---|
//! | [`linear`] | linear in the number of tokens n | Flux, LTX-Video, Qwen-Image |
//! | [`square_root`] | `max_shift` √(n/`base_tokens`) + `base_shift` | CogView4, of "linear" shift |
//! | [`qwen_layered`] | √(n/256) | Qwen-Image-Layered |
//! | [`flux2`] | linear in the steps, between two lines in n | FLUX.2 |
//!
//! Tokens are those of the image as the transformer sees it: for latents of H × W in patches of 2 ×
//! 2, n = HW/4. The arithmetic is that of the pipelines of diffusers, in its order.
//!
//! ```
//! use diffusion_sampler::schedule::{RectifiedFlow, mu};
//!
//! // 1024 × 1024 pixels: 4096 tokens.
//! let flux = RectifiedFlow::shifted_by_mu(mu::linear(4096, (256, 0.5), (4096, 1.15))?)?;
//! let cogview = RectifiedFlow::shifted_linearly(mu::square_root(4096, 256, 0.25, 0.75)?)?;
//! assert!((flux.shift() - 1.15f64.exp()).abs() < 1e-14);
//! assert_eq!(cogview.shift(), 3.25);
//! # Ok::<(), diffusion_sampler::Error>(())
//! ```

use crate::error::{Error, require};

/// The line through `(tokens, μ)` at two resolutions, not clamped beyond them.
///
/// Flux has (256, 0.5) and (4096, 1.15): `base_image_seq_len`, `base_shift`, `max_image_seq_len`,
/// `max_shift` of configuration files. Black Forest Labs (2024), the inference code of FLUX.1.
///
/// # Errors
///
/// [`Error::InvalidParameter`] when the two token counts agree, or μ is not finite.
#[doc(alias = "calculate_shift")]
pub fn linear(tokens: usize, low: (usize, f64), high: (usize, f64)) -> Result<f64, Error> {
    require(
        low.0 != high.0,
        "token count of the second resolution",
        high.0 as f64,
        "different from the first's",
    )?;
    let slope = (high.1 - low.1) / (high.0 as f64 - low.0 as f64);
    let intercept = low.1 - slope * low.0 as f64;
    finite(tokens as f64 * slope + intercept)
}

/// `max_shift` √(tokens/`base_tokens`) + `base_shift`.
///
/// CogView4's, with 256, 0.25 and 0.75. Its shift is s = μ, not e^μ. Z.ai (2025), CogView4, as
/// diffusers' pipeline has it.
///
/// # Errors
///
/// [`Error::InvalidParameter`] for `base_tokens` = 0, or where μ is not finite.
pub fn square_root(
    tokens: usize,
    base_tokens: usize,
    base_shift: f64,
    max_shift: f64,
) -> Result<f64, Error> {
    let base = base_tokens as f64;
    require(base > 0.0, "base tokens", base, "at least 1")?;
    finite((tokens as f64 / base).sqrt() * max_shift + base_shift)
}

/// √(tokens/256).
///
/// Qwen-Image-Layered, tokens of the image that is taken apart; its shift is s = e^μ. Qwen team
/// (2025), as diffusers' pipeline has it.
pub fn qwen_layered(tokens: usize) -> f64 {
    (tokens as f64 / 256.0).sqrt()
}

/// FLUX.2's rule: with m₂₀₀ = 0.00016927 n + 0.45666666 and m₁₀ = 8.73809524·10⁻⁵ n + 1.89833333, μ
/// is linear in the number of steps through (10, m₁₀) and (200, m₂₀₀); above 4300 tokens n it is
/// m₂₀₀, whatever the steps.
///
/// At 4300 tokens it jumps, for any K but 200. Black Forest Labs (2025), the inference code of
/// FLUX.2: fitted to measurements.
///
/// ```
/// use diffusion_sampler::schedule::mu;
///
/// assert!((mu::flux2(4096, 50) - 2.02335).abs() < 1e-5);
/// assert_eq!(mu::flux2(5000, 50), mu::flux2(5000, 4));
/// ```
#[doc(alias = "compute_empirical_mu")]
pub fn flux2(tokens: usize, steps: usize) -> f64 {
    let n = tokens as f64;
    let (at_200, at_10) = (0.00016927 * n + 0.45666666, 8.73809524e-05 * n + 1.89833333);
    if tokens > 4300 {
        return at_200;
    }
    let slope = (at_200 - at_10) / 190.0;
    slope * steps as f64 + (at_200 - 200.0 * slope)
}

fn finite(mu: f64) -> Result<f64, Error> {
    require(mu.is_finite(), "mu", mu, "finite")?;
    Ok(mu)
}

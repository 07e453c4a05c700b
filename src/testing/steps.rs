//! Checks of single steps, as black boxes.

use super::Failure;
use super::probe::{coefficients, near};
use crate::level::NoiseLevel;
use crate::posterior::{Kappa, StridedPosterior, Transition};
use crate::prediction::Prediction;
use crate::real::Real;

/// A step x_s = a·x₀ + b·ε + c·z, each coefficient with the size of the terms that make it.
struct Effect {
    data: (f64, f64),
    noise: (f64, f64),
    fresh: f64,
    ends: (f64, f64),
    tolerance: f64,
}

impl Effect {
    /// What a step does to x_t = αx₀ + σε when the model is right.
    fn of<A: Real>(
        (from, to): (&NoiseLevel, &NoiseLevel),
        prediction: Prediction,
        tolerance: f64,
        mut step: impl FnMut(&[A], &[A], &[A], &mut [A]),
    ) -> Result<Self, Failure> {
        let target = prediction.target(from)?;
        let [x, output, fresh] =
            coefficients(tolerance, |[x, output, z], out| step(x, output, z, out))?;
        let sum = |a: f64, b: f64| (a + b, a.abs() + b.abs());
        Ok(Self {
            data: sum(x * from.alpha(), output * target.data),
            noise: sum(x * from.sigma(), output * target.noise),
            fresh,
            ends: (from.time(), to.time()),
            tolerance,
        })
    }

    fn require(
        &self,
        coefficient: &'static str,
        (found, size): (f64, f64),
        expected: f64,
    ) -> Result<(), Failure> {
        let tolerance = self.tolerance * (size + expected.abs());
        if near(found, expected, tolerance) {
            return Ok(());
        }
        Err(Failure::Coefficient {
            coefficient,
            from: self.ends.0,
            to: self.ends.1,
            found,
            expected,
            tolerance,
        })
    }

    /// The step as a transition, x_s = state·x_t + data·x₀ + noise·z.
    fn transition(&self, from: &NoiseLevel) -> Transition {
        let state = self.noise.0 / from.sigma();
        Transition {
            state,
            data: self.data.0 - state * from.alpha(),
            noise: self.fresh,
        }
    }
}

/// Checks that the marginals of a linear step match: x_s ~ q(x_s | x₀) = N(α_s x₀, σ_s² I) when x_t
/// ~ q(x_t | x₀) and the model is right about x₀.
///
/// `step(x, output, z, out)` writes x_s from x_t, the model's output (what it means is
/// `prediction`) and normals z. It is a black box: unit inputs find its coefficients, other inputs
/// check that it is linear and mixes no elements. With x_t = α_t x₀ + σ_t ε they make x_s = a·x₀ +
/// b·ε + c·z, and a = α_s and b² + c² = σ_s² must hold. Every member of the κ family does: DDIM,
/// DDPM and all between. "Fixed large" DDPM does not, by design; see [`check_step`].
///
/// `tolerance` is relative to the terms: 1e-12 for f64, 1e-5 for f32. Returns the step as found.
///
/// ```
/// use diffusion_sampler::{NoiseLevel, Prediction, testing::{Failure, check_marginals}};
///
/// let (t, s) = (NoiseLevel::new(2.0, 0.6, 0.8)?, NoiseLevel::new(1.0, 0.8, 0.6)?);
/// // DDIM on ε.
/// let ddim = |sign: f64| {
///     move |x: &[f64], noise: &[f64], _: &[f64], out: &mut [f64]| {
///         for i in 0..out.len() {
///             let x0 = (x[i] - 0.8 * noise[i]) / 0.6;
///             out[i] = 0.8 * x0 + sign * 0.6 * noise[i];
///         }
///     }
/// };
/// let found = check_marginals(&t, &s, Prediction::Noise, 1e-12, ddim(1.0))?;
/// assert!((found.state - 0.6 / 0.8).abs() < 1e-15);
/// // The wrong sign has the right mean and the right variance, but not DDIM's coefficients.
/// assert!(check_marginals(&t, &s, Prediction::Noise, 1e-12, ddim(-1.0)).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`Failure::NotFinite`], [`Failure::NotWritten`], [`Failure::NotLinear`],
/// [`Failure::Coefficient`]; [`Failure::Setup`] where the prediction has no target at `from`, or
/// `from` is clean.
pub fn check_marginals<A: Real>(
    from: &NoiseLevel,
    to: &NoiseLevel,
    prediction: Prediction,
    tolerance: f64,
    step: impl FnMut(&[A], &[A], &[A], &mut [A]),
) -> Result<Transition, Failure> {
    // Refuses edges that no step can take.
    StridedPosterior::new(*from, *to, Kappa::Ddim)?;
    let effect = Effect::of((from, to), prediction, tolerance, step)?;
    effect.require("coefficient on x0", effect.data, to.alpha())?;
    let spread = libm::hypot(effect.noise.0, effect.fresh);
    let size = effect.noise.1 + effect.fresh.abs();
    effect.require("standard deviation given x0", (spread, size), to.sigma())?;
    Ok(effect.transition(from))
}

/// Checks the coefficients of a linear step against an exact one, for example that of a
/// [posterior](StridedPosterior::transition).
///
/// `step` as for [`check_marginals`]; `expected` is x_s = state·x_t + data·x₀ + noise·z from level
/// `from` to `to`. Compared are the coefficients on x₀, on ε and the size of that on z, whose sign
/// means nothing.
///
/// ```
/// use diffusion_sampler::{NoiseLevel, Prediction, testing::check_step};
/// use diffusion_sampler::posterior::{Kappa, ReverseVariance, StridedPosterior, Transition};
///
/// let (t, s) = (NoiseLevel::new(2.0, 0.6, 0.8)?, NoiseLevel::new(1.0, 0.8, 0.6)?);
/// let q = StridedPosterior::new(t, s, Kappa::Ddpm)?;
/// // DDPM with "fixed large" variance.
/// let noise = q.reverse_variance(ReverseVariance::FixedLarge)?.sqrt();
/// let expected = Transition { noise, ..q.transition() };
/// let beta = 1.0 - 0.36 / 0.64;
/// check_step(&t, &s, &expected, Prediction::Noise, 1e-12, |x, e, z, out: &mut [f64]| {
///     for i in 0..out.len() {
///         out[i] = (x[i] - beta / 0.8 * e[i]) / (1.0f64 - beta).sqrt() + beta.sqrt() * z[i];
///     }
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// As [`check_marginals`].
pub fn check_step<A: Real>(
    from: &NoiseLevel,
    to: &NoiseLevel,
    expected: &Transition,
    prediction: Prediction,
    tolerance: f64,
    step: impl FnMut(&[A], &[A], &[A], &mut [A]),
) -> Result<(), Failure> {
    let effect = Effect::of((from, to), prediction, tolerance, step)?;
    let (on_data, on_noise) = (
        expected.state * from.alpha() + expected.data,
        expected.state * from.sigma(),
    );
    effect.require("coefficient on x0", effect.data, on_data)?;
    effect.require("coefficient on the noise of x_t", effect.noise, on_noise)?;
    // Where no noise is expected there must be none at all.
    let size = if expected.noise > 0.0 {
        effect.noise.1
    } else {
        0.0
    };
    let fresh = "standard deviation of the fresh noise";
    effect.require(fresh, (effect.fresh.abs(), size), expected.noise)
}

/// Checks both limits of a step with η: η = 1 is the ancestral posterior (DDPM), η = 0 is DDIM and
/// adds no noise.
///
/// `step(eta, x, output, z, out)` writes x_s; otherwise as for [`check_marginals`]. Between
/// adjacent knots of a table η = 1 is Ho, Jain and Abbeel's (2020) posterior with variance β̃.
///
/// ```
/// use diffusion_sampler::{Prediction, schedule::{NoiseSchedule, TableSchedule}};
/// use diffusion_sampler::testing::check_eta_limits;
///
/// let table = TableSchedule::linear(1000, 1e-4, 0.02)?;
/// for knot in [1000, 500, 2, 1] {
///     let (t, s) = (table.level(knot as f64)?, table.level(knot as f64 - 1.0)?);
///     check_eta_limits(&t, &s, Prediction::Noise, 1e-9, |eta, x, e, z, out: &mut [f64]| {
///         // DDIM's own formula (Song, Meng and Ermon 2021, equation 12).
///         let ratio = t.alpha() / s.alpha();
///         let fresh = eta * s.sigma() / t.sigma() * (1.0 - ratio * ratio).sqrt();
///         let kept = (s.sigma().powi(2) - fresh * fresh).max(0.0).sqrt();
///         for i in 0..out.len() {
///             let x0 = (x[i] - t.sigma() * e[i]) / t.alpha();
///             out[i] = s.alpha() * x0 + kept * e[i] + fresh * z[i];
///         }
///     })?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// As [`check_marginals`].
pub fn check_eta_limits<A: Real>(
    from: &NoiseLevel,
    to: &NoiseLevel,
    prediction: Prediction,
    tolerance: f64,
    mut step: impl FnMut(f64, &[A], &[A], &[A], &mut [A]),
) -> Result<(), Failure> {
    for (eta, kappa) in [(0.0, Kappa::Ddim), (1.0, Kappa::Ddpm)] {
        let expected = StridedPosterior::new(*from, *to, kappa)?.transition();
        check_step(
            from,
            to,
            &expected,
            prediction,
            tolerance,
            |x, output, z, out| step(eta, x, output, z, out),
        )?;
    }
    Ok(())
}

/// Checks that noise is added as the level says: x_t = αx₀ + σε, `add_noise` and `q_sample`
/// elsewhere, and the start of image to image.
///
/// `add(data, noise, out)` writes x_t. `tolerance` as for [`check_marginals`].
///
/// ```
/// use diffusion_sampler::{schedule::{NoiseSchedule, TableSchedule}, testing::check_noising};
///
/// let level = TableSchedule::linear(1000, 1e-4, 0.02)?.level(600.0)?;
/// check_noising(&level, 1e-12, |data, noise, out: &mut [f64]| {
///     for i in 0..out.len() {
///         out[i] = level.alpha() * data[i] + level.sigma() * noise[i];
///     }
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// As [`check_marginals`].
pub fn check_noising<A: Real>(
    level: &NoiseLevel,
    tolerance: f64,
    mut add: impl FnMut(&[A], &[A], &mut [A]),
) -> Result<(), Failure> {
    let found = coefficients(tolerance, |[data, noise], out| add(data, noise, out))?;
    let effect = Effect {
        data: (found[0], level.alpha()),
        noise: (found[1], level.sigma()),
        fresh: 0.0,
        ends: (0.0, level.time()),
        tolerance,
    };
    effect.require("coefficient on x0", effect.data, level.alpha())?;
    effect.require("coefficient on the noise", effect.noise, level.sigma())
}

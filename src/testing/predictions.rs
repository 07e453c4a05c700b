//! Checks of conversions between predictions.

use super::Failure;
use super::probe::{ELEMENTS, near, normals, written};
use crate::error::require_positive;
use crate::level::NoiseLevel;
use crate::prediction::{Linear, Prediction};
use crate::real::Real;

/// x_t and the outputs of a model that is right, of two kinds, at one level.
struct Pair<A> {
    x: Vec<A>,
    given: Vec<A>,
    wanted: Vec<f64>,
}

impl<A: Real> Pair<A> {
    fn at(level: &NoiseLevel, from: Prediction, to: Prediction) -> Result<Self, Failure> {
        let (given, wanted) = (from.target(level)?, to.target(level)?);
        let (data, noise) = (normals::<A>(0, ELEMENTS), normals::<A>(1, ELEMENTS));
        let sum = |a: f64, b: f64| {
            let pairs = data.iter().zip(&noise);
            pairs.map(move |(data, noise)| a * data.widen() + b * noise.widen())
        };
        let cast = |values: &mut dyn Iterator<Item = f64>| values.map(A::cast).collect();
        Ok(Self {
            x: cast(&mut sum(level.alpha(), level.sigma())),
            given: cast(&mut sum(given.data, given.noise)),
            wanted: sum(wanted.data, wanted.noise).collect(),
        })
    }
}

/// |a x| + |b o|, which rounding is relative to.
fn size(linear: Linear, x: f64, output: f64) -> f64 {
    (linear.x * x).abs() + (linear.output * output).abs()
}

/// Checks a conversion between two predictions at a level, by states x = αx₀ + σε whose x₀ and ε
/// are known.
///
/// `convert(x, output, out)` writes the prediction `to` from the state and the prediction `from`.
/// `tolerance` is relative to the terms: 1e-12 for f64, 1e-5 for f32.
///
/// ```
/// use diffusion_sampler::{NoiseLevel, Prediction, testing::check_conversion};
///
/// let level = NoiseLevel::new(0.5, 0.8, 0.6)?;
/// check_conversion(&level, Prediction::Velocity, Prediction::Data, 1e-12, |x, v, out: &mut [f64]| {
///     for i in 0..out.len() {
///         out[i] = 0.8 * x[i] - 0.6 * v[i];
///     }
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`Failure::NotFinite`], [`Failure::NotWritten`], [`Failure::Conversion`]; [`Failure::Setup`]
/// where the conversion is not defined at the level, as from ε at α = 0.
pub fn check_conversion<A: Real>(
    level: &NoiseLevel,
    from: Prediction,
    to: Prediction,
    tolerance: f64,
    convert: impl FnOnce(&[A], &[A], &mut [A]),
) -> Result<(), Failure> {
    require_positive("tolerance", tolerance)?;
    let linear = from.convert_to(to, level)?;
    let pair = Pair::at(level, from, to)?;
    let out = written(ELEMENTS, |out| convert(&pair.x, &pair.given, out))?;
    for (index, (found, &expected)) in out.iter().zip(&pair.wanted).enumerate() {
        let size = size(linear, pair.x[index].widen(), pair.given[index].widen());
        let tolerance = tolerance * (size + expected.abs());
        if !near(found.widen(), expected, tolerance) {
            return Err(Failure::Conversion {
                from: from.name(),
                to: to.name(),
                time: level.time(),
                index,
                found: found.widen(),
                expected,
                tolerance,
            });
        }
    }
    Ok(())
}

/// Checks that two conversions undo each other at a level: `there(x, output, out)` from one
/// prediction to the other, and `back` likewise. Both may be wrong in the same way; see
/// [`check_conversion`] for that.
///
/// ```
/// use diffusion_sampler::{NoiseLevel, Prediction, testing::check_round_trip};
///
/// let level = NoiseLevel::new(0.5, 0.8, 0.6)?;
/// let x0 = |x: &[f64], e: &[f64], out: &mut [f64]| {
///     for i in 0..out.len() {
///         out[i] = (x[i] - 0.6 * e[i]) / 0.8;
///     }
/// };
/// let eps = |x: &[f64], x0: &[f64], out: &mut [f64]| {
///     for i in 0..out.len() {
///         out[i] = (x[i] - 0.8 * x0[i]) / 0.6;
///     }
/// };
/// check_round_trip(&level, Prediction::Noise, Prediction::Data, 1e-12, x0, eps)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// As [`check_conversion`].
pub fn check_round_trip<A: Real>(
    level: &NoiseLevel,
    from: Prediction,
    to: Prediction,
    tolerance: f64,
    there: impl FnOnce(&[A], &[A], &mut [A]),
    back: impl FnOnce(&[A], &[A], &mut [A]),
) -> Result<(), Failure> {
    require_positive("tolerance", tolerance)?;
    let (up, down) = (from.convert_to(to, level)?, to.convert_to(from, level)?);
    let pair: Pair<A> = Pair::at(level, from, to)?;
    let middle = written(ELEMENTS, |out| there(&pair.x, &pair.given, out))?;
    let out = written(ELEMENTS, |out| back(&pair.x, &middle, out))?;
    for (index, (found, given)) in out.iter().zip(&pair.given).enumerate() {
        let (x, expected) = (pair.x[index].widen(), given.widen());
        let size = size(down, x, size(up, x, expected)) + expected.abs();
        let tolerance = tolerance * size;
        if !near(found.widen(), expected, tolerance) {
            return Err(Failure::Conversion {
                from: from.name(),
                to: from.name(),
                time: level.time(),
                index,
                found: found.widen(),
                expected,
                tolerance,
            });
        }
    }
    Ok(())
}

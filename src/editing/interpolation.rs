//! Latents between two others.

use ndarray::{Array, ArrayRef, Axis, Dimension, Slice};

use crate::apply::{affine, apply, batch_of};
use crate::error::{Error, require_shape};
use crate::memory::{Copied, Listed};
use crate::real::Real;

/// The angle of two vectors is not told from π where it is nearer than this: f64's rounding of the
/// sum of two opposite unit vectors, over their distance from opposition, is then above 1e-8.
const OPPOSITE: f64 = 1e-8;

/// Spherical interpolation between `a` and `b`, sample by sample along axis 0: (sin((1 − w)θ) a +
/// sin(wθ) b)/sin θ, with θ the angle of the two samples as vectors.
///
/// `weights` holds w, one for the batch or one for each sample: 0 gives `a`, 1 gives `b`, and values
/// outside \[0, 1\] go on along the same great circle. Of two latents of equal norm it keeps the
/// norm, which a model of Gaussian noise expects; a straight line between two independent ones is
/// too short by a factor of √2 in the middle. Shoemake (1985), "Animating Rotation with Quaternion
/// Curves".
///
/// Parallel samples, and samples of which one is 0, have no great circle and need none: they are
/// interpolated on the straight line, which is the limit. Opposite ones have many, so that only w =
/// 0 and w = 1 are determined.
///
/// ```
/// use diffusion_sampler::editing::slerp;
/// use ndarray::array;
///
/// let (a, b) = (array![[1.0f64, 0.0], [2.0, 0.0]], array![[0.0, 1.0], [6.0, 0.0]]);
/// let middle = slerp(&a, &b, &[0.5])?;
/// assert!((middle[[0, 0]] - 0.5f64.sqrt()).abs() < 1e-15);
/// assert_eq!(middle[[1, 0]], 4.0);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::ShapeMismatch`], [`Error::NoSampleAxis`]; [`Error::WrongLength`] unless there is one
/// weight or one for each sample; [`Error::InvalidEntry`] for a weight that is not finite or beyond 1e6, and, with
/// the sample's number, for an angle within 1e-8 of π.
pub fn slerp<A: Real, D: Dimension>(
    a: &ArrayRef<A, D>,
    b: &ArrayRef<A, D>,
    weights: &[f64],
) -> Result<Array<A, D>, Error> {
    interpolate(a, b, weights, |sample, w| {
        let row = |x: &ArrayRef<A, D>| {
            let row = x.slice_axis(Axis(0), Slice::from(sample..=sample));
            let mut row: Vec<f64> = row.into_iter().map(|x| x.widen()).listed()?;
            // Squares of f64s over- and underflow; the angle is the same at any length.
            let most = row.iter().fold(0.0, |most, x| f64::max(most, x.abs()));
            if most > 0.0 {
                row.iter_mut().for_each(|x| *x /= most);
            }
            Ok::<_, Error>(row)
        };
        let (from, to) = (row(a)?, row(b)?);
        let pairs = || from.iter().zip(&to);
        let norm = |square: f64| square.sqrt();
        let (p, q) = pairs().fold((0.0, 0.0), |(p, q), (a, b)| (p + a * a, q + b * b));
        let (p, q) = (norm(p), norm(q));
        if p == 0.0 || q == 0.0 {
            return Ok((1.0 - w, w));
        }
        // From the half angle: exact at both ends, where the arc cosine is not.
        let (difference, sum) = pairs().fold((0.0, 0.0), |(minus, plus), (a, b)| {
            let (u, v) = (a / p, b / q);
            (minus + (u - v) * (u - v), plus + (u + v) * (u + v))
        });
        let angle = 2.0 * libm::atan2(norm(difference), norm(sum));
        if std::f64::consts::PI - angle < OPPOSITE && w != 0.0 && w != 1.0 {
            return Err(Error::InvalidEntry {
                name: "angle of sample",
                index: sample,
                value: angle,
                requirement: "below pi: between opposite vectors there is no one great circle",
            });
        }
        let sine = libm::sin(angle);
        if sine == 0.0 {
            return Ok((1.0 - w, w));
        }
        Ok((
            libm::sin((1.0 - w) * angle) / sine,
            libm::sin(w * angle) / sine,
        ))
    })
}

/// Linear interpolation between `a` and `b` divided by the deviation of the mix, ((1 − w) a +
/// w b)/√((1 − w)² + w²): of two independent standard normal latents it is a standard normal latent.
///
/// `weights` as for [`slerp`], of which this is the usual approximation in high dimension: two
/// independent latents are nearly orthogonal.
///
/// ```
/// use diffusion_sampler::editing::lerp_preserving_variance;
/// use ndarray::array;
///
/// let middle = lerp_preserving_variance(&array![[1.0f64]], &array![[3.0]], &[0.5])?;
/// assert!((middle[[0, 0]] - 8f64.sqrt()).abs() < 1e-15);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
///
/// # Errors
///
/// As [`slerp`], but for the angle.
pub fn lerp_preserving_variance<A: Real, D: Dimension>(
    a: &ArrayRef<A, D>,
    b: &ArrayRef<A, D>,
    weights: &[f64],
) -> Result<Array<A, D>, Error> {
    interpolate(a, b, weights, |_, w| {
        let deviation = libm::hypot(1.0 - w, w);
        Ok(((1.0 - w) / deviation, w / deviation))
    })
}

/// p·a + q·b with (p, q) of every sample.
fn interpolate<A: Real, D: Dimension>(
    a: &ArrayRef<A, D>,
    b: &ArrayRef<A, D>,
    weights: &[f64],
    coefficients: impl Fn(usize, f64) -> Result<(f64, f64), Error>,
) -> Result<Array<A, D>, Error> {
    require_shape("second latent", a.shape(), b.shape())?;
    let (samples, _) = batch_of(a)?;
    if weights.len() != 1 && weights.len() != samples {
        return Err(Error::WrongLength {
            name: "weights",
            expected: samples,
            found: weights.len(),
        });
    }
    crate::error::require_all(
        "weights",
        weights,
        |_, w| w.abs() <= 1e6,
        "finite and at most 1e6 in magnitude",
    )?;
    let mut out = a.copy()?;
    if out.is_empty() {
        return Ok(out);
    }
    let weight = |sample: usize| weights[if weights.len() == 1 { 0 } else { sample }];
    let forms = (0..samples)
        .map(|sample| {
            let (p, q) = coefficients(sample, weight(sample))?;
            Ok(affine(p, q, 0.0))
        })
        .all_listed()?;
    apply(&forms, &mut out, &[b], None)?;
    Ok(out)
}

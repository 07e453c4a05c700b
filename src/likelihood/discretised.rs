//! A Gaussian discretised to the values that a pixel can have.

use std::f64::consts::PI;

use crate::error::{Error, require};

/// −ln P(value) of one pixel under a Gaussian discretised to `bins` values spread evenly over \[−1,
/// 1\]: the mass of the pixel's bin, the outermost bins reaching to infinity (Ho, Jain and Abbeel
/// 2020, section 3.3, with 256 bins).
///
/// Both tails are computed without cancellation, so that far pixels have a large finite cost.
///
/// ```
/// let nats = diffusion_sampler::likelihood::discretised_gaussian_nats(0.5, 0.49, 0.05, 256)?;
/// assert!((nats - 2.79).abs() < 0.01);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::InvalidParameter`] unless `value` lies in \[−1, 1\], |`mean`| ≤ 1e100, `deviation` is
/// finite and at least 1e-50, and there are at least 2 bins.
pub fn discretised_gaussian_nats(
    value: f64,
    mean: f64,
    deviation: f64,
    bins: usize,
) -> Result<f64, Error> {
    require(
        (-1.0..=1.0).contains(&value),
        "pixel value",
        value,
        "in [-1, 1]",
    )?;
    require(mean.abs() <= MAX_MEAN, "mean", mean, "in [-1e100, 1e100]")?;
    require(
        deviation.is_finite() && deviation >= MIN_DEVIATION,
        "deviation",
        deviation,
        "finite and at least 1e-50",
    )?;
    require(bins >= 2, "bins", bins as f64, "at least 2")?;
    let half = 1.0 / (bins - 1) as f64;
    let low = if value - half <= -1.0 {
        f64::NEG_INFINITY
    } else {
        (value - half - mean) / deviation
    };
    let high = if value + half >= 1.0 {
        f64::INFINITY
    } else {
        (value + half - mean) / deviation
    };
    // A bin far narrower than the deviation: its density at the middle, with the second
    // derivative's correction; the difference of two tails would lose it to rounding.
    let (width, middle) = (high - low, 0.5 * (low + high));
    if width * (1.0 + middle.abs()) < 1e-3 {
        let curvature = width * width * (middle * middle - 1.0) / 24.0;
        let log_step = libm::log(2.0 * half) - libm::log(deviation);
        return Ok(0.5 * (middle * middle + libm::log(2.0 * PI))
            - log_step
            - libm::log1p(curvature));
    }
    // The tail on the far side of the mean: differences of small masses, not of numbers close to 1.
    let (near, far) = if low + high >= 0.0 || high == f64::INFINITY && low > 0.0 {
        (low, high)
    } else {
        (-high, -low)
    };
    // 0 − …, not −…: certainty costs 0 nats, not −0.
    Ok(0.0 - (log_upper_tail(near) + libm::log1p(-tail_ratio(near, far))))
}

/// Beyond these the square of the distance in deviations, and with it the cost, would overflow.
const MAX_MEAN: f64 = 1e100;
const MIN_DEVIATION: f64 = 1e-50;

/// ln P(Z > z) of the standard normal.
fn log_upper_tail(z: f64) -> f64 {
    // erfc underflows beyond; there Mills' ratio 1/z(1 − 1/z² + 3/z⁴ − 15/z⁶) has a relative error
    // below 1e-9.
    if z < 25.0 {
        libm::log(0.5 * libm::erfc(z / std::f64::consts::SQRT_2))
    } else {
        let w = 1.0 / (z * z);
        -0.5 * z * z - libm::log(z * (2.0 * PI).sqrt())
            + libm::log1p(-w * (1.0 - w * (3.0 - 15.0 * w)))
    }
}

/// P(Z > far)/P(Z > near).
fn tail_ratio(near: f64, far: f64) -> f64 {
    if far == f64::INFINITY {
        0.0
    } else {
        libm::exp(log_upper_tail(far) - log_upper_tail(near))
    }
}

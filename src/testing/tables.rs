//! Checks of schedules.

use super::Failure;
use super::probe::{near, require_count, require_finite, require_some};
use crate::error::require_positive;
use crate::real::Real;
use crate::schedule::NoiseSchedule;

/// Checks a table of ᾱ = α², `alphas_cumprod` elsewhere: finite, strictly decreasing, in (0, 1),
/// the last in \[0, 1); and, with an `expected` schedule, entry i against its knot i + 1.
///
/// The distance from the expected table is |λ − λ'| with λ = ½ ln(ᾱ/(1 − ᾱ)), half the log
/// signal-to-noise ratio: the measure in which an error matters alike at both ends. Take 1e-9 for a
/// table in f64, 1e-3 for one in f32, whose 1 − ᾱ keeps few digits at the clean end.
///
/// ```
/// use diffusion_sampler::{schedule::TableSchedule, testing::check_alphas_cumprod};
///
/// let cosine = TableSchedule::cosine(1000)?;
/// let f = |i: usize| ((i as f64 / 1000.0 + 0.008) / 1.008 * 1.5707963267948966).cos().powi(2);
/// let mut product = 1.0;
/// let mine: Vec<f64> = (0..1000)
///     .map(|i| {
///         product *= 1.0 - (1.0 - f(i + 1) / f(i)).min(0.999);
///         product
///     })
///     .collect();
/// check_alphas_cumprod(&mine, Some(&cosine), 1e-9)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`Failure::NotFinite`], [`Failure::Entry`]; [`Failure::Length`] for an empty table;
/// [`Failure::Length`] and [`Failure::Level`] where it is not the expected one.
pub fn check_alphas_cumprod<A: Real>(
    alphas_cumprod: &[A],
    expected: Option<&dyn NoiseSchedule>,
    tolerance: f64,
) -> Result<(), Failure> {
    let table = "alphas_cumprod";
    require_some(table, alphas_cumprod.len())?;
    require_finite(table, alphas_cumprod)?;
    let last = alphas_cumprod.len().saturating_sub(1);
    let mut before = 1.0;
    let mut lambdas = Vec::with_capacity(alphas_cumprod.len());
    for (index, value) in alphas_cumprod.iter().map(|value| value.widen()).enumerate() {
        let requirement = if value >= before {
            "less than the entry before it, the first less than 1"
        } else {
            "positive, or 0 at the end"
        };
        if value >= before || value < 0.0 || (value == 0.0 && index != last) {
            return Err(Failure::Entry {
                table,
                index,
                value,
                requirement,
            });
        }
        before = value;
        lambdas.push(half_log_snr(libm::log(value), 1.0 - value));
    }
    is_table(&lambdas, expected, tolerance)
}

/// Checks a table of betas: finite, in (0, 1), the last in (0, 1]; and, with an `expected`
/// schedule, their ᾱ_i = Π_{j≤i}(1 − β_j) as [`check_alphas_cumprod`] does.
///
/// ```
/// use diffusion_sampler::testing::{Failure, check_betas};
///
/// // Cosine betas by integer division: i / steps is 0 for every i.
/// let ratio = |i: usize, steps: usize| (i / steps) as f64;
/// let f = |u: f64| ((u + 0.008) / 1.008 * 1.5707963267948966).cos().powi(2);
/// let betas: Vec<f64> = (0..1000)
///     .map(|i| (1.0 - f(ratio(i + 1, 1000)) / f(ratio(i, 1000))).min(0.999))
///     .collect();
/// let failure = check_betas(&betas, None, 1e-9).unwrap_err();
/// assert!(matches!(failure, Failure::Entry { index: 0, value: 0.0, .. }));
/// ```
///
/// # Errors
///
/// As [`check_alphas_cumprod`].
pub fn check_betas<A: Real>(
    betas: &[A],
    expected: Option<&dyn NoiseSchedule>,
    tolerance: f64,
) -> Result<(), Failure> {
    let table = "betas";
    require_some(table, betas.len())?;
    require_finite(table, betas)?;
    let last = betas.len().saturating_sub(1);
    let mut log = 0.0;
    let mut lambdas = Vec::with_capacity(betas.len());
    for (index, value) in betas.iter().map(|value| value.widen()).enumerate() {
        if !(value > 0.0 && (value < 1.0 || (value == 1.0 && index == last))) {
            return Err(Failure::Entry {
                table,
                index,
                value,
                requirement: "in (0, 1), the last in (0, 1]",
            });
        }
        log += libm::log1p(-value);
        lambdas.push(half_log_snr(log, -libm::expm1(log)));
    }
    is_table(&lambdas, expected, tolerance)
}

/// λ from ln ᾱ and 1 − ᾱ.
fn half_log_snr(log: f64, complement: f64) -> f64 {
    0.5 * (log - libm::log(complement))
}

/// Whether the λ's are those of the knots 1.. of a table.
fn is_table(
    lambdas: &[f64],
    expected: Option<&dyn NoiseSchedule>,
    tolerance: f64,
) -> Result<(), Failure> {
    require_positive("tolerance", tolerance)?;
    let Some(schedule) = expected else {
        return Ok(());
    };
    let knots = schedule.table_len();
    require_count("table", knots.unwrap_or(lambdas.len()), lambdas.len())?;
    for (index, &found) in lambdas.iter().enumerate() {
        let time = (index + 1) as f64;
        let expected = schedule.level(time)?.lambda();
        if !near(found, expected, tolerance) {
            return Err(Failure::Level {
                time,
                quantity: "lambda",
                found,
                expected,
                tolerance,
            });
        }
    }
    Ok(())
}

/// The number of times at which a continuous schedule is checked.
const TIMES: usize = 256;

/// Checks α and σ as functions of time against a schedule: finite, λ = ln(α/σ) strictly decreasing,
/// α and λ the expected ones.
///
/// `level` returns (α, σ) at a time. It is asked at the knots 1..=T of a table, else at 256 times
/// from near 0 up to the last. `tolerance` bounds |λ − λ'|, and |α − α'| relative to α'.
///
/// ```
/// use diffusion_sampler::{schedule::RectifiedFlow, testing::{Failure, check_schedule}};
///
/// let shift = |sigma: f64| 3.0 * sigma / (1.0 + 2.0 * sigma);
/// let flow = RectifiedFlow::shifted(3.0)?;
/// check_schedule(&flow, 1e-9, |t| (1.0 - shift(t), shift(t)))?;
/// // The shift applied twice.
/// let failure = check_schedule(&flow, 1e-9, |t| (1.0 - shift(shift(t)), shift(shift(t))));
/// assert!(matches!(failure, Err(Failure::Level { quantity: "lambda", .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`Failure::NotFinite`], [`Failure::Entry`] where λ does not decrease, [`Failure::Level`].
pub fn check_schedule(
    expected: &dyn NoiseSchedule,
    tolerance: f64,
    mut level: impl FnMut(f64) -> (f64, f64),
) -> Result<(), Failure> {
    require_positive("tolerance", tolerance)?;
    let knots = expected.table_len();
    let times = knots.unwrap_or(TIMES);
    let mut before = f64::INFINITY;
    for index in 1..=times {
        let time = match knots {
            Some(_) => index as f64,
            None => expected.last_time() * (index as f64 / times as f64),
        };
        let own = expected.level(time)?;
        let (alpha, sigma) = level(time);
        require_finite("alpha and sigma", &[alpha, sigma])?;
        // Where α ends at 0, 1 − σ may be rounding, of either sign.
        let ends = own.alpha() == 0.0 && alpha.abs() <= tolerance;
        let alpha = if ends { 0.0 } else { alpha };
        let lambda = libm::log(alpha) - libm::log(sigma);
        for (quantity, found, expected, tolerance) in [
            ("lambda", lambda, own.lambda(), tolerance),
            ("alpha", alpha, own.alpha(), tolerance * own.alpha()),
        ] {
            if !near(found, expected, tolerance) {
                return Err(Failure::Level {
                    time,
                    quantity,
                    found,
                    expected,
                    tolerance,
                });
            }
        }
        if lambda.partial_cmp(&before) != Some(std::cmp::Ordering::Less) {
            return Err(Failure::Entry {
                table: "lambda",
                index,
                value: lambda,
                requirement: "less than at the time before",
            });
        }
        before = lambda;
    }
    Ok(())
}

//! Checks of samples against exact moments.

use super::Failure;
use super::probe::require_finite;
use crate::error::{Error, require};
use crate::oracle::Gaussian;
use crate::real::Real;

/// The rate of false alarms to take where nothing else is wanted: one in 10⁹ checks.
pub const FALSE_ALARM_RATE: f64 = 1e-9;

/// The most dimensions in which all pairs of axes are tested.
const ALL_PAIRS: usize = 32;

/// Checks samples against an exact Gaussian distribution: every mean, variance and correlation.
///
/// `samples` holds n rows of d elements, row-major. Along the axes of `expected` they are
/// standardised, u = Uᵀ(x − m)/√v; then n^½ times the mean of u is tested as a normal, and Σu² of
/// each axis and of (u_j ± u_k)/√2 for each pair (for neighbours only, where d > 32) as χ² with n
/// degrees of freedom. By the exact bounds P(|z| ≥ c) ≤ e^(−c²/2) and P(χ²/n beyond 1 + a) ≤
/// e^(−n(a − ln(1 + a))/2), summed over all tests, correct samples fail with probability at most
/// `error_rate`, for every n: no asymptotics. An axis of variance 0 must be met to rounding.
///
/// With [`Sampler::moments`](crate::Sampler::moments) it compares a sampler with the exact
/// distribution of what it should make; on data that are one point, with q(x_s | x₀).
///
/// ```
/// use diffusion_sampler::{NoiseLevel, oracle::Gaussian};
/// use diffusion_sampler::testing::{FALSE_ALARM_RATE, check_samples};
/// use rand::SeedableRng;
///
/// // One step of somebody's sampler from x₀ = 1, that is N(α, σ²).
/// let level = NoiseLevel::new(0.5, 0.8, 0.6)?;
/// let marginal = Gaussian::isotropic(&[1.0], 0.0)?.at_level(&level)?;
/// let mut rng = rand::rngs::StdRng::seed_from_u64(7);
/// let samples = marginal.sample(10_000, &mut rng)?.into_raw_vec_and_offset().0;
/// check_samples(&samples, &marginal, FALSE_ALARM_RATE)?;
/// let narrow: Vec<f64> = samples.iter().map(|x| 0.8 + 0.9 * (x - 0.8)).collect();
/// println!("{}", check_samples(&narrow, &marginal, FALSE_ALARM_RATE).unwrap_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`Failure::NotFinite`]; [`Failure::Length`] unless there are whole rows, at least one;
/// [`Failure::Moment`], [`Failure::OffPoint`]; [`Failure::Setup`] for a rate outside (0, 1).
pub fn check_samples<A: Real>(
    samples: &[A],
    expected: &Gaussian,
    error_rate: f64,
) -> Result<(), Failure> {
    let valid = error_rate > 0.0 && error_rate < 1.0;
    require(valid, "error rate", error_rate, "in (0, 1)")?;
    require_finite("samples", samples)?;
    let d = expected.mean().len();
    let n = samples.len() / d;
    if n == 0 || n * d != samples.len() {
        return Err(Failure::Length {
            array: "samples",
            expected: n.max(1) * d,
            found: samples.len(),
        });
    }
    let sums = Sums::of(samples, expected)?;
    let tests = sums.tests(expected)?;
    let count = tests.len() as f64;
    for test in tests {
        let probability = (count * test.probability).min(1.0);
        if probability < error_rate {
            return Err(Failure::Moment {
                moment: test.moment,
                axes: test.axes,
                found: test.found,
                expected: test.expected,
                probability,
                error_rate,
            });
        }
    }
    Ok(())
}

/// One moment and a bound on its probability.
struct Test {
    moment: &'static str,
    axes: [usize; 2],
    found: f64,
    expected: f64,
    probability: f64,
}

/// Σu, Σu² of every axis and Σ u_j u_k of pairs.
struct Sums {
    count: f64,
    first: Vec<f64>,
    second: Vec<f64>,
    pairs: Vec<(usize, usize, f64)>,
}

impl Sums {
    fn of<A: Real>(samples: &[A], expected: &Gaussian) -> Result<Self, Failure> {
        let d = expected.mean().len();
        let partner = |j: usize| if d <= ALL_PAIRS { d } else { d.min(j + 2) };
        let deviations: Vec<f64> = expected.variances().iter().map(|v| v.sqrt()).collect();
        let spread = |j: &usize| deviations[*j] > 0.0;
        let pairs = (0..d).filter(spread).flat_map(|j| {
            let others = (j + 1..partner(j)).filter(spread);
            others.map(move |k| (j, k, 0.0))
        });
        let mut sums = Self {
            count: (samples.len() / d) as f64,
            first: vec![0.0; d],
            second: vec![0.0; d],
            pairs: pairs.collect(),
        };
        for (sample, row) in samples.chunks_exact(d).enumerate() {
            sums.add(&standardised((sample, row), expected, &deviations)?);
        }
        Ok(sums)
    }

    fn add(&mut self, u: &[f64]) {
        for (j, &u) in u.iter().enumerate() {
            self.first[j] += u;
            self.second[j] += u * u;
        }
        for (j, k, sum) in &mut self.pairs {
            *sum += u[*j] * u[*k];
        }
    }

    /// All tests; an axis without variance has none, it has been met.
    fn tests(&self, expected: &Gaussian) -> Result<Vec<Test>, Error> {
        let means = expected.to_axes(expected.mean())?;
        let axes = expected.variances().iter().zip(means).enumerate();
        let spread = axes.filter(|(_, (variance, _))| **variance > 0.0);
        Ok(spread
            .flat_map(|(axis, (&variance, mean))| self.along(axis, mean, variance))
            .chain(self.pairs.iter().flat_map(|&pair| self.between(pair)))
            .collect())
    }

    /// The mean and the variance along an axis.
    fn along(&self, axis: usize, mean: f64, variance: f64) -> [Test; 2] {
        let z = self.first[axis] / self.count.sqrt();
        let ratio = self.second[axis] / self.count;
        let test = |moment, found, expected, probability| Test {
            moment,
            axes: [axis; 2],
            found,
            expected,
            probability,
        };
        let sample_mean = mean + variance.sqrt() * self.first[axis] / self.count;
        let chance = chi_squared(self.count, ratio);
        [
            test("mean", sample_mean, mean, libm::exp(-0.5 * z * z)),
            test("variance", variance * ratio, variance, chance),
        ]
    }

    /// The variances of (u_j ± u_k)/√2, which are 1.
    fn between(&self, (j, k, product): (usize, usize, f64)) -> [Test; 2] {
        let test = |moment, sign: f64| {
            let sum = 0.5 * (self.second[j] + self.second[k]) + sign * product;
            Test {
                moment,
                axes: [j, k],
                found: sum / self.count,
                expected: 1.0,
                probability: chi_squared(self.count, sum / self.count),
            }
        };
        [
            test("variance of the sum", 1.0),
            test("variance of the difference", -1.0),
        ]
    }
}

/// A bound on the probability that χ²_n/n lies as far from 1 as `ratio`, on either side.
fn chi_squared(n: f64, ratio: f64) -> f64 {
    // A sum of squares that is 0 may come out below it.
    let ratio = ratio.max(0.0);
    2.0 * libm::exp(-0.5 * n * (ratio - 1.0 - libm::log(ratio)))
}

/// Uᵀ(x − m)/√v of one row; 0 along an axis without variance, which must be met.
fn standardised<A: Real>(
    (sample, row): (usize, &[A]),
    expected: &Gaussian,
    deviations: &[f64],
) -> Result<Vec<f64>, Failure> {
    let pairs = row.iter().zip(expected.mean());
    let centred: Vec<f64> = pairs.map(|(x, m)| x.widen() - m).collect();
    let size = row.iter().map(|x| x.widen().abs()).fold(1.0, f64::max);
    let rounding = A::epsilon().widen().sqrt() * size;
    let mut u = expected.to_axes(&centred)?;
    for (axis, (value, &deviation)) in u.iter_mut().zip(deviations).enumerate() {
        if deviation > 0.0 {
            *value /= deviation;
        } else if value.abs() <= rounding {
            *value = 0.0;
        } else {
            return Err(Failure::OffPoint {
                sample,
                axis,
                deviation: *value,
                tolerance: rounding,
            });
        }
    }
    Ok(u)
}

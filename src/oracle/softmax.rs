//! Log-sum-exp: responsibilities and class posteriors from unnormalised log-probabilities, safe
//! against underflow.
//!
//! The logits are finite (the ranges in `check` see to that) and there is at least one, so that the
//! largest term of every sum is exactly 1.

use crate::error::Error;
use crate::memory::Listed;

/// Responsibilities below this are left out of a sum over components.
pub(super) const NEGLIGIBLE: f64 = 1e-30;

fn max(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::NEG_INFINITY, f64::max)
}

/// logits ← e^l / Σ e^l; returns ln Σ e^l.
pub(super) fn softmax(logits: &mut [f64]) -> f64 {
    let largest = max(logits.iter().copied());
    let mut sum = 0.0;
    for l in logits.iter_mut() {
        *l = libm::exp(*l - largest);
        sum += *l;
    }
    for l in logits.iter_mut() {
        *l /= sum;
    }
    largest + libm::log(sum)
}

/// ln Σ e^l.
pub(super) fn log_sum_exp(logits: &[f64]) -> f64 {
    let largest = max(logits.iter().copied());
    let sum: f64 = logits.iter().map(|l| libm::exp(l - largest)).sum();
    largest + libm::log(sum)
}

/// ln p(y) for every label; −∞ for a label that nothing carries.
pub(super) fn class_log_posterior(
    logits: &[f64],
    labels: &[usize],
    count: usize,
) -> Result<Vec<f64>, Error> {
    let mut largest = crate::memory::repeated(f64::NEG_INFINITY, count)?;
    for (&l, &label) in logits.iter().zip(labels) {
        largest[label] = largest[label].max(l);
    }
    let mut sums = crate::memory::repeated(0.0, count)?;
    for (&l, &label) in logits.iter().zip(labels) {
        sums[label] += libm::exp(l - largest[label]);
    }
    let top = max(logits.iter().copied());
    let total: f64 = logits.iter().map(|l| libm::exp(l - top)).sum();
    largest
        .iter()
        .zip(&sums)
        .map(|(&m, &sum)| {
            if sum > 0.0 {
                (m - top) + libm::log(sum / total)
            } else {
                f64::NEG_INFINITY
            }
        })
        .listed()
}

/// logits ← d ln p(y)/dl: the responsibility within the class minus the one overall.
///
/// Within the class that difference is r_y(1 − P_y), with 1 − P_y summed over the *other* classes:
/// it keeps its digits when the class is all but certain. The caller makes sure that something
/// carries the label.
pub(super) fn class_slopes(logits: &mut [f64], labels: &[usize], label: usize) {
    let top = max(logits.iter().copied());
    let in_class = |k: usize| labels[k] == label;
    let class_top = max((0..logits.len())
        .filter(|&k| in_class(k))
        .map(|k| logits[k]));
    let (mut total, mut rest, mut class) = (0.0, 0.0, 0.0);
    for (k, l) in logits.iter().enumerate() {
        let weight = libm::exp(l - top);
        total += weight;
        if in_class(k) {
            class += libm::exp(l - class_top);
        } else {
            rest += weight;
        }
    }
    for (k, l) in logits.iter_mut().enumerate() {
        *l = if labels[k] == label {
            libm::exp(*l - class_top) / class * (rest / total)
        } else {
            -libm::exp(*l - top) / total
        };
    }
}

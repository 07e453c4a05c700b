//! Checks of samplers under batching, and of their names.

use super::Failure;
use super::probe::{require_count, require_finite, require_some};
use crate::real::Real;

/// Checks that a sample does not depend on the batch in which it is computed: the same bits whole,
/// again, in two parts, one by one, backwards, and whole once more.
///
/// `run(samples)` computes the samples with these numbers (seeds, places in a larger batch) as one
/// batch, in this order, and returns them row by row. Noise drawn in the order of the batch, a
/// quantile or a standard deviation pooled over it, and state that a call leaves behind show here.
///
/// ```
/// use diffusion_sampler::{KeyedNoise, noise::{NoiseKey, NoiseSource, Stream}};
/// use diffusion_sampler::testing::{Failure, check_batching};
/// use rand::{Rng, SeedableRng, rngs::StdRng};
///
/// // Noise keyed by the sample's number.
/// check_batching(5, |samples| {
///     let mut out = vec![0.0f32; samples.len() * 3];
///     for (&sample, row) in samples.iter().zip(out.chunks_exact_mut(3)) {
///         KeyedNoise::new(7).fill(NoiseKey::new(sample, 0, Stream::Start), 0, row);
///     }
///     out
/// })?;
/// // Noise in the order of the batch.
/// let failure = check_batching(5, |samples| {
///     let mut rng = StdRng::seed_from_u64(7);
///     (0..samples.len() * 3).map(|_| rng.random::<f32>()).collect()
/// });
/// assert!(matches!(failure, Err(Failure::Batch { .. })));
/// # Ok::<(), Failure>(())
/// ```
///
/// # Errors
///
/// [`Failure::NotFinite`], [`Failure::Batch`]; [`Failure::Length`] for no samples, and for samples
/// without elements.
pub fn check_batching<A: Real>(
    samples: usize,
    mut run: impl FnMut(&[u64]) -> Vec<A>,
) -> Result<(), Failure> {
    require_some("samples", samples)?;
    let all: Vec<u64> = (0..samples as u64).collect();
    let whole = run(&all);
    require_finite("samples", &whole)?;
    let d = whole.len() / samples;
    require_count("samples", d.max(1) * samples, whole.len())?;
    let backwards: Vec<u64> = all.iter().rev().copied().collect();
    let (first, second) = all.split_at(samples.div_ceil(3));
    let again: [&[u64]; 1] = [&all];
    let single: Vec<&[u64]> = all.chunks(1).collect();
    let batches: [(&'static str, &[&[u64]]); 5] = [
        ("the same batch again", &again),
        ("one of two batches", &[first, second]),
        ("a batch of one", &single),
        ("the batch backwards", &[&backwards]),
        ("the same batch at the end", &again),
    ];
    for (batch, parts) in batches {
        for part in parts.iter().filter(|part| !part.is_empty()) {
            let out = run(part);
            require_count("samples", d * part.len(), out.len())?;
            same_rows(batch, part, &out, &whole, 0.0)?;
        }
    }
    Ok(())
}

/// Whether the rows of `out`, which are those of `part`, are those of `whole`: to the bit, or to a
/// tolerance relative to the largest value.
pub(super) fn same_rows<A: Real>(
    batch: &'static str,
    part: &[u64],
    out: &[A],
    whole: &[A],
    tolerance: f64,
) -> Result<(), Failure> {
    let d = out.len() / part.len().max(1);
    let largest = whole
        .iter()
        .fold(0.0, |top: f64, v| top.max(v.widen().abs()));
    for (row, &sample) in part.iter().enumerate() {
        for element in 0..d {
            let found = out[row * d + element].widen();
            let expected = whole[sample as usize * d + element].widen();
            let same = found.to_bits() == expected.to_bits()
                || (tolerance > 0.0 && (found - expected).abs() <= tolerance * largest);
            if !same {
                return Err(Failure::Batch {
                    batch,
                    sample: sample as usize,
                    element,
                    whole: expected,
                    found,
                });
            }
        }
    }
    Ok(())
}

/// Checks that samplers of different names are different: no two give the same result to the bit.
///
/// A name that silently falls back to another shows here. Take a model and a number of steps at
/// which all of them differ: at least three steps, and data that are not one point.
///
/// ```
/// use diffusion_sampler::testing::{Failure, check_distinct};
///
/// // An unknown name silently becomes Euler.
/// let run = |name: &str| match name {
///     "heun" => vec![0.25f32],
///     _ => vec![0.5],
/// };
/// check_distinct(&["euler", "heun"], run)?;
/// let failure = check_distinct(&["euler", "heun", "dpmpp_3m"], run).unwrap_err();
/// assert_eq!(failure.to_string(), "\"euler\" and \"dpmpp_3m\" give the same result to the bit");
/// # Ok::<(), Failure>(())
/// ```
///
/// # Errors
///
/// [`Failure::NotFinite`], [`Failure::SameResult`]; [`Failure::Length`] for fewer than two names.
pub fn check_distinct<A: Real>(
    names: &[&str],
    mut run: impl FnMut(&str) -> Vec<A>,
) -> Result<(), Failure> {
    require_count("names", names.len().max(2), names.len())?;
    let mut seen: Vec<(&str, Vec<A>)> = Vec::with_capacity(names.len());
    for &name in names {
        let out = run(name);
        require_finite("samples", &out)?;
        if let Some((first, _)) = seen.iter().find(|(_, before)| *before == out) {
            return Err(Failure::SameResult {
                first: (*first).to_owned(),
                second: name.to_owned(),
            });
        }
        seen.push((name, out));
    }
    Ok(())
}

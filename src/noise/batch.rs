//! A flat batch: rows of equal length one after the other.

use super::{Demand, Interval, NoiseKey, NormalElement, PureNoise};
use crate::error::{Error, require_length};

/// The length of a row.
pub(super) fn per_sample(samples: usize, len: usize) -> Result<usize, Error> {
    let per_sample = len.checked_div(samples).unwrap_or(0);
    require_length("normals of a batch", per_sample * samples, len)?;
    Ok(per_sample)
}

/// What such a batch asks for. One that does not begin with row 0 is part of another.
pub(super) fn demand(
    key: NoiseKey,
    (samples, elements): (usize, usize),
    intervals: &[Interval],
) -> Demand<'_> {
    let step = u64::from(key.step);
    Demand {
        rows: key.row..key.row.saturating_add(samples as u64),
        whole: key.row == 0,
        ..Demand::batch(samples, elements, step..step + 1, key.stream).with_intervals(intervals)
    }
}

/// Calls `fill` with key, first element and room for each row's part of a flat batch; `key` is that
/// of its first row, and `out` begins with its element `start`.
pub(super) fn rows<A>(
    key: NoiseKey,
    per_sample: usize,
    start: usize,
    mut out: &mut [A],
    mut fill: impl FnMut(NoiseKey, u64, &mut [A]),
) {
    let mut at = start;
    while !out.is_empty() {
        let (row, first) = (at / per_sample, at % per_sample);
        let (part, rest) = out.split_at_mut(out.len().min(per_sample - first));
        at += part.len();
        let row = key.row.wrapping_add(row as u64);
        fill(NoiseKey { row, ..key }, first as u64, part);
        out = rest;
    }
}

/// Fills a flat batch from a source that has it: by the threads of the pool where that is worth it.
pub(super) fn fill<A: NormalElement>(
    source: &(impl PureNoise<A> + ?Sized),
    key: NoiseKey,
    per_sample: usize,
    out: &mut [A],
) {
    let part = |start, out: &mut [A]| {
        rows(key, per_sample, start, out, |key, first, row| {
            source.draw(key, first, row);
        });
    };
    #[cfg(feature = "rayon")]
    if threads::fill(out, part) {
        return;
    }
    part(0, out);
}

#[cfg(feature = "rayon")]
mod threads {
    use rayon::prelude::*;

    /// Shorter batches stay with one thread, as the kernel's updates with noise do.
    const WORTH: usize = 128 << 10;

    /// The elements of a piece: whole blocks of normals.
    const PIECE: usize = WORTH / 8;

    /// Calls `part` with the first element of each piece and the piece. Returns whether it did.
    pub(super) fn fill<A: Send>(out: &mut [A], part: impl Fn(usize, &mut [A]) + Sync) -> bool {
        if out.len() < WORTH || rayon::current_num_threads() == 1 {
            return false;
        }
        let pieces = out.par_chunks_mut(PIECE).enumerate();
        pieces.for_each(|(index, piece)| part(index * PIECE, piece));
        true
    }
}

//! A flat batch as rows and their keys.

use super::{Demand, Interval, NoiseKey};
use crate::error::{Error, require_length};

/// The rows of a flat batch with their keys, from `key` on.
pub(super) fn rows<A>(
    key: NoiseKey,
    samples: usize,
    out: &mut [A],
) -> Result<impl Iterator<Item = (NoiseKey, &mut [A])>, Error> {
    let per_sample = out.len().checked_div(samples).unwrap_or(0);
    require_length("normals of a batch", per_sample * samples, out.len())?;
    let rows = out.chunks_exact_mut(per_sample.max(1));
    Ok((0u64..).zip(rows).map(move |(index, row)| {
        let row_key = NoiseKey {
            row: key.row.wrapping_add(index),
            ..key
        };
        (row_key, row)
    }))
}

/// What such a batch asks for. One that does not begin with row 0 is part of another.
pub(super) fn demand(key: NoiseKey, samples: usize, intervals: &[Interval]) -> Demand<'_> {
    let step = u64::from(key.step);
    Demand {
        rows: key.row..key.row.saturating_add(samples as u64),
        whole: key.row == 0,
        ..Demand::batch(samples, step..step + 1, key.stream).with_intervals(intervals)
    }
}

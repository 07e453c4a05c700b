//! Normalised rows, scaled and shifted by their condition.

use crate::architecture::{NORM_FLOOR, WIDTH};

/// The partial sums of a row's squares: a fixed number of them, so that the order of the additions
/// is the same in vector registers of any width.
const LANES: usize = 16;

/// to = from/√(mean(from²) + floor)·(1 + scale) + shift for one row; `modulation` is scale, then
/// shift.
pub(crate) fn modulated(from: &[f32], modulation: &[f32], to: &mut [f32]) {
    let (scale, shift) = modulation.split_at(modulation.len() / 2);
    let factor = 1.0 / (mean_square(from) + NORM_FLOOR).sqrt();
    let rows = from.iter().zip(scale).zip(shift);
    for (to, ((from, scale), shift)) in to.iter_mut().zip(rows) {
        *to = from * factor * (1.0 + scale) + shift;
    }
}

fn mean_square(row: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    for chunk in row.chunks_exact(LANES) {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += value * value;
        }
    }
    sums.iter().sum::<f32>() / row.len() as f32
}

const _: () = assert!(WIDTH.is_multiple_of(LANES), "no remainder");

//! Which normal is which: the map from a row's elements to Philox's counters and words.
//!
//! A row is cut into blocks. A block is [`LANES`] consecutive counters, one a SIMD lane, and as
//! many rows of lanes as one counter's four words yield normals: 4 rows in f32 (64 elements), 2 in
//! f64 (32 elements). Element `e` of a row is
//!
//! ```text
//! block e / (16·rows),   row (e mod 16·rows) / 16,   lane e mod 16,   counter 16·block + lane,
//! ```
//!
//! and rows 2p and 2p + 1 are the cosine and the sine of the p-th pair of uniforms. So whole
//! vectors of words become whole vectors of consecutive elements, without a shuffle, and any
//! element can be had for the cost of one block.
//!
//! Tried and rejected (64 Ki f32, AVX2): 4 lanes take 1.8 times as long; 32 or 64 lanes gain
//! nothing and make the smallest piece larger; 8 lanes are as fast on AVX2, but leave AVX-512 one
//! chain of dependent multiplications at a time. Pieces of a few elements, the rows of
//! two-dimensional toys, do get 8 lanes: see [`Fill`].

use rand::Rng;

use super::block::{Block, LANES, ROWS_F32, ROWS_F64, keyed_block};
use super::buffers::Buffers;
use super::torch::TorchElement;
use crate::simd::{Task, dispatch_wide};

/// Lanes computed for a piece that needs no more.
const FEW: usize = 8;

/// An element type that normals can be drawn in: `f32` or `f64`.
///
/// The two are different draws: an `f32` normal takes two words of 32 bits, an `f64` normal two
/// words of 64 bits, and neither is the rounding of the other. They reach 6.5 and 8.5 standard
/// deviations.
///
/// The trait is sealed.
pub trait NormalElement: Copy + Send + Sync + TorchElement + sealed::Sealed {
    /// Writes the elements `first..` of the row of `counter` to `out`.
    #[doc(hidden)]
    fn keyed(key: u64, counter: [u32; 3], first: u64, out: &mut [Self]);

    /// Writes the next normals of a generator to `out`.
    #[doc(hidden)]
    fn drawn<R: Rng>(rng: &mut R, buffers: &mut Buffers, out: &mut [Self]);

    /// This value as an `f64`, exactly.
    #[doc(hidden)]
    fn wide(self) -> f64;

    /// Rounds an `f64` to this type.
    #[doc(hidden)]
    fn narrow(value: f64) -> Self;
}

impl NormalElement for f32 {
    fn keyed(key: u64, counter: [u32; 3], first: u64, out: &mut [Self]) {
        fill::<Self, ROWS_F32>(key, counter, first, out);
    }

    fn drawn<R: Rng>(rng: &mut R, buffers: &mut Buffers, out: &mut [Self]) {
        buffers.singles.fill(rng, out);
    }

    #[inline(always)]
    fn wide(self) -> f64 {
        self.into()
    }

    #[inline(always)]
    fn narrow(value: f64) -> Self {
        value as Self
    }
}

impl NormalElement for f64 {
    fn keyed(key: u64, counter: [u32; 3], first: u64, out: &mut [Self]) {
        fill::<Self, ROWS_F64>(key, counter, first, out);
    }

    fn drawn<R: Rng>(rng: &mut R, buffers: &mut Buffers, out: &mut [Self]) {
        buffers.doubles.fill(rng, out);
    }

    #[inline(always)]
    fn wide(self) -> f64 {
        self
    }

    #[inline(always)]
    fn narrow(value: f64) -> Self {
        value
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// Writes the elements `first..` of a row.
///
/// The counter numbers 2³² times 4 words. A row that goes beyond (16 Gi elements of f32, 8 Gi of
/// f64: 64 GiB) is continued with the key of another seed.
fn fill<A: Block<ROWS>, const ROWS: usize>(
    key: u64,
    counter: [u32; 3],
    mut first: u64,
    mut out: &mut [A],
) {
    let span = (ROWS as u64) << 32;
    while !out.is_empty() {
        let (turn, start) = (first / span, first % span);
        let length = usize::try_from(span - start).map_or(out.len(), |left| left.min(out.len()));
        let (piece, rest) = out.split_at_mut(length);
        dispatch_wide(Fill {
            // The golden ratio's multiple: odd, and far from seeds that people choose.
            key: key.wrapping_add(turn.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
            counter,
            first: start,
            out: piece,
        });
        first = first.wrapping_add(length as u64);
        out = rest;
    }
}

/// The elements `first..` of a row, all of them within the reach of one key.
struct Fill<'a, A, const ROWS: usize> {
    key: u64,
    counter: [u32; 3],
    first: u64,
    out: &'a mut [A],
}

impl<A: Block<ROWS>, const ROWS: usize> Task for Fill<'_, A, ROWS> {
    type Output = ();

    /// Whole blocks are written where they belong. For a part of a block, the block is computed
    /// aside, or `FEW` of its lanes where the part lies within those of one row.
    #[inline(always)]
    fn run(self) {
        let Self {
            key,
            counter,
            first,
            mut out,
        } = self;
        let size = ROWS * LANES;
        let (mut block, mut offset) = (first / size as u64, (first % size as u64) as usize);
        while !out.is_empty() {
            if offset == 0 && out.len() >= size {
                let (lanes, rest) = out.as_chunks_mut::<LANES>();
                let (blocks, rows) = lanes.as_chunks_mut::<ROWS>();
                for whole in blocks {
                    keyed_block(key, counter, block * LANES as u64, whole);
                    block += 1;
                }
                // What is left of a block: whole rows of it, and then lanes.
                let left = rows.len() * LANES + rest.len();
                let done = out.len() - left;
                out = &mut out[done..];
                continue;
            }
            let length = out.len().min(size - offset);
            let (piece, rest) = out.split_at_mut(length);
            let lane = offset % LANES;
            let low = lane - lane % FEW;
            if lane + length <= low + FEW {
                let mut part = [[A::default(); FEW]; ROWS];
                keyed_block(key, counter, block * LANES as u64 + low as u64, &mut part);
                piece.copy_from_slice(&part[offset / LANES][lane - low..][..length]);
            } else {
                let mut part = [[A::default(); LANES]; ROWS];
                keyed_block(key, counter, block * LANES as u64, &mut part);
                piece.copy_from_slice(&part.as_flattened()[offset..][..length]);
            }
            block += 1;
            offset = 0;
            out = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::box_muller::{pair_f32, pair_f64};
    use super::super::philox::philox4x32_10;
    use super::*;
    use crate::simd::at_each_level;
    use proptest::prelude::*;

    /// Element by element, as the module's description says.
    fn naive_f32(key: u64, [c1, c2, c3]: [u32; 3], element: u64) -> f32 {
        let (block, row, lane) = (element / 64, element % 64 / 16, element % 16);
        let counter = [(16 * block + lane) as u32, c1, c2, c3].map(u64::from);
        let words = philox4x32_10(counter, [key as u32, (key >> 32) as u32]).map(|w| w as u32);
        let pair = row as usize / 2;
        pair_f32(words[2 * pair], words[2 * pair + 1])[row as usize % 2]
    }

    fn naive_f64(key: u64, [c1, c2, c3]: [u32; 3], element: u64) -> f64 {
        let (block, row, lane) = (element / 32, element % 32 / 16, element % 16);
        let counter = [(16 * block + lane) as u32, c1, c2, c3].map(u64::from);
        let [a, b, c, d] =
            philox4x32_10(counter, [key as u32, (key >> 32) as u32]).map(|w| u64::from(w as u32));
        pair_f64(a | b << 32, c | d << 32)[row as usize]
    }

    fn agree<A: NormalElement + Default + std::fmt::Debug + Into<f64>>(
        naive: fn(u64, [u32; 3], u64) -> A,
        key: u64,
        counter: [u32; 3],
        first: u64,
        length: usize,
    ) {
        let bits = |v: A| Into::<f64>::into(v).to_bits();
        let expected: Vec<u64> = (0..length as u64)
            .map(|i| bits(naive(key, counter, first + i)))
            .collect();
        at_each_level(|level| {
            let mut out = vec![A::default(); length];
            A::keyed(key, counter, first, &mut out);
            let out: Vec<u64> = out.into_iter().map(bits).collect();
            assert_eq!(out, expected, "{level:?}");
        });
    }

    proptest! {
        #![proptest_config(crate::simd::cases(256))]
        #[test]
        fn any_piece_at_any_level_equals_the_naive_map(
            key: u64,
            counter: [u32; 3],
            first in prop_oneof![0u64..200, 0u64..1 << 33, Just((1 << 33) - 100)],
            length in 0usize..300,
        ) {
            let first = first.min((1 << 33) - length as u64);
            agree(naive_f32, key, counter, first, length);
            agree(naive_f64, key, counter, first, length);
        }
    }

    #[test]
    fn a_row_longer_than_the_counter_goes_on_with_another_key() {
        let counter = [1, 2, 3];
        let mut across = [0f32; 200];
        f32::keyed(7, counter, (1 << 34) - 100, &mut across);
        let (mut before, mut after, mut start) = ([0f32; 100], [0f32; 100], [0f32; 100]);
        f32::keyed(7, counter, (1 << 34) - 100, &mut before);
        f32::keyed(7, counter, 1 << 34, &mut after);
        f32::keyed(7, counter, 0, &mut start);
        assert_eq!(across[..100], before);
        assert_eq!(across[100..], after);
        assert!(after.iter().zip(start).all(|(&a, b)| a != b));

        // The last elements that an index can name, and beyond: no panic.
        let mut last = [0f64; 100];
        f64::keyed(7, counter, u64::MAX - 10, &mut last);
        assert!(last.iter().all(|v| v.is_finite()));
    }
}

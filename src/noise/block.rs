//! A block of normals: whole vectors of words become whole vectors of normals.

use super::box_muller::{pair_f32, pair_f64};
use super::philox::philox4x32_10;

/// Counters in a block. A change changes every number that comes out.
pub(super) const LANES: usize = 16;

/// Rows of lanes in a block of f32: four words make four normals.
pub(super) const ROWS_F32: usize = 4;

/// Rows of lanes in a block of f64: four words make two normals.
pub(super) const ROWS_F64: usize = 2;

/// A block of normals, `ROWS` rows of lanes, from four words a lane.
pub(super) trait Block<const ROWS: usize>: Copy + Default {
    /// `words` gives a lane's four words, each in the low half of a `u64`.
    ///
    /// Words first, then normals: two short loops are vectorised, each in its own width, where one
    /// long one is not.
    fn block<const N: usize>(words: impl Fn(usize) -> [u64; 4], out: &mut [[Self; N]; ROWS]);
}

impl Block<ROWS_F32> for f32 {
    #[inline(always)]
    fn block<const N: usize>(words: impl Fn(usize) -> [u64; 4], out: &mut [[Self; N]; ROWS_F32]) {
        let [mut u0, mut v0, mut u1, mut v1] = [[0u32; N]; 4];
        for lane in 0..N {
            let [a, b, c, d] = words(lane);
            (u0[lane], v0[lane]) = (a as u32, b as u32);
            (u1[lane], v1[lane]) = (c as u32, d as u32);
        }
        let [cos0, sin0, cos1, sin1] = out;
        for lane in 0..N {
            [cos0[lane], sin0[lane]] = pair_f32(u0[lane], v0[lane]);
        }
        for lane in 0..N {
            [cos1[lane], sin1[lane]] = pair_f32(u1[lane], v1[lane]);
        }
    }
}

impl Block<ROWS_F64> for f64 {
    #[inline(always)]
    fn block<const N: usize>(words: impl Fn(usize) -> [u64; 4], out: &mut [[Self; N]; ROWS_F64]) {
        const LOW: u64 = 0xFFFF_FFFF;
        let [mut u, mut v] = [[0u64; N]; 2];
        for lane in 0..N {
            let [a, b, c, d] = words(lane);
            u[lane] = (a & LOW) | (b << 32);
            v[lane] = (c & LOW) | (d << 32);
        }
        let [cos, sin] = out;
        for lane in 0..N {
            [cos[lane], sin[lane]] = pair_f64(u[lane], v[lane]);
        }
    }
}

/// The normals of `N` counters from `index` on, which is below 2³².
#[inline(always)]
pub(super) fn keyed_block<A: Block<ROWS>, const ROWS: usize, const N: usize>(
    key: u64,
    counter: [u32; 3],
    index: u64,
    out: &mut [[A; N]; ROWS],
) {
    let key = [key as u32, (key >> 32) as u32];
    let [c1, c2, c3] = counter.map(u64::from);
    A::block(
        |lane| {
            // In 64 bits, though it fits into 32: else the vector code begins with a widening
            // shuffle.
            philox4x32_10([index + lane as u64, c1, c2, c3], key)
        },
        out,
    );
}

//! The normals of a generator that were made and not yet requested.

use rand::Rng;

use super::block::{Block, LANES, ROWS_F32, ROWS_F64};
use crate::simd::{Task, dispatch_wide};

/// The normals that were made and not yet requested.
#[derive(Clone, Debug, Default)]
pub struct Buffers {
    pub(super) singles: Buffer<f32, ROWS_F32>,
    pub(super) doubles: Buffer<f64, ROWS_F64>,
}

/// The last block of normals of one element type.
#[derive(Clone, Debug)]
pub(super) struct Buffer<A, const ROWS: usize> {
    block: [[A; LANES]; ROWS],
    used: usize,
}

impl<A: Block<ROWS>, const ROWS: usize> Default for Buffer<A, ROWS> {
    fn default() -> Self {
        Self {
            block: [[A::default(); LANES]; ROWS],
            used: ROWS * LANES,
        }
    }
}

impl<A: Block<ROWS>, const ROWS: usize> Buffer<A, ROWS> {
    /// Writes the next normals to `out`: those that are left, then whole blocks in place, then part
    /// of a new one.
    pub(super) fn fill<R: Rng>(&mut self, rng: &mut R, out: &mut [A]) {
        let out = self.take(out);
        let (lanes, rest) = out.as_chunks_mut::<LANES>();
        let (blocks, rows) = lanes.as_chunks_mut::<ROWS>();
        for block in blocks {
            draw(rng, block);
        }
        if rows.is_empty() && rest.is_empty() {
            return;
        }
        draw(rng, &mut self.block);
        self.used = 0;
        self.take(rows.as_flattened_mut());
        self.take(rest);
    }

    /// Writes what is left to the front of `out`; returns the part that is still wanted.
    fn take<'a>(&mut self, out: &'a mut [A]) -> &'a mut [A] {
        let left = &self.block.as_flattened()[self.used..];
        let (taken, wanted) = out.split_at_mut(left.len().min(out.len()));
        taken.copy_from_slice(&left[..taken.len()]);
        self.used += taken.len();
        wanted
    }
}

fn draw<A: Block<ROWS>, const ROWS: usize>(rng: &mut impl Rng, out: &mut [[A; LANES]; ROWS]) {
    let mut words = [[0; LANES]; 2];
    for word in words.as_flattened_mut() {
        *word = rng.next_u64();
    }
    dispatch_wide(Drawn { words: &words, out });
}

/// A block from a generator's words: two `u64` a lane, each of two words, the lower half first.
struct Drawn<'a, A, const ROWS: usize> {
    words: &'a [[u64; LANES]; 2],
    out: &'a mut [[A; LANES]; ROWS],
}

impl<A: Block<ROWS>, const ROWS: usize> Task for Drawn<'_, A, ROWS> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        A::block(
            |lane| {
                let [a, b] = [self.words[0][lane], self.words[1][lane]];
                [a, a >> 32, b, b >> 32]
            },
            self.out,
        );
    }
}

//! What an update reads: slices of its own elements, or of a model's shorter ones.

use std::ops::Range;

use super::slices::Operands;
use crate::real::Real;

/// A slice that an update reads.
pub trait Input<A: Real>: Copy + Send + Sync {
    /// A slice of nothing.
    const EMPTY: Self;

    /// A range of it.
    fn part(self, range: Range<usize>) -> Self;

    /// One element of it.
    fn at(self, index: usize) -> A;

    /// Applies a form to slices, of which the inputs are of this kind. Returns whether all that came
    /// out is finite.
    fn apply(operands: Operands<'_, A, Self>) -> bool;
}

impl<A: Real> Input<A> for &[A] {
    const EMPTY: Self = &[];

    #[inline(always)]
    fn part(self, range: Range<usize>) -> Self {
        &self[range]
    }

    #[inline(always)]
    fn at(self, index: usize) -> A {
        self[index]
    }

    #[inline(always)]
    fn apply(operands: Operands<'_, A, Self>) -> bool {
        A::update(operands)
    }
}

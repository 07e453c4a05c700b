//! A stage's outputs: where they are, and how they combine.

use ndarray::{ArrayRef, Dimension};

use crate::element::ModelElement;
use crate::guidance::{Combination, Guidance};
use crate::real::Real;

/// How the outputs combine.
#[derive(Clone, Copy)]
pub(super) enum Combine<'a> {
    /// As a form of guidance says, for each sample.
    By(&'a dyn Guidance),
    /// By these: one for the batch, or one for each sample.
    Given(&'a [Combination]),
}

/// Where a stage's outputs are.
pub(super) enum Outputs<'a, O, D> {
    /// In the machine's own buffer: so many.
    Buffer(usize),
    /// With the caller.
    Told(&'a [&'a ArrayRef<O, D>]),
    /// So many with the caller, which nothing but the update reads.
    Unread(usize),
}

impl<O, D> Clone for Outputs<'_, O, D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<O, D> Copy for Outputs<'_, O, D> {}

impl<'a, O, D: Dimension> Outputs<'a, O, D> {
    pub(super) fn count(self) -> usize {
        match self {
            Self::Buffer(count) | Self::Unread(count) => count,
            Self::Told(told) => told.len(),
        }
    }

    /// The outputs in the type of the run's own arrays; unread where they are of another.
    pub(super) fn own<A: Real>(self) -> Outputs<'a, A, D>
    where
        O: ModelElement<A>,
    {
        match self {
            Self::Buffer(count) => Outputs::Buffer(count),
            Self::Told(told) => O::same(told).map_or(Outputs::Unread(told.len()), Outputs::Told),
            Self::Unread(count) => Outputs::Unread(count),
        }
    }
}

//! Standard normals: keyed by (seed, sample, step, element, stream), or from any `rand` generator.

mod box_muller;
mod keyed;
mod normal;
mod philox;
mod rng;
mod rows;

pub use keyed::KeyedNoise;
pub use normal::NormalElement;
pub use rng::RngNoise;
pub(crate) use rows::{RowNoise, StepNoise};

/// What a normal is used for: an independent stream of noise each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// The start of a run, x_T.
    Start,
    /// A step of a run; the number counts the noise additions within the step.
    Step(u8),
    /// The forward chain: q(x_t | x₀) and q(x_t | x_s, x₀).
    Forward,
    /// The caller's own.
    User(u8),
}

/// Which row of noise is wanted: one sample's, at one step, of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NoiseKey {
    /// The sample's position on axis 0 of the batch.
    pub row: u64,
    /// The step, counted from 0.
    pub step: u32,
    /// What the noise is used for.
    pub stream: Stream,
}

/// A source of standard normals.
///
/// The kernels ask for consecutive pieces of a row in ascending order, row after row.
pub trait NoiseSource<A> {
    /// Writes the normals of the elements `first..first + out.len()` of the row `key` to `out`.
    fn fill(&mut self, key: NoiseKey, first: u64, out: &mut [A]);

    /// This source as a pure function of the key, if it is one: whether it is asked or the returned [`KeyedNoise`], in
    /// any order, gives the same bits.
    ///
    /// Threads (feature `rayon`) ask the returned one instead of [`fill`](Self::fill). `None`, the default, leaves the
    /// noise to one thread.
    fn keyed(&self) -> Option<KeyedNoise> {
        None
    }
}

impl<A, S: NoiseSource<A> + ?Sized> NoiseSource<A> for &mut S {
    fn fill(&mut self, key: NoiseKey, first: u64, out: &mut [A]) {
        (**self).fill(key, first, out);
    }

    fn keyed(&self) -> Option<KeyedNoise> {
        (**self).keyed()
    }
}

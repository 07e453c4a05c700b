//! What a source of noise must do.

use super::{Interval, KeyedNoise, NoiseKey};
use crate::error::Error;

/// A source of standard normals.
///
/// The kernels ask for consecutive pieces of a row in ascending order, row after row.
pub trait NoiseSource<A> {
    /// Writes the normals of the elements `first..first + out.len()` of the row `key` to `out`.
    fn fill(&mut self, key: NoiseKey, first: u64, out: &mut [A]);

    /// Whether one run can draw noise in these intervals, in this order; asked before it begins.
    ///
    /// [`fill`](Self::fill) cannot fail, so a source that has noise for some intervals only refuses
    /// the others here. The default accepts all.
    ///
    /// # Errors
    ///
    /// The source's own.
    fn check(&self, intervals: &[Interval]) -> Result<(), Error> {
        let _ = intervals;
        Ok(())
    }

    /// This source as a pure function of the key, if it is one: whether it is asked or the returned
    /// [`KeyedNoise`], in any order, gives the same bits.
    ///
    /// Threads (feature `rayon`) ask the returned one instead of [`fill`](Self::fill). `None`, the
    /// default, leaves the noise to one thread.
    fn keyed(&self) -> Option<KeyedNoise> {
        None
    }
}

/// A pointer to a source is a source.
macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<A, S: NoiseSource<A> + ?Sized> NoiseSource<A> for $pointer {
            fn fill(&mut self, key: NoiseKey, first: u64, out: &mut [A]) {
                (**self).fill(key, first, out);
            }

            fn check(&self, intervals: &[Interval]) -> Result<(), Error> {
                (**self).check(intervals)
            }

            fn keyed(&self) -> Option<KeyedNoise> {
                (**self).keyed()
            }
        }
    )*};
}

forward!(&mut S, Box<S>);

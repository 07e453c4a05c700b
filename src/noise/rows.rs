//! What the kernels see of a noise source: the rows of one step of one stream.

#[cfg(feature = "rayon")]
use super::KeyedNoise;
use super::{NoiseKey, NoiseSource, Stream};

/// Rows of standard normals.
pub(crate) trait RowNoise<A> {
    /// Writes the elements `first..first + out.len()` of a row to `out`.
    fn fill(&mut self, row: usize, first: usize, out: &mut [A]);

    /// The same rows for any thread and in any order, if they do not depend on it.
    #[cfg(feature = "rayon")]
    fn shared(&self) -> Option<StepNoise<KeyedNoise>> {
        None
    }
}

/// A noise source at one step of one stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StepNoise<N> {
    source: N,
    step: u32,
    stream: Stream,
}

impl<N> StepNoise<N> {
    pub(crate) fn new(source: N, step: u32, stream: Stream) -> Self {
        Self {
            source,
            step,
            stream,
        }
    }
}

impl<A, N: NoiseSource<A>> RowNoise<A> for StepNoise<N> {
    fn fill(&mut self, row: usize, first: usize, out: &mut [A]) {
        let key = NoiseKey {
            row: row as u64,
            step: self.step,
            stream: self.stream,
        };
        self.source.fill(key, first as u64, out);
    }

    #[cfg(feature = "rayon")]
    fn shared(&self) -> Option<StepNoise<KeyedNoise>> {
        let source = self.source.keyed()?;
        Some(StepNoise::new(source, self.step, self.stream))
    }
}

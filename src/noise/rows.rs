//! What the kernels see of a noise source: the rows of one step of one stream.

#[cfg(feature = "rayon")]
use super::PureNoise;
use super::{Interval, NoiseKey, NoiseSource, Stream};
use crate::kernel::Places;

/// Rows of standard normals.
pub(crate) trait RowNoise<A> {
    /// Writes the elements `first..first + out.len()` of a row to `out`.
    fn fill(&mut self, row: usize, first: usize, out: &mut [A]);

    /// What names a row.
    fn key(&self, row: usize) -> NoiseKey;

    /// The same rows for any thread and in any order, if they do not depend on it.
    #[cfg(feature = "rayon")]
    fn shared(&self) -> Option<StepNoise<'_, &dyn PureNoise<A>>> {
        None
    }
}

/// A noise source at one step of one stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StepNoise<'i, N> {
    source: N,
    step: u32,
    stream: Stream,
    /// None outside a step, one for the batch, or one per sample.
    intervals: &'i [Interval],
    path: Option<u8>,
    /// By the entry of each position; none where nothing is drawn.
    along: Option<(&'i [Option<Interval>], Places<'i>)>,
}

impl<'i, N> StepNoise<'i, N> {
    pub(crate) fn new(source: N, step: u32, stream: Stream, intervals: &'i [Interval]) -> Self {
        Self {
            source,
            step,
            stream,
            intervals,
            path: None,
            along: None,
        }
    }

    /// The same in an interval of each position's own: only positions that have one draw.
    pub(crate) fn along(self, intervals: &'i [Option<Interval>], places: Places<'i>) -> Self {
        let along = Some((intervals, places));
        Self { along, ..self }
    }

    /// The same on another path than the stream's.
    pub(crate) fn on_path(self, path: Option<u8>) -> Self {
        Self { path, ..self }
    }
}

impl<N> StepNoise<'_, N> {
    fn key_of(&self, row: usize) -> NoiseKey {
        let key = NoiseKey::new(row as u64, self.step, self.stream);
        NoiseKey {
            interval: match self.intervals {
                [one] => Some(*one),
                many => many.get(row).copied(),
            },
            path: self.path.unwrap_or(key.path),
            ..key
        }
    }
}

impl<A, N: NoiseSource<A>> RowNoise<A> for StepNoise<'_, N> {
    fn fill(&mut self, row: usize, first: usize, out: &mut [A]) {
        let key = self.key_of(row);
        let along = self.along.filter(|_| self.source.reads_intervals());
        let Some((intervals, places)) = along else {
            self.source.fill(key, first as u64, out);
            return;
        };
        let mut done = 0;
        while done < out.len() {
            let most = out.len() - done;
            let Some((entry, len)) = places.run(row, first + done, most) else {
                return;
            };
            let len = len.min(most);
            if let Some(Some(interval)) = intervals.get(entry) {
                let key = key.with_interval(*interval);
                let part = &mut out[done..done + len];
                self.source.fill(key, (first + done) as u64, part);
            }
            done += len;
        }
    }

    fn key(&self, row: usize) -> NoiseKey {
        self.key_of(row)
    }

    #[cfg(feature = "rayon")]
    fn shared(&self) -> Option<StepNoise<'_, &dyn PureNoise<A>>> {
        let source = self.source.as_pure()?;
        Some(StepNoise {
            source,
            step: self.step,
            stream: self.stream,
            intervals: self.intervals,
            path: self.path,
            along: self.along,
        })
    }
}

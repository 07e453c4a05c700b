//! The noise of one row of a batch.

use std::sync::Arc;

use crate::noise::{NoiseKey, NoiseSource};

/// The row of a batch's noise, for a run of that row alone. It draws what the row has in the batch,
/// as often as it is asked: from sources that are pure functions of the key, which alone have it.
#[derive(Debug)]
pub(super) struct RowNoise<N> {
    source: Arc<N>,
    row: u64,
}

impl<N> RowNoise<N> {
    pub(super) fn new(source: &Arc<N>, row: usize) -> Self {
        Self {
            source: Arc::clone(source),
            row: row as u64,
        }
    }
}

impl<A, N: NoiseSource<A>> NoiseSource<A> for RowNoise<N> {
    fn fill(&mut self, key: NoiseKey, first: u64, out: &mut [A]) {
        if let Some(source) = self.source.as_pure() {
            let row = self.row.saturating_add(key.row);
            source.draw(NoiseKey { row, ..key }, first, out);
        }
    }
}

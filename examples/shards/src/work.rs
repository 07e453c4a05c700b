//! What one process does: the batches of its share that nobody has finished.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::hash::Hash;
use crate::npy;
use crate::output::Output;
use crate::report::{Report, peak_memory};
use crate::rows::{RowSet, Shard};
use crate::sampling::Sampling;

/// Which rows, and in which portions.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Work {
    /// Whose they are.
    pub(crate) part: Part,
    /// The most rows at a time.
    pub(crate) batch: u64,
    /// Batches in an order that this number decides, instead of one after the other.
    pub(crate) shuffle: Option<u64>,
}

/// The rows that a process takes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Part {
    /// A shard's, as far as they are not finished.
    Shard(Shard),
    /// These, finished or not.
    Rows(Range<u64>),
    /// Those of this process's rank, as far as they are not finished.
    Rank,
}

impl Work {
    /// Samples what is to be sampled of these rows; `again` takes finished ones too.
    pub(crate) fn run(
        &self,
        rows: Range<u64>,
        again: bool,
        sampling: &Sampling,
        output: &mut Output,
    ) -> Result<Report> {
        let begin = Instant::now();
        let finished = if again {
            RowSet::default()
        } else {
            output.finished()?
        };
        let missing = finished.missing(rows.clone());
        let found = rows.end - rows.start - missing.len();
        let (mut network, mut writing) = (Duration::ZERO, Duration::ZERO);
        for batch in self.batches(&missing) {
            let (samples, spent) = sampling.rows(batch.clone())?;
            network += spent;
            let sampled = Instant::now();
            output.finish(batch, &npy::bytes(&samples))?;
            writing += sampled.elapsed();
        }
        Ok(Report {
            sampled: missing.len(),
            rows,
            found,
            seconds: begin.elapsed().as_secs_f64(),
            network: network.as_secs_f64(),
            writing: writing.as_secs_f64(),
            peak_kib: peak_memory().unwrap_or(0),
        })
    }

    fn batches(&self, rows: &RowSet) -> Vec<Range<u64>> {
        let mut batches = rows.batches(self.batch);
        if let Some(seed) = self.shuffle {
            batches
                .sort_by_cached_key(|rows| Hash::of(format!("{seed} {}", rows.start).as_bytes()));
        }
        batches
    }
}

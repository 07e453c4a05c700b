//! What one process does: the batches of its share that nobody has finished.

use std::fmt;
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::hash::Hash;
use crate::misuse::Misuse;
use crate::npy;
use crate::output::Output;
use crate::report::{Report, cpu_time, peak_memory};
use crate::rows::{RowSet, Shard};
use crate::sampling::Sampling;

/// In which portions a process works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Work {
    /// The most rows at a time.
    pub(crate) batch: u64,
    /// Batches in an order that this number decides, instead of one after the other.
    pub(crate) shuffle: Option<u64>,
}

/// The rows that a process takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// A shard's, as far as they are not finished.
    Shard(Shard),
    /// These, finished or not.
    Rows(Range<u64>),
}

impl Part {
    /// Its rows in a job of so many samples.
    pub(crate) fn rows(&self, samples: u64) -> Result<Range<u64>> {
        match self {
            Self::Shard(shard) => Ok(shard.rows(samples)),
            Self::Rows(rows) if rows.start < rows.end && rows.end <= samples => Ok(rows.clone()),
            Self::Rows(rows) => Err(Misuse::NoSuchRows {
                rows: rows.clone(),
                samples,
            }
            .into()),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shard(shard) => write!(f, "shard {shard}"),
            Self::Rows(_) => f.write_str("again"),
        }
    }
}

impl Work {
    /// Samples what is to be sampled of a part.
    pub(crate) fn run(
        self,
        part: &Part,
        sampling: &Sampling,
        output: &mut Output,
    ) -> Result<Report> {
        let begin = Instant::now();
        let rows = part.rows(output.samples())?;
        let finished = match part {
            Part::Shard(_) => output.finished()?,
            Part::Rows(_) => RowSet::default(),
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
            cpu: cpu_time().unwrap_or(0.0),
            peak_kib: peak_memory().unwrap_or(0),
        })
    }

    /// The batches, in the order in which they are sampled.
    fn batches(self, rows: &RowSet) -> Box<dyn Iterator<Item = Range<u64>> + '_> {
        let batches = rows.batches(self.batch);
        let Some(seed) = self.shuffle else {
            return Box::new(batches);
        };
        let mut batches: Vec<_> = batches.collect();
        batches.sort_by_cached_key(|rows| Hash::of(format!("{seed} {}", rows.start).as_bytes()));
        Box::new(batches.into_iter())
    }
}

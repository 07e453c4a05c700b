//! Whether a result is whole, and what it should be.

use std::ops::Range;
use std::path::Path;

use crate::error::{Error, Result};
use crate::job::require_same;
use crate::npy;
use crate::output::{Output, job_of};
use crate::rows::RowSet;
use crate::sampling::Sampling;
use crate::work::Part;

/// The hash of the whole file, if every row is finished and holds what was written.
///
/// Memory does not depend on the number of rows, but for the list of batches.
pub(crate) fn check(path: &Path) -> Result<String> {
    let mut output = Output::open(path)?;
    let entries = output.entries()?;
    let finished: RowSet = entries.iter().map(|entry| entry.rows.clone()).collect();
    require_finished(&finished, 0..output.samples(), path)?;
    let mut damaged = Vec::new();
    for entry in entries {
        if output.hash_of_rows(&entry.rows)? != entry.hash {
            damaged.push(entry.rows);
        }
    }
    if !damaged.is_empty() {
        let damaged: RowSet = damaged.into_iter().collect();
        return Err(Error::Damaged {
            path: path.to_owned(),
            rows: damaged.ranges().to_vec(),
        });
    }
    output.hash_of_all()
}

/// That all of these rows are finished.
fn require_finished(finished: &RowSet, rows: Range<u64>, path: &Path) -> Result<()> {
    let missing = finished.missing(rows);
    if missing.len() == 0 {
        return Ok(());
    }
    Err(Error::Unfinished {
        path: path.to_owned(),
        missing: missing.ranges().to_vec(),
    })
}

/// Samples rows again, in memory, and compares them with the file.
pub(crate) fn verify(path: &Path, rows: Option<Range<u64>>, batch: u64) -> Result<u64> {
    let (job, text) = job_of(path)?;
    let rows = match rows {
        Some(rows) => Part::Rows(rows).rows(job.samples)?,
        None => 0..job.samples,
    };
    let sampling = Sampling::new(&job)?;
    require_same(&text, &sampling.text(&job)?, path)?;
    let mut output = Output::open(path)?;
    require_finished(&output.finished()?, rows.clone(), path)?;
    let rows: RowSet = std::iter::once(rows).collect();
    for batch in rows.batches(batch) {
        let stored = output.read(&batch)?;
        let (samples, _) = sampling.rows(batch.clone())?;
        let again = npy::bytes(&samples);
        let rows = stored
            .chunks(npy::ROW as usize)
            .zip(again.chunks(npy::ROW as usize));
        if let Some((row, _)) = batch.zip(rows).find(|(_, (stored, again))| stored != again) {
            return Err(Error::Differs {
                path: path.to_owned(),
                row,
            });
        }
    }
    Ok(rows.len())
}

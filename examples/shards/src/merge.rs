//! One file of samples from several, for machines that share no file system.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::hash::Hash;
use crate::output::{Output, job_of};
use crate::rows::RowSet;

/// Copies the finished batches of `parts` into `path`; how many rows that were. All must be of one
/// job. What is finished there already is not copied.
pub(crate) fn merge(path: &Path, parts: &[PathBuf]) -> Result<u64> {
    let mut copied = 0;
    for part in parts {
        let (job, text) = job_of(part)?;
        let mut whole = Output::create(path, job.samples, &text)?;
        let mut part = Output::open(part)?;
        copied += copy(&mut part, &mut whole)?;
    }
    Ok(copied)
}

fn copy(part: &mut Output, whole: &mut Output) -> Result<u64> {
    let finished = whole.finished()?;
    let mut copied = RowSet::default();
    for entry in part.entries()? {
        if finished.missing(entry.rows.clone()).len() == 0 {
            continue;
        }
        let bytes = part.read(&entry.rows)?;
        if Hash::of(&bytes) != entry.hash {
            let (path, rows) = (part.path().to_owned(), vec![entry.rows]);
            return Err(Error::Damaged { path, rows });
        }
        whole.finish(entry.rows.clone(), &bytes)?;
        let ranges = copied.ranges().iter().cloned();
        copied = ranges.chain([entry.rows]).collect();
    }
    Ok(copied.len())
}

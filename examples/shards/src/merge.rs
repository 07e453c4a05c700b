//! One file of samples from several, for machines that share no file system.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::hash::Hash;
use crate::job::require_same;
use crate::journal::{Entry, Journal};
use crate::output::{Output, job_of};
use crate::rows::RowSet;

/// Copies the finished batches of `parts` into `path`; how many rows that were. All must be of one
/// job. What is finished there already is not copied.
///
/// All parts are read to their end before anything is written, so that a part that is of another
/// job, or damaged, leaves nothing behind.
pub(crate) fn merge(path: &Path, parts: &[PathBuf]) -> Result<u64> {
    let Some(first) = parts.first() else {
        return Ok(0);
    };
    let (job, text) = job_of(first)?;
    let mut finished = finished(path, &text)?;
    let mut copies = Vec::new();
    for part in parts {
        require_same(&job_of(part)?.1, &text, part)?;
        let entries = sound(&mut Output::open(part)?, &mut finished)?;
        copies.push((part, entries));
    }
    let mut whole = Output::create(path, job.samples, &text)?;
    let mut copied = 0;
    for (part, entries) in copies {
        let mut part = Output::open(part)?;
        for entry in entries {
            copied += entry.rows.end - entry.rows.start;
            copy(&mut part, entry, &mut whole)?;
        }
    }
    Ok(copied)
}

/// The finished rows of the job of this text at `path`, if there is one.
fn finished(path: &Path, text: &str) -> Result<RowSet> {
    let journal = Journal::beside(path);
    let Some(stored) = journal.job()? else {
        return Ok(RowSet::default());
    };
    require_same(&stored, text, path)?;
    let entries = journal.finished()?.into_iter();
    Ok(entries.map(|entry| entry.rows).collect())
}

/// The batches that a part adds to what is finished, every one of them unchanged.
fn sound(part: &mut Output, finished: &mut RowSet) -> Result<Vec<Entry>> {
    let mut sound = Vec::new();
    for entry in part.entries()? {
        if finished.missing(entry.rows.clone()).len() == 0 {
            continue;
        }
        if part.hash_of_rows(&entry.rows)? != entry.hash {
            return Err(damaged(part, entry));
        }
        let ranges = finished.ranges().iter().cloned();
        *finished = ranges.chain([entry.rows.clone()]).collect();
        sound.push(entry);
    }
    Ok(sound)
}

fn copy(part: &mut Output, entry: Entry, whole: &mut Output) -> Result<()> {
    let bytes = part.read(&entry.rows)?;
    // It may have changed since it was looked at.
    if Hash::of(&bytes) != entry.hash {
        return Err(damaged(part, entry));
    }
    whole.finish(entry.rows, &bytes)
}

fn damaged(part: &Output, entry: Entry) -> Error {
    let (path, rows) = (part.path().to_owned(), vec![entry.rows]);
    Error::Damaged { path, rows }
}

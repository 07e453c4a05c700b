//! The journal of a job: its settings, and which batches are finished.
//!
//! It is a folder beside the file of samples. The file `job` in it holds the settings. Every
//! process that finishes a batch has a `.log` of its own there, which nobody else ever writes: to
//! append to one file from several machines is not safe on a network's file system. A line of it is
//!
//! ```text
//! start end sha256-of-the-batch's-bytes first-8-digits-of-the-sha256-of-the-line-so-far
//! ```
//!
//! A line whose end does not fit, such as the last one of a process that was killed, counts as not
//! written: its batch is sampled again.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::hash::Hash;
use crate::job::require_same;

/// A finished batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its rows.
    pub(crate) rows: Range<u64>,
    /// The hash of their bytes.
    pub(crate) hash: String,
}

impl Entry {
    fn line(&self) -> String {
        let line = format!("{} {} {}", self.rows.start, self.rows.end, self.hash);
        let check = Hash::of(line.as_bytes());
        format!("{line} {}\n", check.get(..8).unwrap_or_default())
    }

    /// From a line without its end; `None` for one that was not written to its end.
    fn read(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let start = words.next()?.parse().ok()?;
        let end = words.next()?.parse().ok()?;
        let hash = words.next()?.to_owned();
        let entry = Self {
            rows: start..end,
            hash,
        };
        (entry.line().strip_suffix('\n') == Some(line)).then_some(entry)
    }
}

/// A job's folder, and this process's log in it once it has finished a batch.
#[derive(Debug)]
pub(crate) struct Journal {
    folder: PathBuf,
    log: Option<File>,
}

impl Journal {
    /// The journal of a file of samples.
    pub(crate) fn beside(samples: &Path) -> Self {
        let mut folder = OsString::from(samples);
        folder.push(".journal");
        Self {
            folder: folder.into(),
            log: None,
        }
    }

    /// Where the job's settings are.
    pub(crate) fn job_path(&self) -> PathBuf {
        self.folder.join("job")
    }

    /// The job's settings, if there is a job.
    pub(crate) fn job(&self) -> Result<Option<String>> {
        let path = self.job_path();
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("reading", &path)(error)),
        }
    }

    /// Makes this the journal of the job, whatever other processes do at the same time.
    ///
    /// The settings are written under another name and linked to their place, which fails where
    /// there is something: so they are there as a whole or not at all, and the first one wins.
    pub(crate) fn claim(&self, job: &str) -> Result<()> {
        fs::create_dir_all(&self.folder).map_err(Error::io("making", &self.folder))?;
        let (mut file, draft) = new_file(&self.folder, "job", "draft")?;
        let written = file
            .write_all(job.as_bytes())
            .and_then(|()| file.sync_all());
        written.map_err(Error::io("writing", &draft))?;
        let path = self.job_path();
        let linked = fs::hard_link(&draft, &path);
        fs::remove_file(&draft).map_err(Error::io("removing", &draft))?;
        match linked {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(Error::io("linking", &path)(error));
            }
            _ => sync_folder(&self.folder)?,
        }
        let stored = self.job()?.ok_or(Error::NoJob { path: path.clone() })?;
        require_same(&stored, job, &path)
    }

    /// The finished batches, in no order. Some rows may be there twice.
    pub(crate) fn finished(&self) -> Result<Vec<Entry>> {
        let mut finished = Vec::new();
        let list = fs::read_dir(&self.folder).map_err(Error::io("reading", &self.folder))?;
        for file in list {
            let path = file.map_err(Error::io("reading", &self.folder))?.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                let log = fs::read(&path).map_err(Error::io("reading", &path))?;
                let log = String::from_utf8_lossy(&log);
                finished.extend(log.lines().filter_map(Entry::read));
            }
        }
        Ok(finished)
    }

    /// Notes that a batch is finished, which it must be: its bytes are on the disk.
    pub(crate) fn record(&mut self, entry: &Entry) -> Result<()> {
        let log = match &mut self.log {
            Some(log) => log,
            none => {
                let name = format!("from-{}", entry.rows.start);
                let log = none.insert(new_file(&self.folder, &name, "log")?.0);
                sync_folder(&self.folder)?;
                log
            }
        };
        let written = log
            .write_all(entry.line().as_bytes())
            .and_then(|()| log.sync_data());
        written.map_err(Error::io("writing a log in", &self.folder))
    }
}

/// A file that nobody else has: name, a number that is free, extension.
fn new_file(folder: &Path, name: &str, extension: &str) -> Result<(File, PathBuf)> {
    let mut number = 0u64;
    loop {
        let path = folder.join(format!("{name}-{number}.{extension}"));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((file, path)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(Error::io("making", &path)(error)),
        }
    }
}

/// New names in a folder are on the disk only when the folder is.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(Error::io("syncing", folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_cut_or_changed_anywhere_is_no_entry() {
        let entry = Entry {
            rows: 128..256,
            hash: Hash::of(b"rows"),
        };
        let line = entry.line();
        let line = line.trim_end();
        assert_eq!(Entry::read(line), Some(entry));
        for at in 0..line.len() {
            assert_eq!(Entry::read(&line[..at]), None);
            let mut changed = line.as_bytes().to_vec();
            changed[at] ^= 1;
            assert_eq!(Entry::read(&String::from_utf8_lossy(&changed)), None);
        }
    }
}

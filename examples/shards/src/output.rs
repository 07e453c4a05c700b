//! The file of samples and its journal.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::hash::Hash;
use crate::job::Job;
use crate::journal::{Entry, Journal, sync_folder};
use crate::npy;
use crate::rows::RowSet;

/// A job's result, as far as there is one.
#[derive(Debug)]
pub(crate) struct Output {
    path: PathBuf,
    samples: u64,
    file: File,
    journal: Journal,
}

/// The job of a file of samples.
pub(crate) fn job_of(path: &Path) -> Result<(Job, String)> {
    let journal = Journal::beside(path);
    let text = journal.job()?.ok_or_else(|| Error::NoJob {
        path: journal.job_path(),
    })?;
    Ok((Job::read(&text, &journal.job_path())?, text))
}

impl Output {
    /// To be written, by any number of processes. `text` is the job's.
    pub(crate) fn create(path: &Path, samples: u64, text: &str) -> Result<Self> {
        let journal = Journal::beside(path);
        // Whoever makes the file has a journal before. So the second look decides.
        if journal.job()?.is_none() && path.exists() && journal.job()?.is_none() {
            return Err(Error::NotOurs {
                path: path.to_owned(),
            });
        }
        journal.claim(text)?;
        let begun = !journal.finished()?.is_empty();
        let mut options = OpenOptions::new();
        let opened = options
            .read(true)
            .write(true)
            .create(!begun)
            .truncate(false)
            .open(path);
        let file = opened.map_err(Error::io("opening", path))?;
        let mut output = Self {
            path: path.to_owned(),
            samples,
            file,
            journal,
        };
        if begun {
            output.require_size()?;
            output.require_header()?;
        } else {
            output.begin()?;
        }
        Ok(output)
    }

    /// To be read.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let (job, _) = job_of(path)?;
        let file = File::open(path).map_err(Error::io("opening", path))?;
        let journal = Journal::beside(path);
        let mut output = Self {
            path: path.to_owned(),
            samples: job.samples,
            file,
            journal,
        };
        output.require_size()?;
        output.require_header()?;
        Ok(output)
    }

    /// The size and the header. Every process does this, and all write the same bytes.
    fn begin(&mut self) -> Result<()> {
        let sized = self.file.set_len(npy::offset(self.samples));
        sized.map_err(Error::io("sizing", &self.path))?;
        self.write_at(0, &npy::header(self.samples))?;
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => sync_folder(folder),
            _ => sync_folder(Path::new(".")),
        }
    }

    fn require_size(&self) -> Result<()> {
        let metadata = self
            .file
            .metadata()
            .map_err(Error::io("reading", &self.path))?;
        let (expected, found) = (npy::offset(self.samples), metadata.len());
        if expected == found {
            return Ok(());
        }
        Err(Error::WrongSize {
            path: self.path.clone(),
            expected,
            found,
        })
    }

    fn require_header(&mut self) -> Result<()> {
        if self.read_at(0, npy::HEADER)? == npy::header(self.samples) {
            return Ok(());
        }
        Err(Error::WrongHeader {
            path: self.path.clone(),
        })
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// N.
    pub(crate) fn samples(&self) -> u64 {
        self.samples
    }

    /// The finished batches.
    pub(crate) fn entries(&self) -> Result<Vec<Entry>> {
        self.journal.finished()
    }

    /// The finished rows.
    pub(crate) fn finished(&self) -> Result<RowSet> {
        let entries = self.entries()?;
        Ok(entries.into_iter().map(|entry| entry.rows).collect())
    }

    /// Writes a batch at its place, waits until it is on the disk, and only then notes it.
    pub(crate) fn finish(&mut self, rows: Range<u64>, bytes: &[u8]) -> Result<()> {
        self.write_at(npy::offset(rows.start), bytes)?;
        self.journal.record(&Entry {
            rows,
            hash: Hash::of(bytes),
        })
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let moved = self.file.seek(SeekFrom::Start(offset));
        let written = moved.and_then(|_| self.file.write_all(bytes));
        let synced = written.and_then(|()| self.file.sync_data());
        synced.map_err(Error::io("writing", &self.path))
    }

    /// The bytes of rows.
    pub(crate) fn read(&mut self, rows: &Range<u64>) -> Result<Vec<u8>> {
        self.read_at(npy::offset(rows.start), (rows.end - rows.start) * npy::ROW)
    }

    fn read_at(&mut self, offset: u64, length: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.pieces(offset, length, |piece| bytes.extend_from_slice(piece))?;
        Ok(bytes)
    }

    /// The hash of rows, which need not fit into memory.
    pub(crate) fn hash_of_rows(&mut self, rows: &Range<u64>) -> Result<String> {
        self.hash(npy::offset(rows.start), (rows.end - rows.start) * npy::ROW)
    }

    /// The hash of the whole file, what `sha256sum` prints.
    pub(crate) fn hash_of_all(&mut self) -> Result<String> {
        self.hash(0, npy::offset(self.samples))
    }

    fn hash(&mut self, offset: u64, length: u64) -> Result<String> {
        let mut hash = Hash::new();
        self.pieces(offset, length, |piece| hash.add(piece))?;
        Ok(hash.finish())
    }

    /// Hands a part of the file on in pieces.
    fn pieces(&mut self, offset: u64, length: u64, mut each: impl FnMut(&[u8])) -> Result<()> {
        const PIECE: u64 = 1 << 16;
        let failed = Error::io("reading", &self.path);
        let mut copy = || {
            self.file.seek(SeekFrom::Start(offset))?;
            let mut left = length;
            let mut piece = vec![0; length.min(PIECE) as usize];
            while left > 0 {
                piece.truncate(left.min(PIECE) as usize);
                self.file.read_exact(&mut piece)?;
                each(&piece);
                left -= piece.len() as u64;
            }
            Ok(())
        };
        copy().map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Job;

    #[test]
    fn a_batch_that_cannot_be_written_is_not_noted() {
        let folder = std::env::temp_dir().join(format!("shards-output-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let job = Job {
            samples: 4,
            sampler: "DDIM trailing".into(),
            steps: 2,
            scale: 1.0,
            seed: 0,
        };
        let path = folder.join("a.npy");
        let mut output = Output::create(&path, 4, &job.text("a", "b")).unwrap();
        let row = vec![1; npy::ROW as usize];
        output.finish(0..1, &row).unwrap();
        // A file that is open to be read only.
        output.file = File::open(&path).unwrap();
        let failed = output.finish(1..2, &row);
        let noted = output.finished().unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(matches!(failed, Err(Error::Io { .. })));
        assert_eq!((noted.len(), noted.missing(0..1).len()), (1, 0));
    }
}

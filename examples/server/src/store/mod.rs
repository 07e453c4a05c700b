//! Running requests and results as files, so that a server that is killed loses little.
//!
//! `ID.run` holds a request and a snapshot of its run, `ID.samples` a request and its result. A
//! file is written beside its place, synced and renamed: it is there as a whole or not at all. Its
//! first line says how long the rest is and what its checksum is; the rest is JSON.

mod envelope;
mod error;
mod keeper;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use diffusion_sampler::run::Snapshot;
use ndarray::Array2;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use error::StoreError;
pub(crate) use keeper::Keeper;

use crate::request::Request;

/// A request that was running.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stored {
    /// The request.
    pub request: Request,
    /// The fingerprint of the network.
    pub network: u64,
    /// Where its run was.
    pub snapshot: Snapshot<Array2<f32>>,
}

/// A request that is done.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Done {
    request: Request,
    elements: usize,
    samples: Vec<f32>,
}

/// A folder of requests. One server writes to it at a time.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

/// What a folder holds.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Requests that were running, by id: to be given to [`Client::resume`](crate::Client::resume).
    pub running: Vec<Stored>,
    /// The ids of those that are done.
    pub done: Vec<u64>,
    /// Files that are refused, each named by its error; they are left where they are until a
    /// request of the same id overwrites them.
    pub refused: Vec<StoreError>,
}

impl Store {
    /// The folder, made where there is none.
    ///
    /// # Errors
    ///
    /// Where it cannot be made.
    pub fn new(folder: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let folder = folder.into();
        fs::create_dir_all(&folder).map_err(|error| StoreError::io(&folder, error))?;
        Ok(Self { folder })
    }

    /// What the folder holds. What a killed server had not finished writing is removed, and so is
    /// the snapshot of a request whose result is there. Where that is the result of another request
    /// of the same id, an earlier one, the snapshot counts.
    ///
    /// # Errors
    ///
    /// Where the folder cannot be read. What is wrong with single files is in [`Loaded::refused`].
    pub fn load(&self) -> Result<Loaded, StoreError> {
        let (mut loaded, mut done) = (Loaded::default(), Vec::new());
        let mut paths = self.paths()?;
        paths.sort();
        for path in &paths {
            let ending = path.extension().and_then(OsStr::to_str);
            let read = match ending {
                Some("tmp") => remove(path),
                Some("samples") => read_done(path).map(|read| done.push(read.request)),
                _ => Ok(()),
            };
            loaded.refused.extend(read.err());
        }
        for path in &paths {
            if path.extension() != Some(OsStr::new("run")) {
                continue;
            }
            match read_running(path) {
                Ok(stored) if done.contains(&stored.request) => {
                    loaded.refused.extend(remove(path).err());
                }
                Ok(stored) => {
                    done.retain(|request| request.id != stored.request.id);
                    loaded.running.push(stored);
                }
                Err(error) => loaded.refused.push(error),
            }
        }
        loaded.running.sort_by_key(|stored| stored.request.id);
        loaded.done = done.iter().map(|request| request.id).collect();
        loaded.done.sort_unstable();
        Ok(loaded)
    }

    /// The samples of a request that is done, \[samples, elements\].
    ///
    /// # Errors
    ///
    /// Where there is no such file, or it is damaged.
    pub fn samples(&self, id: u64) -> Result<Array2<f32>, StoreError> {
        let path = self.path(id, "samples");
        let done = read_done(&path)?;
        let shape = (done.request.samples, done.elements);
        let len = done.samples.len();
        Array2::from_shape_vec(shape, done.samples).map_err(|_| StoreError::Shape {
            path,
            expected: [shape.0, shape.1],
            found: len,
        })
    }

    /// Stores a run.
    ///
    /// # Errors
    ///
    /// Where its file cannot be written.
    pub fn keep(&self, stored: &Stored) -> Result<(), StoreError> {
        write(&self.path(stored.request.id, "run"), stored)
    }

    pub(crate) fn finish(&self, request: Request, samples: &Array2<f32>) -> Result<(), StoreError> {
        let (id, elements) = (request.id, samples.ncols());
        let samples = samples.iter().copied().collect();
        let done = Done {
            request,
            elements,
            samples,
        };
        write(&self.path(id, "samples"), &done)?;
        self.sync()?;
        self.forget(id)
    }

    pub(crate) fn forget(&self, id: u64) -> Result<(), StoreError> {
        remove(&self.path(id, "run"))
    }

    /// Makes the renaming outlast a crash of the machine, too.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        if cfg!(unix) {
            let synced = File::open(&self.folder).and_then(|folder| folder.sync_all());
            synced.map_err(|error| StoreError::io(&self.folder, error))?;
        }
        Ok(())
    }

    fn path(&self, id: u64, ending: &str) -> PathBuf {
        self.folder.join(format!("{id}.{ending}"))
    }

    fn paths(&self) -> Result<Vec<PathBuf>, StoreError> {
        let list = |entries: fs::ReadDir| {
            let paths = entries.map(|entry| entry.map(|entry| entry.path()));
            paths.collect::<io::Result<_>>()
        };
        let paths = fs::read_dir(&self.folder).and_then(list);
        paths.map_err(|error| StoreError::io(&self.folder, error))
    }
}

fn read_running(path: &Path) -> Result<Stored, StoreError> {
    let stored: Stored = read(path)?;
    named(path, stored.request.id)?;
    Ok(stored)
}

fn read_done(path: &Path) -> Result<Done, StoreError> {
    let done: Done = read(path)?;
    named(path, done.request.id)?;
    Ok(done)
}

/// A file that was copied to another's name is not the other's.
fn named(path: &Path, id: u64) -> Result<(), StoreError> {
    if path.file_stem() == Some(OsStr::new(&id.to_string())) {
        return Ok(());
    }
    let path = path.to_owned();
    Err(StoreError::Misnamed { path, id })
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, StoreError> {
    let bytes = fs::read(path).map_err(|error| StoreError::io(path, error))?;
    let content = envelope::open(path, &bytes)?;
    serde_json::from_slice(content).map_err(|error| StoreError::content(path, error))
}

fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), StoreError> {
    let content = serde_json::to_vec(value).map_err(|error| StoreError::content(path, error))?;
    let beside = path.with_extension("tmp");
    let written = File::create(&beside).and_then(|mut file| {
        file.write_all(&envelope::close(content))?;
        file.sync_all()
    });
    let renamed = written.and_then(|()| fs::rename(&beside, path));
    renamed.map_err(|error| StoreError::io(path, error))
}

/// What is not there is removed already.
fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io(path, error)),
        _ => Ok(()),
    }
}

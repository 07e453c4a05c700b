//! What is wrong with a file.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What is wrong with a stored file, which it names.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// It cannot be read, written or removed.
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Its first line is not that of a stored file.
    NoFirstLine {
        /// The file.
        path: PathBuf,
    },
    /// It is not as long as its first line says.
    Torn {
        /// The file.
        path: PathBuf,
        /// The bytes behind the first line that it must have.
        expected: usize,
        /// Those that it has.
        found: usize,
    },
    /// Its checksum is not the one of its first line.
    Damaged {
        /// The file.
        path: PathBuf,
        /// The checksum stored.
        expected: u64,
        /// That of what was read.
        found: u64,
    },
    /// What it holds is not what such a file holds.
    Content {
        /// The file.
        path: PathBuf,
        /// Why.
        error: serde_json::Error,
    },
    /// Its name is not that of the request in it.
    Misnamed {
        /// The file.
        path: PathBuf,
        /// The request's id.
        id: u64,
    },
    /// Its samples are not as many as its request wants.
    Shape {
        /// The file.
        path: PathBuf,
        /// Samples and their elements.
        expected: [usize; 2],
        /// The elements that it has.
        found: usize,
    },
}

impl StoreError {
    pub(super) fn io(path: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        Self::Io { path, error }
    }

    pub(super) fn content(path: &Path, error: serde_json::Error) -> Self {
        let path = path.to_owned();
        Self::Content { path, error }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Io { path, .. }
            | Self::NoFirstLine { path }
            | Self::Torn { path, .. }
            | Self::Damaged { path, .. }
            | Self::Content { path, .. }
            | Self::Misnamed { path, .. }
            | Self::Shape { path, .. } => path,
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path().display())?;
        match self {
            Self::Io { error, .. } => write!(f, "{error}"),
            Self::NoFirstLine { .. } => {
                write!(f, "the first line must be a length and a checksum")
            }
            Self::Torn {
                expected, found, ..
            } => write!(f, "torn, {found} bytes of {expected}"),
            Self::Damaged {
                expected, found, ..
            } => write!(f, "damaged, checksum {found:016x} for {expected:016x}"),
            Self::Content { error, .. } => write!(f, "{error}"),
            Self::Misnamed { id, .. } => write!(f, "this is request {id}"),
            Self::Shape {
                expected: [samples, elements],
                found,
                ..
            } => write!(f, "{found} numbers for {samples} samples of {elements}"),
        }
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            Self::Content { error, .. } => Some(error),
            _ => None,
        }
    }
}

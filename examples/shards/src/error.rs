//! What can be wrong, with the values that were.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use diffusion_sampler::RunError;

use crate::misuse::Misuse;

/// The outcome of everything here.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub(crate) enum Error {
    /// What is wrong with the command line.
    Misuse(Misuse),
    /// The journal is that of another job.
    AnotherJob {
        path: PathBuf,
        field: &'static str,
        stored: String,
        wanted: String,
    },
    /// There is no job.
    NoJob { path: PathBuf },
    /// A job's file cannot be read.
    DamagedJob { path: PathBuf, line: String },
    /// A file that is not ours would be overwritten.
    NotOurs { path: PathBuf },
    /// The file of samples is not as long as the job's must be.
    WrongSize {
        path: PathBuf,
        expected: u64,
        found: u64,
    },
    /// The file of samples does not begin as the job's must.
    WrongHeader { path: PathBuf },
    /// Rows that nobody has finished.
    Unfinished {
        path: PathBuf,
        missing: Vec<Range<u64>>,
    },
    /// Rows whose bytes are not those that were written.
    Damaged {
        path: PathBuf,
        rows: Vec<Range<u64>>,
    },
    /// A row that comes out otherwise when it is sampled again.
    Differs { path: PathBuf, row: u64 },
    /// What is wrong among the ranks of MPI.
    #[cfg(feature = "mpi")]
    Ranks(crate::ranks::RankError),
    /// A process that was started ended badly.
    Process { arguments: String, said: String },
    /// The standard output does not take what is said.
    Output(io::Error),
    /// What the operating system refused.
    Io {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// What the sampler or the run refused.
    Sampler(diffusion_sampler::Error),
    /// What the network refused.
    Network(digits_network::Error),
}

impl Error {
    /// For `map_err`: what was being done, and to which file.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            doing,
            path,
            source,
        }
    }
}

impl From<Misuse> for Error {
    fn from(misuse: Misuse) -> Self {
        Self::Misuse(misuse)
    }
}

impl From<diffusion_sampler::Error> for Error {
    fn from(error: diffusion_sampler::Error) -> Self {
        Self::Sampler(error)
    }
}

impl From<digits_network::Error> for Error {
    fn from(error: digits_network::Error) -> Self {
        Self::Network(error)
    }
}

impl From<RunError<digits_network::Error>> for Error {
    fn from(error: RunError<digits_network::Error>) -> Self {
        match error {
            RunError::Denoiser(error) => Self::Network(error),
            RunError::Sampler(error) => Self::Sampler(error),
        }
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Misuse(misuse) => misuse.fmt(f),
            Self::AnotherJob {
                path,
                field,
                stored,
                wanted,
            } => write!(
                f,
                "{} holds another job: {field} = {stored} there, {wanted} here{}",
                path.display(),
                match *field {
                    "network" => " (other weights, or another processor?)",
                    _ => "",
                }
            ),
            Self::NoJob { path } => write!(f, "{}: no job there", path.display()),
            Self::DamagedJob { path, line } if line.is_empty() => write!(
                f,
                "{} is empty or cut short: it does not say what the job is",
                path.display()
            ),
            Self::DamagedJob { path, line } => {
                write!(
                    f,
                    "{}: \"{line}\" is not what a job's file says",
                    path.display()
                )
            }
            Self::NotOurs { path } => {
                write!(
                    f,
                    "{} is there, and no job of ours: not overwritten",
                    path.display()
                )
            }
            Self::WrongSize {
                path,
                expected,
                found,
            } => write!(
                f,
                "{} has {found} bytes, not the {expected} of its job; remove it and its journal to \
                 begin anew",
                path.display()
            ),
            Self::WrongHeader { path } => {
                write!(
                    f,
                    "{} does not begin with the header of its job",
                    path.display()
                )
            }
            Self::Unfinished { path, missing } => {
                write!(
                    f,
                    "{}: rows not finished: {}",
                    path.display(),
                    Listed(missing)
                )
            }
            Self::Damaged { path, rows } => write!(
                f,
                "{}: rows changed since they were written: {}{}",
                path.display(),
                Listed(rows),
                Again(path, rows)
            ),
            Self::Differs { path, row } => {
                write!(
                    f,
                    "{}: row {row} comes out otherwise when sampled again",
                    path.display()
                )
            }
            #[cfg(feature = "mpi")]
            Self::Ranks(error) => error.fmt(f),
            Self::Process { arguments, said } => write!(f, "`shards {arguments}`: {said}"),
            Self::Output(source) => write!(f, "writing to the standard output: {source}"),
            Self::Io {
                doing,
                path,
                source,
            } => write!(f, "{doing} {}: {source}", path.display()),
            Self::Sampler(error) => error.fmt(f),
            Self::Network(error) => write!(f, "the network: {error}"),
        }
    }
}

/// How to sample rows again.
struct Again<'r>(&'r Path, &'r [Range<u64>]);

impl fmt::Display for Again<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(path, rows) = self;
        let Some((Range { start, end }, others)) = rows.split_first() else {
            return Ok(());
        };
        let path = path.display();
        write!(f, " (`shards resume --out {path} --rows {start}..{end}`")?;
        match others.len() {
            0 => f.write_str(" samples them again)"),
            _ => f.write_str(", and so on, samples them again)"),
        }
    }
}

/// The first ranges of a list, and how many more there are.
pub(crate) struct Listed<'r>(pub(crate) &'r [Range<u64>]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        for (index, rows) in self.0.iter().take(SHOWN).enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{}..{}", rows.start, rows.end)?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

//! What can be wrong with a command line.

use std::fmt;
use std::ops::Range;

/// What is wrong with a command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Misuse {
    /// No such command.
    UnknownCommand { found: String },
    /// The command does not have this option.
    UnknownOption { command: String, found: String },
    /// An option is there twice.
    RepeatedOption { option: String },
    /// The command cannot do without this option.
    MissingOption {
        command: String,
        option: &'static str,
    },
    /// Behind an option there is no value.
    MissingValue { option: String },
    /// An option's value is not what it must be.
    InvalidValue {
        option: &'static str,
        value: String,
        allowed: &'static str,
    },
    /// Two options that exclude each other.
    Together {
        one: &'static str,
        other: &'static str,
    },
    /// An option that works only with another.
    Without {
        one: &'static str,
        other: &'static str,
    },
    /// A shard's number is not below the number of shards.
    NoSuchShard { index: u64, count: u64 },
    /// No rows, or rows that the job does not have.
    NoSuchRows { rows: Range<u64>, samples: u64 },
    /// So many samples have no file.
    TooManySamples { samples: u64, allowed: u64 },
    /// Built without MPI.
    #[cfg(not(feature = "mpi"))]
    WithoutMpi,
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownCommand { found } => {
                write!(f, "no command \"{found}\"; `shards help` lists them")
            }
            Self::UnknownOption { command, found } => {
                write!(f, "`{command}` takes no \"{found}\"; see `shards help`")
            }
            Self::RepeatedOption { option } => write!(f, "{option} is given twice"),
            Self::MissingOption { command, option } => write!(f, "`{command}` needs {option}"),
            Self::MissingValue { option } => write!(f, "{option} needs a value behind it"),
            Self::InvalidValue {
                option,
                value,
                allowed,
            } => {
                write!(f, "{option} \"{value}\": must be {allowed}")
            }
            Self::Together { one, other } => write!(f, "either {one} or {other}, not both"),
            Self::Without { one, other } => write!(f, "{one} works with {other} only"),
            Self::NoSuchShard { index, count: 0 } => {
                write!(f, "--shard {index}/0: n must be at least 1")
            }
            Self::NoSuchShard { index, count } => {
                write!(
                    f,
                    "--shard {index}/{count}: {index} must be below {count}, from 0 on"
                )
            }
            Self::NoSuchRows { rows, samples } => write!(
                f,
                "--rows {}..{}: must lie within 0..{samples}, the start below the end",
                rows.start, rows.end
            ),
            Self::TooManySamples { samples, allowed } => {
                write!(f, "--samples {samples}: must be at most {allowed}")
            }
            #[cfg(not(feature = "mpi"))]
            Self::WithoutMpi => f.write_str("--mpi: this program was built without MPI"),
        }
    }
}

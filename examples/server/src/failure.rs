//! Why a request has no samples.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Why a request has no samples.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Failure {
    /// Its sampler, steps, guidance or snapshot are refused.
    Refused(diffusion_sampler::Error),
    /// A class that the network does not have.
    UnknownClass {
        /// The class.
        class: usize,
        /// The number of classes.
        classes: usize,
    },
    /// Its sampler is one for CFG++, and its guide is another.
    NeedsPlusPlus {
        /// The sampler.
        sampler: String,
    },
    /// Its guide is CFG++, and its sampler is not made for it.
    NotForPlusPlus {
        /// The sampler.
        sampler: String,
    },
    /// It asks for no samples, or for more than one call of the network may hold.
    Rows {
        /// The rows of its call: samples times outputs.
        rows: usize,
        /// The most that a call may have.
        most: usize,
    },
    /// Another request of this name is running.
    Duplicate {
        /// The name.
        id: u64,
    },
    /// A stored run of another network.
    OtherNetwork {
        /// The fingerprint that was stored.
        stored: u64,
        /// That of the network here.
        here: u64,
    },
    /// All places of the queue are taken ([`Client::try_submit`](crate::Client::try_submit)).
    Busy {
        /// The places.
        places: usize,
    },
    /// Its run came to an end: its numbers are not finite, for one.
    Run(diffusion_sampler::Error),
    /// The network failed on its rows, when they were alone too.
    Network(Arc<dyn Error + Send + Sync>),
    /// It was cancelled.
    Cancelled {
        /// The steps that it had taken.
        step: usize,
    },
    /// The server stopped.
    Stopped,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => write!(f, "refused: {error}"),
            Self::UnknownClass { class, classes } => {
                write!(f, "class {class} must be below {classes}")
            }
            Self::NeedsPlusPlus { sampler } => write!(
                f,
                "\"{sampler}\" is that method only with the guide for CFG++: take Guide::PlusPlus"
            ),
            Self::NotForPlusPlus { sampler } => write!(
                f,
                "\"{sampler}\" is no sampler for CFG++: take one whose name says it \
                 (\"DDIM CFG++\"), or another guide than Guide::PlusPlus"
            ),
            Self::Rows { rows, most } => write!(
                f,
                "the request needs {rows} rows in a call of the network, which must be 1 to {most}"
            ),
            Self::Duplicate { id } => write!(f, "another request with id {id} is running"),
            Self::OtherNetwork { stored, here } => write!(
                f,
                "the run was stored with the network {stored:016x}, and this one is {here:016x}"
            ),
            Self::Busy { places } => write!(f, "all {places} places of the queue are taken"),
            Self::Run(error) => write!(f, "the run failed: {error}"),
            Self::Network(error) => write!(f, "the network failed: {error}"),
            Self::Cancelled { step } => write!(f, "cancelled after {step} steps"),
            Self::Stopped => write!(f, "the server stopped"),
        }
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Refused(error) | Self::Run(error) => Some(error),
            Self::Network(error) => Some(&**error),
            _ => None,
        }
    }
}

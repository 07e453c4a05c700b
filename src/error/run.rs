//! Why a run stopped.

use std::fmt;

use super::Error;

/// Why a run stopped: what the crate refuses, or the denoiser's own error.
///
/// It is a `std::error::Error` whatever the denoiser's error is, so that `?` propagates it.
#[derive(Clone, Debug, PartialEq)]
pub enum RunError<E> {
    /// The crate refused.
    Sampler(Error),
    /// The denoiser failed, with its own error.
    Denoiser(E),
}

impl<E> From<Error> for RunError<E> {
    fn from(error: Error) -> Self {
        Self::Sampler(error)
    }
}

impl<E: fmt::Display> fmt::Display for RunError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sampler(error) => error.fmt(f),
            // The alternate form shows what lies behind the errors that have one.
            Self::Denoiser(error) => write!(f, "the denoiser failed: {error:#}"),
        }
    }
}

/// For every error that can be shown, boxed and `anyhow` ones too, which are no `Error`s
/// themselves: `?` propagates them all. The model's error is part of the text;
/// [`RunError::Denoiser`] holds it.
impl<E: fmt::Debug + fmt::Display> std::error::Error for RunError<E> {}

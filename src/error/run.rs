//! Why a run stopped.

use std::convert::Infallible;
use std::fmt;

use super::Error;

/// Why a run stopped: what the crate refuses, the denoiser's own error, or, in a run on tensors of
/// another library, that library's.
///
/// It is a `std::error::Error` whatever the denoiser's error is, so that `?` propagates it.
#[derive(Clone, Debug, PartialEq)]
pub enum RunError<E, T = Infallible> {
    /// The crate refused.
    Sampler(Error),
    /// The denoiser failed, with its own error.
    Denoiser(E),
    /// The [tensor](crate::tensor::TensorOps) library failed, with its own error.
    Tensor(T),
}

impl<T> RunError<Infallible, T> {
    /// The same error where a denoiser can fail too.
    pub(crate) fn widen<E>(self) -> RunError<E, T> {
        match self {
            Self::Sampler(error) => RunError::Sampler(error),
            Self::Tensor(error) => RunError::Tensor(error),
        }
    }
}

impl<E, T> From<Error> for RunError<E, T> {
    fn from(error: Error) -> Self {
        Self::Sampler(error)
    }
}

impl<E: fmt::Display, T: fmt::Display> fmt::Display for RunError<E, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sampler(error) => error.fmt(f),
            // The alternate form shows what lies behind the errors that have one.
            Self::Denoiser(error) => write!(f, "the denoiser failed: {error:#}"),
            Self::Tensor(error) => write!(f, "the tensor library failed: {error:#}"),
        }
    }
}

/// For every error that can be shown, boxed and `anyhow` ones too, which are no `Error`s
/// themselves: `?` propagates them all. The model's error is part of the text;
/// [`RunError::Denoiser`] holds it.
impl<E, T> std::error::Error for RunError<E, T>
where
    E: fmt::Debug + fmt::Display,
    T: fmt::Debug + fmt::Display,
{
}

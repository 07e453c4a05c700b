//! What can be wrong.

use std::fmt;

use safetensors::{Dtype, SafeTensorError};

use crate::architecture::{NO_CLASS, PIXELS};

/// What was wrong with an input or with a file of weights.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A list or an array does not have one entry for each row of x.
    WrongLength {
        /// Its name.
        name: &'static str,
        /// How many entries or rows it must have.
        expected: usize,
        /// How many it has.
        found: usize,
    },
    /// A denoiser was made with another number of classes than x has rows.
    WrongClasses {
        /// The classes of the denoiser.
        classes: usize,
        /// The rows of x.
        rows: usize,
    },
    /// An array does not have one column for each pixel.
    WrongColumns {
        /// Its name.
        name: &'static str,
        /// How many columns it has.
        found: usize,
    },
    /// A class that is neither a digit nor [`NO_CLASS`].
    UnknownClass {
        /// Its row.
        row: usize,
        /// The class.
        class: usize,
    },
    /// A λ that is NaN or infinite.
    NotFinite {
        /// Its row.
        row: usize,
        /// λ.
        lambda: f32,
    },
    /// A denoiser was asked for more outputs than two, with the class and without.
    TooManyOutputs {
        /// How many were wanted.
        found: usize,
    },
    /// The levels differ within a sample.
    LevelsWithinSamples {
        /// The axis along which they differ.
        axis: usize,
    },
    /// The bytes are not a safetensors file.
    Safetensors(SafeTensorError),
    /// The file lacks a tensor.
    MissingTensor {
        /// Its name.
        name: String,
    },
    /// The file holds a tensor that the network does not have.
    UnknownTensor {
        /// Its name.
        name: String,
    },
    /// A tensor is of another shape.
    WrongShape {
        /// Its name.
        name: String,
        /// The shape that it must have.
        expected: Vec<usize>,
        /// The shape that it has.
        found: Vec<usize>,
    },
    /// A tensor holds something else than f16 or f32.
    WrongType {
        /// Its name.
        name: String,
        /// What it holds.
        found: Dtype,
    },
    /// A weight is NaN or infinite.
    WeightNotFinite {
        /// The name of its tensor.
        name: String,
        /// Its place there, in row-major order.
        index: usize,
        /// The weight.
        value: f32,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongLength {
                name,
                expected,
                found,
            } => write!(
                f,
                "{name}: expected {expected}, one for each row, found {found}"
            ),
            Self::WrongClasses { classes, rows } => {
                write!(f, "the denoiser has {classes} classes, x has {rows} rows")
            }
            Self::WrongColumns { name, found } => {
                write!(f, "{name}: expected {PIXELS} columns, found {found}")
            }
            Self::UnknownClass { row, class } => write!(
                f,
                "row {row}: class {class} must be a digit, 0 to 9, or {NO_CLASS} for none"
            ),
            Self::NotFinite { row, lambda } => {
                write!(f, "row {row}: lambda {lambda} must be finite")
            }
            Self::TooManyOutputs { found } => write!(
                f,
                "the network has 2 outputs, with the class and without; {found} were wanted"
            ),
            Self::LevelsWithinSamples { axis } => write!(
                f,
                "the network reads one level for each sample; they differ along axis {axis}"
            ),
            Self::Safetensors(error) => write!(f, "not a safetensors file: {error}"),
            Self::MissingTensor { name } => write!(f, "the file has no tensor \"{name}\""),
            Self::UnknownTensor { name } => {
                write!(
                    f,
                    "the network has no tensor \"{name}\", which the file has"
                )
            }
            Self::WrongShape {
                name,
                expected,
                found,
            } => write!(
                f,
                "tensor \"{name}\": expected shape {expected:?}, found {found:?}"
            ),
            Self::WrongType { name, found } => {
                write!(f, "tensor \"{name}\": expected F16 or F32, found {found:?}")
            }
            Self::WeightNotFinite { name, index, value } => write!(
                f,
                "tensor \"{name}\": element {index} is {value}, but weights must be finite"
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Safetensors(error) => Some(error),
            _ => None,
        }
    }
}

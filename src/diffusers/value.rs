//! The value of a configuration's field.

use std::fmt;

use crate::error::{Number, Shortened};

/// The value of a field of a configuration.
///
/// ```
/// use diffusion_sampler::diffusers::Value;
///
/// assert_eq!(Value::from(50), Value::Number(50.0));
/// assert_eq!(Value::from("trailing").to_string(), "\"trailing\"");
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// `null`: nothing.
    Null,
    /// `true` or `false`.
    Flag(bool),
    /// A number; `Infinity`, `-Infinity` and `NaN` are [`Text`](Self::Text).
    Number(f64),
    /// A string.
    Text(String),
    /// A list of numbers.
    Numbers(Vec<f64>),
    /// Any other list or object, as its text.
    Other(String),
}

/// As JSON; what is long is shortened.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Number(number) => write!(f, "{}", Number(*number)),
            Self::Text(text) => write!(f, "{:?}", Shortened(text)),
            Self::Numbers(numbers) if numbers.len() > 8 => {
                write!(f, "[{} numbers]", numbers.len())
            }
            Self::Numbers(numbers) => {
                let numbers = numbers.iter().map(|&number| Number(number).to_string());
                write!(f, "[{}]", numbers.collect::<Vec<_>>().join(", "))
            }
            Self::Other(text) => write!(f, "{}", Shortened(text)),
        }
    }
}

macro_rules! from {
    ($($type:ty => $variant:ident),* $(,)?) => {$(
        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}

from!(bool => Flag, f64 => Number, i32 => Number, &str => Text, String => Text, Vec<f64> => Numbers);

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::Number(value as f64)
    }
}

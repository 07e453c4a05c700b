//! Numbers on their way out and in: never NaN, and infinite only where that has a meaning.

use std::fmt;

use serde::de::{Error as _, MapAccess, Unexpected, Visitor};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, require};

/// A finite number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Finite(pub(crate) f64);

/// A number that may be infinite: `"inf"` and `"-inf"` in text formats, which know no such numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Extended(pub(crate) f64);

/// The name of a number in errors: its field is known to the format only.
const NAME: &str = "a stored number";

impl From<f64> for Finite {
    fn from(value: f64) -> Self {
        Self(value)
    }
}

impl From<f64> for Extended {
    fn from(value: f64) -> Self {
        Self(value)
    }
}

impl Finite {
    fn check(self) -> Result<Self, Error> {
        require(self.0.is_finite(), NAME, self.0, "finite")?;
        Ok(self)
    }
}

impl Extended {
    fn check(self) -> Result<Self, Error> {
        require(!self.0.is_nan(), NAME, self.0, "finite or infinite")?;
        Ok(self)
    }
}

impl Serialize for Finite {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.check().map_err(S::Error::custom)?.0)
    }
}

impl<'de> Deserialize<'de> for Finite {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self(f64::deserialize(deserializer)?)
            .check()
            .map_err(D::Error::custom)
    }
}

impl Serialize for Extended {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(value) = self.check().map_err(S::Error::custom)?;
        match serializer.is_human_readable() && value.is_infinite() {
            true if value > 0.0 => serializer.serialize_str("inf"),
            true => serializer.serialize_str("-inf"),
            false => serializer.serialize_f64(value),
        }
    }
}

impl<'de> Deserialize<'de> for Extended {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = if deserializer.is_human_readable() {
            deserializer.deserialize_any(Text)?
        } else {
            Self(f64::deserialize(deserializer)?)
        };
        value.check().map_err(D::Error::custom)
    }
}

/// Reads an [`Extended`] from a text format.
struct Text;

/// How `serde_json` shows a number to readers of any type if its feature `arbitrary_precision` is
/// on, which another crate may have turned on.
const JSON_NUMBER: &str = "$serde_json::private::Number";

impl<'de> Visitor<'de> for Text {
    type Value = Extended;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#"a number, "inf" or "-inf""#)
    }

    fn visit_f64<E>(self, value: f64) -> Result<Extended, E> {
        Ok(Extended(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Extended, E> {
        Ok(Extended(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Extended, E> {
        Ok(Extended(value as f64))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Extended, E> {
        match text {
            "inf" => Ok(Extended(f64::INFINITY)),
            "-inf" => Ok(Extended(f64::NEG_INFINITY)),
            _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Extended, M::Error> {
        let wrong = |_| M::Error::invalid_type(Unexpected::Map, &self);
        match map.next_entry::<String, String>().map_err(wrong)? {
            Some((key, text)) if key == JSON_NUMBER => text
                .parse()
                .map(Extended)
                .map_err(|_| M::Error::invalid_value(Unexpected::Str(&text), &self)),
            _ => Err(M::Error::invalid_type(Unexpected::Map, &self)),
        }
    }
}

/// `#[serde(with = "…")]` for fields of type `f64` that hold finite numbers.
pub(crate) mod finite {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
        Finite(*value).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        Ok(Finite::deserialize(from)?.0)
    }
}

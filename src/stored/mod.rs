//! DOC

mod array;
mod checksum;
mod number;
mod version;

pub use array::{Element, StoredArray};

pub(crate) use array::Form as ArrayForm;
pub(crate) use checksum::{Checksum, check};
pub(crate) use number::{Extended, Finite, finite};
pub(crate) use version::Version;

use serde::{Deserialize, Deserializer};

/// Stores a type as a form and reads it back through the form's checks: `TryFrom<&type>` for the
/// form, `TryFrom<form>` for the type.
macro_rules! through {
    ($($type:ty => $form:ty),+ $(,)?) => {$(
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let form = <$form>::try_from(self).map_err(serde::ser::Error::custom)?;
                serde::Serialize::serialize(&form, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let form: $form = serde::Deserialize::deserialize(deserializer)?;
                Self::try_from(form).map_err(serde::de::Error::custom)
            }
        }
    )+};
}

/// Stores a type as the copy of its definition (`#[serde(remote = "…")]`) says.
macro_rules! remote {
    ($($type:ty => $copy:ty),+ $(,)?) => {$(
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                <$copy>::serialize(self, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <$copy>::deserialize(deserializer)
            }
        }
    )+};
}

pub(crate) use {remote, through};

/// `#[serde(deserialize_with = "…")]` for a field that may be null, but not be missing.
pub(crate) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    T::deserialize(deserializer)
}

//! The version of a stored form.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Error;

/// The first field of a form: it is read before what it is the version of.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Version;

/// The version that this crate writes, and the only one that it reads.
const KNOWN: u32 = 1;

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(KNOWN)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            KNOWN => Ok(Self),
            found => Err(D::Error::custom(Error::StoredVersion {
                found,
                known: KNOWN,
            })),
        }
    }
}

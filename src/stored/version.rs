//! The version of a stored form.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Error;

/// The first field of a form: it is read before what it is the version of. `KNOWN` is the one that
/// this crate writes, and the only one that it reads.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Version<const KNOWN: u32 = 1>;

impl<const KNOWN: u32> Serialize for Version<KNOWN> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(KNOWN)
    }
}

impl<'de, const KNOWN: u32> Deserialize<'de> for Version<KNOWN> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            found if found == KNOWN => Ok(Self),
            found => Err(D::Error::custom(Error::StoredVersion {
                found,
                known: KNOWN,
            })),
        }
    }
}

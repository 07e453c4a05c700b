//! What tells whether something was read as it was written.

use crate::error::Error;
use crate::fnv::Fnv;

/// What every stored form is summed up by.
pub(crate) type Checksum = Fnv;

/// Refuses what has another checksum than the one stored with it, and what has none where one is
/// `required`.
pub(crate) fn check(
    name: &'static str,
    expected: u64,
    stored: Option<u64>,
    required: bool,
) -> Result<(), Error> {
    match stored {
        None if required => Err(Error::StoredWithoutChecksum { name, expected }),
        Some(found) if found != expected => Err(Error::StoredChecksum {
            name,
            expected,
            found,
        }),
        _ => Ok(()),
    }
}

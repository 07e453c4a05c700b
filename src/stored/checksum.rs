//! What tells whether something was read as it was written.

use crate::error::Error;

/// FNV-1a, 64 bits, over little-endian bytes.
pub(crate) struct Checksum(u64);

impl Checksum {
    pub(crate) fn new() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
    }

    pub(crate) fn word(&mut self, word: u64) {
        self.bytes(&word.to_le_bytes());
    }

    pub(crate) fn number(&mut self, value: f64) {
        self.word(value.to_bits());
    }

    pub(crate) fn value(&self) -> u64 {
        self.0
    }
}

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

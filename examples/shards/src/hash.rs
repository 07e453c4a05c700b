//! SHA-256 in hexadecimal: what `sha256sum` prints.

use sha2::{Digest, Sha256};

/// A hash in the making.
pub(crate) struct Hash(Sha256);

impl Hash {
    /// Of nothing so far.
    pub(crate) fn new() -> Self {
        Self(Sha256::new())
    }

    /// These bytes too.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash.
    pub(crate) fn finish(self) -> String {
        let bytes = self.0.finalize();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The hash of these bytes.
    pub(crate) fn of(bytes: &[u8]) -> String {
        let mut hash = Self::new();
        hash.add(bytes);
        hash.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_the_standards_example() {
        // FIPS 180-2, appendix B.1.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Hash::of(b"abc"), expected);
    }
}

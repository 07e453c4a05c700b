//! What tells one source of noise from another.

/// FNV-1a, 64 bits, over little-endian words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fingerprint(u64);

impl Fingerprint {
    /// That of a kind of source; each kind has a number of its own.
    pub(super) fn of_kind(kind: u64) -> Self {
        Self(0xCBF2_9CE4_8422_2325).word(kind)
    }

    #[must_use]
    pub(super) fn word(mut self, word: u64) -> Self {
        for byte in word.to_le_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
        self
    }

    #[must_use]
    pub(super) fn number(self, value: f64) -> Self {
        self.word(value.to_bits())
    }

    pub(super) fn value(self) -> u64 {
        self.0
    }
}

/// The kinds of sources.
pub(super) const KEYED: u64 = 1;
pub(super) const BROWNIAN: u64 = 2;
pub(super) const PER_SAMPLE: u64 = 3;
pub(super) const SCALED: u64 = 4;
pub(super) const LEARNED: u64 = 5;
pub(super) const TORCH: u64 = 6;

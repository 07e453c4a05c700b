//! What tells one source of noise from another.

use crate::fnv::Fnv;

/// A source's kind, and then what it is made from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fingerprint(Fnv);

impl Fingerprint {
    /// That of a kind of source; each kind has a number of its own.
    pub(super) fn of_kind(kind: u64) -> Self {
        Self(Fnv::new()).word(kind)
    }

    #[must_use]
    pub(super) fn word(mut self, word: u64) -> Self {
        self.0.word(word);
        self
    }

    #[must_use]
    pub(super) fn number(self, value: f64) -> Self {
        self.word(value.to_bits())
    }

    pub(super) fn value(self) -> u64 {
        self.0.value()
    }
}

/// The kinds of sources.
pub(super) const KEYED: u64 = 1;
pub(super) const BROWNIAN: u64 = 2;
pub(super) const PER_SAMPLE: u64 = 3;
pub(super) const SCALED: u64 = 4;
pub(super) const LEARNED: u64 = 5;
pub(super) const TORCH: u64 = 6;

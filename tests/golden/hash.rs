//! What a line is: FNV-1a, 64 bits, over the bits of all numbers in little-endian order.

use std::collections::BTreeMap;

use diffusion_sampler::{Grid, NoiseLevel, Real};

#[derive(Clone, Debug)]
pub(crate) struct Hash(u64);

impl Default for Hash {
    fn default() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }
}

impl Hash {
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }

    pub(crate) fn word(&mut self, word: u64) {
        self.bytes(&word.to_le_bytes());
    }

    pub(crate) fn count(&mut self, count: usize) {
        self.word(count as u64);
    }

    /// The bits. No value here is NaN, which has many: it would be a defect of its own.
    pub(crate) fn number(&mut self, value: f64) {
        assert!(!value.is_nan(), "a NaN among the values");
        self.word(value.to_bits());
    }

    pub(crate) fn numbers<'a>(&mut self, values: impl IntoIterator<Item = &'a f64>) {
        for &value in values {
            self.number(value);
        }
    }

    /// The elements in row-major order; widening f32 to f64 is exact.
    pub(crate) fn elements<'a, A: Real>(&mut self, values: impl IntoIterator<Item = &'a A>) {
        for value in values {
            self.number(value.widen());
        }
    }

    pub(crate) fn level(&mut self, level: &NoiseLevel) {
        for value in [
            level.time(),
            level.model_time(),
            level.alpha(),
            level.sigma(),
            level.log_alpha(),
            level.log_sigma(),
            level.lambda(),
            level.rho(),
            level.snr(),
        ] {
            self.number(value);
        }
    }

    pub(crate) fn grid(&mut self, grid: &Grid) {
        self.count(grid.steps());
        self.number(grid.start_variance());
        for level in grid.levels() {
            self.level(level);
        }
    }
}

/// Whether the line is to be computed: all are, but for what `GOLDEN_ONLY` and `GOLDEN_WITHOUT` say,
/// the beginnings of names.
pub(crate) fn is_wanted(name: &str) -> bool {
    let begins = |variable, otherwise| match std::env::var(variable) {
        Ok(start) => name.starts_with(&start),
        Err(_) => otherwise,
    };
    begins("GOLDEN_ONLY", true) && !begins("GOLDEN_WITHOUT", false)
}

/// Names and hashes.
#[derive(Debug, Default)]
pub(crate) struct Lines(BTreeMap<String, String>);

impl Lines {
    pub(crate) fn add(&mut self, name: impl Into<String>, of: impl FnOnce(&mut Hash)) {
        let (name, mut hash) = (name.into(), Hash::default());
        if !is_wanted(&name) {
            return;
        }
        of(&mut hash);
        let before = self.0.insert(name.clone(), format!("{:016x}", hash.0));
        assert!(before.is_none(), "two lines are called {name}");
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (&String, &String)> {
        self.0.iter()
    }
}

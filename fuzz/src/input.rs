//! Values drawn from the input's bytes, extremes included. What is beyond the input's end is 0.

use arbitrary::Unstructured;

/// Numbers at which formulas break.
const SPECIAL: [f64; 28] = [
    0.0,
    -0.0,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
    f64::MAX,
    f64::MIN,
    f64::MIN_POSITIVE,
    5e-324,
    -5e-324,
    f64::EPSILON,
    1.0 - f64::EPSILON / 2.0,
    1.0 + f64::EPSILON,
    1e-300,
    1e300,
    1e154,
    1e-154,
    1e-38,
    3.4e38,
    1e-45,
    1e-16,
    1e-8,
    1e16,
    1e9,
    999.0,
    1000.0,
    0.5,
    2.0,
];

/// Whether an error's message is some sentences, with numbers and texts that are never long: the bound
/// of the crate's own test over all errors.
pub(crate) fn is_readable(message: &str) -> bool {
    (10..=800).contains(&message.chars().count())
}

/// What is left of the input.
#[derive(Debug)]
pub(crate) struct Input<'a>(Unstructured<'a>);

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(Unstructured::new(bytes))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.0.arbitrary().unwrap_or(0)
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Less than `end`, which is at most 256.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    /// In 65536.
    pub(crate) fn word(&mut self) -> usize {
        usize::from(self.0.arbitrary::<u16>().unwrap_or(0))
    }

    pub(crate) fn long(&mut self) -> u64 {
        self.0.arbitrary().unwrap_or(0)
    }

    pub(crate) fn choose<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        let index = if of.len() > 256 {
            self.word() % of.len()
        } else {
            self.below(of.len())
        };
        &of[index]
    }

    /// In [0, 1), a multiple of 2⁻¹⁶.
    pub(crate) fn unit(&mut self) -> f64 {
        self.word() as f64 / 65536.0
    }

    /// Any number, of every size about as often.
    pub(crate) fn number(&mut self) -> f64 {
        match self.below(12) {
            0 => 0.0,
            1 => 1.0,
            2 => -f64::from(self.byte()),
            3 => f64::from_bits(self.long()),
            4 => *self.choose(&SPECIAL),
            5 => self.unit(),
            6 => self.power(),
            7 => -self.power(),
            8 => f64::from(self.byte()),
            9 => f64::from(self.byte() as i8) / 16.0,
            10 => self.word() as f64,
            _ => 1.0 - self.power(),
        }
    }

    /// A finite one that is not out of the way.
    pub(crate) fn tame(&mut self) -> f64 {
        f64::from(self.0.arbitrary::<i16>().unwrap_or(0)) / 4096.0
    }

    /// A power of ten between 10⁻³² and 10³².
    fn power(&mut self) -> f64 {
        10f64.powf(f64::from(self.byte() as i8) / 4.0)
    }

    /// A list of up to `most` numbers.
    pub(crate) fn numbers(&mut self, most: usize) -> Vec<f64> {
        let count = self.below(most + 1);
        (0..count).map(|_| self.number()).collect()
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.0.take_rest()
    }
}

/// A generator for what the engine need not choose (Knuth's MMIX constants).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mix(pub(crate) u64);

impl Mix {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// In [−1, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        self.next() as f64 / (1u64 << 30) as f64 - 1.0
    }
}

/// The bits of a number; all NaN are one.
pub(crate) fn bits<A: diffusion_sampler::Real>(value: A) -> u64 {
    if value.is_nan() {
        return u64::MAX;
    }
    value.widen().to_bits()
}

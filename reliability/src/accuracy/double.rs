//! Numbers of 106 bits as the sum of two f64: what f64 is compared with.

use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

/// The sum of two f64, the second at most half a unit in the last place of the first. A sum, a
/// product and a quotient are right to 4·2⁻¹⁰⁶ (Joldes, Muller and Popescu 2017), where nothing
/// overflows or underflows.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Double {
    high: f64,
    low: f64,
}

impl Double {
    /// 0.
    pub const ZERO: Self = Self {
        high: 0.0,
        low: 0.0,
    };

    /// The number itself.
    pub fn of(value: f64) -> Self {
        Self {
            high: value,
            low: 0.0,
        }
    }

    /// The nearest f64.
    pub fn value(self) -> f64 {
        self.high
    }

    /// This number less an f64, as f64.
    pub fn less(self, other: f64) -> f64 {
        (self - Self::of(other)).high
    }

    /// The square root of a number that is not negative.
    #[must_use]
    pub fn sqrt(self) -> Self {
        if self.high == 0.0 {
            return Self::ZERO;
        }
        // One step of Newton's method from the f64 root.
        let root = self.high.sqrt();
        let rest = (self - Self::of(root) * Self::of(root)).high;
        quick_sum(root, rest / (2.0 * root))
    }
}

/// a + b and what rounding leaves of it, |a| ≥ |b|.
fn quick_sum(a: f64, b: f64) -> Double {
    let high = a + b;
    Double {
        high,
        low: b - (high - a),
    }
}

/// a + b and what rounding leaves of it.
fn sum(a: f64, b: f64) -> (f64, f64) {
    let high = a + b;
    let other = high - a;
    (high, (a - (high - other)) + (b - other))
}

/// The upper and the lower half of a number's bits.
fn split(a: f64) -> (f64, f64) {
    let c = 134_217_729.0 * a;
    let high = c - (c - a);
    (high, a - high)
}

/// ab and what rounding leaves of it (Dekker 1971).
fn product(a: f64, b: f64) -> (f64, f64) {
    let high = a * b;
    let ((a1, a2), (b1, b2)) = (split(a), split(b));
    (high, ((a1 * b1 - high) + a1 * b2 + a2 * b1) + a2 * b2)
}

impl Add for Double {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let (high, rest) = sum(self.high, other.high);
        let (low, last) = sum(self.low, other.low);
        let first = quick_sum(high, rest + low);
        quick_sum(first.high, first.low + last)
    }
}

impl AddAssign for Double {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Neg for Double {
    type Output = Self;

    fn neg(self) -> Self {
        Self {
            high: -self.high,
            low: -self.low,
        }
    }
}

impl Sub for Double {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Mul for Double {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        let (high, rest) = product(self.high, other.high);
        quick_sum(high, rest + (self.high * other.low + self.low * other.high))
    }
}

impl Div for Double {
    type Output = Self;

    fn div(self, other: Self) -> Self {
        let first = self.high / other.high;
        let rest = self - other * Self::of(first);
        let second = rest.high / other.high;
        let last = (rest - other * Self::of(second)).high / other.high;
        quick_sum(first, second) + Self::of(last)
    }
}

#[cfg(test)]
mod tests {
    use super::Double;

    #[test]
    fn thirds_and_roots_have_thirty_digits() {
        let third = Double::of(1.0) / Double::of(3.0);
        let rest = third + third + third - Double::of(1.0);
        assert!(rest.value().abs() < 1e-31, "{rest:?}");
        let root = Double::of(2.0).sqrt();
        let rest = root * root - Double::of(2.0);
        assert!(rest.value().abs() < 1e-31, "{rest:?}");
        let tiny = Double::of(1.0) + Double::of(1e-25) - Double::of(1.0);
        assert!((tiny.value() / 1e-25 - 1.0).abs() < 1e-6, "{tiny:?}");
    }
}

//! Numbers of some 100 bits: unevaluated sums of two f64.

/// high + low, with |low| at most half of high's last place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Twofold {
    pub(super) high: f64,
    low: f64,
}

impl Twofold {
    pub(super) const fn new(high: f64, low: f64) -> Self {
        Self { high, low }
    }

    /// a + b, exactly (Knuth).
    pub(super) fn sum(a: f64, b: f64) -> Self {
        let high = a + b;
        let part = high - a;
        let low = (a - (high - part)) + (b - part);
        Self { high, low }
    }

    /// a·b, exactly (Dekker).
    pub(super) fn product(a: f64, b: f64) -> Self {
        let high = a * b;
        let ([a0, a1], [b0, b1]) = (halves(a), halves(b));
        let low = ((a0 * b0 - high) + a0 * b1 + a1 * b0) + a1 * b1;
        Self { high, low }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        let sum = Self::sum(self.high, other.high);
        let lows = Self::sum(self.low, other.low);
        let sum = Self::sum(sum.high, sum.low + lows.high);
        Self::sum(sum.high, sum.low + lows.low)
    }

    pub(super) fn times(self, other: Self) -> Self {
        let product = Self::product(self.high, other.high);
        let crossed = self.high * other.low + self.low * other.high;
        Self::sum(product.high, product.low + crossed)
    }

    pub(super) fn over(self, divisor: Self) -> Self {
        let first = self.high / divisor.high;
        let left = self.plus(divisor.times(Self::new(-first, 0.0)));
        let second = left.high / divisor.high;
        let left = left.plus(divisor.times(Self::new(-second, 0.0)));
        Self::sum(first, second).plus(Self::new(left.high / divisor.high, 0.0))
    }

    pub(super) fn minus(self) -> Self {
        Self::new(-self.high, -self.low)
    }
}

impl From<f64> for Twofold {
    fn from(value: f64) -> Self {
        Self::new(value, 0.0)
    }
}

/// The upper and the lower 26 bits of a number (Veltkamp).
fn halves(a: f64) -> [f64; 2] {
    const SPLITTER: f64 = 134_217_729.0;
    let scaled = SPLITTER * a;
    let high = scaled - (scaled - a);
    [high, a - high]
}

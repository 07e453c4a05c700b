//! Where a level lies in a list of levels.

use crate::error::Error;
use crate::level::NoiseLevel;

/// How far λ of a level may lie from a listed one's to be the same level, relative to max(1, |λ|).
const SAME_LAMBDA: f64 = 1e-9;

/// The place of a level among listed ones: one of them, or between two neighbours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Place {
    Listed(usize),
    /// Behind level `before`, by this share of the way to the next, in λ.
    Between {
        before: usize,
        share: f64,
    },
}

impl Place {
    /// Among `levels` of strictly decreasing noise.
    ///
    /// # Errors
    ///
    /// [`Error::LambdaOutOfRange`] for a level beyond the listed ones, or beside one with α = 0.
    pub(super) fn of(level: &NoiseLevel, levels: &[NoiseLevel]) -> Result<Self, Error> {
        let lambda = level.lambda();
        let outside = || Error::LambdaOutOfRange {
            lambda,
            noisy: noisiest_of_a_range(levels),
            clean: levels.last().map_or(f64::NAN, NoiseLevel::lambda),
        };
        // Equivalent mutant: replace < with <=: a level of the very λ is the nearest, on either side.
        let after = levels.partition_point(|own| own.lambda() < lambda);
        let listed = |index: usize| Some((index, levels.get(index)?.lambda()));
        let before = after.checked_sub(1).and_then(listed);
        let next = listed(after);
        // The nearer of the two: a fine grid may have several levels within the tolerance.
        let distance = |(_, own): &(usize, f64)| match *own == lambda {
            true => 0.0,
            false => (own - lambda).abs(),
        };
        let nearest = [before, next].into_iter().flatten();
        let nearest = nearest.min_by(|a, b| distance(a).total_cmp(&distance(b)));
        if let Some(own) = nearest
            && distance(&own) <= SAME_LAMBDA * lambda.abs().clamp(1.0, f64::MAX)
        {
            return Ok(Self::Listed(own.0));
        }
        match (before, next) {
            (Some((before, from)), Some((_, to))) if from > f64::NEG_INFINITY => {
                let share = (lambda - from) / (to - from);
                Ok(Self::Between { before, share })
            }
            _ => Err(outside()),
        }
    }

    /// The value here of a quantity with `value(index)` at each listed level: ln of it
    /// interpolated linearly in λ where both neighbours are positive, else itself.
    pub(super) fn value(self, value: impl Fn(usize) -> f64) -> f64 {
        match self {
            Self::Listed(index) => value(index),
            Self::Between { before, share } => {
                let (a, b) = (value(before), value(before + 1));
                if a == 0.0 || b == 0.0 {
                    return (1.0 - share) * a + share * b;
                }
                libm::exp((1.0 - share) * libm::log(a) + share * libm::log(b))
            }
        }
    }
}

/// The least λ from which on there is something to interpolate.
fn noisiest_of_a_range(levels: &[NoiseLevel]) -> f64 {
    let mut signals = levels.iter().filter(|level| level.alpha() > 0.0);
    signals.next().map_or(f64::NEG_INFINITY, NoiseLevel::lambda)
}

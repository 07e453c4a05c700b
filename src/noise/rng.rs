//! Noise from any `rand` generator.

use super::{NoiseKey, NoiseSource};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

/// Noise from a `rand` generator, in the order in which it is asked for.
#[derive(Clone, Debug)]
pub struct RngNoise<R> {
    rng: R,
}

impl<R: Rng> RngNoise<R> {
    /// Noise from `rng`.
    pub fn new(rng: R) -> Self {
        Self { rng }
    }
}

impl<A, R: Rng> NoiseSource<A> for RngNoise<R>
where
    StandardNormal: Distribution<A>,
{
    fn fill(&mut self, _key: NoiseKey, _first: u64, out: &mut [A]) {
        for value in out {
            *value = StandardNormal.sample(&mut self.rng);
        }
    }
}

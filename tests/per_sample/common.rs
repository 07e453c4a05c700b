//! Requests, models and comparisons that the tests share.

use std::convert::Infallible;

use diffusion_sampler::{
    Denoiser, Grid, KeyedNoise, Prediction, Query, Real, Sampler,
    noise::{PerSample, SampleNoise},
    schedule::TableSchedule,
    solver::Solver,
};
use ndarray::{Array2, ArrayRef, Ix2, s};
use proptest::prelude::*;

pub(crate) const KIND: Prediction = Prediction::Velocity;

/// A sample of a request: the request's seed, and which of its samples.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) seed: u64,
    pub(crate) sample: u64,
}

impl Request {
    /// Its noise in a batch of its own.
    pub(crate) fn alone(self) -> KeyedNoise {
        let noise = KeyedNoise::new(self.seed);
        noise.with_first_sample(self.sample).unwrap()
    }

    /// Its noise in a batch of others.
    pub(crate) fn among(self) -> SampleNoise {
        let noise = SampleNoise::new(KeyedNoise::new(self.seed));
        noise.with_sample(self.sample).unwrap()
    }
}

pub(crate) fn list(requests: &[Request]) -> PerSample {
    PerSample::new(requests.iter().map(|request| request.among()).collect())
}

fn request() -> impl Strategy<Value = Request> {
    let seed = prop_oneof![0u64..3, any::<u64>()];
    let sample = prop_oneof![0u64..4, 0u64..1 << 53, Just((1 << 53) - 1)];
    (seed, sample).prop_map(|(seed, sample)| Request { seed, sample })
}

pub(crate) fn requests() -> impl Strategy<Value = Vec<Request>> {
    prop::collection::vec(request(), 1..6)
}

/// A model whose answer depends on the level and not linearly on x, and that looks at each element
/// alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Smooth;

impl<A: Real> Denoiser<A, Ix2> for Smooth {
    type Error = Infallible;

    fn prediction(&self) -> Prediction {
        KIND
    }

    fn denoise(
        &mut self,
        x: &ArrayRef<A, Ix2>,
        query: &Query<'_>,
        out: &mut ArrayRef<A, Ix2>,
    ) -> Result<(), Infallible> {
        let rows = x.outer_iter().zip(out.outer_iter_mut());
        for (sample, (x, mut out)) in rows.enumerate() {
            let level = query.levels()[sample.min(query.levels().len() - 1)];
            let (alpha, sigma) = (A::cast(level.alpha()), A::cast(level.sigma()));
            out.zip_mut_with(&x, |out, &x| *out = sigma * x / (A::one() + alpha * x * x));
        }
        Ok(())
    }

    fn reads_rows(&self) -> bool {
        true
    }
}

pub(crate) fn schedule() -> TableSchedule {
    TableSchedule::linear(1000, 1e-4, 0.02).unwrap()
}

pub(crate) fn sampler(solver: &dyn Solver, steps: usize) -> Sampler {
    let schedule = schedule();
    let grid = Grid::trailing(&schedule, steps).unwrap();
    Sampler::new(&schedule, &grid, solver).unwrap()
}

/// Any numbers between −1 and 1.
pub(crate) fn numbers<A: Real>(shape: (usize, usize)) -> Array2<A> {
    Array2::from_shape_fn(shape, |(i, j)| A::cast(((i * 31 + j * 7) as f64).sin()))
}

/// The bits of a sample's elements.
pub(crate) fn row<A: Real>(array: &ArrayRef<A, Ix2>, sample: usize) -> Vec<u64> {
    let row = array.slice(s![sample, ..]);
    row.iter().map(|value| value.widen().to_bits()).collect()
}

/// One sample as a batch.
pub(crate) fn part<A: Real>(array: &Array2<A>, sample: usize) -> Array2<A> {
    array.slice(s![sample..=sample, ..]).to_owned()
}

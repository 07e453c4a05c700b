//! A network of two outputs, and runs of it.

use diffusion_sampler::{
    Error, Grid, KeyedNoise, Prediction, Sampler,
    denoiser::{from_query_fn, split_channels},
    noise::LearnedNoise,
    solver::Solver,
};
use ndarray::{Array2, Axis, Ix2, concatenate};

use crate::common::linear;

pub(crate) const ELEMENTS: usize = 3;

/// A made-up network: a prediction of ε and an f in (−1, 1) that depend on state and level.
pub(crate) fn network(x: f64, sigma: f64) -> (f64, f64) {
    ((sigma * x).sin() + 0.1 * x, (1.7 * x - sigma).tanh())
}

pub(crate) fn two_heads() -> impl diffusion_sampler::Denoiser<f64, Ix2, Error = Error> {
    from_query_fn::<f64, Ix2, Error>(Prediction::Noise, 2, |x, query, out| {
        // The network returns both along its channels.
        let parts =
            |part: fn((f64, f64)) -> f64| x.mapv(|x| part(network(x, query.level().sigma())));
        let (noise, f) = (parts(|heads| heads.0), parts(|heads| heads.1));
        let result: Array2<f64> = concatenate![Axis(1), noise, f];
        split_channels(&result, out)
    })
}

pub(crate) fn sampler(solver: &dyn Solver, steps: usize) -> Result<Sampler, Error> {
    let schedule = linear()?;
    Sampler::new(&schedule, &Grid::trailing(&schedule, steps)?, solver)
}

pub(crate) type Run = diffusion_sampler::Trajectory<f64, Ix2, LearnedNoise<f64>>;

pub(crate) fn start(sampler: &Sampler, samples: usize, seed: u64) -> Result<Run, Error> {
    let noise = LearnedNoise::new(KeyedNoise::new(seed));
    sampler.start((samples, ELEMENTS), Prediction::Noise, noise)
}

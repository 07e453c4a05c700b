//! What the modules share.

use diffusion_sampler::{
    Denoiser, Grid, Prediction, Sampler,
    noise::{NoiseSource, NormalElement, TorchCpu},
    oracle::{Gaussian, Oracle},
    schedule::TableSchedule,
    solver::Solver,
};
use ndarray::{Array2, Ix2};

/// `torch.randn(length)`.
pub(crate) fn randn<A: NormalElement + Default>(generator: &mut TorchCpu, length: usize) -> Vec<A> {
    let mut tensor = vec![A::default(); length];
    generator.randn(&mut tensor);
    tensor
}

pub(crate) const KIND: Prediction = Prediction::Noise;

pub(crate) fn schedule() -> TableSchedule {
    TableSchedule::scaled_linear(1000, 0.00085, 0.012).unwrap()
}

pub(crate) fn sampler(solver: &dyn Solver) -> Sampler {
    let schedule = schedule();
    Sampler::new(&schedule, &Grid::trailing(&schedule, 6).unwrap(), solver).unwrap()
}

/// The exact model of data around 0.
pub(crate) fn model(elements: usize) -> impl Denoiser<f32, Ix2> {
    let data = Gaussian::isotropic(&vec![0.25; elements], 0.5).unwrap();
    data.denoiser(KIND)
}

/// A whole run; `noise` is what it draws from.
pub(crate) fn samples(
    sampler: &Sampler,
    (samples, elements): (usize, usize),
    noise: impl NoiseSource<f32>,
) -> Array2<f32> {
    let mut run = sampler.start((samples, elements), KIND, noise).unwrap();
    run.complete(&mut model(elements))
        .map_err(|_| "the run failed")
        .unwrap();
    run.into_state()
}

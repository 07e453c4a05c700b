//! What these tests share.

use diffusion_sampler::{
    KeyedNoise, NoiseLevel, Prediction, Sampler, from_fn,
    noise::{NoiseKey, NoiseSource},
    plan::Plan,
    run::{DdimStep, Machine},
    testing::proptest::{prelude::ProptestConfig, test_runner::RngSeed},
};
use ndarray::{Array2, Ix2};

/// So many cases, the same in every run.
pub(crate) fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(0x1DEA),
        failure_persistence: None,
        max_global_rejects: 4 * cases,
        max_shrink_iters: 10_000,
        ..ProptestConfig::default()
    }
}

/// The given values as a source of noise.
#[derive(Debug)]
pub(crate) struct Given(pub(crate) Vec<f64>);

impl NoiseSource<f64> for Given {
    fn fill(&mut self, _: NoiseKey, first: u64, out: &mut [f64]) {
        let first = first as usize;
        out.copy_from_slice(&self.0[first..first + out.len()]);
    }
}

/// One sample as a batch of one.
pub(crate) fn row(values: &[f64]) -> Array2<f64> {
    Array2::from_shape_vec((1, values.len()), values.to_vec()).unwrap()
}

/// This crate's single step as a black box on slices.
pub(crate) fn take(
    step: &DdimStep,
    prediction: Prediction,
    (x, output, z): (&[f64], &[f64], &[f64]),
    out: &mut [f64],
) {
    let mut machine = Machine::new(row(x), 0).unwrap();
    let mut noise = Given(z.to_vec());
    step.tell(&mut machine, prediction, &row(output), &mut noise, 0)
        .unwrap();
    out.copy_from_slice(machine.state().as_slice().unwrap());
}

/// This crate's run of a plan whose model knows x₀.
pub(crate) fn run_on_point(plan: &Plan, x: &[f64], x0: &[f64]) -> Vec<f64> {
    let sampler = Sampler::from_plan(plan.clone(), 1.0).unwrap();
    let x0 = x0.to_vec();
    let mut model = from_fn::<f64, Ix2>(Prediction::Data, move |_, _, out| {
        for (out, value) in out.iter_mut().zip(&x0) {
            *out = *value;
        }
    });
    let mut run = sampler
        .start_from(row(x), Prediction::Data, KeyedNoise::new(1))
        .unwrap();
    run.complete(&mut model).unwrap();
    run.into_state().into_raw_vec_and_offset().0
}

/// A variance-preserving level by λ.
pub(crate) fn at_lambda(lambda: f64) -> NoiseLevel {
    let log_alpha_squared = -(-2.0 * lambda).exp().ln_1p();
    NoiseLevel::variance_preserving(-lambda, log_alpha_squared).unwrap()
}

//! Positions along an axis (tokens, frames) at levels of their own: whole runs and single steps.

mod corners;
mod exact;
mod given;
mod guided;
mod refusals;
mod runs;
mod steps;

use std::convert::Infallible;

use diffusion_sampler::{
    Denoiser, KeyedNoise, NoiseLevel, Prediction, Query, Real,
    posterior::Kappa,
    run::{PositionSampler, PositionSchedule},
};
use ndarray::{Array, ArrayD, ArrayRef, Axis, Dimension, IxDyn};

use crate::common::Smooth;

pub(super) const SEED: u64 = 31;
pub(super) const KINDS: [Prediction; 3] =
    [Prediction::Noise, Prediction::Data, Prediction::Velocity];
pub(super) const KAPPAS: [Kappa; 4] = [Kappa::Ddim, Kappa::Ddpm, Kappa::Eta(0.5), Kappa::Fresh];

/// A shape and the axis of its positions: tokens, frames, a last axis, rows longer than a block of
/// noise.
pub(super) const SHAPES: [(&[usize], usize); 4] = [
    (&[3, 4, 10], 1),
    (&[2, 3, 4, 2, 3], 2),
    (&[2, 6, 4], 2),
    (&[2, 4, 700], 1),
];

/// `Smooth` at the level of each position.
#[derive(Clone, Copy, Debug)]
pub(super) struct Each(pub(super) Prediction, pub(super) usize);

impl<A: Real, D: Dimension> Denoiser<A, D> for Each {
    type Error = Infallible;

    fn prediction(&self) -> Prediction {
        self.0
    }

    fn denoise(
        &mut self,
        x: &ArrayRef<A, D>,
        query: &Query<'_>,
        out: &mut ArrayRef<A, D>,
    ) -> Result<(), Infallible> {
        let (x, mut out) = (x.view().into_dyn(), out.view_mut().into_dyn());
        for (index, out) in out.indexed_iter_mut() {
            let level = query.level_at(index[0], index[self.1]).unwrap();
            *out = Smooth::at(x[&index], &level);
        }
        Ok(())
    }

    fn reads_positions(&self) -> bool {
        true
    }
}

pub(super) fn along(schedule: PositionSchedule, axis: usize, kappa: Kappa) -> PositionSampler {
    PositionSampler::new(schedule, axis, kappa).unwrap()
}

/// The bits of one position of every sample.
pub(super) fn at<A: Real, D: Dimension>(
    array: &ArrayRef<A, D>,
    axis: usize,
    position: usize,
) -> Vec<u64> {
    let array = array.view().into_dyn();
    let part = array.index_axis(Axis(axis), position);
    part.iter().map(|value| value.widen().to_bits()).collect()
}

/// Any numbers between −1 and 1.
pub(super) fn numbers<A: Real>(shape: &[usize]) -> ArrayD<A> {
    let mut count = 0.0;
    Array::from_shape_simple_fn(IxDyn(shape), || {
        count += 1.0;
        A::cast(f64::sin(count * 1.7))
    })
}

pub(super) fn keyed() -> KeyedNoise {
    KeyedNoise::new(SEED)
}

pub(super) fn level(alpha: f64, sigma: f64) -> NoiseLevel {
    NoiseLevel::new(sigma, alpha, sigma).unwrap()
}

//! A network with many outputs, levels, and one step of a run.

use std::convert::Infallible;
use std::ops::ControlFlow;

use diffusion_sampler::{
    Clip, Denoiser, Grid, KeyedNoise, NoiseLevel, Prediction, Query, Sampler, Trajectory,
    denoiser::Guided,
    guidance::Guidance,
    solver::{FirstOrder, Path, Solver},
};
use ndarray::{Array3, ArrayRef, Axis, Ix3, RemoveAxis};

pub(crate) type Image = ArrayRef<f64, Ix3>;
pub(crate) const SHAPE: (usize, usize, usize) = (3, 2, 7);
pub(crate) const PREDICTIONS: [Prediction; 4] = [
    Prediction::Noise,
    Prediction::Data,
    Prediction::Velocity,
    Prediction::Flow,
];

/// A state whose samples differ in content and in size.
pub(crate) fn state() -> Array3<f64> {
    Array3::from_shape_fn(SHAPE, |(i, j, k)| {
        (1.0 + i as f64) * (0.9 * i as f64 + 1.7 * j as f64 + 0.6 * k as f64 + 0.3).sin()
    })
}

/// Pairs of levels: variance preserving, a flow's, one without damping, one without noise to keep.
pub(crate) fn edges() -> Vec<(NoiseLevel, NoiseLevel)> {
    let level = |time, alpha, sigma| NoiseLevel::new(time, alpha, sigma).unwrap();
    vec![
        (level(0.6, 0.8, 0.6), level(0.3, 0.96, 0.28)),
        (level(0.7, 0.3, 0.7), level(0.5, 0.5, 0.5)),
        (level(3.0, 1.0, 3.0), level(1.0, 1.0, 1.0)),
        (level(0.4, 0.6, 0.4), NoiseLevel::clean()),
    ]
}

/// What output `j` of the network says of one element.
pub(crate) fn answer(j: usize, x: f64, level: &NoiseLevel) -> f64 {
    let j = j as f64;
    (x * (1.0 + 0.31 * j) + 0.5 * j).sin() + 0.2 * j - 0.3 * level.sigma() * x + 0.1
}

/// A network with as many outputs as it is asked for, which counts its calls.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) prediction: Prediction,
    /// (outputs, rows) of every call.
    pub(crate) calls: Vec<(usize, usize)>,
    /// The number of its first output.
    pub(crate) first: usize,
}

impl Network {
    pub(crate) fn new(prediction: Prediction) -> Self {
        Self::from(prediction, 0)
    }

    pub(crate) fn from(prediction: Prediction, first: usize) -> Self {
        Self {
            prediction,
            calls: Vec::new(),
            first,
        }
    }
}

impl<D: RemoveAxis> Denoiser<f64, D> for Network {
    type Error = Infallible;

    fn prediction(&self) -> Prediction {
        self.prediction
    }

    fn denoise(
        &mut self,
        x: &ArrayRef<f64, D>,
        query: &Query<'_>,
        out: &mut ArrayRef<f64, D>,
    ) -> Result<(), Infallible> {
        self.calls.push((query.outputs(), out.shape()[0]));
        let samples = x.shape()[0];
        assert_eq!(out.shape()[0], samples * query.outputs());
        for (row, mut out) in out.axis_iter_mut(Axis(0)).enumerate() {
            let (j, sample) = (row / samples, row % samples);
            let level = query.level_of(sample).unwrap();
            let first = self.first;
            out.zip_mut_with(&x.index_axis(Axis(0), sample), |o, &x| {
                *o = answer(first + j, x, &level);
            });
        }
        Ok(())
    }

    fn reads_rows(&self) -> bool {
        true
    }
}

pub(crate) fn outputs(count: usize, x: &Image, level: &NoiseLevel) -> Vec<Array3<f64>> {
    (0..count)
        .map(|j| x.mapv(|x| answer(j, x, level)))
        .collect()
}

pub(crate) fn sampler(levels: &[NoiseLevel], solver: &dyn Solver) -> Sampler {
    let grid = Grid::from_levels(levels.to_vec(), 1.0).unwrap();
    Sampler::along(&Path::without_schedule(&grid), solver).unwrap()
}

pub(crate) fn run(sampler: &Sampler, prediction: Prediction) -> Trajectory<f64, Ix3> {
    sampler
        .start_from(state(), prediction, KeyedNoise::new(3))
        .unwrap()
}

/// The state and the estimate of x₀ after one step of DDIM with a guided network.
pub(crate) fn step(
    (from, to): (NoiseLevel, NoiseLevel),
    prediction: Prediction,
    guidance: &dyn Guidance,
    clip: Option<Clip>,
) -> (Array3<f64>, Array3<f64>) {
    let mut sampler = sampler(&[from, to], &FirstOrder::ddim());
    if let Some(clip) = clip {
        sampler = sampler.with_clip(clip);
    }
    let mut run = run(&sampler, prediction);
    let mut data = None;
    let mut model = Guided::new(Network::new(prediction), guidance);
    let _ = run
        .complete_with(&mut model, |report| {
            data = Some(report.data.to_owned());
            ControlFlow::Continue(())
        })
        .unwrap();
    (run.into_state(), data.unwrap())
}

/// The largest difference, relative to the largest entry (at least 1).
pub(crate) fn difference(a: &Image, b: &Image) -> f64 {
    assert_eq!(a.shape(), b.shape());
    let scale = b.iter().fold(1.0, |m: f64, v| m.max(v.abs()));
    a.iter().zip(b).fold(0.0, |worst: f64, (a, b)| {
        let difference = (a - b).abs();
        if difference.is_nan() {
            f64::INFINITY
        } else {
            worst.max(difference / scale)
        }
    })
}

pub(crate) fn bits(a: &Image) -> Vec<u64> {
    a.iter().map(|v| v.to_bits()).collect()
}

/// The same values, stored with all axes transposed, or backwards along every axis.
pub(crate) fn other_layouts(a: &Array3<f64>) -> [Array3<f64>; 2] {
    let mut transposed = Array3::zeros((a.dim().2, a.dim().1, a.dim().0)).reversed_axes();
    transposed.assign(a);
    let mut backwards = Array3::zeros(a.dim());
    for axis in 0..3 {
        backwards.invert_axis(Axis(axis));
    }
    backwards.assign(a);
    assert!(!transposed.is_standard_layout() && !backwards.is_standard_layout());
    [transposed, backwards]
}

//! Schedules, data and models of the lines. The models use only operations that every machine
//! rounds in one way.

use std::convert::Infallible;

use diffusion_sampler::{
    Denoiser, Prediction, Query, Real,
    denoiser::Classifier,
    oracle::{Gaussian, GaussianMixture},
    schedule::{
        Edm, NoiseSchedule, RectifiedFlow, TableSchedule, UnitVariance, VarianceExploding,
        VariancePreserving,
    },
};
use ndarray::{Array, ArrayRef, Axis, Dimension, Ix2, Ix3, RemoveAxis, array};

pub(crate) type Named = (&'static str, Box<dyn NoiseSchedule>);

pub(crate) fn table() -> TableSchedule {
    TableSchedule::scaled_linear(1000, 0.00085, 0.012).unwrap()
}

pub(crate) fn schedules() -> Vec<Named> {
    let table = table();
    vec![
        ("zero SNR", Box::new(table.zero_terminal_snr().unwrap())),
        ("scaled linear", Box::new(table)),
        ("cosine", Box::new(TableSchedule::cosine(1000).unwrap())),
        (
            "sigmoid",
            Box::new(TableSchedule::sigmoid(1000, 1e-4, 0.02).unwrap()),
        ),
        ("VP", Box::new(VariancePreserving::default())),
        (
            "VE",
            Box::new(VarianceExploding::new(0.002, 700.0).unwrap()),
        ),
        ("EDM", Box::new(Edm::new(0.002, 80.0).unwrap())),
        (
            "EDM, unit variance",
            Box::new(UnitVariance::of(Edm::default())),
        ),
        ("flow", Box::new(RectifiedFlow::new())),
        (
            "shifted flow",
            Box::new(RectifiedFlow::shifted(3.0).unwrap()),
        ),
    ]
}

pub(crate) fn correlated() -> Gaussian {
    let covariance = array![[2.0, 0.6, -0.3], [0.6, 1.0, 0.2], [-0.3, 0.2, 0.5]];
    Gaussian::new(&[1.0, -1.0, 0.5], &covariance).unwrap()
}

pub(crate) fn mixture() -> GaussianMixture {
    let parts = vec![
        Gaussian::diagonal(&[-1.0, 0.5, 0.0], &[0.1, 0.2, 0.3]).unwrap(),
        Gaussian::isotropic(&[1.0, 0.0, 0.25], 0.05).unwrap(),
        correlated(),
    ];
    GaussianMixture::new(&[1.0, 2.0, 0.5], parts, vec![0, 1, 1]).unwrap()
}

/// A state of any shape whose samples differ in content and in size.
pub(crate) fn state<A: Real, D: Dimension>(shape: D) -> Array<A, D> {
    let mut state = Array::zeros(shape);
    for (index, x) in state.iter_mut().enumerate() {
        let part = ((index * 37 + 11) % 101) as f64 / 25.0 - 2.0;
        *x = A::cast(part * (1.0 + (index % 7) as f64));
    }
    state
}

/// A network of as many outputs as it is asked for: rational functions of the state and the level.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Network(pub(crate) Prediction);

impl<A: Real, D: RemoveAxis> Denoiser<A, D> for Network {
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
        let samples = x.shape()[0];
        for (row, mut out) in out.axis_iter_mut(Axis(0)).enumerate() {
            let (j, sample) = (row / samples, row % samples);
            let level = query.level_of(sample).unwrap();
            let share = level.sigma() / (level.alpha() + level.sigma());
            let slope = A::cast(0.9 - 0.2 * share + 0.03 * j as f64);
            let shift = A::cast(0.1 * j as f64 - 0.05);
            out.zip_mut_with(&x.index_axis(Axis(0), sample), |o, &x| {
                *o = slope * x / (A::one() + A::cast(0.25) * x * x) + shift;
            });
        }
        Ok(())
    }

    fn reads_rows(&self) -> bool {
        true
    }
}

/// A classifier whose gradient falls with the distance from ½.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Towards;

impl<A: Real> Classifier<A, Ix3> for Towards {
    type Error = Infallible;

    fn gradient(
        &mut self,
        x: &ArrayRef<A, Ix3>,
        _: &Query<'_>,
        out: &mut ArrayRef<A, Ix3>,
    ) -> Result<(), Infallible> {
        out.zip_mut_with(x, |o, &x| {
            *o = (A::cast(0.5) - x) / (A::one() + x * x);
        });
        Ok(())
    }
}

/// A network of two outputs, the second of them between −1 and 1: a learned variance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TwoHeads;

impl Denoiser<f64, Ix2> for TwoHeads {
    type Error = Infallible;

    fn prediction(&self) -> Prediction {
        Prediction::Noise
    }

    fn denoise(
        &mut self,
        x: &ArrayRef<f64, Ix2>,
        query: &Query<'_>,
        out: &mut ArrayRef<f64, Ix2>,
    ) -> Result<(), Infallible> {
        let samples = x.shape()[0];
        for (row, mut out) in out.axis_iter_mut(Axis(0)).enumerate() {
            let second = row >= samples && query.outputs() > 1;
            out.zip_mut_with(&x.index_axis(Axis(0), row % samples), |o, &x| {
                *o = if second { x / (1.0 + x * x) } else { 0.5 * x };
            });
        }
        Ok(())
    }
}

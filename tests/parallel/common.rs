//! Models and samplers of these tests.

use std::convert::Infallible;

use diffusion_sampler::oracle::{Gaussian, GaussianMixture};
use diffusion_sampler::schedule::{NoiseSchedule, TableSchedule};
use diffusion_sampler::{
    Denoiser, Grid, NoiseLevel, Prediction, Query, Real, Sampler,
    solver::{FirstOrder, Solver},
};
use ndarray::{Array, ArrayRef, ArrayViewMut, Axis, Dimension};

/// A model that is not linear and whose elements of a row depend on each other, on the level and on
/// the sample; `outputs` of them, each weaker than the one before.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    pub(crate) prediction: Prediction,
    pub(crate) calls: usize,
    pub(crate) rows: usize,
}

impl Rows {
    pub(crate) fn new(prediction: Prediction) -> Self {
        Self {
            prediction,
            calls: 0,
            rows: 0,
        }
    }
}

/// What the model says of one row.
pub(crate) fn say<A: Real, D: Dimension>(
    x: &ArrayRef<A, D>,
    (level, sample, output): (NoiseLevel, usize, usize),
    mut out: ArrayViewMut<'_, A, D>,
) {
    let (alpha, sigma) = (A::cast(level.alpha()), A::cast(level.sigma()));
    let weaker = A::cast(1.0 / (1.0 + output as f64));
    let own = A::cast(0.1 * sample as f64);
    let mean = x.iter().fold(A::zero(), |sum, x| sum + *x) / A::cast(x.len() as f64);
    out.zip_mut_with(x, |out, &x| {
        *out =
            weaker * (sigma * x / (A::one() + alpha * x * x) + alpha * (own + A::cast(0.1) * mean));
    });
}

impl<A: Real, D: Dimension> Denoiser<A, D> for Rows {
    type Error = Infallible;

    fn prediction(&self) -> Prediction {
        self.prediction
    }

    fn denoise(
        &mut self,
        x: &ArrayRef<A, D>,
        query: &Query<'_>,
        out: &mut ArrayRef<A, D>,
    ) -> Result<(), Infallible> {
        self.calls += 1;
        let rows = x.shape()[0];
        self.rows += rows;
        let one = |row: usize| ndarray::Slice::from(row..row + 1);
        for output in 0..query.outputs() {
            for row in 0..rows {
                let level = query.level_of(row).unwrap();
                let at = (level, query.sample_of(row), output);
                let part = out.slice_axis_mut(Axis(0), one(output * rows + row));
                say(&x.slice_axis(Axis(0), one(row)), at, part);
            }
        }
        Ok(())
    }

    fn reads_rows(&self) -> bool {
        true
    }
}

/// A sampler on the usual table with a trailing grid.
pub(crate) fn sampler(solver: &dyn Solver, steps: usize) -> Sampler {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02).unwrap();
    on(&schedule, solver, steps)
}

pub(crate) fn on(schedule: &dyn NoiseSchedule, solver: &dyn Solver, steps: usize) -> Sampler {
    let grid = Grid::trailing(schedule, steps).unwrap();
    Sampler::new(schedule, &grid, solver).unwrap()
}

pub(crate) fn ddim(steps: usize) -> Sampler {
    sampler(&FirstOrder::ddim(), steps)
}

/// Two clusters in four dimensions.
pub(crate) fn mixture() -> GaussianMixture {
    let parts = vec![
        Gaussian::diagonal(&[-0.5, 0.5, 0.0, 0.2], &[0.3, 0.2, 0.1, 0.01]).unwrap(),
        Gaussian::isotropic(&[0.5, 0.0, 0.25, -0.4], 0.05).unwrap(),
    ];
    GaussianMixture::new(&[1.0, 2.0], parts, vec![0, 1]).unwrap()
}

/// The bits of all elements.
pub(crate) fn bits<A: Real, D: Dimension>(array: &Array<A, D>) -> Vec<u64> {
    array.iter().map(|value| value.widen().to_bits()).collect()
}

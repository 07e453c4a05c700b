//! The rows of one call of the model: the evaluations in the windows of all samples.

use ndarray::{Array, ArrayRef, Dimension};

use crate::denoiser::Query;
use crate::error::Error;
use crate::level::NoiseLevel;
use crate::memory;
use crate::real::Real;

/// The states at which the model is evaluated next, those of one sample behind each other, and what
/// it is asked at each.
#[derive(Clone, Debug)]
pub(super) struct Window<A, D: Dimension> {
    pub(super) x: Array<A, D>,
    levels: Vec<NoiseLevel>,
    targets: Vec<NoiseLevel>,
    steps: Vec<usize>,
    samples: Vec<usize>,
}

/// A window as it is filled.
#[derive(Clone, Debug)]
pub(super) struct Filling<A> {
    values: Vec<A>,
    levels: Vec<NoiseLevel>,
    targets: Vec<NoiseLevel>,
    steps: Vec<usize>,
    samples: Vec<usize>,
}

impl<A: Real, D: Dimension> Window<A, D> {
    pub(super) fn rows(&self) -> usize {
        self.levels.len()
    }

    /// What the model is asked; `None` of a window without rows.
    pub(super) fn query(&self) -> Option<Query<'_>> {
        let levels = (&self.levels[..], &self.targets[..]);
        Query::of_rows(levels, &self.samples, &self.steps).ok()
    }

    /// The sample and the step of a row.
    pub(super) fn place(&self, row: usize) -> (usize, usize) {
        let of = |list: &[usize]| list.get(row).copied().unwrap_or(0);
        (of(&self.samples), of(&self.steps))
    }

    /// The memory of this window, for another.
    pub(super) fn empty(self) -> Filling<A> {
        let mut filling = Filling {
            values: self.x.into_raw_vec_and_offset().0,
            levels: self.levels,
            targets: self.targets,
            steps: self.steps,
            samples: self.samples,
        };
        filling.clear();
        filling
    }
}

impl<A: Real> Filling<A> {
    /// An empty window with room for the rows of this shape.
    pub(super) fn new(shape: &[usize]) -> Result<Self, Error> {
        let rows = shape.first().copied().unwrap_or(0);
        Ok(Self {
            values: memory::reserve(shape)?,
            levels: memory::reserve(&[rows])?,
            targets: memory::reserve(&[rows])?,
            steps: memory::reserve(&[rows])?,
            samples: memory::reserve(&[rows])?,
        })
    }

    fn clear(&mut self) {
        self.values.clear();
        self.levels.clear();
        self.targets.clear();
        self.steps.clear();
        self.samples.clear();
    }

    /// One more row: the state of a sample where `query` asks for the model.
    pub(super) fn push<D: Dimension>(
        &mut self,
        sample: usize,
        x: &ArrayRef<A, D>,
        query: &Query<'_>,
    ) {
        self.values.extend(x.iter().copied());
        self.levels.push(query.level());
        self.targets.push(query.target().unwrap_or(query.level()));
        self.steps.push(query.step().unwrap_or(0));
        self.samples.push(sample);
    }

    /// The window, of rows of the shape that those of `like` have.
    pub(super) fn full<D: Dimension>(self, like: &ArrayRef<A, D>) -> Result<Window<A, D>, Error> {
        let mut shape = like.raw_dim();
        shape[0] = self.levels.len();
        let x = Array::from_shape_vec(shape, self.values);
        let name = "window";
        Ok(Window {
            x: x.map_err(|_| Error::LayoutChanged { name })?,
            levels: self.levels,
            targets: self.targets,
            steps: self.steps,
            samples: self.samples,
        })
    }
}

//! The time that a model takes, apart from that of the sampler around it.

use std::cell::Cell;
use std::time::{Duration, Instant};

use diffusion_sampler::guidance::Guidance;
use diffusion_sampler::{Denoiser, Error, Prediction, Query, Real};
use ndarray::{ArrayRef, Dimension};

/// A model whose calls are timed: their sum stands in `spent`.
#[derive(Clone, Debug)]
pub struct Timed<'t, M> {
    /// The model.
    pub model: M,
    /// The time in all calls so far.
    pub spent: &'t Cell<Duration>,
}

impl<A: Real, D: Dimension, M: Denoiser<A, D>> Denoiser<A, D> for Timed<'_, M> {
    type Error = M::Error;

    fn prediction(&self) -> Prediction {
        self.model.prediction()
    }

    fn denoise(
        &mut self,
        x: &ArrayRef<A, D>,
        query: &Query<'_>,
        out: &mut ArrayRef<A, D>,
    ) -> Result<(), M::Error> {
        let start = Instant::now();
        let result = self.model.denoise(x, query, out);
        self.spent.set(self.spent.get() + start.elapsed());
        result
    }

    fn outputs(&self) -> Option<usize> {
        self.model.outputs()
    }

    fn reads_positions(&self) -> bool {
        self.model.reads_positions()
    }

    fn reads_rows(&self) -> bool {
        self.model.reads_rows()
    }

    fn guidance(&self) -> Result<&dyn Guidance, Error> {
        self.model.guidance()
    }
}

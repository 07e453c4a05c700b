//! What a network has to do to be served.

use std::sync::Arc;

use diffusion_sampler::schedule::NoiseSchedule;
use diffusion_sampler::{NoiseLevel, Prediction};
use ndarray::{ArrayView2, ArrayViewMut2};

/// What the network is told of one row of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// The row's own level: rows of one batch are at different positions of different grids.
    pub level: NoiseLevel,
    /// The class; `None` for the dropped condition of guidance.
    pub class: Option<usize>,
}

/// A network that computes each row of a batch by itself. To serve another one (a session of ONNX
/// Runtime, candle, burn), implement this.
pub trait Network: Send + 'static {
    /// The network's own error.
    type Error: std::error::Error + Send + Sync + 'static;

    /// What it predicts, on which levels, and how long its rows are.
    fn model(&self) -> Model;

    /// Writes the prediction for each row of `x`, \[n, elements\], to the same row of `out`. `rows`
    /// has n entries. A row's result must not depend on the other rows.
    ///
    /// # Errors
    ///
    /// The network's own. The rows of each request are then tried alone.
    fn forward(
        &mut self,
        x: ArrayView2<'_, f32>,
        rows: &[Row],
        out: ArrayViewMut2<'_, f32>,
    ) -> Result<(), Self::Error>;
}

/// What must be known of a network to start runs for it.
#[derive(Clone, Debug)]
pub struct Model {
    /// What the outputs mean.
    pub prediction: Prediction,
    /// The schedule on which grids are laid.
    pub schedule: Arc<dyn NoiseSchedule>,
    /// The elements of a sample.
    pub elements: usize,
    /// The number of classes.
    pub classes: usize,
    /// Tells these weights from others: a stored run goes on with no others.
    pub fingerprint: u64,
}

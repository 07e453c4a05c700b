//! The digits network from its ONNX file.

use diffusion_sampler::ndarray::{ArrayRef, Ix2};
use diffusion_sampler::{Denoiser, Error, Prediction, Query};
use digits_network::{NO_CLASS, PREDICTION};

use crate::graph::{Graph, Input};

/// The file that `export.py` writes.
pub const FILE: &[u8] = include_bytes!("../digits.onnx");

/// The network with a class for each sample: two outputs, with the classes and without, from one
/// call.
#[derive(Clone, Debug)]
pub struct Digits<G> {
    graph: G,
    classes: Vec<i64>,
}

impl<G: Graph> Digits<G> {
    /// Joins the graph to the class of each sample.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEntry`] unless each is 0 to 10.
    pub fn new(graph: G, classes: &[usize]) -> Result<Self, Error> {
        let unknown = classes
            .iter()
            .enumerate()
            .find(|(_, class)| **class > NO_CLASS);
        if let Some((index, class)) = unknown {
            return Err(Error::InvalidEntry {
                name: "classes",
                index,
                value: *class as f64,
                requirement: "0 to 9, or 10 for none",
            });
        }
        let classes = classes.iter().map(|class| *class as i64).collect();
        Ok(Self { graph, classes })
    }
}

impl<G: Graph> Denoiser<f32, Ix2> for Digits<G> {
    type Error = G::Error;

    fn prediction(&self) -> Prediction {
        PREDICTION
    }

    fn outputs(&self) -> Option<usize> {
        Some(2)
    }

    fn denoise(
        &mut self,
        x: &ArrayRef<f32, Ix2>,
        query: &Query<'_>,
        out: &mut ArrayRef<f32, Ix2>,
    ) -> Result<(), G::Error> {
        let (classes, samples) = (self.classes.len(), x.nrows());
        if classes != samples {
            let text = format!("{classes} classes for {samples} samples");
            return Err(G::refusal(text));
        }
        let outputs = query.outputs();
        let lambdas = query
            .row_levels(x.nrows())
            .map(|level| level.lambda() as f32);
        let class = |output| match output {
            0 => self.classes.clone(),
            _ => vec![NO_CLASS as i64; self.classes.len()],
        };
        let inputs = [
            Input::repeated("x", x, outputs),
            Input::rows("lambda", lambdas.collect()),
            Input::whole("class", (0..outputs).flat_map(class).collect()),
        ];
        self.graph.run(&inputs, "velocity", out)
    }
}

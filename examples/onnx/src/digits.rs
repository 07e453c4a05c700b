//! The digits network from its ONNX file.

use diffusion_sampler::ndarray::{ArrayRef, Ix2};
use diffusion_sampler::{Denoiser, Error, Prediction, Query};
use digits_network::{NO_CLASS, PREDICTION};

use crate::graph::{Graph, Input, Values};

/// The file that `export.py` writes.
pub const FILE: &[u8] = include_bytes!("../digits.onnx");

/// The network with a class for each sample: two outputs, with the classes and without, from one
/// call.
#[derive(Clone, Debug)]
pub struct Digits<G> {
    graph: G,
    classes: Vec<usize>,
}

impl<G: Graph> Digits<G> {
    /// Joins the graph to the class of each sample.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEntry`] unless each is 0 to 10.
    pub fn new(graph: G, classes: &[usize]) -> Result<Self, Error> {
        let classes = classes.to_vec();
        match classes.iter().position(|class| *class > NO_CLASS) {
            None => Ok(Self { graph, classes }),
            Some(index) => Err(Error::InvalidEntry {
                name: "classes",
                index,
                value: classes.get(index).map_or(f64::NAN, |class| *class as f64),
                requirement: "0 to 9, or 10 for none",
            }),
        }
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
        let level = |sample| query.level_of(sample).unwrap_or(query.level());
        let (mut rows, mut lambdas, mut classes) = (Vec::new(), Vec::new(), Vec::new());
        for output in 0..query.outputs() {
            rows.extend(x.iter().copied());
            lambdas.extend((0..x.nrows()).map(|sample| level(sample).lambda() as f32));
            let of = |class: &usize| if output == 0 { *class as i64 } else { NO_CLASS as i64 };
            classes.extend(self.classes.iter().map(of));
        }
        let x = Input {
            name: "x",
            shape: vec![query.outputs() * x.nrows(), x.ncols()],
            values: Values::F32(rows),
        };
        let inputs = [x, Input::rows("lambda", lambdas), Input::whole("class", classes)];
        self.graph.run(&inputs, "velocity", out)
    }
}

//! A graph in tract, the runtime in pure Rust. Copy this file with `graph.rs`.

use std::path::Path;
use std::sync::Arc;

use diffusion_sampler::ndarray::{ArrayRef, Dimension};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::{TractErrorContext, anyhow};

use crate::graph::{Graph, Input, Values, misfit};

/// A graph that tract has optimised once, for every size of the axes that the file leaves open: the
/// batch, for one.
#[derive(Clone, Debug)]
pub struct Tract {
    plan: Arc<TypedRunnableModel>,
    /// Names in the order of the file.
    inputs: Vec<String>,
    outputs: Vec<String>,
}

impl Tract {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// tract's, where there is no such file, or it holds no graph that tract knows.
    pub fn load(path: impl AsRef<Path>) -> TractResult<Self> {
        let path = path.as_ref();
        let graph = tract_onnx::onnx().model_for_path(path);
        let graph = graph.and_then(Self::new);
        // All of it in one text: tract's errors show the outermost alone.
        graph.map_err(|error| anyhow!("in {}: {error:#}", path.display()))
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn read(mut bytes: &[u8]) -> TractResult<Self> {
        let graph = tract_onnx::onnx().model_for_read(&mut bytes);
        graph
            .and_then(Self::new)
            .map_err(|error| anyhow!("{error:#}"))
    }

    fn new(graph: InferenceModel) -> TractResult<Self> {
        let name = |outlet: &OutletId| {
            let label = graph.outlet_label(*outlet);
            label.unwrap_or(&graph.node(outlet.node).name).to_owned()
        };
        let inputs = graph.input_outlets()?.iter().map(name).collect();
        let outputs = graph.output_outlets()?.iter().map(name).collect();
        let plan = graph.into_optimized()?.into_runnable()?;
        Ok(Self {
            plan,
            inputs,
            outputs,
        })
    }
}

impl Graph for Tract {
    type Error = TractError;

    fn run<D: Dimension>(
        &mut self,
        inputs: &[Input<'_>],
        output: &str,
        out: &mut ArrayRef<f32, D>,
    ) -> TractResult<()> {
        let place = |names: &[String], name: &str| names.iter().position(|known| known == name);
        let unknown = |kind: &str, name: &str, names: &[String]| {
            anyhow!("the graph has no {kind} `{name}`, but {}", names.join(", "))
        };
        let mut tensors = vec![None; self.inputs.len()];
        for input in inputs {
            let place = place(&self.inputs, input.name).and_then(|place| tensors.get_mut(place));
            let place = place.ok_or_else(|| unknown("input", input.name, &self.inputs))?;
            *place = Some(tensor(input)?);
        }
        let missing = |(tensor, name): (Option<TValue>, &String)| {
            tensor.with_context(|| format!("the input `{name}` is missing"))
        };
        let tensors = tensors.into_iter().zip(&self.inputs).map(missing);
        let outputs = self.plan.run(tensors.collect::<TractResult<_>>()?)?;
        let values = place(&self.outputs, output).and_then(|place| outputs.get(place));
        let values = values.ok_or_else(|| unknown("output", output, &self.outputs))?;
        if let Some(misfit) = misfit(output, values.shape(), out.shape()) {
            return Err(anyhow!(misfit));
        }
        let values = values.to_plain_array_view::<f32>()?;
        out.iter_mut()
            .zip(&values)
            .for_each(|(out, value)| *out = *value);
        Ok(())
    }

    fn refusal(text: String) -> TractError {
        anyhow!(text)
    }
}

fn tensor(input: &Input<'_>) -> TractResult<TValue> {
    let tensor = match &input.values {
        Values::F32(values) => Tensor::from_shape(&input.shape, values)?,
        Values::I64(values) => Tensor::from_shape(&input.shape, values)?,
    };
    Ok(tensor.into_tvalue())
}

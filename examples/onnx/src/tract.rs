//! A graph in tract, the runtime in pure Rust. Copy this file with `graph.rs`.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use diffusion_sampler::ndarray::{ArrayRef, Dimension};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::anyhow;

use crate::graph::{Graph, Input, Values, misfit};

/// A graph, and a plan of tract's for every set of shapes that it has been run with.
///
/// tract optimises a graph for fixed shapes, so that the first call with a new number of rows takes
/// longer than the next.
pub struct Tract {
    graph: InferenceModel,
    plans: HashMap<Vec<Vec<usize>>, Arc<TypedRunnableModel>>,
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
        Ok(Self::of(graph.with_context(|| format!("in {}", path.display()))?))
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn read(mut bytes: &[u8]) -> TractResult<Self> {
        Ok(Self::of(tract_onnx::onnx().model_for_read(&mut bytes)?))
    }

    fn of(graph: InferenceModel) -> Self {
        Self {
            graph,
            plans: HashMap::new(),
        }
    }

    /// The plan for inputs of these shapes.
    fn plan(&mut self, inputs: &[Input<'_>], output: &str) -> TractResult<Arc<TypedRunnableModel>> {
        let shapes: Vec<_> = inputs.iter().map(|input| input.shape.clone()).collect();
        if let Some(plan) = self.plans.get(&shapes) {
            return Ok(Arc::clone(plan));
        }
        let mut graph = self.graph.clone();
        graph.set_input_names(inputs.iter().map(|input| input.name))?;
        graph.select_outputs_by_name([output])?;
        for (index, input) in inputs.iter().enumerate() {
            let kind = match input.values {
                Values::F32(_) => f32::datum_type(),
                Values::I64(_) => i64::datum_type(),
            };
            // The file's own declaration has to allow what is given.
            let given = InferenceFact::dt_shape(kind, &input.shape);
            let fact = graph.input_fact(index)?.unify_with(&given);
            let fact = fact.with_context(|| format!("for the input `{}`", input.name))?;
            graph.set_input_fact(index, fact)?;
        }
        let plan = graph.into_optimized()?.into_runnable()?;
        self.plans.insert(shapes, Arc::clone(&plan));
        Ok(plan)
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
        let plan = self.plan(inputs, output)?;
        let tensors = inputs.iter().map(tensor).collect::<TractResult<_>>()?;
        let outputs = plan.run(tensors)?;
        let values = outputs.first().context("no output")?;
        if let Some(misfit) = misfit(output, values.shape(), out.shape()) {
            return Err(anyhow!(misfit));
        }
        let values = values.to_plain_array_view::<f32>()?;
        out.iter_mut().zip(&values).for_each(|(out, value)| *out = *value);
        Ok(())
    }
}

fn tensor(input: &Input<'_>) -> TractResult<TValue> {
    let tensor = match &input.values {
        Values::F32(values) => Tensor::from_shape(&input.shape, values)?,
        Values::I64(values) => Tensor::from_shape(&input.shape, values)?,
    };
    Ok(tensor.into_tvalue())
}

impl fmt::Debug for Tract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tract({} plans)", self.plans.len())
    }
}

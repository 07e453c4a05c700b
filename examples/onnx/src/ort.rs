//! A graph in ONNX Runtime. Copy this file with `graph.rs`.

use std::path::Path;

use diffusion_sampler::ndarray::{ArrayRef, Dimension};
use ort::environment::Environment;
use ort::session::{Session, SessionInputValue};
use ort::value::TensorRef;

use crate::graph::{Graph, Input, Values, misfit};

/// A session of ONNX Runtime.
#[derive(Debug)]
pub struct Ort {
    session: Session,
}

/// Opens the shared library: once in a process, before anything else of `ort`'s.
///
/// # Errors
///
/// `ort`'s, where the library cannot be opened, or is too old.
pub fn environment(library: impl AsRef<Path>) -> Result<Environment, Box<dyn std::error::Error>> {
    Ok(ort::init_from(std::path::absolute(library)?)?.build()?)
}

impl Ort {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// `ort`'s, where there is no such file, or it holds no graph.
    pub fn load(environment: &Environment, path: impl AsRef<Path>) -> ort::Result<Self> {
        let session = Session::builder(environment)?.commit_from_file(path)?;
        Ok(Self { session })
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn read(environment: &Environment, bytes: &[u8]) -> ort::Result<Self> {
        let session = Session::builder(environment)?.commit_from_memory(bytes)?;
        Ok(Self { session })
    }
}

impl Graph for Ort {
    type Error = ort::Error;

    fn run<D: Dimension>(
        &mut self,
        inputs: &[Input<'_>],
        output: &str,
        out: &mut ArrayRef<f32, D>,
    ) -> ort::Result<()> {
        let inputs = inputs.iter().map(|input| Ok((input.name, value(input)?)));
        let outputs = self.session.run(inputs.collect::<ort::Result<Vec<_>>>()?)?;
        let missing = || ort::Error::new(format!("the graph has no output `{output}`"));
        let (shape, values) = outputs
            .get(output)
            .ok_or_else(missing)?
            .try_extract_tensor::<f32>()?;
        let shape: Vec<usize> = shape.iter().map(|size| *size as usize).collect();
        if let Some(misfit) = misfit(output, &shape, out.shape()) {
            return Err(ort::Error::new(misfit));
        }
        out.iter_mut()
            .zip(values)
            .for_each(|(out, value)| *out = *value);
        Ok(())
    }

    fn refusal(text: String) -> ort::Error {
        ort::Error::new(text)
    }
}

fn value<'a>(input: &'a Input<'_>) -> ort::Result<SessionInputValue<'a>> {
    let shape = input.shape.clone();
    Ok(match &input.values {
        Values::F32(values) => TensorRef::from_array_view((shape, values.as_slice()))?.into(),
        Values::I64(values) => TensorRef::from_array_view((shape, values.as_slice()))?.into(),
    })
}

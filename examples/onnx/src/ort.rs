//! A graph in ONNX Runtime. Copy this file with `graph.rs`.

use std::path::Path;

use diffusion_sampler::ndarray::{ArrayRef, Dimension};
use ort::session::builder::SessionBuilder;
use ort::session::{Session, SessionInputValue};
use ort::value::TensorRef;

use crate::graph::{Graph, Input, Values, misfit};

/// What can go wrong on the way to a session.
pub type BoxedError = Box<dyn std::error::Error + Send + Sync>;

/// A session of ONNX Runtime.
#[derive(Debug)]
pub struct Ort {
    session: Session,
}

impl Ort {
    /// Loads the shared library from `library`, where none is loaded yet, and reads a graph's file.
    ///
    /// # Errors
    ///
    /// `ort`'s, where either cannot be read. (Without a library there is no `ort::Error`: making one
    /// is a call of the library's.)
    pub fn load(library: impl AsRef<Path>, path: impl AsRef<Path>) -> Result<Self, BoxedError> {
        let session = builder(library.as_ref())?.commit_from_file(path)?;
        Ok(Self { session })
    }

    /// As [`load`](Self::load), from the bytes of a graph's file.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn read(library: impl AsRef<Path>, bytes: &[u8]) -> Result<Self, BoxedError> {
        let session = builder(library.as_ref())?.commit_from_memory(bytes)?;
        Ok(Self { session })
    }
}

fn builder(library: &Path) -> Result<SessionBuilder, BoxedError> {
    let environment = ort::init_from(std::path::absolute(library)?)?.build()?;
    Ok(Session::builder(&environment)?)
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
        let (shape, values) = outputs.get(output).ok_or_else(missing)?.try_extract_tensor::<f32>()?;
        let shape: Vec<usize> = shape.iter().map(|size| *size as usize).collect();
        if let Some(misfit) = misfit(output, &shape, out.shape()) {
            return Err(ort::Error::new(misfit));
        }
        out.iter_mut().zip(values).for_each(|(out, value)| *out = *value);
        Ok(())
    }
}

fn value<'a>(input: &'a Input<'_>) -> ort::Result<SessionInputValue<'a>> {
    let shape = input.shape.clone();
    Ok(match &input.values {
        Values::F32(values) => TensorRef::from_array_view((shape, values.as_slice()))?.into(),
        Values::I64(values) => TensorRef::from_array_view((shape, values.as_slice()))?.into(),
    })
}

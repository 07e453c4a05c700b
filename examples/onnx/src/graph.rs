//! What a denoiser of this package asks of a runtime.

use std::fmt::{Debug, Display};

use diffusion_sampler::ndarray::{ArrayRef, Dimension};

/// One input of a graph.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    /// Its name in the file.
    pub name: &'a str,
    /// The size of every axis.
    pub shape: Vec<usize>,
    /// As many as the shape has elements, in row-major order.
    pub values: Values,
}

/// The elements of an input, of the type that the graph declares.
#[derive(Clone, Debug)]
pub enum Values {
    /// `tensor(float)`.
    F32(Vec<f32>),
    /// `tensor(int64)`.
    I64(Vec<i64>),
}

impl<'a> Input<'a> {
    /// An array as it is.
    pub fn array<D: Dimension>(name: &'a str, array: &ArrayRef<f32, D>) -> Self {
        Self::repeated(name, array, 1)
    }

    /// An array some times over, one behind the other along axis 0: a batch for as many outputs.
    pub fn repeated<D: Dimension>(name: &'a str, array: &ArrayRef<f32, D>, times: usize) -> Self {
        let mut shape = array.shape().to_vec();
        if let Some(rows) = shape.first_mut() {
            *rows *= times;
        }
        let values: Vec<f32> = array.iter().copied().collect();
        Self {
            name,
            shape,
            values: Values::F32(values.repeat(times)),
        }
    }

    /// One number for each row.
    pub fn rows(name: &'a str, values: Vec<f32>) -> Self {
        Self {
            name,
            shape: vec![values.len()],
            values: Values::F32(values),
        }
    }

    /// One whole number for each row.
    pub fn whole(name: &'a str, values: Vec<i64>) -> Self {
        Self {
            name,
            shape: vec![values.len()],
            values: Values::I64(values),
        }
    }
}

/// A graph in a runtime.
pub trait Graph {
    /// The runtime's own error.
    type Error: Debug + Display;

    /// Evaluates the output of this name and writes it to `out`, which has its shape.
    ///
    /// # Errors
    ///
    /// What the runtime refuses: names, shapes and types that the graph does not have, and what
    /// fails on the way.
    fn run<D: Dimension>(
        &mut self,
        inputs: &[Input<'_>],
        output: &str,
        out: &mut ArrayRef<f32, D>,
    ) -> Result<(), Self::Error>;

    /// An error of the runtime's type with a text of ours, for what is refused before it is called.
    fn refusal(text: String) -> Self::Error;
}

impl<G: Graph> Graph for &mut G {
    type Error = G::Error;

    fn run<D: Dimension>(
        &mut self,
        inputs: &[Input<'_>],
        output: &str,
        out: &mut ArrayRef<f32, D>,
    ) -> Result<(), G::Error> {
        (**self).run(inputs, output, out)
    }

    fn refusal(text: String) -> G::Error {
        G::refusal(text)
    }
}

/// Why an output cannot be written; `None` where the shapes agree.
pub(crate) fn misfit(output: &str, shape: &[usize], wanted: &[usize]) -> Option<String> {
    let text = || format!("the output `{output}` has shape {shape:?}, and {wanted:?} is wanted");
    (shape != wanted).then(text)
}

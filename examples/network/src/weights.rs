//! Tensors by name, from a safetensors file.

use ndarray::{Array1, Array2};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use crate::architecture::tensors;
use crate::error::Error;
use crate::half;

/// A linear layer x·W + b.
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    /// \[inputs, outputs\].
    pub(crate) weight: Array2<f32>,
    pub(crate) bias: Vec<f32>,
}

/// The tensors of a file, which are known to have the right names and shapes.
#[derive(Debug)]
pub(crate) struct Weights<'b>(SafeTensors<'b>);

impl<'b> Weights<'b> {
    pub(crate) fn read(bytes: &'b [u8]) -> Result<Self, Error> {
        let file = SafeTensors::deserialize(bytes).map_err(Error::Safetensors)?;
        let expected = tensors();
        for (name, shape) in &expected {
            let found = view(&file, name)?.shape().to_vec();
            if found != *shape {
                return Err(Error::WrongShape {
                    name: name.clone(),
                    expected: shape.clone(),
                    found,
                });
            }
        }
        let mut names = file.names();
        names.sort_unstable();
        let known = |name: &str| expected.iter().any(|(known, _)| known == name);
        match names.into_iter().find(|name| !known(name)) {
            Some(name) => Err(Error::UnknownTensor { name: name.into() }),
            None => Ok(Self(file)),
        }
    }

    pub(crate) fn linear(&self, name: &str) -> Result<Linear, Error> {
        Ok(Linear {
            weight: self.matrix(&format!("{name}.weight"))?,
            bias: self.values(&format!("{name}.bias"))?,
        })
    }

    pub(crate) fn matrix(&self, name: &str) -> Result<Array2<f32>, Error> {
        let shape = view(&self.0, name)?.shape().to_vec();
        let columns = shape.last().copied().unwrap_or(1);
        let values = Array1::from_vec(self.values(name)?);
        let rows = values.len().checked_div(columns).unwrap_or(0);
        let reshaped = values.into_shape_with_order((rows, columns));
        reshaped.map_err(|_| Error::WrongShape {
            name: name.to_owned(),
            expected: vec![rows, columns],
            found: shape,
        })
    }

    fn values(&self, name: &str) -> Result<Vec<f32>, Error> {
        let tensor = view(&self.0, name)?;
        let values: Vec<f32> = match tensor.dtype() {
            Dtype::F16 => pieces(tensor.data())
                .map(|piece| half::to_f32(u16::from_le_bytes(piece)))
                .collect(),
            Dtype::F32 => pieces(tensor.data()).map(f32::from_le_bytes).collect(),
            found => {
                let name = name.to_owned();
                return Err(Error::WrongType { name, found });
            }
        };
        match values.iter().position(|value| !value.is_finite()) {
            Some(index) => Err(Error::WeightNotFinite {
                name: name.to_owned(),
                index,
                value: values.get(index).copied().unwrap_or(f32::NAN),
            }),
            None => Ok(values),
        }
    }
}

fn view<'b>(file: &SafeTensors<'b>, name: &str) -> Result<TensorView<'b>, Error> {
    file.tensor(name).map_err(|_| Error::MissingTensor {
        name: name.to_owned(),
    })
}

/// The bytes of each number.
fn pieces<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes.as_chunks().0.iter().copied()
}

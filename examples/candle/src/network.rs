//! The network of these runs in candle's operations.

use candle_core::{DType, Device, Error, Result, Tensor};

use crate::ops::Candle;
use crate::reference::{ELEMENTS, HIDDEN, NO_CLASS, Weights};
use crate::runs::Library;

pub struct Network {
    first: Tensor,
    time: Tensor,
    labels: Tensor,
    second: Tensor,
}

impl Network {
    pub fn new(weights: &Weights, dtype: DType, device: &Device) -> Result<Self> {
        let tensor = |values: &[f32], shape: (usize, usize)| {
            Tensor::from_slice(values, shape, device)?.to_dtype(dtype)
        };
        Ok(Self {
            first: tensor(&weights.first, (ELEMENTS, HIDDEN))?,
            time: tensor(&weights.time, (1, HIDDEN))?,
            labels: tensor(&weights.labels, (NO_CLASS + 1, HIDDEN))?,
            second: tensor(&weights.second, (HIDDEN, ELEMENTS))?,
        })
    }
}

impl Library for Network {
    type Tensor = Tensor;
    type Error = Error;
    type Ops = Candle;

    fn ops(&self) -> Candle {
        Candle
    }

    fn zeros(&self, shape: [usize; 4]) -> Result<Tensor> {
        Tensor::zeros(&shape, self.first.dtype(), self.first.device())
    }

    fn forward(&self, x: &Tensor, time: f64, labels: &[usize]) -> Result<Vec<Tensor>> {
        let copies = labels.len() / x.dim(0)?;
        let labels: Vec<u32> = labels.iter().map(|label| *label as u32).collect();
        let labels = self.labels.embedding(&Tensor::new(labels, x.device())?)?;
        let rows = Tensor::cat(&vec![x.flatten_from(1)?; copies], 0)?;
        let time = (&self.time * time)?;
        let hidden = (rows.matmul(&self.first)?.broadcast_add(&time)? + labels)?.tanh()?;
        let output = hidden.matmul(&self.second)?;
        let shape = [&[output.dim(0)?], &x.dims()[1..]].concat();
        output.reshape(shape)?.chunk(copies, 0)
    }
}

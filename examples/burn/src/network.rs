//! The network of the shared runs as a module of burn.

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData, TensorReadError};
use burn_nn::{Embedding, Linear};

use crate::ops::Burn;
use crate::reference::{ELEMENTS, HIDDEN, NO_CLASS, Weights};
use crate::runs::Library;

/// tanh(first(x) + time(t) + labels(class)), then second.
#[derive(Module, Debug)]
pub struct Network {
    first: Linear,
    time: Linear,
    labels: Embedding,
    second: Linear,
}

impl Network {
    pub fn new(weights: &Weights, device: &Device) -> Self {
        let param = |values: &[f32], shape: [usize; 2]| {
            Param::from_data(TensorData::new(values.to_vec(), shape), device)
        };
        let linear = |values: &[f32], shape| Linear {
            weight: param(values, shape),
            bias: None,
        };
        Self {
            first: linear(&weights.first, [ELEMENTS, HIDDEN]),
            time: linear(&weights.time, [1, HIDDEN]),
            labels: Embedding {
                weight: param(&weights.labels, [NO_CLASS + 1, HIDDEN]),
            },
            second: linear(&weights.second, [HIDDEN, ELEMENTS]),
        }
    }

    fn device(&self) -> Device {
        self.first.weight.val().device()
    }
}

impl Library for Network {
    type Tensor = Tensor<4>;
    type Error = TensorReadError;
    type Ops = Burn<4>;

    fn ops(&self) -> Burn<4> {
        Burn
    }

    fn zeros(&self, shape: [usize; 4]) -> Result<Tensor<4>, TensorReadError> {
        Ok(Tensor::zeros(shape, &self.device()))
    }

    fn forward(
        &self,
        x: &Tensor<4>,
        time: f64,
        labels: &[usize],
    ) -> Result<Vec<Tensor<4>>, TensorReadError> {
        let [samples, channels, height, width] = x.dims();
        let copies = labels.len() / samples;
        let rows = labels.len();
        let labels: Vec<i64> = labels.iter().map(|label| *label as i64).collect();
        let labels = Tensor::<1, Int>::from_data(labels.as_slice(), &x.device());
        let labels = self.labels.forward(labels.unsqueeze_dim(1)).squeeze_dim(1);
        let flat: Tensor<2> = x.clone().flatten(1, 3);
        let batch = self.first.forward(Tensor::cat(vec![flat; copies], 0));
        let time = Tensor::<2>::full([1, 1], time, &x.device());
        let hidden = (batch + self.time.forward(time) + labels).tanh();
        let output = self.second.forward(hidden);
        let output = output.reshape([rows, channels, height, width]);
        Ok(output.chunk(copies, 0))
    }
}

//! The network of these runs in burn's operations.

use burn_tensor::{DType, Device, Int, Tensor, TensorData, TensorReadError};

use crate::ops::Burn;
use crate::reference::{ELEMENTS, HIDDEN, NO_CLASS, Weights};
use crate::runs::Library;

pub struct Network {
    first: Tensor<2>,
    time: Tensor<2>,
    labels: Tensor<2>,
    second: Tensor<2>,
}

impl Network {
    pub fn new(weights: &Weights, dtype: DType, device: &Device) -> Self {
        let tensor = |values: &[f32], shape: [usize; 2]| {
            Tensor::from_data(TensorData::new(values.to_vec(), shape), (device, dtype))
        };
        Self {
            first: tensor(&weights.first, [ELEMENTS, HIDDEN]),
            time: tensor(&weights.time, [1, HIDDEN]),
            labels: tensor(&weights.labels, [NO_CLASS + 1, HIDDEN]),
            second: tensor(&weights.second, [HIDDEN, ELEMENTS]),
        }
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
        Ok(Tensor::zeros(
            shape,
            (&self.first.device(), self.first.dtype()),
        ))
    }

    fn forward(
        &self,
        x: &Tensor<4>,
        time: f64,
        labels: &[usize],
    ) -> Result<Vec<Tensor<4>>, TensorReadError> {
        let [samples, channels, height, width] = x.dims();
        let copies = labels.len() / samples;
        let labels: Vec<i64> = labels.iter().map(|label| *label as i64).collect();
        let rows = labels.len();
        let labels = Tensor::<1, Int>::from_data(labels.as_slice(), &x.device());
        let labels = self.labels.clone().select(0, labels);
        let flat: Tensor<2> = x.clone().flatten(1, 3);
        let batch = Tensor::cat(vec![flat; copies], 0);
        let time = self.time.clone() * time;
        let hidden = (batch.matmul(self.first.clone()) + time + labels).tanh();
        let output = hidden.matmul(self.second.clone());
        let output = output.reshape([rows, channels, height, width]);
        Ok(output.chunk(copies, 0))
    }
}

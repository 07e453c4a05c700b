//! Runs on burn's tensors. Copy this file; with the whole framework, `burn_tensor` is `burn::tensor`.

use burn_tensor::{DType, FloatDType, Tensor, TensorData, TensorReadError};
use diffusion_sampler::tensor::{RowProducts, Scale, TensorOps};

/// burn's float tensors of `D` axes, on any device. Noise and what else is made on the host are f32:
/// for f64 all through, make `Element` and the types in `upload` and `download` f64.
#[derive(Clone, Copy, Debug, Default)]
pub struct Burn<const D: usize>;

type Result<T> = std::result::Result<T, TensorReadError>;

impl<const D: usize> TensorOps for Burn<D> {
    type Tensor = Tensor<D>;
    type Element = f32;
    type Error = TensorReadError;

    fn shape(&self, tensor: &Tensor<D>) -> impl AsRef<[usize]> {
        tensor.dims()
    }

    fn linear_combination(&self, terms: &[(Scale<'_>, &Tensor<D>)]) -> Result<Tensor<D>> {
        let ((scale, first), rest) = (terms[0], &terms[1..]);
        let rest = rest.iter().map(|(scale, tensor)| scaled(*scale, tensor));
        let sum = rest.fold(scaled(scale, first), |sum, term| sum + term);
        // Else the state would hold the graph of all evaluations before it.
        Ok(sum.cast(first.dtype()).detach())
    }

    fn upload(&self, values: Vec<f32>, like: &Tensor<D>) -> Result<Tensor<D>> {
        let data = TensorData::new(values, like.shape());
        Ok(Tensor::from_data(data, (&like.device(), like.dtype())))
    }

    fn download(&self, tensor: &Tensor<D>) -> Result<Vec<f32>> {
        tensor.try_to_vec_as()
    }

    fn clamp(&self, tensor: &Tensor<D>, low: f64, high: f64) -> Result<Option<Tensor<D>>> {
        // NaN stays: some devices would clamp it to a bound.
        let clamped = tensor.clone().clamp(low, high);
        Ok(Some(
            clamped.mask_where(tensor.clone().is_nan(), tensor.clone()),
        ))
    }

    fn products(&self, tensors: &[&Tensor<D>]) -> Result<Option<Vec<RowProducts>>> {
        let rows = tensors.iter().map(|tensor| {
            let wide = tensor.device().supports_dtype(DType::F64);
            let wide = if wide {
                FloatDType::F64
            } else {
                FloatDType::F32
            };
            let elements = tensor.dims()[1..].iter().product();
            (*tensor)
                .clone()
                .reshape([tensor.dims()[0], elements])
                .cast(wide)
        });
        // [samples, tensors, elements]
        let rows = Tensor::<2>::stack::<3>(rows.collect(), 1);
        let sums: Vec<f64> = rows.clone().sum_dim(2).try_to_vec_as()?;
        let inner = rows.clone().matmul(rows.swap_dims(1, 2));
        let inner: Vec<f64> = inner.try_to_vec_as()?;
        let (n, square) = (tensors.len(), tensors.len() * tensors.len());
        let rows = sums
            .chunks(n)
            .zip(inner.chunks(square))
            .map(|(sums, inner)| RowProducts {
                sums: sums.to_vec(),
                inner: inner.chunks(n).map(<[f64]>::to_vec).collect(),
            });
        Ok(Some(rows.collect()))
    }

    fn all_finite(&self, tensor: &Tensor<D>) -> Result<Option<bool>> {
        // Waits for the device: leave it out to save that.
        tensor.clone().is_finite().all().try_into_scalar().map(Some)
    }
}

/// c·a, in f32 at least.
fn scaled<const D: usize>(scale: Scale<'_>, tensor: &Tensor<D>) -> Tensor<D> {
    let wide = if tensor.dtype() == DType::F64 {
        DType::F64
    } else {
        DType::F32
    };
    let tensor = tensor.clone().cast(wide);
    match scale {
        Scale::Same(scale) => tensor * scale,
        Scale::PerSample(scales) => {
            let mut column = [1; D];
            column[0] = scales.len();
            tensor.clone()
                * Tensor::from_data(
                    TensorData::new(scales.to_vec(), column),
                    (&tensor.device(), wide),
                )
        }
    }
}

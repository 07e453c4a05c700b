//! Runs on burn's tensors. Copy this file.

use burn::tensor::DType::{F32, F64};
use burn::tensor::{Tensor, TensorData, TensorReadError};
use diffusion_sampler::tensor::{RowProducts, Scale, TensorOps};

/// burn's float tensors of `D` axes, on any device. Noise and what else is made on the host are
/// f32: for f64 all through, make `Element` and the types in `upload` and `download` f64.
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
        let rest = terms[1..].iter().map(scaled);
        let sum = rest.fold(scaled(&terms[0]), |sum, term| sum + term);
        // Else the state would hold the graph of all evaluations before it.
        Ok(sum.cast(terms[0].1.dtype()).detach())
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
        let nan = tensor.clone().is_nan();
        let clamped = tensor.clone().clamp(low, high);
        Ok(Some(clamped.mask_where(nan, tensor.clone())))
    }

    fn products(&self, tensors: &[&Tensor<D>]) -> Result<Option<Vec<RowProducts>>> {
        let double = tensors[0].device().supports_dtype(F64);
        let wide = if double { F64 } else { F32 };
        // A row of all elements for each sample, then [samples, tensors, elements].
        let row = |tensor: &&Tensor<D>| (*tensor).clone().reshape([0, -1]).cast(wide);
        let rows = Tensor::<2>::stack::<3>(tensors.iter().map(row).collect(), 1);
        let sums: Vec<f64> = rows.clone().sum_dim(2).try_to_vec_as()?;
        let inner: Vec<f64> = rows.clone().matmul(rows.swap_dims(1, 2)).try_to_vec_as()?;
        let n = tensors.len();
        let row = |(sums, inner): (&[f64], &[f64])| RowProducts {
            sums: sums.to_vec(),
            inner: inner.chunks(n).map(<[f64]>::to_vec).collect(),
        };
        let rows = sums.chunks(n).zip(inner.chunks(n * n));
        Ok(Some(rows.map(row).collect()))
    }

    fn all_finite(&self, tensor: &Tensor<D>) -> Result<Option<bool>> {
        // Waits for the device: leave it out to save that.
        tensor.clone().is_finite().all().try_into_scalar().map(Some)
    }
}

/// c·a, in f32 at least.
fn scaled<const D: usize>((scale, tensor): &(Scale<'_>, &Tensor<D>)) -> Tensor<D> {
    let wide = if tensor.dtype() == F64 { F64 } else { F32 };
    let tensor = (*tensor).clone().cast(wide);
    match *scale {
        Scale::Same(scale) => tensor * scale,
        Scale::PerSample(scales) => {
            let mut shape = [1; D];
            shape[0] = scales.len();
            let column = TensorData::new(scales.to_vec(), shape);
            let options = (&tensor.device(), wide);
            tensor * Tensor::from_data(column, options)
        }
    }
}

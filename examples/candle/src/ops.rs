//! Runs on candle's tensors. Copy this file.

use candle_core::DType::{F32, F64};
use candle_core::{DType, Device, Error, Result, Tensor};
use diffusion_sampler::tensor::{RowProducts, Scale, TensorOps};

/// candle's tensors of f16, bf16, f32 or f64, on any device. Noise and what else is made on the
/// host are f32: for f64 all through, make `Element` and the types in `upload` and `download` f64.
#[derive(Clone, Copy, Debug, Default)]
pub struct Candle;

impl TensorOps for Candle {
    type Tensor = Tensor;
    type Element = f32;
    type Error = Error;

    fn shape(&self, tensor: &Tensor) -> impl AsRef<[usize]> {
        tensor.dims()
    }

    fn linear_combination(&self, terms: &[(Scale<'_>, &Tensor)]) -> Result<Tensor> {
        let dtype = terms[0].1.dtype();
        let sum = terms.iter().map(scaled).reduce(|sum, term| sum? + term?);
        let sum = sum.ok_or_else(|| Error::msg("no terms"))??;
        // Else the state would hold the graph of all evaluations before it.
        Ok(sum.to_dtype(dtype)?.detach())
    }

    fn upload(&self, values: Vec<f32>, like: &Tensor) -> Result<Tensor> {
        let tensor = Tensor::from_vec(values, like.shape(), &Device::Cpu)?;
        tensor.to_dtype(like.dtype())?.to_device(like.device())
    }

    fn download(&self, tensor: &Tensor) -> Result<Vec<f32>> {
        on_host(tensor, F32)?.flatten_all()?.to_vec1()
    }

    fn clamp(&self, tensor: &Tensor, low: f64, high: f64) -> Result<Option<Tensor>> {
        // NaN differs from itself, and stays: some devices would clamp it to a bound.
        let clamped = tensor.clamp(low, high)?;
        tensor.eq(tensor)?.where_cond(&clamped, tensor).map(Some)
    }

    fn products(&self, tensors: &[&Tensor]) -> Result<Option<Vec<RowProducts>>> {
        let metal = tensors[0].device().is_metal();
        let wide = if metal { F32 } else { F64 };
        let row = |tensor: &&Tensor| tensor.reshape((tensor.dim(0)?, ()))?.to_dtype(wide);
        let rows = tensors.iter().map(row).collect::<Result<Vec<_>>>()?;
        // [samples, tensors, elements]
        let rows = Tensor::stack(&rows, 1)?;
        let sums = on_host(&rows.sum(2)?, F64)?.to_vec2()?;
        let inner = on_host(&rows.matmul(&rows.t()?)?, F64)?.to_vec3()?;
        let row = |(sums, inner)| RowProducts { sums, inner };
        Ok(Some(sums.into_iter().zip(inner).map(row).collect()))
    }

    fn all_finite(&self, tensor: &Tensor) -> Result<Option<bool>> {
        // 0·x is 0 unless x is NaN or infinite. Waits for the device: leave it out to save that.
        let zero = on_host(&(tensor * 0.0)?.sum_all()?, F32)?;
        Ok(Some(zero.to_scalar::<f32>()? == 0.0))
    }
}

/// c·a, in f32 at least.
fn scaled((scale, tensor): &(Scale<'_>, &Tensor)) -> Result<Tensor> {
    let wide = if tensor.dtype() == F64 { F64 } else { F32 };
    let tensor = tensor.to_dtype(wide)?;
    match *scale {
        Scale::Same(scale) => tensor * scale,
        Scale::PerSample(scales) => {
            let mut shape = vec![1; tensor.rank()];
            shape[0] = scales.len();
            let column = Tensor::from_slice(scales, shape, &Device::Cpu)?;
            tensor.broadcast_mul(&column.to_dtype(wide)?.to_device(tensor.device())?)
        }
    }
}

fn on_host(tensor: &Tensor, dtype: DType) -> Result<Tensor> {
    tensor.to_device(&Device::Cpu)?.to_dtype(dtype)
}

//! The network of `examples/network` in candle's operations.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{D, DType, Device, Tensor, Var};
use diffusion_sampler::KeyedNoise;
use diffusion_sampler::noise::{NoiseKey, Stream};
use digits_network::{BLOCKS, FREQUENCIES, LAMBDA_LIMIT, NORM_FLOOR, tensors};

use crate::Result;

/// Tensors by name.
pub struct Model {
    pub vars: BTreeMap<String, Var>,
}

impl Model {
    /// Initial weights: normal numbers over √inputs; 0 for biases, for what modulates and for the
    /// output, so that the network begins as the zero function.
    pub fn initial(seed: u64) -> Result<Self> {
        let noise = KeyedNoise::new(seed);
        let mut vars = BTreeMap::new();
        for (index, (name, shape)) in tensors().into_iter().enumerate() {
            let mut values = vec![0.0_f32; shape.iter().product()];
            let key = NoiseKey::new(index as u64, 0, Stream::User(0));
            let scale =
                if name.ends_with("bias") || name.contains("modulation") || name == "output.weight"
                {
                    0.0
                } else if name == "classes" {
                    0.5
                } else {
                    1.0 / (shape[0] as f32).sqrt()
                };
            noise.fill_row(key, &mut values);
            values.iter_mut().for_each(|value| *value *= scale);
            let tensor = Tensor::from_vec(values, shape, &Device::Cpu)?;
            vars.insert(name, Var::from_tensor(&tensor)?);
        }
        Ok(Self { vars })
    }

    /// The weights of a file.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self> {
        let mut vars = BTreeMap::new();
        for (name, tensor) in candle_core::safetensors::load_buffer(bytes, &Device::Cpu)? {
            vars.insert(name, Var::from_tensor(&tensor.to_dtype(DType::F32)?)?);
        }
        Ok(Self { vars })
    }

    /// Writes the weights, rounded to f16.
    pub fn save(&self, file: &Path) -> Result<()> {
        let mut rounded = HashMap::new();
        for (name, var) in &self.vars {
            rounded.insert(name.clone(), var.to_dtype(DType::F16)?);
        }
        let saved = candle_core::safetensors::save(&rounded, file);
        Ok(saved.map_err(|error| format!("{}: {error}", file.display()))?)
    }

    /// The velocity for rows of `x`. `masks` are those of dropout, one for each block's hidden
    /// channels: 0, or 1 over the share that stays.
    pub fn forward(
        &self,
        x: &Tensor,
        lambdas: &[f32],
        classes: &[usize],
        masks: &[Tensor],
    ) -> Result<Tensor> {
        let condition = self.condition(lambdas, classes)?;
        let mut stream = self.linear("input", x)?;
        for block in 0..BLOCKS {
            let name = |part: &str| format!("blocks.{block}.{part}");
            let inner = self.modulated(&name("modulation"), &stream, &condition)?;
            let mut hidden = self.linear(&name("up"), &inner)?.silu()?;
            if let Some(mask) = masks.get(block) {
                hidden = (hidden * mask)?;
            }
            stream = (stream + self.linear(&name("down"), &hidden)?)?;
        }
        let inner = self.modulated("output.modulation", &stream, &condition)?;
        self.linear("output", &inner)
    }

    fn condition(&self, lambdas: &[f32], classes: &[usize]) -> Result<Tensor> {
        let features: Vec<f32> = lambdas
            .iter()
            .flat_map(|lambda| features(*lambda))
            .collect();
        let shape = (lambdas.len(), 2 * FREQUENCIES);
        let features = Tensor::from_vec(features, shape, &Device::Cpu)?;
        let inner = self.linear("time.first", &features)?.silu()?;
        let classes: Vec<u32> = classes.iter().map(|class| *class as u32).collect();
        let classes = Tensor::new(classes, &Device::Cpu)?;
        let classes = self.var("classes")?.index_select(&classes, 0)?;
        Ok((self.linear("time.second", &inner)? + classes)?.silu()?)
    }

    fn modulated(&self, name: &str, stream: &Tensor, condition: &Tensor) -> Result<Tensor> {
        let modulation = self.linear(name, condition)?.chunk(2, 1)?;
        let [scale, shift] = modulation.as_slice() else {
            return Err(format!("{name}: expected two halves").into());
        };
        let square = stream.sqr()?.mean_keepdim(D::Minus1)?;
        let root = (square + f64::from(NORM_FLOOR))?.sqrt()?;
        let normalised = stream.broadcast_div(&root)?;
        Ok(((normalised * (scale + 1.0)?)? + shift)?)
    }

    fn linear(&self, name: &str, x: &Tensor) -> Result<Tensor> {
        let product = x.matmul(self.var(&format!("{name}.weight"))?)?;
        Ok(product.broadcast_add(self.var(&format!("{name}.bias"))?)?)
    }

    fn var(&self, name: &str) -> Result<&Var> {
        let missing = || format!("there is no tensor \"{name}\"");
        Ok(self.vars.get(name).ok_or_else(missing)?)
    }
}

/// The sines of ωλ, then the cosines.
fn features(lambda: f32) -> impl Iterator<Item = f32> {
    let lambda = f64::from(lambda.clamp(-LAMBDA_LIMIT, LAMBDA_LIMIT));
    let angle = move |k: usize| 0.25 * (k + 1) as f64 * lambda;
    let sines = (0..FREQUENCIES).map(move |k| angle(k).sin() as f32);
    sines.chain((0..FREQUENCIES).map(move |k| angle(k).cos() as f32))
}

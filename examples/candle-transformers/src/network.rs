//! A tiny network of candle-transformers, and its Stable Diffusion loop.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{VarBuilder, VarMap};
use candle_transformers::models::stable_diffusion::schedulers::Scheduler;
use candle_transformers::models::stable_diffusion::unet_2d::{
    BlockConfig, UNet2DConditionModel, UNet2DConditionModelConfig,
};
use diffusion_sampler::KeyedNoise;
use diffusion_sampler::noise::{NoiseKey, Stream};

/// Two pictures of 4 × 8 × 8 latents.
pub const SHAPE: [usize; 4] = [2, 4, 8, 8];
/// One of 4 × 4 × 4, where much is run.
pub const SMALL: [usize; 4] = [1, 4, 4, 4];
/// Two words of 8 numbers.
const WORDS: [usize; 2] = [2, 8];

/// `UNet2DConditionModel` with two blocks of 32 channels, the first with attention to the
/// words, and random weights: normals over √(inputs), and over 10 for what is added, keyed by the
/// place in the list of names, so that every run has the same.
pub struct Network {
    unet: UNet2DConditionModel,
    words: Tensor,
    /// The scale of classifier-free guidance.
    scale: f64,
}

/// Standard normals in this shape, the same in every run.
pub fn normals(shape: &[usize], seed: u64) -> Result<Tensor> {
    let mut values = vec![0.0_f32; shape.iter().product()];
    KeyedNoise::new(seed).fill_row(NoiseKey::new(0, 0, Stream::User(0)), &mut values);
    Tensor::from_vec(values, shape, &Device::Cpu)
}

impl Network {
    /// For batches of so many pictures.
    pub fn new(samples: usize, scale: f64) -> Result<Self> {
        let block = |out_channels, use_cross_attn| BlockConfig {
            out_channels,
            use_cross_attn,
            attention_head_dim: 2,
        };
        let config = UNet2DConditionModelConfig {
            blocks: vec![block(32, Some(1)), block(32, None)],
            layers_per_block: 1,
            cross_attention_dim: WORDS[1],
            ..Default::default()
        };
        let weights = VarMap::new();
        let builder = VarBuilder::from_varmap(&weights, DType::F32, &Device::Cpu);
        let unet = UNet2DConditionModel::new(builder, SHAPE[1], SHAPE[1], false, config)?;
        let mut tensors: Vec<_> = {
            let data = weights.data().lock().map_err(candle_core::Error::msg)?;
            data.iter()
                .map(|(name, var)| (name.clone(), var.clone()))
                .collect()
        };
        tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (place, (name, var)) in (1..).zip(&tensors) {
            let scale = match var.dims() {
                [_, inputs @ ..] if !inputs.is_empty() => {
                    (inputs.iter().product::<usize>() as f64).sqrt().recip()
                }
                _ if name.ends_with("bias") => 0.1,
                // The weights of norms are 1.
                _ => continue,
            };
            var.set(&(normals(var.dims(), place)? * scale)?)?;
        }
        // Without the condition first, as candle's program has it.
        let words = [samples, WORDS[0], WORDS[1]];
        let words = Tensor::cat(&[normals(&words, 1001)?, normals(&words, 1002)?], 0)?;
        Ok(Self { unet, words, scale })
    }

    /// What the loop does between `scale_model_input` and `step`: one call with both halves, and
    /// guidance by hand.
    fn guided(&self, input: &Tensor, timestep: f64) -> Result<Tensor> {
        let output = self.unet.forward(input, timestep, &self.words)?;
        let halves = output.chunk(2, 0)?;
        let [without, with] = halves.as_slice() else {
            candle_core::bail!("two halves, not {}", halves.len())
        };
        without + ((with - without)? * self.scale)?
    }

    /// The network's answer to a state, for a run of ours.
    pub fn answer(&self, x: &Tensor, timestep: f64) -> Result<Tensor> {
        self.guided(&Tensor::cat(&[x, x], 0)?, timestep)
    }

    /// The loop of candle's Stable Diffusion program, from call `t_start` on: the latents after
    /// every call.
    pub fn pipeline(
        &self,
        scheduler: &mut dyn Scheduler,
        latents: &Tensor,
        t_start: usize,
    ) -> Result<Vec<Tensor>> {
        let timesteps = scheduler.timesteps().to_vec();
        let mut latents = latents.clone();
        let mut states = Vec::new();
        for &timestep in timesteps.iter().skip(t_start) {
            let input = Tensor::cat(&[&latents, &latents], 0)?;
            let input = scheduler.scale_model_input(input, timestep)?;
            let output = self.guided(&input, timestep as f64)?;
            latents = scheduler.step(&output, timestep, &latents)?;
            states.push(latents.clone());
        }
        Ok(states)
    }
}

//! What must hold of a training and of the committed weights, in seconds.

use candle_core::{Device, Tensor, Var};
use diffusion_sampler::KeyedNoise;
use diffusion_sampler::forward::fill_normal;
use diffusion_sampler::noise::Stream;
use digits_network::{NO_CLASS, Network, PIXELS};
use ndarray::Array2;

use crate::Result;
use crate::batch::{Batch, levels, schedule, tensor};
use crate::evaluation;
use crate::model::Model;
use crate::split::Split;
use crate::training::Trainer;

/// The weights that are compiled into the network's package.
const COMMITTED: &[u8] = include_bytes!("../../network/weights/digits.safetensors");

/// Largest difference between two ways to add up a network's sums in f32, relative to the largest
/// element of its output.
const ROUNDING: f32 = 1e-5;

pub fn check() -> Result<()> {
    same_network()?;
    targets()?;
    falling_loss()
}

/// candle's forward pass with the committed weights is the one in plain ndarray.
fn same_network() -> Result<()> {
    let rows = 33;
    let mut x = Array2::<f32>::zeros((rows, PIXELS));
    fill_normal(&mut x, &mut KeyedNoise::new(5), 0, Stream::User(0))?;
    // Beyond the limit of ±6 too.
    let lambdas: Vec<f32> = (0..rows).map(|row| row as f32 * 0.5 - 8.0).collect();
    let classes: Vec<usize> = (0..rows).map(|row| row % (NO_CLASS + 1)).collect();
    let mut ours = Array2::zeros((rows, PIXELS));
    Network::trained()?.forward(x.view(), &lambdas, &classes, ours.view_mut())?;
    let model = Model::from_safetensors(COMMITTED)?;
    let theirs = model.forward(&tensor(&x)?, &lambdas, &classes, &[])?;
    let theirs: Vec<f32> = theirs.flatten_all()?.to_vec1()?;
    let largest = ours
        .iter()
        .fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let pairs = ours.iter().zip(&theirs);
    let difference = pairs.fold(0.0_f32, |worst, (a, b)| worst.max((a - b).abs())) / largest;
    println!("candle's network and ndarray's: {difference:.1e} of the largest element");
    // NaN is no agreement either.
    if difference <= ROUNDING && theirs.len() == ours.len() && largest > 0.1 {
        return Ok(());
    }
    Err(format!("the networks differ by {difference}, more than {ROUNDING}").into())
}

/// The loss is least at the velocity, and its gradient is 2·weight·(output − velocity)/elements.
///
/// At a variance-preserving level the velocity is also (αx − x₀)/σ, which does not use the noise.
fn targets() -> Result<()> {
    let split = Split::load()?;
    let rows: Vec<usize> = (0..16).collect();
    let batch = Batch::new(&split.training, &rows, levels(&schedule()?, 16, 0.5)?, 1, 0)?;
    let output = Var::from_tensor(&Tensor::zeros(
        (16, PIXELS),
        candle_core::DType::F32,
        &Device::Cpu,
    )?)?;
    let gradients = batch.loss(output.as_tensor())?.backward()?;
    let gradient = gradients.get(&output).ok_or("the loss has no gradient")?;
    let gradient: Vec<f32> = gradient.flatten_all()?.to_vec1()?;
    let mut worst: f64 = 0.0;
    for (row, level) in batch.levels.iter().enumerate() {
        for pixel in 0..PIXELS {
            let (x, clean) = (batch.noisy[[row, pixel]], batch.clean[[row, pixel]]);
            let velocity = (level.alpha() * f64::from(x) - f64::from(clean)) / level.sigma();
            let expected = -2.0 * velocity / (16 * PIXELS) as f64;
            let found = f64::from(gradient[row * PIXELS + pixel]);
            // x is rounded to f32, and divided by σ.
            let rounding = 1e-6 / level.sigma() / (16 * PIXELS) as f64;
            worst = worst.max((found - expected).abs() / rounding);
        }
    }
    println!("gradient of the loss: {worst:.2} of the rounding that is allowed");
    if worst <= 1.0 {
        return Ok(());
    }
    Err(format!("the gradient is not that of the velocity: {worst} roundings").into())
}

/// Some dozens of steps make the loss fall on images that are not trained on.
fn falling_loss() -> Result<()> {
    const STEPS: usize = 80;
    let split = Split::load()?;
    let mut trainer = Trainer::new(&split.training, STEPS)?;
    let before = evaluation::loss(&trainer.model, &split.held_out)?;
    for _ in 0..STEPS {
        trainer.step(32)?;
    }
    let after = evaluation::loss(&trainer.model, &split.held_out)?;
    println!("loss on images held out: {before:.3} at first, {after:.3} after {STEPS} steps");
    if after < 0.8 * before {
        return Ok(());
    }
    Err(format!("the loss fell from {before} to {after} only").into())
}

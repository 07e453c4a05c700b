//! What a trained network is worth, on images that it has not seen.

use std::path::Path;

use candle_core::Device;
use diffusion_sampler::denoiser::Guided;
use diffusion_sampler::guidance::ClassifierFree;
use diffusion_sampler::oracle::{Empirical, Oracle};
use diffusion_sampler::schedule::TableSchedule;
use diffusion_sampler::{Denoiser, Query, registry};
use digits_network::{CLASSES, Network, PIXELS, PREDICTION};
use ndarray::{Array2, ArrayView1, Axis};

use crate::Result;
use crate::batch::{Batch, levels, schedule, tensor};
use crate::mixture;
use crate::model::Model;
use crate::split::{Images, Split};

/// Noisy copies of each image; their levels cover the schedule evenly.
const COPIES: usize = 8;
const SEED: u64 = 77;

/// Components of the mixture for each digit, as in the pictures.
const CLUSTERS: usize = 3;

/// Samples of each digit.
const PER_CLASS: usize = 50;

/// A fixed batch of noisy images.
fn noisy(images: &Images) -> Result<Batch> {
    let count = COPIES * images.labels.len();
    let rows: Vec<usize> = (0..count).map(|row| row / COPIES).collect();
    // A prime number, so that the levels of an image are spread over all.
    let ordered = levels(&schedule()?, count, 0.5)?;
    let levels = (0..count).map(|row| ordered[row * 7919 % count]).collect();
    Batch::new(images, &rows, levels, SEED, 0)
}

/// The loss of a network in candle.
pub fn loss(model: &Model, images: &Images) -> Result<f64> {
    let batch = noisy(images)?;
    let x = tensor(&batch.noisy)?.to_device(&Device::Cpu)?;
    let output = model.forward(&x, &batch.lambdas(), &batch.classes, &[])?;
    let values = output.flatten_all()?.to_vec1()?;
    Ok(batch.loss_of(&Array2::from_shape_vec(batch.noisy.dim(), values)?))
}

/// Prints what the file's network does beside exact models, and how new its samples are.
pub fn print(split: &Split, file: &Path) -> Result<()> {
    let bytes = std::fs::read(file)?;
    let network = Network::from_safetensors(&bytes)?;
    let (known, new) = (noisy(&split.training)?, noisy(&split.held_out)?);
    let mixture = mixture::fit(&split.digits, CLUSTERS)?;
    let empirical = Empirical::labelled(&split.digits.signed(), split.digits.labels.clone())?;
    println!("loss                          trained on  held out");
    let line = |name: &str, known: f64, new: f64| println!("{name:28}  {known:10.4}  {new:8.4}");
    line(
        "network",
        of_network(&network, &known)?,
        of_network(&network, &new)?,
    );
    let of_mixture = |batch| of_exact(batch, |label| Ok(mixture.condition(label)?));
    line(
        "mixture of the training part",
        of_mixture(&known)?,
        of_mixture(&new)?,
    );
    let of_images = |batch| of_exact(batch, |label| Ok(empirical.condition(label)?));
    line("learnt by heart", of_images(&known)?, of_images(&new)?);

    println!("\nmean distance to the nearest image of the training part");
    let nearest = |images: &Array2<f32>| nearest(images, &split.training.pixels);
    println!("  images held out  {:.3}", nearest(&split.held_out.pixels));
    for scale in [1.0, 2.0, 3.0] {
        let samples = sample(&network, scale)?;
        println!("  samples, scale {scale} {:.3}", nearest(&samples));
    }
    Ok(())
}

fn of_network(network: &Network, batch: &Batch) -> Result<f64> {
    let mut output = Array2::zeros(batch.noisy.dim());
    let (x, lambdas) = (batch.noisy.view(), batch.lambdas());
    network.forward(x, &lambdas, &batch.classes, output.view_mut())?;
    Ok(batch.loss_of(&output))
}

/// The loss of a model whose denoiser is exact, for each digit.
fn of_exact<O: Oracle>(batch: &Batch, model: impl Fn(usize) -> Result<O>) -> Result<f64> {
    let mut output = Array2::zeros(batch.noisy.dim());
    for label in 0..CLASSES {
        let own = |row: &usize| batch.classes[*row] == label;
        let rows: Vec<usize> = (0..batch.classes.len()).filter(own).collect();
        let x = batch.noisy.select(Axis(0), &rows);
        let levels: Vec<_> = rows.iter().map(|&row| batch.levels[row]).collect();
        let mut part = x.clone();
        let mut exact = model(label)?.denoiser(PREDICTION);
        exact.denoise(&x, &Query::per_sample(&levels)?, &mut part)?;
        for (row, values) in rows.into_iter().zip(part.outer_iter()) {
            output.row_mut(row).assign(&values);
        }
    }
    Ok(batch.loss_of(&output))
}

fn sample(network: &Network, scale: f64) -> Result<Array2<f32>> {
    let table = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let sampler = registry::sampler("DPM++ 2M trailing")?.sampler(&table, 20)?;
    let classes: Vec<usize> = (0..CLASSES * PER_CLASS)
        .map(|row| row / PER_CLASS)
        .collect();
    let guidance = ClassifierFree::with_scale(scale)?;
    let mut model = Guided::new(network.denoiser(&classes)?, guidance);
    Ok(sampler.sample(&mut model, (classes.len(), PIXELS), SEED)?)
}

/// The mean Euclidean distance from each of `images` to the nearest of `others`.
fn nearest(images: &Array2<f32>, others: &Array2<f32>) -> f64 {
    let distance = |a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>| {
        let squares = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b));
        f64::from(squares.sum::<f32>()).sqrt()
    };
    let least = |image: ArrayView1<'_, f32>| {
        let distances = others.outer_iter().map(|other| distance(image, other));
        distances.fold(f64::INFINITY, f64::min)
    };
    images.outer_iter().map(least).sum::<f64>() / images.nrows() as f64
}

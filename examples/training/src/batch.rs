//! What a step of training is given, made by diffusion-sampler: levels, noise, targets, weights.

use candle_core::{Device, Tensor};
use diffusion_sampler::forward::{diffuse_with, fill_normal};
use diffusion_sampler::noise::Stream;
use diffusion_sampler::schedule::{NoiseSchedule, TableSchedule};
use diffusion_sampler::training::LossWeight;
use diffusion_sampler::{KeyedNoise, NoiseLevel};
use digits_network::{PIXELS, PREDICTION};
use ndarray::{Array2, Axis};

use crate::Result;
use crate::split::Images;

/// The weight of the loss at a level.
pub const WEIGHT: LossWeight = LossWeight::Simple;

/// Noisy images and what the network should make of them.
pub struct Batch {
    pub clean: Array2<f32>,
    pub noisy: Array2<f32>,
    pub levels: Vec<NoiseLevel>,
    pub classes: Vec<usize>,
    /// The prediction's target, row by row.
    pub target: Array2<f32>,
    /// The loss weight of each row.
    pub weights: Vec<f64>,
}

/// The levels of training: those of the cosine schedule.
pub fn schedule() -> Result<TableSchedule> {
    Ok(TableSchedule::cosine(1000)?)
}

/// As many levels as `count`, spread evenly over the schedule's times from `offset` on, which is
/// between 0 and 1 in units of their distance.
pub fn levels(schedule: &TableSchedule, count: usize, offset: f64) -> Result<Vec<NoiseLevel>> {
    let (first, last) = (1.0, schedule.last_time());
    let time = |k: usize| first + (last - first) * (k as f64 + offset) / count as f64;
    let levels = (0..count).map(|k| schedule.level(time(k)));
    Ok(levels.collect::<std::result::Result<_, _>>()?)
}

impl Batch {
    /// The images of `rows`, each at its level, with the noise of (seed, step).
    pub fn new(
        images: &Images,
        rows: &[usize],
        levels: Vec<NoiseLevel>,
        seed: u64,
        step: u32,
    ) -> Result<Self> {
        let clean = images.pixels.select(Axis(0), rows);
        let classes = rows.iter().map(|&row| images.labels[row]).collect();
        let mut noise = Array2::zeros((rows.len(), PIXELS));
        fill_normal(
            &mut noise,
            &mut KeyedNoise::new(seed),
            step,
            Stream::Forward,
        )?;
        let mut noisy = clean.clone();
        diffuse_with(&mut noisy, &noise, &levels)?;
        let mut target = noise;
        let mut weights = Vec::with_capacity(rows.len());
        let rows = target.outer_iter_mut().zip(clean.outer_iter());
        for ((mut target, clean), level) in rows.zip(&levels) {
            let form = PREDICTION.target(level)?;
            target.zip_mut_with(&clean, |noise, clean| {
                *noise = (form.data * f64::from(*clean) + form.noise * f64::from(*noise)) as f32;
            });
            weights.push(WEIGHT.on_output(PREDICTION, level)?);
        }
        Ok(Self {
            clean,
            noisy,
            levels,
            classes,
            target,
            weights,
        })
    }

    /// λ of each row.
    pub fn lambdas(&self) -> Vec<f32> {
        let lambdas = self.levels.iter();
        lambdas.map(|level| level.lambda() as f32).collect()
    }

    /// The mean over rows and pixels of weight·(output − target)², as candle differentiates it.
    pub fn loss(&self, output: &Tensor) -> Result<Tensor> {
        let weights: Vec<f32> = self.weights.iter().map(|weight| *weight as f32).collect();
        let weights = Tensor::from_vec(weights, (self.levels.len(), 1), &Device::Cpu)?;
        let errors = (output - tensor(&self.target)?)?.sqr()?;
        Ok(errors.broadcast_mul(&weights)?.mean_all()?)
    }

    /// The same mean for an output that is known.
    pub fn loss_of(&self, output: &Array2<f32>) -> f64 {
        let rows = output.outer_iter().zip(self.target.outer_iter());
        let errors = rows.zip(&self.weights).map(|((output, target), weight)| {
            let pairs = output.iter().zip(target);
            let error = |(a, b): (&f32, &f32)| f64::from(a - b).powi(2);
            weight * pairs.map(error).sum::<f64>()
        });
        errors.sum::<f64>() / output.len() as f64
    }
}

/// Rows as a tensor.
pub fn tensor(rows: &Array2<f32>) -> Result<Tensor> {
    let values = rows.iter().copied().collect();
    Ok(Tensor::from_vec(values, rows.dim(), &Device::Cpu)?)
}

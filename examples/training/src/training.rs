//! The training loop.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write, stderr};
use std::path::Path;
use std::time::Instant;

use candle_core::{Device, Tensor, Var};
use candle_nn::optim::{AdamW, Optimizer, ParamsAdamW};
use diffusion_sampler::schedule::TableSchedule;
use digits_network::{BLOCKS, HIDDEN, NO_CLASS};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use crate::Result;
use crate::batch::{self, Batch, tensor};
use crate::evaluation;
use crate::model::Model;
use crate::split::{Images, Split};

/// Steps of a whole training.
pub const STEPS: usize = 2400;

/// Of everything that is random: weights, noise, levels, order of the images.
const SEED: u64 = 10;
const ROWS: usize = 128;
const PEAK_RATE: f64 = 1.5e-3;

/// The rate rises in the first of so many parts of the steps.
const WARMUP: f64 = 12.0;
const WEIGHT_DECAY: f64 = 0.02;

/// The share of hidden channels that dropout sets to 0: without it the network learns the training
/// images by heart.
const DROPOUT: f32 = 0.1;

/// The share of rows whose class is dropped, for guidance.
const DROPPED_CLASSES: f64 = 0.12;

/// How much of the averaged weights stays in a step.
const AVERAGE: f64 = 0.999;

/// Steps from one report to the next.
const REPORT: usize = 200;

/// A network in training.
pub struct Trainer<'i> {
    pub model: Model,
    /// The weights, averaged over the steps: what is saved.
    pub averaged: Model,
    images: &'i Images,
    schedule: TableSchedule,
    optimiser: AdamW,
    random: StdRng,
    order: Vec<usize>,
    step: usize,
    steps: usize,
}

impl<'i> Trainer<'i> {
    pub fn new(images: &'i Images, steps: usize) -> Result<Self> {
        let model = Model::initial(SEED)?;
        let vars: Vec<Var> = model.vars.values().cloned().collect();
        let parameters = ParamsAdamW {
            weight_decay: WEIGHT_DECAY,
            ..ParamsAdamW::default()
        };
        let mut averaged = BTreeMap::new();
        for (name, var) in &model.vars {
            averaged.insert(name.clone(), Var::from_tensor(&var.as_tensor().copy()?)?);
        }
        Ok(Self {
            model,
            averaged: Model { vars: averaged },
            images,
            schedule: batch::schedule()?,
            optimiser: AdamW::new(vars, parameters)?,
            random: StdRng::seed_from_u64(SEED),
            order: Vec::new(),
            step: 0,
            steps,
        })
    }

    /// One step; gives its loss.
    pub fn step(&mut self, rows: usize) -> Result<f32> {
        let mut batch = self.batch(rows)?;
        for class in &mut batch.classes {
            if self.random.random_bool(DROPPED_CLASSES) {
                *class = NO_CLASS;
            }
        }
        let masks = self.masks(rows)?;
        let (x, lambdas) = (tensor(&batch.noisy)?, batch.lambdas());
        let output = self.model.forward(&x, &lambdas, &batch.classes, &masks)?;
        let loss = batch.loss(&output)?;
        self.optimiser.set_learning_rate(self.rate());
        self.optimiser.backward_step(&loss)?;
        self.average()?;
        self.step += 1;
        Ok(loss.to_scalar()?)
    }

    /// Images in random order, all of them before any comes again, at levels spread evenly.
    fn batch(&mut self, rows: usize) -> Result<Batch> {
        if self.order.len() < rows {
            self.order = (0..self.images.labels.len()).collect();
            self.order.shuffle(&mut self.random);
        }
        let chosen = self.order.split_off(self.order.len() - rows);
        let levels = batch::levels(&self.schedule, rows, self.random.random())?;
        Batch::new(self.images, &chosen, levels, SEED, self.step as u32)
    }

    fn masks(&mut self, rows: usize) -> Result<Vec<Tensor>> {
        let stay = 1.0 - DROPOUT;
        let mut masks = Vec::with_capacity(BLOCKS);
        for _ in 0..BLOCKS {
            let mut mask = vec![0.0_f32; rows * HIDDEN];
            for value in &mut mask {
                *value = if self.random.random::<f32>() < stay {
                    1.0 / stay
                } else {
                    0.0
                };
            }
            masks.push(Tensor::from_vec(mask, (rows, HIDDEN), &Device::Cpu)?);
        }
        Ok(masks)
    }

    /// The learning rate: up linearly, then down along a cosine.
    fn rate(&self) -> f64 {
        let (step, steps) = (self.step as f64, self.steps as f64);
        let rise = ((step + 1.0) / (steps / WARMUP)).min(1.0);
        let fall = 0.5 * (1.0 + (std::f64::consts::PI * step / steps).cos());
        PEAK_RATE * rise * fall
    }

    /// averaged ← averaged + (1 − decay)(weights − averaged), with less decay in the first steps.
    fn average(&self) -> Result<()> {
        let step = self.step as f64;
        let decay = AVERAGE.min((1.0 + step) / (10.0 + step));
        for (average, var) in self.averaged.vars.values().zip(self.model.vars.values()) {
            let old = average.as_tensor().affine(decay, 0.0)?;
            average.set(&(old + var.as_tensor().affine(1.0 - decay, 0.0)?)?)?;
        }
        Ok(())
    }
}

/// Trains for `steps` steps and writes the averaged weights, in f16, to `file`.
pub fn train(steps: usize, file: &Path) -> Result<()> {
    let split = Split::load()?;
    let (trained, held_out) = (split.training.labels.len(), split.held_out.labels.len());
    println!("{trained} images to train on, {held_out} held out; {steps} steps of {ROWS} images");
    println!(" step  seconds  loss of these steps  averaged weights, held out");
    let start = Instant::now();
    let mut trainer = Trainer::new(&split.training, steps)?;
    let mut sum = 0.0;
    for step in 1..=steps {
        let loss = trainer.step(ROWS)?;
        if !loss.is_finite() {
            return Err(format!("step {step}: the loss is {loss}").into());
        }
        sum += f64::from(loss);
        progress(step, steps, loss, start)?;
        if step % REPORT == 0 || step == steps {
            let mean = sum / ((step - 1) % REPORT + 1) as f64;
            let held_out = evaluation::loss(&trainer.averaged, &split.held_out)?;
            let seconds = start.elapsed().as_secs_f64();
            println!("{step:5}  {seconds:7.0}  {mean:19.4}  {held_out:25.4}");
            sum = 0.0;
        }
    }
    trainer.averaged.save(file)?;
    println!("wrote {}\n", file.display());
    evaluation::print(&split, file)
}

/// A line that is rewritten, where somebody looks.
fn progress(step: usize, steps: usize, loss: f32, start: Instant) -> Result<()> {
    if !stderr().is_terminal() {
        return Ok(());
    }
    let seconds = start.elapsed().as_secs_f64();
    let left = seconds * (steps - step) as f64 / step as f64;
    let mut out = stderr().lock();
    write!(
        out,
        "\rstep {step} of {steps}, loss {loss:.4}, {left:.0} s left \x1b[K\r"
    )?;
    Ok(out.flush()?)
}

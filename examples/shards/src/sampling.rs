//! Rows of the job, sampled wherever they are wanted.

use std::ops::Range;
use std::time::{Duration, Instant};

use diffusion_sampler::denoiser::Guided;
use diffusion_sampler::guidance::Guidance;
use diffusion_sampler::{Denoiser, KeyedNoise, Prediction, Query, Sampler};
use digits_network::{CLASSES, NO_CLASS, Network, PIXELS, PREDICTION};
use ndarray::{Array2, ArrayRef, Ix2};

use crate::error::Result;
use crate::hash::Hash;
use crate::job::Job;
use crate::npy;

/// All that computes a job's rows.
pub(crate) struct Sampling {
    network: Network,
    sampler: Sampler,
    guidance: Box<dyn Guidance>,
    seed: u64,
}

impl Sampling {
    /// For this job.
    pub(crate) fn new(job: &Job) -> Result<Self> {
        Ok(Self {
            network: Network::trained()?,
            sampler: job.sampler()?,
            guidance: job.guidance()?,
            seed: job.seed,
        })
    }

    /// These rows of the result, [n, 64], and the time that the network took.
    ///
    /// A row is the same in every batch: its noise is that of its number in the whole job, its
    /// class is its number modulo ten, and the network computes each row for itself.
    pub(crate) fn rows(&self, rows: Range<u64>) -> Result<(Array2<f32>, Duration)> {
        let noise = KeyedNoise::new(self.seed).with_first_sample(rows.start)?;
        let classes: Vec<usize> = rows.map(class).collect();
        let network = Timed {
            model: self.network.denoiser(&classes)?,
            spent: Duration::ZERO,
        };
        let mut model = Guided::new(network, &*self.guidance);
        let mut run = self
            .sampler
            .start((classes.len(), PIXELS), PREDICTION, noise)?;
        run.complete(&mut model)?;
        Ok((run.into_state(), model.model().spent))
    }

    /// The job's text, as it is stored.
    pub(crate) fn text(&self, job: &Job) -> Result<String> {
        Ok(job.text(&self.plan(), &self.network()?))
    }

    /// What tells this plan from others.
    fn plan(&self) -> String {
        format!("{:016x}", self.sampler.plan().fingerprint())
    }

    /// What tells this network from others: the hash of its answers to a few questions. They are
    /// not the same for other weights, nor on a machine that rounds otherwise.
    fn network(&self) -> Result<String> {
        let classes: Vec<usize> = (0..=NO_CLASS).collect();
        let lambdas: Vec<f32> = classes.iter().map(|&class| class as f32 - 5.0).collect();
        let element = |(row, column)| (row * PIXELS + column) as f32 / 256.0 - 1.0;
        let x = Array2::from_shape_fn((classes.len(), PIXELS), element);
        let mut answers = Array2::zeros(x.raw_dim());
        self.network
            .forward(x.view(), &lambdas, &classes, answers.view_mut())?;
        Ok(Hash::of(&npy::bytes(&answers)))
    }
}

/// The digit that a row shows.
fn class(row: u64) -> usize {
    (row % CLASSES as u64) as usize
}

/// A model that counts its own time.
struct Timed<M> {
    model: M,
    spent: Duration,
}

impl<M: Denoiser<f32, Ix2>> Denoiser<f32, Ix2> for Timed<M> {
    type Error = M::Error;

    fn prediction(&self) -> Prediction {
        self.model.prediction()
    }

    fn denoise(
        &mut self,
        x: &ArrayRef<f32, Ix2>,
        query: &Query<'_>,
        out: &mut ArrayRef<f32, Ix2>,
    ) -> std::result::Result<(), M::Error> {
        let begin = Instant::now();
        let outcome = self.model.denoise(x, query, out);
        self.spent += begin.elapsed();
        outcome
    }

    fn outputs(&self) -> Option<usize> {
        self.model.outputs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(steps: u64) -> Job {
        Job {
            samples: 4,
            sampler: "DDIM trailing".into(),
            steps,
            scale: 1.0,
            seed: 0,
        }
    }

    #[test]
    fn other_weights_and_other_plans_are_told_apart() {
        let mine = Sampling::new(&job(4)).unwrap();
        assert_ne!(mine.plan(), Sampling::new(&job(5)).unwrap().plan());
        // One bit of the last weight's exponent.
        let mut weights = include_bytes!("../../network/weights/digits.safetensors").to_vec();
        *weights.last_mut().unwrap() ^= 1;
        let network = Network::from_safetensors(&weights).unwrap();
        let other = Sampling {
            network,
            ..Sampling::new(&job(4)).unwrap()
        };
        assert_eq!(mine.plan(), other.plan());
        assert_ne!(mine.network().unwrap(), other.network().unwrap());
    }
}

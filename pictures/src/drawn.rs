//! What draws the digits: a trained network, or an exact mixture in its place.

use std::cell::Cell;
use std::error::Error;
use std::time::{Duration, Instant};

use diffusion_sampler::denoiser::{Guided, Models};
use diffusion_sampler::guidance::ClassifierFree;
use diffusion_sampler::oracle::{Empirical, GaussianMixture, Oracle, sample_moments};
use diffusion_sampler::schedule::TableSchedule;
use diffusion_sampler::{Denoiser, KeyedNoise, Prediction, registry};
use digits_network::Network;
use ndarray::{Array2, Axis, Ix2, concatenate};
use rand::{SeedableRng, rngs::SmallRng};

use crate::digits::{Digits, SIDE};
use crate::timed::Timed;

/// The digits, 0 to 9.
pub const CLASSES: usize = 10;

/// Why sampling failed on a thread.
type Failure = Box<dyn Error + Send + Sync>;

/// A model of the digits with two outputs, with the class and without.
#[derive(Clone, Debug)]
pub enum Model {
    /// The trained network of `examples/network`.
    Network(Box<Network>),
    /// The mixture of [`crate::model`], whose denoiser is exact.
    Mixture,
}

/// How samples are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setting {
    /// A sampler of the registry, with its spacing.
    pub sampler: &'static str,
    /// Steps of a run.
    pub steps: usize,
    /// Classifier-free guidance: 0 is the plain conditional model.
    pub weight: f64,
}

/// Samples \[10·n, 64\]: n zeros, then n ones and so on; and what they took on all threads
/// together.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// The samples.
    pub samples: Array2<f32>,
    /// Time in the model.
    pub model: Duration,
    /// The rest of the runs.
    pub sampler: Duration,
}

/// One class's part of [`Drawn`].
type Part = (usize, Drawn);

/// Everything that sampling needs.
#[derive(Debug)]
pub struct Studio<'m> {
    /// What is sampled.
    pub model: Model,
    /// The exact model of the digits.
    pub mixture: &'m GaussianMixture,
    /// The images.
    pub digits: &'m Digits,
    /// Samples of each class.
    pub per_class: usize,
    /// The seed of all noise.
    pub seed: u64,
}

impl Studio<'_> {
    /// Samples of every class; `done` is told of each class.
    ///
    /// # Errors
    ///
    /// What the sampler, the guidance or the model refuses.
    pub fn draw(&self, setting: Setting, done: impl Fn() + Sync) -> Result<Drawn, Box<dyn Error>> {
        // The classes are parts of one batch, each for a thread: a sample's noise depends on its
        // place alone.
        let done = &done;
        let parts = std::thread::scope(|scope| {
            let threads = [0, 1].map(|first| {
                scope.spawn(move || {
                    let labels = (first..CLASSES).step_by(2);
                    let part = |label| {
                        let drawn = self.class(label, setting)?;
                        done();
                        Ok((label, drawn))
                    };
                    labels.map(part).collect::<Result<Vec<Part>, Failure>>()
                })
            });
            threads.map(|thread| thread.join())
        });
        let mut ordered = Vec::with_capacity(CLASSES);
        for part in parts {
            let part = part.map_err(|_| "a thread panicked")?;
            ordered.extend(part.map_err(|error| -> Box<dyn Error> { error })?);
        }
        ordered.sort_by_key(|(label, _)| *label);
        let views: Vec<_> = ordered
            .iter()
            .map(|(_, part)| part.samples.view())
            .collect();
        Ok(Drawn {
            samples: concatenate(Axis(0), &views)?,
            model: ordered.iter().map(|(_, part)| part.model).sum(),
            sampler: ordered.iter().map(|(_, part)| part.sampler).sum(),
        })
    }

    /// Samples of one class: what the crate is for.
    fn class(&self, label: usize, setting: Setting) -> Result<Drawn, Failure> {
        match &self.model {
            Model::Network(network) => {
                let classes = vec![label; self.per_class];
                self.run(network.denoiser(&classes)?, label, setting)
            }
            Model::Mixture => {
                let model = Models((
                    self.mixture.condition(label)?.denoiser(Prediction::Noise),
                    self.mixture.denoiser(Prediction::Noise),
                ));
                self.run(model, label, setting)
            }
        }
    }

    fn run<M>(&self, model: M, label: usize, setting: Setting) -> Result<Drawn, Failure>
    where
        M: Denoiser<f32, Ix2, Error: Error + Send + Sync + 'static>,
    {
        let start = Instant::now();
        let spent = Cell::new(Duration::ZERO);
        let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
        let sampler = registry::sampler(setting.sampler)?.sampler(&schedule, setting.steps)?;
        let guidance = ClassifierFree::with_weight(setting.weight)?;
        let prediction = model.prediction();
        let timed = Timed {
            model,
            spent: &spent,
        };
        let first = (label * self.per_class) as u64;
        let noise = KeyedNoise::new(self.seed).with_first_sample(first)?;
        let mut run = sampler.start((self.per_class, SIDE * SIDE), prediction, noise)?;
        run.complete(&mut Guided::new(timed, guidance))?;
        Ok(Drawn {
            samples: run.into_state(),
            model: spent.get(),
            sampler: start.elapsed().saturating_sub(spent.get()),
        })
    }

    /// The class that each row of [`draw`](Self::draw) should show.
    pub fn classes(&self) -> Vec<usize> {
        let rows = 0..CLASSES * self.per_class;
        rows.map(|row| row / self.per_class).collect()
    }

    /// Mean and covariance of what is to be sampled: of the images for a network that learnt from
    /// them, of the mixture for the mixture.
    ///
    /// # Errors
    ///
    /// None: there are enough images.
    pub fn moments(&self) -> Result<(Vec<f64>, Array2<f64>), Box<dyn Error>> {
        Ok(match self.model {
            Model::Network(_) => sample_moments(&self.digits.signed())?,
            Model::Mixture => self.mixture.moments()?,
        })
    }

    /// As many draws of each class from the images themselves, which are chosen at random.
    ///
    /// # Errors
    ///
    /// None: there are images of all classes.
    pub fn images(&self) -> Result<Array2<f32>, Box<dyn Error>> {
        let labels = self.digits.labels.clone();
        let images = Empirical::labelled(&self.digits.signed(), labels)?;
        self.exact(|label, rng| {
            let class = images.condition(label)?;
            Ok(class.sample(self.per_class, rng)?.points)
        })
    }

    /// As many draws of each class from the mixture: what a perfect sampler of it would give.
    ///
    /// # Errors
    ///
    /// None: the mixture has all classes.
    pub fn mixture_draws(&self) -> Result<Array2<f32>, Box<dyn Error>> {
        self.exact(|label, rng| {
            let class = self.mixture.condition(label)?;
            Ok(class.sample(self.per_class, rng)?.points)
        })
    }

    fn exact(
        &self,
        draw: impl Fn(usize, &mut SmallRng) -> Result<Array2<f64>, Box<dyn Error>>,
    ) -> Result<Array2<f32>, Box<dyn Error>> {
        let mut rng = SmallRng::seed_from_u64(self.seed);
        let mut samples = Array2::zeros((0, SIDE * SIDE));
        for label in 0..CLASSES {
            let points = draw(label, &mut rng)?;
            samples.append(Axis(0), points.mapv(|value| value as f32).view())?;
        }
        Ok(samples)
    }
}

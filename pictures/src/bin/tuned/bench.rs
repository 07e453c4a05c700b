//! The network, its samples, and what they are worth.

use std::error::Error;

use diffusion_sampler::likelihood::Measurement;
use diffusion_sampler::oracle::{GaussianMixture, sample_moments};
use diffusion_sampler::posterior::DataErrors;
use diffusion_sampler::schedule::{NoiseSchedule, TableSchedule};
use diffusion_sampler::tuning::{Spectrum, WarmStart};
use diffusion_sampler::{Grid, KeyedNoise, Sampler, registry};
use digits_network::Network;
use ndarray::{Array2, Axis, s};
use pictures::digits::{Digits, SIDE};
use pictures::drawn::CLASSES;
use pictures::judge::{Judge, Verdict};
use pictures::model;

/// Samples of each class under each seed.
const PER_CLASS: usize = 100;
pub(crate) const SEEDS: [u64; 3] = [1, 2, 3];
/// Steps of the run that all others are compared with.
const REFERENCE: usize = 100;
/// Levels at which M_t is measured.
const LEVELS: usize = 48;
pub(crate) const SOLVER: &str = "DPM++ 2M";

/// The mean over the seeds, and the standard deviation between them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) mean: f64,
    pub(crate) deviation: f64,
}

impl Measured {
    fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let square: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
        let deviation = (square / (n - 1.0)).sqrt();
        Self { mean, deviation }
    }
}

/// What samples are worth.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) path: Measured,
    pub(crate) distance: Measured,
    pub(crate) right: f64,
    /// Its noise is not the reference's, and its path has no meaning.
    pub(crate) stochastic: bool,
}

impl Row {
    pub(crate) fn shown(&self) -> String {
        let path = match self.stochastic {
            true => "        –     ".to_owned(),
            false => format!("{:7.2} ± {:4.2}", self.path.mean, self.path.deviation),
        };
        format!(
            "{path}  {:7.3} ± {:5.3}  {:5.1}",
            self.distance.mean,
            self.distance.deviation,
            100.0 * self.right
        )
    }
}

pub(crate) const COLUMNS: &str = "      path %         distance     class %";

pub(crate) struct Bench {
    pub(crate) schedule: TableSchedule,
    pub(crate) digits: Digits,
    pub(crate) images: Array2<f64>,
    network: Network,
    classes: Vec<usize>,
    judged: Verdict,
    mixture: GaussianMixture,
    rms: f64,
    references: Vec<Array2<f32>>,
}

impl Bench {
    pub(crate) fn new() -> Result<Self, Box<dyn Error>> {
        let digits = Digits::load()?;
        let images = digits.signed();
        let (_, covariance) = sample_moments(&images)?;
        let mixture = model::fit(&digits, 3)?;
        let classes = (0..CLASSES * PER_CLASS).map(|row| row / PER_CLASS);
        let mut bench = Self {
            schedule: TableSchedule::linear(1000, 1e-4, 0.02)?,
            network: Network::trained()?,
            classes: classes.collect(),
            judged: Verdict {
                right: 0.0,
                distance: 0.0,
            },
            rms: covariance.diag().sum().sqrt(),
            references: Vec::new(),
            digits,
            images,
            mixture,
        };
        let range = bench.schedule.lambda_range();
        let grid = Grid::uniform_lambda(&bench.schedule, REFERENCE, range)?;
        let sampler = bench.sampler(&grid)?;
        bench.references = SEEDS
            .iter()
            .map(|&seed| bench.run(&sampler, None, seed))
            .collect::<Result<_, _>>()?;
        bench.judged = bench
            .judge()?
            .verdict(&bench.images.mapv(|x| x as f32), &bench.digits.labels)?;
        Ok(bench)
    }

    fn judge(&self) -> Result<Judge<'_>, Box<dyn Error>> {
        Ok(Judge::new(&self.mixture, sample_moments(&self.images)?))
    }

    pub(crate) fn sampler(&self, grid: &Grid) -> Result<Sampler, Box<dyn Error>> {
        let solver = registry::sampler(SOLVER)?.solver;
        Ok(Sampler::new(&self.schedule, grid, &solver)?)
    }

    /// Samples of all classes, from x_T or from a state of each class.
    fn run(
        &self,
        sampler: &Sampler,
        warm: Option<&[WarmStart]>,
        seed: u64,
    ) -> Result<Array2<f32>, Box<dyn Error>> {
        let mut samples = Array2::zeros((0, SIDE * SIDE));
        for label in 0..CLASSES {
            let mut model = self.network.denoiser(&vec![label; PER_CLASS])?;
            let noise = KeyedNoise::new(seed).with_first_sample((label * PER_CLASS) as u64)?;
            let (shape, prediction) = ((PER_CLASS, SIDE * SIDE), digits_network::PREDICTION);
            let mut run = match warm {
                None => sampler.start(shape, prediction, noise)?,
                Some(warm) => {
                    let level = sampler.plan().start();
                    let x = warm[label].draw(shape, &level, &mut noise.clone())?;
                    sampler.start_from(x, prediction, noise)?
                }
            };
            run.complete(&mut model)?;
            samples.append(Axis(0), run.into_state().view())?;
        }
        Ok(samples)
    }

    /// Under the first so many seeds.
    pub(crate) fn measure(
        &self,
        sampler: &Sampler,
        warm: Option<&[WarmStart]>,
        seeds: usize,
    ) -> Result<Row, Box<dyn Error>> {
        let (mut paths, mut distances, mut right) = (Vec::new(), Vec::new(), 0.0);
        let judge = self.judge()?;
        for (&seed, reference) in SEEDS.iter().zip(&self.references).take(seeds) {
            let samples = self.run(sampler, warm, seed)?;
            paths.push(100.0 * mean_distance(&samples, reference) / self.rms);
            let verdict = judge.verdict(&samples, &self.classes)?;
            distances.push(verdict.distance);
            right += verdict.right / seeds as f64;
        }
        Ok(Row {
            path: Measured::of(&paths),
            distance: Measured::of(&distances),
            right,
            stochastic: sampler.plan().is_stochastic(),
        })
    }

    pub(crate) fn print_head(&self) -> Result<(), Box<dyn Error>> {
        println!(
            "the trained network, linear schedule, T = 1000, {} samples under each of {} seeds, ± is the standard deviation between seeds",
            self.classes.len(),
            SEEDS.len()
        );
        let judge = self.judge()?;
        let mut distances = Vec::new();
        for reference in &self.references {
            distances.push(judge.verdict(reference, &self.classes)?.distance);
        }
        let distance = Measured::of(&distances);
        println!(
            "{SOLVER} in {REFERENCE} steps: distance {:.3} ± {:.3}; the images' own class is right in {:.1} %",
            distance.mean,
            distance.deviation,
            100.0 * self.judged.right
        );
        Ok(())
    }

    /// M_t of the network with its class, over all images.
    pub(crate) fn data_errors(&self) -> Result<DataErrors, Box<dyn Error>> {
        let grid = Grid::uniform_lambda(&self.schedule, LEVELS, self.schedule.lambda_range())?;
        let mut model = self.network.denoiser(&self.digits.labels)?;
        let images = self.images.mapv(|x| x as f32);
        let measured = Measurement::at(&grid)?
            .with_seed(9)
            .of(&images, &mut model)?;
        Ok(measured.errors().clone())
    }

    pub(crate) fn print_spectra(&self, errors: &DataErrors) -> Result<(), Box<dyn Error>> {
        println!(
            "\nthe network's M_t as a spectrum\n{}",
            Spectrum::fit(errors)?
        );
        Ok(())
    }

    /// Even images, or odd ones.
    pub(crate) fn half(&self, first: usize) -> Array2<f64> {
        self.images.slice(s![first..;2, ..]).to_owned()
    }
}

fn mean_distance(a: &Array2<f32>, b: &Array2<f32>) -> f64 {
    let rows = a.outer_iter().zip(b.outer_iter());
    let distance = rows.map(|(a, b)| {
        let square: f32 = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum();
        f64::from(square).sqrt()
    });
    distance.sum::<f64>() / a.nrows() as f64
}

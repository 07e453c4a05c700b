//! Bits per dimension of handwritten digits that the models have not seen, under two models of
//! them, by stride.
//!
//! ```text
//! cargo run --release -p pictures --bin bits
//! ```
//!
//! A diffusion model is a code for pictures: the variational bound is its length. Two models are
//! priced: the network of `examples/network`, and the mixture of `pictures::model`, whose denoiser
//! is exact for itself. Both are told the digit, and both have seen the training part alone, nine
//! of ten images. What a code has to fix (its stride, the reverse variances, the decoder's
//! deviation) is chosen on images of the training part, and the price is that of the images held
//! out. Pixels have 17 grey values; the decoder is the discretised Gaussian, so that the numbers
//! are bits of a code and not of a density.
//!
//! The second table has samples along the same strides, judged by their squared Fréchet distance to
//! the images: what is cheapest for likelihood is not best for samples.

use std::error::Error;
use std::f64::consts::LN_2;

use diffusion_sampler::denoiser::from_slice_query_fn;
use diffusion_sampler::likelihood::{
    EdgeCosts, EdgeVariance, Measured, Measurement, PixelCosts, Strides,
};
use diffusion_sampler::oracle::{GaussianMixture, Oracle, sample_moments};
use diffusion_sampler::posterior::{Kappa, ReverseVariance, StridedPosterior};
use diffusion_sampler::schedule::TableSchedule;
use diffusion_sampler::solver::FirstOrder;
use diffusion_sampler::{Denoiser, Grid, NoiseLevel, Prediction, Query, Sampler};
use digits_network::Network;
use ndarray::{Array2, ArrayRef, Axis, Ix2};
use pictures::digits::Digits;
use pictures::judge::Judge;
use pictures::model;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Every tenth image is held out, as in the network's training.
const HELD_OUT: usize = 10;
/// Of the training part every so manieth image is measured, to choose the codes.
const MEASURED: usize = 3;
/// Components of the mixture for each digit, as in the other pictures.
const CLUSTERS: usize = 3;
/// Numbers of steps.
const STEPS: [usize; 6] = [5, 10, 20, 50, 100, 200];
/// Numbers of steps of which samples are drawn.
const SAMPLED: [usize; 3] = [5, 10, 20];
/// Samples of each digit.
const PER_CLASS: usize = 100;
const PIXELS: usize = 64;
const SEED: u64 = 3;

/// Pixels from −1 to 1, one image a row, and the digits that they show.
struct Images {
    pixels: Array2<f32>,
    labels: Vec<usize>,
}

fn main() -> Outcome<()> {
    let all = Digits::load()?;
    let (held, trained): (Vec<usize>, Vec<usize>) =
        (0..all.count()).partition(|row| row % HELD_OUT == HELD_OUT - 1);
    let chosen: Vec<usize> = trained.iter().copied().step_by(MEASURED).collect();
    let training = part(&all, &trained);
    let models = Models {
        mixture: model::fit(&training, CLUSTERS)?,
        network: Network::trained()?,
    };
    let (held, chosen) = (images(&part(&all, &held)), images(&part(&all, &chosen)));

    print_plain_codes(&training, &held);
    print_density(&models.mixture, &held)?;
    let grid = levels()?;
    let judge = Judge::new(&models.mixture, sample_moments(&all.signed())?);
    let mut rows = Vec::new();
    for name in ["mixture", "network"] {
        let measure = |images: &Images| -> Outcome<Measured> {
            let mut model = models.of(name, &images.labels)?;
            Ok(measurement(&grid)?.of(&images.pixels, &mut model)?)
        };
        let (known, new) = (measure(&chosen)?, measure(&held)?);
        let codes = Codes::new(&grid, &known)?;
        println!(
            "\n{name}: bits per dimension of {} images held out",
            held.labels.len()
        );
        print_bits(&codes, &new)?;
        rows.push((name, samples(&codes, &models, name, &judge)?));
    }
    println!(
        "\nsamples: squared Fréchet distance to the images, {} each",
        10 * PER_CLASS
    );
    println!("model    sampler  steps  uniform  cheapest, v_p = γ²  cheapest, best v_p");
    for (name, lines) in rows {
        for (sampler, steps, [uniform, fixed, best]) in lines {
            println!("{name:8} {sampler:7} {steps:6} {uniform:8.3} {fixed:19.3} {best:19.3}");
        }
    }
    Ok(())
}

/// Some rows of the data set.
fn part(all: &Digits, rows: &[usize]) -> Digits {
    Digits {
        pixels: all.pixels.select(Axis(0), rows),
        labels: rows.iter().map(|&row| all.labels[row]).collect(),
    }
}

fn images(digits: &Digits) -> Images {
    Images {
        pixels: digits.signed().mapv(|value| value as f32),
        labels: digits.labels.clone(),
    }
}

/// The knots among which strides are searched: all of the 20 cleanest, then every fifth of 1000.
fn levels() -> Outcome<Grid> {
    let knots = (4..=200).rev().map(|k| 5 * k).chain((0..20).rev());
    let times: Vec<f64> = knots.map(f64::from).collect();
    Ok(Grid::from_times(&schedule()?, &times)?)
}

fn schedule() -> Outcome<TableSchedule> {
    Ok(TableSchedule::linear(1000, 1e-4, 0.02)?)
}

/// One pass over the data: M_t, and the pixels' price for deviations of 0.02 to 0.8.
fn measurement(grid: &Grid) -> Outcome<Measurement> {
    let deviations: Vec<f64> = (0..12).map(|i| 0.02 * 1.4f64.powi(i)).collect();
    Ok(Measurement::at(grid)?
        .with_seed(SEED)
        .with_pixels(17, &deviations)?)
}

/// The error of a model, whatever it is.
type Failure = Box<dyn Error + Send + Sync>;

/// A model of the digits of a batch.
trait Model: Denoiser<f32, Ix2, Error = Failure> {}
impl<M: Denoiser<f32, Ix2, Error = Failure>> Model for M {}

/// The two.
struct Models {
    mixture: GaussianMixture,
    network: Network,
}

impl Models {
    /// The model of this name for images that show these digits.
    fn of<'a>(&'a self, name: &str, labels: &[usize]) -> Outcome<Box<dyn Model + 'a>> {
        Ok(match name {
            "mixture" => Box::new(exact(&self.mixture, labels)?),
            _ => Box::new(Erased(self.network.denoiser(labels)?)),
        })
    }
}

/// A model with its error boxed.
struct Erased<M>(M);

impl<M: Denoiser<f32, Ix2, Error: Into<Failure>>> Denoiser<f32, Ix2> for Erased<M> {
    type Error = Failure;

    fn prediction(&self) -> Prediction {
        self.0.prediction()
    }

    fn denoise(
        &mut self,
        x: &ArrayRef<f32, Ix2>,
        query: &Query<'_>,
        out: &mut ArrayRef<f32, Ix2>,
    ) -> Result<(), Failure> {
        self.0.denoise(x, query, out).map_err(Into::into)
    }
}

/// The exact model of each row's digit.
fn exact(mixture: &GaussianMixture, labels: &[usize]) -> Outcome<impl Model + use<>> {
    let classes = (0..10).map(|label| mixture.condition(label));
    let classes: Vec<_> = classes.collect::<Result<_, _>>()?;
    let (labels, mut scratch) = (labels.to_vec(), Vec::new());
    Ok(from_slice_query_fn(
        Prediction::Data,
        1,
        move |x: &[f32], query: &Query<'_>, out: &mut [f32]| {
            let mut estimate = [0.0; PIXELS];
            let rows = x.chunks(PIXELS).zip(out.chunks_mut(PIXELS)).zip(&labels);
            for ((x, out), &label) in rows {
                let x: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
                let class = &classes[label];
                class.data_estimate_into(&x, &query.level(), &mut scratch, &mut estimate)?;
                for (out, value) in out.iter_mut().zip(estimate) {
                    *out = value as f32;
                }
            }
            Ok::<_, Failure>(())
        },
    ))
}

/// What codes are chosen from: the measurement of images of the training part.
struct Codes<'m> {
    grid: &'m Grid,
    known: &'m Measured,
    pixels: &'m PixelCosts,
    fixed: EdgeCosts,
    best: EdgeCosts,
}

/// The two reverse variances.
#[derive(Clone, Copy, PartialEq)]
enum Variance {
    Posterior,
    Best,
}

impl<'m> Codes<'m> {
    fn new(grid: &'m Grid, known: &'m Measured) -> Outcome<Self> {
        let fixed = EdgeVariance::Policy(ReverseVariance::Posterior);
        Ok(Self {
            grid,
            known,
            pixels: known.pixels().ok_or("pixels were not measured")?,
            fixed: EdgeCosts::of_pixels(grid, Kappa::Ddpm, fixed, known)?,
            best: EdgeCosts::of_pixels(grid, Kappa::Ddpm, EdgeVariance::Optimal, known)?,
        })
    }

    fn strides(&self, variance: Variance) -> Outcome<Strides<'_>> {
        let costs = match variance {
            Variance::Posterior => &self.fixed,
            Variance::Best => &self.best,
        };
        Ok(costs.cheapest_from(0, 200)?)
    }

    /// The levels of a uniform stride.
    fn uniform(&self, steps: usize) -> Outcome<Vec<usize>> {
        let levels = self.fixed.levels();
        let grid = Grid::trailing(&schedule()?, steps)?;
        let place = |(from, _): (NoiseLevel, _)| {
            levels.iter().position(|level| level.time() == from.time())
        };
        let path: Option<Vec<usize>> = grid.edges().map(place).collect();
        Ok(path.ok_or("a uniform knot is not among the levels")?)
    }

    /// Bits per dimension of the images of another measurement, and their standard error: the
    /// stride, v_p and the decoder's deviation are this code's own.
    fn bits(&self, path: &[usize], variance: Variance, new: &Measured) -> Outcome<(f64, f64)> {
        let levels = self.grid.levels();
        let (known, rows) = (self.known.errors().errors(), new.by_row());
        let prior = self.fixed.prior(path[0]).ok_or("no such level")?;
        let mut nats = vec![prior; rows.nrows()];
        for pair in path.windows(2) {
            let (t, s) = (pair[0], pair[1]);
            let edge = StridedPosterior::new(levels[t], levels[s], Kappa::Ddpm)?;
            let mut v_p = edge.variance();
            if variance == Variance::Best {
                v_p += edge.data_coefficient().powi(2) * known[t] / PIXELS as f64;
            }
            for (nats, row) in nats.iter_mut().zip(rows.rows()) {
                *nats += edge.kl(PIXELS, row[t], v_p)?;
            }
        }
        let last = path[path.len() - 1];
        let (deviation, _) = self.pixels.best(last);
        let pixels = new.pixels().ok_or("pixels were not measured")?;
        for (nats, row) in nats.iter_mut().zip(pixels.by_row().outer_iter()) {
            *nats += row[[last, deviation]];
        }
        Ok(mean_and_error(&nats))
    }
}

/// In bits per dimension.
fn mean_and_error(nats: &[f64]) -> (f64, f64) {
    let (count, unit) = (nats.len() as f64, PIXELS as f64 * LN_2);
    let mean = nats.iter().sum::<f64>() / count;
    let squares: f64 = nats.iter().map(|n| (n - mean).powi(2)).sum();
    (mean / unit, (squares / (count - 1.0) / count).sqrt() / unit)
}

fn print_bits(codes: &Codes<'_>, new: &Measured) -> Outcome<()> {
    println!("steps  uniform, v_p = γ²  uniform, best v_p  cheapest, v_p = γ²  cheapest, best v_p");
    for steps in STEPS {
        print!("{steps:5}");
        let uniform = codes.uniform(steps)?;
        for variance in [Variance::Posterior, Variance::Best] {
            let (bits, error) = codes.bits(&uniform, variance, new)?;
            print!("    {bits:6.3} ± {error:5.3}");
        }
        for variance in [Variance::Posterior, Variance::Best] {
            let path = codes.strides(variance)?.path(steps)?;
            let (bits, error) = codes.bits(&path, variance, new)?;
            print!("     {bits:6.3} ± {error:5.3}");
        }
        println!();
    }
    let path = codes.strides(Variance::Best)?.path(10)?;
    let times = path
        .iter()
        .map(|&level| codes.grid.levels()[level].time().to_string());
    let times: Vec<String> = times.collect();
    println!(
        "the 10 cheapest steps for the best v_p start at {}",
        times.join(", ")
    );
    Ok(())
}

/// A line of the table of samples: uniform, cheapest for v_p = γ², cheapest for the best v_p.
type Line = (&'static str, usize, [f64; 3]);

fn samples(
    codes: &Codes<'_>,
    models: &Models,
    model: &str,
    judge: &Judge<'_>,
) -> Outcome<Vec<Line>> {
    let schedule = schedule()?;
    let classes: Vec<usize> = (0..10 * PER_CLASS).map(|row| row / PER_CLASS).collect();
    let mut lines = Vec::new();
    for (name, solver) in [("DDIM", FirstOrder::ddim()), ("DDPM", FirstOrder::ddpm())] {
        for steps in SAMPLED {
            let grids = [
                Grid::trailing(&schedule, steps)?,
                codes.strides(Variance::Posterior)?.grid(steps)?,
                codes.strides(Variance::Best)?.grid(steps)?,
            ];
            let mut distances = [0.0; 3];
            for (distance, grid) in distances.iter_mut().zip(&grids) {
                let sampler = Sampler::new(&schedule, grid, &solver)?;
                let mut model = models.of(model, &classes)?;
                let drawn: Array2<f32> =
                    sampler.sample(&mut model, (classes.len(), PIXELS), SEED)?;
                *distance = judge.verdict(&drawn, &classes)?.distance;
            }
            lines.push((name, steps, distances));
        }
    }
    Ok(lines)
}

/// The mixture's own density at the images, times the volume of a pixel's bin: not a code, since
/// the outermost bins reach to infinity and the density bends within a bin, but near to what its
/// code should take.
fn print_density(mixture: &GaussianMixture, held: &Images) -> Outcome<()> {
    let mut nats = Vec::new();
    for (row, &label) in held.pixels.outer_iter().zip(&held.labels) {
        let x: Vec<f64> = row.iter().map(|&x| f64::from(x)).collect();
        let density = mixture
            .condition(label)?
            .log_density(&x, &NoiseLevel::clean())?;
        nats.push(-density - PIXELS as f64 * libm::log(0.125));
    }
    let (bits, error) = mean_and_error(&nats);
    println!("the mixture's density times the bins' volume: {bits:.3} ± {error:.3}");
    Ok(())
}

/// What codes without a diffusion model take: all grey values alike, and the frequencies of each
/// pixel's grey values among the training images of the digit, each counted once more than seen.
fn print_plain_codes(training: &Digits, held: &Images) {
    let mut counts = vec![1.0f64; 10 * PIXELS * 17];
    let mut of_class = [17.0f64; 10];
    let place =
        |label: usize, pixel: usize, grey: f64| (label * PIXELS + pixel) * 17 + grey as usize;
    for (row, &label) in training.pixels.outer_iter().zip(&training.labels) {
        of_class[label] += 1.0;
        for (pixel, &grey) in row.iter().enumerate() {
            counts[place(label, pixel, grey)] += 1.0;
        }
    }
    let rows = held.pixels.outer_iter().zip(&held.labels);
    let nats = rows.map(|(row, &label)| {
        let pixels = row.iter().enumerate();
        let costs = pixels.map(|(pixel, &value)| {
            let grey = (8.0 * (f64::from(value) + 1.0)).round();
            libm::log(of_class[label] / counts[place(label, pixel, grey)])
        });
        costs.sum()
    });
    let (bits, error) = mean_and_error(&nats.collect::<Vec<f64>>());
    println!(
        "all 17 grey values alike: {:.3} bits per dimension",
        libm::log2(17.0)
    );
    println!("frequencies of each pixel, by digit: {bits:.3} ± {error:.3}");
}

//! What choosing without the network is worth on a network: searched spacings, the warm start and
//! the ranked list, measured on the trained digits network.
//!
//! ```text
//! cargo run --release -p pictures --bin tuned
//! ```
//!
//! The network of `examples/network` is sampled with its class, without guidance. Surrogates come
//! from the even images (the odd ones are held out), or from the network's own M_t. Three measures,
//! each the mean over the seeds and its standard deviation between them:
//!
//! - path: the mean distance of the samples from those of 100 steps from the same x_T, in percent of
//!   the data's rms deviation: what the sampler alone does wrong.
//! - distance: the squared Fréchet distance of the samples to the moments of all images: what the
//!   network does wrong too.
//! - class: the share of samples that the exact class posterior of a mixture takes for the digit
//!   requested.

use std::error::Error;
use std::time::Instant;

use diffusion_sampler::grid::Spacing;
use diffusion_sampler::oracle::{Gaussian, MixtureFit, sample_moments};
use diffusion_sampler::posterior::DataErrors;
use diffusion_sampler::schedule::{NoiseSchedule, TableSchedule};
use diffusion_sampler::tuning::{
    Choice, Ranking, SearchedSpacing, SpacingSearch, Spectrum, Surrogate, WarmStart,
    last_gaussian_level, non_gaussian_shares,
};
use diffusion_sampler::{
    Denoiser, Grid, KeyedNoise, NoiseLevel, Query, Sampler, forward, registry,
};
use digits_network::Network;
use ndarray::{Array2, Axis, s};
use pictures::digits::{Digits, SIDE};
use pictures::drawn::CLASSES;
use pictures::judge::Judge;
use pictures::model;

/// Samples of each class under each seed.
const PER_CLASS: usize = 100;
const SEEDS: [u64; 3] = [1, 2, 3];
/// Steps of the run that all others are compared with.
const REFERENCE: usize = 100;
const BUDGETS: [usize; 3] = [5, 10, 20];
/// Spacings that are measured at every budget.
const FIXED: [&str; 4] = ["trailing", "karras", "uniform_lambda", "quadratic"];
/// Samplers that are measured for the ranked list, beside its first ones: every solver on every
/// spacing, under the first so many seeds.
const SOLVERS: [&str; 9] = [
    "DDIM",
    "Euler a",
    "DPM++ 2M",
    "DPM++ 2M SDE",
    "UniPC",
    "DEIS",
    "iPNDM",
    "Heun",
    "SA-Solver",
];
const SPACINGS: [&str; 3] = ["trailing", "uniform_lambda", "quadratic"];
const RANKED: usize = 2;
const FIRST: usize = 3;
/// Levels at which M_t is measured.
const LEVELS: usize = 48;
const SOLVER: &str = "DPM++ 2M";
/// Components of the mixtures, and the floor of their variances: some pixels are always blank.
const COMPONENTS: usize = 10;
const FLOOR: f64 = 0.01;
/// Runs of a mixture, and errors that a search on it may compute.
const RUNS: usize = 48;
const ERRORS: usize = 250;

fn main() -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let bench = Bench::new()?;
    bench.print_head()?;
    let errors = bench.data_errors()?;
    bench.print_spectra(&errors)?;
    bench.print_spacings(&errors)?;
    bench.print_warm(&errors)?;
    bench.print_ranks(&errors)?;
    println!("\n{:.0} s in all", start.elapsed().as_secs_f64());
    Ok(())
}

/// The mean over the seeds, and the standard deviation between them.
#[derive(Clone, Copy, Debug)]
struct Measured {
    mean: f64,
    deviation: f64,
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
struct Row {
    path: Measured,
    distance: Measured,
    right: f64,
    /// Its noise is not the reference's, and its path has no meaning.
    stochastic: bool,
}

impl Row {
    fn shown(&self) -> String {
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

const COLUMNS: &str = "      path %         distance     class %";

struct Bench {
    schedule: TableSchedule,
    digits: Digits,
    images: Array2<f64>,
    network: Network,
    classes: Vec<usize>,
    judged: pictures::judge::Verdict,
    mixture: diffusion_sampler::oracle::GaussianMixture,
    rms: f64,
    references: Vec<Array2<f32>>,
}

impl Bench {
    fn new() -> Result<Self, Box<dyn Error>> {
        let digits = Digits::load()?;
        let images = digits.signed();
        let (_, covariance) = sample_moments(&images)?;
        let mixture = model::fit(&digits, 3)?;
        let classes = (0..CLASSES * PER_CLASS).map(|row| row / PER_CLASS);
        let mut bench = Self {
            schedule: TableSchedule::linear(1000, 1e-4, 0.02)?,
            network: Network::trained()?,
            classes: classes.collect(),
            judged: pictures::judge::Verdict {
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

    fn sampler(&self, grid: &Grid) -> Result<Sampler, Box<dyn Error>> {
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
    fn measure(
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

    fn print_head(&self) -> Result<(), Box<dyn Error>> {
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
    fn data_errors(&self) -> Result<DataErrors, Box<dyn Error>> {
        let grid = Grid::uniform_lambda(&self.schedule, LEVELS, self.schedule.lambda_range())?;
        let levels = grid.levels()[..LEVELS].to_vec();
        let (mut means, mut standard) = (Vec::new(), Vec::new());
        for (index, level) in levels.iter().enumerate() {
            let squares = self.squares(level, index as u32)?;
            let n = squares.len() as f64;
            let mean = squares.iter().sum::<f64>() / n;
            let spread: f64 = squares.iter().map(|s| (s - mean) * (s - mean)).sum();
            means.push(mean);
            standard.push((spread / (n * (n - 1.0))).sqrt());
        }
        let moment = self.images.iter().map(|x| x * x).sum::<f64>() / self.images.nrows() as f64;
        let errors = DataErrors::new(SIDE * SIDE, moment, levels, means)?;
        Ok(errors.with_standard_errors(standard)?)
    }

    /// |x₀ − D(x_t)|² of every image.
    fn squares(&self, level: &NoiseLevel, key: u32) -> Result<Vec<f64>, Box<dyn Error>> {
        let mut model = self.network.denoiser(&self.digits.labels)?;
        let mut x = self.images.mapv(|x| x as f32);
        forward::diffuse(&mut x, &[*level], &mut KeyedNoise::new(9), key)?;
        let mut out = x.clone();
        model.denoise(&x, &Query::new(level), &mut out)?;
        let data = digits_network::PREDICTION.data(level)?;
        let rows = self
            .images
            .outer_iter()
            .zip(x.outer_iter())
            .zip(out.outer_iter());
        let square = rows.map(|((image, x), out)| {
            let each = image.iter().zip(x).zip(out);
            each.map(|((image, x), out)| {
                let miss = image - data.of(f64::from(*x), f64::from(*out));
                miss * miss
            })
            .sum()
        });
        Ok(square.collect())
    }

    fn print_spectra(&self, errors: &DataErrors) -> Result<(), Box<dyn Error>> {
        println!(
            "\nthe network's M_t as a spectrum\n{}",
            Spectrum::fit(errors)?
        );
        Ok(())
    }

    /// Even images, or odd ones.
    fn half(&self, first: usize) -> Array2<f64> {
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

/// What is known, what is held out, and how many errors a search may compute.
struct Known {
    name: &'static str,
    known: Surrogate,
    held_out: Surrogate,
    errors: usize,
}

/// Searched spacings beside fixed ones.
impl Bench {
    fn surrogates(&self, errors: &DataErrors) -> Result<Vec<Known>, Box<dyn Error>> {
        let moments = |first| -> Result<Surrogate, Box<dyn Error>> {
            let (mean, covariance) = sample_moments(&self.half(first))?;
            Ok(Surrogate::gaussian(&Gaussian::new(&mean, &covariance)?)?)
        };
        let mixture = |first| -> Result<Surrogate, Box<dyn Error>> {
            let fit = MixtureFit::new(COMPONENTS)
                .with_floor(FLOOR)?
                .fit(&self.half(first))?;
            Ok(Surrogate::mixture(
                &fit.mixture,
                &self.schedule,
                RUNS,
                first as u64,
            )?)
        };
        let spectrum = |spectrum: &Spectrum| -> Result<Surrogate, Box<dyn Error>> {
            Ok(Surrogate::gaussian(&spectrum.gaussian(SIDE * SIDE)?)?)
        };
        let own = Spectrum::fit(errors)?.spectrum;
        let typical = Spectrum::images();
        let gaussian = |name, known, held_out| Known {
            name,
            known,
            held_out,
            errors: 2000,
        };
        Ok(vec![
            gaussian(
                "images in general",
                spectrum(&typical)?,
                spectrum(&typical.tilted(0.2)?)?,
            ),
            gaussian("moments of the data", moments(0)?, moments(1)?),
            gaussian(
                "M_t of the network",
                spectrum(&own)?,
                spectrum(&own.tilted(0.2)?)?,
            ),
            Known {
                name: "mixture of the data",
                known: mixture(0)?,
                held_out: mixture(1)?,
                errors: ERRORS,
            },
        ])
    }

    fn print_spacings(&self, errors: &DataErrors) -> Result<(), Box<dyn Error>> {
        let surrogates = self.surrogates(errors)?;
        let solver = registry::sampler(SOLVER)?.solver;
        for steps in BUDGETS {
            println!(
                "\n{:<44}{COLUMNS}  surrogate %  held out %",
                format!("{SOLVER}, {steps} steps")
            );
            let mut fixed: Vec<Spacing> = Vec::new();
            for name in FIXED {
                fixed.push(Spacing::named(name)?);
            }
            let mut lines = Vec::new();
            for known in &surrogates {
                let search = SpacingSearch::new(&self.schedule, &solver, steps);
                let search = search.with_evaluations(known.errors);
                let found = search.run(&known.known, &known.held_out)?;
                let best = found.best_fixed();
                if !fixed.contains(&best.spacing) {
                    fixed.push(best.spacing);
                }
                lines.push(self.searched(known.name, &found)?);
            }
            for spacing in fixed {
                let grid = spacing.grid(&self.schedule, steps)?;
                let row = self.measure(&self.sampler(&grid)?, None, SEEDS.len())?;
                println!("  {:<42}{}", spacing.name(), row.shown());
            }
            lines.iter().for_each(|line| println!("{line}"));
        }
        Ok(())
    }

    fn searched(&self, name: &str, found: &SearchedSpacing) -> Result<String, Box<dyn Error>> {
        let row = self.measure(&self.sampler(found.searched_grid())?, None, SEEDS.len())?;
        let verdict = if found.accepted() {
            "accepted"
        } else {
            "refused"
        };
        let times = found.searched_grid().levels().iter();
        let times: Vec<String> = times.map(|level| format!("{:.0}", level.time())).collect();
        let best = found.best_fixed();
        Ok(format!(
            "  searched on {name:<19} {verdict:<10}{}     {:6.2}       {:6.2}\n      times {}\n      best fixed there: {}, {:.2}, {:.2}",
            row.shown(),
            found.error(),
            found.held_out_error(),
            times.join(" "),
            best.spacing,
            best.error,
            best.held_out
        ))
    }
}

/// The warm start.
impl Bench {
    /// Mean and covariance of each class.
    fn classes_warm(&self, rank: usize) -> Result<Vec<WarmStart>, Box<dyn Error>> {
        let one = |label| {
            let rows = self.images.select(Axis(0), &self.digits.rows_of(label));
            Ok(WarmStart::of_sample(&rows, rank)?)
        };
        (0..CLASSES).map(one).collect()
    }

    /// The Gaussian of all images with their class mean taken off.
    fn within_classes(&self) -> Result<Gaussian, Box<dyn Error>> {
        let mut rows = self.images.clone();
        for label in 0..CLASSES {
            let own = self.digits.rows_of(label);
            let mean = self
                .images
                .select(Axis(0), &own)
                .mean_axis(Axis(0))
                .ok_or("no images")?;
            for row in own {
                let mut row = rows.row_mut(row);
                row -= &mean;
            }
        }
        let (mean, covariance) = sample_moments(&rows)?;
        Ok(Gaussian::new(&mean, &covariance)?)
    }

    fn print_warm(&self, errors: &DataErrors) -> Result<(), Box<dyn Error>> {
        let within = self.within_classes()?;
        println!(
            "\nwhat a Gaussian of each class misses beyond the network, as a share of the variance within classes"
        );
        let shares = non_gaussian_shares(&within, errors)?;
        for (level, share) in errors.levels().iter().zip(shares).step_by(4) {
            println!("  t = {:6.1}  {share:8.4}", level.time());
        }
        for share in [0.003, 0.01, 0.03] {
            let level = last_gaussian_level(&within, errors, share)?;
            let time = level.map_or(f64::NAN, |level| level.time());
            println!("  at most {share}: down to t = {time:.0}");
        }
        let warm = self.classes_warm(20)?;
        for steps in [5, 10] {
            println!(
                "\n{:<44}{COLUMNS}",
                format!("{SOLVER}, quadratic, {steps} steps from t")
            );
            for time in [1000.0, 800.0, 600.0, 500.0, 400.0, 300.0] {
                let sampler = self.sampler(&self.quadratic_from(time, steps)?)?;
                let row = self.measure(&sampler, Some(&warm), SEEDS.len())?;
                println!("  warm start, t = {time:<25} {}", row.shown());
            }
            for time in [1000.0, 700.0] {
                let sampler = self.sampler(&self.quadratic_from(time, steps)?)?;
                let row = self.measure(&sampler, None, SEEDS.len())?;
                println!("  plain, t = {time:<30} {}", row.shown());
            }
        }
        Ok(())
    }

    fn quadratic_from(&self, time: f64, steps: usize) -> Result<Grid, Box<dyn Error>> {
        let share = |k: usize| (steps - k) as f64 / steps as f64;
        let times: Vec<f64> = (0..=steps).map(|k| time * share(k) * share(k)).collect();
        Ok(Grid::from_times(&self.schedule, &times)?)
    }
}

/// A sampler of the ranked list, measured.
struct Tried {
    name: String,
    row: Row,
    /// By the three lists, in percent.
    predicted: [f64; 3],
}

/// The ranked list.
impl Bench {
    fn print_ranks(&self, errors: &DataErrors) -> Result<(), Box<dyn Error>> {
        let (mean, covariance) = sample_moments(&self.images)?;
        let moments = Gaussian::new(&mean, &covariance)?;
        let own = Spectrum::fit(errors)?.spectrum.gaussian(SIDE * SIDE)?;
        for budget in [5, 10] {
            let choice = || Choice::new(&self.schedule, digits_network::PREDICTION, budget);
            let start = Instant::now();
            let lists = [
                ("images in general", choice().rank()?),
                ("moments of the data", choice().with_data(&moments).rank()?),
                ("M_t of the network", choice().with_data(&own).rank()?),
            ];
            let took = start.elapsed().as_secs_f64() / 3.0;
            let mut tried: Vec<Tried> = Vec::new();
            for solver in SOLVERS {
                for spacing in SPACINGS {
                    self.tried(&lists, (solver, Spacing::named(spacing)?), &mut tried)?;
                }
            }
            for (_, list) in &lists {
                let stable = list.candidates().iter().filter(|c| c.warnings.is_empty());
                for candidate in stable.filter(|c| c.same_as.is_none()).take(FIRST) {
                    self.tried(&lists, (candidate.solver, candidate.spacing), &mut tried)?;
                }
            }
            tried.sort_by(|a, b| a.row.distance.mean.total_cmp(&b.row.distance.mean));
            println!(
                "\n{:<44}{COLUMNS}  predicted %: images, moments, M_t",
                format!("{budget} evaluations, {} samplers", tried.len())
            );
            for (place, tried) in tried.iter().enumerate() {
                let ([a, b, c], row) = (tried.predicted, tried.row.shown());
                println!(
                    "  {:>2} {:<39}{row}   {a:7.2} {b:7.2} {c:7.2}",
                    place + 1,
                    tried.name
                );
            }
            for (index, (name, list)) in lists.iter().enumerate() {
                self.print_agreement(name, list, (index, &tried))?;
            }
            println!("  a list takes {took:.2} s");
        }
        Ok(())
    }

    /// How a list agrees with what was measured.
    fn print_agreement(
        &self,
        name: &str,
        list: &Ranking,
        (index, tried): (usize, &[Tried]),
    ) -> Result<(), Box<dyn Error>> {
        let pairs = |value: fn(&Row) -> f64, all: bool| -> f64 {
            let kept = tried.iter().filter(|tried| all || !tried.row.stochastic);
            let (a, b): (Vec<f64>, Vec<f64>) = kept
                .map(|tried| (tried.predicted[index], value(&tried.row)))
                .unzip();
            spearman(&a, &b)
        };
        let best = list.best().ok_or("no candidate")?;
        let first = format!("{} {}", best.solver, best.spacing);
        let place = tried.iter().position(|tried| tried.name == first);
        println!(
            "  {name}: rank correlation with distance {:.2}, with path {:.2} (deterministic ones); its first, {first}, is number {} of {}",
            pairs(|row| row.distance.mean, true),
            pairs(|row| row.path.mean, false),
            place.map_or(0, |place| place + 1),
            tried.len()
        );
        Ok(())
    }

    fn tried(
        &self,
        lists: &[(&str, Ranking); 3],
        (solver, spacing): (&'static str, Spacing),
        tried: &mut Vec<Tried>,
    ) -> Result<(), Box<dyn Error>> {
        let name = format!("{solver} {spacing}");
        if tried.iter().any(|other| other.name == name) {
            return Ok(());
        }
        let mut predicted = [f64::NAN; 3];
        let mut sampler = None;
        for (value, (_, list)) in predicted.iter_mut().zip(lists) {
            let place = list.place(solver, spacing);
            if let Some(found) = place.and_then(|place| list.candidates().get(place)) {
                *value = found.error;
                sampler = Some(found.sampler().clone());
            }
        }
        if let Some(sampler) = sampler {
            tried.push(Tried {
                name,
                row: self.measure(&sampler, None, RANKED)?,
                predicted,
            });
        }
        Ok(())
    }
}

/// The correlation of the ranks.
fn spearman(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (ranks(a), ranks(b));
    let middle = (a.len() as f64 - 1.0) / 2.0;
    let product = |x: &[f64], y: &[f64]| -> f64 {
        x.iter()
            .zip(y)
            .map(|(x, y)| (x - middle) * (y - middle))
            .sum()
    };
    product(&a, &b) / (product(&a, &a) * product(&b, &b)).sqrt()
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    for (rank, index) in order.into_iter().enumerate() {
        ranks[index] = rank as f64;
    }
    ranks
}

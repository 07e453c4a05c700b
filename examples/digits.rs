//! Handwritten digits on request: class-conditional sampling by DDIM under classifier-free guidance.
//!
//! ```text
//! cargo run --release --example digits [FOLDER]
//! ```
//!
//! The denoiser is exact: a Gaussian mixture fitted to 1797 digits of 8×8 pixels stands where a trained network would,
//! so nothing has to be downloaded, and what is wrong with a sample is the sampler's doing. Every digit is asked for at
//! several numbers of steps and guidance weights, always from the same noise.
//!
//! It prints a table and draws `digits.png`, in FOLDER or in the crate's `target`. What to see there: without guidance
//! (w = 0) more steps bring the samples to the law of the data, and the distance falls to that of exact draws. Guidance
//! makes almost every sample belong to the class asked for, and the digits clearer and more alike: the distance grows.

#[path = "support/mod.rs"]
mod support;

use std::error::Error;
use std::ops::ControlFlow;
use std::time::Instant;

use diffusion_sampler::{
    ClassifierFree, FirstOrder, GaussianMixture, Grid, GuidanceWeight, KeyedNoise, LabelledOracle,
    NoiseLevel, Oracle, Prediction, Sampler, TableSchedule, frechet_distance, sample_moments,
};
use indicatif::{ProgressBar, ProgressStyle};
use ndarray::{Array2, ArrayView1, Axis, concatenate};
use rand::{SeedableRng, rngs::SmallRng};
use support::canvas::{Canvas, GREY, Text, WHITE, text_height};
use support::digits::{Digits, SIDE};
use support::sheet::Sheet;

const CLASSES: usize = 10;
const STEPS: [usize; 4] = [5, 10, 20, 50];
const WEIGHTS: [f64; 3] = [0.0, 1.0, 3.0];

/// Components of the mixture for each digit: writers form most digits in more than one way.
const CLUSTERS: usize = 3;

/// Samples of each digit in a row of the table.
const PER_CLASS: usize = 100;

const SEED: u64 = 1;

const CREDIT: &str =
    "Data: Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI (CC BY 4.0)";

/// How one row of the table is sampled.
#[derive(Clone, Copy)]
struct Setting {
    weight: f64,
    steps: usize,
}

/// Samples [n, 64], the first [`PER_CLASS`] of which show a 0, the next a 1 and so on, and how long they took.
struct Batch {
    samples: Array2<f32>,
    seconds: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = support::output::path("digits.png")?;
    let digits = Digits::load()?;
    let mixture = support::model::fit(&digits, CLUSTERS)?;
    let settings = settings();
    let progress = progress_bar(&settings)?;

    print_head();
    let mut drawn = Vec::new();
    for &setting in &settings {
        let batch = sample_all(&mixture, setting, &progress)?;
        let figures = figures(&batch, &mixture, &digits)?;
        progress.suspend(|| println!("{:5}  {:10}  {figures}", setting.steps, setting.weight));
        drawn.push(batch);
    }
    progress.finish_and_clear();
    println!(
        "{:>17}  {}",
        "exact draws",
        figures(&exact(&mixture)?, &mixture, &digits)?
    );

    picture(&digits, &settings, &drawn)?.save_png(&path)?;
    println!("\nwrote {}", path.display());
    Ok(())
}

/// All weights, each with all numbers of steps.
fn settings() -> Vec<Setting> {
    let rows = |weight| STEPS.map(|steps| Setting { weight, steps });
    WEIGHTS.into_iter().flat_map(rows).collect()
}

/// A bar on standard error, or nothing if that is no terminal.
fn progress_bar(settings: &[Setting]) -> Result<ProgressBar, Box<dyn Error>> {
    let steps: usize = settings.iter().map(|setting| setting.steps).sum();
    let style = ProgressStyle::with_template("{bar:40} {percent:>3} %  {eta} left")?;
    Ok(ProgressBar::new((CLASSES * steps) as u64).with_style(style))
}

/// [`PER_CLASS`] samples of every class.
fn sample_all(
    mixture: &GaussianMixture,
    setting: Setting,
    progress: &ProgressBar,
) -> Result<Batch, Box<dyn Error>> {
    let start = Instant::now();
    let classes = (0..CLASSES)
        .map(|label| sample_class(mixture, label, setting, progress))
        .collect::<Result<Vec<_>, _>>()?;
    let views: Vec<_> = classes.iter().map(|class| class.view()).collect();
    Ok(Batch {
        samples: concatenate(Axis(0), &views)?,
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// [`PER_CLASS`] samples of one class: what the crate is for.
fn sample_class(
    mixture: &GaussianMixture,
    label: usize,
    setting: Setting,
    progress: &ProgressBar,
) -> Result<Array2<f32>, Box<dyn Error>> {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let grid = Grid::trailing(&schedule, setting.steps)?;
    let sampler = Sampler::new(&grid, &FirstOrder::ddim())?;
    let mut model = ClassifierFree::new(
        mixture.condition(label)?.denoiser(Prediction::Noise),
        mixture.denoiser(Prediction::Noise),
        GuidanceWeight::constant(setting.weight)?,
    );
    // The classes are parts of one large batch. Its noise depends on nothing but the seed and a sample's place in it.
    let noise = KeyedNoise::new(SEED).first_sample((label * PER_CLASS) as u64)?;
    let mut run = sampler.start((PER_CLASS, SIDE * SIDE), Prediction::Noise, noise)?;
    let _ = run.run_with(&mut model, |_| {
        progress.inc(1);
        ControlFlow::Continue(())
    })?;
    Ok(run.into_state())
}

/// As many draws from each class of the mixture itself: what a perfect sampler without guidance would print.
fn exact(mixture: &GaussianMixture) -> Result<Batch, Box<dyn Error>> {
    let start = Instant::now();
    let mut rng = SmallRng::seed_from_u64(SEED);
    let mut samples = Array2::zeros((0, SIDE * SIDE));
    for label in 0..CLASSES {
        let draws = mixture.condition(label)?.sample(PER_CLASS, &mut rng);
        samples.append(Axis(0), draws.points.mapv(|value| value as f32).view())?;
    }
    Ok(Batch {
        samples,
        seconds: start.elapsed().as_secs_f64(),
    })
}

fn print_head() {
    println!(
        "DDIM, linear schedule, T = 1000, trailing stride; {PER_CLASS} samples of each digit, seed {SEED}"
    );
    println!(
        "guidance w:   (1 + w) conditional - w unconditional; w = 0 is plain conditional sampling"
    );
    println!("right class:  the exact class posterior prefers the digit that was asked for");
    println!(
        "distance:     squared Frechet distance, in pixels of -1 to 1, to the moments of the 1797 images\n"
    );
    println!("steps  guidance w  right class  distance    time");
}

/// Share of the samples in their class, distance to the data, and time, as the table shows them.
fn figures(
    batch: &Batch,
    mixture: &GaussianMixture,
    digits: &Digits,
) -> Result<String, Box<dyn Error>> {
    let share = 100.0 * right_class(&batch.samples, mixture)?;
    let (mean, covariance) = sample_moments(&batch.samples)?;
    let (data_mean, data_covariance) = sample_moments(&digits.signed())?;
    let distance = frechet_distance(&mean, &covariance, &data_mean, &data_covariance)?;
    Ok(format!(
        "{share:9.1} %  {distance:8.3}  {:4.1} s",
        batch.seconds
    ))
}

/// The share of the samples to which the exact posterior gives the class asked for.
fn right_class(samples: &Array2<f32>, mixture: &GaussianMixture) -> Result<f64, Box<dyn Error>> {
    let clean = NoiseLevel::clean();
    let mut right = 0;
    for (index, sample) in samples.outer_iter().enumerate() {
        let point: Vec<f64> = sample.iter().copied().map(f64::from).collect();
        let posterior = mixture.class_log_posterior(&point, &clean)?;
        let likeliest = (0..CLASSES).max_by(|&a, &b| posterior[a].total_cmp(&posterior[b]));
        right += usize::from(likeliest == Some(index / PER_CLASS));
    }
    Ok(right as f64 / samples.nrows() as f64)
}

/// A row of data, then one for each setting with the first sample of every class.
fn picture(
    digits: &Digits,
    settings: &[Setting],
    drawn: &[Batch],
) -> Result<Canvas, Box<dyn Error>> {
    let mut images = Vec::new();
    let mut names = vec!["data".to_owned()];
    for label in 0..CLASSES {
        let row = digits.rows_of(label)[0];
        images.push(digits.image(row)?);
    }
    for (setting, batch) in settings.iter().zip(drawn) {
        names.push(format!("w = {}, {:2} steps", setting.weight, setting.steps));
        for label in 0..CLASSES {
            images.push(ink(batch.samples.row(label * PER_CLASS))?);
        }
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let columns = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    let sheet = Sheet::new(
        "Digits by DDIM with classifier-free guidance w",
        &columns,
        &names,
        6,
    );
    credited(&sheet, &images)
}

/// A sample as the canvas draws it: 8×8, from 0 (paper) to 1 (ink).
fn ink(sample: ArrayView1<'_, f32>) -> Result<Array2<f64>, Box<dyn Error>> {
    let shades = sample.mapv(|value| (f64::from(value) + 1.0) / 2.0);
    Ok(shades.into_shape_with_order((SIDE, SIDE))?)
}

/// The sheet with the source of the data below.
fn credited(sheet: &Sheet, images: &[Array2<f64>]) -> Result<Canvas, Box<dyn Error>> {
    const MARGIN: i32 = 16;
    let views: Vec<_> = images.iter().map(|image| image.view()).collect();
    let (width, height) = sheet.size((SIDE, SIDE));
    let line = text_height(1);
    let mut canvas = Canvas::new(width + 2 * MARGIN, height + 3 * MARGIN + line, WHITE);
    let table = sheet.draw(&mut canvas, MARGIN, MARGIN, &views)?;
    canvas.text(MARGIN, table.bottom() + MARGIN, CREDIT, Text::new(1, GREY));
    Ok(canvas)
}

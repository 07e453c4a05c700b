//! Parallel in time: sweeps in place of evaluations, and what a tolerance costs. The tables of
//! `docs/parallel.md`.
//!
//! `cargo run --release -p pictures --bin parallel`
//!
//! Each run is compared with the sequential one from the same noise. The error of a sample is the
//! root mean square of the difference, in percent of that of the sequential result; the tables show
//! the median sample's and the worst one's.

use std::error::Error;
use std::fmt::Display;
use std::time::Instant;

use diffusion_sampler::oracle::{GaussianMixture, Oracle};
use diffusion_sampler::run::ParallelReport;
use diffusion_sampler::{
    Denoiser, NoiseLevel, Prediction, Query, RunError, Sampler, registry, schedule::TableSchedule,
};
use digits_network::{Network, PIXELS};
use ndarray::{Array2, ArrayView1, Ix2};
use pictures::{digits::Digits, model};

/// Deterministic of first and second order, and stochastic.
const SAMPLERS: [&str; 3] = ["DDIM trailing", "DPM++ 2M trailing", "DDPM trailing"];

/// Evaluations, and the window of each.
const STEPS: [(usize, usize); 4] = [(20, 20), (50, 50), (100, 100), (1000, 100)];

const TOLERANCES: [f64; 3] = [1e-4, 1e-3, 1e-2];

/// Digits, one sample of each.
const CLASSES: [usize; 8] = [0, 1, 2, 3, 4, 5, 6, 7];

const SEED: u64 = 1;

fn main() -> Result<(), Box<dyn Error>> {
    let mixture = model::fit(&Digits::load()?, 1)?;
    let network = Network::trained()?;
    println!(
        "Sweeps in place of so many evaluations, and the error of the median and of the worst of"
    );
    println!("{} samples in percent, by tolerance", CLASSES.len());
    tolerances("exact mixture of the digits", &mut || exact(&mixture))?;
    tolerances("trained network", &mut || Ok(network.denoiser(&CLASSES)?))?;
    windows(&network)?;
    references(&network)?;
    clock(&network)
}

/// The exact denoiser of the digits' mixture: its state is f32, as the network's is.
fn exact(
    mixture: &GaussianMixture,
) -> Result<impl Denoiser<f32, Ix2, Error = diffusion_sampler::Error>, Box<dyn Error>> {
    Ok(mixture.denoiser(Prediction::Noise))
}

fn sampler(name: &str, steps: usize) -> Result<Sampler, Box<dyn Error>> {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    Ok(registry::sampler(name)?.sampler(&schedule, steps)?)
}

/// A run both ways: the report, and the error in percent of the median and the worst sample.
fn compare<M>(
    sampler: &Sampler,
    (window, tolerance, variance): (usize, f64, Option<f64>),
    model: &mut M,
    sequential: &Array2<f32>,
) -> Result<(ParallelReport, (f64, f64)), Box<dyn Error>>
where
    M: Denoiser<f32, Ix2>,
    M::Error: Error + 'static,
{
    let mut parallel = sampler.parallel(window, tolerance)?;
    if let Some(variance) = variance {
        parallel = parallel.with_data_variance(variance)?;
    }
    let (found, report) = parallel.sample(model, sequential.dim(), SEED)?;
    let square = |row: ArrayView1<'_, f32>| row.iter().map(|x| f64::from(x * x)).sum::<f64>();
    let difference = &found - sequential;
    let rows = difference.outer_iter().zip(sequential.outer_iter());
    let mut errors: Vec<f64> = rows
        .map(|(moved, own)| 100.0 * (square(moved) / square(own)).sqrt())
        .collect();
    errors.sort_by(f64::total_cmp);
    let median = errors.get(errors.len() / 2).copied().unwrap_or(0.0);
    Ok((report, (median, errors.last().copied().unwrap_or(0.0))))
}

/// The table of one model: sweeps and error by sampler, evaluations and tolerance.
fn tolerances<M>(
    title: &str,
    model: &mut dyn FnMut() -> Result<M, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>>
where
    M: Denoiser<f32, Ix2>,
    M::Error: Error + 'static,
{
    print!("\n{title:28} evaluations  window");
    TOLERANCES
        .iter()
        .for_each(|tolerance| print!(" {:>19}", format!("{tolerance:.0e}")));
    println!();
    for name in SAMPLERS {
        for (steps, window) in STEPS {
            let sampler = sampler(name, steps)?;
            let mut model = model()?;
            let sequential = sampler.sample(&mut model, (CLASSES.len(), PIXELS), SEED)?;
            print!("{name:28} {steps:11} {window:7}");
            for tolerance in TOLERANCES {
                let setting = (window, tolerance, None);
                let (report, error) = compare(&sampler, setting, &mut model, &sequential)?;
                print!(" {:5} {:>13}", report.sweeps(), percent(error));
            }
            println!();
        }
    }
    Ok(())
}

fn percent((median, worst): (f64, f64)) -> String {
    let short = |error: f64| match error {
        error if error < 0.0995 => format!("{error:.3}"),
        error if error < 9.95 => format!("{error:.2}"),
        error => format!("{error:.1}"),
    };
    format!("{}, {}", short(median), short(worst))
}

/// What the window saves of memory and of rows, and costs in sweeps.
fn windows(network: &Network) -> Result<(), Box<dyn Error>> {
    let (name, steps, tolerance) = ("DDPM trailing", 1000, 1e-2);
    println!("\nWindows: {name}, {steps} evaluations, network, tolerance {tolerance:.0e}");
    println!(
        "{:>8} {:>8} {:>24} {:>12}",
        "window", "sweeps", "rows per sequential row", "error"
    );
    let sampler = sampler(name, steps)?;
    let mut model = network.denoiser(&CLASSES)?;
    let sequential = sampler.sample(&mut model, (CLASSES.len(), PIXELS), SEED)?;
    for window in [10, 30, 100, 300, 1000] {
        let setting = (window, tolerance, None);
        let (report, error) = compare(&sampler, setting, &mut model, &sequential)?;
        let rows = report.rows() as f64 / (CLASSES.len() * steps) as f64;
        let (sweeps, error) = (report.sweeps(), percent(error));
        println!("{window:8} {sweeps:8} {rows:24.1} {error:>12}");
    }
    Ok(())
}

/// What it saves to carry outputs along.
fn references(network: &Network) -> Result<(), Box<dyn Error>> {
    let tolerance = 1e-3;
    println!(
        "\nData variance that outputs are carried along by: sweeps, network, 100 evaluations,"
    );
    println!("tolerance {tolerance:.0e}; 0 holds the estimate of x0, infinity that of the noise");
    let variances = [0.0, 0.03, 0.1, 0.25, 1.0, 10.0, f64::INFINITY];
    print!("{:28}", "");
    variances
        .iter()
        .for_each(|variance| print!(" {variance:>5}"));
    println!();
    for name in SAMPLERS {
        let sampler = sampler(name, 100)?;
        let mut model = network.denoiser(&CLASSES)?;
        let sequential = sampler.sample(&mut model, (CLASSES.len(), PIXELS), SEED)?;
        print!("{name:28}");
        for variance in variances {
            let setting = (100, tolerance, Some(variance));
            let (report, _) = compare(&sampler, setting, &mut model, &sequential)?;
            print!(" {:5}", report.sweeps());
        }
        println!();
    }
    Ok(())
}

/// The time of both ways with the network, whose rows cost the same in any batch but the smallest.
fn clock(network: &Network) -> Result<(), Box<dyn Error>> {
    println!("\nTime on one core, network, DDIM trailing, 100 evaluations, tolerance 1e-3");
    println!(
        "{:>8} {:>12} {:>12} {:>8} {:>8}",
        "samples", "sequential", "parallel", "calls", "rows"
    );
    let sampler = sampler("DDIM trailing", 100)?;
    for samples in [1, 4, 16] {
        let classes: Vec<usize> = (0..samples).map(|sample| sample % 10).collect();
        let mut model = network.denoiser(&classes)?;
        let (sequential, alone) = timed(|| sampler.sample(&mut model, (samples, PIXELS), SEED))?;
        let sequential: Array2<f32> = sequential;
        let parallel = sampler.parallel(100, 1e-3)?;
        let ((_, report), together) =
            timed(|| parallel.sample::<f32, _, _>(&mut model, sequential.dim(), SEED))?;
        let calls = 100.0 / report.sweeps() as f64;
        let rows = report.rows() as f64 / (100 * samples) as f64;
        println!("{samples:8} {alone:9.1} ms {together:9.1} ms {calls:7.1}x {rows:7.1}x");
    }
    println!("one row of the network, by rows in the call:");
    let level = NoiseLevel::new(0.5, 0.8, 0.6)?;
    for rows in [1, 4, 16, 64, 256] {
        let mut model = network.denoiser(&vec![0; rows])?;
        let x = Array2::<f32>::from_elem((rows, PIXELS), 0.3);
        let mut out = x.clone();
        let repeats = 4096 / rows;
        let ((), spent) = timed(|| {
            let mut call = || model.denoise(&x, &Query::new(&level), &mut out);
            (0..repeats)
                .try_for_each(|_| call())
                .map_err(RunError::Denoiser)
        })?;
        let each = 1e3 * spent / (repeats * rows) as f64;
        println!("{rows:8} {each:9.1} us");
    }
    Ok(())
}

/// What a run gives, and the milliseconds that it took: the shortest of three.
fn timed<T, E: Display>(
    mut run: impl FnMut() -> Result<T, RunError<E>>,
) -> Result<(T, f64), Box<dyn Error>> {
    let mut best: Option<(T, f64)> = None;
    for _ in 0..3 {
        let start = Instant::now();
        let result = run().map_err(|error| error.to_string())?;
        let spent = 1e3 * start.elapsed().as_secs_f64();
        if best.as_ref().is_none_or(|(_, before)| spent < *before) {
            best = Some((result, spent));
        }
    }
    best.ok_or_else(|| "nothing was run".into())
}

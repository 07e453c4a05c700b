//! What the reverse variance is worth: how far samplers miss Gaussian data, exactly.
//!
//! `cargo run --release --example reverse_variance`

use std::error::Error;

use diffusion_sampler::{
    Grid, Sampler,
    oracle::Gaussian,
    posterior::{AnalyticVariance, Kappa, ReverseVariance},
    schedule::TableSchedule,
    solver::FirstOrder,
};

/// Coordinates of the data, with variances that fall as 1/i², like the spectra of images.
const COORDINATES: usize = 64;
const STEPS: [usize; 5] = [5, 10, 20, 50, 100];

fn main() -> Result<(), Box<dyn Error>> {
    let raw: Vec<f64> = (1..=COORDINATES).map(|i| 1.0 / (i * i) as f64).collect();
    let scale = 0.25 * COORDINATES as f64 / raw.iter().sum::<f64>();
    let variances: Vec<f64> = raw.iter().map(|v| scale * v).collect();
    println!("W2 to the data, in percent of its root mean square\n");
    println!(
        "kappa  variance             {}",
        STEPS.map(|k| format!("{k:>8}")).concat()
    );
    for kappa in [Kappa::Ddpm, Kappa::Ddim] {
        let plain = FirstOrder::new(kappa);
        let policy = |policy| plain.clone().with_reverse_variance(policy);
        row(&variances, kappa, "posterior", |_| Ok(plain.clone()))?;
        if kappa == Kappa::Ddpm {
            let large = ReverseVariance::FixedLarge;
            row(&variances, kappa, "fixed large", |_| Ok(policy(large)))?;
        }
        row(&variances, kappa, "analytic, one for all", |grid| {
            let data = Gaussian::diagonal(&vec![0.0; COORDINATES], &variances)?;
            let errors = data.element_errors(&grid.levels()[..grid.steps()])?;
            let variance = AnalyticVariance::new(errors.total()?)?;
            Ok(plain.clone().with_analytic_variance(variance))
        })?;
        for (name, last) in [
            ("analytic, each its own", false),
            ("  and onto σ = 0", true),
        ] {
            by_coordinate(&variances, kappa, name, last)?;
        }
    }
    Ok(())
}

/// The miss of a sampler of the whole data at each number of steps.
fn row(
    variances: &[f64],
    kappa: Kappa,
    name: &str,
    solver: impl Fn(&Grid) -> Result<FirstOrder, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let data = Gaussian::diagonal(&vec![0.0; variances.len()], variances)?;
    let mut cells = String::new();
    for steps in STEPS {
        let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
        let grid = Grid::trailing(&schedule, steps)?;
        let sampler = Sampler::new(&schedule, &grid, &solver(&grid)?)?;
        let states = sampler.moments(&data)?;
        let last = states.last().ok_or("no steps")?;
        cells += &percent(last.wasserstein_squared(&data)?, variances);
    }
    println!("{kappa:<5}  {name:<24}{cells}");
    Ok(())
}

/// The same where each coordinate has its own variance: it is then a sampler of its own.
fn by_coordinate(
    variances: &[f64],
    kappa: Kappa,
    name: &str,
    final_noise: bool,
) -> Result<(), Box<dyn Error>> {
    let mut cells = String::new();
    for steps in STEPS {
        let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
        let grid = Grid::trailing(&schedule, steps)?;
        let mut squared = 0.0;
        for &v in variances {
            let data = Gaussian::isotropic(&[0.0], v)?;
            let errors = data.element_errors(&grid.levels()[..steps])?;
            let mut variance = AnalyticVariance::new(errors.total()?)?;
            if final_noise {
                variance = variance.with_final_noise();
            }
            let solver = FirstOrder::new(kappa).with_analytic_variance(variance);
            let states = Sampler::new(&schedule, &grid, &solver)?.moments(&data)?;
            squared += states
                .last()
                .ok_or("no steps")?
                .wasserstein_squared(&data)?;
        }
        cells += &percent(squared, variances);
    }
    println!("{kappa:<5}  {name:<24}{cells}");
    Ok(())
}

fn percent(squared: f64, variances: &[f64]) -> String {
    let power: f64 = variances.iter().sum();
    format!("{:>8.3}", 100.0 * (squared / power).sqrt())
}

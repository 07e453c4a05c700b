//! How far each solver misses the data on each stride at a given budget of model evaluations: the table of
//! `docs/choosing.md`.
//!
//! The data are Gaussian, so that the law of what a sampler draws is known exactly and no sample has to be drawn: the
//! figures have no sampling noise and are the same on every run.
//!
//! `cargo run --release --example choosing`

use std::error::Error;

use diffusion_sampler::{
    DiagonalGaussian, DpmSolverPp2M, FirstOrder, Grid, Heun, NoiseSchedule, Sampler, Solver, TableSchedule,
};

/// Model evaluations a run may spend.
const BUDGETS: [usize; 5] = [5, 10, 20, 50, 100];

/// A stride: its name and the grid of K steps.
type Stride = (
    &'static str,
    fn(&TableSchedule, usize) -> Result<Grid, diffusion_sampler::Error>,
);

const STRIDES: [Stride; 4] = [
    ("trailing", |s, k| Grid::trailing(s, k)),
    ("quadratic", |s, k| Grid::quadratic(s, k)),
    ("uniform λ", |s, k| Grid::uniform_lambda(s, k, s.lambda_range())),
    ("Karras", |s, k| Grid::karras(s, k, s.lambda_range(), 7.0)),
];

/// d = 64 coordinates of mean 0 and variances v_i ∝ i⁻², scaled to the mean variance 0.25: a spectrum like that of
/// images, a few strong directions and many weak ones.
fn data() -> Result<DiagonalGaussian, diffusion_sampler::Error> {
    let raw: Vec<f64> = (1..=64).map(|i| 1.0 / f64::from(i * i)).collect();
    let scale = 0.25 * raw.len() as f64 / raw.iter().sum::<f64>();
    DiagonalGaussian::new(vec![0.0; raw.len()], raw.iter().map(|v| scale * v).collect())
}

/// The 2-Wasserstein distance between what the sampler draws and the data, in percent of the data's rms.
fn miss(solver: &dyn Solver, grid: &Grid, data: &DiagonalGaussian) -> Result<f64, diffusion_sampler::Error> {
    let laws = Sampler::new(grid, solver)?.moments(data)?;
    let power: f64 = data.variance().iter().sum();
    match laws.last() {
        Some(law) => Ok(100.0 * (law.wasserstein_squared(data)? / power).sqrt()),
        None => Ok(f64::NAN),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let data = data()?;
    // Name, solver, and the number of steps that a budget of evaluations buys: Heun's onto a clean end take 2K − 1.
    let one_each: fn(usize) -> usize = |budget| budget;
    let two_each: fn(usize) -> usize = |budget| budget.div_ceil(2);
    let (ddim, ddpm) = (FirstOrder::ddim(), FirstOrder::ddpm());
    let multistep = DpmSolverPp2M::new();
    let stochastic = DpmSolverPp2M::stochastic(1.0)?;
    let solvers: [(&str, &dyn Solver, fn(usize) -> usize); 7] = [
        ("DDIM", &ddim, one_each),
        ("Heun", &Heun, two_each),
        ("2M", &multistep, one_each),
        ("2M guarded", &multistep.guarded(), one_each),
        ("DDPM", &ddpm, one_each),
        ("SDE-2M, τ = 1", &stochastic, one_each),
        ("SDE-2M guarded, τ = 1", &stochastic.guarded(), one_each),
    ];

    print!("| stride | solver |");
    BUDGETS.iter().for_each(|budget| print!(" {budget} |"));
    println!("\n|---|---|{}", "--:|".repeat(BUDGETS.len()));
    for (stride, grid) in STRIDES {
        for (name, solver, steps) in solvers {
            print!("| {stride} | {name} |");
            for budget in BUDGETS {
                let grid = grid(&schedule, steps(budget))?;
                print!(" {:.2} |", miss(solver, &grid, &data)?);
            }
            println!();
        }
    }
    Ok(())
}

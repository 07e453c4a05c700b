//! How far each solver misses the data on each stride at a given budget of model evaluations: the
//! tables of `docs/choosing.md`.
//!
//! No figure has sampling noise. Gaussian data are propagated as means and variances
//! ([`Sampler::moments`]); for the two-mode data, a deterministic sampler in one dimension is
//! monotone in its start unless it fails badly, and is run on quantiles of the start law.
//!
//! `cargo run --release -p pictures --bin choosing`

use std::error::Error;

use diffusion_sampler::{
    Grid, KeyedNoise, Prediction, Sampler, from_fn,
    oracle::Gaussian,
    schedule::{NoiseSchedule, TableSchedule},
    solver::{DpmSolverPlusPlus, FirstOrder, Heun, Path, Solver},
};
use ndarray::{Array1, ArrayRef, Ix1};

type Refused = diffusion_sampler::Error;

/// Model evaluations a run may spend.
const BUDGETS: [usize; 5] = [5, 10, 20, 50, 100];

/// A stride: its name and its grid of K steps.
type Stride = (
    &'static str,
    fn(&TableSchedule, usize) -> Result<Grid, Refused>,
);

const STRIDES: [Stride; 4] = [
    ("trailing", |s, k| Grid::trailing(s, k)),
    ("quadratic", |s, k| Grid::quadratic(s, k)),
    ("uniform λ", |s, k| {
        Grid::uniform_lambda(s, k, s.lambda_range())
    }),
    ("Karras", |s, k| Grid::karras(s, k, s.lambda_range(), 7.0)),
];

/// A solver: its name, itself, and whether it evaluates the model twice a step.
type Candidate<'a> = (&'static str, &'a dyn Solver, bool);

/// d = 64 coordinates of mean 0 and variances v_i ∝ i⁻², scaled to the mean variance 0.25: a
/// spectrum like that of images, a few strong directions and many weak ones.
fn spectrum() -> Result<Gaussian, Refused> {
    let raw: Vec<f64> = (1..=64).map(|i| 1.0 / f64::from(i * i)).collect();
    let scale = 0.25 * raw.len() as f64 / raw.iter().sum::<f64>();
    let variances: Vec<f64> = raw.iter().map(|v| scale * v).collect();
    Gaussian::diagonal(&vec![0.0; raw.len()], &variances)
}

/// The 2-Wasserstein distance between what the sampler draws and the Gaussian data, in percent of
/// the data's rms.
fn gaussian_miss(solver: &dyn Solver, grid: &Grid) -> Result<f64, Box<dyn Error>> {
    let data = spectrum()?;
    let states = Sampler::along(&Path::without_schedule(grid), solver)?.moments(&data)?;
    let power: f64 = data.variances().iter().sum();
    let drawn = states.last().ok_or("a plan without steps")?;
    Ok(100.0 * (drawn.wasserstein_squared(&data)? / power).sqrt())
}

/// The standard deviation of each of the two modes, which stand at ±1 with equal weights.
const MODE: f64 = 0.1;

/// The standard normal's quantile at `p`, by bisection of its distribution function.
fn normal_quantile(p: f64) -> f64 {
    let (mut low, mut high) = (-9.0, 9.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if 0.5 * libm::erfc(-middle / std::f64::consts::SQRT_2) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// The same for two modes at ±1 in one dimension: the distance between the sorted images of the
/// start's quantiles and the data's quantiles.
fn two_mode_miss(solver: &dyn Solver, grid: &Grid) -> Result<f64, Box<dyn Error>> {
    const QUANTILES: usize = 2000;
    let probability = |i: usize| (i as f64 + 0.5) / QUANTILES as f64;
    // The two modes do not overlap to 1e-23: each half of the quantiles is one Gaussian's.
    let wanted = (0..QUANTILES).map(|i| match 2.0 * probability(i) {
        p if p < 1.0 => -1.0 + MODE * normal_quantile(p),
        p => 1.0 + MODE * normal_quantile(p - 1.0),
    });
    // D = m + α v/(α²v + σ²) (x − αm) for each mode, weighted by its posterior probability.
    let mut model = from_fn(
        Prediction::Data,
        |x: &ArrayRef<f64, Ix1>, level, out: &mut ArrayRef<f64, Ix1>| {
            let (alpha, v) = (level.alpha(), MODE * MODE);
            let spread = alpha * alpha * v + level.sigma() * level.sigma();
            out.zip_mut_with(x, |out, &x| {
                let sign = libm::tanh(alpha * x / spread);
                *out = sign + alpha * v / spread * (x - alpha * sign);
            });
        },
    );
    let sampler = Sampler::along(&Path::without_schedule(grid), solver)?;
    let deviation = sampler.start_variance().sqrt();
    let start: Array1<f64> = (0..QUANTILES)
        .map(|i| deviation * normal_quantile(probability(i)))
        .collect();
    let mut run = sampler.start_from(start, Prediction::Data, KeyedNoise::new(0))?;
    run.complete(&mut model)?;
    let mut drawn = run.into_state().to_vec();
    drawn.sort_by(f64::total_cmp);
    let (mut miss, mut power) = (0.0, 0.0);
    for (drawn, wanted) in drawn.iter().zip(wanted) {
        miss += (drawn - wanted) * (drawn - wanted);
        power += wanted * wanted;
    }
    Ok(100.0 * (miss / power).sqrt())
}

/// A sampler's miss of the data, in percent of the data's rms.
type Miss = fn(&dyn Solver, &Grid) -> Result<f64, Box<dyn Error>>;

/// Prints one table: every candidate on every stride at every budget.
fn table(candidates: &[Candidate<'_>], miss: Miss) -> Result<(), Box<dyn Error>> {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    print!("| spacing | solver |");
    BUDGETS.iter().for_each(|budget| print!(" {budget} |"));
    println!("\n|---|---|{}", "--:|".repeat(BUDGETS.len()));
    for (stride, grid) in STRIDES {
        for &(name, solver, twice) in candidates {
            print!("| {stride} | {name} |");
            for budget in BUDGETS {
                // Heun takes 2K − 1 evaluations onto a clean end.
                let steps = if twice { budget.div_ceil(2) } else { budget };
                let miss = miss(solver, &grid(&schedule, steps)?)?;
                print!(" {miss:.*} |", usize::from(miss < 100.0) * 2);
            }
            println!();
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let (ddim, ddpm) = (FirstOrder::ddim(), FirstOrder::ddpm());
    let multistep = DpmSolverPlusPlus::new();
    let stochastic = DpmSolverPlusPlus::new().with_tau(1.0)?;
    let deterministic: [Candidate<'_>; 4] = [
        ("DDIM", &ddim, false),
        ("Heun", &Heun::new(), true),
        ("2M", &multistep, false),
        ("2M guarded", &multistep.guarded(), false),
    ];
    let noisy: [Candidate<'_>; 3] = [
        ("DDPM", &ddpm, false),
        ("SDE-2M, τ = 1", &stochastic, false),
        ("SDE-2M guarded, τ = 1", &stochastic.guarded(), false),
    ];
    println!("Gaussian data, v ∝ i⁻² in 64 dimensions: W₂ in % of the data's rms\n");
    table(&[&deterministic[..], &noisy[..]].concat(), gaussian_miss)?;
    println!("\nTwo modes at ±1, standard deviation {MODE}: W₂ in % of the data's rms\n");
    table(&deterministic, two_mode_miss)
}

//! Choosing without the network: fits, spectra, searched spacings, the warm start, the ranked list.

use std::error::Error;

use diffusion_sampler::{
    Grid, NoiseLevel, Prediction, Sampler,
    grid::Spacing,
    oracle::{Gaussian, GaussianMixture, MixtureFit, Oracle},
    posterior::DataErrors,
    schedule::{NoiseSchedule, TableSchedule},
    solver::{DpmSolverPlusPlus, FirstOrder, Heun, Solver},
    tuning::{Choice, SpacingSearch, Spectrum, Surrogate, WarmStart},
};
use ndarray::{Array1, Array2, array};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::{Accept, Claim};

/// The claims of this topic.
pub(crate) fn claims() -> Result<Vec<Claim>, Box<dyn Error>> {
    Ok(vec![
        likelihood_falls_by()?,
        spectrum_of_errors()?,
        one_knot()?,
        guard()?,
        warm_start()?,
        ranked(10, "DDIM", 20.4582)?,
        ranked(20, "DDPM", 16.9582)?,
    ])
}

/// The largest fall of a log-likelihood, over fits of full and diagonal covariances on the way of
/// which the floor acts.
fn likelihood_falls_by() -> Result<Claim, Box<dyn Error>> {
    let modes = vec![
        Gaussian::new(&[-1.0, 0.0], &array![[0.5, 0.3], [0.3, 0.4]])?,
        Gaussian::new(&[1.0, 1.0], &array![[0.2, 0.0], [0.0, 1.0]])?,
    ];
    let mixture = GaussianMixture::new(&[1.0, 2.0], modes, vec![0, 1])?;
    let rows = mixture.sample(300, &mut SmallRng::seed_from_u64(5))?.points;
    let mut fall = 0f64;
    for floor in [1e-4, 0.1, 0.4] {
        for fit in [MixtureFit::new(5), MixtureFit::new(5).diagonal()] {
            let fit = fit.with_floor(floor)?.with_tolerance(0.0)?.with_rounds(80);
            for pair in fit.fit(&rows)?.log_likelihoods.windows(2) {
                fall = fall.max((pair[0] - pair[1]) / pair[0].abs());
            }
        }
    }
    Ok(Claim::new(
        "EM with floored covariances: the log-likelihood never falls (largest relative fall)",
        "the sequence itself, 6 fits of 300 rows",
        fall,
        Accept::Below(1e-12),
    ))
}

/// How far M_t of a fitted spectrum is from the true one, between the levels of the fit.
fn spectrum_of_errors() -> Result<Claim, Box<dyn Error>> {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let truth: Vec<f64> = (1..=64).map(|i| 10.0 / f64::from(i * i)).collect();
    let errors = |count: usize| -> Result<DataErrors, Box<dyn Error>> {
        let grid = Grid::quadratic(&schedule, count)?;
        let levels = grid.levels()[..count].to_vec();
        let of = |level: &NoiseLevel| {
            let (a, s) = (level.alpha() * level.alpha(), level.sigma() * level.sigma());
            truth.iter().map(|v| v * s / (a * v + s)).sum()
        };
        let list = levels.iter().map(of).collect();
        Ok(DataErrors::new(64, truth.iter().sum(), levels, list)?)
    };
    let fit = Spectrum::fit(&errors(60)?)?;
    let between = errors(47)?;
    let pairs = between.levels().iter().zip(between.errors());
    let miss =
        pairs.map(|(level, error)| (64.0 * fit.spectrum.data_error(level) / error - 1.0).abs());
    Ok(Claim::new(
        "the spectrum fitted to M_t reproduces it between the levels (largest relative error)",
        "Σ vσ²/(α²v + σ²) of the spectrum 10/i², i ≤ 64",
        miss.fold(0.0, f64::max),
        Accept::Below(0.02),
    ))
}

/// A searched knot against all on a lattice of 4000, for three solvers.
fn one_knot() -> Result<Claim, Box<dyn Error>> {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let known = Surrogate::gaussian(&Spectrum::images().gaussian(12)?)?;
    let range = schedule.lambda_range();
    let mut worst = 0f64;
    let solvers: [&dyn Solver; 3] = [&FirstOrder::ddpm(), &DpmSolverPlusPlus::new(), &Heun::new()];
    for solver in solvers {
        let infinite = f64::INFINITY;
        let search = SpacingSearch::new(&schedule, solver, 2);
        let search = search.with_bounds(infinite, infinite, infinite)?;
        let found = search.run(&known, &known)?.error();
        let mut least = f64::INFINITY;
        for k in 1..=4000 {
            let lambda = range.noisy() + (range.clean() - range.noisy()) * f64::from(k) / 4000.0;
            let middle = schedule.time_of_lambda(lambda)?;
            let grid = Grid::from_times(&schedule, &[1000.0, middle, 0.0])?;
            least = least.min(known.error(&Sampler::new(&schedule, &grid, solver)?)?);
        }
        worst = worst.max(found / least - 1.0);
    }
    Ok(Claim::new(
        "a searched knot is as good as the best of a fine lattice (largest excess of its error)",
        "4000 knots uniform in λ; DDPM, DPM++ 2M and Heun in 2 steps",
        worst,
        Accept::Below(1e-9),
    ))
}

/// Error of the searched spacing over that of the best fixed one, on held-out data.
fn guard() -> Result<Claim, Box<dyn Error>> {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let images = Spectrum::images();
    let known = Surrogate::gaussian(&images.gaussian(64)?)?;
    let held_out = Surrogate::gaussian(&images.tilted(0.2)?.gaussian(64)?)?;
    let solver = DpmSolverPlusPlus::new();
    let found = SpacingSearch::new(&schedule, &solver, 10).run(&known, &held_out)?;
    Ok(Claim::new(
        "DPM++ 2M in 10 steps on a searched spacing: error over that of the best fixed spacing, on a \
         spectrum that the search has not seen",
        "exact W₂ of both; images in general, tilted by 0.2",
        found.held_out_error() / found.best_fixed().held_out,
        Accept::Below(0.2),
    ))
}

/// The covariance after a warm start to a level and the exact rest, against the data's.
fn warm_start() -> Result<Claim, Box<dyn Error>> {
    let root = Array2::from_shape_fn((6, 6), |(i, j)| (1.0 + (3 * i + 5 * j) as f64).sin());
    let data = Gaussian::new(&[1.0, -2.0, 0.5, 0.0, 3.0, 1.0], &root.dot(&root.t()))?;
    let (mean, covariance) = data.moments()?;
    let warm = WarmStart::of_gaussian(&data, 6)?;
    // Pure noise is N(0, I): the map's columns are the images of the unit vectors.
    let middle = NoiseLevel::new(0.5, 0.4, 0.9)?;
    let mut points = Array2::<f64>::zeros((7, 6));
    for i in 0..6 {
        points[[i, i]] = 1.0;
    }
    warm.flow(&mut points, &NoiseLevel::new(1.0, 0.0, 1.0)?, &middle)?;
    let mut ends = points.clone();
    for (point, mut end) in points.outer_iter().zip(ends.outer_iter_mut()) {
        let mut x = vec![0.0; 6];
        data.flow(&point.to_vec(), &middle, &NoiseLevel::clean(), &mut x)?;
        end.assign(&Array1::from_vec(x));
    }
    let centre = ends.row(6).to_owned();
    let a = Array2::from_shape_fn((6, 6), |(i, j)| ends[[j, i]] - centre[i]);
    let largest = covariance.iter().fold(0f64, |m, c| m.max(c.abs()));
    let spread = a.dot(&a.t()) - &covariance;
    let mut miss = spread.iter().fold(0f64, |m, c| m.max(c.abs())) / largest;
    for (found, mean) in centre.iter().zip(&mean) {
        miss = miss.max((found - mean).abs());
    }
    Ok(Claim::new(
        "warm start and exact rest give Gaussian data (mean and covariance)",
        "mean and covariance of the data, d = 6",
        miss,
        Accept::Below(1e-12),
    ))
}

/// The error that the ranked list gives for a sampler of the table of W₂.
fn ranked(budget: usize, solver: &str, expected: f64) -> Result<Claim, Box<dyn Error>> {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let ranking = Choice::new(&schedule, Prediction::Noise, budget).rank()?;
    let place = ranking.place(solver, Spacing::Trailing);
    let found = place.and_then(|place| ranking.candidates().get(place));
    Ok(Claim::new(
        format!(
            "the ranked list's error of {solver} on trailing, {budget} evaluations, in percent"
        ),
        "the table of W₂ by an independent prototype",
        found.map_or(f64::NAN, |candidate| candidate.error),
        Accept::near(expected, 1e-3),
    ))
}

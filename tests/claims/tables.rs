//! The tables of known data: W₂ by stride and η, and the strided ELBO.

use std::error::Error;

use diffusion_sampler::{
    Grid, NoiseLevel, Sampler,
    likelihood::{Decoder, EdgeCosts, EdgeVariance, Elbo},
    oracle::{Gaussian, Oracle},
    posterior::{DataErrors, Kappa, ReverseVariance},
    schedule::TableSchedule,
    solver::{FirstOrder, Path},
};

use super::{Accept, Claim};

/// The claims of this topic.
pub(crate) fn claims() -> Result<Vec<Claim>, Box<dyn Error>> {
    let mut claims = wasserstein()?;
    claims.extend(elbo()?);
    Ok(claims)
}

/// d = 64, mean 0, v_i proportional to i⁻² with mean 0.25.
pub(crate) fn data() -> Result<Gaussian, Box<dyn Error>> {
    let raw: Vec<f64> = (1..=64).map(|i| f64::from(i).powi(-2)).collect();
    let scale = 0.25 * 64.0 / raw.iter().sum::<f64>();
    let variances: Vec<f64> = raw.iter().map(|v| scale * v).collect();
    Ok(Gaussian::diagonal(&[0.0; 64], &variances)?)
}

/// The distance, in percent of the data's rms, of a sampler with K steps and η from the data.
fn wasserstein() -> Result<Vec<Claim>, Box<dyn Error>> {
    const TABLE: [(usize, [f64; 3]); 5] = [
        (5, [33.6195, 34.7833, 41.7072]),
        (10, [20.4582, 21.6305, 27.2358]),
        (20, [12.1664, 13.0706, 16.9582]),
        (50, [5.7404, 6.3205, 8.6783]),
        (100, [3.1042, 3.5138, 5.1265]),
    ];
    let data = data()?;
    let total: f64 = data.variances().iter().sum();
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let mut claims = Vec::new();
    for (steps, row) in TABLE {
        let grid = Grid::trailing(&schedule, steps)?;
        for (eta, expected) in [0.0, 0.5, 1.0].into_iter().zip(row) {
            let sampler = Sampler::along(
                &Path::without_schedule(&grid),
                &FirstOrder::new(Kappa::Eta(eta)),
            )?;
            let laws = sampler.moments(&data)?;
            let distance = laws[steps - 1].wasserstein_squared(&data)?;
            claims.push(Claim::new(
                format!("W₂ of {steps} steps at η = {eta}, % of the data's rms"),
                "independent prototype, ±0.1 %",
                100.0 * (distance / total).sqrt(),
                Accept::near(expected, 1e-3),
            ));
        }
    }
    Ok(claims)
}

/// The bound's gap to the true entropy, in nats a dimension, for uniform strides and for the
/// cheapest of all.
fn elbo() -> Result<Vec<Claim>, Box<dyn Error>> {
    const TABLE: [(usize, [f64; 4]); 5] = [
        (5, [0.68391, 0.67407, 0.35288, 0.25014]),
        (10, [0.43840, 0.41249, 0.19989, 0.11386]),
        (20, [0.29926, 0.23053, 0.11702, 0.05393]),
        (50, [0.29297, 0.09615, 0.05906, 0.02090]),
        (100, [0.37118, 0.04846, 0.04126, 0.01043]),
    ];
    let data = data()?;
    let dim = data.dim();
    let entropy: f64 = data
        .variances()
        .iter()
        .map(|v| 0.5 * (std::f64::consts::TAU * std::f64::consts::E * v).ln())
        .sum();
    let moment: f64 = data.variances().iter().sum();
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let fine = Grid::trailing(&schedule, 1000)?;
    // M_t = Σ_i Var[x₀ | x_t].
    let error = |level: &NoiseLevel| -> f64 {
        let (a, s) = (level.alpha().powi(2), level.sigma().powi(2));
        data.variances().iter().map(|v| v * s / (a * v + s)).sum()
    };
    let levels = fine.levels()[..1000].to_vec();
    let errors = levels.iter().map(error).collect();
    let errors = DataErrors::new(dim, moment, levels, errors)?;
    let policies = [
        ("v_p = γ²", EdgeVariance::Policy(ReverseVariance::Posterior)),
        ("best v_p", EdgeVariance::Optimal),
    ];
    let decoder = Decoder::GaussianOptimal;
    let gap = |nats: f64| (nats - entropy) / dim as f64;
    let mut claims = Vec::new();
    for (column, (name, variance)) in policies.into_iter().enumerate() {
        let costs = EdgeCosts::new(&fine, Kappa::Ddpm, variance, &errors, decoder)?;
        let strides = costs.cheapest_from(0, 100)?;
        for (steps, row) in TABLE {
            let grid = Grid::trailing(&schedule, steps)?;
            let along: Vec<f64> = grid.levels()[..steps].iter().map(error).collect();
            let elbo = Elbo::new(&grid, Kappa::Ddpm, variance)?;
            let bound = elbo.evaluate(dim, &along, moment, decoder)?;
            claims.push(Claim::new(
                format!("ELBO gap of {steps} uniform steps, {name}, nats a dimension"),
                "independent prototype, ±0.1 %",
                gap(bound.nats()),
                Accept::near(row[column], 1e-3),
            ));
            // The bound of the path's own grid, by `Elbo`: what was searched is what is claimed.
            let grid = strides.grid(steps)?;
            let along: Vec<f64> = grid.levels()[..steps].iter().map(error).collect();
            let elbo = Elbo::new(&grid, Kappa::Ddpm, variance)?;
            let bound = elbo.evaluate(dim, &along, moment, decoder)?;
            claims.push(Claim::new(
                format!("ELBO gap of the {steps} cheapest steps, {name}, nats a dimension"),
                "independent prototype, ±0.1 %",
                gap(bound.nats()),
                Accept::near(row[column + 2], 1e-3),
            ));
        }
    }
    Ok(claims)
}

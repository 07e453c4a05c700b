//! Likelihood: what a model knows at each level, the cheapest strides, and what a plan costs.

use std::error::Error;

use diffusion_sampler::{
    Grid, Prediction, Sampler,
    likelihood::{Decoder, EdgeCosts, EdgeVariance, Elbo, Measurement},
    oracle::{Empirical, Oracle},
    plan::Plan,
    posterior::{DataErrors, Kappa, ReverseVariance},
    schedule::TableSchedule,
    solver::{FirstOrder, Path, catalogue},
};
use ndarray::Array2;
use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::tables;
use super::{Accept, Claim};

type Outcome<T> = Result<T, Box<dyn Error>>;

const POSTERIOR: EdgeVariance = EdgeVariance::Policy(ReverseVariance::Posterior);

/// The claims of this topic.
pub(crate) fn claims() -> Outcome<Vec<Claim>> {
    let mut claims = measured()?;
    claims.extend(enumerated()?);
    claims.extend(monotone()?);
    claims.extend(entropy()?);
    claims.push(plans()?);
    claims.extend(samples()?);
    Ok(claims)
}

fn table() -> Outcome<TableSchedule> {
    Ok(TableSchedule::linear(1000, 1e-4, 0.02)?)
}

/// The cheapest of all paths from level 0 with exactly `steps` edges, found by trying them.
fn least_of_all(costs: &EdgeCosts, count: usize, steps: usize) -> Outcome<f64> {
    let mut least = f64::INFINITY;
    for set in 0..1u32 << (count - 1) {
        if set.count_ones() as usize == steps - 1 {
            let rest = (1..count).filter(|level| set >> (level - 1) & 1 == 1);
            let path: Vec<usize> = std::iter::once(0).chain(rest).collect();
            least = least.min(costs.bound(&path)?.nats());
        }
    }
    Ok(least)
}

/// Row 12, the search, and that the matrix is what `Elbo` adds up.
fn enumerated() -> Outcome<Vec<Claim>> {
    let schedule = table()?;
    let grid = Grid::trailing(&schedule, 7)?;
    let mut rng = SmallRng::seed_from_u64(12);
    let (mut search, mut sums) = (0.0f64, 0.0f64);
    for case in 0..60 {
        let m: Vec<f64> = (0..7).map(|_| rng.random_range(0.01..2.0)).collect();
        let errors = DataErrors::new(3, 3.0, grid.levels()[..7].to_vec(), m)?;
        let kappa = [Kappa::Ddpm, Kappa::Eta(0.4), Kappa::Fresh][case % 3];
        let variance = [POSTERIOR, EdgeVariance::Optimal][case % 2];
        let decoder = Decoder::GaussianOptimal;
        let costs = EdgeCosts::new(&grid, kappa, variance, &errors, decoder)?;
        let strides = costs.cheapest()?;
        for steps in 1..=7 {
            let found = strides.bound(steps)?;
            search = search.max((found.nats() - least_of_all(&costs, 7, steps)?).abs());
            let stride = strides.grid(steps)?;
            let along = errors.along(&stride)?;
            let elbo = Elbo::new(&stride, kappa, variance)?.evaluate(3, &along, 3.0, decoder)?;
            sums = sums.max((elbo.nats() - found.nats()).abs());
        }
    }
    Ok(vec![
        Claim::new(
            "cheapest stride among 7 levels, above the least of all paths, nats",
            "enumeration, 60 random lists of M_t, every number of steps",
            search,
            Accept::Below(f64::MIN_POSITIVE),
        ),
        Claim::new(
            "sum of the edge matrix along a stride, off the ELBO of its grid, nats",
            "`Elbo::evaluate`",
            sums,
            Accept::Below(f64::MIN_POSITIVE),
        ),
    ])
}

/// Row 12, the rest: on the data of the tables.
fn monotone() -> Outcome<Vec<Claim>> {
    let schedule = table()?;
    let data = tables::data()?;
    let fine = Grid::trailing(&schedule, 1000)?;
    let errors = DataErrors::of_gaussian(&data, &fine)?;
    let (mut rise, mut above) = (f64::NEG_INFINITY, f64::NEG_INFINITY);
    for variance in [POSTERIOR, EdgeVariance::Optimal] {
        let decoder = Decoder::GaussianOptimal;
        let costs = EdgeCosts::new(&fine, Kappa::Ddpm, variance, &errors, decoder)?;
        let strides = costs.cheapest_from(0, 100)?;
        let mut last = f64::INFINITY;
        for steps in 1..=100 {
            let nats = strides.bound(steps)?.nats();
            rise = rise.max(nats - last);
            last = nats;
            for fixed in [
                Grid::trailing(&schedule, steps)?,
                Grid::quadratic(&schedule, steps)?,
            ] {
                let along = errors.along(&fixed)?;
                let elbo = Elbo::new(&fixed, Kappa::Ddpm, variance)?;
                let moment = errors.second_moment();
                let fixed = elbo.evaluate(data.dim(), &along, moment, decoder)?;
                above = above.max(nats - fixed.nats());
            }
        }
    }
    Ok(vec![
        Claim::new(
            "bound of the cheapest strides, its largest rise from K to K + 1, K < 100, nats",
            "the data of the two tables",
            rise,
            Accept::Below(0.0),
        ),
        Claim::new(
            "bound of the cheapest strides, above uniform or quadratic ones, K ≤ 100, nats",
            "the data of the two tables",
            above,
            Accept::Below(1e-9),
        ),
    ])
}

/// The pass over data, against the closed form.
fn measured() -> Outcome<Vec<Claim>> {
    let grid = Grid::trailing(&table()?, 25)?;
    let data = tables::data()?;
    let exact = DataErrors::of_gaussian(&data, &grid)?;
    let points = data.sample(2000, &mut SmallRng::seed_from_u64(1))?;
    let mut model = (&data).denoiser(Prediction::Velocity);
    let found = Measurement::at(&grid)?.of(&points, &mut model)?;
    let errors = found.errors();
    let (mut worst, mut identity) = (0.0f64, 0.0f64);
    let moments = exact.noise_moments().ok_or("no moments")?;
    for (index, level) in exact.levels().iter().enumerate() {
        let m = exact.errors()[index];
        worst = worst.max(((errors.errors()[index] - m) / errors.standard_errors()[index]).abs());
        let rho = level.rho();
        let implied = rho * rho * (1.0 - moments[index]) * data.dim() as f64;
        identity = identity.max((implied - m).abs() / (rho * rho * data.dim() as f64));
    }
    Ok(vec![
        Claim::new(
            "M_t measured on 2000 draws at 25 levels, off its value, in standard errors",
            "Σ v σ²/(α²v + σ²)",
            worst,
            Accept::Below(4.0),
        ),
        Claim::new(
            "M_t/d = ρ²(1 − m_t) for the exact model, relative to ρ²",
            "both in closed form",
            identity,
            Accept::Below(1e-12),
        ),
    ])
}

/// Discrete data whose entropy is known: 8 images of 3 pixels, equally likely.
fn entropy() -> Outcome<Vec<Claim>> {
    let images = Array2::from_shape_fn((8, 3), |(i, j)| ((i * (2 * j + 3) + 5 * j) % 17) as f64);
    let images = images.mapv(|grey| grey / 8.0 - 1.0);
    let grid = Grid::trailing(&table()?, 250)?;
    let measurement = Measurement::at(&grid)?.with_draws(50)?;
    let measurement = measurement.with_pixels(17, &[0.01, 0.02, 0.03, 0.05, 0.1])?;
    let mut model = Empirical::new(&images)?.denoiser(Prediction::Data);
    let measured = measurement.of(&images, &mut model)?;
    let costs = EdgeCosts::of_pixels(&grid, Kappa::Ddpm, EdgeVariance::Optimal, &measured)?;
    let strides = costs.cheapest_from(0, 50)?;
    let (mut below, mut last) = (f64::INFINITY, f64::NAN);
    for steps in [2, 5, 10, 25, 50] {
        let error = measured.standard_error(&costs, &strides.path(steps)?)?;
        last = strides.bound(steps)?.nats();
        below = below.min((last - 8f64.ln()) / error);
    }
    Ok(vec![
        Claim::new(
            "bound of discrete images minus their entropy, least of 5 strides, in standard errors",
            "ln 8 of eight equally likely images, exact model",
            below,
            Accept::AtLeast(-4.0),
        ),
        Claim::new(
            "the same in 50 steps, in shares of the entropy",
            "ln 8 of eight equally likely images, exact model",
            last / 8f64.ln(),
            Accept::Within(0.95, 1.05),
        ),
    ])
}

/// Every plan of the catalogue that is a posterior costs what its scalars say.
fn plans() -> Outcome<Claim> {
    let schedule = table()?;
    let grid = Grid::trailing(&schedule, 10)?;
    let path = Path::new(&schedule, &grid)?;
    let data = tables::data()?;
    let errors = DataErrors::of_gaussian(&data, &grid)?;
    let along = errors.along(&grid)?;
    let by_hand = |plan: &Plan| -> f64 {
        let edges = plan.steps().iter().take(9).zip(&along);
        let costs = edges.map(|(step, m)| {
            let update = &step.stages[0].update;
            let kappa = update.state * step.from.sigma() / step.to.sigma();
            let q = step.to.sigma().powi(2) * (1.0 - kappa) * (1.0 + kappa);
            let p = update.noise.powi(2);
            0.5 * (64.0 * (q / p - 1.0 - (q / p).ln()) + update.data.powi(2) * m / p)
        });
        costs.sum()
    };
    let (mut worst, mut count) = (0.0f64, 0);
    for entry in catalogue() {
        let Ok(plan) = entry.solver.plan(&path) else {
            continue;
        };
        if let Ok(elbo) = Elbo::of_plan(&plan, 1.0) {
            let moment = errors.second_moment();
            let bound = elbo.evaluate(64, &along, moment, Decoder::GaussianOptimal)?;
            let found: f64 = bound.edges.iter().sum();
            worst = worst.max((found / by_hand(&plan) - 1.0).abs());
            count += 1;
        }
    }
    if count < 8 {
        return Err(format!("only {count} plans of the catalogue have a bound").into());
    }
    Ok(Claim::new(
        "cost of a plan whose steps are posteriors, relative",
        "the Gaussian KL of its scalars, every such solver of the catalogue",
        worst,
        Accept::Below(1e-9),
    ))
}

/// W₂, in percent of the data's rms, of samples along the cheapest strides: those that are the best
/// for likelihood are worse for samples than uniform ones.
fn samples() -> Outcome<Vec<Claim>> {
    // DDIM and DDPM along the strides for v_p = γ², then along those for the best v_p.
    const TABLE: [(usize, [f64; 4]); 3] = [
        (5, [52.2575, 52.0914, 53.6945, 54.4646]),
        (10, [39.3165, 37.5879, 38.3340, 37.1141]),
        (20, [28.3349, 25.3565, 25.3921, 22.6377]),
    ];
    let schedule = table()?;
    let data = tables::data()?;
    let total: f64 = data.variances().iter().sum();
    let fine = Grid::trailing(&schedule, 1000)?;
    let errors = DataErrors::of_gaussian(&data, &fine)?;
    let distance = |grid: &Grid, solver: &FirstOrder| -> Outcome<f64> {
        let sampler = Sampler::along(&Path::without_schedule(grid), solver)?;
        let states = sampler.moments(&data)?;
        let last = states.last().ok_or("no steps")?;
        Ok(100.0 * (last.wasserstein_squared(&data)? / total).sqrt())
    };
    let solvers = [("DDIM", FirstOrder::ddim()), ("DDPM", FirstOrder::ddpm())];
    let mut claims = Vec::new();
    let mut least = f64::INFINITY;
    let policies = [(POSTERIOR, "v_p = γ²"), (EdgeVariance::Optimal, "best v_p")];
    for (half, (variance, of)) in policies.into_iter().enumerate() {
        let decoder = Decoder::GaussianOptimal;
        let costs = EdgeCosts::new(&fine, Kappa::Ddpm, variance, &errors, decoder)?;
        let strides = costs.cheapest_from(0, 20)?;
        for (steps, expected) in TABLE {
            for ((name, solver), expected) in solvers.iter().zip(&expected[2 * half..]) {
                let found = distance(&strides.grid(steps)?, solver)?;
                let uniform = distance(&Grid::trailing(&schedule, steps)?, solver)?;
                least = least.min(found / uniform);
                claims.push(Claim::new(
                    format!("W₂ of {name} in the {steps} cheapest steps for {of}, % of the rms"),
                    "independent prototype, ±0.1 %",
                    found,
                    Accept::near(*expected, 1e-3),
                ));
            }
        }
    }
    claims.push(Claim::new(
        "W₂ along the cheapest strides over W₂ along uniform ones, least of these",
        "exact moments",
        least,
        Accept::AtLeast(1.2),
    ));
    Ok(claims)
}

//! Samplers by the names of other libraries: each is resolved or refused, reaches its mean, and has its
//! order.

use std::error::Error as StdError;

use diffusion_sampler::{
    Error, Grid,
    plan::Plan,
    registry::{self, Entry, entries},
    schedule::{Edm, NoiseSchedule, RectifiedFlow, TableSchedule, VariancePreserving},
    solver::{Path, Solver, catalogue},
};

use super::{Accept, Claim, convergence};

#[path = "../registry/elsewhere.rs"]
mod elsewhere;

/// The claims of this topic.
pub(crate) fn claims() -> Result<Vec<Claim>, Box<dyn StdError>> {
    let mut claims = looked_up();
    claims.extend(mean_defect()?);
    claims.extend(orders()?);
    Ok(claims)
}

/// Names that are neither resolved nor refused, and how many of a library's are samplers here.
fn looked_up() -> Vec<Claim> {
    let listed = elsewhere::lists().concat();
    let own = entries().flat_map(Entry::all_names);
    let names: Vec<&str> = listed.iter().copied().chain(own).collect();
    let missed = names.iter().filter(|name| {
        let found = registry::sampler(name);
        !matches!(found, Ok(_) | Err(Error::NotASampler { .. }))
    });
    let samplers = listed.iter().filter(|name| registry::sampler(name).is_ok());
    vec![
        Claim::new(
            "names of five libraries and of papers that are neither a sampler here nor refused by name",
            "their lists of samplers",
            missed.count() as f64,
            Accept::Below(1e-300),
        ),
        Claim::new(
            "share of the libraries' names that are a sampler here",
            "their lists of samplers",
            samplers.count() as f64 / listed.len() as f64,
            Accept::AtLeast(0.85),
        ),
    ]
}

/// Samplers that miss their mean, by design and by a slip.
const MISSES_MEAN: &[&str] = &[
    // By its boundary scalings.
    "LCM with boundary",
    // On flows: its weights do not sum to one where steps are uneven.
    "iPNDM-v, as published",
];

/// The largest mean defect of every entry on every kind of schedule, K = 1 to 20.
fn mean_defect() -> Result<Vec<Claim>, Box<dyn StdError>> {
    let schedules: [(&str, Box<dyn NoiseSchedule>); 4] = [
        (
            "a table",
            Box::new(TableSchedule::linear(1000, 1e-4, 0.02)?),
        ),
        ("VP", Box::new(VariancePreserving::default())),
        ("EDM", Box::new(Edm::default())),
        ("a flow", Box::new(RectifiedFlow::shifted(3.0)?)),
    ];
    let mut claims = Vec::new();
    for (kind, schedule) in schedules {
        let mut worst = 0.0f64;
        for steps in [1, 2, 7, 20] {
            let grid = Grid::trailing(&*schedule, steps)?;
            let path = Path::new(&*schedule, &grid)?;
            for entry in entries().filter(|entry| !MISSES_MEAN.contains(&entry.name)) {
                let plan = entry.solver()?.plan(&path)?;
                worst = plan.mean_defect()?.into_iter().fold(worst, f64::max);
            }
        }
        claims.push(Claim::new(
            format!(
                "given x₀ exactly, every named sampler but LCM with boundary and iPNDM-v as \
                 published reaches its mean on {kind}"
            ),
            "α_s x₀, relative to the terms, K = 1, 2, 7, 20",
            worst,
            Accept::Below(1e-12),
        ));
    }
    Ok(claims)
}

/// Samplers whose distribution does not converge as steps get smaller, and why.
const WITHOUT_LIMIT: &[&str] = &[
    // They forget the state, or a share of it that does not vanish.
    "LCM",
    "LCM with boundary",
    "TCD",
    // Its repeated part has nine steps, however many the run has.
    "Restart",
    // Its noise is 0.7 % too large, as published.
    "Stochastic Heun",
];

/// The plan on K steps of equal size in λ.
fn plan(solver: &dyn Solver, steps: usize) -> Result<Plan, Box<dyn StdError>> {
    let schedule = VariancePreserving::default();
    let grid = convergence::scheduled(&schedule, steps)?;
    Ok(solver.plan(&Path::new(&schedule, &grid)?)?)
}

/// The order of every sampler that is not measured as one of the catalogue: with another plan than
/// all of those.
fn orders() -> Result<Vec<Claim>, Box<dyn StdError>> {
    let mut measured = Vec::new();
    for entry in catalogue().iter().filter(|entry| !entry.inverts) {
        measured.push(plan(&entry.solver, 12)?);
    }
    let mut claims = Vec::new();
    let mut elsewhere = 0;
    for entry in entries().filter(|entry| !WITHOUT_LIMIT.contains(&entry.name)) {
        let solver = entry.solver()?;
        let own = plan(&solver, 12)?;
        // The way up is measured there too.
        if measured.contains(&own) || entry.name == "DDIM inversion" {
            elsewhere += 1;
            continue;
        }
        let order = solver.order();
        claims.push(if own.is_stochastic() {
            Claim::new(
                format!("weak order of \"{}\" on Gaussians", entry.name),
                "exact moments, log₂(e₁₆₀/e₃₂₀)",
                convergence::weak_slope(&solver)?,
                accepted(entry.name, order),
            )
        } else {
            let exact = if SELF_STARTING.contains(&entry.name) {
                0
            } else {
                order - 1
            };
            let error =
                |steps| convergence::error_of(&solver, convergence::LAMBDA, exact, VARIANCE, steps);
            Claim::new(
                format!("order of \"{}\" on ½N(±0.7, {VARIANCE})", entry.name),
                "Runge–Kutta solution to 1e-12, log₂(e₁₆₀/e₃₂₀)",
                convergence::slope(error)?,
                accepted(entry.name, order),
            )
        });
        measured.push(own);
    }
    claims.push(Claim::new(
        "named samplers whose order is measured above, as one of the catalogue",
        "equal plans",
        f64::from(elsewhere),
        Accept::AtLeast(40.0),
    ));
    Ok(claims)
}

/// The variance of the two modes: sharp ones, on which a last step of a lower order shows.
const VARIANCE: f64 = 0.05;

/// Those that correct their first steps.
const SELF_STARTING: &[&str] = &["UniPC", "UniPC, bh2", "UniPC 2", "UniPC 2, bh1"];

fn accepted(name: &str, order: usize) -> Accept {
    match name {
        // Of its steps' third-order errors more is seen than of the last one's: 2.05 at 2560 steps.
        "UniPC 2, bh1" => Accept::Within(1.9, 2.3),
        _ => convergence::accepted(name, order),
    }
}

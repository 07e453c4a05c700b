//! Rows 6 and 7: predictions and changes of variables.

use diffusion_sampler::{
    Grid, KeyedNoise, NoiseLevel, Prediction, Sampler, from_fn,
    posterior::{Kappa, StridedPosterior},
    run::{DdimStep, Machine},
    schedule::{
        Edm, LambdaRange, NoiseSchedule, RectifiedFlow, TableSchedule, VarianceExploding,
        VariancePreserving,
    },
    solver::{DpmSolverPlusPlus, FirstOrder, Heun, Path, Solver, catalogue},
    training::LossWeight,
};
use ndarray::{Array2, ArrayRef, Ix2};
use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::super::Accept;
use super::super::Claim;
use super::common::{Family, Outcome, Zeros, edge, off, policy};

pub(crate) const PREDICTIONS: [Prediction; 7] = [
    Prediction::Noise,
    Prediction::Data,
    Prediction::Velocity,
    Prediction::Score,
    Prediction::Flow,
    Prediction::Edm { data_std: 0.7 },
    // A flow in the other direction; αq − σp = −(α + σ) is never near 0.
    Prediction::Linear {
        data: 1.0,
        noise: -1.0,
    },
];

/// The network's output for the estimate D at x, from each definition.
fn output_of(prediction: Prediction, level: &NoiseLevel, x: f64, d: f64) -> f64 {
    let (alpha, sigma) = (level.alpha(), level.sigma());
    let e = (x - alpha * d) / sigma;
    match prediction {
        Prediction::Noise => e,
        Prediction::Data => d,
        Prediction::Velocity => alpha * e - sigma * d,
        Prediction::Score => -e / sigma,
        Prediction::Flow => e - d,
        Prediction::Edm { data_std: s } => {
            let rho = sigma / alpha;
            let norm = (rho * rho + s * s).sqrt();
            (d - s * s / (norm * norm) * x / alpha) / (rho * s / norm)
        }
        Prediction::Linear { data, noise } => data * d + noise * e,
        _ => f64::NAN,
    }
}

/// Row 6.
pub(crate) fn predictions() -> Outcome<Vec<Claim>> {
    let mut rng = SmallRng::seed_from_u64(6);
    let (mut scalars, mut arrays, mut targets, mut weights) = (0.0f64, 0.0f64, 0.0f64, 0.0f64);
    for _ in 0..5000 {
        let (t, s) = edge(&mut rng)?;
        let kappa = policy(&s, &mut rng);
        let q = StridedPosterior::new(t, s, kappa)?;
        let step = DdimStep::new(t, s, kappa)?;
        let (x_0, e) = (rng.random_range(-2.0..2.0), rng.random_range(-2.0..2.0));
        let x = t.alpha() * x_0 + t.sigma() * e;
        for prediction in PREDICTIONS {
            // The training target at (x₀, ε) is what a perfect network returns: it means D = x₀ and
            // E = ε.
            let target = prediction.target(&t)?;
            let output = target.data * x_0 + target.noise * e;
            let c = prediction.conversion(&t)?;
            let size = |a: f64, b: f64| (a * x).abs() + (b * output).abs();
            // Terms of the output cancel too (EDM's and the velocity's): their sum is what rounding
            // acts on.
            let inner = (target.data * x_0).abs() + (target.noise * e).abs();
            let d_scale = (c.data.x * x).abs()
                + c.data.output.abs() * inner
                + (c.data.x * t.alpha() * x_0).abs()
                + (c.data.x * t.sigma() * e).abs();
            let e_scale = (c.noise.x * x).abs()
                + c.noise.output.abs() * inner
                + (c.noise.x * t.alpha() * x_0).abs()
                + (c.noise.x * t.sigma() * e).abs();
            targets = targets
                .max(off(c.data.of(x, output), x_0, d_scale))
                .max(off(c.noise.of(x, output), e, e_scale));
            // The same output from its definition in x and D.
            let again = output_of(prediction, &t, x, x_0);
            let estimate = c.data.of(x, again);
            let slack = size(c.data.x, c.data.output)
                + (c.data.output * t.alpha() * x_0 / t.sigma()).abs()
                + c.data.output.abs() * (x / t.sigma()).abs() * (1.0 + 1.0 / t.sigma());
            targets = targets.max(off(estimate, x_0, d_scale + slack));
            // One step.
            let expected = q.state_coefficient() * x + q.data_coefficient() * x_0;
            let found = q.state_coefficient() * x + q.data_coefficient() * c.data.of(x, output);
            let scale = (q.state_coefficient() * x).abs() + q.data_coefficient() * d_scale;
            scalars = scalars.max(off(found, expected, scale));
            let mut machine = Machine::new(Array2::from_elem((1, 1), x), 0)?;
            let out = Array2::from_elem((1, 1), output);
            step.tell(&mut machine, prediction, &out, &mut Zeros, 0)?;
            arrays = arrays.max(off(machine.state()[[0, 0]], expected, scale));
            // |output − target|² is its weight times |x₀ − D|²: move the output by one.
            let moved = c.data.of(x, output + 1.0) - c.data.of(x, output);
            let weight = LossWeight::Simple.on_data(prediction, &t)?;
            let slope = 1.0 / (weight.sqrt());
            weights = weights.max(off(moved.abs(), slope, slope + d_scale));
        }
    }
    Ok(vec![
        Claim::new(
            "ε, x₀, v, score, flow and EDM give back x₀ and ε",
            "definitions at x = αx₀ + σε, 5000 random levels",
            targets,
            Accept::Below(1e-13),
        ),
        Claim::new(
            "all six predictions give the same step, scalars",
            "c_t x + c_0 x₀, relative to the sum of the terms",
            scalars,
            Accept::Below(1e-13),
        ),
        Claim::new(
            "all six predictions give the same step, arrays in f64",
            "c_t x + c_0 x₀, relative to the sum of the terms",
            arrays,
            Accept::Below(1e-13),
        ),
        Claim::new(
            "a plain loss weighs the data error by its documented weight",
            "slope of D in the output",
            weights,
            Accept::Below(1e-13),
        ),
        Claim::new(
            "whole runs with all six predictions agree, three solvers",
            "the run with x₀-prediction, 20 steps",
            whole_runs()?,
            Accept::Below(1e-12),
        ),
    ])
}

/// The largest difference between runs of one sampler with different predictions of the same
/// nonlinear D.
fn whole_runs() -> Outcome<f64> {
    // λ from −3: ε costs 1/α in digits of D, so that a run from λ = −10 would compare the rounding
    // of ε.
    let schedule = VariancePreserving::default();
    let grid = Grid::uniform_lambda(&schedule, 20, LambdaRange::new(-3.0, 5.0)?)?;
    let solvers: [&dyn Solver; 3] = [
        &FirstOrder::new(Kappa::Eta(0.5)),
        &Heun::new(),
        &DpmSolverPlusPlus::new(),
    ];
    let mut worst = 0.0f64;
    for solver in solvers {
        let sampler = Sampler::along(&Path::without_schedule(&grid), solver)?;
        let run = |prediction: Prediction| {
            let mut model = from_fn(
                prediction,
                move |x: &ArrayRef<f64, Ix2>, level: &NoiseLevel, out: &mut ArrayRef<f64, Ix2>| {
                    let level = *level;
                    out.zip_mut_with(x, |o, &x| {
                        *o = output_of(prediction, &level, x, (x / (1.0 + level.sigma())).tanh());
                    });
                },
            );
            sampler.sample(&mut model, (4, 8), 66)
        };
        let expected = run(Prediction::Data)?;
        for prediction in PREDICTIONS {
            let found = run(prediction)?;
            worst = found
                .iter()
                .zip(&expected)
                .map(|(a, b)| (a - b).abs())
                .fold(worst, f64::max);
        }
    }
    Ok(worst)
}

/// Row 7.
pub(crate) fn changes_of_variables() -> Outcome<Vec<Claim>> {
    let mut rng = SmallRng::seed_from_u64(7);
    let mut worst = [0.0f64; 4];
    let solvers: [(&str, Box<dyn Solver>); 4] = [
        ("DDIM", Box::new(FirstOrder::ddim())),
        ("η = 0.5", Box::new(FirstOrder::new(Kappa::Eta(0.5)))),
        ("Heun", Box::new(Heun::new())),
        ("2M", Box::new(DpmSolverPlusPlus::new().with_tau(0.5)?)),
    ];
    for _ in 0..25 {
        let mut lambdas: Vec<f64> = (0..16).map(|_| rng.random_range(-4.0..5.0)).collect();
        lambdas.sort_by(f64::total_cmp);
        for (index, (_, solver)) in solvers.iter().enumerate() {
            let mut ends: Vec<Array2<f64>> = Vec::new();
            for family in [Family::Exploding, Family::Preserving, Family::Flow] {
                let mut levels: Vec<NoiseLevel> = lambdas
                    .iter()
                    .enumerate()
                    .map(|(k, &lambda)| family.level((16 - k) as f64, lambda, &mut rng))
                    .collect::<Result<_, _>>()?;
                levels.push(NoiseLevel::clean());
                let grid = Grid::from_levels(levels.clone(), 1.0)?;
                let sampler = Sampler::along(&Path::without_schedule(&grid), &**solver)?;
                // The same x/α at the start, and a model that depends on x/α and ρ alone.
                let alpha = levels[0].alpha();
                let x = Array2::from_shape_fn((3, 2), |(i, j)| {
                    alpha * (1.5 * i as f64 - 2.0 * j as f64 + 0.3) * (-lambdas[0]).exp()
                });
                let mut model = from_fn(
                    Prediction::Data,
                    |x: &ArrayRef<f64, Ix2>, level: &NoiseLevel, out: &mut ArrayRef<f64, Ix2>| {
                        let (alpha, rho) = (level.alpha(), level.rho());
                        out.zip_mut_with(x, |o, &x| *o = (x / alpha / (1.0 + rho * rho)).tanh());
                    },
                );
                let mut run = sampler.start_from(x, Prediction::Data, KeyedNoise::new(7))?;
                run.complete(&mut model)?;
                ends.push(run.into_state());
            }
            for other in &ends[1..] {
                for (a, b) in ends[0].iter().zip(other) {
                    worst[index] = worst[index].max((a - b).abs());
                }
            }
        }
    }
    let mut claims: Vec<Claim> = solvers
        .iter()
        .zip(worst)
        .map(|((name, _), measured)| {
            Claim::new(
                format!("VP, VE and flow forms of one schedule give the same run, {name}"),
                "change of variables x/α, 25 random grids of 16 steps",
                measured,
                Accept::Below(1e-12),
            )
        })
        .collect();
    claims.push(converted_grids(&mut rng)?);
    Ok(claims)
}

/// What depends on the schedule's own time, not on its levels alone: boundary scalings, a share of
/// the time, levels at mean times.
const OF_TIME: [&str; 3] = ["LCM", "TCD", "PNDM"];

/// One grid taken to other schedules by `Grid::on`: every solver of the catalogue gives the same
/// run, seen as x/α. The model is smooth in x/α and ρ.
fn converted_grids(rng: &mut SmallRng) -> Outcome<Claim> {
    let origin = VariancePreserving::default();
    let others: [Box<dyn NoiseSchedule>; 4] = [
        Box::new(VarianceExploding::new(1e-3, 200.0)?),
        Box::new(Edm::new(1e-3, 200.0)?),
        Box::new(RectifiedFlow::shifted(3.0)?),
        Box::new(TableSchedule::linear(1000, 1e-4, 0.02)?),
    ];
    let mut worst = 0.0f64;
    for _ in 0..5 {
        let mut lambdas: Vec<f64> = (0..8).map(|_| rng.random_range(-4.0..4.0)).collect();
        lambdas.sort_by(f64::total_cmp);
        // No step of nearly no length, over which a multistep method divides.
        for k in 1..lambdas.len() {
            lambdas[k] = lambdas[k].max(lambdas[k - 1] + 0.05);
        }
        lambdas.push(f64::INFINITY);
        let grid = Grid::from_lambdas(&origin, &lambdas)?;
        for entry in catalogue() {
            // BELM's way up multiplies rounding by (d₂/d₁)² a step, on these grids by 1e4.
            if OF_TIME.contains(&entry.name) || entry.name == "BELM inversion" {
                continue;
            }
            let end = |schedule: &dyn NoiseSchedule| -> Outcome<Array2<f64>> {
                let grid = grid.on(schedule)?;
                let sampler = Sampler::new(schedule, &grid, &entry.solver)?;
                let (first, last) = (sampler.plan().start(), sampler.plan().end());
                let scale = first.alpha() * (first.rho().powi(2) + 1.0).sqrt();
                let x = Array2::from_shape_fn((3, 2), |(i, j)| {
                    scale * (0.7 * i as f64 - 0.9 * j as f64 + 0.3)
                });
                let mut model = from_fn(
                    Prediction::Data,
                    |x: &ArrayRef<f64, Ix2>, level: &NoiseLevel, out: &mut ArrayRef<f64, Ix2>| {
                        let (alpha, rho) = (level.alpha(), level.rho());
                        out.zip_mut_with(x, |o, &x| *o = (x / alpha / (1.0 + rho * rho)).tanh());
                    },
                );
                let mut run = sampler.start_from(x, Prediction::Data, KeyedNoise::new(7))?;
                run.complete(&mut model)?;
                let size = last.alpha() * (last.rho().powi(2) + 1.0).sqrt();
                Ok(run.into_state() / size)
            };
            let expected = end(&origin)?;
            for other in &others {
                let found = end(&**other)?;
                for (a, b) in expected.iter().zip(&found) {
                    worst = worst.max((a - b).abs());
                }
            }
        }
    }
    Ok(Claim::new(
        "VP, VE, EDM, flow and table forms of one grid give the same run, every solver but of time",
        "change of variables x/α, five random grids of 8 steps taken over by Grid::on",
        worst,
        Accept::Below(1e-12),
    ))
}

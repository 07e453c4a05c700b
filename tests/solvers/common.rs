//! One state of a model that is not linear, along a plan: what the textbook recurrences are compared
//! with.

use std::error::Error as StdError;

use diffusion_sampler::{
    Grid, KeyedNoise, NoiseLevel, Prediction, Sampler, from_fn,
    noise::{NoiseKey, NoiseSource, Stream},
    schedule::{Edm, LambdaRange, NoiseSchedule, RectifiedFlow, TableSchedule, VariancePreserving},
    solver::{Path, Solver},
};
use ndarray::{Ix2, array};

pub(crate) type Outcome = Result<(), Box<dyn StdError>>;

/// A model that is not linear, D at a state and level.
pub(crate) fn denoise(x: f64, level: &NoiseLevel) -> f64 {
    (x / (1.0 + level.sigma())).tanh() + 0.1 * (3.0 * x + level.rho().min(1e6).ln_1p()).sin()
}

/// The normal of a step's n-th noise.
pub(crate) fn normal(step: u32, n: u8) -> f64 {
    let mut z = [0.0f64];
    let key = NoiseKey::new(0, step, Stream::Step(n));
    NoiseSource::fill(&mut KeyedNoise::new(5), key, 0, &mut z);
    z[0]
}

/// The state after every step, from `start`, with the noise of [`normal`].
pub(crate) fn states(
    path: &Path<'_>,
    solver: &dyn Solver,
    start: f64,
) -> Result<Vec<f64>, Box<dyn StdError>> {
    let sampler = Sampler::along(path, solver)?;
    let mut run = sampler.start_from(array![[start]], Prediction::Data, KeyedNoise::new(5))?;
    let mut model = from_fn::<f64, Ix2>(Prediction::Data, |x, level, out| {
        out.zip_mut_with(x, |o, &x| *o = denoise(x, level));
    });
    let mut states = Vec::new();
    while !run.is_finished() {
        run.advance(&mut model)?;
        states.push(run.state()[[0, 0]]);
    }
    Ok(states)
}

/// A schedule and a grid of it.
pub(crate) type OnSchedule = (Box<dyn NoiseSchedule>, Grid);

/// Schedules of every kind, with a grid of K steps for each; where asked for, the last onto σ = 0.
pub(crate) fn paths(steps: usize, clean: bool) -> Result<Vec<OnSchedule>, Box<dyn StdError>> {
    let schedules: [Box<dyn NoiseSchedule>; 4] = [
        Box::new(VariancePreserving::default()),
        Box::new(TableSchedule::scaled_linear(1000, 0.00085, 0.012)?),
        Box::new(Edm::default()),
        Box::new(RectifiedFlow::shifted(3.0)?),
    ];
    let mut paths = Vec::new();
    for schedule in schedules {
        let own = schedule.lambda_range();
        let range = LambdaRange::new(own.noisy().max(-4.0), own.clean().min(3.0))?;
        let grid = if clean {
            Grid::karras(&schedule, steps, range, 7.0)?
        } else {
            Grid::karras(&schedule, steps + 1, range, 7.0)?.without_clean_end()?
        };
        paths.push((schedule, grid));
    }
    Ok(paths)
}

/// Whether two lists of states agree to `tolerance`, relative to their size or 1.
pub(crate) fn assert_close(ours: &[f64], textbook: &[f64], tolerance: f64, place: &str) {
    assert_eq!(ours.len(), textbook.len(), "{place}");
    for (step, (a, b)) in ours.iter().zip(textbook).enumerate() {
        let error = (a - b).abs() / b.abs().max(1.0);
        assert!(
            error < tolerance,
            "{place}, step {step}: {a} and {b}, {error:e}"
        );
    }
}

#[test]
fn a_wrong_recurrence_is_found() -> Outcome {
    use diffusion_sampler::solver::FirstOrder;
    for (schedule, grid) in paths(6, true)? {
        let path = Path::new(&schedule, &grid)?;
        let ours = states(&path, &FirstOrder::ddpm(), 0.7)?;
        let ancestral = |factor: f64| {
            let mut x = 0.7;
            let step = |(k, (from, to)): (usize, (NoiseLevel, NoiseLevel))| {
                let d = denoise(x, &from);
                let ratio = (to.rho() / from.rho()).powi(2);
                let mean = ratio * (x / from.alpha()) + (1.0 - ratio) * d;
                let noise = to.rho() * (1.0 - ratio).sqrt() * normal(k as u32, 0);
                x = to.alpha() * (mean + factor * noise);
                x
            };
            path.edges().enumerate().map(step).collect::<Vec<_>>()
        };
        assert_close(&ours, &ancestral(1.0), 1e-12, "DDPM");
        let wrong = ancestral(1.01);
        assert!((ours[3] - wrong[3]).abs() > 1e-6);
    }
    Ok(())
}

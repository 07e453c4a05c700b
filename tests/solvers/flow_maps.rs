//! Models that take two times: one step of DDIM is the map, on any grid.

use std::convert::Infallible;

use diffusion_sampler::{
    Grid, KeyedNoise, NoiseLevel, Prediction, Sampler,
    denoiser::from_query_fn,
    schedule::{NoiseSchedule, RectifiedFlow, TableSchedule, VariancePreserving},
    solver::{DpmSolverPlusPlus, FirstOrder, Solver},
};
use ndarray::{Array2, Ix2, array};

use crate::common::Outcome;

const MEAN: f64 = 0.4;
const VARIANCE: f64 = 0.3;

/// The probability flow of N(m, v) from one level to another, in closed form.
fn flow_map(x: f64, from: &NoiseLevel, to: &NoiseLevel) -> f64 {
    let scale = to.marginal_variance(VARIANCE) / from.marginal_variance(VARIANCE);
    to.alpha() * MEAN + scale.sqrt() * (x - from.alpha() * MEAN)
}

fn starts() -> Array2<f64> {
    array![[0.3, -1.4, 0.9], [2.2, -0.1, 0.0]]
}

/// The largest error at the end of a run with the exact map's `output`.
fn error(
    schedule: &dyn NoiseSchedule,
    grid: &Grid,
    solver: &dyn Solver,
    kind: Prediction,
    output: fn(f64, &NoiseLevel, &NoiseLevel) -> f64,
) -> Result<f64, Box<dyn std::error::Error>> {
    let mut model = from_query_fn::<f64, Ix2, Infallible>(kind, 1, |x, query, out| {
        let (from, to) = (query.level(), query.target().unwrap_or(query.level()));
        out.zip_mut_with(x, |o, &x| *o = output(x, &from, &to));
        Ok(())
    });
    let sampler = Sampler::new(schedule, grid, solver)?;
    let mut run = sampler.start_from(starts(), kind, KeyedNoise::new(0))?;
    run.complete(&mut model)?;
    let exact = starts().mapv(|x| flow_map(x, &grid.start(), &grid.end()));
    let misses = run.state().iter().zip(&exact).map(|(a, b)| (a - b).abs());
    Ok(misses.fold(0.0, f64::max))
}

/// MeanFlow, shortcut models: u(x_t, t, s), the mean velocity from t to s.
fn mean_velocity(x: f64, from: &NoiseLevel, to: &NoiseLevel) -> f64 {
    (flow_map(x, from, to) - x) / (to.sigma() - from.sigma())
}

/// CTM's g: x_s = (σ_s/σ_t) x_t + α_s(1 − r) g, as DDIM takes D.
fn trajectory_data(x: f64, from: &NoiseLevel, to: &NoiseLevel) -> f64 {
    let kept = to.sigma() / from.sigma();
    (flow_map(x, from, to) - kept * x) / (to.alpha() - kept * from.alpha())
}

#[test]
fn ddim_of_a_mean_velocity_is_the_flow_map_on_any_grid() -> Outcome {
    let (plain, shifted) = (RectifiedFlow::new(), RectifiedFlow::shifted(3.0)?);
    let lists: [&[f64]; 5] = [
        &[1.0, 0.0],
        &[1.0, 0.5, 0.0],
        &[1.0, 0.999, 0.31, 0.3, 1e-6, 0.0],
        &[0.8, 0.15],
        &[0.9, 0.899, 0.1],
    ];
    let ddim = FirstOrder::ddim();
    for flow in [plain, shifted] {
        let mut grids = Vec::new();
        for times in lists {
            grids.push(Grid::from_times(&flow, times)?);
        }
        for steps in [1, 2, 7, 40] {
            grids.push(Grid::trailing(&flow, steps)?);
        }
        for grid in &grids {
            let miss = error(&flow, grid, &ddim, Prediction::Flow, mean_velocity)?;
            assert!(miss < 1e-12, "{miss:e}");
        }
        // A multistep solver takes the mean velocity for one at a point, and is wrong.
        let grid = Grid::trailing(&flow, 7)?;
        let two = DpmSolverPlusPlus::new();
        let miss = error(&flow, &grid, &two, Prediction::Flow, mean_velocity)?;
        assert!(miss > 1e-3, "{miss:e}");
    }
    Ok(())
}

#[test]
fn ddim_of_a_trajectory_models_data_is_the_flow_map_on_any_grid() -> Outcome {
    let vp = VariancePreserving::default();
    let table = TableSchedule::scaled_linear(1000, 0.00085, 0.012)?.zero_terminal_snr()?;
    let flow = RectifiedFlow::new();
    let schedules: [&dyn NoiseSchedule; 3] = [&vp, &table, &flow];
    for schedule in schedules {
        for steps in [1, 2, 7, 40] {
            let grid = Grid::trailing(schedule, steps)?;
            let ddim = FirstOrder::ddim();
            let miss = error(schedule, &grid, &ddim, Prediction::Data, trajectory_data)?;
            assert!(miss < 1e-12, "{schedule:?}, {steps}: {miss:e}");
        }
    }
    Ok(())
}

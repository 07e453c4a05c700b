//! Runs on flat vectors against trajectories.

use std::error::Error;
use std::hint::black_box;

use diffusion_sampler::{
    Grid, KeyedNoise, Prediction, Sampler,
    schedule::TableSchedule,
    solver::DpmSolverPlusPlus,
    tensor::{Flat, FlatOps},
};
use ndarray::Array2;

use crate::Report;
use crate::support::compare;

const STEPS: usize = 20;

/// Whole runs of 2M by ask and tell from a given state, the copy of the state included.
pub(crate) fn runs(report: &mut Report) -> Result<(), Box<dyn Error>> {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let grid = Grid::trailing(&schedule, STEPS)?;
    let sampler = Sampler::new(&schedule, &grid, &DpmSolverPlusPlus::new())?;
    let noise = KeyedNoise::new(0);
    for (size, len) in [("64 Ki", 1 << 16), ("768 Ki", 3 << 18)] {
        let shape = (4, len / 4);
        let start = Array2::<f32>::from_elem(shape, 0.5);
        let output = Array2::<f32>::from_elem(shape, 0.1);
        let flat_start = Flat::new(vec![0.5f32; len], &[4, len / 4])?;
        let flat_output = Flat::new(vec![0.1f32; len], &[4, len / 4])?;
        let name = format!("2M run on a flat vector ÷ on an array, {size}");
        report.at_most(&name, (1.05, 1.2), |seconds| {
            compare(
                seconds,
                || {
                    let run = sampler.on(FlatOps::new());
                    let run = run.start_from(flat_start.clone(), Prediction::Noise, noise);
                    let Ok(mut run) = run else { return };
                    while let Ok(Some(_)) = run.ask() {
                        assert!(run.tell(&flat_output).is_ok());
                    }
                    assert_eq!(run.step(), STEPS);
                    black_box(run.state());
                },
                || {
                    let run = sampler.start_from(start.clone(), Prediction::Noise, noise);
                    let Ok(mut run) = run else { return };
                    while let Ok(Some(_)) = run.ask() {
                        assert!(run.tell(&output).is_ok());
                    }
                    assert_eq!(run.step(), STEPS);
                    black_box(run.state());
                },
            )
        });
    }
    Ok(())
}

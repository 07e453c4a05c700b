//! An adaptive driver from public parts: an embedded pair of orders 1 and 2, and rejected steps.

use diffusion_sampler::{
    Grid, KeyedNoise, NoiseLevel, Prediction,
    oracle::Oracle,
    run::{Cursor, Instruction, Machine},
    schedule::{NoiseSchedule, VariancePreserving},
    solver::{Heun, Path, Solver},
};
use ndarray::{Array2, ArrayRef2};

use crate::common::Line;

const COUNT: usize = 16;
const END: f64 = 1e-3;

/// What an adaptive run did.
struct Outcome {
    error: f64,
    accepted: usize,
    rejected: usize,
}

/// The largest difference of the pair, in units of the tolerance.
fn excess(low: &ArrayRef2<f64>, high: &ArrayRef2<f64>, tolerance: f64) -> f64 {
    low.iter()
        .zip(high)
        .map(|(low, high)| (low - high).abs() / (tolerance * (1.0 + high.abs())))
        .fold(0.0, f64::max)
}

/// DDIM against Heun's method, whose first stage it is; h from the difference, no plan made ahead.
fn drive(line: &Line, schedule: &dyn NoiseSchedule, tolerance: f64) -> Outcome {
    let ends = Grid::from_times(schedule, &[schedule.last_time(), END]).unwrap();
    let whole = Path::new(schedule, &ends).unwrap();
    let (mut from, end): (NoiseLevel, NoiseLevel) = (ends.start(), ends.end());
    let mut model = line.mixture().denoiser(Prediction::Noise);
    let x = Array2::from_shape_vec((COUNT, 1), line.quantiles(COUNT, &from)).unwrap();
    let mut machine = Machine::new(x, 1).unwrap();
    let (mut h, mut accepted, mut rejected) = (2.0, 0, 0);
    while from.lambda() < end.lambda() {
        let last = from.lambda() + h >= end.lambda();
        let to = if last {
            end
        } else {
            whole.at_lambda(from.lambda() + h).unwrap()
        };
        let edge = Grid::from_levels(vec![from, to], 1.0).unwrap();
        let plan = Heun::new()
            .plan(&Path::new(schedule, &edge).unwrap())
            .unwrap();
        let before = machine.clone();
        let (mut cursor, mut low) = (Cursor::default(), None);
        while let Some(step) = cursor.current(&plan) {
            let stage = Instruction::new(step, cursor.stage_index(), accepted).unwrap();
            machine
                .take(&stage, &mut model, &mut KeyedNoise::new(0))
                .unwrap();
            low = low.or(Some(machine.state().to_owned()));
            cursor.advance(&plan);
        }
        // A tenth for each step: their errors add up.
        let excess = excess(&low.unwrap(), machine.state(), 0.1 * tolerance);
        // The pair differs by h²: the square root, with some reserve.
        h *= (0.9 / excess.sqrt()).clamp(0.2, 3.0);
        if excess <= 1.0 {
            (from, accepted) = (to, accepted + 1);
        } else {
            (machine, rejected) = (before, rejected + 1);
        }
        assert!(accepted + rejected < 10_000, "the driver does not get on");
    }
    let exact = line.quantiles(COUNT, &end);
    let (state, history) = machine.into_parts();
    assert_eq!(history.len(), 1);
    Outcome {
        error: state
            .iter()
            .zip(&exact)
            .map(|(x, exact)| (x - exact).abs())
            .fold(0.0, f64::max),
        accepted,
        rejected,
    }
}

#[test]
fn an_adaptive_driver_reaches_its_tolerance_on_the_exact_flow() {
    let schedule = VariancePreserving::default();
    for line in [Line::modes(), Line::normal()] {
        let mut before: Option<Outcome> = None;
        for tolerance in [1e-2, 1e-3, 1e-4, 1e-5] {
            let outcome = drive(&line, &schedule, tolerance);
            println!(
                "tolerance {tolerance:e}: error {:.2e}, {} steps, {} rejected",
                outcome.error, outcome.accepted, outcome.rejected
            );
            assert!(outcome.error < tolerance, "{}", outcome.error);
            assert!(outcome.rejected > 0, "nothing was ever rejected");
            if let Some(before) = before {
                assert!(outcome.error < 0.5 * before.error);
                // A pair of orders 1 and 2: steps grow like the tolerance's square root.
                let growth = outcome.accepted as f64 / before.accepted as f64;
                assert!((1.5..6.0).contains(&growth), "{growth}");
            }
            before = Some(outcome);
        }
    }
}

//! The adaptive DPM-Solver as a reference: on the exact flow, to its tolerance.

use diffusion_sampler::{
    Grid, KeyedNoise, Prediction,
    oracle::Oracle,
    run::AdaptiveDpm,
    schedule::{NoiseSchedule, RectifiedFlow, VariancePreserving},
    solver::Path,
};
use ndarray::Array2;

use crate::common::Line;

const COUNT: usize = 16;

#[test]
fn small_tolerances_reach_the_exact_flow_of_mixtures() {
    let schedules: [Box<dyn NoiseSchedule>; 2] = [
        Box::new(VariancePreserving::default()),
        Box::new(RectifiedFlow::new()),
    ];
    for schedule in schedules {
        let ends = Grid::from_times(&*schedule, &[0.99, 1e-3]).unwrap();
        let path = Path::new(&*schedule, &ends).unwrap();
        for line in [Line::modes(), Line::normal()] {
            for order in [2u8, 3] {
                let mut before: Option<(f64, usize)> = None;
                let tolerances = [1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8];
                // Order 2 takes 10,000 steps for the last three.
                let count = if order == 2 { 4 } else { 7 };
                for tolerance in tolerances.into_iter().take(count) {
                    let x = line.quantiles(COUNT, &ends.start());
                    let x = Array2::from_shape_vec((COUNT, 1), x).unwrap();
                    let mut model = line.mixture().denoiser(Prediction::Noise);
                    let solver = AdaptiveDpm::order(order.into())
                        .unwrap()
                        .with_tolerances(0.0, tolerance)
                        .unwrap()
                        .with_evaluation_limit(usize::MAX);
                    let found = solver
                        .sample(&path, &mut model, x, &mut KeyedNoise::new(0))
                        .unwrap();
                    let exact = line.quantiles(COUNT, &ends.end());
                    let errors = found.state.iter().zip(&exact).map(|(x, e)| (x - e).abs());
                    let error = errors.fold(0.0, f64::max);
                    println!(
                        "order {order}, tolerance {tolerance:e}: {error:.1e}, {} steps, {} rejected, {} evaluations",
                        found.accepted, found.rejected, found.evaluations
                    );
                    // The tolerance is a step's, in the root mean square; this is the largest of all
                    // errors at the end.
                    assert!(error < 10.0 * tolerance, "{order}: {error:e}");
                    if let Some((before, steps)) = before {
                        assert!(error < 0.5 * before, "{error:e} {before:e}");
                        // The estimate is of order p: steps grow like the tolerance's p-th root.
                        let growth = found.accepted as f64 / steps as f64;
                        let root = 10f64.powf(1.0 / f64::from(order));
                        assert!((0.6..1.1).contains(&(growth / root)), "{growth}");
                    }
                    before = Some((error, found.accepted));
                }
            }
        }
    }
}

//! What a tolerance saves, and what it costs.

use diffusion_sampler::oracle::Oracle;
use diffusion_sampler::solver::{DpmSolverPlusPlus, FirstOrder, Solver};
use diffusion_sampler::{Prediction, Sampler};
use ndarray::Array2;

use crate::common::{Rows, mixture, sampler};

/// The sweeps, and the largest root mean square difference of a sample.
fn measured(sampler: &Sampler, window: usize, tolerance: f64) -> (usize, f64) {
    let mut model = mixture().denoiser(Prediction::Noise);
    let sequential: Array2<f64> = sampler.sample(&mut model, (16, 4), 3).unwrap();
    let parallel = sampler.parallel(window, tolerance).unwrap();
    let (found, report) = parallel
        .sample::<f64, _, _>(&mut model, (16, 4), 3)
        .unwrap();
    assert!(
        report
            .residuals()
            .iter()
            .all(|residual| *residual <= tolerance)
    );
    let squares = (found - sequential).mapv(|difference| difference * difference);
    let largest = squares.mean_axis(ndarray::Axis(1)).unwrap();
    (
        report.sweeps(),
        largest.iter().fold(0.0, |top, x| f64::max(top, *x)).sqrt(),
    )
}

#[test]
fn fewer_sweeps_for_a_larger_tolerance_and_an_error_that_falls_with_it() {
    let solvers: [(&dyn Solver, &str); 3] = [
        (&FirstOrder::ddim(), "DDIM"),
        (&DpmSolverPlusPlus::new(), "2M"),
        (&FirstOrder::ddpm(), "DDPM"),
    ];
    for (solver, name) in solvers {
        let sampler = sampler(solver, 100);
        let mut before = usize::MAX;
        for tolerance in [1e-8, 1e-6, 1e-4, 1e-2] {
            let (sweeps, error) = measured(&sampler, 100, tolerance);
            assert!(
                sweeps <= before,
                "{name}, {tolerance}: {sweeps} after {before}"
            );
            assert!(sweeps < 60, "{name}, {tolerance}: {sweeps}");
            assert!(error < 100.0 * tolerance, "{name}, {tolerance}: {error}");
            before = sweeps;
        }
        assert!(before < 30, "{name}: {before}");
    }
}

#[test]
fn the_report_counts_what_the_model_is_given() {
    let mut model = Rows::new(Prediction::Noise);
    let parallel = sampler(&DpmSolverPlusPlus::new(), 30)
        .parallel(8, 1e-3)
        .unwrap();
    let (_, report) = parallel.sample::<f32, _, _>(&mut model, (3, 5), 1).unwrap();
    assert_eq!((report.sweeps(), report.rows()), (model.calls, model.rows));
    assert!(
        report.to_string().contains("in place of 30 evaluations"),
        "{report}"
    );
}

//! What a tolerance saves, and what it costs.

use diffusion_sampler::denoiser::{Guided, Models};
use diffusion_sampler::guidance::ClassifierFree;
use diffusion_sampler::oracle::{Gaussian, Oracle};
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

/// Outputs that are carried along to where the state has moved are exact for Gaussian data of the
/// variance that is told: a tolerance costs nothing then, however large it is.
#[test]
fn outputs_are_carried_along_exactly_on_gaussian_data() {
    let unconditional = Gaussian::isotropic(&[0.5, -1.0, 0.25, 2.0], 0.3).unwrap();
    let conditional = Gaussian::isotropic(&[-0.5, 0.5, 1.0, -2.0], 0.3).unwrap();
    let sampler = sampler(&DpmSolverPlusPlus::new(), 12);
    let mut plain = unconditional.clone().denoiser(Prediction::Noise);
    let models = Models((
        conditional.denoiser(Prediction::Noise),
        unconditional.denoiser(Prediction::Noise),
    ));
    let free = ClassifierFree::with_scale(3.0).unwrap();
    let mut guided = Guided::new(models, free);
    let shape = (3, 4);
    let expected: [Array2<f64>; 2] = [
        sampler.sample(&mut plain, shape, 3).unwrap(),
        sampler.sample(&mut guided, shape, 3).unwrap(),
    ];
    let parallel = sampler.parallel(12, 1e3).unwrap();
    let parallel = parallel.with_data_variance(0.3).unwrap();
    let found = [
        parallel.sample(&mut plain, shape, 3).unwrap(),
        parallel.sample(&mut guided, shape, 3).unwrap(),
    ];
    for ((found, report), expected) in found.into_iter().zip(expected) {
        assert_eq!(report.sweeps(), 1);
        assert!(report.residuals().iter().any(|residual| *residual > 0.1));
        let difference: Array2<f64> = found - expected;
        assert!(difference.iter().all(|d| d.abs() < 1e-12), "{difference}");
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

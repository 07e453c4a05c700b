//! Exact moments, stability and modes of plans, and what the oracles say.

use diffusion_sampler::{
    Grid, Prediction,
    guidance::ClassifierFree,
    moments::weak_errors,
    oracle::{
        Empirical, Gaussian, GaussianMixture, MixtureFit, Oracle, frechet_distance, sample_moments,
    },
    schedule::{NoiseSchedule, VariancePreserving},
    solver::{DpmSolverPlusPlus, FirstOrder, Heun, Path, Solver, catalogue},
};
use ndarray::Dim;

use crate::hash::{Hash, Lines};
use crate::models::{correlated, mixture, state, table};
use crate::runs::sampler;

fn gaussian(hash: &mut Hash, gaussian: &Gaussian) {
    hash.numbers(gaussian.mean());
    hash.numbers(gaussian.variances());
    hash.numbers(&gaussian.axes().unwrap());
}

pub(crate) fn add(lines: &mut Lines) {
    let data = correlated();
    for entry in catalogue().into_iter().filter(|entry| !entry.inverts) {
        let sampler = sampler(&*entry.solver, 7);
        if sampler.plan().given() > 0 {
            continue;
        }
        lines.add(format!("moments: {}", entry.name), |hash| {
            for state in sampler.moments(&data).unwrap() {
                gaussian(hash, &state);
            }
        });
        lines.add(format!("stability: {}", entry.name), |hash| {
            let report = sampler.stability(&data).unwrap();
            hash.numbers(report.variances());
            hash.numbers(report.model_error());
            hash.numbers(report.deviation());
            hash.numbers(report.mean());
            hash.number(report.wasserstein());
            for step in report.steps() {
                hash.numbers(&step.growth);
                hash.numbers(&step.state);
                hash.numbers(&step.model);
            }
        });
    }
    lines.add("moments: guided", |hash| {
        let guidance = ClassifierFree::with_scale(3.0).unwrap();
        let all = Gaussian::centred(3, 1.5).unwrap();
        let initial = Gaussian::centred(3, 1.0).unwrap();
        for solver in [
            &FirstOrder::ddpm() as &dyn Solver,
            &DpmSolverPlusPlus::new(),
        ] {
            let outputs = [data.clone(), all.clone()];
            let states = sampler(solver, 7)
                .plan()
                .guided_moments(&guidance, Prediction::Noise, &outputs, &initial)
                .unwrap();
            states.iter().for_each(|state| gaussian(hash, state));
        }
    });
    lines.add("moments: weak errors", |hash| {
        let schedule = VariancePreserving::default();
        let lambdas: Vec<f64> = (0..=9).map(|k| -5.0 + f64::from(k)).collect();
        let grid = Grid::from_lambdas(&schedule, &lambdas).unwrap();
        let path = Path::new(&schedule, &grid).unwrap();
        for solver in [&FirstOrder::ddpm() as &dyn Solver, &Heun::new()] {
            hash.numbers(&weak_errors(solver, &path, &data).unwrap());
        }
    });
    lines.add("moments: modes", |hash| {
        let modes = vec![
            Gaussian::isotropic(&[-1.5], 0.05).unwrap(),
            Gaussian::isotropic(&[1.0], 0.1).unwrap(),
        ];
        let truth = GaussianMixture::new(&[0.3, 0.7], modes, vec![0, 1]).unwrap();
        let mut model = (&truth).denoiser(Prediction::Noise);
        let sampler = sampler(&FirstOrder::ddpm(), 4);
        let report = sampler.modes(&mut model, &truth, 1e-3).unwrap();
        hash.numbers(report.mean());
        hash.numbers(report.covariance());
        hash.numbers(report.masses());
        hash.numbers(&[report.frechet(), report.error(), report.distance_error()]);
        hash.numbers(&report.wasserstein().unwrap());
    });
    lines.add("oracle: mixture and points", |hash| {
        let mixture = mixture();
        let points = state::<f64, _>(Dim((9, 3)));
        let empirical = Empirical::new(&points).unwrap();
        for time in [1.0, 250.0, 999.0] {
            let level = table().level(time).unwrap();
            for x in points.rows() {
                let x = x.to_vec();
                hash.numbers(&mixture.responsibilities(&x, &level).unwrap());
                hash.number(mixture.log_density(&x, &level).unwrap());
                hash.numbers(&empirical.responsibilities(&x, &level).unwrap());
                hash.number(empirical.log_density(&x, &level).unwrap());
            }
        }
    });
    lines.add("oracle: distances", |hash| {
        let other = Gaussian::centred(3, 0.8).unwrap();
        hash.number(data.wasserstein_squared(&other).unwrap());
        hash.number(other.wasserstein_squared(&data).unwrap());
        hash.number(other.kl(&data).unwrap());
        let rows = [state::<f32, _>(Dim((40, 3))), state(Dim((17, 3))) * 1.5];
        let of: Vec<_> = rows
            .iter()
            .map(|rows| sample_moments(rows).unwrap())
            .collect();
        for (mean, covariance) in &of {
            hash.numbers(mean);
            hash.numbers(covariance);
        }
        let found = frechet_distance(&of[0].0, &of[0].1, &of[1].0, &of[1].1);
        hash.number(found.unwrap());
    });
    lines.add("oracle: a fitted mixture", |hash| {
        let rows = state::<f64, _>(Dim((120, 2)));
        for fit in [MixtureFit::new(3), MixtureFit::new(2).diagonal()] {
            let fitted = fit.with_seed(5).fit(&rows).unwrap();
            hash.numbers(fitted.mixture.weights());
            for component in fitted.mixture.components() {
                gaussian(hash, component);
            }
        }
    });
}

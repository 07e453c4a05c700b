//! Exact distributions: guided moments against runs on basis vectors, closed forms against differential
//! equations, quadrature against moments.

use diffusion_sampler::{
    Clip, Error, Grid, KeyedNoise, NoiseLevel, Prediction, Sampler,
    denoiser::{Guided, Models, WithClassifier},
    guidance::{
        ClassifierFree, ClassifierGuidance, Combination, Composed, Evaluation, Guidance,
        GuidanceWeight, OnInterval, PlusPlus, Products, Projected, Rescaled, WeightedSum,
    },
    moments::{GuidedGaussian, weak_order},
    noise::{NoiseKey, NoiseSource, Stream},
    oracle::{Gaussian, GaussianMixture, LabelledOracle, Oracle},
    plan::Plan,
    posterior::Kappa,
    schedule::{LambdaRange, NoiseSchedule, RectifiedFlow, TableSchedule, VariancePreserving},
    solver::{
        DpmSolverPlusPlus, DpmPlusPlusSde, ExponentialRungeKutta, FirstOrder, Heun, Path,
        Solver, catalogue,
    },
};
use ndarray::{Array1, Array2, array};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Three Gaussians whose axes all differ.
fn gaussians() -> Result<[Gaussian; 3], Error> {
    Ok([
        Gaussian::new(
            &[1.0, -1.0, 0.5],
            &array![[0.5, 0.2, -0.1], [0.2, 0.4, 0.1], [-0.1, 0.1, 0.3]],
        )?,
        Gaussian::new(
            &[0.2, 0.0, -0.3],
            &array![[2.0, -0.6, 0.3], [-0.6, 1.0, 0.2], [0.3, 0.2, 1.5]],
        )?,
        Gaussian::diagonal(&[-0.4, 0.7, 0.0], &[1.0, 0.2, 3.0])?,
    ])
}

/// The largest difference of two Gaussians' means and covariances, relative to their size.
fn difference(a: &Gaussian, b: &Gaussian) -> f64 {
    let ((m, c), (n, e)) = (a.moments(), b.moments());
    difference_of((&m, &c), (&n, &e))
}

fn difference_of((m, c): (&[f64], &Array2<f64>), (n, e): (&[f64], &Array2<f64>)) -> f64 {
    let size = e.iter().fold(1.0, |s: f64, v| s.max(v.abs()));
    let means = m.iter().zip(n).map(|(a, b)| (a - b).abs() / size.sqrt());
    let covariances = c.iter().zip(e).map(|(a, b)| (a - b).abs() / size);
    means.chain(covariances).fold(0.0, f64::max)
}

#[test]
fn probe_modes() -> Outcome {
    let data = GaussianMixture::new(
        &[0.3, 0.7],
        vec![
            Gaussian::isotropic(&[-1.5], 0.05)?,
            Gaussian::isotropic(&[1.0], 0.1)?,
        ],
        vec![0, 1],
    )?;
    let one = GaussianMixture::new(&[1.0], vec![Gaussian::isotropic(&[0.7], 0.3)?], vec![0])?;
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let grid = Grid::trailing(&schedule, 12)?;
    let solvers: Vec<(&str, Box<dyn Solver>)> = vec![
        ("ddim", Box::new(FirstOrder::ddim())),
        ("ddpm", Box::new(FirstOrder::ddpm())),
        ("2m", Box::new(DpmSolverPlusPlus::new())),
        ("heun", Box::new(Heun::new())),
        ("2m sde", Box::new(DpmSolverPlusPlus::new().with_tau(1.0)?)),
        ("sde", Box::new(DpmPlusPlusSde::new())),
        ("seeds", Box::new(ExponentialRungeKutta::seeds(2)?)),
    ];
    for (name, solver) in solvers {
        let sampler = Sampler::new(&schedule, &grid, &solver)?;
        for truth in [&one, &data] {
            let start = std::time::Instant::now();
            match sampler.modes(&mut truth.denoiser(Prediction::Noise), truth, 1e-10) {
                Ok(report) => {
                    println!("{name} {:?}\n{report}\n distance error {:e}", start.elapsed(), report.distance_error());
                    if truth.weights().len() == 1 {
                        let m = sampler.moments(&one.components()[0])?;
                        let last = &m[m.len() - 1];
                        println!("moments: {:e} {:e}", last.mean()[0] - report.mean()[0], last.variances()[0] - report.covariance()[[0, 0]]);
                    }
                }
                Err(error) => println!("{name}: {error:?}"),
            }
        }
    }
    Ok(())
}

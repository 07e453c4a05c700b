//! Where quadrature cannot see: noise narrower than its grids, modes narrower than its points.

use diffusion_sampler::{
    Error, Grid, NoiseLevel, Prediction, RunError, Sampler,
    modes::ModeReport,
    moments::weak_order,
    oracle::{Gaussian, GaussianMixture, Oracle},
    posterior::Kappa,
    schedule::TableSchedule,
    solver::{FirstOrder, Solver},
};

use super::common::Outcome;

fn sampler(solver: &dyn Solver, steps: usize) -> Result<Sampler, Error> {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let grid = Grid::trailing(&schedule, steps)?;
    Sampler::new(&schedule, &grid, solver)
}

/// Weight, mean, variance.
fn mixture(parts: [(f64, f64, f64); 2]) -> Result<GaussianMixture, Error> {
    let modes = parts.map(|(_, m, v)| Gaussian::isotropic(&[m], v));
    let modes = modes.into_iter().collect::<Result<_, _>>()?;
    GaussianMixture::new(&parts.map(|part| part.0), modes, vec![0, 1])
}

fn report(
    solver: &FirstOrder,
    steps: usize,
    data: &GaussianMixture,
    tolerance: f64,
) -> Result<ModeReport, RunError<Error>> {
    let model = &mut data.denoiser(Prediction::Data);
    sampler(solver, steps)?.modes(model, data, tolerance)
}

#[test]
fn a_noise_narrower_than_any_grid_is_refused_and_a_narrow_one_resolved() -> Outcome {
    let data = mixture([(0.3, -1.5, 0.05), (0.7, 1.0, 0.1)])?;
    for eta in [1e-3, 1e-6, 1e-12] {
        let refused = report(&FirstOrder::new(Kappa::Eta(eta)), 8, &data, 1e-6);
        assert!(
            matches!(
                refused,
                Err(RunError::Sampler(Error::ModesUnsupported { found, .. })) if found > 16384
            ),
            "{eta}: {refused:?}"
        );
    }
    // A hundredth of DDPM's noise is of no account: the result is DDIM's but for its square.
    let ddim = report(&FirstOrder::ddim(), 8, &data, 1e-9)?;
    let narrow = report(&FirstOrder::new(Kappa::Eta(2e-3)), 8, &data, 1e-6)?;
    assert!((ddim.masses()[0] - narrow.masses()[0]).abs() < 1e-6);
    let sum: f64 = narrow.points().1.iter().sum();
    assert!((sum - 1.0).abs() <= narrow.error() && narrow.error() < 1e-2);
    Ok(())
}

/// What DDIM's steps, written out, put into mode 1 from z in \[0, 3\]: the midpoint rule.
fn by_hand(levels: &[NoiseLevel], parts: [(f64, f64, f64); 2]) -> f64 {
    let shares = |x: f64, alpha: f64, sigma: f64| {
        let density = |(w, m, v): (f64, f64, f64)| {
            let s = alpha * alpha * v + sigma * sigma;
            w * (-0.5 * (x - alpha * m).powi(2) / s).exp() / s.sqrt()
        };
        let [a, b] = parts.map(density);
        b / (a + b)
    };
    let run = |start: f64| {
        levels.windows(2).fold(start, |x, pair| {
            let (alpha, sigma) = (pair[0].alpha(), pair[0].sigma());
            let mean = |(_, m, v): (f64, f64, f64)| {
                m + alpha * v / (alpha * alpha * v + sigma * sigma) * (x - alpha * m)
            };
            let [a, b] = parts.map(mean);
            let share = shares(x, alpha, sigma);
            let data = a + share * (b - a);
            pair[1].alpha() * data + pair[1].sigma() / sigma * (x - alpha * data)
        })
    };
    let nodes = 60_000;
    let width = 3.0 / f64::from(nodes);
    let masses = (0..nodes).map(|k| {
        let z = width * (f64::from(k) + 0.5);
        let density = (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
        width * density * shares(run(z), 1.0, 0.0)
    });
    masses.sum()
}

#[test]
fn a_mode_narrower_than_the_points_is_found_or_counts_as_error() -> Outcome {
    let parts = [(0.99, 0.0, 1.0), (0.01, 1.3, 1e-8)];
    let data = mixture(parts)?;
    let found = report(&FirstOrder::ddim(), 50, &data, 1e-6)?;
    let at = sampler(&FirstOrder::ddim(), 50)?;
    let mut levels = vec![at.plan().start()];
    levels.extend(at.plan().steps().iter().map(|step| step.to));
    let expected = by_hand(&levels, parts);
    assert!(expected > 1e-4, "{expected:e}");
    let miss = (found.masses()[1] - expected).abs();
    assert!(miss < 1e-6, "{:e} {expected:e}", found.masses()[1]);
    // An even grid's nodes lie on both sides of it: what is between them is not known.
    let coarse = report(&FirstOrder::ddpm(), 50, &data, 2e-2)?;
    assert!(coarse.error() > 1e-3, "{:e}", coarse.error());
    Ok(())
}

#[test]
fn the_error_of_distances_is_of_their_size_however_loose_the_tolerance() -> Outcome {
    // W₁'s integrand has corners, so that what it moved by last bounds its error to a factor only.
    let data = mixture([(0.3, -1.5, 0.05), (0.7, 1.0, 0.1)])?;
    let truth = report(&FirstOrder::ddim(), 5, &data, 1e-10)?;
    let unit = (data.moments().unwrap().1[[0, 0]] + data.moments().unwrap().0[0].powi(2)).sqrt();
    for tolerance in [1.0, 1e-1, 1e-2, 1e-4] {
        let loose = report(&FirstOrder::ddim(), 5, &data, tolerance)?;
        let pairs = loose.wasserstein().into_iter().flatten();
        for (a, b) in pairs.zip(truth.wasserstein().into_iter().flatten()) {
            let miss = (a - b).abs() / unit;
            assert!(
                miss <= 4.0 * loose.distance_error(),
                "{tolerance:e}: {miss:e} {:e}",
                loose.distance_error()
            );
        }
    }
    Ok(())
}

#[test]
fn an_order_of_what_has_no_relative_error_is_not_a_number() -> Outcome {
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let grid = |steps: usize| Grid::trailing(&schedule, steps);
    // 0/0 at the clean end, beside an axis with an error of its own.
    let data = Gaussian::diagonal(&[0.0, 0.0], &[0.0, 1.5])?;
    let order = weak_order(&FirstOrder::ddim(), &schedule, grid, &data, 10)?;
    assert!(order.errors[0][0].is_nan() && order.errors[0][1] != 0.0);
    assert!(order.slope().is_nan(), "{}", order.slope());
    Ok(())
}

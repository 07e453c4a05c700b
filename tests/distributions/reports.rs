//! Reports by step, and the weak order as a call.

use diffusion_sampler::{
    Clip, Error, Grid, Prediction, Sampler,
    guidance::ClassifierFree,
    moments::{GuidedGaussian, weak_errors, weak_order},
    oracle::{Gaussian, Oracle, frechet_distance},
    plan::{Plan, Step, Update},
    schedule::{NoiseSchedule, RectifiedFlow, TableSchedule, VariancePreserving},
    solver::{DpmSolverPlusPlus, FirstOrder, Path, Solver},
};

use super::common::{Outcome, gaussians};

#[test]
fn a_report_holds_every_step_beside_the_truth_at_its_level() -> Outcome {
    let data = &gaussians()?[0];
    let schedule = TableSchedule::linear(1000, 1e-4, 0.02)?;
    let grid = Grid::trailing(&schedule, 8)?;
    let sampler = Sampler::new(&schedule, &grid, &DpmSolverPlusPlus::new())?;
    let report = sampler.moment_report(data)?;
    let states = sampler.moments(data)?;
    assert_eq!(report.steps().len(), 8);
    assert_eq!(report.start().state, Gaussian::centred(3, 1.0)?);
    for ((step, state), level) in report.steps().iter().zip(&states).zip(&grid.levels()[1..]) {
        assert_eq!((&step.state, step.level), (state, *level));
        let ((m, c), (n, e)) = (
            state.moments().unwrap(),
            data.at_level(level)?.moments().unwrap(),
        );
        let squared = frechet_distance(&m, &c, &n, &e)?;
        assert!((step.wasserstein - squared.sqrt()).abs() < 1e-7);
        let kl = step.kl.ok_or("both have densities")?;
        assert!((kl - state.kl(&data.at_level(level)?)?).abs() < 1e-15 && kl > 0.0);
    }
    let text = report.to_string();
    assert_eq!(text.lines().count(), 1 + 1 + 8);
    assert!(
        text.lines()
            .nth(1)
            .is_some_and(|line| line.contains("start"))
    );
    // Without a density there is no KL, and the table says so.
    let point = sampler.moment_report(&Gaussian::isotropic(&[1.0], 0.0)?)?;
    assert_eq!(point.last().kl, None);
    assert!(point.last().wasserstein < 1e-12);
    assert!(point.to_string().trim_end().ends_with('-'));
    let clipped = sampler.with_clip(Clip::new(-1.0, 1.0)?);
    assert_eq!(clipped.moment_report(data), Err(Error::ClippedMoments));
    Ok(())
}

#[test]
fn a_guided_report_falls_to_the_guided_flow_at_second_order() -> Outcome {
    let class = Gaussian::isotropic(&[1.0], 0.25)?;
    let all = Gaussian::isotropic(&[0.0], 1.0)?;
    let exact = GuidedGaussian::classifier_free(2.0, class.clone(), all.clone())?;
    let schedule = VariancePreserving::default();
    let last = |steps: usize| -> Result<f64, Error> {
        let lambdas: Vec<f64> = (0..=steps)
            .map(|k| -4.0 + 8.0 * k as f64 / steps as f64)
            .collect();
        let grid = Grid::from_lambdas(&schedule, &lambdas)?;
        let sampler = Sampler::new(&schedule, &grid, &DpmSolverPlusPlus::new())?;
        let initial = Gaussian::centred(1, sampler.start_variance())?;
        let report = sampler.guided_moment_report(
            &ClassifierFree::with_scale(3.0)?,
            Prediction::Noise,
            &[class.clone(), all.clone()],
            |level| exact.flow(&initial, &grid.start(), level),
        )?;
        assert_eq!(report.start().wasserstein, 0.0);
        Ok(report.last().wasserstein)
    };
    let slope = (last(160)? / last(320)?).log2();
    assert!((slope - 2.0).abs() < 0.1, "{slope}");
    Ok(())
}

/// Euler's step with a noise of the right variance but for a term of second order: of weak order 1,
/// a solver of a user's.
#[derive(Debug)]
struct OwnSolver;

impl Solver for OwnSolver {
    fn order(&self) -> usize {
        1
    }

    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let steps = path.grid().levels().windows(2).map(|pair| {
            let (from, to) = (pair[0], pair[1]);
            let ratio = to.sigma() * from.alpha() / (from.sigma() * to.alpha());
            let update = Update {
                state: to.sigma() / from.sigma() * ratio,
                data: to.alpha() * (1.0 - ratio * ratio),
                noise: to.sigma() * (1.0 - ratio * ratio).sqrt(),
                ..Update::default()
            };
            Step::simple(from, to, update)
        });
        Plan::new(steps.collect(), 0)
    }
}

#[test]
fn weak_orders_of_own_and_built_in_solvers() -> Outcome {
    let schedule = VariancePreserving::default();
    let grid = |steps: usize| {
        let lambdas: Vec<f64> = (0..=steps)
            .map(|k| -3.0 + 6.0 * k as f64 / steps as f64)
            .collect();
        Grid::from_lambdas(&schedule, &lambdas)
    };
    let data = Gaussian::diagonal(&[0.5, 0.0, -1.0, 0.2], &[0.05, 0.3, 1.0, 3.0])?;
    let sde = DpmSolverPlusPlus::new().with_tau(1.0)?;
    let solvers: [(&dyn Solver, f64); 3] =
        [(&FirstOrder::ddpm(), 1.0), (&sde, 2.0), (&OwnSolver, 1.0)];
    for (solver, expected) in solvers {
        let order = weak_order(solver, &schedule, grid, &data, 160)?;
        assert_eq!(order.steps, [160, 320]);
        assert!(
            (order.slope() - expected).abs() < 0.1,
            "{solver:?}: {}",
            order.slope()
        );
    }
    // The exact sampler of this data has no error: v(K)/v − 1, beside what moments say themselves.
    let at = grid(7)?;
    let path = Path::new(&schedule, &at)?;
    let errors = weak_errors(&FirstOrder::ddpm(), &path, &data)?;
    assert_eq!(errors.len(), 8);
    let plan = FirstOrder::ddpm().plan(&path)?;
    let states = plan.moments(&data, &data.at_level(&at.start())?)?;
    let exact = data.at_level(&at.end())?;
    for axis in 0..4 {
        let expected = states[6].variances()[axis] / exact.variances()[axis] - 1.0;
        assert!((errors[axis] - expected).abs() < 1e-15);
        let miss = (states[6].mean()[axis] - exact.mean()[axis]) / exact.variances()[axis].sqrt();
        assert!((errors[4 + axis] - miss).abs() < 1e-15);
    }
    Ok(())
}

#[test]
fn a_report_of_pure_noise_starts_exactly() -> Outcome {
    let flow = RectifiedFlow::new();
    let sampler = Sampler::new(&flow, &Grid::trailing(&flow, 3)?, &FirstOrder::ddim())?;
    let report = sampler.moment_report(&gaussians()?[1])?;
    assert!(report.start().wasserstein < 1e-15);
    assert!(flow.level(1.0)?.alpha() == 0.0);
    Ok(())
}

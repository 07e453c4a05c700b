//! Row 11: the analytic variance of each direction samples Gaussian data exactly.

use diffusion_sampler::{
    Error, Grid, NoiseLevel,
    noise::NoiseScales,
    oracle::Gaussian,
    plan::Plan,
    posterior::{
        AnalyticVariance, DataErrors, DiagonalVariance, ElementErrors, Kappa, StridedPosterior,
    },
    schedule::{NoiseSchedule, RectifiedFlow, VarianceExploding},
    solver::{FirstOrder, Path, Solver},
};
use rand::Rng;

use crate::common::{
    Outcome, kappas, linear, near, posterior_variance, random_grid, rng, scalar_errors,
};

#[test]
fn one_direction_has_its_exact_distribution_after_every_step() -> Outcome {
    let mut rng = rng(11);
    let schedule = linear()?;
    for steps in [1, 2, 3, 7, 20] {
        for kappa in kappas() {
            let grid = random_grid(&mut rng, steps)?;
            let v = 10f64.powf(rng.random_range(-4.0..1.0));
            let mean = rng.random_range(-3.0..3.0);
            let variance = AnalyticVariance::new(scalar_errors(v, &grid)?)?.with_final_noise();
            let solver = FirstOrder::new(kappa).with_analytic_variance(variance);
            let plan = solver.plan(&Path::new(&schedule, &grid)?)?;
            let data = Gaussian::isotropic(&[mean], v)?;
            let initial = data.at_level(&grid.start())?;
            for (state, step) in plan.moments(&data, &initial)?.iter().zip(plan.steps()) {
                let (alpha, sigma) = (step.to.alpha(), step.to.sigma());
                near(
                    state.variances()[0],
                    alpha * alpha * v + sigma * sigma,
                    1e-12,
                );
                near(state.mean()[0], alpha * mean, 1e-12);
            }
        }
    }
    Ok(())
}

#[test]
fn without_noise_onto_the_clean_end_the_variance_falls_short_by_that_of_x0_given_the_last_state()
-> Outcome {
    let schedule = linear()?;
    let grid = Grid::from_times(&schedule, &[1000.0, 300.0, 0.0])?;
    let v = 0.7;
    let variance = AnalyticVariance::new(scalar_errors(v, &grid)?)?;
    let solver = FirstOrder::ddpm().with_analytic_variance(variance);
    let plan = solver.plan(&Path::new(&schedule, &grid)?)?;
    assert_eq!(plan.steps()[1].stages[0].update.noise, 0.0);
    let data = Gaussian::isotropic(&[0.0], v)?;
    let states = plan.moments(&data, &data.at_level(&grid.start())?)?;
    let missing = posterior_variance(v, &grid.levels()[1]);
    near(states[1].variances()[0], v - missing, 1e-12);
    Ok(())
}

fn diagonal(
    kappa: Kappa,
    grid: &Grid,
    v: &[f64],
) -> Result<(Plan, NoiseScales), Box<dyn std::error::Error>> {
    let data = Gaussian::diagonal(&vec![0.0; v.len()], v)?;
    let errors = data.element_errors(&grid.levels()[..grid.steps()])?;
    let variance = DiagonalVariance::new(errors).with_final_noise();
    let path = Path::without_schedule(grid);
    Ok(FirstOrder::new(kappa).plan_diagonal(&path, &variance)?)
}

#[test]
fn the_scaled_noise_of_each_element_is_that_of_its_own_direction() -> Outcome {
    let mut rng = rng(12);
    let v = [2.0, 0.3, 1e-3];
    for kappa in kappas() {
        let grid = random_grid(&mut rng, 6)?;
        let (plan, scales) = diagonal(kappa, &grid, &v)?;
        assert_eq!((scales.dim(), scales.steps()), (3, 6));
        for (index, step) in plan.steps().iter().enumerate() {
            let noise = step.stages[0].update.noise;
            let factors = scales.step(index).ok_or("a step without factors")?;
            let q = StridedPosterior::new(step.from, step.to, kappa)?;
            for (factor, &v) in factors.iter().zip(&v) {
                let c = q.data_coefficient();
                let own = q.variance() + c * c * posterior_variance(v, &step.from);
                near(noise * factor, own.sqrt(), 1e-14);
            }
            // The mean of the squared factors is 1: the plan's noise is the mean variance's.
            let mean: f64 = factors.iter().map(|f| f * f).sum::<f64>() / 3.0;
            near(mean, 1.0, 1e-14);
        }
    }
    Ok(())
}

#[test]
fn equal_elements_make_the_isotropic_plan() -> Outcome {
    let grid = random_grid(&mut rng(13), 5)?;
    let errors = Gaussian::isotropic(&[0.0; 4], 0.6)?.element_errors(&grid.levels()[..5])?;
    let total = AnalyticVariance::new(errors.total()?)?;
    let path = Path::without_schedule(&grid);
    let isotropic = FirstOrder::ddpm()
        .with_analytic_variance(total)
        .plan(&path)?;
    let (plan, scales) = FirstOrder::ddpm().plan_diagonal(&path, &DiagonalVariance::new(errors))?;
    for (index, (a, b)) in isotropic.steps().iter().zip(plan.steps()).enumerate() {
        let noise = |step: &diffusion_sampler::plan::Step| step.stages[0].update.noise;
        assert!((noise(a) - noise(b)).abs() <= 1e-15);
        let factors = scales.step(index).ok_or("a step without factors")?;
        assert!(factors.iter().all(|factor| (factor - 1.0).abs() <= 1e-15));
    }
    Ok(())
}

#[test]
fn the_networks_second_moment_gives_the_same_variance_as_its_error() -> Outcome {
    // Gaussian data: E = σ(x − αm)/(α²v + σ²), so that E|E|²/d = σ²/(α²v + σ²).
    let v = 0.37;
    let levels: Vec<NoiseLevel> = random_grid(&mut rng(14), 9)?.levels()[..9].to_vec();
    let moment = |level: &NoiseLevel| {
        let sigma = level.sigma() * level.sigma();
        sigma / (level.alpha() * level.alpha() * v + sigma)
    };
    let moments: Vec<f64> = levels.iter().map(moment).collect();
    let variance = AnalyticVariance::from_noise_moments(3, levels.clone(), &moments)?;
    for level in &levels {
        // 1 − m loses digits as α falls: at α² = 4e-5 four of them.
        near(
            variance.mean_error(level)?,
            posterior_variance(v, level),
            1e-10,
        );
    }
    Ok(())
}

#[test]
fn bounds_of_the_data_clip_the_error_and_nothing_else() -> Outcome {
    let levels = vec![crate::common::knot(900.0)?, crate::common::knot(100.0)?];
    // M/d = ρ²(1 − m): 8.9e3·0.5 at the noisy level, 0.12·0.5 at the other; m > 1 gives 0.
    let variance = AnalyticVariance::from_noise_moments(2, levels.clone(), &[0.5, 0.5])?;
    let bounded = variance.clone().bounded(-1.0, 1.0)?;
    assert!(variance.mean_error(&levels[0])? > 1.0);
    assert_eq!(bounded.mean_error(&levels[0])?, 1.0);
    let free = variance.mean_error(&levels[1])?;
    near(free, 0.5 * levels[1].rho().powi(2), 1e-15);
    assert_eq!(bounded.mean_error(&levels[1])?, free);
    assert_eq!(
        variance.clone().bounded(0.0, 0.5)?.mean_error(&levels[0])?,
        0.0625
    );
    let beyond = AnalyticVariance::from_noise_moments(2, levels.clone(), &[1.5, 0.5])?;
    assert_eq!(beyond.mean_error(&levels[0])?, 0.0);
    Ok(())
}

#[test]
fn the_bounds_are_those_of_the_published_code() -> Outcome {
    // reverse_ddpm_ms_eps of the authors' repository, with its names: neighbouring and strided
    // knots.
    let (t, s) = (crate::common::knot(700.0)?, crate::common::knot(450.0)?);
    let (cum_alpha_r, cum_alpha_s) = (t.alpha().powi(2), s.alpha().powi(2));
    let (cum_beta_r, cum_beta_s) = (1.0 - cum_alpha_r, 1.0 - cum_alpha_s);
    let skip_beta = 1.0 - cum_alpha_r / cum_alpha_s;
    let q = StridedPosterior::new(t, s, Kappa::Ddpm)?;
    for ms_eps in [0.0, 0.3, 0.9999, 1.2] {
        let cov = (cum_beta_r / cum_alpha_r * (1.0 - ms_eps)).clamp(0.0, 1.0);
        let coefficient = cum_alpha_s * skip_beta.powi(2) / cum_beta_r.powi(2);
        let sigma2 = skip_beta * cum_beta_s / cum_beta_r + coefficient * cov;
        let variance = AnalyticVariance::from_noise_moments(7, vec![t], &[ms_eps])?;
        near(variance.bounded(-1.0, 1.0)?.of(&q)?, sigma2, 1e-12);
    }
    Ok(())
}

#[test]
fn errors_of_correlated_data_are_the_diagonal_of_the_posterior_covariance() -> Outcome {
    let covariance = ndarray::array![[1.0, 0.6], [0.6, 0.5]];
    let data = Gaussian::new(&[1.0, 0.0], &covariance)?;
    let level = crate::common::knot(400.0)?;
    // (C⁻¹ + snr I)⁻¹ by Cramer's rule.
    let det = 1.0 * 0.5 - 0.36;
    let (a, b, d) = (0.5 / det + level.snr(), -0.6 / det, 1.0 / det + level.snr());
    let inverse = a * d - b * b;
    let errors = data.element_errors(&[level])?;
    near(errors.errors()[0], d / inverse, 1e-13);
    near(errors.errors()[1], a / inverse, 1e-13);
    near(errors.total()?.errors()[0], (a + d) / inverse, 1e-13);
    Ok(())
}

#[test]
fn errors_between_listed_levels_are_interpolated_element_by_element() -> Outcome {
    let (t, s) = (crate::common::knot(600.0)?, crate::common::knot(500.0)?);
    let errors = ElementErrors::new(2, vec![t, s], vec![4.0, 0.0, 1.0, 1.0])?;
    // A quarter of the way: 4^(3/4), and 1/4.
    let lambda = 0.75 * t.lambda() + 0.25 * s.lambda();
    let schedule = linear()?;
    let middle =
        Path::new(&schedule, &Grid::from_times(&schedule, &[600.0, 500.0])?)?.at_lambda(lambda)?;
    let at = errors.at(&middle)?;
    near(at[0], 4f64.powf(0.75), 1e-9);
    near(at[1], 0.25, 1e-9);
    let table = DataErrors::new(1, 0.0, vec![t, s], vec![4.0, 1.0])?;
    near(table.at(&middle)?, at[0], 1e-15);
    assert_eq!(errors.at(&s)?, [1.0, 1.0]);
    Ok(())
}

#[test]
fn every_schedule_has_its_exact_distribution() -> Outcome {
    let zero = linear()?.zero_terminal_snr()?;
    let flow = RectifiedFlow::new();
    let exploding = VarianceExploding::new(0.01, 50.0)?;
    let cases: [(&dyn NoiseSchedule, Vec<f64>); 3] = [
        (&zero, vec![1000.0, 700.0, 20.0, 0.0]),
        (&flow, vec![1.0, 0.6, 0.1, 0.0]),
        (&exploding, vec![1.0, 0.5, 0.2]),
    ];
    for (schedule, times) in cases {
        let grid = Grid::from_times(&schedule, &times)?;
        for kappa in kappas() {
            for v in [0.01, 0.7, 9.0] {
                let variance = AnalyticVariance::new(scalar_errors(v, &grid)?)?.with_final_noise();
                let solver = FirstOrder::new(kappa).with_analytic_variance(variance);
                let plan = solver.plan(&Path::new(&schedule, &grid)?)?;
                let data = Gaussian::isotropic(&[-0.4], v)?;
                let states = plan.moments(&data, &data.at_level(&grid.start())?)?;
                for (state, step) in states.iter().zip(plan.steps()) {
                    let (alpha, sigma) = (step.to.alpha(), step.to.sigma());
                    let expected = alpha * alpha * v + sigma * sigma;
                    near(state.variances()[0], expected, 1e-12);
                }
            }
        }
    }
    Ok(())
}

#[test]
fn of_two_levels_within_the_tolerance_the_nearer_one_serves() -> Outcome {
    // λ = 5 and 5 + 4e-9: the same to 1e-9 of λ.
    let level = |lambda: f64| NoiseLevel::new(lambda, lambda.exp(), 1.0);
    let (a, b) = (level(5.0)?, level(5.0 + 4e-9)?);
    assert!(b.lambda() > a.lambda());
    let elements = ElementErrors::new(2, vec![a, b], vec![4.0, 3.0, 2.0, 1.0])?;
    assert_eq!(elements.at(&a)?, [4.0, 3.0]);
    assert_eq!(elements.at(&b)?, [2.0, 1.0]);
    let table = DataErrors::new(1, 0.0, vec![a, b], vec![4.0, 2.0])?;
    assert_eq!((table.at(&a)?, table.at(&b)?), (4.0, 2.0));
    // Within 5e-9 of the last one a level is that one, beyond it there is none.
    assert_eq!(table.at(&level(5.0 + 7e-9)?)?, 2.0);
    assert!(matches!(
        table.at(&level(5.0 + 1.2e-8)?),
        Err(Error::LambdaOutOfRange { .. })
    ));
    Ok(())
}

#[test]
fn no_elements_and_variances_beyond_all_numbers_are_errors() -> Outcome {
    let grid = Grid::from_times(&linear()?, &[1000.0, 500.0, 0.0])?;
    let levels = grid.levels()[..2].to_vec();
    let path = Path::without_schedule(&grid);
    let none = DiagonalVariance::new(ElementErrors::new(0, levels.clone(), vec![])?);
    let refused = FirstOrder::ddpm().plan_diagonal(&path, &none);
    assert!(matches!(refused, Err(Error::InvalidParameter { .. })));
    // Each is a number; their sum is none.
    let huge = ElementErrors::new(3, levels, vec![1e308; 6])?;
    assert!(matches!(huge.total(), Err(Error::InvalidEntry { .. })));
    let variance = DiagonalVariance::new(huge).with_final_noise();
    let refused = FirstOrder::ddpm().plan_diagonal(&path, &variance);
    assert!(refused.is_err(), "{refused:?}");
    Ok(())
}

//! Orders of convergence from a start that costs nothing: from λ = −9 the estimates hardly change at
//! first, so that a ramp of orders does not show. On Gaussians, by exact moments.

use std::error::Error;

use diffusion_sampler::{
    Grid, NoiseLevel,
    oracle::Gaussian,
    solver::{
        Deis, DpmSolver, ErNoise, ErSde, GroupedSinglestep, Ipndm, LinearMultistep, Path, Solver,
    },
};

use crate::common::Outcome;

/// The largest relative error of the variance at λ = 3, `bent` or even steps in λ.
fn error(solver: &dyn Solver, steps: usize, bent: f64) -> Result<f64, Box<dyn Error>> {
    let data = Gaussian::diagonal(&[0.0; 4], &[0.05, 0.3, 1.0, 3.0])?;
    let level = |k: usize| {
        let u = k as f64 / steps as f64;
        let lambda = -9.0 + 12.0 * (u + bent * (6.0 * u).sin() / 6.0);
        let log_alpha_squared = -(-2.0 * lambda).exp().ln_1p();
        NoiseLevel::variance_preserving((steps - k) as f64, log_alpha_squared)
    };
    let levels = (0..=steps).map(level).collect::<Result<_, _>>()?;
    let grid = Grid::from_levels(levels, 1.0)?;
    let plan = solver.plan(&Path::without_schedule(&grid))?;
    let laws = plan.moments(&data, &data.at_level(&grid.start())?)?;
    let exact = data.at_level(&grid.end())?;
    let pairs = laws[steps - 1].variances().iter().zip(exact.variances());
    Ok(pairs.map(|(v, w)| (v / w - 1.0).abs()).fold(0.0, f64::max))
}

fn order(solver: &dyn Solver, bent: f64) -> Result<f64, Box<dyn Error>> {
    let found = (error(solver, 320, bent)? / error(solver, 640, bent)?).log2();
    Ok(found)
}

#[test]
fn extrapolation_along_a_noisy_path_has_weak_order_two() -> Outcome {
    for (noise, expected) in [(ErNoise::Sde, 2.0), (ErNoise::Ode, 3.0)] {
        let solver = ErSde::order(3)?.with_noise(noise)?;
        let found = order(&solver, 0.0)?;
        assert!((found - expected).abs() < 0.1, "{noise:?}: {found}");
        assert_eq!(solver.order() as f64, expected);
    }
    Ok(())
}

#[test]
fn published_forms_of_the_third_and_fourth_order_are_not_of_that_order() -> Outcome {
    let third = ErSde::order(3)?.with_noise(ErNoise::Ode)?.as_published();
    let fourth = Ipndm::order(4)?;
    let published = fourth.variable_steps_as_published();
    let cases: [(&dyn Solver, f64, f64); 7] = [
        (&third, 0.0, 2.0),
        (&third, 0.3, 2.0),
        (&fourth, 0.0, 2.0),
        (&published, 0.0, 3.0),
        (&published, 0.3, 2.0),
        (&Ipndm::order(3)?.variable_steps_as_published(), 0.3, 3.0),
        (&fourth.variable_steps(), 0.3, 4.0),
    ];
    for (solver, bent, expected) in cases {
        let found = order(solver, bent)?;
        assert!(
            (found - expected).abs() < 0.3,
            "{solver:?}, {bent}: {found}"
        );
    }
    Ok(())
}

#[test]
fn even_and_published_weights_are_of_the_second_order_but_for_the_published_third() -> Outcome {
    for k in 1..=4 {
        let solver = Ipndm::order(k)?;
        assert_eq!(solver.order(), k.min(2));
        assert_eq!(solver.variable_steps().order(), k);
        let published = solver.variable_steps_as_published();
        assert_eq!(published.order(), [1, 2, 3, 2][k - 1]);
    }
    Ok(())
}

/// What a solver says of its own order: noise takes the third away, and does not add to the first two.
#[test]
fn noise_in_noise_form_leaves_the_second_order() -> Outcome {
    for k in 1..=3 {
        let solver = DpmSolver::multistep(k)?;
        assert_eq!(solver.order(), k);
        assert_eq!(solver.with_tau(0.5)?.order(), k.min(2));
        assert_eq!(solver.as_published().order(), k.min(2));
    }
    Ok(())
}

#[test]
fn interpolating_rules_keep_their_order_on_uneven_steps() -> Outcome {
    for k in 2..=4 {
        let solvers: [&dyn Solver; 2] = [&LinearMultistep::order(k)?, &Deis::tab(k)?];
        for solver in solvers {
            let found = order(solver, 0.3)?;
            assert!((found - k as f64).abs() < 0.2, "{solver:?}: {found}");
        }
    }
    Ok(())
}

#[test]
fn groups_that_end_with_lower_orders_are_of_second_order() -> Outcome {
    for solver in [GroupedSinglestep::order(2)?, GroupedSinglestep::order(3)?] {
        let solver = solver.lower_order_final();
        // Whole groups: how a list ends is the same in both.
        let found = (error(&solver, 384, 0.0)? / error(&solver, 768, 0.0)?).log2();
        assert!((found - 2.0).abs() < 0.3, "{solver:?}: {found}");
        assert_eq!(solver.order(), 2, "{solver:?}");
    }
    Ok(())
}

//! Ends of schedules, one step, no elements.

use diffusion_sampler::{
    Grid, Prediction,
    likelihood::{Decoder, EdgeCosts, EdgeVariance, Elbo, Measurement},
    oracle::{Gaussian, Oracle},
    posterior::{DataErrors, Kappa, ReverseVariance},
    schedule::RectifiedFlow,
    solver::{FirstOrder, Path, Solver},
};
use rand::{SeedableRng, rngs::SmallRng};

use super::common::{Outcome, gaussian, table};

const POSTERIOR: EdgeVariance = EdgeVariance::Policy(ReverseVariance::Posterior);
const BEST: Decoder = Decoder::GaussianOptimal;

#[test]
fn a_chain_from_pure_noise_has_no_prior_to_pay_and_finite_edges() -> Outcome {
    let table = table()?.zero_terminal_snr()?;
    let (of_table, of_flow) = (
        Grid::trailing(&table, 12)?,
        Grid::trailing(&RectifiedFlow::new(), 12)?,
    );
    for grid in [of_table, of_flow] {
        assert_eq!(grid.start().alpha(), 0.0);
        let data = gaussian()?;
        let errors = DataErrors::of_gaussian(&data, &grid)?;
        // Nothing is known there but the mean.
        let total: f64 = data.variances().iter().sum();
        assert!((errors.errors()[0] / total - 1.0).abs() < 1e-15);
        assert_eq!(errors.noise_moments().ok_or("no moments")?[0], 1.0);
        let measured = Measurement::at(&grid).unwrap().of(
            &data.sample(500, &mut SmallRng::seed_from_u64(4))?,
            &mut (&data).denoiser(Prediction::Velocity),
        )?;
        let z = (measured.errors().errors()[0] - total) / measured.errors().standard_errors()[0];
        assert!(z.abs() < 4.0, "{z}");
        for variance in [POSTERIOR, EdgeVariance::Optimal] {
            let costs = EdgeCosts::new(&grid, Kappa::Ddpm, variance, &errors, BEST)?;
            assert!(costs.prior(0).ok_or("no prior")?.abs() < 1e-15);
            for to in 1..12 {
                // (snr_s − 0)/2 for one unit of error, at κ = r = 0.
                let level = costs.levels()[to];
                let omega = 0.5 * level.snr();
                let m = errors.errors()[0];
                let expected = match variance {
                    EdgeVariance::Optimal => 1.5 * (2.0 * omega * m / 3.0).ln_1p(),
                    _ => omega * m,
                };
                let found = costs.edge(0, to).ok_or("no edge")?;
                assert!((found / expected - 1.0).abs() < 1e-13, "{found} {expected}");
            }
        }
        // The plan of such a chain.
        let plan = FirstOrder::ddpm().plan(&Path::without_schedule(&grid))?;
        let (elbo, along) = (Elbo::of_plan(&plan, 1.0)?, errors.along(&grid)?);
        let found = elbo.evaluate(3, &along, errors.second_moment(), BEST)?;
        let direct = Elbo::new(&grid, Kappa::Ddpm, POSTERIOR)?;
        let expected = direct.evaluate(3, &along, errors.second_moment(), BEST)?;
        assert!((found.nats() - expected.nats()).abs() < 1e-9 * expected.nats().abs().max(1.0));
    }
    Ok(())
}

#[test]
fn samples_of_no_elements_cost_nothing() -> Outcome {
    let grid = Grid::trailing(&table()?, 4)?;
    let errors = DataErrors::new(0, 0.0, grid.levels()[..4].to_vec(), vec![0.0; 4])?;
    for variance in [POSTERIOR, EdgeVariance::Optimal] {
        let costs = EdgeCosts::new(&grid, Kappa::Ddpm, variance, &errors, BEST)?;
        let strides = costs.cheapest().unwrap();
        for steps in 1..=4 {
            let bound = strides.bound(steps)?;
            assert_eq!((bound.nats(), bound.bits_per_dimension()), (0.0, 0.0));
        }
    }
    Ok(())
}

#[test]
fn one_step_is_a_prior_and_a_decoder() -> Outcome {
    let grid = Grid::trailing(&table()?, 1)?;
    let data = Gaussian::centred(2, 0.5)?;
    let errors = DataErrors::of_gaussian(&data, &grid)?;
    let elbo = Elbo::of_plan(
        &FirstOrder::ddim().plan(&Path::without_schedule(&grid))?,
        1.0,
    )?;
    assert!(elbo.edges().is_empty());
    let bound = elbo.evaluate(2, &errors.along(&grid)?, errors.second_moment(), BEST)?;
    // Hardly anything is known at the noisy end: the entropy of the data itself.
    let level = grid.start();
    let v = 0.5 * level.sigma().powi(2) / (0.5 * level.alpha().powi(2) + level.sigma().powi(2));
    let decoder = (std::f64::consts::TAU * std::f64::consts::E * v).ln();
    assert!((bound.decoder - decoder).abs() < 1e-14);
    Ok(())
}

//! The analytic variances are those of least cost.

use diffusion_sampler::{
    Grid,
    likelihood::{Decoder, EdgeVariance, Elbo},
    oracle::Gaussian,
    posterior::{AnalyticVariance, DataErrors, DiagonalVariance, Kappa, StridedPosterior},
};

use crate::common::{Outcome, kappas, knot, linear, near};

const EDGES: [(f64, f64); 3] = [(1000.0, 700.0), (500.0, 499.0), (40.0, 3.0)];

#[test]
fn no_isotropic_variance_costs_less() -> Outcome {
    for (from, to) in EDGES {
        for kappa in kappas().into_iter().filter(|kappa| *kappa != Kappa::Ddim) {
            let q = StridedPosterior::new(knot(from)?, knot(to)?, kappa)?;
            let (dim, error) = (3, 0.8 * q.from().sigma());
            let table = DataErrors::new(dim, 1.0, vec![q.from()], vec![error])?;
            let best = AnalyticVariance::new(table)?.of(&q)?;
            let least = q.kl(dim, error, best)?;
            // The cost is flat at its least: 1e-3 away it is higher by 1e-6·d/4, far above
            // rounding.
            for k in 1..400 {
                let away = 1e-3 * 1.02f64.powi(k);
                assert!(q.kl(dim, error, best * (1.0 + away))? > least);
                assert!(q.kl(dim, error, best / (1.0 + away))? > least);
            }
        }
    }
    Ok(())
}

#[test]
fn a_search_for_the_best_variance_finds_the_analytic_one() -> Outcome {
    for (from, to) in EDGES {
        let q = StridedPosterior::new(knot(from)?, knot(to)?, Kappa::Eta(0.8))?;
        let (dim, error) = (5, 1.3 * q.from().sigma());
        let table = DataErrors::new(dim, 1.0, vec![q.from()], vec![error])?;
        let best = AnalyticVariance::new(table)?.of(&q)?;
        // Golden section on ln v; a flat least is found to about the root of the rounding.
        let ratio = 0.5 * (5f64.sqrt() - 1.0);
        let (mut low, mut high) = ((1e-8f64).ln(), 10f64.ln());
        for _ in 0..100 {
            let (a, b) = (high - ratio * (high - low), low + ratio * (high - low));
            if q.kl(dim, error, a.exp())? < q.kl(dim, error, b.exp())? {
                high = b;
            } else {
                low = a;
            }
        }
        near((0.5 * (low + high)).exp(), best, 1e-6);
    }
    Ok(())
}

#[test]
fn no_variance_of_an_element_costs_less_and_all_of_them_no_more_than_one_for_all() -> Outcome {
    let data = Gaussian::diagonal(&[0.0; 3], &[1.5, 0.2, 0.004])?;
    for (from, to) in EDGES {
        let q = StridedPosterior::new(knot(from)?, knot(to)?, Kappa::Ddpm)?;
        let errors = data.element_errors(&[q.from()])?;
        let best = DiagonalVariance::new(errors.clone()).of(&q)?;
        let least = q.kl_by_element(errors.errors(), &best)?;
        for element in 0..3 {
            for factor in [0.5, 0.99, 1.01, 2.0] {
                let mut other = best.clone();
                other[element] *= factor;
                assert!(q.kl_by_element(errors.errors(), &other)? > least);
            }
        }
        let one = AnalyticVariance::new(errors.total()?)?.of(&q)?;
        assert!(q.kl_by_element(errors.errors(), &[one; 3])? >= least);
    }
    Ok(())
}

#[test]
fn the_cost_by_element_is_the_kl_of_two_gaussians() -> Outcome {
    // KL of N(a, A) from N(b, B) of each element, from its definition.
    let q = StridedPosterior::new(knot(300.0)?, knot(120.0)?, Kappa::Tau(0.6))?;
    let (misses, variances) = ([0.4f64, -1.2, 0.0], [0.01, 0.3, 0.02]);
    let c = q.data_coefficient();
    let mut expected = 0.0;
    for (miss, v) in misses.iter().zip(variances) {
        let ratio = q.variance() / v;
        expected += 0.5 * (ratio - 1.0 - ratio.ln() + (c * miss).powi(2) / v);
    }
    let squares = misses.map(|miss| miss * miss);
    near(q.kl_by_element(&squares, &variances)?, expected, 1e-13);
    // One variance for all is the isotropic cost.
    let total = squares.iter().sum();
    near(
        q.kl_by_element(&squares, &[0.05; 3])?,
        q.kl(3, total, 0.05)?,
        1e-14,
    );
    Ok(())
}

#[test]
fn the_bounds_best_edges_are_those_of_the_analytic_variance() -> Outcome {
    let grid = Grid::trailing(&linear()?, 8)?;
    let levels = grid.levels()[..8].to_vec();
    let errors: Vec<f64> = levels.iter().map(|level| 2.0 * level.sigma()).collect();
    let variance = AnalyticVariance::new(DataErrors::new(2, 1.0, levels, errors.clone())?)?;
    for kappa in [Kappa::Ddpm, Kappa::Eta(0.5), Kappa::Fresh] {
        let elbo = Elbo::new(&grid, kappa, EdgeVariance::Optimal)?;
        let bound = elbo.evaluate(2, &errors, 2.0, Decoder::GaussianOptimal)?;
        for ((q, cost), error) in elbo.edges().iter().zip(&bound.edges).zip(&errors) {
            near(q.kl(2, *error, variance.of(q)?)?, *cost, 1e-11);
        }
    }
    Ok(())
}

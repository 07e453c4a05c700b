//! Likelihoods in numbers that can be checked by hand or by quadrature.

use std::error::Error as StdError;
use std::f64::consts::{LN_2, PI};

use diffusion_sampler::{
    Error, Grid, NoiseLevel,
    likelihood::{Bound, Decoder, EdgeVariance, Elbo, Likelihood, discretised_gaussian_nats},
    posterior::{Kappa, StridedPosterior},
    schedule::TableSchedule,
};
use ndarray::array;

type Outcome = Result<(), Box<dyn StdError>>;

fn near(found: f64, expected: f64, tolerance: f64) {
    assert!(
        (found - expected).abs() <= tolerance * expected.abs().max(1.0),
        "{found} is not {expected}"
    );
}

fn edge() -> Result<(NoiseLevel, NoiseLevel), Error> {
    Ok((
        NoiseLevel::new(2.0, 0.6, 0.8)?,
        NoiseLevel::new(1.0, 0.8, 0.6)?,
    ))
}

fn elbo() -> Result<Elbo, Error> {
    let grid = Grid::trailing(&TableSchedule::linear(1000, 1e-4, 0.02)?, 3)?;
    Elbo::new(&grid, Kappa::Ddpm, EdgeVariance::Optimal)
}

#[test]
fn the_posterior_density_integrates_to_one_and_has_the_gaussians_value() -> Outcome {
    let (t, s) = edge()?;
    let q = StridedPosterior::new(t, s, Kappa::Eta(0.5))?;
    let (x_t, x_0) = (0.3, -1.1);
    let density = |x: f64| -> Result<f64, Error> {
        Ok(q.log_density(&array![[x]], &array![[x_t]], &array![[x_0]])?[0].exp())
    };
    let mean = q.state_coefficient() * x_t + q.data_coefficient() * x_0;
    let step = q.gamma() / 16.0;
    let mut mass = 0.0;
    for k in -200..=200 {
        mass += step * density(mean + f64::from(k) * step)?;
    }
    near(mass, 1.0, 1e-13);
    // Two elements: the logarithms add up.
    let two = q.log_density(
        &array![[0.1, 0.2]],
        &array![[x_t, x_t]],
        &array![[x_0, x_0]],
    )?[0];
    near(two, density(0.1)?.ln() + density(0.2)?.ln(), 1e-13);
    Ok(())
}

#[test]
fn bits_per_dimension_are_nats_over_d_ln_2() {
    let bound = Bound {
        prior: 1.0,
        edges: vec![2.0, 4.0],
        decoder: -0.5,
        dim: 3,
        likelihood: Likelihood::Density,
    };
    assert_eq!(bound.nats(), 6.5);
    near(bound.bits_per_dimension(), 6.5 / 3.0 / LN_2, 1e-15);
    assert_eq!(Bound { dim: 0, ..bound }.bits_per_dimension(), 0.0);
}

#[test]
fn gaussian_decoders_cost_minus_the_log_density() -> Outcome {
    let (d, m, v) = (3.0, 0.7, 0.2);
    let decoder = |decoder| -> Result<f64, Error> {
        Ok(elbo()?.evaluate(3, &[1.0, 0.9, m], 1.0, decoder)?.decoder)
    };
    let cost = |v: f64| d / 2.0 * (2.0 * PI * v).ln() + m / (2.0 * v);
    near(decoder(Decoder::Gaussian(v))?, cost(v), 1e-14);
    // The best variance is M/d, and its neighbours cost more.
    near(decoder(Decoder::GaussianOptimal)?, cost(m / d), 1e-14);
    for other in [0.9 * m / d, 1.1 * m / d] {
        assert!(decoder(Decoder::Gaussian(other))? > decoder(Decoder::GaussianOptimal)?);
    }
    assert_eq!(decoder(Decoder::Density(2.5))?, 2.5);
    Ok(())
}

/// ln of the mass of [low, high] under N(0, 1), by Simpson's rule.
fn log_mass(low: f64, high: f64) -> f64 {
    let density = |z: f64| (-0.5 * z * z).exp() / (2.0 * PI).sqrt();
    let (n, h) = (20_000, (high - low) / 20_000.0);
    let inner: f64 = (1..n)
        .map(|k| f64::from(2 + 2 * (k % 2)) * density(low + f64::from(k) * h))
        .sum();
    (h / 3.0 * (density(low) + inner + density(high))).ln()
}

#[test]
fn the_discretised_decoder_costs_the_mass_of_its_bin_in_every_branch() -> Outcome {
    // (value, mean, deviation, bins): an inner bin above, below and around the mean, a narrow bin,
    // both outermost bins from both sides, and bins far out in either tail.
    for (value, mean, deviation, bins) in [
        (0.5, 0.3, 0.2, 5),
        (-0.5, 0.3, 0.2, 5),
        (0.0, 0.05, 0.3, 3),
        (0.2, 0.1, 0.9, 3001),
        (1.0, 0.7, 0.3, 5),
        (1.0, -0.7, 0.3, 5),
        (1.0, 2.0, 0.3, 5),
        (-1.0, -0.7, 0.3, 5),
        (-1.0, 0.7, 0.3, 5),
        (-1.0, -2.0, 0.3, 5),
        (0.5, -0.9, 0.1, 9),
        (-0.5, 0.9, 0.1, 9),
    ] {
        let half = 1.0 / (bins as f64 - 1.0);
        let low = if value == -1.0 {
            -40.0
        } else {
            (value - half - mean) / deviation
        };
        let high = if value == 1.0 {
            40.0
        } else {
            (value + half - mean) / deviation
        };
        let found = discretised_gaussian_nats(value, mean, deviation, bins)?;
        near(found, -log_mass(low, high), 1e-9);
    }
    // Beyond erfc's range: the upper tail's first terms, e^(−z²/2)/(z√2π)(1 − 1/z² + 3/z⁴).
    let z: f64 = 40.0;
    let expected =
        0.5 * z * z + (z * (2.0 * PI).sqrt()).ln() - (1.0 - z.powi(-2) + 3.0 * z.powi(-4)).ln();
    near(
        discretised_gaussian_nats(1.0, -0.1 - 40.0 * 0.1 + 0.85, 0.1, 5)?,
        expected,
        1e-9,
    );
    Ok(())
}

#[test]
fn costs_beyond_f64_are_refused_and_never_nan() -> Outcome {
    let (t, s) = edge()?;
    for gamma in [1e-160, 1e-170, 5e-324] {
        let q = StridedPosterior::new(t, s, Kappa::Gamma(gamma))?;
        assert!(matches!(q.elbo_weight(), Err(Error::CostOverflow { .. })));
        match q.kl(2, 1.0, 0.1) {
            Ok(kl) => assert!(kl.is_finite()),
            Err(error) => {
                assert!(q.variance() == 0.0, "{error}");
                assert!(matches!(error, Error::DeterministicLikelihood { .. }));
            }
        }
    }
    let elbo = elbo()?;
    let huge = elbo.evaluate(2, &[1.0; 3], 1.0, Decoder::Gaussian(f64::MAX))?;
    near(huge.decoder, (2.0 * PI).ln() + f64::MAX.ln(), 1e-14);
    let grid = Grid::trailing(&TableSchedule::linear(1000, 1e-4, 0.02)?, 3)?;
    assert!(matches!(
        Elbo::new(&grid, Kappa::Gamma(1e-160), EdgeVariance::Optimal),
        Err(Error::CostOverflow { .. })
    ));
    for (errors, second) in [([f64::MAX; 3], 1.0), ([1.0; 3], f64::MAX)] {
        match elbo.evaluate(0, &errors, second, Decoder::Gaussian(1e-300)) {
            Ok(bound) => assert!(bound.nats().is_finite()),
            Err(error) => assert!(matches!(error, Error::CostOverflow { .. }), "{error}"),
        }
    }
    Ok(())
}

//! Pixels priced in the same pass.

use diffusion_sampler::{
    Error, Grid, Prediction, RunError, from_fn,
    likelihood::{
        Decoder, EdgeCosts, EdgeVariance, Likelihood, Measured, Measurement,
        discretised_gaussian_nats,
    },
    oracle::{Empirical, Oracle},
    posterior::{DataErrors, Kappa},
};
use ndarray::{Array2, Ix2, array};

use super::common::{Outcome, table};

#[test]
fn a_constant_estimate_costs_the_masses_of_the_pixels() -> Outcome {
    let grid = Grid::trailing(&table()?, 3)?;
    // 5 grey values.
    let data = array![[-1.0, 0.5, 0.0], [1.0, 1.0, -0.5], [0.0, 0.0, 0.5]];
    // An estimate that depends on the level, so that a level's costs are its own.
    let mut model = from_fn::<f64, Ix2>(Prediction::Data, |_, level, out| {
        out.fill(level.time() / 2000.0);
    });
    let deviations = [0.1, 0.4, 2.0];
    let measurement = Measurement::at(&grid)
        .unwrap()
        .with_pixels(5, &deviations)?;
    let measured = measurement.clone().with_draws(2)?.of(&data, &mut model)?;
    let pixels = measured.pixels().ok_or("no pixels")?;
    assert_eq!(
        (pixels.bins(), pixels.deviations(), pixels.levels()),
        (5, &deviations[..], 3)
    );
    for (level, own) in measured.errors().levels().iter().enumerate() {
        let mut costs = Vec::new();
        for (index, &deviation) in deviations.iter().enumerate() {
            let mut nats = 0.0;
            for &pixel in &data {
                nats += discretised_gaussian_nats(pixel, own.time() / 2000.0, deviation, 5)?;
            }
            assert!((pixels.nats()[[level, index]] - nats / 3.0).abs() < 1e-12 * nats);
            costs.push(nats / 3.0);
        }
        let (best, nats) = pixels.best(level);
        let least = costs.iter().copied().fold(f64::INFINITY, f64::min);
        assert!((costs[best] - least).abs() < 1e-12 && (nats - least).abs() < 1e-12);
    }
    // A model of one batch and of three, in f32: the same rows.
    let split = measurement.with_batch(1)?.with_draws(2)?;
    assert_eq!(split.of(&data, &mut model)?, measured);
    // The matrix ends with them, and its bound is of a mass.
    let errors = measured.errors();
    let best = Decoder::GaussianOptimal;
    let costs = EdgeCosts::new(&grid, Kappa::Ddpm, EdgeVariance::Optimal, errors, best)?;
    assert_eq!(costs.likelihood(), Likelihood::Density);
    let costs = costs.with_pixels(pixels)?;
    let direct = EdgeCosts::of_pixels(&grid, Kappa::Ddpm, EdgeVariance::Optimal, &measured)?;
    assert_eq!(costs, direct);
    assert_eq!(costs.decoder(1), Some(pixels.best(1).1));
    assert_eq!(costs.bound(&[0, 2])?.likelihood, Likelihood::Mass);
    let coarse = Grid::trailing(&table()?, 2)?;
    let other = DataErrors::new(3, 1.0, coarse.levels()[..2].to_vec(), vec![1.0, 0.5])?;
    let other = EdgeCosts::new(&coarse, Kappa::Ddpm, EdgeVariance::Optimal, &other, best)?;
    assert!(matches!(
        other.with_pixels(pixels),
        Err(Error::WrongLength { .. })
    ));
    Ok(())
}

#[test]
fn no_code_of_the_bound_is_shorter_than_the_entropy() -> Outcome {
    // Eight images of three pixels of 17 values, equally likely: ln 8 nats, known exactly.
    let images = Array2::from_shape_fn((8, 3), |(i, j)| ((i * (2 * j + 3) + 5 * j) % 17) as f64);
    let images = images.mapv(|grey| grey / 8.0 - 1.0);
    let grid = Grid::trailing(&table()?, 250)?;
    let measurement = Measurement::at(&grid)
        .unwrap()
        .with_draws(50)?
        .with_pixels(17, &[0.01, 0.02, 0.03, 0.05, 0.1])?;
    let mut model = Empirical::new(&images)?.denoiser(Prediction::Data);
    let measured = measurement.of(&images, &mut model)?;
    let costs = EdgeCosts::of_pixels(&grid, Kappa::Ddpm, EdgeVariance::Optimal, &measured)?;
    let strides = costs.cheapest_from(0, 100)?;
    let entropy = 8f64.ln();
    let mut last = f64::INFINITY;
    for steps in [2, 5, 10, 25, 50, 100] {
        let nats = strides.bound(steps)?.nats();
        let error = measured.standard_error(&costs, &strides.path(steps)?)?;
        assert!(
            nats > entropy - 4.0 * error,
            "{steps}: {nats} ± {error}, entropy {entropy}"
        );
        // Nearly all is reached in 25 steps; more add nothing but the noise of M_t.
        assert!(nats < last + 1e-3, "{steps}: {nats} after {last}");
        last = nats;
    }
    // The exact model loses little: what is left is the prior's and the edges' share.
    assert!(last < 1.1 * entropy, "{last} {entropy}");
    Ok(())
}

#[test]
fn pixels_are_refused_where_their_masses_would_not_add_up() -> Outcome {
    let grid = Grid::trailing(&table()?, 3)?;
    let measurement = Measurement::at(&grid).unwrap();
    assert!(measurement.clone().with_pixels(1, &[0.1]).is_err());
    assert!(matches!(
        measurement.clone().with_pixels(5, &[]),
        Err(Error::EmptyList { name: "deviations" })
    ));
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(measurement.clone().with_pixels(5, &[0.1, bad]).is_err());
    }
    let measurement = measurement.with_pixels(5, &[0.1])?;
    let mut model = from_fn::<f64, Ix2>(Prediction::Data, |_, _, out| out.fill(0.0));
    // Values of another number of bins, and beyond the range.
    for wrong in [0.125, 0.52, 1.02, 1.5, -1.5] {
        let mut data = Array2::<f64>::zeros((2, 3));
        data[[1, 1]] = wrong;
        let refused = measurement.of(&data, &mut model);
        assert!(matches!(
            refused,
            Err(RunError::Sampler(Error::InvalidEntry { name: "pixels", index: 4, value, .. }))
                if value == wrong
        ));
    }
    Ok(())
}

#[test]
fn pixels_that_f32_has_rounded_cost_what_their_values_cost() -> Outcome {
    let grid = Grid::trailing(&table()?, 2)?;
    for bins in [5usize, 256, 65536] {
        let last = (bins - 1) as f64;
        let exact = [-1.0, 1.0 - 2.0 / last, 1.0, -1.0 + 2.0 / last];
        let exact = Array2::from_shape_fn((2, 2), |(i, j)| exact[2 * i + j]);
        // Off by two units in the last place of f32, also beyond the ends.
        let rounded = exact.mapv(|x| (x * (1.0 + 2.0 * f64::from(f32::EPSILON))) as f32);
        assert!(rounded.iter().any(|x| *x > 1.0));
        let measurement = Measurement::at(&grid)
            .unwrap()
            .with_pixels(bins, &[2e-5, 0.1])?;
        let mut single = from_fn::<f32, Ix2>(Prediction::Data, |_, _, out| out.fill(0.25));
        let mut double = from_fn::<f64, Ix2>(Prediction::Data, |_, _, out| out.fill(0.25));
        let found = measurement.of(&rounded, &mut single)?;
        let expected = measurement.of(&exact, &mut double)?;
        let nats = |measured: &Measured| measured.pixels().map(|pixels| pixels.nats().to_owned());
        let (found, expected) = (nats(&found), nats(&expected));
        for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
            assert!((found / expected - 1.0).abs() < 1e-12, "{found} {expected}");
        }
    }
    Ok(())
}

#[test]
fn the_far_tail_begins_where_the_error_function_ends() -> Outcome {
    // The outermost of five bins begins at 0.75; 25 deviations below it the formula changes.
    let at = |z: f64| discretised_gaussian_nats(1.0, 0.75 - z, 1.0, 5);
    let (below, above) = (at(25.0 - 1e-12)?, at(25.0 + 1e-12)?);
    assert!((below - above).abs() < 2e-9, "{below} {above}");
    Ok(())
}

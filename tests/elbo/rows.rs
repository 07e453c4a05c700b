//! What belongs to single rows and draws: their noise, their share of a standard error, the prior.

use std::error::Error as StdError;

use diffusion_sampler::{
    Error, Grid, KeyedNoise, NoiseLevel, Prediction,
    forward::diffuse,
    from_fn,
    likelihood::{Decoder, EdgeCosts, EdgeVariance, Elbo, Measured, Measurement},
    oracle::Oracle,
    posterior::{DataErrors, Kappa, ReverseVariance, StridedPosterior},
    schedule::Edm,
};
use ndarray::{Array2, Axis, Ix2};
use rand::{SeedableRng, rngs::SmallRng};

use super::common::{Outcome, gaussian, table};

const POSTERIOR: EdgeVariance = EdgeVariance::Policy(ReverseVariance::Posterior);
const BEST: Decoder = Decoder::GaussianOptimal;

#[test]
fn every_draw_and_level_has_noise_of_its_own() -> Outcome {
    let grid = Grid::trailing(&table()?, 3)?;
    let data = Array2::from_shape_fn((4, 2), |(i, j)| i as f64 - j as f64);
    // What the model is shown, call by call.
    let mut shown: Vec<Array2<f64>> = Vec::new();
    let mut model = from_fn::<f64, Ix2>(Prediction::Data, |x, _, out| {
        shown.push(x.to_owned());
        out.fill(0.0);
    });
    let measurement = Measurement::at(&grid).unwrap().with_seed(6).with_draws(3)?;
    measurement.of(&data, &mut model)?;
    drop(model);
    assert_eq!(shown.len(), 3 * 3);
    for (key, found) in shown.iter().enumerate() {
        let mut expected = data.clone();
        let level = [grid.levels()[key % 3]];
        diffuse(&mut expected, &level, &mut KeyedNoise::new(6), key as u32)?;
        assert_eq!(found, expected, "call {key}");
    }
    Ok(())
}

#[test]
fn means_are_over_rows_and_draws() -> Outcome {
    // D = x_t, so that |x₀ − D|² of each call is known.
    let grid = Grid::trailing(&table()?, 2)?;
    let data = Array2::from_shape_fn((3, 2), |(i, j)| i as f64 - 2.0 * j as f64);
    let mut model = from_fn::<f64, Ix2>(Prediction::Data, |x, _, out| out.assign(x));
    let measured = Measurement::at(&grid).unwrap().with_draws(2)?;
    let measured = measured.of(&data, &mut model)?;
    for (index, level) in grid.levels()[..2].iter().enumerate() {
        let mut rows = [0.0; 3];
        for draw in 0..2 {
            let mut x = data.clone();
            let key = (2 * draw + index) as u32;
            diffuse(&mut x, &[*level], &mut KeyedNoise::new(0), key)?;
            let squares = (&x - &data).mapv(|e| e * e).sum_axis(Axis(1));
            for (row, square) in rows.iter_mut().zip(squares) {
                *row += 0.5 * square;
            }
        }
        let mean = rows.iter().sum::<f64>() / 3.0;
        let squares: f64 = rows.iter().map(|row| (row - mean).powi(2)).sum();
        let errors = measured.errors();
        assert!((errors.errors()[index] / mean - 1.0).abs() < 1e-14);
        let error = (squares / 2.0 / 3.0).sqrt();
        assert!((errors.standard_errors()[index] / error - 1.0).abs() < 1e-12);
    }
    // (0 + 4) + (1 + 1) + (4 + 0), over the rows.
    assert!((measured.errors().second_moment() - 10.0 / 3.0).abs() < 1e-15);
    Ok(())
}

#[test]
fn the_prior_is_the_mean_kl_of_the_rows() -> Outcome {
    let levels = vec![
        NoiseLevel::new(2.0, 0.6, 0.8)?,
        NoiseLevel::new(1.0, 0.8, 0.3)?,
        NoiseLevel::clean(),
    ];
    let images = [[0.5, -1.5], [2.0, 0.25]];
    let moment = images.as_flattened().iter().map(|x| x * x).sum::<f64>() / 2.0;
    let errors = DataErrors::new(2, moment, levels[..2].to_vec(), vec![1.0, 0.3])?;
    for variance in [0.1, 1.0, 3.0] {
        let grid = Grid::from_levels(levels.clone(), variance)?;
        // ∫ q ln(q/p), by the trapezoid rule, element by element.
        let mut expected = 0.0;
        for x in images.as_flattened() {
            let (mean, deviation) = (0.6 * x, 0.8f64);
            for k in -200..=200 {
                let z = f64::from(k) * 0.05;
                let q = (-0.5 * z * z).exp() / std::f64::consts::TAU.sqrt();
                let at = mean + deviation * z;
                let log_ratio = 0.5 * (at * at / variance + variance.ln() - z * z) - deviation.ln();
                expected += 0.05 * q * log_ratio / 2.0;
            }
        }
        let elbo = Elbo::new(&grid, Kappa::Ddpm, POSTERIOR)?;
        let found = elbo.evaluate(2, &[1.0, 0.3], moment, BEST)?.prior;
        assert!(
            (found - expected).abs() < 1e-12,
            "{variance}: {found} {expected}"
        );
        let costs = EdgeCosts::new(&grid, Kappa::Ddpm, POSTERIOR, &errors, BEST)?;
        assert_eq!(costs.prior(0), Some(found));
    }
    Ok(())
}

/// Pixels of 5 values, measured with a model that misses by the level.
fn pixels(grid: &Grid, deviations: &[f64], columns: usize) -> Result<Measured, Box<dyn StdError>> {
    let data = Array2::from_shape_fn((12, columns), |(i, j)| ((3 * i + j) % 5) as f64 / 2.0 - 1.0);
    let mut model = from_fn::<f64, Ix2>(Prediction::Data, |x, _, out| {
        out.assign(&x.mapv(|x| 0.5 * x));
    });
    let measurement = Measurement::at(grid)?.with_pixels(5, deviations)?;
    Ok(measurement.of(&data, &mut model)?)
}

#[test]
fn the_standard_error_is_that_of_each_rows_own_bound() -> Outcome {
    // From the variance exploding end the start variance is another at every level.
    let times: Vec<f64> = (0..=6).map(|k| 20.0 - 20.0 * f64::from(k) / 6.0).collect();
    let exploding = Grid::from_times(&Edm::default(), &times)?;
    let preserving = Grid::from_times(&table()?, &[500.0, 300.0, 200.0, 100.0, 50.0, 20.0, 0.0])?;
    let preserving = preserving.with_start_variance(2.5)?;
    let fixed = ReverseVariance::Explicit(0.02);
    for grid in [exploding, preserving] {
        let measured = pixels(&grid, &[0.1, 0.3, 0.9], 3)?;
        let priced = measured.pixels().ok_or("no pixels")?;
        for (variance, path) in [
            (ReverseVariance::Posterior, vec![0, 2, 5]),
            (ReverseVariance::FixedLarge, vec![2, 3, 4]),
            (fixed, vec![1]),
        ] {
            let policy = EdgeVariance::Policy(variance);
            let costs = EdgeCosts::of_pixels(&grid, Kappa::Ddpm, policy, &measured)?;
            let last = path[path.len() - 1];
            let (deviation, _) = priced.best(last);
            assert_ne!(deviation, 0, "the first would be taken for any");
            let start = costs.grid_of(&path[..1])?;
            let mut bounds = Vec::new();
            for row in 0..12 {
                let of_row = measured.by_row().row(row);
                let square: f64 = (0..3)
                    .map(|j| (((3 * row + j) % 5) as f64 / 2.0 - 1.0).powi(2))
                    .sum();
                let alpha = start.start().alpha();
                let mut nats = 0.5 * alpha * alpha * square / start.start_variance();
                for pair in path.windows(2) {
                    let (t, s) = (grid.levels()[pair[0]], grid.levels()[pair[1]]);
                    let edge = StridedPosterior::new(t, s, Kappa::Ddpm)?;
                    nats += edge.kl(3, of_row[pair[0]], edge.reverse_variance(variance)?)?;
                }
                bounds.push(nats + priced.by_row()[[row, last, deviation]]);
            }
            let mean = bounds.iter().sum::<f64>() / 12.0;
            let squares: f64 = bounds.iter().map(|b| (b - mean).powi(2)).sum();
            let expected = (squares / 11.0 / 12.0).sqrt();
            let found = measured.standard_error(&costs, &path)?;
            assert!(
                (found / expected - 1.0).abs() < 1e-10,
                "{variance:?} {path:?}: {found} {expected}"
            );
        }
    }
    Ok(())
}

#[test]
fn what_was_measured_elsewhere_is_refused() -> Outcome {
    let grid = Grid::trailing(&table()?, 4)?;
    let other = Grid::quadratic(&table()?, 4)?;
    let measured = pixels(&grid, &[0.1, 0.3], 3)?;
    let priced = measured.pixels().ok_or("no pixels")?;
    let costs = EdgeCosts::of_pixels(&grid, Kappa::Ddpm, POSTERIOR, &measured)?;
    // As many levels, but others.
    let errors = DataErrors::of_gaussian(&gaussian()?, &other)?;
    let elsewhere = EdgeCosts::new(&other, Kappa::Ddpm, POSTERIOR, &errors, BEST)?;
    assert!(matches!(
        elsewhere.clone().with_pixels(priced),
        Err(Error::InvalidEntry {
            name: "lambda of the pixel costs",
            index: 1,
            ..
        })
    ));
    let inside = Grid::trailing(&table()?, 4)?.without_clean_end()?;
    let inside = inside.levels()[..3].to_vec();
    let refused = measured.standard_error(&elsewhere, &[0, 1]);
    assert!(matches!(
        refused,
        Err(Error::InvalidEntry { name: "lambda of the path", index: 1, value, .. })
            if value != inside[1].lambda()
    ));
    // Samples of another size.
    let wide = pixels(&grid, &[0.1, 0.3], 5)?;
    assert!(matches!(
        costs.clone().with_pixels(wide.pixels().ok_or("no pixels")?),
        Err(Error::WrongLength {
            expected: 3,
            found: 5,
            ..
        })
    ));
    assert!(matches!(
        wide.standard_error(&costs, &[0, 1]),
        Err(Error::WrongLength {
            expected: 3,
            found: 5,
            ..
        })
    ));
    // Other deviations: the index of one is that of another, or of none.
    for deviations in [&[0.2, 0.3][..], &[0.1]] {
        assert!(matches!(
            pixels(&grid, deviations, 3)?.standard_error(&costs, &[0, 1]),
            Err(Error::InvalidParameter {
                name: "pixel costs",
                ..
            })
        ));
    }
    let data = gaussian()?.sample(5, &mut SmallRng::seed_from_u64(1))?;
    let plain = Measurement::at(&grid)
        .unwrap()
        .of(&data, &mut gaussian()?.denoiser(Prediction::Data))?;
    assert!(matches!(
        plain.standard_error(&costs, &[0, 1]),
        Err(Error::EmptyList {
            name: "pixel costs"
        })
    ));
    Ok(())
}

#[test]
fn a_bound_beyond_f64_is_an_error() -> Outcome {
    let grid = Grid::trailing(&table()?, 5)?;
    let errors = DataErrors::new(1, 1.0, grid.levels()[..5].to_vec(), vec![1e-6; 5])?;
    let tiny = EdgeVariance::Policy(ReverseVariance::Explicit(6e-309));
    let costs = EdgeCosts::new(&grid, Kappa::Fresh, tiny, &errors, BEST)?;
    // Each edge fits, four of them do not.
    assert!((0..4).all(|t| costs.edge(t, t + 1).is_some_and(f64::is_finite)));
    assert!(costs.bound(&[0, 1])?.nats().is_finite());
    let all = [0, 1, 2, 3, 4];
    assert!(matches!(costs.bound(&all), Err(Error::CostOverflow { .. })));
    let strides = costs.cheapest().unwrap();
    assert!(strides.bound(2)?.nats().is_finite());
    assert!(matches!(strides.path(5), Err(Error::CostOverflow { .. })));
    let elbo = Elbo::new(&grid, Kappa::Fresh, tiny)?;
    assert!(matches!(
        elbo.evaluate(1, &[1e-6; 5], 1.0, BEST),
        Err(Error::CostOverflow { .. })
    ));
    Ok(())
}

//! With the exact denoiser of data that are independent over positions, every position has the exact
//! distribution of its own run.

use diffusion_sampler::{
    Denoiser, Error, Levels, NoiseLevel, Prediction, Query,
    oracle::{Gaussian, GaussianMixture, Oracle},
    posterior::Kappa,
    run::PositionSchedule,
    solver::FirstOrder,
};
use ndarray::{Array2, Array3, Axis, s};

use super::{KINDS, along, keyed, level, numbers};
use crate::common::{bits, grid, sampler};

/// (mean, variance) of x at `to` given those at `from`, for data N(μ, v) and the exact D, from the
/// textbook's posterior: DDIM's, or with DDPM's variance σ_s²β/σ_t², β = σ_t² − (α_t/α_s)²σ_s².
fn stepped(
    (mean, variance): (f64, f64),
    (from, to): (NoiseLevel, NoiseLevel),
    (mu, v): (f64, f64),
    stochastic: bool,
) -> (f64, f64) {
    let (alpha, sigma) = (from.alpha(), from.sigma());
    let (next, less) = (to.alpha(), to.sigma());
    let ratio = alpha / next;
    let beta = sigma * sigma - ratio * ratio * less * less;
    let (state, data, noise) = if stochastic {
        let state = ratio * less * less / (sigma * sigma);
        let data = next * beta / (sigma * sigma);
        (state, data, less * less * beta / (sigma * sigma))
    } else {
        (less / sigma, next - less / sigma * alpha, 0.0)
    };
    // D = μ + g(x − αμ).
    let gain = alpha * v / (alpha * alpha * v + sigma * sigma);
    let slope = state + data * gain;
    let offset = data * (mu - gain * alpha * mu);
    (slope * mean + offset, slope * slope * variance + noise)
}

#[test]
fn a_position_of_deterministic_stairs_is_the_closed_form_at_every_step() {
    let (mu, v) = ([0.7, -1.2], [0.3, 2.0]);
    let data = Gaussian::diagonal(&mu, &v).unwrap();
    let grid = grid(6);
    let stairs = PositionSchedule::staircase(&grid, 4, 2).unwrap();
    for kind in KINDS {
        let mut model = data.clone().position_denoiser(1, kind);
        let x = numbers::<f64>(&[3, 4, 2]);
        let mut run = along(stairs.clone(), 1, Kappa::Ddim)
            .resume(x.clone(), 0, kind, keyed())
            .unwrap();
        while !run.is_finished() {
            run.advance(&mut model).unwrap();
            for (index, &found) in run.state().indexed_iter() {
                let knot = run.step().saturating_sub(2 * index[1]).min(6);
                let law = (mu[index[2]], v[index[2]]);
                // A point is a distribution without variance.
                let edges = grid.edges().take(knot);
                let (wanted, _) =
                    edges.fold((x[&index], 0.0), |at, edge| stepped(at, edge, law, false));
                assert!(
                    (found - wanted).abs() < 1e-12,
                    "{kind:?} {index:?}: {found} {wanted}"
                );
            }
        }
    }
}

#[test]
fn a_position_of_stochastic_stairs_has_the_moments_of_the_closed_form_at_every_step() {
    let (mu, v) = (0.7, 0.3);
    let data = Gaussian::isotropic(&[mu], v).unwrap();
    let (grid, samples) = (grid(5), 20_000);
    let stairs = PositionSchedule::staircase(&grid, 3, 2).unwrap();
    let kind = Prediction::Velocity;
    let mut model = data.position_denoiser(1, kind);
    let mut run = along(stairs, 1, Kappa::Ddpm)
        .start::<f64, _, _>((samples, 3, 1), kind, keyed())
        .unwrap();
    let count = samples as f64;
    while !run.is_finished() {
        run.advance(&mut model).unwrap();
        for position in 0..3 {
            let knot = run.step().saturating_sub(2 * position).min(5);
            let edges = grid.edges().take(knot);
            let start = (0.0, grid.start_variance());
            let (mean, variance) = edges.fold(start, |at, edge| stepped(at, edge, (mu, v), true));
            let values = run.state().slice(s![.., position, 0]);
            let found = values.sum() / count;
            let spread = values.fold(0.0, |sum, x| sum + (x - found).powi(2)) / (count - 1.0);
            // Five standard errors.
            let off = (found - mean) / (variance / count).sqrt();
            assert!(off.abs() < 5.0, "mean of {position} at {knot}: {off}");
            let off = (spread / variance - 1.0) / (2.0 / count).sqrt();
            assert!(off.abs() < 5.0, "variance of {position} at {knot}: {off}");
        }
    }
}

#[test]
fn a_position_is_the_run_of_its_own_data_alone_bit_for_bit() {
    // Frames [B, C, frames, H, W], of which a position holds C·H·W elements.
    let (shape, axis, dim) = ([2, 2, 3, 2, 2], 2, 8);
    let mean: Vec<f64> = (0..dim).map(|i| 0.2 * i as f64 - 0.5).collect();
    let covariance = Array2::from_shape_fn((dim, dim), |(i, j)| match i == j {
        true => 1.0,
        false => 0.1,
    });
    let data = Gaussian::new(&mean, &covariance).unwrap();
    let x = numbers::<f32>(&shape);
    for kind in KINDS {
        let stairs = PositionSchedule::staircase(&grid(5), 3, 1).unwrap();
        let mut run = along(stairs, axis, Kappa::Ddim)
            .resume(x.clone(), 0, kind, keyed())
            .unwrap();
        run.complete(&mut (&data).position_denoiser(axis, kind))
            .unwrap();
        for position in 0..3 {
            let own = x.index_axis(Axis(axis), position).to_owned();
            let mut alone = sampler(&FirstOrder::ddim(), 5)
                .start_from(own, kind, keyed())
                .unwrap();
            alone.complete(&mut (&data).denoiser(kind)).unwrap();
            let found = run.state().index_axis(Axis(axis), position);
            assert_eq!(bits(&found), bits(alone.state()), "{kind:?}");
        }
    }
}

#[test]
fn the_estimate_of_a_position_is_that_of_a_sample_at_its_level() {
    let data = GaussianMixture::new(
        &[1.0, 2.0],
        vec![
            Gaussian::isotropic(&[-1.0, 0.0, 0.5], 0.1).unwrap(),
            Gaussian::diagonal(&[1.0, 0.2, 0.0], &[0.2, 0.5, 1.0]).unwrap(),
        ],
        vec![0, 1],
    )
    .unwrap();
    let levels = [
        level(0.9, 0.1),
        level(0.4, 0.8),
        level(0.0, 1.0),
        level(0.7, 0.7),
    ];
    let own: Vec<NoiseLevel> = (0..8).map(|i| levels[(3 * i + i / 4) % 4]).collect();
    let x = Array3::from_shape_fn((2, 4, 3), |(i, j, k)| {
        (i * 7 + j * 3 + k) as f64 * 0.2 - 1.0
    });
    for kind in KINDS {
        for list in [&levels[..], &own[..]] {
            let mut out = Array3::zeros(x.raw_dim());
            let query = Query::along(Levels::along(1, list), x.shape()).unwrap();
            let mut model = (&data).position_denoiser(1, kind);
            model.denoise(&x, &query, &mut out).unwrap();
            // The same points as samples of a batch.
            let points = x.to_shape((8, 3)).unwrap().to_owned();
            let each: Vec<_> = (0..8).map(|i| list[i % list.len()]).collect();
            let mut wanted = Array2::zeros((8, 3));
            let query = Query::per_sample(&each).unwrap();
            (&data)
                .denoiser(kind)
                .denoise(&points, &query, &mut wanted)
                .unwrap();
            let found = out.to_shape((8, 3)).unwrap().to_owned();
            assert_eq!(bits(&found), bits(&wanted), "{kind:?}");
        }
    }
}

#[test]
fn an_exact_denoiser_refuses_positions_that_it_does_not_have() {
    let data = Gaussian::isotropic(&[0.0; 4], 1.0).unwrap();
    let levels = [level(0.9, 0.1), level(0.4, 0.8), NoiseLevel::clean()];
    let x = Array3::<f64>::ones((2, 3, 4));
    let query = Query::along(Levels::along(1, &levels), x.shape()).unwrap();
    let ask = |axis, kind| {
        let mut out = x.clone();
        (&data)
            .position_denoiser(axis, kind)
            .denoise(&x, &query, &mut out)
    };
    assert_eq!(ask(1, Prediction::Data), Ok(()));
    // At σ = 0 the state says nothing of the noise.
    let refused = ask(1, Prediction::Noise);
    assert!(matches!(refused, Err(Error::PredictionUndefined { .. })));
    for axis in [0, 3] {
        let refused = ask(axis, Prediction::Data);
        assert_eq!(refused, Err(Error::WrongAxis { axis, axes: 3 }));
    }
    assert_eq!(
        ask(2, Prediction::Data),
        Err(Error::PositionsNotRead { axis: 1 })
    );
    let narrow = Array3::<f64>::ones((2, 3, 5));
    let query = Query::along(Levels::along(1, &levels), narrow.shape()).unwrap();
    let mut model = (&data).position_denoiser(1, Prediction::Data);
    let refused = model.denoise(&narrow, &query, &mut narrow.clone());
    assert!(matches!(
        refused,
        Err(Error::WrongLength {
            expected: 4,
            found: 5,
            ..
        })
    ));
    // An oracle of whole samples has one level for each.
    let whole = Gaussian::isotropic(&[0.0; 12], 1.0).unwrap();
    let query = Query::along(Levels::along(1, &levels), x.shape()).unwrap();
    let refused = whole
        .denoiser(Prediction::Data)
        .denoise(&x, &query, &mut x.clone());
    assert_eq!(refused, Err(Error::PositionsNotRead { axis: 1 }));
}

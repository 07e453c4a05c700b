//! Jacobian products: exact ones, and those of differences.

use diffusion_sampler::{
    Denoiser, Error, NoiseLevel, Prediction, Query,
    denoiser::{Guided, Models},
    from_fn,
    guidance::ClassifierFree,
    likelihood::{FiniteDifferences, JacobianProduct, Probes},
    oracle::{Empirical, ExactDenoiser, Gaussian, Oracle},
    schedule::{NoiseSchedule, RectifiedFlow, VarianceExploding, VariancePreserving},
};
use ndarray::{Array2, Ix2, array};

use crate::common::{Outcome, correlated, flow, ring, vp};

const PREDICTIONS: [Prediction; 6] = [
    Prediction::Noise,
    Prediction::Data,
    Prediction::Velocity,
    Prediction::Score,
    Prediction::Flow,
    Prediction::Edm { data_std: 0.5 },
];

fn level(schedule: &VariancePreserving, lambda: f64) -> Result<NoiseLevel, Error> {
    schedule.level(schedule.time_of_lambda(lambda)?)
}

fn product<M: JacobianProduct<f64, Ix2>>(
    model: &mut M,
    x: &Array2<f64>,
    v: &Array2<f64>,
    level: &NoiseLevel,
) -> Result<(Array2<f64>, Array2<f64>), M::Error> {
    let (mut out, mut product) = (Array2::zeros(x.dim()), Array2::zeros(x.dim()));
    model.denoise_along(x, v, &Query::new(level), &mut out, &mut product)?;
    Ok((out, product))
}

#[test]
fn the_product_of_linear_models_is_the_model_without_its_constant() -> Outcome {
    // A Gaussian's outputs are affine: o(x + v) − o(x) = Jv.
    let schedule = vp()?;
    let (x, v) = (array![[0.3, -1.0, 2.0]], array![[1.0, 0.5, -0.25]]);
    for prediction in PREDICTIONS {
        for lambda in [-3.0, 0.0, 3.0] {
            let level = level(&schedule, lambda)?;
            let mut model = correlated()?.denoiser(prediction);
            let (out, jv) = product(&mut model, &x, &v, &level)?;
            let mut ends = [x.clone(), &x + &v].map(|x| (x.clone(), x));
            for (x, out) in &mut ends {
                model.denoise(x, &Query::new(&level), out)?;
            }
            assert_eq!(out, ends[0].1);
            let difference = &ends[1].1 - &ends[0].1;
            for (a, b) in jv.iter().zip(&difference) {
                assert!(
                    (a - b).abs() < 1e-12 * (1.0 + b.abs() + out[[0, 0]].abs()),
                    "{a} and {b}"
                );
            }
        }
    }
    Ok(())
}

/// The root mean square of Jv by differences minus the exact one, over that of the exact one.
fn relative<A: diffusion_sampler::Real>(
    lambda: f64,
    prediction: Prediction,
) -> Result<f64, Box<dyn std::error::Error>> {
    let level = level(&vp()?, lambda)?;
    let x = array![[0.6, 0.2], [-0.3, 0.9], [0.05, -0.4], [1.0, 0.3]];
    let v = array![[1.0, -1.0], [1.0, 1.0], [-1.0, 0.0], [0.5, 2.0]];
    let (_, exact) = product(&mut ring()?.denoiser(prediction), &x, &v, &level)?;
    let (x, v) = (x.mapv(A::cast), v.mapv(A::cast));
    let (mut out, mut found) = (x.clone(), x.clone());
    let mut model = FiniteDifferences::new(ring()?.denoiser(prediction));
    model.denoise_along(&x, &v, &Query::new(&level), &mut out, &mut found)?;
    let (mut miss, mut size) = (0.0, 0.0);
    for (a, b) in found.iter().zip(&exact) {
        miss += (a.widen() - b).powi(2);
        size += b.powi(2);
    }
    Ok((miss / size).sqrt())
}

#[test]
fn differences_are_as_close_as_they_say() -> Outcome {
    for lambda in [-3.0, 0.0, 1.5, 3.0, 4.5] {
        let sigma = level(&vp()?, lambda)?.sigma();
        for prediction in [Prediction::Noise, Prediction::Velocity] {
            let double = relative::<f64>(lambda, prediction)?;
            let single = relative::<f32>(lambda, prediction)?;
            let bound = |epsilon: f64| (epsilon / sigma).powf(2.0 / 3.0);
            // The page says "about"; a curved density at σ near its width takes up to 16 times
            // that.
            assert!(
                double < 16.0 * bound(f64::EPSILON),
                "{prediction} {lambda}: {double}"
            );
            let epsilon = f64::from(f32::EPSILON);
            assert!(
                single < 16.0 * bound(epsilon),
                "{prediction} {lambda}: {single}"
            );
        }
    }
    Ok(())
}

#[test]
fn a_zero_direction_and_a_larger_step_are_fine() -> Outcome {
    let level = level(&vp()?, 0.5)?;
    let x = array![[0.6, 0.2], [-0.3, 0.9]];
    let v = array![[0.0, 0.0], [1.0, 0.5]];
    let mut model = FiniteDifferences::new(ring()?.denoiser(Prediction::Noise)).with_step(10.0)?;
    let (_, jv) = product(&mut model, &x, &v, &level)?;
    let (_, exact) = product(&mut ring()?.denoiser(Prediction::Noise), &x, &v, &level)?;
    assert_eq!(jv.row(0), array![0.0, 0.0]);
    // A step ten times as large: a hundred times the error, about 4e-9.
    assert!((jv[[1, 0]] - exact[[1, 0]]).abs() < 1e-7);
    assert!(FiniteDifferences::new(()).with_step(0.0).is_err());
    Ok(())
}

#[test]
fn the_density_of_a_model_by_unit_vectors_is_that_of_its_oracle() -> Outcome {
    let (flow, _) = flow(&vp()?, (-5.0, 5.0), 60)?;
    let x = array![[0.3, -1.0, 2.0], [1.0, 1.0, 1.0]];
    let data = correlated()?;
    let expected = flow.exact(&data, &x)?;
    for prediction in PREDICTIONS {
        let mut model: ExactDenoiser<_> = data.clone().denoiser(prediction);
        let found = flow.estimate(&mut model, &x, &Probes::basis())?;
        let differences = FiniteDifferences::new(data.clone().denoiser(prediction));
        let close = flow.estimate(&mut { differences }, &x, &Probes::basis())?;
        for ((a, b), c) in expected
            .log_densities()
            .iter()
            .zip(found.log_densities())
            .zip(close.log_densities())
        {
            assert!((a - b).abs() < 1e-10, "{prediction}: {a} and {b}");
            assert!((a - c).abs() < 1e-7, "{prediction}: {a} and {c}");
        }
        assert_eq!(found.standard_errors(), [0.0, 0.0]);
    }
    Ok(())
}

#[test]
fn single_precision_costs_single_precision() -> Outcome {
    let (flow, _) = flow(&vp()?, (-5.0, 4.0), 60)?;
    let x = array![[0.5f32, -1.0, 2.0]];
    let data = correlated()?;
    let expected = flow.exact(&data, &x)?.log_densities()[0];
    let mut model = FiniteDifferences::new(data.denoiser(Prediction::Noise));
    let found = flow
        .estimate(&mut model, &x, &Probes::basis())?
        .log_densities()[0];
    assert!((found - expected).abs() < 5e-3, "{found} and {expected}");
    Ok(())
}

#[test]
fn a_guided_model_has_the_density_of_its_flow() -> Outcome {
    // Two centred Gaussians, v_c and v_u: the guided flow is linear, and each estimate alone would
    // scale x̂ by the root of the ratio of s = α̂²v + σ̂² at the ends. CFG multiplies the scales
    // with their weights as powers.
    let (v_c, v_u, scale) = (0.25, 1.5, 3.0);
    let (flow, grid) = flow(&vp()?, (-6.0, 4.0), 400)?;
    let models = Models((
        Gaussian::isotropic(&[0.0], v_c)?.denoiser(Prediction::Noise),
        Gaussian::isotropic(&[0.0], v_u)?.denoiser(Prediction::Noise),
    ));
    let guided = Guided::new(models, ClassifierFree::with_scale(scale)?);
    let x = array![[0.02], [-0.3]];
    let found = flow.estimate(&mut FiniteDifferences::new(guided), &x, &Probes::basis())?;
    let ratio = |v: f64| {
        let (clean, noisy) = (grid.end(), grid.start());
        clean.marginal_variance(v) / noisy.marginal_variance(v)
    };
    let growth = ratio(v_c).powf(0.5 * scale) * ratio(v_u).powf(0.5 * (1.0 - scale));
    for (x, found) in x.iter().zip(found.log_densities()) {
        let start = x / growth;
        let normal = -0.5 * (start * start + (2.0 * std::f64::consts::PI).ln());
        let expected = normal - growth.ln();
        assert!((found - expected).abs() < 1e-6, "{found} and {expected}");
    }
    Ok(())
}

#[test]
fn every_schedule_and_prediction_has_one_drift() -> Outcome {
    // A model that is not exact: the same estimate of x₀ under every prediction, of x over n = √(α²
    // + σ²), so that the density of x/n is the same under every schedule.
    let schedules: [Box<dyn NoiseSchedule>; 3] = [
        Box::new(vp()?),
        Box::new(VarianceExploding::new(1e-4, 1e4)?),
        Box::new(RectifiedFlow::new()),
    ];
    let mut found = Vec::new();
    for schedule in &schedules {
        let (flow, grid) = flow(schedule.as_ref(), (-3.0, 3.0), 20)?;
        let norm = |level: &NoiseLevel| level.alpha().hypot(level.sigma());
        let (clean, noisy) = (norm(&grid.end()), norm(&grid.start()));
        let flow = flow.with_start_variance(noisy * noisy)?;
        let x = array![[0.4, -0.8]] * clean;
        for prediction in [
            Prediction::Data,
            Prediction::Noise,
            Prediction::Velocity,
            Prediction::Flow,
        ] {
            let model = from_fn::<f64, Ix2>(prediction, move |x, level, out| {
                let target = prediction.target(level);
                let (alpha, sigma) = (level.alpha(), level.sigma());
                let norm = alpha.hypot(sigma);
                out.zip_mut_with(x, |o, &x| {
                    let data = (0.7 * x / norm).sin();
                    let noise = (x - alpha * data) / sigma;
                    *o = target
                        .as_ref()
                        .map_or(f64::NAN, |t| t.data * data + t.noise * noise);
                });
            });
            let mut model = FiniteDifferences::new(model);
            let density = flow.estimate(&mut model, &x, &Probes::basis());
            let density = density.map_err(|error| error.to_string())?;
            found.push(density.log_densities()[0] + 2.0 * clean.ln());
        }
    }
    for other in &found[1..] {
        assert!((other - found[0]).abs() < 1e-7, "{other} and {}", found[0]);
    }
    Ok(())
}

#[test]
fn differences_resolve_an_output_that_turns_within_sigma() -> Outcome {
    // Two points a σ apart: the output between them turns on the scale of σ itself.
    let level = level(&vp()?, 4.5)?;
    let (alpha, sigma) = (level.alpha(), level.sigma());
    let points = array![[0.5 * sigma / alpha], [-0.5 * sigma / alpha]];
    let data = Empirical::new(&points)?;
    let (x, v) = (array![[0.6 * sigma], [-sigma]], array![[1.0], [1.0]]);
    let (_, exact) = product(&mut data.clone().denoiser(Prediction::Data), &x, &v, &level)?;
    let mut model = FiniteDifferences::new(data.denoiser(Prediction::Data));
    let (_, found) = product(&mut model, &x, &v, &level)?;
    for (a, b) in found.iter().zip(&exact) {
        let miss = (a - b).abs() / b.abs();
        assert!(
            miss < (f64::EPSILON / sigma).powf(2.0 / 3.0) * 16.0,
            "{miss}"
        );
    }
    Ok(())
}

#[test]
fn products_are_those_of_each_samples_level_and_of_the_clean_one() -> Outcome {
    let schedule = vp()?;
    let levels = [level(&schedule, -1.0)?, level(&schedule, 2.0)?];
    let (x, v) = (
        array![[0.6, 0.2], [0.6, 0.2]],
        array![[1.0, -1.0], [1.0, -1.0]],
    );
    let mut exact = ring()?.denoiser(Prediction::Data);
    let mut differences = FiniteDifferences::new(ring()?.denoiser(Prediction::Data));
    let both = Query::per_sample(&levels)?;
    let (mut out, mut a, mut b) = (x.clone(), x.clone(), x.clone());
    exact.denoise_along(&x, &v, &both, &mut out, &mut a)?;
    differences.denoise_along(&x, &v, &both, &mut out, &mut b)?;
    for (sample, level) in levels.iter().enumerate() {
        let (_, alone) = product(&mut exact, &x, &v, level)?;
        let (_, close) = product(&mut differences, &x, &v, level)?;
        assert_eq!(a.row(sample), alone.row(sample));
        assert_eq!(b.row(sample), close.row(sample));
    }
    // At σ = 0 the estimate is x/α.
    let clean = NoiseLevel::new(0.0, 0.5, 0.0)?;
    let (_, a) = product(&mut exact, &x, &v, &clean)?;
    let (_, b) = product(&mut differences, &x, &v, &clean)?;
    for ((a, b), v) in a.iter().zip(&b).zip(&v) {
        assert!((a - 2.0 * v).abs() < 1e-14 && (b - 2.0 * v).abs() < 1e-9);
    }
    Ok(())
}

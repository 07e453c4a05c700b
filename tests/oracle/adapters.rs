//! Oracles as denoisers and classifiers of batches: predictions, element types, layouts, levels,
//! shapes.

use std::sync::Arc;

use diffusion_sampler::{
    Denoiser, Error, NoiseLevel, Prediction, Query,
    denoiser::Classifier,
    oracle::{Gaussian, GaussianMixture, LabelledOracle, Oracle},
};
use ndarray::{Array, Array2, Array4, ArrayD, Dimension, Ix0, IxDyn, ShapeBuilder, arr0, s};

use crate::specimens::*;

const PREDICTIONS: [Prediction; 6] = [
    Prediction::Noise,
    Prediction::Data,
    Prediction::Velocity,
    Prediction::Score,
    Prediction::Flow,
    Prediction::Edm { data_std: 0.7 },
];

/// A batch of four points of dimension 12, and an oracle for them.
fn images() -> (GaussianMixture, Array2<f64>) {
    let wave = |phase: f64| {
        (0..12)
            .map(|i| (phase + f64::from(i)).sin())
            .collect::<Vec<_>>()
    };
    let b = Array2::from_shape_fn((12, 12), |(i, j)| ((3 * i + 7 * j) as f64).cos() / 4.0);
    let data = GaussianMixture::new(
        &[1.0, 2.0, 1.0],
        vec![
            Gaussian::new(&wave(0.0), &b.dot(&b.t())).unwrap(),
            Gaussian::isotropic(&wave(1.0), 0.2).unwrap(),
            Gaussian::isotropic(&wave(2.0), 0.0).unwrap(),
        ],
        vec![0, 1, 1],
    )
    .unwrap();
    let x = Array2::from_shape_fn((4, 12), |(b, i)| (b as f64 + 0.3 * i as f64).cos());
    (data, x)
}

fn denoise<D: Dimension>(
    model: &mut impl Denoiser<f64, D, Error = Error>,
    x: &Array<f64, D>,
    level: &NoiseLevel,
) -> Result<Array<f64, D>, Error> {
    let mut out = Array::from_elem(x.raw_dim(), f64::NAN);
    model.denoise(x, &Query::new(level), &mut out)?;
    Ok(out)
}

#[test]
fn every_prediction_is_its_combination_of_data_and_noise() {
    let (data, x) = images();
    for level in levels() {
        for prediction in PREDICTIONS {
            let out = denoise(&mut (&data).denoiser(prediction), &x, &level).unwrap();
            let target = prediction.target(&level).unwrap();
            for (x, out) in x.rows().into_iter().zip(out.rows()) {
                let x = x.as_slice().unwrap();
                let d = data.data_estimate(x, &level).unwrap();
                let score = data.score(x, &level).unwrap();
                let expected: Vec<f64> = (0..12)
                    .map(|i| target.data * d[i] - target.noise * level.sigma() * score[i])
                    .collect();
                assert_close(out.as_slice().unwrap(), &expected, 1e-13, prediction.name());
            }
        }
    }
}

#[test]
fn every_prediction_converts_back_to_the_data_estimate() {
    let (data, x) = images();
    for level in levels() {
        let d = denoise(&mut (&data).denoiser(Prediction::Data), &x, &level).unwrap();
        for prediction in PREDICTIONS {
            let out = denoise(&mut (&data).denoiser(prediction), &x, &level).unwrap();
            let conversion = prediction.conversion(&level).unwrap();
            for ((&x, &out), &d) in x.iter().zip(&out).zip(&d) {
                let found = conversion.data.of(x, out);
                let tolerance = 1e-14 * (1.0 + level.rho());
                assert!(
                    (found - d).abs() < tolerance,
                    "{prediction:?} at {level:?}: {found} {d}"
                );
            }
        }
    }
}

#[test]
fn small_noise_costs_the_noise_estimate_no_digits() {
    // E = (x − αD)/σ would be wrong by 1e-16/σ here.
    let data = Gaussian::isotropic(&[0.3], 0.5).unwrap();
    let (alpha, sigma) = (0.9, 1e-9);
    let x = Array2::from_elem((1, 1), 1.1);
    let exact = sigma * (1.1 - alpha * 0.3) / (alpha * alpha * 0.5 + sigma * sigma);
    let e = denoise(
        &mut (&data).denoiser(Prediction::Noise),
        &x,
        &level(alpha, sigma),
    )
    .unwrap();
    assert!((e[[0, 0]] / exact - 1.0).abs() < 1e-15);
}

#[test]
fn the_ends_of_the_noise_are_defined_or_refused() {
    let (data, x) = images();
    for prediction in PREDICTIONS {
        let mut model = (&data).denoiser(prediction);
        let clean = denoise(&mut model, &x, &level(0.5, 0.0));
        if prediction == Prediction::Data {
            assert_eq!(clean.unwrap(), &x / 0.5);
        } else {
            assert!(matches!(
                clean,
                Err(Error::PredictionUndefined { sigma: 0.0, .. })
            ));
        }
        let pure = level(0.0, 2.0);
        let noisy = denoise(&mut model, &x, &pure);
        if matches!(prediction, Prediction::Edm { .. }) {
            assert!(matches!(
                noisy,
                Err(Error::PredictionUndefined { alpha: 0.0, .. })
            ));
            continue;
        }
        let (mean, target) = (data.moments().unwrap().0, prediction.target(&pure).unwrap());
        for (x, out) in x.rows().into_iter().zip(noisy.unwrap().rows()) {
            let expected: Vec<f64> = (0..12)
                .map(|i| target.data * mean[i] + target.noise * x[i] / 2.0)
                .collect();
            assert_close(out.as_slice().unwrap(), &expected, 1e-14, prediction.name());
        }
    }
    let bad = denoise(
        &mut data.denoiser(Prediction::Edm { data_std: -1.0 }),
        &x,
        &level(0.8, 0.6),
    );
    assert!(matches!(
        bad,
        Err(Error::InvalidParameter {
            name: "data_std",
            ..
        })
    ));
}

#[test]
fn layouts_and_dimensions_change_nothing() {
    let (data, x) = images();
    let level = level(0.8, 0.6);
    let mut model = data.denoiser(Prediction::Velocity);
    let plain = denoise(&mut model, &x, &level).unwrap();
    let flat: Vec<f64> = plain.iter().copied().collect();

    // A 4-D image.
    let image: Array4<f64> = x.clone().into_shape_with_order((4, 3, 2, 2)).unwrap();
    let out = denoise(&mut model, &image, &level).unwrap();
    assert_eq!(out.iter().copied().collect::<Vec<_>>(), flat);

    // Dynamic dimension.
    let dynamic: ArrayD<f64> = image.clone().into_dyn();
    let out = denoise(&mut model, &dynamic, &level).unwrap();
    assert_eq!(out.iter().copied().collect::<Vec<_>>(), flat);

    // Fortran order, in and out.
    let mut fortran = Array4::zeros((4, 3, 2, 2).f());
    fortran.assign(&image);
    let mut out = Array4::zeros((4, 3, 2, 2).f());
    model
        .denoise(&fortran, &Query::new(&level), &mut out)
        .unwrap();
    assert_eq!(out.iter().copied().collect::<Vec<_>>(), flat);

    // Channels last in memory, seen channels first; inverted and strided views.
    let last = image
        .view()
        .permuted_axes([0, 2, 3, 1])
        .as_standard_layout()
        .into_owned();
    let mut out = Array4::zeros((4, 2, 2, 3));
    {
        let mut seen = out.view_mut().permuted_axes([0, 3, 1, 2]);
        model
            .denoise(
                &last.view().permuted_axes([0, 3, 1, 2]),
                &Query::new(&level),
                &mut seen,
            )
            .unwrap();
        assert_eq!(seen.iter().copied().collect::<Vec<_>>(), flat);
    }
    let mut wide = Array2::from_elem((8, 12), f64::NAN);
    wide.slice_mut(s![..;-2, ..;-1]).assign(&x);
    let mut out = Array2::zeros((4, 12));
    model
        .denoise(&wide.slice(s![..;-2, ..;-1]), &Query::new(&level), &mut out)
        .unwrap();
    assert_eq!(out, plain);
}

#[test]
fn single_precision_is_double_precision_rounded_once() {
    let (data, x) = images();
    let x32 = x.mapv(|v| v as f32);
    let widened = x32.mapv(f64::from);
    for prediction in PREDICTIONS {
        let mut model = (&data).denoiser(prediction);
        let expected = denoise(&mut model, &widened, &level(0.8, 0.6)).unwrap();
        let mut out = Array2::<f32>::zeros((4, 12));
        model
            .denoise(&x32, &Query::new(&level(0.8, 0.6)), &mut out)
            .unwrap();
        assert_eq!(out, expected.mapv(|v| v as f32));
    }
}

#[test]
fn each_sample_has_its_own_level() {
    let (data, x) = images();
    let mut model = (&data).denoiser(Prediction::Noise);
    let mut classifier = (&data).classifier(1).unwrap();
    let levels = &levels()[..4];
    let (mut out, mut gradient) = (x.clone(), x.clone());
    model
        .denoise(&x, &Query::per_sample(levels).unwrap(), &mut out)
        .unwrap();
    classifier
        .gradient(&x, &Query::per_sample(levels).unwrap(), &mut gradient)
        .unwrap();
    for (b, level) in levels.iter().enumerate() {
        let one = x.slice(s![b..=b, ..]).to_owned();
        let single = denoise(&mut model, &one, level).unwrap();
        assert_eq!(out.row(b), single.row(0));
        let expected = data
            .class_gradient(one.as_slice().unwrap(), level, 1)
            .unwrap();
        assert_eq!(gradient.row(b).to_vec(), expected);
    }
}

#[test]
fn shared_oracles_make_many_denoisers() {
    let (data, x) = images();
    let shared = Arc::new(data.clone());
    let level = level(0.8, 0.6);
    let a = denoise(&mut shared.clone().denoiser(Prediction::Data), &x, &level);
    let b = denoise(&mut data.denoiser(Prediction::Data), &x, &level);
    assert_eq!(a, b);
    let model = shared.denoiser(Prediction::Flow);
    assert_eq!(model.oracle().dim(), 12);
    assert_eq!(Denoiser::<f32, Ix0>::prediction(&model), Prediction::Flow);
}

#[test]
fn wrong_shapes_levels_and_outputs_are_refused() {
    let (data, x) = images();
    let level = level(0.8, 0.6);
    let mut model = (&data).denoiser(Prediction::Data);
    let mut classifier = (&data).classifier(0).unwrap();
    let query = Query::new(&level);

    let mut out = arr0(0.0);
    assert_eq!(
        model.denoise(&arr0(0.0), &query, &mut out),
        Err(Error::NoSampleAxis)
    );

    let long = Array2::<f64>::zeros((4, 13));
    let mismatch = Error::ShapeMismatch {
        name: "x",
        expected: vec![4, 12],
        found: vec![4, 13],
    };
    assert_eq!(
        model.denoise(&long, &query, &mut long.clone()),
        Err(mismatch.clone())
    );
    assert_eq!(
        classifier.gradient(&long, &query, &mut long.clone()),
        Err(mismatch)
    );

    let mut out = Array2::zeros((3, 12));
    assert!(matches!(
        model.denoise(&x, &query, &mut out),
        Err(Error::ShapeMismatch { name: "out", .. })
    ));
    let mut out = x.clone();
    let two = [level; 2];
    assert!(matches!(
        model.denoise(&x, &Query::per_sample(&two).unwrap(), &mut out),
        Err(Error::WrongLength {
            name: "levels",
            expected: 4,
            found: 2
        })
    ));
    assert!(matches!(
        model.denoise(&x, &query.with_outputs(2), &mut out),
        Err(Error::TooManyTerms { found: 2, max: 1 })
    ));
    let mut nan = x.clone();
    nan[[2, 5]] = f64::NAN;
    assert!(matches!(
        model.denoise(&nan, &query, &mut out),
        Err(Error::InvalidEntry { index: 5, .. })
    ));

    let mut empty = ArrayD::<f32>::zeros(IxDyn(&[0, 3, 4]));
    let none = empty.clone();
    model.denoise(&none, &query, &mut empty).unwrap();
    let nothing = Error::WrongLength {
        name: "levels",
        expected: 1,
        found: 0,
    };
    assert_eq!(Query::per_sample(&[]).map(drop), Err(nothing));
}

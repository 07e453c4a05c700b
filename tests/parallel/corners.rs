//! Corners: the unit of the tolerance, what is carried along, what is lent and told.

use std::convert::Infallible;

use diffusion_sampler::denoiser::{Guided, PerRow, WithClassifier, from_query_fn};
use diffusion_sampler::guidance::{ClassifierFree, ClassifierGuidance, GuidanceWeight};
use diffusion_sampler::oracle::{Gaussian, LabelledOracle, Oracle};
use diffusion_sampler::schedule::{RectifiedFlow, TableSchedule, VarianceExploding};
use diffusion_sampler::solver::{Dpm2, DpmSolverPlusPlus, FirstOrder};
use diffusion_sampler::{Denoiser, Error, Grid, KeyedNoise, NoiseLevel, Prediction, Query};
use diffusion_sampler::{RunError, Sampler};
use ndarray::{Array2, ArrayRef, Axis, Ix2, Slice};

use crate::common::{Rows, bits, ddim, mixture, on, sampler};

/// A model that says these rows of its query.
fn each(
    prediction: Prediction,
    mut say: impl FnMut(&[f64], &NoiseLevel, &mut [f64], &Query<'_>, usize),
) -> impl Denoiser<f64, Ix2, Error = Infallible> {
    PerRow(from_query_fn::<f64, Ix2, Infallible>(
        prediction,
        1,
        move |x, query, out| {
            for (row, (x, mut out)) in x.outer_iter().zip(out.outer_iter_mut()).enumerate() {
                let level = query.level_of(row).unwrap();
                let mut said = vec![0.0; x.len()];
                say(&x.to_vec(), &level, &mut said, query, row);
                out.assign(&ndarray::ArrayView1::from(&said));
            }
            Ok(())
        },
    ))
}

#[test]
fn the_tolerance_is_in_units_of_the_marginal_deviation() {
    // Two steps of DDIM with D = (1, 2): the first guess is the step with D = 0, so that it is off
    // by α(1 − r)D at the middle knot.
    let levels = |middle| {
        let (noisy, clean) = (NoiseLevel::new(2.0, 0.5, 3.0), NoiseLevel::clean());
        vec![noisy.unwrap(), middle, clean]
    };
    for (alpha, sigma) in [(1.0, 2.0), (0.6, 0.1), (3.0, 4.0)] {
        let middle = NoiseLevel::new(1.0, alpha, sigma).unwrap();
        let grid = Grid::from_levels(levels(middle), 9.0).unwrap();
        let path = diffusion_sampler::solver::Path::without_schedule(&grid);
        let sampler = Sampler::along(&path, &FirstOrder::ddim()).unwrap();
        let rest = 1.0 - sigma * 0.5 / (3.0 * alpha);
        let expected = alpha * rest * 2.5f64.sqrt() / (alpha * alpha + sigma * sigma).sqrt();
        let mut model = each(Prediction::Data, |_, _, out, _, _| {
            out.copy_from_slice(&[1.0, 2.0]);
        });
        for (factor, sweeps) in [(1.0 + 1e-12, 1), (1.0 - 1e-12, 2)] {
            let parallel = sampler.parallel(2, expected * factor).unwrap();
            let (_, report) = parallel.sample::<f64, _, _>(&mut model, (1, 2), 4).unwrap();
            assert_eq!(report.sweeps(), sweeps, "{alpha}, {sigma}: {report}");
            let found = report.residuals()[1];
            let residual = if sweeps == 1 { expected } else { 0.0 };
            assert!((found - residual).abs() < 1e-12, "{found}, {residual}");
            assert_eq!(report.residuals()[0], 0.0);
        }
    }
}

#[test]
fn outputs_are_carried_along_exactly_where_the_data_are_of_the_reference_variance() {
    let predictions = [
        Prediction::Noise,
        Prediction::Data,
        Prediction::Velocity,
        Prediction::Score,
        Prediction::Flow,
        Prediction::Edm { data_std: 0.5 },
        Prediction::Linear {
            data: 0.3,
            noise: 2.0,
        },
    ];
    let table = TableSchedule::linear(1000, 1e-4, 0.02).unwrap();
    let exploding = VarianceExploding::new(0.01, 30.0).unwrap();
    for prediction in predictions {
        let mut samplers = vec![
            on(&table, &FirstOrder::ddim(), 60),
            on(&table, &FirstOrder::ddpm(), 60),
            on(&exploding, &DpmSolverPlusPlus::new(), 60),
            // Stages between the knots.
            on(&table, &Dpm2::new(), 30),
        ];
        if prediction == Prediction::Flow || prediction == Prediction::Data {
            samplers.push(on(&RectifiedFlow::new(), &FirstOrder::ddim(), 60));
        }
        for sampler in samplers {
            for variance in [0.0, 0.04, 2.0] {
                let data = Gaussian::isotropic(&[0.3, -0.2, 0.0], variance).unwrap();
                let mut model = data.denoiser(prediction);
                let parallel = sampler.parallel(60, 1e-9).unwrap();
                let parallel = parallel.with_data_variance(variance).unwrap();
                let (_, report) = parallel.sample::<f64, _, _>(&mut model, (2, 3), 5).unwrap();
                let name = prediction.name();
                assert!(report.sweeps() <= 3, "{name}, {variance}: {report}");
            }
        }
    }
}

#[test]
fn an_infinite_reference_variance_holds_the_estimate_of_noise() {
    // E does not depend on x.
    let mut model = each(Prediction::Velocity, |x, level, out, _, _| {
        for (out, x) in out.iter_mut().zip(x) {
            let data = (x - level.sigma() * 0.7) / level.alpha();
            *out = level.alpha() * 0.7 - level.sigma() * data;
        }
    });
    let sampler = ddim(50);
    for (variance, most) in [(f64::INFINITY, 3), (0.25, 50)] {
        let parallel = sampler.parallel(50, 1e-8).unwrap();
        let parallel = parallel.with_data_variance(variance).unwrap();
        let (_, report) = parallel.sample::<f64, _, _>(&mut model, (2, 3), 5).unwrap();
        assert!(report.sweeps() <= most, "{variance}: {report}");
        assert!(variance.is_infinite() || report.sweeps() > 3, "{report}");
    }
}

#[test]
fn a_window_that_moves_begins_where_the_last_estimate_leads() {
    // D does not depend on x: one sweep finds it, the next has settled the first window, and each
    // further one a window. With tolerance 0 too, for these are the same bits.
    let mut model = each(Prediction::Data, |_, _, out, _, _| out.fill(0.3));
    for (window, sweeps) in [(10, 2 + 9), (100, 2), (1, 100)] {
        let parallel = ddim(100).parallel(window, 0.0).unwrap();
        let parallel = parallel.with_data_variance(0.0).unwrap();
        let (_, report) = parallel.sample::<f64, _, _>(&mut model, (2, 3), 5).unwrap();
        assert_eq!(report.sweeps(), sweeps, "window {window}: {report}");
    }
}

#[test]
fn the_reference_variance_is_a_quarter_unless_it_is_said() {
    let parallel = ddim(5).parallel(3, 0.0).unwrap();
    let said = |variance| parallel.clone().with_data_variance(variance).unwrap();
    assert_eq!(parallel, said(0.25));
    assert_ne!(parallel, said(0.5));
}

#[test]
fn zeros_of_either_sign_are_not_the_same_state() {
    // At the end the model asks for the sign, and until then it gives the state back: −0.
    let sampler = ddim(5);
    let mut model = each(Prediction::Data, |x, _, out, query, row| {
        let last = query.step_of(row) == Some(4);
        for (out, x) in out.iter_mut().zip(x) {
            *out = if last { x.signum() } else { *x };
        }
    });
    let start = Array2::from_elem((1, 2), -0.0);
    let noise = KeyedNoise::new(1);
    let mut run = sampler
        .start_from(start.clone(), Prediction::Data, noise)
        .unwrap();
    run.complete(&mut model).unwrap();
    assert_eq!(run.state()[[0, 0]], -1.0);
    for tolerance in [0.0, 1e-300] {
        let parallel = sampler.parallel(5, tolerance).unwrap();
        let mut swept = parallel
            .start_from(start.clone(), Prediction::Data, noise)
            .unwrap();
        swept.complete(&mut model).unwrap();
        assert!(tolerance > 0.0 || swept.state() == run.state());
    }
}

#[test]
fn a_model_that_fails_once_beyond_the_front_costs_a_sweep_at_most() {
    let sampler = sampler(&FirstOrder::ddpm(), 12);
    let mut good = Rows::new(Prediction::Noise);
    let expected: Array2<f64> = sampler.sample(&mut good, (2, 4), 1).unwrap();
    let (mut rows, mut calls) = (Rows::new(Prediction::Noise), 0);
    let once = move |x: &ArrayRef<f64, Ix2>, query: &Query<'_>, out: &mut ArrayRef<f64, Ix2>| {
        rows.denoise(x, query, out)?;
        calls += 1;
        for row in 0..x.nrows() {
            let step = query.step_of(row).unwrap();
            if calls < 3 && step > 3 {
                out.row_mut(row).fill(f64::NAN);
            }
        }
        Ok::<_, Infallible>(())
    };
    let mut once = PerRow(from_query_fn(Prediction::Noise, 1, once));
    for window in [12, usize::MAX] {
        let parallel = sampler.parallel(window, 0.0).unwrap();
        let (found, _) = parallel.sample::<f64, _, _>(&mut once, (2, 4), 1).unwrap();
        assert_eq!(bits(&found), bits(&expected));
    }
}

#[test]
fn a_classifier_beside_the_model() {
    let data = mixture();
    let model = || WithClassifier::new(data.clone().denoiser(Prediction::Noise), class());
    fn class() -> impl diffusion_sampler::denoiser::Classifier<f64, Ix2, Error = Error> + Clone {
        mixture().classifier(1).unwrap()
    }
    let weight = || GuidanceWeight::constant(2.0).unwrap();
    let sampler = ddim(40);
    let parallel = sampler.parallel(40, 0.0).unwrap();
    let mut bare = Guided::new(model(), ClassifierGuidance::new(weight()));
    let refused = parallel.sample::<f64, _, _>(&mut bare, (3, 4), 2);
    assert_eq!(refused.err(), Some(RunError::Sampler(Error::RowsNotRead)));
    let mut model = Guided::new(PerRow(model()), ClassifierGuidance::new(weight()));
    let expected: Array2<f64> = sampler.sample(&mut model, (3, 4), 2).unwrap();
    let (found, _) = parallel.sample::<f64, _, _>(&mut model, (3, 4), 2).unwrap();
    assert_eq!(bits(&found), bits(&expected));
    let parallel = sampler.parallel(40, 1e-4).unwrap();
    let (found, report) = parallel.sample::<f64, _, _>(&mut model, (3, 4), 2).unwrap();
    println!("{report}");
    assert!(report.sweeps() < 20, "{report}");
    let far = (found - expected)
        .iter()
        .fold(0.0, |far, x| f64::max(far, x.abs()));
    assert!(far < 1e-2, "{far}");
}

#[test]
fn outputs_that_the_guidance_does_not_read_or_misses_are_refused_and_change_nothing() {
    let guidance = ClassifierFree::with_scale(2.0).unwrap();
    let parallel = ddim(6).parallel(3, 0.0).unwrap();
    let start = || parallel.start::<f64, _, _>((2, 4), Prediction::Noise, KeyedNoise::new(1));
    let mut run = start().unwrap();
    let rows = run.ask().unwrap().unwrap().x.nrows();
    let wrong = |expected, found| {
        let name = "outputs";
        Err(Error::WrongLength {
            name,
            expected,
            found,
        })
    };
    let told = run.tell(&Array2::zeros((2 * rows, 4)));
    assert_eq!(told, wrong(1, 2));
    let told = run.tell_guided(&guidance, &Array2::zeros((rows, 4)));
    assert_eq!(told, wrong(2, 1));
    let told = run.tell_guided(&guidance, &Array2::zeros((3 * rows, 4)));
    assert_eq!(told, wrong(2, 3));
    assert_eq!(run.report().sweeps(), 0);
    let mut model = Guided::new(Rows::new(Prediction::Noise), guidance);
    run.complete(&mut model).unwrap();
    let mut untouched = start().unwrap();
    untouched.complete(&mut model).unwrap();
    assert_eq!(bits(&run.into_state()), bits(&untouched.into_state()));
}

#[test]
fn an_output_buffer_that_lost_its_shape_is_refused_and_the_run_can_go_on() {
    let parallel = ddim(6).parallel(3, 0.0).unwrap();
    let mut run = parallel
        .start::<f64, _, _>((2, 4), Prediction::Noise, KeyedNoise::new(1))
        .unwrap();
    let cut = |x: &ArrayRef<f64, Ix2>, _: &Query<'_>, out: &mut ArrayRef<f64, Ix2>| {
        out.assign(x);
        out.slice_axis_inplace(Axis(1), Slice::from(..2));
        Ok::<_, Infallible>(())
    };
    let refused = run.advance(&mut PerRow(from_query_fn(Prediction::Noise, 1, cut)));
    let name = "output buffer";
    assert_eq!(
        refused,
        Err(RunError::Sampler(Error::LayoutChanged { name }))
    );
    let mut model = Rows::new(Prediction::Noise);
    run.complete(&mut model).unwrap();
    let (expected, _) = parallel.sample::<f64, _, _>(&mut model, (2, 4), 1).unwrap();
    assert_eq!(bits(&run.into_state()), bits(&expected));
}

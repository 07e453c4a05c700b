//! What is refused, and what a model does wrong.

use diffusion_sampler::denoiser::{PerRow, from_query_fn};
use diffusion_sampler::noise::RngNoise;
use diffusion_sampler::solver::{BelmInversion, DdimInversion, FirstOrder};
use diffusion_sampler::{Error, KeyedNoise, Prediction, RunError, from_fn};
use ndarray::{Array2, Axis, Ix2};
use rand::{SeedableRng, rngs::SmallRng};

use crate::common::{Rows, bits, ddim, sampler};

#[test]
fn windows_and_tolerances_that_mean_nothing_are_refused() {
    let sampler = ddim(5);
    assert!(matches!(
        sampler.parallel(0, 0.0),
        Err(Error::InvalidParameter {
            name: "window",
            value: 0.0,
            ..
        })
    ));
    for tolerance in [-1.0, f64::NAN, f64::INFINITY] {
        let refused = sampler.parallel(3, tolerance);
        assert!(
            matches!(
                refused,
                Err(Error::InvalidParameter {
                    name: "tolerance",
                    ..
                })
            ),
            "{tolerance}"
        );
    }
    for variance in [-1.0, f64::NAN] {
        let parallel = sampler.parallel(3, 0.0).unwrap();
        let refused = parallel.with_data_variance(variance);
        assert!(matches!(
            refused,
            Err(Error::InvalidParameter {
                name: "data variance",
                ..
            })
        ));
    }
}

#[test]
fn a_model_that_takes_one_level_is_refused_before_it_is_called() {
    let mut called = false;
    let mut model = from_fn::<f64, Ix2>(Prediction::Noise, |_, _, _| called = true);
    let refused = ddim(5)
        .parallel(3, 0.0)
        .unwrap()
        .sample(&mut model, (2, 3), 1);
    assert_eq!(refused.err(), Some(RunError::Sampler(Error::RowsNotRead)));
    drop(model);
    assert!(!called);
}

#[test]
fn a_model_with_another_prediction_is_refused() {
    let parallel = ddim(5).parallel(3, 0.0).unwrap();
    let mut run = parallel
        .start::<f64, _, _>((2, 3), Prediction::Noise, KeyedNoise::new(1))
        .unwrap();
    let refused = run.advance(&mut Rows::new(Prediction::Data));
    assert!(matches!(
        refused,
        Err(RunError::Sampler(Error::PredictionMismatch {
            expected: "noise",
            found: "data"
        }))
    ));
}

#[test]
fn noise_that_cannot_be_drawn_twice_is_refused_where_it_is_drawn() {
    let noise = || RngNoise::new(SmallRng::seed_from_u64(1));
    let stochastic = sampler(&FirstOrder::ddpm(), 5).parallel(3, 0.0).unwrap();
    let refused = stochastic.start::<f64, _, _>((2, 3), Prediction::Noise, noise());
    assert_eq!(refused.err(), Some(Error::NoiseNotRepeatable));
    // A run that draws its start alone is the sequential one.
    let mut model = Rows::new(Prediction::Noise);
    let mut run = ddim(5)
        .start::<f64, _, _>((2, 3), Prediction::Noise, noise())
        .unwrap();
    run.complete(&mut model).unwrap();
    let parallel = ddim(5).parallel(3, 0.0).unwrap();
    let mut swept = parallel
        .start::<f64, _, _>((2, 3), Prediction::Noise, noise())
        .unwrap();
    swept.complete(&mut model).unwrap();
    assert_eq!(bits(&swept.into_state()), bits(&run.into_state()));
}

#[test]
fn plans_with_given_history_and_plans_from_data_are_refused() {
    let inversion = sampler(&BelmInversion::new().from_pair(), 5);
    assert!(inversion.plan().given() > 0);
    let parallel = inversion.parallel(3, 0.0).unwrap();
    let x = Array2::<f64>::zeros((2, 3));
    let refused = parallel.start_from(x, Prediction::Noise, KeyedNoise::new(1));
    assert!(
        matches!(refused, Err(Error::WrongLength { found: 0, .. })),
        "{refused:?}"
    );
    let parallel = sampler(&DdimInversion::new(), 5).parallel(3, 0.0).unwrap();
    let refused = parallel.start::<f64, _, _>((2, 3), Prediction::Noise, KeyedNoise::new(1));
    assert!(matches!(refused, Err(Error::StartsFromData { .. })));
}

#[test]
fn a_start_that_is_not_finite_is_refused() {
    let parallel = ddim(5).parallel(3, 0.0).unwrap();
    let mut x = Array2::<f64>::zeros((2, 3));
    x[[1, 2]] = f64::NAN;
    let refused = parallel.start_from(x, Prediction::Noise, KeyedNoise::new(1));
    assert!(matches!(
        refused,
        Err(Error::NonFiniteStart {
            sample: 1,
            element: 2,
            ..
        })
    ));
}

/// A model that says NaN for one sample in one step, and the noise σx elsewhere.
fn broken(sample: usize, step: usize) -> impl diffusion_sampler::Denoiser<f64, Ix2> {
    PerRow(from_query_fn::<f64, Ix2, std::convert::Infallible>(
        Prediction::Noise,
        1,
        move |x, query, out| {
            let rows = x.axis_iter(Axis(0)).zip(out.axis_iter_mut(Axis(0)));
            for (row, (x, mut out)) in rows.enumerate() {
                let sigma = query.level_of(row).unwrap().sigma();
                out.zip_mut_with(&x, |out, x| *out = sigma * x / (1.0 + x * x));
                if query.sample_of(row) == sample && query.step_of(row) == Some(step) {
                    out[1] = f64::NAN;
                }
            }
            Ok(())
        },
    ))
}

#[test]
fn an_output_that_is_not_finite_is_an_error_with_step_and_sample() {
    for (sample, step, window) in [(0, 0, 4), (2, 5, 4), (1, 9, 10), (2, 9, 1)] {
        let parallel = ddim(10).parallel(window, 0.0).unwrap();
        let mut run = parallel
            .start::<f64, _, _>((3, 4), Prediction::Noise, KeyedNoise::new(1))
            .unwrap();
        let failed = run
            .complete(&mut broken(sample, step))
            .map_err(|error| match error {
                RunError::Sampler(error) => error,
                RunError::Denoiser(_) => unreachable!(),
            });
        let Err(Error::NonFinite {
            step: at,
            sample: of,
            element,
            array,
            ..
        }) = &failed
        else {
            panic!("{failed:?}");
        };
        assert_eq!(
            (*at, *of, *element, *array),
            (step, sample, 1, "model output")
        );
        // The sequential run says the same.
        let sequential = ddim(10).sample(&mut broken(sample, step), (3, 4), 1);
        assert!(matches!(
            sequential,
            Err(RunError::Sampler(Error::NonFinite { step: at, sample: of, element: 1, .. }))
                if (at, of) == (step, sample)
        ));
        // It is over, and says so again.
        let said = failed.unwrap_err().to_string();
        assert_eq!(run.ask().unwrap_err().to_string(), said);
        let told = run.tell(&Array2::zeros((1, 4)));
        assert_eq!(told.unwrap_err().to_string(), said);
    }
}

#[test]
fn an_element_that_is_not_written_is_named_with_its_sample_and_step() {
    // Of the last evaluation of sample 2, all but the last element.
    let mut forgetful = PerRow(from_query_fn::<f64, Ix2, std::convert::Infallible>(
        Prediction::Noise,
        1,
        |_, _, out| {
            for (row, mut out) in out.axis_iter_mut(Axis(0)).enumerate() {
                let written = if row == 11 { 3 } else { 4 };
                out.iter_mut().take(written).for_each(|out| *out = 0.0);
            }
            Ok(())
        },
    ));
    let parallel = ddim(6).parallel(4, 0.0).unwrap();
    assert_eq!((parallel.window(), parallel.tolerance()), (4, 0.0));
    assert_eq!(ddim(6).parallel(3, 0.25).unwrap().tolerance(), 0.25);
    let failed = parallel.sample::<f64, _, _>(&mut forgetful, (3, 4), 1);
    let expected = Error::OutputNotWritten {
        step: 3,
        output: 0,
        sample: 2,
        element: 3,
    };
    assert_eq!(failed.map(drop), Err(RunError::Sampler(expected)));
}

#[test]
fn a_guess_too_far_away_is_no_error() {
    // NaN wherever a state is not that of the sequential run: only the front is ever right.
    let sampler = ddim(10);
    let mut states: Vec<Vec<f64>> = Vec::new();
    let mut model = Rows::new(Prediction::Noise);
    let mut run = sampler
        .start::<f64, _, _>((1, 4), Prediction::Noise, KeyedNoise::new(1))
        .unwrap();
    while !run.is_finished() {
        states.push(run.state().iter().copied().collect());
        run.advance(&mut model).unwrap();
    }
    let mut rows = Rows::new(Prediction::Noise);
    let mut model = PerRow(from_query_fn::<f64, Ix2, std::convert::Infallible>(
        Prediction::Noise,
        1,
        move |x, query, out| {
            diffusion_sampler::Denoiser::denoise(&mut rows, x, query, out)?;
            for (row, x) in x.axis_iter(Axis(0)).enumerate() {
                if x.to_vec() != states[query.step_of(row).unwrap()] {
                    out.row_mut(row).fill(f64::NAN);
                }
            }
            Ok(())
        },
    ));
    let parallel = sampler.parallel(10, 0.0).unwrap();
    let (found, report) = parallel.sample::<f64, _, _>(&mut model, (1, 4), 1).unwrap();
    assert_eq!(bits(&found), bits(&run.into_state()));
    assert_eq!(report.sweeps(), 10);
}

#[test]
fn a_row_that_the_model_forgets_is_found_and_the_call_can_be_made_again() {
    let parallel = ddim(6).parallel(3, 0.0).unwrap();
    let mut run = parallel
        .start::<f64, _, _>((2, 4), Prediction::Noise, KeyedNoise::new(1))
        .unwrap();
    let mut forgetful = PerRow(from_query_fn::<f64, Ix2, std::convert::Infallible>(
        Prediction::Noise,
        1,
        |_, _, out| {
            // All but row 4: the second evaluation of sample 1.
            for (row, mut out) in out.axis_iter_mut(Axis(0)).enumerate() {
                if row != 4 {
                    out.fill(0.0);
                }
            }
            Ok(())
        },
    ));
    let failed = run.advance(&mut forgetful);
    assert!(matches!(
        failed,
        Err(RunError::Sampler(Error::OutputNotWritten {
            step: 1,
            output: 0,
            sample: 1,
            element: 0
        }))
    ));
    let mut model = Rows::new(Prediction::Noise);
    run.complete(&mut model).unwrap();
    let (expected, _) = parallel.sample::<f64, _, _>(&mut model, (2, 4), 1).unwrap();
    assert_eq!(bits(&run.into_state()), bits(&expected));
}

#[test]
fn a_models_own_error_reaches_the_caller_and_the_call_can_be_made_again() {
    let parallel = ddim(6).parallel(3, 0.0).unwrap();
    let mut run = parallel
        .start::<f64, _, _>((2, 4), Prediction::Noise, KeyedNoise::new(1))
        .unwrap();
    let mut failing = PerRow(from_query_fn::<f64, Ix2, &str>(
        Prediction::Noise,
        1,
        |_, _, _| Err("busy"),
    ));
    let failed = run.advance(&mut failing);
    assert!(matches!(failed, Err(RunError::Denoiser("busy"))));
    run.complete(&mut Rows::new(Prediction::Noise)).unwrap();
    assert!(run.is_finished());
}

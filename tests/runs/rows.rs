//! Models and the levels of samples: what reads one level for all is refused where they differ.

use std::cell::Cell;
use std::convert::Infallible;

use diffusion_sampler::denoiser::{Guided, Models, PerRow, from_query_fn};
use diffusion_sampler::guidance::ClassifierFree;
use diffusion_sampler::likelihood::FiniteDifferences;
use diffusion_sampler::oracle::{Gaussian, Oracle};
use diffusion_sampler::{
    Denoiser, Error, KeyedNoise, NoiseLevel, Prediction, RunError, from_fn,
    posterior::Kappa,
    run::{DdimStep, Machine},
    schedule::NoiseSchedule,
};
use ndarray::{Array2, Array3, ArrayRef, Ix2, s};

use crate::common::{Smooth, bits, schedule};

const KIND: Prediction = Prediction::Noise;

fn levels(times: [f64; 3]) -> Vec<NoiseLevel> {
    times.map(|time| schedule().level(time).unwrap()).to_vec()
}

fn state() -> Array2<f64> {
    Array2::from_shape_fn((3, 4), |(i, j)| 0.4 * i as f64 - 0.3 * j as f64)
}

/// The state after the step, or what is refused.
fn taken<M: Denoiser<f64, Ix2>>(step: &DdimStep, model: &mut M) -> Result<Array2<f64>, Error> {
    let mut machine = Machine::new(state(), 0).unwrap();
    match step.take(&mut machine, model, &mut KeyedNoise::new(5), 2) {
        Ok(()) => Ok(machine.into_parts().0),
        Err(RunError::Sampler(error)) => {
            assert_eq!(*machine.state(), state());
            Err(error)
        }
        Err(RunError::Denoiser(_)) => panic!("the model has failed"),
    }
}

/// Reads the level of each row.
fn each() -> impl Denoiser<f64, Ix2, Error = Infallible> {
    PerRow(from_query_fn::<f64, Ix2, Infallible>(
        KIND,
        1,
        |x, query, out| {
            for (row, (x, mut out)) in x.outer_iter().zip(out.outer_iter_mut()).enumerate() {
                let level = query.level_of(row).unwrap();
                out.zip_mut_with(&x, |out, &x| *out = Smooth::at(x, &level));
            }
            Ok(())
        },
    ))
}

#[test]
fn a_model_of_one_level_is_refused_before_it_is_called_where_levels_differ() {
    let (one, other) = (levels([900.0; 3]), levels([900.0, 900.0, 700.0]));
    let (below, apart) = (levels([500.0; 3]), levels([400.0, 500.0, 500.0]));
    // By the levels that the step leaves, by those that it reaches, by both.
    for (from, to) in [(&other, &below), (&one, &apart), (&other, &apart)] {
        let step = DdimStep::per_sample(from, to, Kappa::Ddpm).unwrap();
        let called = Cell::new(0);
        let closure = || {
            from_fn::<f64, Ix2>(KIND, |x, _, out| {
                called.set(called.get() + 1);
                out.assign(x);
            })
        };
        let free = || ClassifierFree::with_scale(2.0).unwrap();
        assert_eq!(taken(&step, &mut closure()), Err(Error::RowsNotRead));
        assert_eq!(taken(&step, &mut Smooth(KIND)), Err(Error::RowsNotRead));
        let mut guided = Guided::new(Models((closure(), closure())), free());
        assert_eq!(taken(&step, &mut guided), Err(Error::RowsNotRead));
        // One of two is enough.
        let mut guided = Guided::new(Models((each(), closure())), free());
        assert_eq!(taken(&step, &mut guided), Err(Error::RowsNotRead));
        let mut differences = FiniteDifferences::new(closure());
        assert_eq!(taken(&step, &mut differences), Err(Error::RowsNotRead));
        assert_eq!(called.get(), 0);
        taken(&step, &mut Guided::new(Models((each(), each())), free())).unwrap();
        taken(&step, &mut FiniteDifferences::new(each())).unwrap();
    }
}

#[test]
fn lists_of_equal_levels_are_one_level() {
    let (from, to) = (levels([900.0; 3]), levels([500.0; 3]));
    for kappa in [Kappa::Ddim, Kappa::Ddpm] {
        let listed = DdimStep::per_sample(&from, &to, kappa).unwrap();
        let single = DdimStep::new(from[0], to[0], kappa).unwrap();
        let expected = taken(&single, &mut Smooth(KIND)).unwrap();
        let found = taken(&listed, &mut Smooth(KIND)).unwrap();
        assert_eq!(bits(&found), bits(&expected));
        let found = taken(&listed, &mut each()).unwrap();
        assert_eq!(bits(&found), bits(&expected));
    }
}

#[test]
fn a_model_that_reads_them_sees_the_level_of_each_sample() {
    let (from, to) = (levels([900.0, 300.0, 20.0]), levels([500.0, 250.0, 0.0]));
    let exact = Gaussian::diagonal(&[0.1, 0.2, 0.3, 0.4], &[0.5, 0.1, 0.2, 1.0]).unwrap();
    let together = DdimStep::per_sample(&from, &to, Kappa::Ddpm).unwrap();
    let closures = taken(&together, &mut each()).unwrap();
    let exacts = taken(&together, &mut exact.clone().denoiser(KIND)).unwrap();
    for row in 0..3 {
        let alone = DdimStep::new(from[row], to[row], Kappa::Ddpm).unwrap();
        let pairs = [
            (&closures, taken(&alone, &mut Smooth(KIND)).unwrap()),
            (
                &exacts,
                taken(&alone, &mut exact.clone().denoiser(KIND)).unwrap(),
            ),
        ];
        for (found, expected) in pairs {
            let of = |array: &Array2<f64>| bits(&array.slice(s![row..=row, ..]));
            assert_eq!(of(found), of(&expected), "{row}");
        }
    }
    // Tokens at the level of their sample.
    let tokens = state().into_shape_with_order((3, 2, 2)).unwrap();
    let pairs = Gaussian::diagonal(&[0.1, 0.2], &[0.5, 0.1]).unwrap();
    let take = |step: &DdimStep| -> Array3<f64> {
        let mut machine = Machine::new(tokens.clone(), 0).unwrap();
        let mut model = pairs.clone().position_denoiser(1, KIND);
        step.take(&mut machine, &mut model, &mut KeyedNoise::new(5), 2)
            .unwrap();
        machine.into_parts().0
    };
    let found = take(&together);
    for row in 0..3 {
        let alone = DdimStep::new(from[row], to[row], Kappa::Ddpm).unwrap();
        let of = |array: &ArrayRef<f64, _>| bits(&array.slice(s![row..=row, .., ..]));
        assert_eq!(of(&found), of(&take(&alone)), "{row}");
    }
}

#[test]
fn a_batch_without_elements_asks_no_model_and_refuses_none() {
    let (from, to) = (levels([900.0, 300.0, 20.0]), levels([500.0, 250.0, 0.0]));
    let step = DdimStep::per_sample(&from, &to, Kappa::Ddim).unwrap();
    let mut machine = Machine::new(Array2::<f64>::zeros((3, 0)), 0).unwrap();
    step.take(&mut machine, &mut Smooth(KIND), &mut KeyedNoise::new(5), 2)
        .unwrap();
}

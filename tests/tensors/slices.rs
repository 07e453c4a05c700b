//! Sampling with flat slices: no array library in sight.

use std::convert::Infallible;

use diffusion_sampler::{
    Denoiser, Error, NoiseLevel, Prediction, Query, RunError,
    denoiser::{Guided, Models, from_query_fn, from_slice_fn, from_slice_query_fn},
    guidance::ClassifierFree,
    tensor::Flat,
};
use ndarray::{Array2, Array3, Ix2, Ix3, ShapeBuilder};

use crate::common::{SHAPE, SIZES, answer, expected, outputs, stochastic};

fn fill<A: diffusion_sampler::Real>(x: &[A], query: &Query<'_>, out: &mut [A]) {
    let all = outputs(x, query).concat();
    out.copy_from_slice(&all);
}

#[test]
fn samples_as_a_vector_have_the_bits_of_an_array() {
    for prediction in crate::common::PREDICTIONS {
        let mut model = from_slice_fn(prediction, |x: &[f32], level, out: &mut [f32]| {
            for (out, &x) in out.iter_mut().zip(x) {
                *out = answer(0, x, level);
            }
        });
        let sampler = stochastic();
        let samples: Vec<f32> = sampler.sample_vec(&mut model, &SIZES, 11).unwrap();
        assert_eq!(samples, expected::<f32>(&sampler, prediction, None).0);
    }
}

#[test]
fn a_slice_model_is_guided_like_an_array_model() {
    let sampler = stochastic();
    let guidance = ClassifierFree::with_scale(2.5).unwrap();
    let (state, _) = expected::<f64>(&sampler, Prediction::Noise, Some(&guidance));
    let batched = |x: &[f64], query: &Query<'_>, out: &mut [f64]| {
        fill(x, query, out);
        Ok::<(), Infallible>(())
    };
    let batched = from_slice_query_fn(Prediction::Noise, 2, batched);
    let mut guided = Guided::new(batched, &guidance);
    let samples: Vec<f64> = sampler.sample_vec(&mut guided, &SIZES, 11).unwrap();
    assert_eq!(samples, state);
    // Two models, one for each output.
    let of = |j| {
        from_slice_fn(
            Prediction::Noise,
            move |x: &[f64], level, out: &mut [f64]| {
                out.iter_mut()
                    .zip(x)
                    .for_each(|(out, &x)| *out = answer(j, x, level));
            },
        )
    };
    let mut guided = Guided::new(Models((of(0), of(1))), &guidance);
    let samples: Vec<f64> = sampler.sample_vec(&mut guided, &SIZES, 11).unwrap();
    assert_eq!(samples, state);
    // And a closure over arrays that sees the query.
    let arrays = from_query_fn::<f64, Ix3, Infallible>(Prediction::Noise, 2, |x, query, out| {
        let values: Vec<f64> = x.iter().copied().collect();
        let all = outputs(&values, query).concat();
        out.iter_mut()
            .zip(all)
            .for_each(|(out, value)| *out = value);
        Ok(())
    });
    let samples: Array3<f64> = sampler
        .sample(&mut Guided::new(arrays, &guidance), SHAPE, 11)
        .unwrap();
    assert_eq!(crate::common::flat(&samples), state);
}

#[test]
fn by_hand_a_slice_model_reads_and_writes_any_layout() {
    let mut model = from_slice_fn(
        Prediction::Data,
        |x: &[f64], level: &NoiseLevel, out: &mut [f64]| {
            for (index, (out, x)) in out.iter_mut().zip(x).enumerate() {
                *out = x * level.alpha() + index as f64;
            }
        },
    );
    let level = NoiseLevel::new(0.5, 0.8, 0.6).unwrap();
    let values = |(i, j): (usize, usize)| (10 * i + j) as f64;
    let x = Array2::from_shape_fn((3, 4), values);
    let expected =
        Array2::from_shape_fn((3, 4), |(i, j)| 0.8 * values((i, j)) + (4 * i + j) as f64);
    let mut columns = Array2::<f64>::zeros((3, 4).f());
    Denoiser::<f64, Ix2>::denoise(&mut model, &x, &Query::new(&level), &mut columns).unwrap();
    assert_eq!(columns, expected);
    let mut x_columns = Array2::zeros((3, 4).f());
    x_columns.assign(&x);
    let mut rows = Array2::zeros((3, 4));
    Denoiser::<f64, Ix2>::denoise(&mut model, &x_columns, &Query::new(&level), &mut rows).unwrap();
    assert_eq!(rows, expected);
}

#[test]
fn a_failing_slice_model_reports_its_own_error() {
    let fails = |_: &[f32], _: &Query<'_>, _: &mut [f32]| Err("out of memory");
    let mut model = from_slice_query_fn(Prediction::Noise, 1, fails);
    let refused = stochastic().sample_vec::<f32, _>(&mut model, &SIZES, 1);
    assert_eq!(refused, Err(RunError::Denoiser("out of memory")));
}

#[test]
fn a_slice_model_with_too_few_outputs_is_refused_before_it_is_called() {
    let never =
        |_: &[f32], _: &Query<'_>, _: &mut [f32]| -> Result<(), Infallible> { panic!("called") };
    let model = from_slice_query_fn(Prediction::Noise, 1, never);
    let mut model = Guided::new(model, ClassifierFree::with_scale(2.0).unwrap());
    let refused = stochastic().sample_vec::<f32, _>(&mut model, &SIZES, 1);
    let few = Error::TooFewOutputs {
        guidance: "classifier-free guidance",
        wanted: 2,
        found: 1,
    };
    assert_eq!(refused, Err(RunError::Sampler(few)));
}

#[test]
fn an_empty_batch_and_a_shape_without_axes() {
    let mut model = from_slice_fn(Prediction::Noise, |_: &[f64], _, _: &mut [f64]| {
        panic!("called")
    });
    assert_eq!(stochastic().sample_vec(&mut model, &[0, 4], 1), Ok(vec![]));
    assert_eq!(stochastic().sample_vec(&mut model, &[4, 0], 1), Ok(vec![]));
    let refused = stochastic().sample_vec(&mut model, &[], 1);
    assert_eq!(refused, Err(RunError::Sampler(Error::NoSampleAxis)));
    let shape = vec![usize::MAX, 2];
    let refused = stochastic().sample_vec(&mut model, &shape, 1);
    assert_eq!(refused, Err(RunError::Sampler(Error::TooLarge { shape })));
}

#[test]
fn a_flat_vector_has_the_length_of_its_shape() {
    let length = Error::WrongLength {
        name: "elements",
        expected: 6,
        found: 5,
    };
    assert_eq!(Flat::new(vec![0.0f32; 5], &[2, 3]), Err(length));
    assert_eq!(Flat::<f64>::new(vec![], &[]), Err(Error::NoSampleAxis));
    assert_eq!(Flat::<f64>::zeros(&[]), Err(Error::NoSampleAxis));
    let shape = vec![1 << 40, 1 << 40];
    assert_eq!(Flat::<f32>::zeros(&shape), Err(Error::TooLarge { shape }));
    let empty = Flat::<f32>::zeros(&[5, 0]).unwrap();
    assert_eq!((empty.as_slice().len(), empty.shape()), (0, &[5, 0][..]));
}

#[test]
fn what_a_slice_model_does_not_write_is_not_a_number_in_any_layout() {
    let mut model = from_slice_fn(Prediction::Data, |_: &[f64], _, out: &mut [f64]| {
        out[0] = 1.0;
    });
    let level = NoiseLevel::new(0.5, 0.8, 0.6).unwrap();
    let mut columns = Array2::<f64>::zeros((3, 4).f());
    let x = Array2::zeros((3, 4));
    Denoiser::<f64, Ix2>::denoise(&mut model, &x, &Query::new(&level), &mut columns).unwrap();
    assert_eq!(columns[[0, 0]], 1.0);
    assert!(columns.iter().skip(1).all(|value| value.is_nan()));
}

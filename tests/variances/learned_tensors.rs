//! A network's variance on tensors, and its channels.

use std::convert::Infallible;

use diffusion_sampler::{
    Error, KeyedNoise, Prediction, RunError,
    denoiser::split_channels,
    noise::LearnedNoise,
    solver::FirstOrder,
    tensor::{Flat, FlatOps, Scale, TensorOps},
};
use ndarray::{Array2, Array3, array};

use crate::common::Outcome;
use crate::two_heads::{ELEMENTS, network, sampler, start, two_heads};

#[test]
fn channels_become_outputs() -> Outcome {
    let network = Array3::from_shape_fn((2, 4, 3), |(b, c, w)| (100 * b + 10 * c + w) as f64);
    let mut out = Array3::zeros((4, 2, 3));
    split_channels(&network, &mut out)?;
    for ((row, channel, w), value) in out.indexed_iter() {
        let (output, sample) = (row / 2, row % 2);
        assert_eq!(
            *value,
            (100 * sample + 10 * (2 * output + channel) + w) as f64
        );
    }
    let refused = split_channels(&network, &mut Array3::zeros((4, 3, 3)));
    assert!(matches!(refused, Err(Error::ShapeMismatch { .. })));
    // Five rows are no whole number of batches of two.
    let refused = split_channels(&network, &mut Array3::zeros((5, 2, 3)));
    assert!(matches!(refused, Err(Error::ShapeMismatch { .. })));
    let refused = split_channels(&array![1.0], &mut array![1.0, 2.0]);
    assert!(matches!(
        refused,
        Err(Error::WrongAxis { axis: 1, axes: 1 })
    ));
    Ok(())
}

#[test]
fn a_run_on_tensors_is_the_same_run() -> Outcome {
    let sampler = sampler(&FirstOrder::ddpm(), 6)?;
    let mut expected = start(&sampler, 3, 2)?;
    expected.complete_learned(&mut two_heads())?;
    let like = Flat::<f64>::zeros(&[3, ELEMENTS])?;
    let noise = LearnedNoise::new(KeyedNoise::new(2));
    let mut run = sampler
        .on(FlatOps::new())
        .start(&like, Prediction::Noise, noise)?;
    let mut broken = vec![0.0; 3 * ELEMENTS];
    broken[4] = f64::NAN;
    let refused = run.interpolate(&Flat::new(broken, &[3, ELEMENTS])?);
    let named = matches!(
        refused,
        Err(RunError::Sampler(Error::NonFinite {
            step: 0,
            sample: 1,
            element: 1,
            ..
        }))
    );
    assert!(named);
    assert!(run.interpolate(&Flat::zeros(&[3, 1])?).is_err());
    while let Some(question) = run.ask()? {
        let sigma = question.level().sigma();
        let x = question.x.as_slice();
        let noise = x.iter().map(|&x| network(x, sigma).0).collect();
        let f = x.iter().map(|&x| network(x, sigma).1).collect();
        let shape = [3, ELEMENTS];
        let (noise, f) = (Flat::new(noise, &shape)?, Flat::new(f, &shape)?);
        run.interpolate(&f)?;
        run.tell(&noise)?;
    }
    let values: Vec<f64> = expected.state().iter().copied().collect();
    assert_eq!(run.state().as_slice(), values);
    Ok(())
}

/// A library of rows that makes no normals, and never looks for what is not finite.
struct Bare;

impl TensorOps for Bare {
    type Tensor = Array2<f64>;
    type Element = f64;
    type Error = Infallible;

    fn shape(&self, tensor: &Array2<f64>) -> impl AsRef<[usize]> {
        tensor.shape().to_vec()
    }

    fn linear_combination(
        &self,
        terms: &[(Scale<'_>, &Array2<f64>)],
    ) -> Result<Array2<f64>, Infallible> {
        let mut sum = Array2::zeros(terms[0].1.dim());
        for (scale, tensor) in terms {
            for (row, (mut sum, own)) in sum.rows_mut().into_iter().zip(tensor.rows()).enumerate() {
                sum.scaled_add(scale.of(row), &own);
            }
        }
        Ok(sum)
    }

    fn upload(&self, values: Vec<f64>, like: &Array2<f64>) -> Result<Array2<f64>, Infallible> {
        let mut out = Array2::zeros(like.dim());
        out.iter_mut().zip(values).for_each(|(out, v)| *out = v);
        Ok(out)
    }

    fn download(&self, tensor: &Array2<f64>) -> Result<Vec<f64>, Infallible> {
        Ok(tensor.iter().copied().collect())
    }
}

#[test]
fn a_library_that_does_not_look_refuses_a_step_without_a_variance_too() -> Outcome {
    let noise = || LearnedNoise::new(KeyedNoise::new(2));
    let zeros = Array2::<f64>::zeros((3, ELEMENTS));
    let sampler = sampler(&FirstOrder::ddpm(), 3)?;
    let mut run = sampler.on(Bare).start(&zeros, Prediction::Noise, noise())?;
    let before = run.state().clone();
    let refused = run.tell(&zeros);
    let Err(RunError::Sampler(Error::NonFinite { step, array, .. })) = refused else {
        return Err(format!("{refused:?}").into());
    };
    assert_eq!((step, array), (0, "noise"));
    assert_eq!(run.state(), before);
    // With it, the run is the arrays'.
    let mut expected = start(&sampler, 3, 2)?;
    let f = Array2::from_shape_fn((3, ELEMENTS), |(b, i)| 0.3 * b as f64 - 0.2 * i as f64);
    while run.ask()?.is_some() {
        run.interpolate(&f)?;
        run.tell(&zeros)?;
        expected.tell_learned(&zeros, &f)?;
    }
    for (a, b) in run.state().iter().zip(expected.state()) {
        assert!((a - b).abs() <= 1e-13 * b.abs().max(1.0), "{a} and {b}");
    }
    Ok(())
}

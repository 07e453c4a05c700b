//! A network's variance on tensors, and its channels.

use diffusion_sampler::{
    Error, KeyedNoise, Prediction, RunError,
    denoiser::split_channels,
    noise::LearnedNoise,
    solver::FirstOrder,
    tensor::{Flat, FlatOps},
};
use ndarray::{Array3, array};

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

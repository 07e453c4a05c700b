//! What a run says when a model goes wrong.

use diffusion_sampler::solver::FirstOrder;
use diffusion_sampler::tensor::TensorOps;
use diffusion_sampler::{Error, KeyedNoise, RunError};

use crate::reference::{PREDICTION, SHAPE};
use crate::runs::{Library, Result, sampler};

/// Checks the three sources of errors: the run, the model, and the shape of what it returns.
pub fn check<L: Library>(library: &L) -> Result<()> {
    let sampler = sampler(&FirstOrder::ddim())?;
    let like = library.zeros(SHAPE).map_err(|error| error.to_string())?;
    let start = || {
        sampler
            .on(library.ops())
            .start(&like, PREDICTION, KeyedNoise::new(1))
    };

    // An element that is not finite is named, and the run stands where it stood.
    let mut run = start()?;
    let mut values = vec![0.5; SHAPE.iter().product()];
    values[40] = f32::NAN;
    let output = library
        .ops()
        .upload(values, &like)
        .map_err(|error| error.to_string())?;
    let place = Error::NonFinite {
        step: 0,
        sample: 1,
        element: 8,
        array: "model output",
        value: f64::NAN,
    };
    match run.tell(&output) {
        Err(RunError::Sampler(error)) => assert_eq!(error.to_string(), place.to_string()),
        other => panic!("{other:?}"),
    }
    assert_eq!(run.step(), 0);
    assert!(
        library
            .ops()
            .all_finite(run.state())
            .map_err(|error| error.to_string())?
            == Some(true)
    );

    // The model's own error comes back as it is.
    let failed = run.complete(|_, _| Err("out of memory"));
    assert!(matches!(failed, Err(RunError::Denoiser("out of memory"))));

    // Another shape is refused.
    let other = library
        .zeros([1, 2, 4, 4])
        .map_err(|error| error.to_string())?;
    let refused = run.tell(&other);
    assert!(matches!(
        refused,
        Err(RunError::Sampler(Error::ShapeMismatch { .. }))
    ));
    Ok(())
}

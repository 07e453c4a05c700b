//! Affine forms on arrays: what the functions on arrays, the runs and the sampler share.

use ndarray::{ArrayRef, Dimension};

use crate::error::Error;
use crate::kernel::{self, FillNoise, Form, Forms};
use crate::noise::{Demand, NoiseSource, StepNoise, Stream};
use crate::real::Real;

/// The form x' = a·x + b·input + n·z.
pub(crate) fn affine(state: f64, input: f64, noise: f64) -> Form {
    Form {
        noise,
        ..kernel::affine(state, &[input])
    }
}

/// Applies one form, or one per sample; a batch has as many forms as samples.
pub(crate) fn apply<A: Real, D: Dimension>(
    forms: &[Form],
    x: &mut ArrayRef<A, D>,
    inputs: &[&ArrayRef<A, D>],
    noise: Option<FillNoise<'_, A>>,
) -> Result<bool, Error> {
    let forms = match forms {
        [one] => Forms::Same(one),
        many => Forms::PerSample(many),
    };
    kernel::update(forms, x, None, inputs, noise)
}

/// The samples of an array and the elements of each.
pub(crate) fn batch_of<A, D: Dimension>(x: &ArrayRef<A, D>) -> Result<(usize, usize), Error> {
    let samples = *x.shape().first().ok_or(Error::NoSampleAxis)?;
    Ok((samples, x.len() / samples.max(1)))
}

/// Lends a noise source to the kernels for rows outside a step, if it has them.
pub(crate) fn filler<'n, A, D: Dimension, N: NoiseSource<A>>(
    x: &ArrayRef<A, D>,
    noise: &'n mut N,
    step: u32,
    stream: Stream,
) -> Result<StepNoise<'n, &'n mut N>, Error> {
    let (samples, elements) = batch_of(x)?;
    let steps = u64::from(step)..u64::from(step) + 1;
    noise.check(&Demand::batch(samples, elements, steps, stream))?;
    Ok(StepNoise::new(noise, step, stream, &[]))
}

/// The initial distribution: x ← x + deviation·z on zeros. Returns whether it is finite.
pub(crate) fn start_noise<A: Real, D: Dimension, N: NoiseSource<A>>(
    x: &mut ArrayRef<A, D>,
    deviation: f64,
    noise: &mut N,
) -> Result<bool, Error> {
    let mut fill = filler(x, noise, 0, Stream::Start)?;
    apply(&[affine(0.0, 0.0, deviation)], x, &[], Some(&mut fill))
}

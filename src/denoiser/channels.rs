//! What a network returns along its channels, as a denoiser's outputs.

use ndarray::{ArrayRef, Axis, Dimension, Slice};

use crate::error::{Error, require_shape};
use crate::real::Real;

/// Copies a network's result \[B, n·C, …\] to a denoiser's outputs \[n·B, C, …\]: n outputs that
/// the network returns along its channels, axis 1. A network that learned the variance returns the
/// prediction and f, n = 2.
///
/// ```
/// use diffusion_sampler::denoiser::split_channels;
/// use ndarray::{Array2, array};
///
/// let network = array![[1.0, 2.0, 10.0, 20.0], [3.0, 4.0, 30.0, 40.0]];
/// let mut out = Array2::<f64>::zeros((4, 2));
/// split_channels(&network, &mut out)?;
/// assert_eq!(out, array![[1.0, 2.0], [3.0, 4.0], [10.0, 20.0], [30.0, 40.0]]);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::WrongAxis`] for arrays without channels; [`Error::ShapeMismatch`] unless the shapes are
/// those.
#[doc(alias("learned_range", "chunk"))]
pub fn split_channels<A: Real, D: Dimension>(
    network: &ArrayRef<A, D>,
    out: &mut ArrayRef<A, D>,
) -> Result<(), Error> {
    let axes = network.ndim();
    let (Some(&samples), Some(&channels)) = (network.shape().first(), out.shape().get(1)) else {
        return Err(Error::WrongAxis { axis: 1, axes });
    };
    if axes < 2 {
        return Err(Error::WrongAxis { axis: 1, axes });
    }
    let count = out.shape()[0].checked_div(samples).unwrap_or(1);
    let mut expected = out.shape().to_vec();
    expected[0] = samples;
    expected[1] = count.saturating_mul(channels);
    require_shape("network's result", &expected, network.shape())?;
    let mut rows = network.raw_dim();
    rows[0] = count * samples;
    rows[1] = channels;
    require_shape("model outputs", rows.slice(), out.shape())?;
    for index in 0..count {
        let cut = |index: usize, size: usize| Slice::from(index * size..(index + 1) * size);
        let part = network.slice_axis(Axis(1), cut(index, channels));
        out.slice_axis_mut(Axis(0), cut(index, samples))
            .assign(&part);
    }
    Ok(())
}

//! Arrays of the state's type to the model's, and back.

use ndarray::{ArrayRef, Dimension};

use crate::element::ModelElement;
use crate::error::{Error, require_shape};
use crate::real::Real;
use crate::simd::{Task, dispatch};

/// out ← values, each rounded to the nearest value of the model's type, ties to even: the half copy
/// of the state that a half-precision model reads.
///
/// What lies beyond the largest value of the type becomes infinity, as f16 does above 65 504; NaN
/// stays NaN. The bits are those of the crate `half`'s conversions, on every machine. One pass, no
/// allocation; any layout will do, and equal layouts run at the speed of memory.
///
/// # Errors
///
/// [`Error::ShapeMismatch`]; nothing is written then.
///
/// ```
/// use diffusion_sampler::kernel::{narrow, widen};
/// use ndarray::{Array2, array};
///
/// # #[cfg(feature = "half")] {
/// use half::f16;
///
/// let x = array![[1.0f32, 0.1], [1e5, -3.0]];
/// let mut input = Array2::<f16>::default((2, 2));
/// narrow(&x, &mut input)?;
/// assert_eq!(input[[0, 1]], f16::from_f32(0.1));
/// assert_eq!(input[[1, 0]], f16::INFINITY);
///
/// let mut back = Array2::<f32>::zeros((2, 2));
/// widen(&input, &mut back)?;
/// assert_eq!(back[[1, 1]], -3.0);
/// # }
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
pub fn narrow<A: Real, O: ModelElement<A>, D: Dimension>(
    values: &ArrayRef<A, D>,
    out: &mut ArrayRef<O, D>,
) -> Result<(), Error> {
    require_shape("output", values.shape(), out.shape())?;
    match slices(values, out) {
        Some((from, out)) => dispatch(Narrow { from, out }),
        None => out.zip_mut_with(values, |out, &value| *out = O::narrowed(value)),
    }
    Ok(())
}

/// out ← values, each exactly: the output of a half-precision model for one who needs it in the
/// state's type, as a [`Denoiser`](crate::Denoiser) does. A run that is told needs no such copy.
///
/// NaN stays NaN. One pass, no allocation; any layout will do.
///
/// # Errors
///
/// [`Error::ShapeMismatch`]; nothing is written then.
///
/// An example stands with [`narrow`].
pub fn widen<A: Real, O: ModelElement<A>, D: Dimension>(
    values: &ArrayRef<O, D>,
    out: &mut ArrayRef<A, D>,
) -> Result<(), Error> {
    require_shape("output", values.shape(), out.shape())?;
    match slices(values, out) {
        Some((from, out)) => dispatch(Widen { from, out }),
        None => out.zip_mut_with(values, |out, value| *out = value.widened()),
    }
    Ok(())
}

/// Both in the order of memory, where the strides are equal and leave no gaps.
fn slices<'s, S, T, D: Dimension>(
    from: &'s ArrayRef<S, D>,
    out: &'s mut ArrayRef<T, D>,
) -> Option<(&'s [S], &'s mut [T])> {
    if from.strides() != out.strides() {
        return None;
    }
    Some((
        from.as_slice_memory_order()?,
        out.as_slice_memory_order_mut()?,
    ))
}

/// The elements of a chunk.
const LANES: usize = 32;

struct Narrow<'s, A, O> {
    from: &'s [A],
    out: &'s mut [O],
}

impl<A: Real, O: ModelElement<A>> Task for Narrow<'_, A, O> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (from, from_rest) = self.from.as_chunks::<LANES>();
        let (out, out_rest) = self.out.as_chunks_mut::<LANES>();
        for (out, from) in out.iter_mut().zip(from) {
            *out = O::narrowed_chunk(from);
        }
        for (out, &from) in out_rest.iter_mut().zip(from_rest) {
            *out = O::narrowed(from);
        }
    }
}

struct Widen<'s, A, O> {
    from: &'s [O],
    out: &'s mut [A],
}

impl<A: Real, O: ModelElement<A>> Task for Widen<'_, A, O> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (from, from_rest) = self.from.as_chunks::<LANES>();
        let (out, out_rest) = self.out.as_chunks_mut::<LANES>();
        for (out, from) in out.iter_mut().zip(from) {
            *out = O::widened_chunk(from);
        }
        for (out, from) in out_rest.iter_mut().zip(from_rest) {
            *out = from.widened();
        }
    }
}

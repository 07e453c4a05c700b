//! The kernel for everybody: a linear combination in place.

use ndarray::{ArrayRef, Dimension};

use super::{FITS, Form, Forms, MAX_INPUTS, Row, apply, check, fits};
use crate::error::Error;
use crate::real::Real;

/// x ← a·x + Σ c_j·in_j in place, in one pass and without allocation.
///
/// `x_coefficient` is a, and `terms` are the pairs (c_j, in_j) of at most 16 arrays of the shape of
/// x; axis 0 is the sample. Each coefficient is rounded once to the element type; the sum runs from
/// left to right, and every product and every sum is rounded, so that the result has the bits of
/// the same expression written for one element, on every machine. Any layout will do; equal layouts
/// run at the speed of memory.
///
/// A coefficient of 0 does not hide its array: 0 · ∞ is NaN.
///
/// # Errors
///
/// [`Error::InvalidParameter`] or [`Error::InvalidEntry`] for a coefficient that is not finite in
/// the element type, [`Error::ShapeMismatch`], [`Error::NoSampleAxis`] for 0-dimensional arrays,
/// and [`Error::TooManyTerms`]. x is then unchanged.
///
/// ```
/// use diffusion_sampler::kernel::linear_combination;
/// use ndarray::array;
///
/// let mut x = array![[1.0f32, 2.0], [3.0, 4.0]];
/// let noise = array![[1.0, -1.0], [1.0, -1.0]];
/// linear_combination(&mut x, 2.0, &[(0.5, &noise)])?;
/// assert_eq!(x, array![[2.5, 3.5], [6.5, 7.5]]);
/// # Ok::<(), diffusion_sampler::Error>(())
/// ```
pub fn linear_combination<A: Real, D: Dimension>(
    x: &mut ArrayRef<A, D>,
    x_coefficient: f64,
    terms: &[(f64, &ArrayRef<A, D>)],
) -> Result<(), Error> {
    if !fits::<A>(x_coefficient) {
        return Err(Error::InvalidParameter {
            name: "x_coefficient",
            value: x_coefficient,
            requirement: FITS,
        });
    }
    if terms.len() > MAX_INPUTS {
        return Err(Error::TooManyTerms {
            found: terms.len(),
            max: MAX_INPUTS,
        });
    }
    let mut form = Form {
        x: Row::ZERO,
        x_from_y: 0.0,
        noise: 0.0,
        y: None,
        clip: None,
    };
    form.x.x = x_coefficient;
    for (index, (slot, &(value, _))) in form.x.inputs.iter_mut().zip(terms).enumerate() {
        if !fits::<A>(value) {
            return Err(Error::InvalidEntry {
                name: "terms",
                index,
                value,
                requirement: FITS,
            });
        }
        *slot = value;
    }
    // Whether the result is finite is the caller's business here.
    let mut run = |inputs: &[&ArrayRef<A, D>]| {
        let forms = Forms::Same(&form);
        check(forms, x, None, inputs)?;
        apply(forms, x, None, inputs, None).map(|_finite| ())
    };
    match *terms {
        [] => run(&[]),
        // The usual few terms are not made to pay for the room of the most.
        [(_, first)] => run(&[first]),
        [(_, first), (_, second)] => run(&[first, second]),
        [(_, first), ..] => {
            let mut inputs = [first; MAX_INPUTS];
            for (input, &(_, term)) in inputs.iter_mut().zip(terms) {
                *input = term;
            }
            run(&inputs[..terms.len()])
        }
    }
}

//! Doors for the benches and the count of allocations to what is not public; nobody else's.

use ndarray::{Array1, ArrayRef, Dim, Dimension};

use super::{Clipped, Form, Forms, Gram, Row, affine, gram, gram_slices, update_slices};
use crate::element::ModelElement;
use crate::error::Error;
use crate::memory;
use crate::real::Real;

/// What an update does beside x' = a·x + Σ c_j·in_j.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extras {
    /// Writes a second array.
    pub stores: bool,
    /// Reads what the second array held.
    pub reads: bool,
    /// Clips the estimate.
    pub clips: bool,
}

/// An update of one sample's slices, with the model's outputs first; returns whether all that came
/// out is finite. The coefficients keep values of size 1 at that size.
pub fn update_of_slices<A: Real, O: ModelElement<A>>(
    extras: Extras,
    x: &mut [A],
    y: &mut [A],
    outputs: &[&[O]],
    history: &[&[A]],
) -> bool {
    let count = outputs.len() + history.len();
    let share = 0.5 / count.max(1) as f64;
    let row = affine(0.25, &[share; super::MAX_INPUTS][..count]).x;
    let form = Form {
        x: row,
        x_from_y: if extras.reads { 0.125 } else { 0.0 },
        noise: 0.0,
        y: extras.stores.then_some(row),
        clip: extras.clips.then_some(Clipped {
            data: Row { x: 0.5, ..row },
            low: -1.0,
            high: 1.0,
            into_x: 0.125,
            into_y: 0.125,
        }),
    };
    let outputs = outputs.iter().map(|output| O::slice(output));
    let mut inputs = [O::wide(&[]); super::MAX_INPUTS];
    let all = outputs.chain(history.iter().map(|slice| O::wide(slice)));
    for (slot, input) in inputs.iter_mut().zip(all) {
        *slot = input;
    }
    let y = (extras.stores || extras.reads).then_some(y);
    update_slices(Forms::Same(&form), 1, x, y, &inputs[..count], None)
}

/// The reduction of up to 16 samples; returns the last inner product, so that the work cannot be
/// left out.
pub fn gram_of_slices<A: Real>(samples: usize, arrays: &[&[A]]) -> f64 {
    let mut out = [Gram::ZERO; 16];
    let out = &mut out[..samples.min(16)];
    gram_slices(samples, arrays, out);
    let last = arrays.len().saturating_sub(1);
    out.last().map_or(0.0, |gram| gram.inner[0][last])
}

/// The same of arrays of any layout and at most 16 samples.
///
/// # Errors
///
/// [`Error::ShapeMismatch`] and the like.
pub fn gram_of_arrays<A: Real, D: Dimension>(arrays: &[&ArrayRef<A, D>]) -> Result<f64, Error> {
    let mut out = [Gram::ZERO; 16];
    let samples = arrays
        .first()
        .map_or(0, |array| array.shape().first().map_or(0, |&n| n.min(16)));
    gram(arrays, &mut out[..samples])?;
    let last = arrays.len().saturating_sub(1);
    Ok(out[0].inner[0][last])
}

/// An array as the runs reserve theirs.
///
/// # Errors
///
/// [`Error::TooLarge`].
pub fn run_array<A: Real>(len: usize, value: A) -> Result<Array1<A>, Error> {
    memory::filled(Dim(len), value)
}

//! The hot loop: one fused pass over the arrays of one update.
//!
//! With x the state (read and written), y an optional second array (read and written) and in_j the inputs (read):
//!
//! ```text
//! plain      x' = a·x + Σ c_j·in_j + e·y + n·z          y' = b·x + Σ d_j·in_j
//! clipped    D  = clamp(p·x + Σ q_j·in_j, lo, hi)
//!            x' = a·x + Σ c_j·in_j + u·D + e·y + n·z    y' = b·x + Σ d_j·in_j + v·D
//! ```
//!
//! All right-hand sides take the old x and y; sums run from left to right, multiplications and additions are rounded
//! separately (no fused multiply-add), and z is standard normal noise. Every path gives the bits of this naive form.

mod naive;
mod reduce;

pub(crate) use reduce::{find_non_finite, squared_residuals};

use ndarray::{ArrayRef, Dimension};

use crate::error::Error;
use crate::real::Real;

/// The most inputs of one update: guidance outputs and history slots together.
pub(crate) const MAX_INPUTS: usize = 16;

/// A linear form a·x + Σ c_j·in_j.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) x: f64,
    pub(crate) inputs: [f64; MAX_INPUTS],
}

impl Row {
    pub(crate) const ZERO: Self = Self {
        x: 0.0,
        inputs: [0.0; MAX_INPUTS],
    };
}

/// The clipped estimate D and what it adds to x' and y'.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Clipped {
    pub(crate) data: Row,
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) into_x: f64,
    pub(crate) into_y: f64,
}

/// The scalars of one update; see the module's text for the formula.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Form {
    /// a and c_j.
    pub(crate) x: Row,
    /// e, the coefficient of the old y in x'.
    pub(crate) x_from_y: f64,
    /// n, the coefficient of the noise.
    pub(crate) noise: f64,
    /// b and d_j; `None` leaves y as it is.
    pub(crate) y: Option<Row>,
    /// The clipped variant.
    pub(crate) clip: Option<Clipped>,
}

/// The forms of a batch: one for all samples, or one per sample.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Forms<'a> {
    Same(&'a Form),
    PerSample(&'a [Form]),
}

/// Noise for the kernels: called with (row, first element, destination).
pub(crate) type FillNoise<'a, A> = &'a mut dyn FnMut(usize, usize, &mut [A]);

/// Applies an update in place, in one pass. Returns whether every new x (and y) is finite.
///
/// `noise` is asked for only where the form's noise coefficient is not 0.
///
/// # Errors
///
/// [`Error::NoSampleAxis`], [`Error::ShapeMismatch`], [`Error::WrongLength`] (forms per sample),
/// [`Error::TooManyTerms`].
pub(crate) fn update<A: Real, D: Dimension>(
    forms: Forms<'_>,
    x: &mut ArrayRef<A, D>,
    y: Option<&mut ArrayRef<A, D>>,
    inputs: &[&ArrayRef<A, D>],
    noise: Option<FillNoise<'_, A>>,
) -> Result<bool, Error> {
    naive::update(forms, x, y, inputs, noise)
}

/// The update of slices of equal length that hold `samples` rows, all of one form. Returns whether everything is finite.
pub(crate) fn update_slices<A: Real>(
    form: &Form,
    samples: usize,
    x: &mut [A],
    y: Option<&mut [A]>,
    inputs: &[&[A]],
    noise: Option<FillNoise<'_, A>>,
) -> bool {
    naive::update_slices(form, samples, x, y, inputs, noise)
}

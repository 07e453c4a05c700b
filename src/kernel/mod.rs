//! The hot loop: one fused pass over the arrays of one update.
//!
//! With x the state (read and written), y an optional second array (read and written) and in_j the
//! inputs (read):
//!
//! ```text
//! plain      x' = a·x + Σ c_j·in_j + e·y + n·z          y' = b·x + Σ d_j·in_j
//! clipped    D  = clamp(p·x + Σ q_j·in_j, lo, hi)
//!            x' = a·x + Σ c_j·in_j + u·D + e·y + n·z    y' = b·x + Σ d_j·in_j + v·D
//! ```
//!
//! All right-hand sides take the old x and y; sums run from left to right, multiplications and
//! additions are rounded separately (no fused multiply-add), and z is standard normal noise. The
//! terms e·y and n·z are there only if their coefficient is not 0 and there is a y or a source of
//! noise; all other terms are there always, so that 0 · ∞ is NaN. Every path gives the bits of this
//! naive form, which `naive.rs` writes out and `tests.rs` holds every path to.
//!
//! # The kernel, and how it departs from this text
//!
//! ```text
//! for each element i, in the order of memory:
//!     D  ← clamp(p·x[i] + Σ q_j·in_j[i])        found |= D is not finite, before the clamp
//!     x' ← a·x[i] + Σ c_j·in_j[i] + u·D + e·y[i] + n·z[i]
//!     y' ← b·x[i] + Σ d_j·in_j[i] + v·D
//!     x[i] ← x';  y[i] ← y'                      found |= x' or y' is not finite
//! ```
//!
//! Figures are ratios to a hand-unrolled AVX2 triad on the same buffers (`benches/update.rs`), on a
//! Zen 3 with f32.
//!
//! - *The number of inputs, and what is written, are constants of the loop* (`slices.rs` chooses,
//!   `fused.rs` has the loops): 1 to 6 inputs, with y and without; 1 and 2 when clipped. What is
//!   left runs term by term over blocks of 256 elements, which stay in L1 (`blocks.rs`). Terms that
//!   come last anyway (old y, noise) are inputs like any other where y is not written.
//! - *Chunks of 32 elements, rests of 4, and single ones.* One loop over 32 is what the compiler
//!   turns into four vectors with four accumulators. Chunks of 64 leave longer rests (0.87 against
//!   0.95 at 1 Ki), chunks of 16, or lanes in small arrays with a loop for each operation, are
//!   unrolled before they are vectorised and fall to 0.25; a copy of the chunk, stored when
//!   complete, costs 15 % at 4 Ki.
//! - *x and y are arguments of the inlined chunk, not fields of a struct*: only arguments are known
//!   not to overlap. As fields they cost a check for each chunk or the vectors altogether (0.40 in
//!   L1).
//! - *The store is aligned*: from 512 elements on, single elements come first until x lies on 32
//!   bytes, since a vector that straddles two cache lines is stored twice. The inputs may lie as
//!   they like.
//! - *Finite or not is read off a sum of all that was written*, one addition a value: a sum with a
//!   NaN or ∞ in it stays NaN or ∞. A sum of huge but finite values can overflow too, so a
//!   suspicion is settled by a second look at what was written. It costs nothing that can be
//!   measured from L2 on, 2 to 5 % at 4 Ki and 5 to 10 % at 1 Ki, where the last look at the lanes
//!   shows (on a Zen 4 the loop without the check reached 0.82 of the limit at 4 Ki, with it 0.67
//!   to 0.82); adding v · 0 or v − v, which needs no second look, took 14 % at 1 Ki, 8 % at 4 Ki
//!   and 3 to 8 % in L2. D is nowhere written, so there it is D · 0.
//! - *Noise* comes in blocks of 1024 on the stack, each used as soon as it is made, so it needs no
//!   buffer. The pieces that are requested follow from the shape alone: [0, 1024), [1024, 2048), …
//!   of each noisy row, in ascending order, whatever the layout. A generator that throws part of a
//!   pair away at the end of a piece still gives every layout the same.
//! - *Layout* (`layout.rs`): arrays in standard layout are slices. Other axes are sorted, turned
//!   and merged into the longest common rows, so that equal layouts of any axis order become one
//!   slice. ndarray's `as_slice_memory_order` would do that for equal strides only, and is `Some`
//!   on inverted axes too, where equal memory is not equal index.
//! - *Halves* (`mixed.rs`, feature `half`): the first inputs may be a model's f16 or bf16. They are
//!   read where they lie and widened chunk by chunk in registers: bf16 by a shift, f16 by F16C where
//!   there is AVX2 (`simd.rs`) and by integer operations elsewhere. Those take eight operations a
//!   vector, which do not hide behind the memory of L3: with them a step took 1.45 times as long as
//!   with an f32 output, with F16C 0.77 times.
//! - *Pieces* (`pieces.rs`): slices are cut where a new sample with a form of its own or a new
//!   block of noise begins; and where the forms go by positions along an axis (`places.rs`), where a
//!   position with another form begins. Where hardly two neighbours have one form, as along the last
//!   axis, elements are taken one by one (`single.rs`).
//! - *Threads* (`threads.rs`, feature `rayon`): long slices are cut into pieces, each of which
//!   takes the same path.
//! - *Small calls*: the path to the loop is inlined, and the room for many inputs, for noise and
//!   for views is set up only by the calls that need it: 20 ns a call instead of 60.
//!
//! Nothing is allocated, apart from rayon's queues. (ndarray keeps dynamic dimensions of more than
//! four axes on the heap, so views of those do allocate; standard layouts need no views.)
//!
//! Two inputs at once take 0.73 to 0.78 of the time of two passes in the caches and 0.58 to 0.74 in
//! memory, as a hand-unrolled loop does. Clipping is arithmetic, not bandwidth: with one input 1.2
//! times the plain step in memory, 1.6 in L3, 2.2 in L1 and L2, where 13 vector operations stand
//! against 4. Leaving terms with c_j = 0 out would save two of them, and lose the NaN of 0 · ∞.

#[doc(hidden)]
pub mod bench;
mod blocks;
mod convert;
mod fused;
mod gram;
mod input;
mod layout;
mod linear;
#[cfg(feature = "half")]
mod mixed;
#[cfg(test)]
mod naive;
mod pieces;
mod places;
mod reduce;
mod single;
mod slices;
#[cfg(test)]
mod tests;
mod threads;

#[doc(hidden)]
pub use crate::simd::{SimdLevel, force_simd_level, simd_level};
pub use convert::{narrow, widen};
pub(crate) use gram::{Gram, gram, gram_loops, gram_slices};
pub(crate) use input::Input;
pub use linear::linear_combination;
#[cfg(feature = "half")]
pub(crate) use mixed::Mixed;
pub(crate) use pieces::NOISE;
pub(crate) use places::{Places, positions, stride};
pub(crate) use reduce::{find_non_finite, find_non_finite_of, scaled_distance, squared_residuals};
pub(crate) use slices::{Operands, apply as update_loops};

use ndarray::{ArrayRef, Dimension};

use crate::error::Error;
use crate::noise::RowNoise;
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

/// The form x' = state·x + Σ c_j·in_j.
pub(crate) fn affine(state: f64, inputs: &[f64]) -> Form {
    let mut x = Row::ZERO;
    x.x = state;
    for (input, &c) in x.inputs.iter_mut().zip(inputs) {
        *input = c;
    }
    Form {
        x,
        x_from_y: 0.0,
        noise: 0.0,
        y: None,
        clip: None,
    }
}

/// What a coefficient must be.
const FITS: &str = "finite in the element type";

/// Whether a coefficient is finite after it is rounded to the element type.
#[inline(always)]
fn fits<A: Real>(coefficient: f64) -> bool {
    A::cast(coefficient).is_finite()
}

impl Form {
    /// Refuses coefficients of x, of the first `inputs` inputs, of the old y and of the noise that
    /// are not finite in the element type: an update with them would be reported as a model's
    /// output that is not finite.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`], [`Error::InvalidEntry`].
    pub(crate) fn require_fits<A: Real>(&self, inputs: usize) -> Result<(), Error> {
        let rows = [
            Some(&self.x),
            self.y.as_ref(),
            self.clip.as_ref().map(|clip| &clip.data),
        ];
        for row in rows.into_iter().flatten() {
            require_fits::<A>("coefficient of the state", row.x)?;
            for (index, &value) in row.inputs.iter().take(inputs).enumerate() {
                if !fits::<A>(value) {
                    return Err(Error::InvalidEntry {
                        name: "coefficients of the inputs",
                        index,
                        value,
                        requirement: FITS,
                    });
                }
            }
        }
        if let Some(clip) = &self.clip {
            require_fits::<A>("coefficient of the clipped estimate", clip.into_x)?;
            require_fits::<A>("coefficient of the clipped estimate", clip.into_y)?;
        }
        require_fits::<A>("coefficient of the second array", self.x_from_y)?;
        require_fits::<A>("coefficient of the noise", self.noise)
    }
}

fn require_fits<A: Real>(name: &'static str, value: f64) -> Result<(), Error> {
    crate::error::require(fits::<A>(value), name, value, FITS)
}

/// The forms of a batch: one for all samples, one per sample, or by positions along an axis.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Forms<'a> {
    Same(&'a Form),
    PerSample(&'a [Form]),
    /// The entries of the places are the forms' indices; a position with an entry beyond the last
    /// stays as it is, bit for bit.
    Along(&'a [Form], Places<'a>),
}

impl<'a> Forms<'a> {
    /// What is done from an element of a sample on, and up to how many elements, `most` or the
    /// rest of the sample at most; `None` where the forms do not say.
    #[inline(always)]
    fn of(
        self,
        (sample, element): (usize, usize),
        per_sample: usize,
        most: usize,
    ) -> Option<(Part<'a>, usize)> {
        let rest = most.min(per_sample - element);
        match self {
            Self::Same(form) => Some((Part::Update(form), rest)),
            Self::PerSample(forms) => Some((Part::Update(forms.get(sample)?), rest)),
            Self::Along(forms, places) => {
                let (entry, len) = places.run(sample, element, rest)?;
                let part = forms.get(entry).map_or(Part::Stay, Part::Update);
                Some((part, len.min(rest)))
            }
        }
    }

    /// Whether any sample's form has noise.
    #[inline(always)]
    fn noisy(self) -> bool {
        match self {
            Self::Same(form) => form.noise != 0.0,
            Self::PerSample(forms) | Self::Along(forms, _) => {
                forms.iter().any(|form| form.noise != 0.0)
            }
        }
    }
}

/// What is done to a piece.
#[derive(Clone, Copy, Debug)]
enum Part<'a> {
    Update(&'a Form),
    Stay,
}

/// Noise for the kernels: requested in pieces of at most 1024 elements, in ascending order unless
/// it can be shared.
pub(crate) type FillNoise<'a, A> = &'a mut dyn RowNoise<A>;

/// Applies an update in place, in one pass. Returns whether every new x (and y, and D before its
/// clamp) is finite.
///
/// `noise` is requested only where the form's noise coefficient is not 0.
///
/// # Errors
///
/// [`Error::NoSampleAxis`], [`Error::ShapeMismatch`], [`Error::WrongLength`] (forms per sample),
/// [`Error::TooManyTerms`], and [`Error::InvalidParameter`] or [`Error::InvalidEntry`] for a
/// coefficient that is not finite in the element type.
#[inline(always)]
pub(crate) fn update<A: Real, D: Dimension>(
    forms: Forms<'_>,
    x: &mut ArrayRef<A, D>,
    y: Option<&mut ArrayRef<A, D>>,
    inputs: &[&ArrayRef<A, D>],
    noise: Option<FillNoise<'_, A>>,
) -> Result<bool, Error> {
    check(forms, x, y.as_deref(), inputs)?;
    match forms {
        Forms::Same(form) => form.require_fits::<A>(inputs.len())?,
        Forms::PerSample(forms) | Forms::Along(forms, _) => forms
            .iter()
            .try_for_each(|form| form.require_fits::<A>(inputs.len()))?,
    }
    apply(forms, x, y, inputs, noise)
}

/// The same of arrays and coefficients that fit.
#[inline(always)]
fn apply<A: Real, D: Dimension>(
    forms: Forms<'_>,
    x: &mut ArrayRef<A, D>,
    y: Option<&mut ArrayRef<A, D>>,
    inputs: &[&ArrayRef<A, D>],
    noise: Option<FillNoise<'_, A>>,
) -> Result<bool, Error> {
    if x.is_empty() {
        return Ok(true);
    }
    Ok(layout::update(forms, x, y, inputs, noise))
}

/// The update of slices of equal length that hold `samples` rows; one form, or one per sample; at
/// most [`MAX_INPUTS`] inputs. Returns whether everything is finite.
#[inline]
pub(crate) fn update_slices<A: Real, S: Input<A>>(
    forms: Forms<'_>,
    samples: usize,
    x: &mut [A],
    y: Option<&mut [A]>,
    inputs: &[S],
    noise: Option<FillNoise<'_, A>>,
) -> bool {
    layout::update_slices(forms, samples, x, y, inputs, noise)
}

/// Whether the arrays and forms fit together.
#[inline(always)]
fn check<A, D: Dimension>(
    forms: Forms<'_>,
    x: &ArrayRef<A, D>,
    y: Option<&ArrayRef<A, D>>,
    inputs: &[&ArrayRef<A, D>],
) -> Result<(), Error> {
    let shape = x.shape();
    let Some(&samples) = shape.first() else {
        return Err(Error::NoSampleAxis);
    };
    if inputs.len() > MAX_INPUTS {
        return Err(Error::TooManyTerms {
            found: inputs.len(),
            max: MAX_INPUTS,
        });
    }
    let same = |name, other: &ArrayRef<A, D>| {
        if other.shape() == shape {
            Ok(())
        } else {
            Err(mismatch(name, shape, other.shape()))
        }
    };
    inputs.iter().try_for_each(|input| same("input", input))?;
    y.map_or(Ok(()), |y| same("second output", y))?;
    match forms {
        Forms::PerSample(forms) if forms.len() != samples => Err(Error::WrongLength {
            name: "levels",
            expected: samples,
            found: forms.len(),
        }),
        _ => Ok(()),
    }
}

#[cold]
fn mismatch(name: &'static str, expected: &[usize], found: &[usize]) -> Error {
    Error::ShapeMismatch {
        name,
        expected: expected.to_vec(),
        found: found.to_vec(),
    }
}

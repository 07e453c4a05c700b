//! Doors for the benches, the count of allocations and the fuzz targets to what is not public;
//! nobody else's.

use ndarray::{Array1, ArrayRef, Dim, Dimension};

use super::{
    Clipped, Form, Forms, Gram, MAX_INPUTS, Places, Row, affine, gram, gram_slices, update_slices,
};
use crate::element::ModelElement;
use crate::error::Error;
use crate::memory;
use crate::noise::{NoiseKey, RowNoise, Stream};
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
    let row = affine(0.25, &[share; MAX_INPUTS][..count]).x;
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
    let mut inputs = [O::wide(&[]); MAX_INPUTS];
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

/// A row of an update: the coefficient of the state, and of each input.
pub type Coefficients = (f64, [f64; MAX_INPUTS]);

/// The scalars of one update; the module `kernel` has the formula.
#[derive(Clone, Copy, Debug)]
pub struct Scalars {
    /// a and c_j.
    pub x: Coefficients,
    /// e.
    pub x_from_y: f64,
    /// n.
    pub noise: f64,
    /// b and d_j.
    pub y: Option<Coefficients>,
    /// p and q_j; lo and hi; u and v.
    pub clip: Option<(Coefficients, [f64; 2], [f64; 2])>,
}

impl Scalars {
    fn form(&self) -> Form {
        let row = |(x, inputs): Coefficients| Row { x, inputs };
        Form {
            x: row(self.x),
            x_from_y: self.x_from_y,
            noise: self.noise,
            y: self.y.map(row),
            clip: (self.clip).map(|(data, [low, high], [into_x, into_y])| Clipped {
                data: row(data),
                low,
                high,
                into_x,
                into_y,
            }),
        }
    }
}

/// To whom the scalars of an update belong.
#[derive(Clone, Copy, Debug)]
pub enum Whose<'a> {
    /// The first to all samples.
    All,
    /// To each sample its own.
    Samples,
    /// By the entry of each position along an axis.
    Positions(usize, &'a [u32]),
}

/// A source of noise: writes the elements from a first one on of a row.
pub type Fill<'a, A> = &'a mut dyn FnMut(usize, usize, &mut [A]);

struct Filler<'a, A>(Fill<'a, A>);

impl<A> RowNoise<A> for Filler<'_, A> {
    fn fill(&mut self, row: usize, first: usize, out: &mut [A]) {
        (self.0)(row, first, out);
    }

    fn key(&self, row: usize) -> NoiseKey {
        NoiseKey::new(row as u64, 0, Stream::Start)
    }
}

/// The update of arrays of any layout, as a run makes it. Returns whether everything is finite.
///
/// # Errors
///
/// As the kernel's.
pub fn update<A: Real, D: Dimension>(
    (scalars, whose): (&[Scalars], Whose<'_>),
    x: &mut ArrayRef<A, D>,
    y: Option<&mut ArrayRef<A, D>>,
    inputs: &[&ArrayRef<A, D>],
    noise: Option<Fill<'_, A>>,
) -> Result<bool, Error> {
    let forms: Vec<Form> = scalars.iter().map(Scalars::form).collect();
    let forms = match (whose, &*forms) {
        (Whose::All, [one, ..]) => Forms::Same(one),
        (Whose::All | Whose::Samples, many) => Forms::PerSample(many),
        (Whose::Positions(axis, of), many) => Forms::Along(many, Places::new(x.shape(), axis, of)?),
    };
    let mut filler = noise.map(Filler);
    let noise = filler.as_mut().map(|noise| noise as &mut dyn RowNoise<A>);
    super::update(forms, x, y, inputs, noise)
}

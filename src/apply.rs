//! Affine forms on arrays: what the functions on arrays, the runs and the sampler share.

use ndarray::{ArrayRef, Dimension};

use crate::error::Error;
use crate::kernel::{self, FillNoise, Form, Forms, Places};
use crate::level::{Levels, NoiseLevel};
use crate::memory::{self, Listed};
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

/// Applies the form of each level; what is clean (α = 1, σ = 0) along an axis stays as it is.
pub(crate) fn apply_levels<A: Real, D: Dimension>(
    levels: Levels<'_>,
    form: impl Fn(&NoiseLevel) -> Form,
    x: &mut ArrayRef<A, D>,
    inputs: &[&ArrayRef<A, D>],
    noise: Option<FillNoise<'_, A>>,
) -> Result<(), Error> {
    if levels.axis() == 0 {
        let forms: Vec<_> = levels.list().iter().map(form).listed()?;
        return apply(&forms, x, inputs, noise).map(drop);
    }
    let mut classes = Classes::default();
    // 1·x + 0·ε is x only where ε is finite, and x not −0.
    let given = |level: &NoiseLevel| level.alpha() == 1.0 && level.is_clean();
    classes.set(levels.list().iter().copied(), |level| !given(level))?;
    let moving = classes.different.iter().take(classes.moving);
    let forms: Vec<_> = moving.map(form).listed()?;
    let along = (levels.axis(), &classes.of[..]);
    apply_along(&forms, along, x, inputs, noise).map(drop)
}

/// Applies the forms of positions along an axis, by the entry of each; a position with an entry
/// beyond the last form stays as it is.
pub(crate) fn apply_along<A: Real, D: Dimension>(
    forms: &[Form],
    (axis, of): (usize, &[u32]),
    x: &mut ArrayRef<A, D>,
    inputs: &[&ArrayRef<A, D>],
    noise: Option<FillNoise<'_, A>>,
) -> Result<bool, Error> {
    let places = Places::new(x.shape(), axis, of)?;
    kernel::update(Forms::Along(forms, places), x, None, inputs, noise)
}

/// So many different entries are looked through for one that a position shares.
const LOOKED_THROUGH: usize = 64;

/// The different ones of a list, and the index of each entry among them. Equal entries that lie far
/// apart in a list of many different ones may be listed twice.
#[derive(Clone, Debug)]
pub(crate) struct Classes<T> {
    pub(crate) different: Vec<T>,
    pub(crate) of: Vec<u32>,
    /// So many of the first ones move; the others stay.
    pub(crate) moving: usize,
    /// Where each class is before its turn comes.
    places: Vec<u32>,
}

impl<T> Default for Classes<T> {
    fn default() -> Self {
        Self {
            different: Vec::new(),
            of: Vec::new(),
            moving: 0,
            places: Vec::new(),
        }
    }
}

impl<T: PartialEq + Copy> Classes<T> {
    /// Those of a list, the ones that move before the others; in the memory of the ones before.
    pub(crate) fn set(
        &mut self,
        list: impl Iterator<Item = T>,
        moves: impl Fn(&T) -> bool,
    ) -> Result<(), Error> {
        let Self { different, of, .. } = self;
        different.clear();
        of.clear();
        for entry in list {
            let first = different.len().saturating_sub(LOOKED_THROUGH);
            let known = different[first..].iter().rposition(|known| *known == entry);
            let index = known.map_or(different.len(), |index| first + index);
            if known.is_none() {
                memory::push(different, entry)?;
            }
            memory::push(of, index as u32)?;
        }
        self.order(moves)
    }

    fn order(&mut self, moves: impl Fn(&T) -> bool) -> Result<(), Error> {
        self.moving = self.different.iter().filter(|entry| moves(entry)).count();
        let (mut moved, mut stayed) = (0, self.moving as u32);
        self.places.clear();
        let places = self.different.iter().map(|entry| {
            let next = if moves(entry) {
                &mut moved
            } else {
                &mut stayed
            };
            *next += 1;
            *next - 1
        });
        memory::extend(&mut self.places, places)?;
        for index in &mut self.of {
            *index = self.places.get(*index as usize).copied().unwrap_or(*index);
        }
        // What moves comes first: each class to its place, one cycle after the other.
        for first in 0..self.different.len() {
            while let Some(&place) = self.places.get(first) {
                let place = place as usize;
                if place == first {
                    break;
                }
                self.different.swap(first, place);
                self.places.swap(first, place);
            }
        }
        Ok(())
    }
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

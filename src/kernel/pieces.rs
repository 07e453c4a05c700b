//! From slices to pieces of one form and at most one block of noise.

use super::places::Walk;
use super::single::{SHORT_RUN, STRETCH, single};
use super::slices::Operands;
use super::{FillNoise, Form, Forms, Input, MAX_INPUTS, Part};
use crate::real::Real;

/// The noise is requested in pieces of this length, short enough for L1. A stochastic step of 64 Ki
/// takes 1.14 times as long as its normals alone with pieces of 1024, 1.37 times with 256 (medians
/// of five runs taken in turn).
pub(crate) const NOISE: usize = 1024;

/// Rows of up to this length get a smaller room, which is cleared faster.
const SHORT: usize = 64;

/// What stays the same from slice to slice, and the result so far.
pub(super) struct Run<'r, 'n, A> {
    pub(super) forms: Forms<'r>,
    /// The elements of a sample.
    pub(super) per_sample: usize,
    pub(super) noise: Option<&'r mut Noise<'n, A>>,
    /// Whether everything so far is finite.
    pub(super) finite: bool,
}

impl<'r, 'n, A: Real> Run<'r, 'n, A> {
    #[inline(always)]
    pub(super) fn new(
        forms: Forms<'r>,
        per_sample: usize,
        noise: Option<&'r mut Noise<'n, A>>,
    ) -> Self {
        Self {
            forms,
            per_sample,
            noise,
            finite: true,
        }
    }

    /// The elements from `start` on, in slices, by this thread.
    #[inline(always)]
    pub(super) fn in_order<S: Input<A>>(
        &mut self,
        start: usize,
        x: &mut [A],
        y: Option<&mut [A]>,
        inputs: &[S],
    ) {
        if let (Forms::Same(form), None) = (self.forms, &self.noise) {
            let z = None;
            self.finite &= S::apply(Operands {
                form,
                x,
                y,
                inputs,
                z,
            });
        } else {
            self.pieces(start, x, y, inputs);
        }
    }

    /// The same cut where a new sample, a position with another form or a new block of noise begins.
    #[inline(never)]
    fn pieces<S: Input<A>>(
        &mut self,
        start: usize,
        x: &mut [A],
        mut y: Option<&mut [A]>,
        inputs: &[S],
    ) {
        let mut sample = start / self.per_sample;
        let mut element = start % self.per_sample;
        let mut done = 0;
        let mut parts = [S::EMPTY; MAX_INPUTS];
        // No run of one form is looked at beyond the block of noise that ends the piece.
        let longest = if self.noise.is_some() {
            NOISE
        } else {
            usize::MAX
        };
        while done < x.len() {
            // Always there: a form for each sample is what the callers have checked. If it were
            // not, the rest would stay as it is, which must not pass for a finished update.
            let at = (sample, element);
            let most = longest.min(x.len() - done);
            let Some((part, mut len)) = self.forms.of(at, self.per_sample, most) else {
                debug_assert!(false, "sample {sample} has no form");
                self.finite = false;
                return;
            };
            if let (Forms::Along(forms, places), true) = (self.forms, len < SHORT_RUN) {
                let most = STRETCH.min(self.per_sample - element);
                let stretch = done..x.len().min(done + most);
                len = stretch.len();
                let y = y.as_deref_mut().map(|y| &mut y[stretch.clone()]);
                let entries = places.walk(sample, element);
                let x = &mut x[stretch];
                self.one_by_one((forms, entries), at, (x, y), (inputs, done));
            } else if let Part::Update(form) = part {
                let z = match &mut self.noise {
                    Some(noise) if form.noise != 0.0 => {
                        let z = noise.from(sample, element, self.per_sample);
                        len = len.min(z.len());
                        Some(&z[..len])
                    }
                    _ => None,
                };
                let piece = done..done + len;
                for (part, input) in parts.iter_mut().zip(inputs) {
                    *part = input.part(piece.clone());
                }
                self.finite &= S::apply(Operands {
                    form,
                    x: &mut x[piece.clone()],
                    y: y.as_deref_mut().map(|y| &mut y[piece]),
                    inputs: &parts[..inputs.len()],
                    z,
                });
            }
            done += len;
            element += len;
            if element == self.per_sample {
                (sample, element) = (sample + 1, 0);
            }
        }
    }
}

impl<A: Real> Run<'_, '_, A> {
    /// Elements from `at` on, each with a form of its own; the inputs' begin at `done`.
    #[inline(never)]
    fn one_by_one<S: Input<A>>(
        &mut self,
        (forms, mut entries): (&[Form], Walk<'_>),
        (sample, element): (usize, usize),
        (x, mut y): (&mut [A], Option<&mut [A]>),
        (inputs, done): (&[S], usize),
    ) {
        for (index, x) in x.iter_mut().enumerate() {
            let Some(entry) = entries.next() else {
                debug_assert!(false, "sample {sample} has no form");
                self.finite = false;
                return;
            };
            let Some(form) = forms.get(entry) else {
                continue;
            };
            let z = match &mut self.noise {
                Some(noise) if form.noise != 0.0 => {
                    let z = noise.from(sample, element + index, self.per_sample);
                    Some(z[0])
                }
                _ => None,
            };
            let y = y.as_deref_mut().map(|y| &mut y[index]);
            self.finite &= single(form, x, y, (inputs, done + index), z);
        }
    }
}

/// The noise, a block at a time. Which pieces are requested depends on the shape alone, not on the
/// layout.
pub(super) struct Noise<'n, A> {
    pub(super) fill: FillNoise<'n, A>,
    /// The sample and first element of the block that is held.
    at: Option<(usize, usize)>,
    /// Room for a block: [`NOISE`] elements, or as many as a row has.
    block: &'n mut [A],
}

/// Calls `body` with the noise of rows of this length, whose blocks lie on the stack.
#[inline(always)]
pub(super) fn with_room<A: Real>(
    fill: FillNoise<'_, A>,
    per_sample: usize,
    body: &mut dyn FnMut(&mut Noise<'_, A>) -> bool,
) -> bool {
    if per_sample <= SHORT {
        in_room::<A, SHORT>(fill, body)
    } else {
        in_room::<A, NOISE>(fill, body)
    }
}

#[inline(never)]
fn in_room<A: Real, const N: usize>(
    fill: FillNoise<'_, A>,
    body: &mut dyn FnMut(&mut Noise<'_, A>) -> bool,
) -> bool {
    let mut block = [A::zero(); N];
    body(&mut Noise {
        fill,
        at: None,
        block: &mut block,
    })
}

impl<A: Real> Noise<'_, A> {
    /// The normals from `element` to the end of its block.
    fn from(&mut self, sample: usize, element: usize, per_sample: usize) -> &[A] {
        let first = element - element % NOISE;
        let len = NOISE.min(per_sample - first);
        if self.at != Some((sample, first)) {
            self.fill.fill(sample, first, &mut self.block[..len]);
            self.at = Some((sample, first));
        }
        &self.block[element - first..len]
    }
}

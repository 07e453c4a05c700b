//! Any form, term by term over blocks that stay in L1, and what adds noise behind a fused pass.

use std::ops::Range;

use super::fused::{all_finite, clamp};
use super::{Form, Row};
use crate::element::ModelElement;
use crate::real::Real;
use crate::simd::{Task, dispatch};

/// The elements of a stack block.
pub(super) const BLOCK: usize = 256;

/// x ← x + n·z, where it is not one of the inputs already. Returns whether x is finite.
#[inline(always)]
pub(super) fn add_noise<A: Real>(form: &Form, x: &mut [A], z: Option<&[A]>) -> bool {
    match z {
        None => true,
        Some(z) => dispatch(AddNoise {
            x,
            z,
            n: A::cast(form.noise),
        }),
    }
}

struct AddNoise<'s, A> {
    x: &'s mut [A],
    z: &'s [A],
    n: A,
}

impl<A: Real> Task for AddNoise<'_, A> {
    type Output = bool;

    #[inline(always)]
    fn run(self) -> bool {
        let mut poison = Poison::new();
        add_scaled(self.x, self.n, self.z);
        poison.take(self.x);
        poison.all_finite()
    }
}

/// Any form on inputs of the type of x. Returns whether all that came out is finite.
#[inline(always)]
pub(super) fn blocks<A: Real>(
    form: &Form,
    x: &mut [A],
    y: Option<&mut [A]>,
    inputs: &[&[A]],
    z: Option<&[A]>,
) -> bool {
    dispatch(Blocks::<A, A> {
        form,
        x,
        y,
        halves: &[],
        inputs,
        z,
    })
}

/// Any form, any number of inputs: term by term over blocks that stay in L1.
pub(super) struct Blocks<'s, A, O> {
    pub(super) form: &'s Form,
    pub(super) x: &'s mut [A],
    pub(super) y: Option<&'s mut [A]>,
    /// The first inputs, where they are the model's own.
    pub(super) halves: &'s [&'s [O]],
    pub(super) inputs: &'s [&'s [A]],
    pub(super) z: Option<&'s [A]>,
}

impl<A: Real, O: ModelElement<A>> Task for Blocks<'_, A, O> {
    type Output = bool;

    #[inline(always)]
    fn run(self) -> bool {
        let Self {
            form,
            x,
            mut y,
            halves,
            inputs,
            z,
        } = self;
        let (mut data, mut new_y) = ([A::zero(); BLOCK], [A::zero(); BLOCK]);
        let mut poison = Poison::new();
        let mut start = 0;
        for x in x.chunks_mut(BLOCK) {
            let block = start..start + x.len();
            start = block.end;
            let (data, new_y) = (&mut data[..x.len()], &mut new_y[..x.len()]);
            let mut y = y.as_deref_mut().map(|y| &mut y[block.clone()]);
            let inputs = (halves, inputs, &block);
            // D and the new y first: they need the old x.
            if let Some(clip) = &form.clip {
                scaled(data, A::cast(clip.data.x), x);
                add_inputs(data, &clip.data, inputs);
                poison.take(data);
                let (low, high) = (A::cast(clip.low), A::cast(clip.high));
                for value in data.iter_mut() {
                    *value = clamp(*value, low, high);
                }
            }
            if let (Some(_), Some(row)) = (&y, &form.y) {
                scaled(new_y, A::cast(row.x), x);
                add_inputs(new_y, row, inputs);
                if let Some(clip) = &form.clip {
                    add_scaled(new_y, A::cast(clip.into_y), data);
                }
                poison.take(new_y);
            }
            let a = A::cast(form.x.x);
            for value in x.iter_mut() {
                *value = a * *value;
            }
            add_inputs(x, &form.x, inputs);
            if let Some(clip) = &form.clip {
                add_scaled(x, A::cast(clip.into_x), data);
            }
            if let Some(y) = &mut y {
                if form.x_from_y != 0.0 {
                    add_scaled(x, A::cast(form.x_from_y), y);
                }
                if form.y.is_some() {
                    y.copy_from_slice(new_y);
                }
            }
            if let Some(z) = z {
                add_scaled(x, A::cast(form.noise), &z[block.clone()]);
            }
            poison.take(x);
        }
        poison.all_finite()
    }
}

/// sum ← sum + Σ c_j·in_j over a block. Inlined, as all that is hot in a [`Task`]: a closure here
/// was not, and ran without AVX2.
#[inline(always)]
fn add_inputs<A: Real, O: ModelElement<A>>(
    sum: &mut [A],
    row: &Row,
    (halves, inputs, block): (&[&[O]], &[&[A]], &Range<usize>),
) {
    for (half, &c) in halves.iter().zip(&row.inputs) {
        add_scaled(sum, A::cast(c), &half[block.clone()]);
    }
    for (input, &c) in inputs.iter().zip(&row.inputs[halves.len()..]) {
        add_scaled(sum, A::cast(c), &input[block.clone()]);
    }
}

/// sum ← c · values
#[inline(always)]
fn scaled<A: Real>(sum: &mut [A], c: A, values: &[A]) {
    for (sum, &value) in sum.iter_mut().zip(values) {
        *sum = c * value;
    }
}

/// sum ← sum + c · values
#[inline(always)]
fn add_scaled<A: Real, O: ModelElement<A>>(sum: &mut [A], c: A, values: &[O]) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += c * value.widened();
    }
}

/// Lanes of Σ v · 0, which is NaN exactly if a v was not finite.
struct Poison<A>([A; 32]);

impl<A: Real> Poison<A> {
    #[inline(always)]
    fn new() -> Self {
        Self([A::zero(); 32])
    }

    #[inline(always)]
    fn take(&mut self, values: &[A]) {
        let (chunks, rest) = values.as_chunks::<32>();
        for chunk in chunks {
            for (lane, &value) in self.0.iter_mut().zip(chunk) {
                *lane += value * A::zero();
            }
        }
        for (lane, &value) in self.0.iter_mut().zip(rest) {
            *lane += value * A::zero();
        }
    }

    #[inline(always)]
    fn all_finite(&self) -> bool {
        all_finite(&self.0)
    }
}

//! The fused loops: one pass in chunks of lanes. The [module's text](super) gives the reasons of
//! their form.

use super::{Form, Row};
use crate::element::ModelElement;
use crate::real::Real;
use crate::simd::{Task, dispatch};

/// The elements of a chunk of the fused loops: four AVX vectors of f32.
const LANES: usize = 32;

/// Shorter slices gain nothing from aligned stores.
const WORTH_ALIGNING: usize = 512;

/// Every input of the type of x.
#[inline(always)]
pub(super) fn fused<A: Real, const N: usize, const Y: bool, const E: bool, const C: bool>(
    form: &Form,
    x: &mut [A],
    y: &mut [A],
    inputs: [&[A]; N],
) -> bool {
    fused_mixed::<A, A, 0, N, Y, E, C>(form, x, y, [&[]; N], inputs)
}

/// The first H of the N inputs are the model's own, and read from `halves`; the others are read
/// from `inputs`. The rest of both is not read.
#[inline(always)]
pub(super) fn fused_mixed<
    A: Real,
    O: ModelElement<A>,
    const H: usize,
    const N: usize,
    const Y: bool,
    const E: bool,
    const C: bool,
>(
    form: &Form,
    x: &mut [A],
    y: &mut [A],
    halves: [&[O]; N],
    inputs: [&[A]; N],
) -> bool {
    let found = dispatch(Fused::<A, O, H, N, Y, E, C> {
        scalars: Scalars::new::<Y, E, C>(form),
        part: Part {
            x: &mut *x,
            y: &mut *y,
            halves,
            inputs,
        },
    });
    found.data && (found.state || (all_finite(x) && all_finite(y)))
}

/// The scalars of a form in the element type.
struct Scalars<A, const N: usize> {
    a: A,
    c: [A; N],
    b: A,
    d: [A; N],
    p: A,
    q: [A; N],
    low: A,
    high: A,
    u: A,
    v: A,
    e: A,
}

impl<A: Real, const N: usize> Scalars<A, N> {
    /// Those that the variant needs; the others are 0.
    #[inline(always)]
    fn new<const Y: bool, const E: bool, const C: bool>(form: &Form) -> Self {
        let zero = A::zero();
        let mut scalars = Self {
            a: A::cast(form.x.x),
            c: inputs(&form.x),
            b: zero,
            d: [zero; N],
            p: zero,
            q: [zero; N],
            low: zero,
            high: zero,
            u: zero,
            v: zero,
            e: zero,
        };
        if Y && let Some(row) = &form.y {
            scalars.b = A::cast(row.x);
            scalars.d = inputs(row);
        }
        if C && let Some(clip) = &form.clip {
            scalars.p = A::cast(clip.data.x);
            scalars.q = inputs(&clip.data);
            scalars.low = A::cast(clip.low);
            scalars.high = A::cast(clip.high);
            scalars.u = A::cast(clip.into_x);
            scalars.v = A::cast(clip.into_y);
        }
        if E {
            scalars.e = A::cast(form.x_from_y);
        }
        scalars
    }
}

/// The coefficients of the first N inputs.
#[inline(always)]
fn inputs<A: Real, const N: usize>(row: &Row) -> [A; N] {
    let mut scalars = [A::zero(); N];
    for (scalar, &coefficient) in scalars.iter_mut().zip(&row.inputs) {
        *scalar = A::cast(coefficient);
    }
    scalars
}

/// What the sums of a pass say.
struct Finite {
    /// The new x and y: true is certain; false may be the sum's own overflow.
    state: bool,
    /// D before the clamp: certain either way.
    data: bool,
}

/// One pass of a form over N inputs, the first H of which are `halves`. Y: y is written; E: the old
/// y enters x'; C: the clipped variant.
struct Fused<'s, A, O, const H: usize, const N: usize, const Y: bool, const E: bool, const C: bool>
{
    scalars: Scalars<A, N>,
    part: Part<'s, A, O, H, N, Y>,
}

/// A range of the operands.
struct Part<'s, A, O, const H: usize, const N: usize, const Y: bool> {
    x: &'s mut [A],
    /// Empty unless Y.
    y: &'s mut [A],
    /// Empty from H on.
    halves: [&'s [O]; N],
    /// Empty before H.
    inputs: [&'s [A]; N],
}

impl<A, O, const H: usize, const N: usize, const Y: bool, const E: bool, const C: bool> Task
    for Fused<'_, A, O, H, N, Y, E, C>
where
    A: Real,
    O: ModelElement<A>,
{
    type Output = Finite;

    #[inline(always)]
    fn run(self) -> Finite {
        let Self { scalars, part } = self;
        let mut found = Finite {
            state: true,
            data: true,
        };
        let head = head(part.x);
        let (head, rest) = part.split_at(head);
        let body = rest.x.len() - rest.x.len() % LANES;
        let (body, tail) = rest.split_at(body);
        scalars.short::<O, H, Y, E, C>(&mut found, head);
        scalars.chunks::<O, H, LANES, Y, E, C>(&mut found, body);
        scalars.short::<O, H, Y, E, C>(&mut found, tail);
        found
    }
}

impl<'s, A, O, const H: usize, const N: usize, const Y: bool> Part<'s, A, O, H, N, Y> {
    #[inline(always)]
    fn split_at(self, at: usize) -> (Self, Self) {
        let (x, x_rest) = self.x.split_at_mut(at);
        let (y, y_rest) = self.y.split_at_mut(if Y { at } else { 0 });
        let (mut inputs, mut inputs_rest): ([&[A]; N], [&[A]; N]) = ([&[]; N], [&[]; N]);
        let (mut halves, mut halves_rest): ([&[O]; N], [&[O]; N]) = ([&[]; N], [&[]; N]);
        for j in 0..H {
            (halves[j], halves_rest[j]) = self.halves[j].split_at(at);
        }
        for j in H..N {
            (inputs[j], inputs_rest[j]) = self.inputs[j].split_at(at);
        }
        let part = Self {
            x,
            y,
            halves,
            inputs,
        };
        let rest = Self {
            x: x_rest,
            y: y_rest,
            halves: halves_rest,
            inputs: inputs_rest,
        };
        (part, rest)
    }
}

impl<A: Real, const N: usize> Scalars<A, N> {
    /// The few elements before and after the long chunks.
    #[inline(always)]
    fn short<O: ModelElement<A>, const H: usize, const Y: bool, const E: bool, const C: bool>(
        &self,
        found: &mut Finite,
        part: Part<'_, A, O, H, N, Y>,
    ) {
        let fours = part.x.len() - part.x.len() % 4;
        let (fours, rest) = part.split_at(fours);
        self.chunks::<O, H, 4, Y, E, C>(found, fours);
        self.chunks::<O, H, 1, Y, E, C>(found, rest);
    }

    /// Elements in chunks of L, a whole number of them.
    #[inline(always)]
    fn chunks<
        O: ModelElement<A>,
        const H: usize,
        const L: usize,
        const Y: bool,
        const E: bool,
        const C: bool,
    >(
        &self,
        found: &mut Finite,
        part: Part<'_, A, O, H, N, Y>,
    ) {
        let Part {
            x,
            y,
            halves,
            inputs,
        } = part;
        let x = x.as_chunks_mut::<L>().0;
        if x.is_empty() {
            return;
        }
        let y = y.as_chunks_mut::<L>().0;
        let zeros = [A::zero(); L];
        let no_halves = [O::default(); L];
        let mut half_slices: [&[[O; L]]; N] = [&[]; N];
        for j in 0..H {
            half_slices[j] = &halves[j].as_chunks::<L>().0[..x.len()];
        }
        let mut slices: [&[[A; L]]; N] = [&[]; N];
        for j in H..N {
            slices[j] = &inputs[j].as_chunks::<L>().0[..x.len()];
        }
        let (mut state, mut data, mut absent) = (zeros, zeros, zeros);
        for k in 0..x.len() {
            let mut half_chunk = [&no_halves; N];
            for j in 0..H {
                half_chunk[j] = &half_slices[j][k];
            }
            let mut chunk = [&zeros; N];
            for j in H..N {
                chunk[j] = &slices[j][k];
            }
            let ys = if Y { &mut y[k] } else { &mut absent };
            let inputs = (half_chunk, chunk);
            self.chunk::<O, H, L, Y, E, C>(&mut x[k], ys, inputs, &mut state, &mut data);
        }
        found.state &= all_finite(&state);
        if C {
            found.data &= all_finite(&data);
        }
    }

    /// One chunk. That x and y are arguments of their own, not fields, tells the compiler that
    /// nothing overlaps.
    #[inline(always)]
    fn chunk<
        O: ModelElement<A>,
        const H: usize,
        const L: usize,
        const Y: bool,
        const E: bool,
        const C: bool,
    >(
        &self,
        x: &mut [A; L],
        y: &mut [A; L],
        (halves, inputs): ([&[O; L]; N], [&[A; L]; N]),
        state: &mut [A; L],
        data: &mut [A; L],
    ) {
        let mut wide = [[A::zero(); L]; N];
        for j in 0..H {
            wide[j] = O::widened_chunk(halves[j]);
        }
        for l in 0..L {
            let input = |j: usize| if j < H { wide[j][l] } else { inputs[j][l] };
            let mut new_x = self.a * x[l];
            for j in 0..N {
                new_x += self.c[j] * input(j);
            }
            let mut clamped = A::zero();
            if C {
                let mut d = self.p * x[l];
                for j in 0..N {
                    d += self.q[j] * input(j);
                }
                data[l] += d * A::zero();
                clamped = clamp(d, self.low, self.high);
                new_x += self.u * clamped;
            }
            if E {
                new_x += self.e * y[l];
            }
            if Y {
                let mut new_y = self.b * x[l];
                for j in 0..N {
                    new_y += self.d[j] * input(j);
                }
                if C {
                    new_y += self.v * clamped;
                }
                y[l] = new_y;
                state[l] += new_y;
            }
            x[l] = new_x;
            state[l] += new_x;
        }
    }
}

/// The number of elements before the first one whose address is a multiple of 32.
#[inline(always)]
fn head<A>(x: &[A]) -> usize {
    if x.len() < WORTH_ALIGNING {
        return 0;
    }
    x.as_ptr().addr().wrapping_neg() % 32 / size_of::<A>()
}

/// NaN stays NaN.
#[inline(always)]
pub(super) fn clamp<A: Real>(value: A, low: A, high: A) -> A {
    let value = if value < low { low } else { value };
    if value > high { high } else { value }
}

/// Without a branch for each value, so that it vectorises.
#[inline(always)]
pub(super) fn all_finite<A: Real>(values: &[A]) -> bool {
    values
        .iter()
        .fold(true, |finite, value| finite & value.is_finite())
}

//! The loops: one update over slices of equal length. The [module's text](super) gives the reasons of their form.

use super::{Form, Row};
use crate::real::Real;
use crate::simd::{Task, dispatch};

/// The elements of a stack block; the noise is asked for in blocks of this length too.
pub(super) const BLOCK: usize = 256;

/// The slices of one call, all of one length.
pub(super) struct Operands<'s, A> {
    pub(super) x: &'s mut [A],
    pub(super) y: Option<&'s mut [A]>,
    pub(super) inputs: &'s [&'s [A]],
    /// Standard normals; `None` where the form has no noise.
    pub(super) z: Option<&'s [A]>,
}

/// Applies a form to slices. Returns whether all that came out is finite.
pub(super) fn apply<A: Real>(form: &Form, operands: Operands<'_, A>) -> bool {
    let Operands { x, y, inputs, z } = operands;
    let old_y = form.x_from_y != 0.0;
    match (y, &form.clip) {
        (Some(y), None) if form.y.is_some() => {
            if old_y {
                plain::<A, true, true>(form, x, y, inputs, z)
            } else {
                plain::<A, true, false>(form, x, y, inputs, z)
            }
        }
        (Some(y), Some(_)) if form.y.is_some() => {
            if old_y {
                clipped::<A, true, true>(form, x, y, inputs, z)
            } else {
                clipped::<A, true, false>(form, x, y, inputs, z)
            }
        }
        (Some(y), Some(_)) if old_y => dispatch(Blocks {
            form,
            x,
            y: Some(y),
            inputs,
            z,
        }),
        (_, Some(_)) => clipped::<A, false, false>(form, x, &mut [], inputs, z),
        (y, None) => linear(form, x, y.filter(|_| old_y), inputs, z),
    }
}

/// Writes x alone. The old y and the noise come last in the sum, so they are like any other input.
fn linear<A: Real>(
    form: &Form,
    x: &mut [A],
    y: Option<&mut [A]>,
    inputs: &[&[A]],
    z: Option<&[A]>,
) -> bool {
    let count = inputs.len() + usize::from(y.is_some()) + usize::from(z.is_some());
    if count == inputs.len() {
        return plain::<A, false, false>(form, x, &mut [], inputs, None);
    }
    if count > SPECIALISED {
        return dispatch(Blocks {
            form,
            x,
            y,
            inputs,
            z,
        });
    }
    let mut extended = Form {
        x: form.x,
        x_from_y: 0.0,
        noise: 0.0,
        y: None,
        clip: None,
    };
    let mut slices: [&[A]; SPECIALISED] = [&[]; SPECIALISED];
    slices[..inputs.len()].copy_from_slice(inputs);
    let extra = [
        (y.as_deref(), form.x_from_y),
        (z, form.noise),
    ];
    let mut len = inputs.len();
    for (slice, coefficient) in extra {
        if let Some(slice) = slice {
            slices[len] = slice;
            extended.x.inputs[len] = coefficient;
            len += 1;
        }
    }
    plain::<A, false, false>(&extended, x, &mut [], &slices[..len], None)
}

/// The most inputs with a loop of their own.
const SPECIALISED: usize = 6;

/// The plain form, specialised by the number of inputs.
fn plain<A: Real, const Y: bool, const E: bool>(
    form: &Form,
    x: &mut [A],
    y: &mut [A],
    inputs: &[&[A]],
    z: Option<&[A]>,
) -> bool {
    let finite = match *inputs {
        [a] => fused::<A, 1, Y, E, false>(form, x, y, [a]),
        [a, b] => fused::<A, 2, Y, E, false>(form, x, y, [a, b]),
        [a, b, c] => fused::<A, 3, Y, E, false>(form, x, y, [a, b, c]),
        [a, b, c, d] => fused::<A, 4, Y, E, false>(form, x, y, [a, b, c, d]),
        [a, b, c, d, e] => fused::<A, 5, Y, E, false>(form, x, y, [a, b, c, d, e]),
        [a, b, c, d, e, f] => fused::<A, 6, Y, E, false>(form, x, y, [a, b, c, d, e, f]),
        _ => {
            return dispatch(Blocks {
                form,
                x,
                y: Y.then_some(y),
                inputs,
                z,
            });
        }
    };
    add_noise(form, x, z) && finite
}

/// The clipped form, specialised for the usual numbers of inputs: one model output, or two that guide each other.
fn clipped<A: Real, const Y: bool, const E: bool>(
    form: &Form,
    x: &mut [A],
    y: &mut [A],
    inputs: &[&[A]],
    z: Option<&[A]>,
) -> bool {
    let finite = match *inputs {
        [a] => fused::<A, 1, Y, E, true>(form, x, y, [a]),
        [a, b] => fused::<A, 2, Y, E, true>(form, x, y, [a, b]),
        _ => {
            return dispatch(Blocks {
                form,
                x,
                y: Y.then_some(y),
                inputs,
                z,
            });
        }
    };
    add_noise(form, x, z) && finite
}

/// x ← x + n·z, the last term where it is no input of [`linear`]. Returns whether x is finite.
fn add_noise<A: Real>(form: &Form, x: &mut [A], z: Option<&[A]>) -> bool {
    z.is_none_or(|z| {
        dispatch(AddNoise {
            x,
            z,
            n: A::cast(form.noise),
        })
    })
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
        poison.is_none()
    }
}

fn fused<A: Real, const N: usize, const Y: bool, const E: bool, const C: bool>(
    form: &Form,
    x: &mut [A],
    y: &mut [A],
    inputs: [&[A]; N],
) -> bool {
    let sums = dispatch(Fused::<A, N, Y, E, C> {
        scalars: Scalars::new(form),
        x: &mut *x,
        y: &mut *y,
        inputs,
    });
    // The sum of finite numbers may overflow, so a suspicion is not yet a finding.
    sums.data.is_finite()
        && (sums.state.is_finite()
            || x.iter().chain(y.iter()).all(|value| value.is_finite()))
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
    #[inline(always)]
    fn new(form: &Form) -> Self {
        let inputs = |row: &Row| std::array::from_fn(|j| A::cast(row.inputs[j]));
        let zero = A::zero();
        let (b, d) = match &form.y {
            Some(row) => (A::cast(row.x), inputs(row)),
            None => (zero, [zero; N]),
        };
        let (p, q, [low, high, u, v]) = match &form.clip {
            Some(clip) => (
                A::cast(clip.data.x),
                inputs(&clip.data),
                [clip.low, clip.high, clip.into_x, clip.into_y].map(A::cast),
            ),
            None => (zero, [zero; N], [zero; 4]),
        };
        Self {
            a: A::cast(form.x.x),
            c: inputs(&form.x),
            b,
            d,
            p,
            q,
            low,
            high,
            u,
            v,
            e: A::cast(form.x_from_y),
        }
    }
}

/// Sums that are finite only if all their terms were.
struct Sums<A> {
    /// Of the new x and y; it may overflow.
    state: A,
    /// Of D · 0 before the clamp, which cannot.
    data: A,
}

/// One pass of a form over N inputs. Y: y is written; E: the old y enters x'; C: the clipped variant.
struct Fused<'s, A, const N: usize, const Y: bool, const E: bool, const C: bool> {
    scalars: Scalars<A, N>,
    x: &'s mut [A],
    /// Empty unless Y.
    y: &'s mut [A],
    inputs: [&'s [A]; N],
}

impl<A: Real, const N: usize, const Y: bool, const E: bool, const C: bool> Task
    for Fused<'_, A, N, Y, E, C>
{
    type Output = Sums<A>;

    #[inline(always)]
    fn run(self) -> Sums<A> {
        if size_of::<A>() == 4 {
            self.chunks::<64>()
        } else {
            self.chunks::<32>()
        }
    }
}

impl<A: Real, const N: usize, const Y: bool, const E: bool, const C: bool>
    Fused<'_, A, N, Y, E, C>
{
    /// Head up to the alignment of x, chunks of L, tail.
    #[inline(always)]
    fn chunks<const L: usize>(self) -> Sums<A> {
        let Self {
            scalars,
            x,
            y,
            inputs,
        } = self;
        let len = x.len();
        let head = head::<A>(x);
        let chunks = (len - head) / L;
        let tail = head + chunks * L;
        let mut sums = Sums {
            state: A::zero(),
            data: A::zero(),
        };

        let (x_body, x_tail) = x.split_at_mut(tail);
        let (x_head, x_body) = x_body.split_at_mut(head);
        let (y_body, y_tail) = y.split_at_mut(if Y { tail } else { 0 });
        let (y_head, y_body) = y_body.split_at_mut(if Y { head } else { 0 });
        let mut inputs_head: [&[A]; N] = [&[]; N];
        let mut inputs_body: [&[[A; L]]; N] = [&[]; N];
        let mut inputs_tail: [&[A]; N] = [&[]; N];
        for j in 0..N {
            inputs_head[j] = &inputs[j][..head];
            inputs_body[j] = &inputs[j][head..tail].as_chunks().0[..chunks];
            inputs_tail[j] = &inputs[j][tail..len];
        }
        scalars.each::<Y, E, C>(&mut sums, x_head, y_head, inputs_head);
        if chunks > 0 {
            let (x_body, y_body) = (x_body.as_chunks_mut().0, y_body.as_chunks_mut().0);
            scalars.body::<L, Y, E, C>(&mut sums, x_body, y_body, inputs_body);
        }
        scalars.each::<Y, E, C>(&mut sums, x_tail, y_tail, inputs_tail);
        sums
    }
}

impl<A: Real, const N: usize> Scalars<A, N> {
    /// The new x, the new y, and D before the clamp.
    #[inline(always)]
    fn element<const Y: bool, const E: bool, const C: bool>(
        &self,
        x: A,
        y: A,
        inputs: &[A; N],
    ) -> (A, A, A) {
        let mut new_x = self.a * x;
        for j in 0..N {
            new_x += self.c[j] * inputs[j];
        }
        let mut new_y = self.b * x;
        if Y {
            for j in 0..N {
                new_y += self.d[j] * inputs[j];
            }
        }
        let mut data = self.p * x;
        if C {
            for j in 0..N {
                data += self.q[j] * inputs[j];
            }
            let clamped = clamp(data, self.low, self.high);
            new_x += self.u * clamped;
            if Y {
                new_y += self.v * clamped;
            }
        }
        if E {
            new_x += self.e * y;
        }
        (new_x, new_y, data)
    }

    /// The few elements before and after the chunks.
    #[inline(always)]
    fn each<const Y: bool, const E: bool, const C: bool>(
        &self,
        sums: &mut Sums<A>,
        x: &mut [A],
        y: &mut [A],
        inputs: [&[A]; N],
    ) {
        for i in 0..x.len() {
            let mut values = [A::zero(); N];
            for j in 0..N {
                values[j] = inputs[j][i];
            }
            let old_y = if Y { y[i] } else { A::zero() };
            let (new_x, new_y, data) = self.element::<Y, E, C>(x[i], old_y, &values);
            x[i] = new_x;
            sums.state += new_x;
            if Y {
                y[i] = new_y;
                sums.state += new_y;
            }
            if C {
                sums.data += data * A::zero();
            }
        }
    }

    #[inline(always)]
    fn body<const L: usize, const Y: bool, const E: bool, const C: bool>(
        &self,
        sums: &mut Sums<A>,
        x: &mut [[A; L]],
        y: &mut [[A; L]],
        inputs: [&[[A; L]]; N],
    ) {
        let mut state = [A::zero(); L];
        let mut poison = [A::zero(); L];
        let none_in = [A::zero(); L];
        for k in 0..x.len() {
            let xs = &mut x[k];
            let mut chunk = [&none_in; N];
            for j in 0..N {
                chunk[j] = &inputs[j][k];
            }
            let mut none = [A::zero(); L];
            let ys = if Y { &mut y[k] } else { &mut none };
            for l in 0..L {
                let mut values = [A::zero(); N];
                for j in 0..N {
                    values[j] = chunk[j][l];
                }
                let (new_x, new_y, data) = self.element::<Y, E, C>(xs[l], ys[l], &values);
                xs[l] = new_x;
                state[l] += new_x;
                if Y {
                    ys[l] = new_y;
                    state[l] += new_y;
                }
                if C {
                    poison[l] += data * A::zero();
                }
            }
        }
        sums.state += total(state);
        sums.data += total(poison);
    }
}

/// The number of elements before the first one whose address is a multiple of 32.
#[inline(always)]
fn head<A>(x: &[A]) -> usize {
    (x.as_ptr().addr().wrapping_neg() % 32 / size_of::<A>()).min(x.len())
}

/// NaN stays NaN.
#[inline(always)]
fn clamp<A: Real>(value: A, low: A, high: A) -> A {
    let value = if value < low { low } else { value };
    if value > high { high } else { value }
}

/// The sum of the lanes, by halves.
#[inline(always)]
fn total<A: Real, const L: usize>(mut lanes: [A; L]) -> A {
    let mut half = L / 2;
    while half > 0 {
        for l in 0..half {
            lanes[l] += lanes[l + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// Any form, any number of inputs: term by term over blocks that stay in L1.
struct Blocks<'s, A> {
    form: &'s Form,
    x: &'s mut [A],
    y: Option<&'s mut [A]>,
    inputs: &'s [&'s [A]],
    z: Option<&'s [A]>,
}

impl<A: Real> Task for Blocks<'_, A> {
    type Output = bool;

    #[inline(always)]
    fn run(self) -> bool {
        let Self {
            form,
            x,
            mut y,
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
            let add_inputs = |sum: &mut [A], row: &Row| {
                for (input, &c) in inputs.iter().zip(&row.inputs) {
                    add_scaled(sum, A::cast(c), &input[block.clone()]);
                }
            };
            // D and the new y first: they need the old x.
            if let Some(clip) = &form.clip {
                scaled(data, A::cast(clip.data.x), x);
                add_inputs(data, &clip.data);
                poison.take(data);
                let (low, high) = (A::cast(clip.low), A::cast(clip.high));
                for value in data.iter_mut() {
                    *value = clamp(*value, low, high);
                }
            }
            if let (Some(_), Some(row)) = (&y, &form.y) {
                scaled(new_y, A::cast(row.x), x);
                add_inputs(new_y, row);
                if let Some(clip) = &form.clip {
                    add_scaled(new_y, A::cast(clip.into_y), data);
                }
                poison.take(new_y);
            }
            let a = A::cast(form.x.x);
            for value in x.iter_mut() {
                *value = a * *value;
            }
            add_inputs(x, &form.x);
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
        poison.is_none()
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
fn add_scaled<A: Real>(sum: &mut [A], c: A, values: &[A]) {
    for (sum, &value) in sum.iter_mut().zip(values) {
        *sum += c * value;
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
    fn is_none(self) -> bool {
        total(self.0).is_finite()
    }
}

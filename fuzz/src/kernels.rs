//! The kernels on arrays of any layout, against the naive loop: the same bits, at every instruction
//! set, and nothing touched beside the arrays.

use diffusion_sampler::kernel::bench::{Scalars, Whose, gram_of_arrays, update};
use diffusion_sampler::kernel::{SimdLevel, force_simd_level, linear_combination, narrow, widen};
use diffusion_sampler::{Error, ModelElement, Real};
use half::{bf16, f16};
use ndarray::{ArrayBase, ArrayViewD, ArrayViewMutD, Axis, IxDyn, RawData, Slice};

use crate::input::{Input, Mix, bits};

/// The most elements of an array.
const LARGEST: usize = 3000;

/// How one axis lies in its buffer.
#[derive(Clone, Copy, Debug)]
struct Lie {
    /// What is left out before and behind.
    before: usize,
    behind: usize,
    step: usize,
    inverted: bool,
}

const PLAIN: Lie = Lie {
    before: 0,
    behind: 0,
    step: 1,
    inverted: false,
};

/// How an array lies in its buffer.
#[derive(Clone, Debug)]
struct Layout {
    axes: Vec<Lie>,
    /// The order of the axes in memory.
    order: Vec<usize>,
    /// Elements of the buffer before the array.
    offset: usize,
    /// The axes along which all elements are one; inputs only.
    broadcast: u8,
}

impl Layout {
    fn standard(axes: usize) -> Self {
        Self {
            axes: vec![PLAIN; axes],
            order: (0..axes).collect(),
            offset: 0,
            broadcast: 0,
        }
    }

    fn any(input: &mut Input<'_>, axes: usize) -> Self {
        let kind = input.byte();
        let mut layout = Self::standard(axes);
        if kind & 1 == 0 {
            layout.offset = usize::from(kind >> 1) % 9;
            return layout;
        }
        if kind & 2 != 0 {
            let by = usize::from(kind >> 6);
            layout.order.rotate_left(by % axes);
        }
        if kind & 4 != 0 {
            layout.order.reverse();
        }
        if kind & 8 != 0 {
            for lie in &mut layout.axes {
                let byte = input.byte();
                *lie = Lie {
                    before: usize::from(byte & 3),
                    behind: usize::from(byte >> 2 & 3),
                    step: 1 + usize::from(byte >> 4 & 3) % 3,
                    inverted: byte & 64 != 0,
                };
            }
        }
        if kind & 16 != 0 {
            layout.broadcast = input.byte();
        }
        layout
    }

    fn is_broadcast(&self, axis: usize) -> bool {
        self.broadcast >> axis & 1 == 1
    }

    /// The buffer's axes, in the order of memory.
    fn outer(&self, shape: &[usize]) -> Vec<usize> {
        let length = |&axis: &usize| match self.is_broadcast(axis) {
            true => 1,
            false => {
                let lie = self.axes[axis];
                lie.before + lie.behind + shape[axis] * lie.step
            }
        };
        self.order.iter().map(length).collect()
    }

    /// The elements of the buffer.
    fn len(&self, shape: &[usize]) -> usize {
        self.offset + self.outer(shape).iter().product::<usize>()
    }

    fn arrange<A, S: RawData<Elem = A>>(
        &self,
        mut view: ArrayBase<S, IxDyn>,
        shape: &[usize],
    ) -> ArrayBase<S, IxDyn> {
        let mut axes = vec![0; shape.len()];
        for (place, &axis) in self.order.iter().enumerate() {
            axes[axis] = place;
        }
        view = view.permuted_axes(axes);
        for (axis, lie) in self.axes.iter().enumerate() {
            if self.is_broadcast(axis) {
                continue;
            }
            let step = lie.step as isize;
            let (start, end) = (lie.before, lie.before + shape[axis] * lie.step);
            let slice = Slice::new(start as isize, Some(end as isize), step);
            view.slice_axis_inplace(Axis(axis), slice);
            if lie.inverted {
                view.invert_axis(Axis(axis));
            }
        }
        view
    }

    /// The array, of length one where it is to be stretched.
    fn view<'b, A>(&self, buffer: &'b [A], shape: &[usize]) -> ArrayViewD<'b, A> {
        let part = &buffer[self.offset..];
        let view = ArrayViewD::from_shape(self.outer(shape), part).expect("the buffer's shape");
        self.arrange(view, shape)
    }

    fn view_mut<'b, A>(&self, buffer: &'b mut [A], shape: &[usize]) -> ArrayViewMutD<'b, A> {
        let part = &mut buffer[self.offset..];
        let view = ArrayViewMutD::from_shape(self.outer(shape), part).expect("the buffer's shape");
        self.arrange(view, shape)
    }
}

fn shape(input: &mut Input<'_>) -> Vec<usize> {
    let kind = input.byte();
    let axes = 1 + usize::from(kind & 3);
    let mut shape: Vec<usize> = (0..axes).map(|_| input.below(4)).collect();
    // Seldom long enough for every loop: the aligned store from 512 on, noise by 1024.
    let last = shape.len() - 1;
    match kind >> 2 {
        0 => shape[last] = input.word() % 1100,
        1..3 => shape[last] = input.below(256),
        3..8 => shape[last] = input.below(64),
        8..24 => shape[last] = input.below(16),
        _ => {}
    }
    while shape.iter().product::<usize>() > LARGEST {
        let longest = (0..axes).max_by_key(|&axis| shape[axis]).unwrap_or(0);
        shape[longest] /= 2;
    }
    shape
}

/// Mostly tame; one in 2^`rare` is not.
fn value<A: Real>(mix: &mut Mix, rare: u32) -> A {
    let word = mix.next();
    if rare > 0 && word.is_multiple_of(1 << rare) {
        let special = [
            A::nan(),
            A::infinity(),
            A::neg_infinity(),
            A::min_positive_value() / A::cast(8.0),
            A::max_value(),
            A::min_value(),
            A::neg_zero(),
            A::zero(),
        ];
        return special[mix.next() as usize % special.len()];
    }
    A::cast(4.0 * mix.unit())
}

fn buffer<A: Real>(layout: &Layout, shape: &[usize], mix: &mut Mix, rare: u32) -> Vec<A> {
    (0..layout.len(shape)).map(|_| value(mix, rare)).collect()
}

fn row(input: &mut Input<'_>, mix: &mut Mix) -> (f64, [f64; 16]) {
    let kinds = input.byte();
    let mut coefficient = |index: usize| match kinds >> (2 * (index % 4)) & 3 {
        0 => 0.0,
        1 => 1.0,
        _ => mix.unit(),
    };
    (
        coefficient(0),
        std::array::from_fn(|index| coefficient(index + 1)),
    )
}

fn scalars(input: &mut Input<'_>, mix: &mut Mix) -> Scalars {
    let kind = input.byte();
    let x = row(input, mix);
    Scalars {
        x,
        x_from_y: if kind & 1 != 0 { mix.unit() } else { 0.0 },
        noise: if kind & 2 != 0 { mix.unit() } else { 0.0 },
        y: (kind & 4 != 0).then(|| row(input, mix)),
        clip: (kind & 24 == 24).then(|| {
            let (low, high) = (-mix.unit().abs(), mix.unit().abs());
            (row(input, mix), [low, high], [mix.unit(), mix.unit()])
        }),
    }
}

/// The noise of an element, whoever asks.
fn normal<A: Real>(row: usize, element: usize) -> A {
    let hash = ((row * 7919 + element * 31 + 1) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    A::cast((hash >> 40) as f64 / f64::from(1 << 22) - 2.0)
}

/// The module's formula for one element: the new x and y, and whether all is finite.
fn element<A: Real>(
    scalars: &Scalars,
    (x, y): (A, Option<A>),
    inputs: &[A],
    z: Option<A>,
) -> (A, Option<A>, bool) {
    let row = |(a, c): &(f64, [f64; 16])| {
        let mut sum = A::cast(*a) * x;
        for (input, &c) in inputs.iter().zip(c) {
            sum += A::cast(c) * *input;
        }
        sum
    };
    let mut finite = true;
    let mut new_x = row(&scalars.x);
    let mut new_y = y.and(scalars.y.as_ref()).map(row);
    if let Some((data, [low, high], [into_x, into_y])) = &scalars.clip {
        let mut data = row(data);
        finite &= data.is_finite();
        if data < A::cast(*low) {
            data = A::cast(*low);
        }
        if data > A::cast(*high) {
            data = A::cast(*high);
        }
        new_x += A::cast(*into_x) * data;
        new_y = new_y.map(|y| y + A::cast(*into_y) * data);
    }
    if let Some(y) = y
        && scalars.x_from_y != 0.0
    {
        new_x += A::cast(scalars.x_from_y) * y;
    }
    if let Some(z) = z {
        new_x += A::cast(scalars.noise) * z;
    }
    finite &= new_x.is_finite() && new_y.is_none_or(A::is_finite);
    (new_x, new_y.or(y), finite)
}

/// The same bits, all NaN being one.
fn same<A: Real>(found: &[A], expected: &[A], what: &str, shape: &[usize]) {
    let differ = |(a, b): (&A, &A)| bits(*a) != bits(*b);
    let place = found.iter().zip(expected).position(differ);
    if let Some(place) = place {
        let (found, expected) = (found[place], expected[place]);
        panic!("{what}[{place}] of the buffer is {found:?}, not {expected:?}; shape {shape:?}");
    }
    assert_eq!(found.len(), expected.len());
}

/// Runs `body` at an instruction set.
fn at<T>(level: u8, body: impl FnOnce() -> T) -> T {
    let levels = [SimdLevel::Portable, SimdLevel::Avx2, SimdLevel::Avx512];
    force_simd_level(Some(levels[usize::from(level) % 3]));
    let result = body();
    force_simd_level(None);
    result
}

fn updates<A: Real>(input: &mut Input<'_>) {
    let level = input.byte();
    let shape = shape(input);
    let mut mix = Mix(input.long());
    let rare = match input.byte() & 3 {
        0 => 3,
        1 => 9,
        _ => 0,
    };
    let flags = input.byte();
    let (second, noisy) = (flags & 1 != 0, flags & 2 != 0);
    let count = [1, 0, 1, 2, 2, 3, 3, 4, 5, 6, 7, 8, 16, 17, 1, 2][usize::from(flags >> 4)];
    let own = |input: &mut Input<'_>| Layout {
        broadcast: 0,
        ..Layout::any(input, shape.len())
    };
    let (x_layout, y_layout) = (own(input), own(input));
    let alike = flags & 4 != 0;
    let layouts: Vec<Layout> = (0..count)
        .map(|_| match alike {
            true => x_layout.clone(),
            false => Layout::any(input, shape.len()),
        })
        .collect();
    let samples = shape[0];
    let whose = input.byte();
    let axis = usize::from(whose >> 2) % (shape.len() + 1);
    let positions = shape.get(axis).copied().unwrap_or(0);
    let forms = 1 + usize::from(whose >> 5);
    let rows = if whose & 4 != 0 { 1 } else { samples };
    let mut last = 0;
    let entries: Vec<u32> = (0..rows * positions)
        .map(|_| {
            if mix.next() & 1 == 0 {
                last = mix.next() as u32 % (forms as u32 + 1);
            }
            last
        })
        .collect();
    let (whose, list) = match whose & 3 {
        0 | 1 => (Whose::All, 1),
        2 => (Whose::Samples, samples),
        _ => (Whose::Positions(axis, &entries), forms),
    };
    // A few, in turn: there may be a thousand samples.
    let few: Vec<Scalars> = (0..list.min(5)).map(|_| scalars(input, &mut mix)).collect();
    let list: Vec<Scalars> = few.iter().copied().cycle().take(list).collect();

    let mut x: Vec<A> = buffer(&x_layout, &shape, &mut mix, rare);
    let mut y: Vec<A> = buffer(&y_layout, &shape, &mut mix, rare);
    let buffers: Vec<Vec<A>> = layouts
        .iter()
        .map(|layout| buffer(layout, &shape, &mut mix, rare))
        .collect();
    let bases: Vec<_> = layouts
        .iter()
        .zip(&buffers)
        .map(|(layout, buffer)| layout.view(buffer, &shape))
        .collect();
    let views: Vec<_> = bases
        .iter()
        .map(|base| base.broadcast(&*shape).expect("axes of one are stretched"))
        .collect();

    // The naive loop, on copies.
    let (mut naive_x, mut naive_y) = (x.clone(), y.clone());
    let per_sample: usize = shape[1..].iter().product();
    let inner: usize = shape.iter().skip(axis + 1).product();
    let form = |sample: usize, element: usize| match whose {
        Whose::All => list.first(),
        Whose::Samples => list.get(sample),
        Whose::Positions(..) => {
            let position = element / inner % positions;
            let own = if entries.len() == positions {
                0
            } else {
                sample
            };
            list.get(entries[own * positions + position] as usize)
        }
    };
    let mut expected = true;
    {
        let mut readers: Vec<_> = views.iter().map(|view| view.iter()).collect();
        let mut x = x_layout.view_mut(&mut naive_x, &shape);
        let mut y = y_layout.view_mut(&mut naive_y, &shape);
        let mut inputs = vec![A::zero(); count];
        let on_axis = !matches!(whose, Whose::Positions(..)) || (1..shape.len()).contains(&axis);
        if count <= 16 && on_axis {
            for (index, (x, y)) in x.iter_mut().zip(y.iter_mut()).enumerate() {
                let (sample, place) = (index / per_sample, index % per_sample);
                for (input, reader) in inputs.iter_mut().zip(&mut readers) {
                    *input = *reader.next().expect("as many elements");
                }
                let Some(scalars) = form(sample, place) else {
                    continue;
                };
                let z = (noisy && scalars.noise != 0.0).then(|| normal(sample, place));
                let all = element(scalars, (*x, second.then_some(*y)), &inputs, z);
                *x = all.0;
                *y = all.1.unwrap_or(*y);
                expected &= all.2;
            }
        }
    }

    let mut asked: Vec<(usize, usize)> = Vec::new();
    let mut fill = |row: usize, first: usize, out: &mut [A]| {
        assert!(row < samples && first + out.len() <= per_sample && out.len() <= 1024);
        assert!(
            asked.last() < Some(&(row, first)),
            "noise in ascending order"
        );
        asked.push((row, first));
        for (place, z) in out.iter_mut().enumerate() {
            *z = normal(row, first + place);
        }
    };
    let refs: Vec<_> = views.iter().map(|view| &**view).collect();
    let found = at(level, || {
        let mut x = x_layout.view_mut(&mut x, &shape);
        let mut y = y_layout.view_mut(&mut y, &shape);
        update(
            (&list, whose),
            &mut x,
            second.then_some(&mut *y),
            &refs,
            noisy.then_some(&mut fill),
        )
    });
    match found {
        Ok(finite) => {
            assert!(count <= 16, "more inputs than there is room for");
            assert_eq!(finite, expected, "whether all is finite");
            same(&x, &naive_x, "x", &shape);
            same(&y, &naive_y, "y", &shape);
        }
        Err(Error::TooManyTerms { found, max: 16 }) => assert!(found == count && count > 16),
        Err(Error::WrongAxis { .. }) => assert!(axis == 0 || axis >= shape.len()),
        Err(error) => panic!("{error:?}"),
    }
}

fn combinations<A: Real>(input: &mut Input<'_>) {
    let level = input.byte();
    let shape = shape(input);
    let mut mix = Mix(input.long());
    let count = *input.choose(&[1, 0, 1, 2, 2, 3, 4, 5, 6, 8, 16, 17]);
    let x_layout = Layout {
        broadcast: 0,
        ..Layout::any(input, shape.len())
    };
    let mut x: Vec<A> = buffer(&x_layout, &shape, &mut mix, 5);
    let layouts: Vec<Layout> = (0..count)
        .map(|_| Layout::any(input, shape.len()))
        .collect();
    let buffers: Vec<Vec<A>> = layouts
        .iter()
        .map(|layout| buffer(layout, &shape, &mut mix, 5))
        .collect();
    let bases: Vec<_> = layouts
        .iter()
        .zip(&buffers)
        .map(|(layout, buffer)| layout.view(buffer, &shape))
        .collect();
    let views: Vec<_> = bases
        .iter()
        .map(|base| base.broadcast(&*shape).expect("axes of one are stretched"))
        .collect();
    let own = input.number();
    let terms: Vec<_> = views.iter().map(|view| (input.number(), &**view)).collect();
    let mut naive = x.clone();
    let coefficients = || std::iter::once(own).chain(terms.iter().map(|term| term.0));
    let fits = coefficients().all(|c| A::cast(c).is_finite());
    if fits && count <= 16 {
        let mut readers: Vec<_> = views.iter().map(|view| view.iter()).collect();
        for x in &mut x_layout.view_mut(&mut naive, &shape) {
            let mut sum = A::cast(own) * *x;
            for (reader, (c, _)) in readers.iter_mut().zip(&terms) {
                sum += A::cast(*c) * *reader.next().expect("as many elements");
            }
            *x = sum;
        }
    }
    let found = at(level, || {
        linear_combination(&mut x_layout.view_mut(&mut x, &shape), own, &terms)
    });
    assert_eq!(found.is_ok(), fits && count <= 16, "{found:?}");
    same(&x, &naive, "x", &shape);
}

/// Conversions of arrays to a half type and back are those of the elements.
fn conversions<O: ModelElement<f32> + PartialEq>(
    input: &mut Input<'_>,
    halve: fn(f32) -> O,
    double: fn(O) -> f32,
) {
    let level = input.byte();
    let shape = shape(input);
    let mut mix = Mix(input.long());
    let any_bits = input.flag();
    let wide_layout = Layout::any(input, shape.len());
    let half_layout = Layout {
        broadcast: 0,
        ..match input.flag() {
            true => wide_layout.clone(),
            false => Layout::any(input, shape.len()),
        }
    };
    let element = |mix: &mut Mix| match any_bits {
        true => f32::from_bits((mix.next() << 8 ^ mix.next()) as u32),
        false => value(mix, 4),
    };
    let wide: Vec<f32> = (0..wide_layout.len(&shape))
        .map(|_| element(&mut mix))
        .collect();
    let base = wide_layout.view(&wide, &shape);
    let values = base.broadcast(&*shape).expect("axes of one are stretched");
    let guard = halve(0.75);
    let mut halves = vec![guard; half_layout.len(&shape)];
    at(level, || {
        narrow(&values, &mut half_layout.view_mut(&mut halves, &shape)).expect("one shape");
    });
    let mut expected = vec![guard; half_layout.len(&shape)];
    let mut out = half_layout.view_mut(&mut expected, &shape);
    out.iter_mut()
        .zip(&values)
        .for_each(|(out, &value)| *out = halve(value));
    let of = |list: &[O]| {
        list.iter()
            .map(|&half| bits(double(half)))
            .collect::<Vec<_>>()
    };
    assert_eq!(of(&halves), of(&expected), "narrowed, shape {shape:?}");

    let back_layout = Layout {
        broadcast: 0,
        ..wide_layout
    };
    let mut back = vec![0.75f32; back_layout.len(&shape)];
    let view = half_layout.view(&halves, &shape);
    at(level, || {
        widen(&view, &mut back_layout.view_mut(&mut back, &shape)).expect("one shape");
    });
    let mut expected = vec![0.75f32; back_layout.len(&shape)];
    let mut out = back_layout.view_mut(&mut expected, &shape);
    out.iter_mut()
        .zip(&view)
        .for_each(|(out, &half)| *out = double(half));
    same(&back, &expected, "widened", &shape);
}

/// Inner products in the documented order: eight lanes.
fn products<A: Real>(input: &mut Input<'_>) {
    let level = input.byte();
    let shape = shape(input);
    let mut mix = Mix(input.long());
    let count = 1 + input.below(9);
    let layouts: Vec<Layout> = (0..count)
        .map(|_| Layout::any(input, shape.len()))
        .collect();
    let buffers: Vec<Vec<A>> = layouts
        .iter()
        .map(|layout| buffer(layout, &shape, &mut mix, 9))
        .collect();
    let bases: Vec<_> = layouts
        .iter()
        .zip(&buffers)
        .map(|(layout, buffer)| layout.view(buffer, &shape))
        .collect();
    let views: Vec<_> = bases
        .iter()
        .map(|base| base.broadcast(&*shape).expect("axes of one are stretched"))
        .collect();
    let refs: Vec<_> = views.iter().map(|view| &**view).collect();
    if shape[0] == 0 || shape[0] > 16 {
        return;
    }
    let found = at(level, || gram_of_arrays(&refs));
    if count > 8 {
        assert!(
            matches!(found, Err(Error::TooManyTerms { .. })),
            "{found:?}"
        );
        return;
    }
    let per_sample: usize = shape[1..].iter().product();
    let mut lanes = [0.0f64; 8];
    let pairs = views[0]
        .iter()
        .zip(views[count - 1].iter())
        .take(per_sample);
    for (index, (a, b)) in pairs.enumerate() {
        lanes[index % 8] += a.widen() * b.widen();
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    let expected = ((a + e) + (c + g)) + ((b + f) + (d + h));
    assert_eq!(found.map(bits), Ok(bits(expected)), "shape {shape:?}");
}

/// The kernels on arrays of any layout.
pub fn kernel(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    match input.below(16) {
        0..4 => updates::<f32>(&mut input),
        4..8 => updates::<f64>(&mut input),
        8 | 9 => combinations::<f32>(&mut input),
        10 => combinations::<f64>(&mut input),
        11 => conversions(&mut input, f16::from_f32, f16::to_f32),
        12 => conversions(&mut input, bf16::from_f32, bf16::to_f32),
        13 => products::<f32>(&mut input),
        14 => products::<f64>(&mut input),
        _ => updates::<f32>(&mut input),
    }
}

//! Every path gives the bits of the naive form: one property over layouts, forms, special values
//! and instruction sets.

#[cfg(feature = "half")]
mod halves;
mod places;
mod refusals;

use ndarray::{Array, ArrayBase, ArrayD, ArrayViewD, Axis, IxDyn, RawData, Slice};
use proptest::prelude::*;

use super::{
    Clipped, Form, Forms, MAX_INPUTS, Places, Row, linear_combination, naive, update, update_slices,
};
use crate::error::Error;
use crate::noise::{NoiseKey, RowNoise, Stream};
use crate::real::Real;
use crate::simd::at_each_level;

/// A small deterministic generator (Knuth's MMIX constants); proptest supplies and shrinks its
/// seed.
#[derive(Clone)]
struct Mix(u64);

impl Mix {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        self.0 >> 33
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    fn unit(&mut self) -> f64 {
        self.next() as f64 / (1u64 << 30) as f64 - 1.0
    }

    /// Mostly tame; one in `one_in` special, never if that is 0.
    fn value<A: Real>(&mut self, one_in: usize) -> A {
        if one_in > 0 && self.chance(one_in) {
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
            special[self.below(special.len())]
        } else {
            A::cast(4.0 * self.unit())
        }
    }

    fn coefficient(&mut self) -> f64 {
        match self.below(6) {
            0 => 0.0,
            1 => 1.0,
            _ => self.unit(),
        }
    }

    fn row(&mut self) -> Row {
        let mut row = Row::ZERO;
        row.x = self.coefficient();
        row.inputs.iter_mut().for_each(|c| *c = self.coefficient());
        row
    }

    fn form(&mut self, case: &Case) -> Form {
        let mut form = Form {
            x: self.row(),
            x_from_y: if self.chance(2) { self.unit() } else { 0.0 },
            noise: if case.noise && !self.chance(4) {
                self.unit()
            } else {
                0.0
            },
            y: (!self.chance(3)).then(|| self.row()),
            clip: None,
        };
        if case.clip && !self.chance(4) {
            form.clip = Some(Clipped {
                data: self.row(),
                low: -1.0,
                high: 1.0,
                into_x: self.coefficient(),
                into_y: self.coefficient(),
            });
        }
        form
    }
}

/// How an operand lies in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Layout {
    Standard,
    /// A slice of a bigger buffer, so that it starts anywhere.
    Offset(usize),
    /// The axes rotated in memory.
    Permuted(usize),
    Fortran,
    /// The last axes of a larger array.
    Window,
    /// Every other element of an axis.
    Stepped(usize),
    /// An axis backwards.
    Inverted(usize),
    /// All samples one and the same; inputs only.
    Broadcast,
}

impl Layout {
    /// A buffer to hold an array of this shape.
    fn buffer<A: Real>(self, shape: &[usize], mix: &mut Mix, special: usize) -> ArrayD<A> {
        let mut outer = shape.to_vec();
        match self {
            Self::Offset(offset) => outer = vec![shape.iter().product::<usize>() + offset],
            Self::Permuted(by) => outer.rotate_left(by % shape.len()),
            Self::Fortran => outer.reverse(),
            Self::Window => outer.iter_mut().for_each(|len| *len += 3),
            Self::Stepped(axis) => outer[axis % shape.len()] *= 2,
            Self::Broadcast => outer[0] = 1,
            Self::Standard | Self::Inverted(_) => {}
        }
        Array::from_shape_simple_fn(IxDyn(&outer), || mix.value(special))
    }

    /// The array of this shape in the buffer.
    fn arrange<A, S: RawData<Elem = A>>(
        self,
        mut view: ArrayBase<S, IxDyn>,
        shape: &[usize],
    ) -> ArrayBase<S, IxDyn> {
        let ndim = shape.len();
        match self {
            Self::Offset(offset) => {
                view.slice_axis_inplace(Axis(0), Slice::from(offset..));
                view.into_shape_with_order(IxDyn(shape)).unwrap()
            }
            Self::Permuted(by) => {
                let by = by % ndim;
                let axes: Vec<_> = (0..ndim).map(|axis| (axis + ndim - by) % ndim).collect();
                view.permuted_axes(axes)
            }
            Self::Fortran => view.reversed_axes(),
            Self::Window => {
                for (axis, &len) in shape.iter().enumerate() {
                    view.slice_axis_inplace(Axis(axis), Slice::from(2..2 + len));
                }
                view
            }
            Self::Stepped(axis) => {
                view.slice_axis_inplace(Axis(axis % ndim), Slice::from(..).step_by(2));
                view
            }
            Self::Inverted(axis) => {
                view.invert_axis(Axis(axis % ndim));
                view
            }
            Self::Standard | Self::Broadcast => view,
        }
    }

    fn any() -> impl Strategy<Value = Self> {
        prop_oneof![
            2 => Just(Self::Standard),
            2 => (1usize..9).prop_map(Self::Offset),
            2 => (0usize..3).prop_map(Self::Permuted),
            1 => Just(Self::Fortran),
            1 => Just(Self::Window),
            2 => (0usize..3).prop_map(Self::Stepped),
            2 => (0usize..3).prop_map(Self::Inverted),
        ]
    }
}

#[derive(Clone, Debug)]
struct Case {
    shape: Vec<usize>,
    layouts: Vec<Layout>,
    inputs: usize,
    second: bool,
    clip: bool,
    per_sample: bool,
    noise: bool,
    special: usize,
    seed: u64,
    /// The forms go by positions along an axis, where there is one.
    along: bool,
}

fn case() -> impl Strategy<Value = Case> {
    // Shorter axes in miri, which is slow; still several blocks of the kernel.
    let end = |length: usize| {
        if cfg!(miri) {
            length.div_ceil(5)
        } else {
            length
        }
    };
    let shape = prop_oneof![
        (0..end(600)).prop_map(|n| vec![n]),
        (1usize..4, 0..end(300)).prop_map(|(n, m)| vec![n, m]),
        (1usize..5, 1usize..6, 1..end(40)).prop_map(|(n, m, k)| vec![n, m, k]),
        (1usize..3, 1usize..4, 1..end(9), 1..end(12)).prop_map(|(n, c, h, w)| vec![n, c, h, w]),
        (1usize..3, 1usize..3, 1usize..3, 1..end(9), 1..end(9))
            .prop_map(|(n, c, t, h, w)| vec![n, c, t, h, w]),
    ];
    // One layout for all in half of the cases, and one each in the others.
    let layouts = prop_oneof![
        Layout::any().prop_map(|layout| vec![layout; MAX_INPUTS + 2]),
        prop::collection::vec(
            prop_oneof![9 => Layout::any(), 1 => Just(Layout::Broadcast)],
            MAX_INPUTS + 2
        ),
    ];
    let flags = (
        any::<bool>(),
        any::<bool>(),
        prop::bool::weighted(0.3),
        prop::bool::weighted(0.4),
        prop::bool::weighted(0.4),
    );
    let special = prop_oneof![Just(0usize), Just(3), Just(500)];
    let inputs = prop_oneof![8 => 0usize..=8, 1 => Just(MAX_INPUTS)];
    (shape, layouts, inputs, flags, special, any::<u64>()).prop_map(
        |(shape, mut layouts, inputs, (second, clip, per_sample, noise, along), special, seed)| {
            for layout in &mut layouts[..2] {
                if *layout == Layout::Broadcast {
                    *layout = Layout::Standard;
                }
            }
            Case {
                shape,
                layouts,
                inputs,
                second,
                clip,
                per_sample,
                noise,
                special,
                seed,
                along,
            }
        },
    )
}

impl<A, F: FnMut(usize, usize, &mut [A])> RowNoise<A> for F {
    fn fill(&mut self, row: usize, first: usize, out: &mut [A]) {
        self(row, first, out);
    }

    fn key(&self, row: usize) -> NoiseKey {
        NoiseKey::new(row as u64, 0, Stream::Start)
    }
}

/// The noise of an element, whoever asks.
fn fake_normal<A: Real>(row: usize, element: usize) -> A {
    // Not the standard library's sine: in miri it has other last bits in each call.
    A::cast(libm::sin((row * 7919 + element * 31 + 1) as f64))
}

fn bits<A: Real>(buffer: &ArrayD<A>) -> Vec<Option<u64>> {
    // All NaN are one; widening keeps every other bit, the sign of zero included.
    buffer
        .iter()
        .map(|v| (!v.is_nan()).then(|| v.widen().to_bits()))
        .collect()
}

fn fast_equals_naive<A: Real>(case: &Case) -> Result<(), TestCaseError> {
    let mut mix = Mix(case.seed);
    let shape = &case.shape[..];
    let samples = shape[0];
    let same = mix.form(case);
    let each: Vec<_> = (0..samples).map(|_| mix.form(case)).collect();
    let axis = 1 + mix.below(4) % (shape.len() - 1).max(1);
    let of = places::entries(shape, axis, samples, &mut mix);
    let forms = if case.along && shape.len() > 1 {
        Forms::Along(&each, Places::new(shape, axis, &of).unwrap())
    } else if case.per_sample {
        Forms::PerSample(&each)
    } else {
        Forms::Same(&same)
    };
    let mut buffers: Vec<ArrayD<A>> = case
        .layouts
        .iter()
        .take(case.inputs + 2)
        .map(|layout| layout.buffer(shape, &mut mix, case.special))
        .collect();
    let inputs = buffers.split_off(2);
    let inputs: Vec<ArrayViewD<'_, A>> = inputs
        .iter()
        .zip(&case.layouts[2..])
        .map(|(buffer, layout)| match layout {
            Layout::Broadcast => buffer.broadcast(shape).unwrap(),
            _ => layout.arrange(buffer.view(), shape),
        })
        .collect();
    let inputs: Vec<_> = inputs.iter().map(|view| &**view).collect();
    let per_sample = shape[1..].iter().product::<usize>();

    type Update<A> = fn(
        Forms<'_>,
        &mut ndarray::ArrayRefD<A>,
        Option<&mut ndarray::ArrayRefD<A>>,
        &[&ndarray::ArrayRefD<A>],
        Option<super::FillNoise<'_, A>>,
    ) -> Result<bool, Error>;
    let run = |update: Update<A>| {
        let mut written = buffers.clone();
        let mut asked = Vec::new();
        let (x, y) = written.split_at_mut(1);
        let (x, y) = (&mut x[0], &mut y[0]);
        let mut x = case.layouts[0].arrange(x.view_mut(), shape);
        let mut y = case.layouts[1].arrange(y.view_mut(), shape);
        let mut fill = |row: usize, first: usize, out: &mut [A]| {
            asked.push((row, first, out.len()));
            for (i, z) in out.iter_mut().enumerate() {
                *z = fake_normal(row, first + i);
            }
        };
        let finite = update(
            forms,
            &mut x,
            case.second.then_some(&mut *y),
            &inputs,
            case.noise.then_some(&mut fill),
        );
        (finite, written.iter().map(bits).collect::<Vec<_>>(), asked)
    };
    let expected = run(naive::update);
    let mut outcome = Ok(());
    at_each_level(|level| {
        let got = run(update);
        let check = || {
            prop_assert_eq!(&got.0, &expected.0, "finite, at {:?}", level);
            prop_assert_eq!(&got.1, &expected.1, "bits, at {:?}", level);
            // The pieces: those of the noisy rows, from the first element to the last, none of more
            // than 1024.
            if let Forms::Along(..) = forms {
                return places::blocks_of_noise(&got.2, per_sample);
            }
            let mut pieces = got.2.iter();
            for &(row, _, _) in &expected.2 {
                let mut next = 0;
                while next < per_sample {
                    let len = (per_sample - next).min(super::pieces::NOISE);
                    prop_assert_eq!(pieces.next(), Some(&(row, next, len)));
                    next += len;
                }
            }
            prop_assert_eq!(pieces.next(), None);
            Ok(())
        };
        if outcome.is_ok() {
            outcome = check();
        }
    });
    outcome
}

proptest! {
    #![proptest_config(crate::simd::cases(1500))]

    #[test]
    fn every_path_gives_the_bits_of_the_naive_form_in_f32(case in case()) {
        fast_equals_naive::<f32>(&case)?;
    }

    #[test]
    fn every_path_gives_the_bits_of_the_naive_form_in_f64(case in case()) {
        fast_equals_naive::<f64>(&case)?;
    }
}

fn plain(x: f64, inputs: &[f64]) -> Form {
    let mut form = Form {
        x: Row::ZERO,
        x_from_y: 0.0,
        noise: 0.0,
        y: None,
        clip: None,
    };
    form.x.x = x;
    form.x.inputs[..inputs.len()].copy_from_slice(inputs);
    form
}

#[test]
fn slices_are_updated_like_arrays() {
    let mut mix = Mix(5);
    let case = Case {
        shape: vec![3, 300],
        layouts: Vec::new(),
        inputs: 2,
        second: true,
        clip: true,
        per_sample: false,
        noise: true,
        special: 0,
        seed: 5,
        along: false,
    };
    for round in 0..if cfg!(miri) { 4 } else { 50 } {
        let each = [(); 3].map(|()| mix.form(&case));
        let forms = if round % 2 == 0 {
            Forms::Same(&each[0])
        } else {
            Forms::PerSample(&each)
        };
        let [x, y, e, g] =
            [(); 4].map(|()| Array::from_shape_simple_fn((3, 300), || mix.value::<f32>(0)));
        let fill = |row: usize, first: usize, out: &mut [f32]| {
            for (i, z) in out.iter_mut().enumerate() {
                *z = fake_normal(row, first + i);
            }
        };
        let (mut x_array, mut y_array) = (x.clone(), y.clone());
        let finite = update(
            forms,
            &mut x_array,
            Some(&mut y_array),
            &[&e, &g],
            Some(&mut fill.clone()),
        );
        let (mut x_slice, mut y_slice) = (x.into_raw_vec_and_offset().0, y.clone());
        let finite_slice = update_slices(
            forms,
            3,
            &mut x_slice,
            y_slice.as_slice_mut(),
            &[e.as_slice().unwrap(), g.as_slice().unwrap()],
            Some(&mut fill.clone()),
        );
        assert_eq!(finite, Ok(finite_slice));
        assert_eq!(x_array.as_slice(), Some(&x_slice[..]));
        assert_eq!(y_array, y_slice);
    }
}

#[test]
fn one_bad_value_anywhere_is_found_and_an_overflow_of_the_check_is_not_one() {
    let clipped = Form {
        clip: Some(Clipped {
            data: Row {
                x: 1.0,
                ..Row::ZERO
            },
            low: -1.0,
            high: 1.0,
            into_x: 1.0,
            into_y: 0.0,
        }),
        ..plain(0.5, &[0.5])
    };
    for form in [plain(0.5, &[0.5]), clipped] {
        for len in [1, 31, 32, 33, 600, 1025] {
            let e = Array::from_elem(len, f32::MAX);
            let forms = Forms::Same(&form);
            let mut x = e.clone();
            assert_eq!(update(forms, &mut x, None, &[&e], None), Ok(true));
            for (place, bad) in [(0, f32::NAN), (len / 2, f32::INFINITY), (len - 1, f32::NAN)] {
                let (mut x, mut e) = (e.clone(), Array::zeros(len));
                x[place] = bad;
                assert_eq!(update(forms, &mut x, None, &[&e], None), Ok(false));
                x.fill(0.0);
                e[place] = bad;
                assert_eq!(update(forms, &mut x, None, &[&e], None), Ok(false));
            }
        }
    }
}

#[test]
fn an_estimate_that_overflows_is_found_though_the_clamp_hides_it() {
    let mut form = plain(1.0, &[0.0; 3]);
    form.clip = Some(Clipped {
        data: Row {
            x: 4.0,
            ..Row::ZERO
        },
        low: -1.0,
        high: 1.0,
        into_x: 1.0,
        into_y: 0.0,
    });
    for inputs in [1, 3] {
        let e = Array::<f32, _>::zeros(50);
        let mut x = Array::from_elem(50, f32::MAX / 2.0);
        let inputs = vec![&*e; inputs];
        let finite = update(Forms::Same(&form), &mut x, None, &inputs, None);
        assert_eq!(finite, Ok(false));
        assert!(x.iter().all(|x| x.is_finite()));
    }
}

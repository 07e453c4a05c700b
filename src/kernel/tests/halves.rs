//! An update that reads halves gives the bits of the naive form on the same inputs widened.

use half::{bf16, f16};
use ndarray::{ArrayD, IxDyn};
use proptest::prelude::*;

use super::super::mixed::Half;
use super::super::{Forms, Mixed, Places, naive, update_slices};
use super::{Case, Layout, Mix, bits, case, fake_normal, places};
use crate::simd::at_each_level;

/// Any bits at all in one case of `one_in`, tame values otherwise.
fn half<O: Half>(mix: &mut Mix, one_in: usize) -> O {
    let any = f32::from_bits(mix.next() as u32 ^ (mix.next() as u32) << 16);
    let value = if one_in > 0 && mix.chance(one_in) {
        any
    } else {
        mix.value::<f32>(one_in)
    };
    O::narrowed(value)
}

fn halves_are_read_as_if_widened<O: Half>(case: &Case, halves: usize) -> Result<(), TestCaseError> {
    let mut mix = Mix(case.seed);
    let shape = &case.shape[..];
    let (samples, len) = (shape[0], shape.iter().product::<usize>());
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
    let [x, y] = [(); 2].map(|()| Layout::Standard.buffer(shape, &mut mix, case.special));
    let halves = halves.min(case.inputs);
    // Each at an offset of its own, so that every alignment occurs.
    let offsets: Vec<usize> = (0..case.inputs).map(|_| mix.below(9)).collect();
    let short: Vec<Vec<O>> = (0..halves)
        .map(|j| {
            (0..len + offsets[j])
                .map(|_| half(&mut mix, case.special))
                .collect()
        })
        .collect();
    let long: Vec<Vec<f32>> = (halves..case.inputs)
        .map(|j| {
            (0..len + offsets[j])
                .map(|_| mix.value(case.special))
                .collect()
        })
        .collect();
    let mixed: Vec<Mixed<'_, O>> = short
        .iter()
        .enumerate()
        .map(|(j, values)| Mixed::Half(&values[offsets[j]..]))
        .chain(
            long.iter()
                .enumerate()
                .map(|(j, values)| Mixed::Wide(&values[offsets[halves + j]..])),
        )
        .collect();
    let wide: Vec<ArrayD<f32>> = mixed
        .iter()
        .map(|input| {
            let values = match input {
                Mixed::Half(values) => values.iter().map(|v| v.widened()).collect(),
                Mixed::Wide(values) => values.to_vec(),
            };
            ArrayD::from_shape_vec(IxDyn(shape), values).unwrap()
        })
        .collect();
    let fill = |row: usize, first: usize, out: &mut [f32]| {
        for (i, z) in out.iter_mut().enumerate() {
            *z = fake_normal(row, first + i);
        }
    };
    let expected = {
        let (mut x, mut y) = (x.clone(), y.clone());
        let views: Vec<_> = wide.iter().map(|array| &**array).collect();
        let mut fill = fill;
        let finite = naive::update(
            forms,
            &mut x,
            case.second.then_some(&mut *y),
            &views,
            case.noise.then_some(&mut fill),
        );
        (finite.unwrap(), bits(&x), bits(&y))
    };
    let mut outcome = Ok(());
    at_each_level(|level| {
        let (mut x, mut y) = (x.clone(), y.clone());
        let mut fill = fill;
        let finite = update_slices(
            forms,
            samples,
            x.as_slice_mut().unwrap(),
            case.second.then_some(y.as_slice_mut().unwrap()),
            &mixed,
            case.noise.then_some(&mut fill),
        );
        let check = || {
            prop_assert_eq!(finite, expected.0, "finite, at {:?}", level);
            prop_assert_eq!(&bits(&x), &expected.1, "x, at {:?}", level);
            prop_assert_eq!(&bits(&y), &expected.2, "y, at {:?}", level);
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
    fn halves_are_read_as_if_they_were_widened_first_in_f16(
        case in case(),
        halves in prop_oneof![3 => 0usize..=3, 1 => Just(16)],
    ) {
        halves_are_read_as_if_widened::<f16>(&case, halves)?;
    }

    #[test]
    fn halves_are_read_as_if_they_were_widened_first_in_bf16(
        case in case(),
        halves in prop_oneof![3 => 0usize..=3, 1 => Just(16)],
    ) {
        halves_are_read_as_if_widened::<bf16>(&case, halves)?;
    }
}

#[test]
fn one_bad_half_anywhere_is_found() {
    fn found<O: Half>() {
        for form in [
            super::plain(0.5, &[0.5]),
            super::plain(0.5, &[0.5, 1.0, 0.25]),
        ] {
            let inputs = form.x.inputs.iter().filter(|c| **c != 0.0).count();
            let lengths = [1, 31, 32, 33, 600, 1025];
            for &len in &lengths[..if cfg!(miri) { 4 } else { 6 }] {
                for place in [0, len / 2, len - 1] {
                    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                        let good = vec![O::narrowed(1.0); len];
                        let mut values = good.clone();
                        let apply = |values: &[O]| {
                            let mut all = vec![Mixed::Half(&good[..]); inputs];
                            all[inputs - 1] = Mixed::Half(values);
                            let mut x = vec![0.5f32; len];
                            update_slices(Forms::Same(&form), 1, &mut x, None, &all, None)
                        };
                        assert!(apply(&values));
                        values[place] = O::narrowed(bad);
                        assert!(!apply(&values), "{bad} at {place} of {len}");
                    }
                }
            }
        }
    }
    at_each_level(|_| {
        found::<f16>();
        found::<bf16>();
    });
}

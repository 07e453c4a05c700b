//! Forms by positions along an axis.

use std::cell::Cell;

use super::*;

/// Entries of the positions along an axis, shared or of each sample's own, among `forms` forms and
/// one that is none of them; with neighbours that are often the same. None without such an axis.
pub(super) fn entries(shape: &[usize], axis: usize, forms: usize, mix: &mut Mix) -> Vec<u32> {
    let positions = shape.get(axis).copied().unwrap_or(0);
    let rows = if mix.chance(2) { 1 } else { shape[0] };
    let mut last = 0;
    (0..rows * positions)
        .map(|_| {
            if !mix.chance(3) {
                last = mix.below(forms + 1) as u32;
            }
            last
        })
        .collect()
}

/// Noise is requested in whole blocks of a row, each once and in ascending order.
pub(super) fn blocks_of_noise(
    asked: &[(usize, usize, usize)],
    per_sample: usize,
) -> Result<(), TestCaseError> {
    for &(_, first, len) in asked {
        prop_assert_eq!(first % super::super::pieces::NOISE, 0);
        prop_assert_eq!(len, (per_sample - first).min(super::super::pieces::NOISE));
    }
    prop_assert!(asked.is_sorted_by(|a, b| a < b));
    Ok(())
}

#[test]
fn a_positions_elements_are_those_of_its_index_on_the_axis() {
    let shape = [2, 3, 4, 5];
    for axis in 1..4 {
        let positions = shape[axis];
        for rows in [1, 2] {
            // The entry names the position, and the sample where it has its own.
            let of: Vec<u32> = (0..(rows * positions) as u32).collect();
            let places = Places::new(&shape, axis, &of).unwrap();
            let array = Array::from_shape_fn(IxDyn(&shape), |index| {
                (index[0] % rows) * positions + index[axis]
            });
            for (index, &wanted) in array.iter().enumerate() {
                let (sample, element) = (index / 60, index % 60);
                assert_eq!(places.entry(sample, element), wanted);
                let (entry, len) = places.run(sample, element, 60).unwrap();
                assert_eq!(entry, wanted);
                let next = array.iter().skip(index).take_while(|&&next| next == wanted);
                assert_eq!(len, next.count().min(60 - element));
            }
        }
    }
}

#[test]
fn neighbours_with_one_form_are_one_piece() {
    let of = [0, 0, 0, 1, 1, 2];
    let places = Places::new(&[1, 6, 7], 1, &of).unwrap();
    let ends = [(0, (0, 21)), (8, (0, 13)), (21, (1, 14)), (35, (2, 7))];
    for (element, run) in ends {
        assert_eq!(places.run(0, element, 42), Some(run));
    }
    // No further than is asked for, up to the end of the position.
    assert_eq!(places.run(0, 0, 8), Some((0, 14)));
}

#[test]
fn a_position_without_a_form_stays_whatever_the_inputs_are() {
    let form = plain(0.5, &[2.0]);
    for (axis, shape) in [(1, [2, 3, 40]), (2, [2, 40, 3])] {
        let places = Places::new(&shape, axis, &[1, 0, 7]).unwrap();
        let mut x = Array::<f32, _>::from_elem(shape, -0.0);
        let mut e = Array::<f32, _>::from_elem(shape, f32::NAN);
        e.slice_axis_mut(Axis(axis), Slice::from(1..2)).fill(3.0);
        let asked = Cell::new(0);
        let mut fill = |_: usize, _: usize, _: &mut [f32]| asked.set(asked.get() + 1);
        let forms = [form];
        let along = Forms::Along(&forms, places);
        assert_eq!(
            update(along, &mut x, None, &[&e], Some(&mut fill)),
            Ok(true)
        );
        assert_eq!(asked.get(), 0);
        for (index, x) in x.indexed_iter() {
            let position = [index.0, index.1, index.2][axis];
            let wanted = if position == 1 { 6.0f32 } else { -0.0 };
            assert_eq!(x.to_bits(), wanted.to_bits(), "{index:?}");
        }
    }
}

#[test]
fn lists_and_axes_that_do_not_fit_are_refused() {
    let shape = [3, 4, 5];
    let of = [0; 20];
    for axis in [0, 3, usize::MAX] {
        let refused = Places::new(&shape, axis, &of[..4]).map(drop);
        assert_eq!(refused, Err(Error::WrongAxis { axis, axes: 3 }));
    }
    for (found, expected) in [(0, 4), (1, 4), (5, 4), (11, 4), (13, 12), (20, 12)] {
        let refused = Places::new(&shape, 1, &of[..found]).map(drop);
        let name = "levels of the positions";
        let wrong = Error::WrongLength {
            name,
            expected,
            found,
        };
        assert_eq!(refused, Err(wrong));
    }
    assert!(Places::new(&shape, 1, &of[..4]).is_ok());
    assert!(Places::new(&shape, 1, &of[..12]).is_ok());
}

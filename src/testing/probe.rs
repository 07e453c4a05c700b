//! What the checks share: comparisons, normals, and the coefficients of a black box.

use super::Failure;
use crate::error::require_positive;
use crate::noise::{KeyedNoise, NoiseKey, NoiseSource, Stream};
use crate::real::Real;

/// The elements of the arrays that a step is probed with: enough for a vector and a remainder.
pub(super) const ELEMENTS: usize = 19;

/// Standard normals, the same in every call: `which` tells arrays apart.
pub(super) fn normals<A: Real>(which: u8, count: usize) -> Vec<A> {
    let mut values = vec![A::zero(); count];
    let key = NoiseKey::new(0, 0, Stream::User(which));
    KeyedNoise::new(0x7E57).fill(key, 0, &mut values);
    values
}

/// Whether `found` is within `tolerance` of `expected`; the same infinity is.
pub(super) fn near(found: f64, expected: f64, tolerance: f64) -> bool {
    found == expected || (found - expected).abs() <= tolerance
}

pub(super) fn require_finite<A: Real>(array: &'static str, values: &[A]) -> Result<(), Failure> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(index) => Err(Failure::NotFinite {
            array,
            index,
            value: values[index].widen(),
        }),
    }
}

pub(super) fn require_count(
    array: &'static str,
    expected: usize,
    found: usize,
) -> Result<(), Failure> {
    if expected == found {
        return Ok(());
    }
    Err(Failure::Length {
        array,
        expected,
        found,
    })
}

/// Refuses to check nothing.
pub(super) fn require_some(array: &'static str, found: usize) -> Result<(), Failure> {
    require_count(array, found.max(1), found)
}

/// The output of `function`, all of it written and finite.
pub(super) fn written<A: Real>(
    length: usize,
    function: impl FnOnce(&mut [A]),
) -> Result<Vec<A>, Failure> {
    let mut out = vec![A::unwritten(); length];
    function(&mut out);
    if let Some(index) = out.iter().position(|value| value.is_unwritten()) {
        return Err(Failure::NotWritten { index });
    }
    require_finite("output", &out)?;
    Ok(out)
}

/// The coefficients of out = Σ c_j input_j, found by unit inputs, of a function that may see its
/// inputs only through that sum.
///
/// # Errors
///
/// Where the output is not finite or not written, or is not that sum: for zeros, for normals, and
/// for normals times 100, which a clip would cut.
pub(super) fn coefficients<A: Real, const N: usize>(
    tolerance: f64,
    mut function: impl FnMut([&[A]; N], &mut [A]),
) -> Result<[f64; N], Failure> {
    require_positive("tolerance", tolerance)?;
    let mut call = |inputs: &[Vec<A>; N]| {
        let slices = std::array::from_fn(|j| inputs[j].as_slice());
        written(ELEMENTS, |out| function(slices, out))
    };
    let constants = |on: Option<usize>| {
        std::array::from_fn(|j| vec![if on == Some(j) { A::one() } else { A::zero() }; ELEMENTS])
    };
    let mut found = [0.0; N];
    for (j, slot) in found.iter_mut().enumerate() {
        *slot = call(&constants(Some(j)))?[0].widen();
    }
    let draws = |scale: f64| {
        std::array::from_fn(|j| {
            let values = normals::<A>(j as u8, ELEMENTS);
            values.iter().map(|&v| v * A::cast(scale)).collect()
        })
    };
    let units = (0..N).map(|j| constants(Some(j)));
    for inputs in units.chain([constants(None), draws(1.0), draws(100.0)]) {
        is_sum(&found, &inputs, &call(&inputs)?, tolerance)?;
    }
    Ok(found)
}

/// Whether out = Σ c_j input_j in every element.
fn is_sum<A: Real, const N: usize>(
    coefficients: &[f64; N],
    inputs: &[Vec<A>; N],
    out: &[A],
    tolerance: f64,
) -> Result<(), Failure> {
    for (index, found) in out.iter().enumerate() {
        let terms = (0..N).map(|j| coefficients[j] * inputs[j][index].widen());
        let (expected, size) = terms.fold((0.0, 0.0), |(sum, size), term| {
            (sum + term, size + term.abs())
        });
        let inputs = (0..N).map(|j| inputs[j][index].widen().abs());
        let allowed = tolerance * (size + inputs.sum::<f64>());
        if !near(found.widen(), expected, allowed) {
            return Err(Failure::NotLinear {
                index,
                found: found.widen(),
                expected,
            });
        }
    }
    Ok(())
}

//! Checks of input, for every entry of the crate.

use super::Error;

/// Checks a named parameter; `valid` is the requirement in code, `requirement` in words.
pub(crate) fn require(
    valid: bool,
    name: &'static str,
    value: f64,
    requirement: &'static str,
) -> Result<(), Error> {
    if valid {
        Ok(())
    } else {
        Err(Error::InvalidParameter {
            name,
            value,
            requirement,
        })
    }
}

/// Checks every entry of a named list; `valid` is the requirement in code, `requirement` in words.
pub(crate) fn require_all(
    name: &'static str,
    values: &[f64],
    valid: impl Fn(usize, f64) -> bool,
    requirement: &'static str,
) -> Result<(), Error> {
    match values
        .iter()
        .enumerate()
        .find(|&(index, &value)| !valid(index, value))
    {
        None => Ok(()),
        Some((index, &value)) => Err(Error::InvalidEntry {
            name,
            index,
            value,
            requirement,
        }),
    }
}

/// Checks the length of a named list.
pub(crate) fn require_length(
    name: &'static str,
    expected: usize,
    found: usize,
) -> Result<(), Error> {
    if expected == found {
        return Ok(());
    }
    Err(Error::WrongLength {
        name,
        expected,
        found,
    })
}

/// Checks a cost in nats: it must not have overflowed.
pub(crate) fn require_cost(name: &'static str, value: f64) -> Result<f64, Error> {
    if value.is_finite() {
        Ok(value)
    } else {
        Err(Error::CostOverflow { name, value })
    }
}

/// Checks that a named parameter is finite and at least 0.
pub(crate) fn require_non_negative(name: &'static str, value: f64) -> Result<(), Error> {
    require(
        value.is_finite() && value >= 0.0,
        name,
        value,
        "finite and at least 0",
    )
}

/// Checks that a named parameter is positive and finite.
pub(crate) fn require_positive(name: &'static str, value: f64) -> Result<(), Error> {
    require(
        value.is_finite() && value > 0.0,
        name,
        value,
        "positive and finite",
    )
}

/// Checks the shape of a named array.
pub(crate) fn require_shape(
    name: &'static str,
    expected: &[usize],
    found: &[usize],
) -> Result<(), Error> {
    if expected == found {
        return Ok(());
    }
    Err(Error::ShapeMismatch {
        name,
        expected: expected.to_vec(),
        found: found.to_vec(),
    })
}

/// Checks that an array of this many elements can exist at all.
pub(crate) fn require_size<A>(shape: &[usize]) -> Result<(), Error> {
    let bytes = shape
        .iter()
        .filter(|&&axis| axis != 0)
        .try_fold(size_of::<A>(), |product, &axis| product.checked_mul(axis));
    if bytes.is_some_and(|bytes| isize::try_from(bytes).is_ok()) {
        Ok(())
    } else {
        Err(Error::TooLarge {
            shape: shape.to_vec(),
        })
    }
}

//! Numbers that break formulas, and how a refusal is judged.

use std::error::Error as StdError;

use diffusion_sampler::{Error, NoiseLevel};

pub(crate) type Outcome = Result<(), Box<dyn StdError>>;

/// Numbers that break formulas.
pub(crate) const BAD: [f64; 15] = [
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    -1.0,
    -0.0,
    0.0,
    5e-324,
    -5e-324,
    1e-300,
    1e-17,
    1.0,
    2.0,
    1e17,
    1e300,
    f64::MAX,
];

/// The numbers that an error holds.
pub(crate) fn values(error: &Error) -> Vec<f64> {
    match error {
        Error::InvalidLevel { time, alpha, sigma } => vec![*time, *alpha, *sigma],
        Error::InvalidParameter { value, .. } | Error::InvalidEntry { value, .. } => vec![*value],
        Error::TimeOutOfRange { time, last } => vec![*time, *last],
        Error::LambdaOutOfRange {
            lambda,
            noisy,
            clean,
        } => vec![*lambda, *noisy, *clean],
        Error::UnboundedLambda { noisy, clean } => vec![*noisy, *clean],
        Error::NoiseNotDecreasing {
            lambda_before,
            lambda,
            ..
        } => vec![*lambda_before, *lambda],
        Error::GammaOutOfRange {
            gamma, sigma_to, ..
        } => vec![*gamma, *sigma_to],
        Error::EtaOutOfRange { eta, max, .. } => vec![*eta, *max],
        Error::EdgeOverflow { from, to, .. } => vec![*from, *to],
        Error::CostOverflow { value, .. } => vec![*value],
        Error::EndNotBelow { before, end } => vec![*before, *end],
        Error::ConversionOverflow {
            alpha, sigma, time, ..
        }
        | Error::PredictionUndefined {
            alpha, sigma, time, ..
        } => vec![*alpha, *sigma, *time],
        Error::DegenerateEdge { from, to, .. } | Error::DeterministicLikelihood { from, to } => {
            vec![*from, *to]
        }
        Error::EdgesDoNotMeet { end, start } => vec![*end, *start],
        _ => Vec::new(),
    }
}

/// A refusal holds the value that was refused, in the struct and in its text.
pub(crate) fn holds(error: &Error, value: f64) {
    assert!(
        values(error).iter().any(|v| v.to_bits() == value.to_bits()),
        "{error:?} does not hold {value}"
    );
    // In either notation: both give the value back.
    let shown = [value.to_string(), format!("{value:e}")];
    let text = error.to_string();
    assert!(
        shown.iter().any(|shown| text.contains(shown)),
        "{error} does not show {value}"
    );
}

/// Accepted exactly where `valid`, refused with the value elsewhere.
pub(crate) fn judged<T: std::fmt::Debug>(
    result: Result<T, Error>,
    valid: bool,
    value: f64,
) -> Option<T> {
    match result {
        Ok(made) => {
            assert!(valid, "{value} was accepted: {made:?}");
            Some(made)
        }
        Err(error) => {
            assert!(!valid, "{value} was refused: {error}");
            holds(&error, value);
            None
        }
    }
}

/// The same for a parameter whose extremes may make a result overflow, which is another refusal.
pub(crate) fn judged_or_overflow<T: std::fmt::Debug>(
    result: Result<T, Error>,
    valid: bool,
    value: f64,
) {
    match result {
        Err(Error::CostOverflow { .. } | Error::ConversionOverflow { .. }) => {
            assert!(valid && !(1e-160..1e160).contains(&value), "{value}");
        }
        other => drop(judged(other, valid, value)),
    }
}

pub(crate) fn positive(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

pub(crate) fn not_negative(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}

pub(crate) fn pair() -> Result<(NoiseLevel, NoiseLevel), Error> {
    Ok((
        NoiseLevel::new(2.0, 0.6, 0.8)?,
        NoiseLevel::new(1.0, 0.8, 0.6)?,
    ))
}

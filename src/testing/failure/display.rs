//! What failures say.

use std::fmt::{Display, Formatter, Result};

use super::Failure;
use crate::error::Number;

/// What was found, what was expected, and the distance beside what is allowed.
struct Miss(f64, f64, f64);

impl Display for Miss {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self(found, expected, tolerance) = self;
        let miss = (found - expected).abs();
        write!(
            f,
            "{} where it must be {}: off by {miss:.2e}, allowed {tolerance:.2e}",
            Number(*found),
            Number(*expected),
        )
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Setup(error) => write!(f, "the check cannot be made: {error}"),
            Self::NotFinite {
                array,
                index,
                value,
            } => {
                let value = Number::of(value);
                write!(f, "{array}, element {index}, is {value}")
            }
            Self::NotWritten { index } => {
                write!(f, "element {index} of the output was not written")
            }
            Self::Length {
                array,
                expected,
                found,
            } => write!(f, "{array}: {found} values where {expected} were expected"),
            Self::Entry {
                table,
                index,
                value,
                requirement,
            } => {
                let value = Number::of(value);
                write!(f, "{table}[{index}] = {value} must be {requirement}")
            }
            Self::Level {
                time,
                quantity,
                found,
                expected,
                tolerance,
            } => {
                let time = Number::of(time);
                write!(
                    f,
                    "{quantity} at time {time} is {}",
                    Miss(*found, *expected, *tolerance)
                )
            }
            Self::Order {
                claimed,
                measured,
                steps: [coarse, fine],
                errors: [larger, smaller],
            } => write!(
                f,
                "order {claimed} was claimed, {measured:.2} measured: error {larger:.3e} in \
                 {coarse} steps, {smaller:.3e} in {fine}"
            ),
            _ => self.fmt_grid(f),
        }
    }
}

impl Failure {
    /// Grids.
    fn fmt_grid(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::KnotCount { steps, found } => {
                write!(f, "{steps} steps need {} knots, found {found}", steps + 1)
            }
            Self::KnotOrder {
                knot,
                before,
                value,
            } => {
                let [before, value] = [before, value].map(Number::of);

                let last = knot.saturating_sub(1);
                write!(
                    f,
                    "knot {knot} must lie below knot {last}: {value} after {before}"
                )
            }
            Self::KnotEnd {
                knot,
                found,
                expected,
            } => {
                let [found, expected] = [found, expected].map(Number::of);
                write!(f, "the {knot} knot is {found} where it must be {expected}")
            }
            Self::Edge {
                step,
                end,
                found,
                expected,
            } => {
                let [found, expected] = [found, expected].map(Number::of);
                write!(f, "step {step} must {end} {expected}, not {found}")
            }
            Self::Refused { steps, message } => write!(f, "{steps} steps were refused: {message}"),
            Self::NoStepsAccepted { knots } => {
                write!(f, "0 steps must be refused; {knots} knots were returned")
            }
            Self::Panicked { steps, message } => {
                write!(
                    f,
                    "{steps} steps: a panic where an error was due: {message}"
                )
            }
            _ => self.fmt_function(f),
        }
    }

    /// Steps, conversions and guidance.
    fn fmt_function(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::NotLinear {
                index,
                found,
                expected,
            } => {
                let [found, expected] = [found, expected].map(Number::of);
                write!(
                    f,
                    "not linear, or elements are mixed: element {index} is {found}, where the \
                 coefficients found by unit inputs make {expected}"
                )
            }
            Self::Coefficient {
                coefficient,
                from,
                to,
                found,
                expected,
                tolerance,
            } => {
                let [from, to] = [from, to].map(Number::of);
                write!(
                    f,
                    "from time {from} to {to}: the {coefficient} is {}",
                    Miss(*found, *expected, *tolerance)
                )
            }
            Self::Conversion {
                from,
                to,
                time,
                index,
                found,
                expected,
                tolerance,
            } => {
                let time = Number::of(time);
                write!(
                    f,
                    "{from} to {to} at time {time}: element {index} is {}",
                    Miss(*found, *expected, *tolerance)
                )
            }
            Self::Guidance {
                law,
                weight,
                index,
                found,
                expected,
                tolerance,
            } => {
                let weight = Number::of(weight);
                write!(
                    f,
                    "guidance with w = {weight} breaks \"{law}\": element {index} is {}",
                    Miss(*found, *expected, *tolerance)
                )
            }
            _ => self.fmt_run(f),
        }
    }

    /// Runs.
    fn fmt_run(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::PointFlow {
                index,
                found,
                expected,
                tolerance,
            } => write!(
                f,
                "on data of one point, element {index} ends at {}",
                Miss(*found, *expected, *tolerance)
            ),
            Self::Moment {
                moment,
                axes: [a, b],
                found,
                expected,
                probability,
                error_rate,
            } => {
                let [found, expected] = [found, expected].map(Number::of);
                write!(
                    f,
                    "the {moment} (axes {a} and {b}) of the samples is {found}, exactly {expected}: \
                 a chance of at most {probability:.1e}, below {error_rate:.1e}"
                )
            }
            Self::OffPoint {
                sample,
                axis,
                deviation,
                tolerance,
            } => write!(
                f,
                "sample {sample} is off the mean by {deviation:.2e} along axis {axis}, which has \
                 no variance; allowed {tolerance:.2e}"
            ),
            Self::Batch {
                batch,
                sample,
                element,
                whole,
                found,
            } => {
                let [whole, found] = [whole, found].map(Number::of);
                write!(
                    f,
                    "sample {sample}, element {element}, is {found} in {batch}, {whole} before"
                )
            }
            Self::SameResult { first, second } => write!(
                f,
                "\"{first}\" and \"{second}\" give the same result to the bit"
            ),
            Self::Model { message } => write!(f, "the model failed: {message}"),
            _ => f.write_str("a check failed"),
        }
    }
}

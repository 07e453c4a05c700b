//! What a check found.

mod display;

use super::guidance::GuidanceLaw;
use crate::error::Error;

/// What a check found wrong, with the values: where, what was found, what was expected, and how far
/// it may miss.
///
/// It is an [`Error`](std::error::Error), so that `?` turns it into a failed case inside
/// `proptest!` and ends a plain `#[test]` that returns a `Result`.
///
/// ```
/// use diffusion_sampler::testing::{Failure, check_knots};
///
/// let failure = check_knots(&[999.0, 499.0, 499.0], 2, 999.0, 499.0).unwrap_err();
/// assert_eq!(failure, Failure::KnotOrder { knot: 2, before: 499.0, value: 499.0 });
/// assert_eq!(failure.to_string(), "knot 2 must lie below knot 1: 499 after 499");
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Failure {
    /// The check was asked for something impossible: a level that the schedule does not have, a
    /// prediction that is undefined at the level, a tolerance that is not positive.
    Setup(Error),
    /// A value that is not finite.
    NotFinite {
        /// Which array or coefficient.
        array: &'static str,
        /// Its position.
        index: usize,
        /// The value.
        value: f64,
    },
    /// An element of an output that the function returned without writing.
    NotWritten {
        /// Its position in the output.
        index: usize,
    },
    /// An array of the wrong length.
    Length {
        /// Which array.
        array: &'static str,
        /// The length that was needed.
        expected: usize,
        /// The length found.
        found: usize,
    },
    /// An entry of a table out of its range, or not below the one before it.
    Entry {
        /// Which table.
        table: &'static str,
        /// The entry's position.
        index: usize,
        /// Its value.
        value: f64,
        /// What it must be.
        requirement: &'static str,
    },
    /// A level that is not the expected schedule's.
    Level {
        /// Its time.
        time: f64,
        /// Which of its quantities differs.
        quantity: &'static str,
        /// Its value.
        found: f64,
        /// The schedule's.
        expected: f64,
        /// How far it may miss.
        tolerance: f64,
    },
    /// Another number of knots than K + 1.
    KnotCount {
        /// K.
        steps: usize,
        /// The number of knots found.
        found: usize,
    },
    /// A knot that does not lie below the one before it.
    KnotOrder {
        /// The position of the knot.
        knot: usize,
        /// The knot before it.
        before: f64,
        /// The knot.
        value: f64,
    },
    /// A grid that does not begin or end where it should.
    KnotEnd {
        /// "first" or "last".
        knot: &'static str,
        /// Where it is.
        found: f64,
        /// Where it should be.
        expected: f64,
    },
    /// A step that does not leave its knot, or does not lead to the next one.
    Edge {
        /// The step, counted from 0 at the noisy end.
        step: usize,
        /// "leave" or "reach".
        end: &'static str,
        /// The time found.
        found: f64,
        /// The knot.
        expected: f64,
    },
    /// A number of steps that the function refused.
    Refused {
        /// The number of steps.
        steps: usize,
        /// What it said.
        message: String,
    },
    /// A run of 0 steps that was not refused.
    NoStepsAccepted {
        /// The number of knots returned.
        knots: usize,
    },
    /// A panic where an error or a value was due.
    Panicked {
        /// The number of steps requested.
        steps: usize,
        /// The panic's message.
        message: String,
    },
    /// A function that is not linear in its inputs, or mixes elements.
    NotLinear {
        /// The element.
        index: usize,
        /// Its value.
        found: f64,
        /// The sum of the inputs with the coefficients found by unit inputs.
        expected: f64,
    },
    /// A coefficient of a step, on x₀, ε or z, or what follows from them.
    Coefficient {
        /// Which one.
        coefficient: &'static str,
        /// The time at which the step starts; 0 for added noise.
        from: f64,
        /// The time at which it ends.
        to: f64,
        /// Its value.
        found: f64,
        /// What it must be.
        expected: f64,
        /// How far it may miss.
        tolerance: f64,
    },
    /// A converted prediction.
    Conversion {
        /// The prediction given.
        from: &'static str,
        /// The prediction wanted; that given for a round trip.
        to: &'static str,
        /// The time of the level.
        time: f64,
        /// The element.
        index: usize,
        /// Its value.
        found: f64,
        /// What it must be.
        expected: f64,
        /// How far it may miss.
        tolerance: f64,
    },
    /// A broken law of guidance.
    Guidance {
        /// Which law.
        law: GuidanceLaw,
        /// The weight w = s − 1.
        weight: f64,
        /// The element.
        index: usize,
        /// Its value.
        found: f64,
        /// What it must be.
        expected: f64,
        /// How far it may miss.
        tolerance: f64,
    },
    /// The end of a run whose data are one point.
    PointFlow {
        /// The element.
        index: usize,
        /// Its value.
        found: f64,
        /// α_s x₀ + σ_s ε.
        expected: f64,
        /// How far it may miss.
        tolerance: f64,
    },
    /// A sampler that converges more slowly than claimed.
    Order {
        /// The order claimed.
        claimed: usize,
        /// The order measured.
        measured: f64,
        /// The two numbers of steps.
        steps: [usize; 2],
        /// The errors at both.
        errors: [f64; 2],
    },
    /// A moment of samples that chance does not explain.
    Moment {
        /// The mean, the variance, or that of the sum or difference of two standardised axes.
        moment: &'static str,
        /// The axes, in the order of [`Gaussian::variances`](crate::oracle::Gaussian::variances);
        /// twice the same for a mean or variance.
        axes: [usize; 2],
        /// Its value in the samples.
        found: f64,
        /// The exact one.
        expected: f64,
        /// A bound on the probability that correct samples miss by as much in any of the moments
        /// tested.
        probability: f64,
        /// The rate of false alarms at which the check was made.
        error_rate: f64,
    },
    /// A sample that leaves the mean along an axis along which there is no variance.
    OffPoint {
        /// The sample.
        sample: usize,
        /// The axis.
        axis: usize,
        /// How far it is from the mean.
        deviation: f64,
        /// How far it may be.
        tolerance: f64,
    },
    /// A sample that depends on the batch in which it was computed, or on the call.
    Batch {
        /// How the samples were computed this time.
        batch: &'static str,
        /// The sample.
        sample: usize,
        /// The element.
        element: usize,
        /// Its value in the whole batch.
        whole: f64,
        /// Its value this time.
        found: f64,
    },
    /// Two samplers with different names and the same results.
    SameResult {
        /// The first name.
        first: String,
        /// The second name.
        second: String,
    },
    /// The error of a model.
    Model {
        /// What it said.
        message: String,
    },
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Setup(error) => Some(error),
            _ => None,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Setup(error)
    }
}

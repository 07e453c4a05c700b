//! The texts of errors: what was wrong, the values, and what to do next.

use std::fmt;

use super::Error;
use super::text::{Number, Shape, Shortened};

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidLevel { time, alpha, sigma } => {
                let [time, alpha, sigma] = [time, alpha, sigma].map(Number::of);
                write!(
                    f,
                    "a noise level needs a finite time, finite alpha >= 0 and sigma >= 0, not both 0: got time {time}, alpha {alpha}, sigma {sigma}"
                )
            }
            Self::AxesDiffer { axis } => write!(
                f,
                "the Gaussians differ in axis {axis}: they must share their axes, or one must be isotropic"
            ),
            Self::InvalidParameter {
                name,
                value,
                requirement,
            } => {
                let value = Number::of(value);
                write!(f, "{name} must be {requirement}, got {value}")
            }
            Self::InvalidEntry {
                name,
                index,
                value,
                requirement,
            } => {
                let value = Number::of(value);
                write!(f, "{name}[{index}] must be {requirement}, got {value}")
            }
            Self::WrongLength {
                name,
                expected,
                found,
            } => write!(f, "{name} must have length {expected}, got {found}"),
            Self::TimeOutOfRange { time, last } => {
                let [time, last] = [time, last].map(Number::of);
                write!(f, "time {time} lies outside the schedule's [0, {last}]")
            }
            Self::LambdaOutOfRange {
                lambda,
                noisy,
                clean,
            } => {
                let [lambda, noisy, clean] = [lambda, noisy, clean].map(Number::of);
                write!(f, "lambda {lambda} lies outside [{noisy}, {clean}]")
            }
            Self::KnotOutsidePath {
                lambda,
                noisy,
                clean,
            } => {
                let [lambda, noisy, clean] = [lambda, noisy, clean].map(Number::of);
                write!(
                    f,
                    "lambda {lambda} lies outside the noise path's [{noisy}, {clean}]"
                )
            }
            Self::KnotsTooClose { from, to, cell } => {
                let [from, to, cell] = [from, to, cell].map(Number::of);
                write!(
                    f,
                    "the knots at lambda {from} and {to} lie too close for the noise path, whose cells have \
                 length {cell}"
                )
            }
            Self::PathRetraced { from, to } => {
                let [from, to] = [from, to].map(Number::of);
                write!(
                    f,
                    "noise from lambda {from} to {to}: a noise path is followed once, towards less noise"
                )
            }
            Self::StepBeforeJoining {
                sample,
                joined,
                step,
            } => write!(
                f,
                "sample {sample} joins its batch at step {joined}: it has no noise at step {step}"
            ),
            Self::UnboundedLambda { noisy, clean } => {
                let [noisy, clean] = [noisy, clean].map(Number::of);
                write!(
                    f,
                    "lambda runs from {noisy} to {clean}: a grid in lambda or rho needs finite ends, give an explicit LambdaRange"
                )
            }
            Self::StepCount { steps, min, max } if *max == usize::MAX => {
                write!(f, "expected at least {min} steps, got {steps}")
            }
            Self::StepCount { steps, min, max } => {
                write!(f, "expected {min} to {max} steps, got {steps}")
            }
            Self::SpacingImpossible {
                spacing,
                steps,
                table,
                knot,
            } => {
                let knot = Number::of(knot);
                write!(
                    f,
                    "{spacing} spacing cannot give {steps} steps on a table of {table}: it would need knot {knot}"
                )
            }
            Self::SpacingNeedsTable { spacing } => write!(
                f,
                "{spacing} spacing is defined on a table of knots, and this schedule is continuous"
            ),
            Self::NoiseNotDecreasing {
                knot,
                lambda_before,
                lambda,
            } => {
                let [lambda_before, lambda] = [lambda_before, lambda].map(Number::of);
                write!(
                    f,
                    "noise must decrease strictly: knot {knot} has lambda {lambda} after {lambda_before}; list \
                 the knots from noisy to clean"
                )
            }
            Self::GammaOutOfRange {
                gamma,
                sigma_to,
                from,
                to,
            } => {
                let [gamma, sigma_to, from, to] = [gamma, sigma_to, from, to].map(Number::of);
                write!(
                    f,
                    "gamma must lie in [0, {sigma_to}] on the edge from time {from} to {to}, got {gamma}"
                )
            }
            Self::EtaOutOfRange { eta, max, from, to } => {
                let [eta, max, from, to] = [eta, max, from, to].map(Number::of);
                write!(
                    f,
                    "eta must be at most {max} on the edge from time {from} to {to}, got {eta}: a larger eta adds more noise than the level {to} has"
                )
            }
            Self::EdgeOverflow {
                coefficient,
                value,
                from,
                to,
            } => {
                let [value, from, to] = [value, from, to].map(Number::of);
                write!(
                    f,
                    "the coefficient on the {coefficient} of the edge from time {from} to {to} is {value}: alpha or sigma of the two levels differ by more than f64 can hold, rescale the levels"
                )
            }
            Self::ConversionOverflow {
                prediction,
                alpha,
                sigma,
                time,
            } => {
                let [alpha, sigma, time] = [alpha, sigma, time].map(Number::of);
                write!(
                    f,
                    "{prediction} prediction overflows f64 at time {time}, where alpha is {alpha} and sigma is {sigma}: rescale the level"
                )
            }
            Self::CostOverflow { name, value } => {
                let value = Number::of(value);
                write!(
                    f,
                    "the {name} is {value}, more than f64 can hold: take a larger variance or a smaller data error"
                )
            }
            Self::EmptyList { name } => write!(f, "{name} must have at least one entry, got none"),
            Self::SectionOutOfRange { start, end, steps } => write!(
                f,
                "the section {start}..{end} must not be empty and must lie within the grid's {steps} steps"
            ),
            Self::EndNotBelow { before, end } => {
                let [before, end] = [before, end].map(Number::of);
                write!(
                    f,
                    "the end at time {end} must have less noise than the knot before it, at time {before}: leave that knot out, or shift the grid up (offset 1 for leading spacing that ends at knot 1)"
                )
            }
            Self::DegenerateEdge {
                from,
                to,
                requirement,
            } => {
                let [from, to] = [from, to].map(Number::of);
                write!(f, "the edge from time {from} to {to} must {requirement}")
            }
            Self::EdgesDoNotMeet { end, start } => {
                let [end, start] = [end, start].map(Number::of);
                write!(
                    f,
                    "the first edge ends at time {end}, the second starts at {start}"
                )
            }
            Self::PredictionUndefined {
                prediction,
                alpha,
                sigma,
                time,
            } if *alpha == 0.0 => {
                let [sigma, time] = [sigma, time].map(Number::of);
                write!(
                    f,
                    "{prediction} prediction is undefined at time {time}, where alpha is 0 (sigma is {sigma}): checkpoints of rectified flow or zero terminal SNR predict flow or velocity, check the prediction, or start at a level with alpha > 0"
                )
            }
            Self::PredictionUndefined {
                prediction,
                alpha,
                sigma,
                time,
            } => {
                let [alpha, sigma, time] = [alpha, sigma, time].map(Number::of);
                write!(
                    f,
                    "{prediction} prediction is undefined at time {time}, where alpha is {alpha} and sigma is {sigma}"
                )
            }
            Self::PredictionMismatch { expected, found } => write!(
                f,
                "the run was started for {expected} prediction, the model declares {found}"
            ),
            Self::DeterministicLikelihood { from, to } => {
                let [from, to] = [from, to].map(Number::of);
                write!(
                    f,
                    "gamma = 0 on the edge from time {from} to {to}: a deterministic step has no likelihood bound"
                )
            }
            Self::StepNotPosterior {
                step,
                from,
                to,
                requirement,
            } => {
                let [from, to] = [from, to].map(Number::of);
                write!(
                    f,
                    "step {step}, from time {from} to {to}, must {requirement}, for a likelihood bound of its plan"
                )
            }
            Self::ClippedMoments => write!(
                f,
                "a sampler that clips is not linear, so its moments are not those of a Gaussian: \
                 ask the sampler without the clip"
            ),
            Self::NonLinearGuidance { guidance, step } => write!(
                f,
                "{guidance} is not linear at step {step}, so its result is not Gaussian: in one or two \
                 dimensions Sampler::modes has its distribution"
            ),
            Self::ModesUnsupported {
                what,
                found,
                supported,
            } => write!(
                f,
                "the distribution of a result by quadrature: {what} may be {supported}, got {found}"
            ),
            Self::NoTiltedDensity { axis, precision } => {
                let precision = Number::of(precision);
                write!(
                    f,
                    "the tilted density has precision {precision} on axis {axis}: it has no integral where \
                 that is not positive, and a weaker guidance has one"
                )
            }
            Self::GivenHistory { given } => write!(
                f,
                "the plan starts from {given} given history slots, whose distribution is not known: it \
                 has no moments"
            ),
            Self::StartsFromData { from, to } => {
                let [from, to] = [from, to].map(Number::of);
                write!(
                    f,
                    "the plan leads from time {from} to no less noise at {to}: it starts from data, give \
                 them to start_from"
                )
            }
            Self::PathWithoutSchedule { lambda } => {
                let lambda = Number::of(lambda);
                write!(
                    f,
                    "lambda {lambda} is requested of a path without a schedule: make it by Path::new"
                )
            }
            Self::TimeWithoutSchedule { time } => {
                let time = Number::of(time);
                write!(
                    f,
                    "time {time} is requested of a path without a schedule: make it by Path::new"
                )
            }
            Self::ScheduleMismatch {
                time,
                grid_lambda,
                schedule_lambda,
            } if schedule_lambda.is_nan() => {
                let [time, grid_lambda] = [time, grid_lambda].map(Number::of);
                write!(
                    f,
                    "the grid has a knot at time {time} (lambda {grid_lambda}), which the schedule does \
                 not have: the grid was made from another schedule"
                )
            }
            Self::ScheduleMismatch {
                time,
                grid_lambda,
                schedule_lambda,
            } => {
                let [time, grid_lambda, schedule_lambda] =
                    [time, grid_lambda, schedule_lambda].map(Number::of);
                write!(
                    f,
                    "the grid's lambda at time {time} is {grid_lambda}, the schedule's is \
                 {schedule_lambda}: the grid was made from another schedule"
                )
            }
            Self::DataWithoutEvaluation { step, stage } => write!(
                f,
                "stage {stage} of step {step} uses the data or noise estimate without evaluating \
                 the model"
            ),
            Self::StageCount { step, found, max } => {
                write!(f, "step {step} has {found} stages, expected 1 to {max}")
            }
            Self::SlotOutOfRange {
                step,
                stage,
                slot,
                slots,
            } => write!(
                f,
                "stage {stage} of step {step} uses history slot {slot}, the plan has {slots}"
            ),
            Self::SlotNotWritten { step, stage, slot } => write!(
                f,
                "stage {stage} of step {step} reads history slot {slot} before anything was stored \
                 in it"
            ),
            Self::SlotReadTwice { step, stage, slot } => write!(
                f,
                "stage {stage} of step {step} reads history slot {slot} twice: add the weights"
            ),
            Self::TooManySlots { found, max } => {
                write!(f, "{found} history slots, at most {max} are possible")
            }
            Self::CoefficientOverflow { step, value } => {
                let value = Number::of(value);
                write!(
                    f,
                    "a coefficient of step {step} is {value}, which overflows the element type"
                )
            }
            Self::OutputCount { found, max } => {
                write!(f, "{found} model outputs, expected 1 to {max}")
            }
            Self::NestedGuidance { outer, inner } => {
                write!(f, "{outer} around {inner} has no meaning")
            }
            Self::StatefulGuidance { guidance } => write!(
                f,
                "{guidance} needs the state of a run: it cannot be called by hand"
            ),
            Self::TooFewOutputs {
                guidance,
                wanted,
                found,
            } => write!(
                f,
                "{guidance} wants {wanted} outputs of the model, which has {found}: give a model with \
                 more, or several as Models"
            ),
            Self::ModelsDisagree {
                model,
                expected,
                found,
            } => write!(
                f,
                "model {model} of several predicts {found}, model 0 {expected}: all must predict the \
                 same"
            ),
            Self::NoSuchStage {
                step,
                stage,
                stages,
            } => write!(
                f,
                "stage {stage} is requested of step {step}, which has {stages}"
            ),
            Self::MemoryMissing { weight } => {
                let weight = Number::of(weight);
                write!(
                    f,
                    "the combination reads the guidance memory with weight {weight}, and the run has \
                 none: give a form of guidance that keeps one (tell_guided)"
                )
            }
            Self::ProductsMissing { guidance } => {
                write!(f, "{guidance} needs the inner products of the outputs")
            }
            Self::ShapeMismatch {
                name,
                expected,
                found,
            } => {
                let (expected, found) = (Shape(expected), Shape(found));
                write!(f, "{name} must have shape {expected}, got {found}")
            }
            Self::NoSampleAxis => write!(
                f,
                "a 0-dimensional array has no sample axis; axis 0 is the sample"
            ),
            Self::WrongAxis { axis, axes } => write!(
                f,
                "axis {axis} has no positions: of {axes} axes the first is the sample's, and positions lie along another"
            ),
            Self::PositionGoesBack {
                position,
                step,
                from,
                to,
            } => write!(
                f,
                "step {step} would take position {position} back from knot {from} to knot {to}: knots never fall"
            ),
            Self::PositionNeedsData { position, time } => {
                let time = Number::of(time);
                write!(
                    f,
                    "position {position} begins at time {time}, below the noise that a run starts from: give the data"
                )
            }
            Self::NotPerPosition { name } => write!(
                f,
                "{name} looks at whole samples, which has no meaning where their positions have different levels"
            ),
            Self::PositionsNotRead { axis } => write!(
                f,
                "the levels differ along axis {axis}, and the model does not say that it reads them: wrap it in PerPosition if it does"
            ),
            Self::RowsNotRead => write!(
                f,
                "the rows have levels of their own, and the model does not say that it reads them: wrap it in PerRow if it does"
            ),
            Self::NoiseNotRepeatable => write!(
                f,
                "the run draws the same noise several times, and the source is no function of the key: take KeyedNoise or another pure one"
            ),
            Self::LayoutChanged { name } => write!(
                f,
                "the run's {name} no longer has its shape or standard layout"
            ),
            Self::TooLarge { shape } => {
                let shape = Shape(shape);
                write!(
                    f,
                    "shape {shape} has more elements than an array or the memory can hold"
                )
            }
            Self::TooManyTerms { found, max } => {
                write!(f, "{found} terms in one update, at most {max} are possible")
            }
            Self::RunFinished { steps } => {
                write!(f, "the run has already taken all of its {steps} steps")
            }
            Self::WithinStep { step, stage } => write!(
                f,
                "the run stands within step {step}, before its stage {stage}: edit it between two steps"
            ),
            Self::NotConverged {
                step,
                sample,
                residual,
                tolerance,
            } => {
                let [residual, tolerance] = [residual, tolerance].map(Number::of);
                write!(
                    f,
                    "step {step} was not solved for sample {sample}: a residual of {residual} is left, {tolerance} was asked for; \
                 allow more evaluations, or a larger tolerance"
                )
            }
            Self::EvaluationLimit {
                limit,
                time,
                lambda,
            } => {
                let [time, lambda] = [time, lambda].map(Number::of);
                write!(
                    f,
                    "{limit} evaluations were not enough: the run had reached time {time} (lambda {lambda}); loosen the tolerances or raise the limit"
                )
            }
            Self::StepUnderflow { time, lambda, step } => {
                let [time, lambda, step] = [time, lambda, step].map(Number::of);
                write!(
                    f,
                    "an adaptive run asks for a step of {step} in lambda at time {time} (lambda {lambda}), which is too short to be taken: loosen the tolerances, or look for noise in the model's answers"
                )
            }
            Self::NonFinite {
                step,
                sample,
                element,
                array,
                value,
            } => {
                let value = Number::of(value);
                write!(
                    f,
                    "{array} is {value} at step {step}, sample {sample}, element {element}"
                )
            }
            Self::NonFiniteTensor { step, array } => write!(
                f,
                "{array} is not finite at step {step}, says its library; on the host it is"
            ),
            Self::OutputNotWritten {
                step,
                output,
                sample,
                element,
            } => write!(
                f,
                "the model did not write element {element} of sample {sample} of its output \
                 {output} at step {step}"
            ),
            Self::NonFiniteStart {
                array,
                sample,
                element,
                value,
            } => {
                let value = Number::of(value);
                write!(
                    f,
                    "the {array} given is {value} at sample {sample}, element {element}"
                )
            }
            Self::SnapshotOfAnotherPlan {
                expected,
                found,
                time,
            } => {
                let time = Number::of(time);
                write!(
                    f,
                    "the snapshot, taken at time {time}, is of plan {found:016x}, not of plan \
                 {expected:016x}: resume it with the schedule, grid and solver it was taken from"
                )
            }
            Self::SnapshotOfAnother {
                what,
                expected,
                found,
                time,
            } => {
                let time = Number::of(time);
                write!(
                    f,
                    "the snapshot, taken at time {time}, is of a run with {what} {found}, not {expected}: \
                 resume it with the {what} it was taken with"
                )
            }
            Self::StoredFile { expected, found } => write!(
                f,
                "the file begins with {:?}, not with {:?}: it is no stored file",
                found.to_le_bytes().escape_ascii().to_string(),
                expected.to_le_bytes().escape_ascii().to_string(),
            ),
            Self::SnapshotMisplaced {
                step,
                stage,
                steps,
                time,
            } => {
                let time = Number::of(time);
                write!(
                    f,
                    "stage {stage} of step {step} at time {time} is no position of the snapshot's plan \
                 of {steps} steps"
                )
            }
            Self::StoredVersion { found, known } => write!(
                f,
                "the stored form has version {found}: only version {known} is known here"
            ),
            Self::StoredChecksum {
                name,
                expected,
                found,
            } => write!(
                f,
                "the stored {name} is not what was written: its checksum is {expected}, {found} was \
                 stored with it (a JSON reader must read numbers exactly: serde_json's feature \
                 float_roundtrip)"
            ),
            Self::StoredWithoutChecksum { name, expected } => write!(
                f,
                "the stored {name} has no checksum: what was read has {expected}, and only text may \
                 leave it out"
            ),
            Self::StoredElement { expected, found } => write!(
                f,
                "the stored array has elements of type {found}, not {expected}"
            ),
            Self::StoredLogarithm {
                name,
                log,
                value,
                time,
            } => {
                let [log, value, time] = [log, value, time].map(Number::of);
                write!(
                    f,
                    "the stored level at time {time} has {name} {log}, which is not the logarithm of \
                 {value}"
                )
            }
            Self::FunctionNotStored { name } => {
                write!(f, "{name} is a function, which cannot be stored")
            }
            Self::UnknownLabel { label, count } => {
                write!(f, "label {label} does not exist, labels are 0..{count}")
            }
            Self::UnknownName {
                kind,
                name,
                nearest,
            } => {
                write!(f, "no {kind} is called {:?}", Shortened(name))?;
                match nearest.as_slice() {
                    [] => Ok(()),
                    [one] => write!(f, "; the nearest is {one:?}"),
                    several => write!(f, "; the nearest are {several:?}"),
                }
            }
            Self::NotASampler {
                name,
                closest,
                reason,
            } => write!(
                f,
                "{:?} is not a sampler here: {reason}; the closest is {closest:?}",
                Shortened(name)
            ),
            Self::ConfigurationSyntax {
                line,
                column,
                problem,
            } => write!(
                f,
                "line {line}, column {column} of the configuration: {problem}"
            ),
            Self::InvalidField {
                class,
                field,
                value,
                requirement,
            } => {
                let dot = if class.is_empty() { "" } else { "." };
                write!(
                    f,
                    "{class}{dot}{field} must be {requirement}, found {value}"
                )
            }
            Self::UnsupportedField {
                class,
                field,
                value,
                reason,
                closest,
            } => write!(
                f,
                "{class}.{field} = {value} is not here: {reason}; the closest is {closest}"
            ),
            Self::RequestIncomplete {
                class,
                what,
                reason,
            } => write!(f, "{class} needs {what} of the request: {reason}"),
            Self::RequestRefused {
                class,
                what,
                reason,
            } => write!(f, "{class} cannot have {what}: {reason}"),
            Self::NoSpacing { name } => write!(
                f,
                "{name} needs a spacing: end the name with that of one (grid::spacings lists them), give it by \
                 with_spacing, or make the grid yourself"
            ),
            Self::NotACovariance { index, value } => {
                let value = Number::of(value);
                write!(
                    f,
                    "a covariance must be symmetric and positive semi-definite: off by {value} at index {index}"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More than any message takes, whatever was refused.
    const LONGEST: usize = 800;

    /// Texts that are made by the crate are at most so long: eight numbers, or a shortened text.
    const TEXT: usize = 220;

    #[test]
    fn messages_are_short_and_exact_whatever_the_values() {
        let text = "x".repeat(TEXT);
        // Printing is slow in miri.
        let (numbers, every) = if cfg!(miri) { (1, 9) } else { (8, 1) };
        for number in [
            -f64::MAX,
            -f64::MIN_POSITIVE * (1.0 - f64::EPSILON),
            -1.2345678901234567e-7,
            123456789012345680.0,
            5e-324,
            f64::NEG_INFINITY,
            f64::NAN,
            -0.0,
        ]
        .into_iter()
        .take(numbers)
        {
            for error in Error::with(number, &text).into_iter().step_by(every) {
                let message = error.to_string();
                assert!(message.chars().count() <= LONGEST, "{message}");
                let digits = message.split(|c: char| !c.is_ascii_digit());
                let most = digits.map(str::len).max();
                assert!(most <= Some(20), "{message}");
                // The variant's numbers are those of its Debug form.
                let debugged = format!("{error:?}");
                let fields = debugged.matches(&format!(": {number:?}")).count();
                if fields > 0 {
                    let words =
                        message.split(|c: char| !(c.is_alphanumeric() || "+-.".contains(c)));
                    let read =
                        words.filter_map(|word| word.trim_end_matches('.').parse::<f64>().ok());
                    let same = |value: f64| {
                        value.to_bits() == number.to_bits() || value.is_nan() && number.is_nan()
                    };
                    let found = read.filter(|value| same(*value)).count();
                    // Some messages say in words that a number is 0, or that there is none.
                    let said = number == 0.0 || number.is_nan();
                    let least = if said { 1 } else { fields };
                    assert!(found >= least, "{number:e}: {message} of {debugged}");
                }
            }
        }
    }
}

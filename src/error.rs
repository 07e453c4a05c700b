//! The errors of this crate, each with the values that caused it.

use std::fmt;

/// The errors of this crate. Each variant names the violated condition and carries the values that
/// violated it.
///
/// ```
/// use diffusion_sampler::{Error, NoiseLevel};
///
/// let refused = NoiseLevel::new(0.5, -1.0, 0.2).unwrap_err();
/// assert!(matches!(refused, Error::InvalidLevel { alpha, .. } if alpha == -1.0));
/// assert!(refused.to_string().contains("-1"));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// A level needs a finite time, finite α ≥ 0 and σ ≥ 0, not both 0.
    InvalidLevel {
        /// The time requested.
        time: f64,
        /// The amplitude.
        alpha: f64,
        /// The noise.
        sigma: f64,
    },
    /// A named parameter lies outside its range.
    InvalidParameter {
        /// Which parameter.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What it must be.
        requirement: &'static str,
    },
    /// An entry of a list of numbers lies outside its range.
    InvalidEntry {
        /// Which list.
        name: &'static str,
        /// The entry's position.
        index: usize,
        /// Its value.
        value: f64,
        /// What it must be.
        requirement: &'static str,
    },
    /// A list has the wrong length.
    WrongLength {
        /// Which list.
        name: &'static str,
        /// The length that was needed.
        expected: usize,
        /// The length that was given.
        found: usize,
    },
    /// A time outside the schedule.
    TimeOutOfRange {
        /// The time requested.
        time: f64,
        /// The schedule's last time; the first is 0.
        last: f64,
    },
    /// A λ = ln(α/σ) that the schedule does not reach.
    LambdaOutOfRange {
        /// The λ requested.
        lambda: f64,
        /// λ at the noisy end.
        noisy: f64,
        /// λ at the clean end.
        clean: f64,
    },
    /// λ is infinite at an end of the schedule, so that a grid in λ or ρ needs an explicit cut.
    UnboundedLambda {
        /// λ at the noisy end.
        noisy: f64,
        /// λ at the clean end.
        clean: f64,
    },
    /// The number of steps is 0, or more than the schedule's table has.
    StepCount {
        /// The number requested.
        steps: usize,
        /// The least that is possible.
        min: usize,
        /// The most that is possible; `usize::MAX` where there is no such limit.
        max: usize,
    },
    /// This spacing cannot give this number of steps on this table.
    SpacingImpossible {
        /// The spacing.
        spacing: &'static str,
        /// The number of steps requested.
        steps: usize,
        /// The table's length T.
        table: usize,
        /// The knot that would be needed.
        knot: f64,
    },
    /// This spacing is defined on a table of T knots only, and the schedule is continuous.
    SpacingNeedsTable {
        /// The spacing.
        spacing: &'static str,
    },
    /// Noise must decrease strictly from each knot to the next.
    NoiseNotDecreasing {
        /// The position of the first knot that does not have less noise than the one before it.
        knot: usize,
        /// λ of the knot before it.
        lambda_before: f64,
        /// λ of the knot.
        lambda: f64,
    },
    /// The posterior's standard deviation γ must lie in [0, σ_s] of the edge's target.
    GammaOutOfRange {
        /// γ, as given or as the policy computed it.
        gamma: f64,
        /// σ_s.
        sigma_to: f64,
        /// The time of the edge's start.
        from: f64,
        /// The time of the edge's target.
        to: f64,
    },
    /// η needs a γ beyond σ_s on this edge.
    EtaOutOfRange {
        /// η, as given.
        eta: f64,
        /// The largest η of the edge, 1/√(1 − r²).
        max: f64,
        /// The time of the edge's start.
        from: f64,
        /// The time of the edge's target.
        to: f64,
    },
    /// A coefficient of the edge overflows: α or σ of its two levels differ by too many orders of
    /// magnitude.
    EdgeOverflow {
        /// Which coefficient: that on the state, on the data or on the noise.
        coefficient: &'static str,
        /// Its value.
        value: f64,
        /// The time of the edge's start.
        from: f64,
        /// The time of the edge's target.
        to: f64,
    },
    /// A coefficient between predictions overflows: α or σ is too small or too large.
    ConversionOverflow {
        /// The prediction.
        prediction: &'static str,
        /// α of the level.
        alpha: f64,
        /// σ of the level.
        sigma: f64,
        /// The time of the level.
        time: f64,
    },
    /// A cost of the likelihood bound overflows.
    CostOverflow {
        /// Which cost.
        name: &'static str,
        /// Its value.
        value: f64,
    },
    /// A list is empty that needs at least one entry.
    EmptyList {
        /// Which list.
        name: &'static str,
    },
    /// A section of a grid that is empty or reaches beyond the grid.
    SectionOutOfRange {
        /// The first step requested.
        start: usize,
        /// The end of the range, exclusive.
        end: usize,
        /// The number of steps of the grid.
        steps: usize,
    },
    /// The replaced end of a grid does not have less noise than the knot before it.
    EndNotBelow {
        /// The time of the knot before it.
        before: f64,
        /// The time of the end that was given.
        end: f64,
    },
    /// An edge between levels for which the formula is not defined: it leaves the clean level,
    /// leads the wrong way, or leads from α = 0 to α = 0; `requirement` says which.
    DegenerateEdge {
        /// The time of the edge's start.
        from: f64,
        /// The time of the edge's target.
        to: f64,
        /// What would have been needed.
        requirement: &'static str,
    },
    /// Two edges that do not share the knot between them.
    EdgesDoNotMeet {
        /// The time at which the first edge ends.
        end: f64,
        /// The time at which the second edge starts.
        start: f64,
    },
    /// A knot of a run that lies outside a [`BrownianPath`](crate::noise::BrownianPath).
    KnotOutsidePath {
        /// λ of the knot.
        lambda: f64,
        /// λ at the path's noisy end.
        noisy: f64,
        /// λ at the path's clean end.
        clean: f64,
    },
    /// Two knots of a run within one cell of a [`BrownianPath`](crate::noise::BrownianPath).
    KnotsTooClose {
        /// λ of the noisier knot.
        from: f64,
        /// λ of the other.
        to: f64,
        /// The length of a cell in λ.
        cell: f64,
    },
    /// A run that draws noise upwards or over the same levels twice, which one path cannot give.
    PathRetraced {
        /// λ that the run had reached.
        from: f64,
        /// λ to which it goes from there, not above.
        to: f64,
    },
    /// The prediction says nothing about x₀ or ε at this level: ε, score and EDM at α = 0, score
    /// and EDM at σ = 0.
    PredictionUndefined {
        /// The prediction.
        prediction: &'static str,
        /// α of the level.
        alpha: f64,
        /// σ of the level.
        sigma: f64,
        /// The time of the level.
        time: f64,
    },
    /// The model declares another prediction than the one the run was started for.
    PredictionMismatch {
        /// What the run was started for.
        expected: &'static str,
        /// What the model declares.
        found: &'static str,
    },
    /// γ = 0 or v_p = 0 has no likelihood bound: the KL of a point mass from a density, or the
    /// reverse, is infinite.
    DeterministicLikelihood {
        /// The time of the edge's start.
        from: f64,
        /// The time of the edge's target.
        to: f64,
    },
    /// The moments of a sampler that clips are not those of a Gaussian: clipping is not linear.
    ClippedMoments,
    /// A plan that leads to more noise starts from data: it has no initial distribution.
    StartsFromData {
        /// The time of the plan's start.
        from: f64,
        /// The time of the plan's end.
        to: f64,
    },
    /// A path without a schedule has no levels between its knots.
    PathWithoutSchedule {
        /// The λ requested.
        lambda: f64,
    },
    /// A knot of the grid is not the schedule's level at its time.
    ScheduleMismatch {
        /// The knot's time.
        time: f64,
        /// λ of the knot.
        grid_lambda: f64,
        /// λ of the schedule at this time; NaN where the schedule has no such time.
        schedule_lambda: f64,
    },
    /// D or E is used in a stage that does not evaluate the model.
    DataWithoutEvaluation {
        /// The step.
        step: usize,
        /// The stage within it.
        stage: usize,
    },
    /// A step without stages, with too many, or without the stage requested.
    StageCount {
        /// The step.
        step: usize,
        /// The number of its stages.
        found: usize,
        /// The most that is possible, or the number needed.
        max: usize,
    },
    /// A history slot that the plan does not have.
    SlotOutOfRange {
        /// The step.
        step: usize,
        /// The stage within it.
        stage: usize,
        /// The slot.
        slot: usize,
        /// The number of slots.
        slots: usize,
    },
    /// A history slot is read before anything was stored in it.
    SlotNotWritten {
        /// The step.
        step: usize,
        /// The stage within it.
        stage: usize,
        /// The slot.
        slot: usize,
    },
    /// A history slot enters one update twice.
    SlotReadTwice {
        /// The step.
        step: usize,
        /// The stage within it.
        stage: usize,
        /// The slot.
        slot: usize,
    },
    /// More history slots than a plan can have.
    TooManySlots {
        /// The number requested.
        found: usize,
        /// The most that is possible.
        max: usize,
    },
    /// A folded coefficient overflows the element type.
    CoefficientOverflow {
        /// The step.
        step: usize,
        /// The coefficient.
        value: f64,
    },
    /// No output, or more than one update can combine.
    OutputCount {
        /// The number of outputs.
        found: usize,
        /// The most that is possible.
        max: usize,
    },
    /// A form of guidance around another with which it has no meaning.
    NestedGuidance {
        /// The form outside.
        outer: &'static str,
        /// The form inside.
        inner: &'static str,
    },
    /// A form of guidance that keeps a memory, or two estimates, was called outside a run.
    StatefulGuidance {
        /// The form.
        guidance: &'static str,
    },
    /// A form of guidance needs inner products that it was not given.
    ProductsMissing {
        /// The form.
        guidance: &'static str,
    },
    /// Arrays whose shapes must agree do not.
    ShapeMismatch {
        /// Which array.
        name: &'static str,
        /// The shape that was needed.
        expected: Vec<usize>,
        /// The shape that was given.
        found: Vec<usize>,
    },
    /// A 0-dimensional array has no sample axis.
    NoSampleAxis,
    /// A run's own array no longer has its shape or standard layout: somebody who was lent it has
    /// changed them.
    LayoutChanged {
        /// Which array.
        name: &'static str,
    },
    /// More elements than an array can hold, or than there is memory for.
    TooLarge {
        /// The shape requested.
        shape: Vec<usize>,
    },
    /// More outputs, history slots or guidance terms than one update can combine.
    TooManyTerms {
        /// The number needed.
        found: usize,
        /// The most that is possible.
        max: usize,
    },
    /// An output was given, or a step taken, after the plan's last.
    RunFinished {
        /// The number of steps in the plan.
        steps: usize,
    },
    /// The model's output or the new state is not finite. The state is left as the failed step
    /// wrote it; the step and the model's outputs stay readable.
    NonFinite {
        /// The step, counted from 0 at the noisy end.
        step: usize,
        /// The sample: position on axis 0.
        sample: usize,
        /// The element within the sample, in row-major order.
        element: usize,
        /// Which array holds it.
        array: &'static str,
        /// Its value.
        value: f64,
    },
    /// The model returned without writing all of its output.
    OutputNotWritten {
        /// The step, counted from 0 at the noisy end.
        step: usize,
        /// The output, counted from 0.
        output: usize,
        /// The sample: position on axis 0.
        sample: usize,
        /// The first such element within the sample, in row-major order.
        element: usize,
    },
    /// An array given at the start of a run is not finite.
    NonFiniteStart {
        /// Which array.
        array: &'static str,
        /// The sample: position on axis 0.
        sample: usize,
        /// The element within the sample, in row-major order.
        element: usize,
        /// Its value.
        value: f64,
    },
    /// A snapshot was taken from a run of another plan.
    SnapshotOfAnotherPlan {
        /// The fingerprint of the plan.
        expected: u64,
        /// The fingerprint in the snapshot.
        found: u64,
        /// The time at which the snapshot was taken.
        time: f64,
    },
    /// A snapshot's step, stage and level are no position of its plan.
    SnapshotMisplaced {
        /// The step.
        step: usize,
        /// The stage within it.
        stage: usize,
        /// The number of steps in the plan.
        steps: usize,
        /// The time of its level.
        time: f64,
    },
    /// A label that no component or data point carries.
    UnknownLabel {
        /// The label requested.
        label: usize,
        /// The number of labels; they are 0..count.
        count: usize,
    },
    /// A matrix that must be symmetric and positive semi-definite is not.
    NotACovariance {
        /// The row of the offending entry or the index of the eigenvalue.
        index: usize,
        /// The asymmetry or the negative eigenvalue.
        value: f64,
    },
    /// Two Gaussians must share their axes, or one of them must be isotropic.
    AxesDiffer {
        /// The first axis in which they differ.
        axis: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidLevel { time, alpha, sigma } => write!(
                f,
                "a noise level needs a finite time, finite alpha >= 0 and sigma >= 0, not both 0: got time {time}, alpha {alpha}, sigma {sigma}"
            ),
            Self::AxesDiffer { axis } => write!(
                f,
                "the Gaussians differ in axis {axis}: they must share their axes, or one must be isotropic"
            ),
            Self::InvalidParameter {
                name,
                value,
                requirement,
            } => write!(f, "{name} must be {requirement}, got {value}"),
            Self::InvalidEntry {
                name,
                index,
                value,
                requirement,
            } => write!(f, "{name}[{index}] must be {requirement}, got {value}"),
            Self::WrongLength {
                name,
                expected,
                found,
            } => write!(f, "{name} must have length {expected}, got {found}"),
            Self::TimeOutOfRange { time, last } => {
                write!(f, "time {time} lies outside the schedule's [0, {last}]")
            }
            Self::LambdaOutOfRange {
                lambda,
                noisy,
                clean,
            } => write!(
                f,
                "lambda {lambda} lies outside the schedule's [{noisy}, {clean}]"
            ),
            Self::KnotOutsidePath {
                lambda,
                noisy,
                clean,
            } => write!(
                f,
                "lambda {lambda} lies outside the noise path's [{noisy}, {clean}]"
            ),
            Self::KnotsTooClose { from, to, cell } => write!(
                f,
                "the knots at lambda {from} and {to} lie in one cell of the noise path, of length {cell}"
            ),
            Self::PathRetraced { from, to } => write!(
                f,
                "noise from lambda {from} to {to}: a noise path is followed once, towards less noise"
            ),
            Self::UnboundedLambda { noisy, clean } => write!(
                f,
                "lambda runs from {noisy} to {clean}: a grid in lambda or rho needs finite ends, give an explicit LambdaRange"
            ),
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
            } => write!(
                f,
                "{spacing} spacing cannot give {steps} steps on a table of {table}: it would need knot {knot}"
            ),
            Self::SpacingNeedsTable { spacing } => write!(
                f,
                "{spacing} spacing is defined on a table of knots, and this schedule is continuous"
            ),
            Self::NoiseNotDecreasing {
                knot,
                lambda_before,
                lambda,
            } => write!(
                f,
                "noise must decrease strictly: knot {knot} has lambda {lambda} after {lambda_before}"
            ),
            Self::GammaOutOfRange {
                gamma,
                sigma_to,
                from,
                to,
            } => write!(
                f,
                "gamma must lie in [0, {sigma_to}] on the edge from time {from} to {to}, got {gamma}"
            ),
            Self::EtaOutOfRange { eta, max, from, to } => write!(
                f,
                "eta must be at most {max} on the edge from time {from} to {to}, got {eta}: a larger eta adds more noise than the level {to} has"
            ),
            Self::EdgeOverflow {
                coefficient,
                value,
                from,
                to,
            } => write!(
                f,
                "the coefficient on the {coefficient} of the edge from time {from} to {to} is {value}: alpha or sigma of the two levels differ by more than f64 can hold, rescale the levels"
            ),
            Self::ConversionOverflow {
                prediction,
                alpha,
                sigma,
                time,
            } => write!(
                f,
                "{prediction} prediction overflows f64 at time {time}, where alpha is {alpha} and sigma is {sigma}: rescale the level"
            ),
            Self::CostOverflow { name, value } => write!(
                f,
                "the {name} is {value}, more than f64 can hold: take a larger variance or a smaller data error"
            ),
            Self::EmptyList { name } => write!(f, "{name} must have at least one entry, got none"),
            Self::SectionOutOfRange { start, end, steps } => write!(
                f,
                "the section {start}..{end} must not be empty and must lie within the grid's {steps} steps"
            ),
            Self::EndNotBelow { before, end } => write!(
                f,
                "the end at time {end} must have less noise than the knot before it, at time {before}: leave that knot out, or shift the grid up (offset 1 for leading spacing that ends at knot 1)"
            ),
            Self::DegenerateEdge {
                from,
                to,
                requirement,
            } => {
                write!(f, "the edge from time {from} to {to} must {requirement}")
            }
            Self::EdgesDoNotMeet { end, start } => write!(
                f,
                "the first edge ends at time {end}, the second starts at {start}"
            ),
            Self::PredictionUndefined {
                prediction,
                alpha,
                sigma,
                time,
            } if *alpha == 0.0 => write!(
                f,
                "{prediction} prediction is undefined at time {time}, where alpha is 0 (sigma is {sigma}): checkpoints of rectified flow or zero terminal SNR predict flow or velocity, check the prediction, or start at a level with alpha > 0"
            ),
            Self::PredictionUndefined {
                prediction,
                alpha,
                sigma,
                time,
            } => write!(
                f,
                "{prediction} prediction is undefined at time {time}, where alpha is {alpha} and sigma is {sigma}"
            ),
            Self::PredictionMismatch { expected, found } => write!(
                f,
                "the run was started for {expected} prediction, the model declares {found}"
            ),
            Self::DeterministicLikelihood { from, to } => write!(
                f,
                "gamma = 0 on the edge from time {from} to {to}: a deterministic step has no likelihood bound"
            ),
            Self::ClippedMoments => write!(
                f,
                "a sampler that clips is not linear, so its moments are not those of a Gaussian: \
                 ask the sampler without the clip"
            ),
            Self::StartsFromData { from, to } => write!(
                f,
                "the plan leads from time {from} to more noise at {to}: it starts from data, give \
                 them to start_from"
            ),
            Self::PathWithoutSchedule { lambda } => write!(
                f,
                "lambda {lambda} is requested of a path without a schedule: make it by Path::new"
            ),
            Self::ScheduleMismatch {
                time,
                grid_lambda,
                schedule_lambda,
            } => write!(
                f,
                "the grid's lambda at time {time} is {grid_lambda}, the schedule's is \
                 {schedule_lambda}: the grid was made from another schedule"
            ),
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
            Self::CoefficientOverflow { step, value } => write!(
                f,
                "a coefficient of step {step} is {value}, which overflows the element type"
            ),
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
            Self::ProductsMissing { guidance } => {
                write!(f, "{guidance} needs the inner products of the outputs")
            }
            Self::ShapeMismatch {
                name,
                expected,
                found,
            } => {
                write!(f, "{name} must have shape {expected:?}, got {found:?}")
            }
            Self::NoSampleAxis => write!(
                f,
                "a 0-dimensional array has no sample axis; axis 0 is the sample"
            ),
            Self::LayoutChanged { name } => write!(
                f,
                "the run's {name} no longer has its shape or standard layout"
            ),
            Self::TooLarge { shape } => {
                write!(
                    f,
                    "shape {shape:?} has more elements than an array or the memory can hold"
                )
            }
            Self::TooManyTerms { found, max } => {
                write!(f, "{found} terms in one update, at most {max} are possible")
            }
            Self::RunFinished { steps } => {
                write!(f, "the run has already taken all of its {steps} steps")
            }
            Self::NonFinite {
                step,
                sample,
                element,
                array,
                value,
            } => write!(
                f,
                "{array} is {value} at step {step}, sample {sample}, element {element}"
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
            } => write!(
                f,
                "the {array} given is {value} at sample {sample}, element {element}"
            ),
            Self::SnapshotOfAnotherPlan {
                expected,
                found,
                time,
            } => write!(
                f,
                "the snapshot, taken at time {time}, is of plan {found:016x}, not of plan \
                 {expected:016x}"
            ),
            Self::SnapshotMisplaced {
                step,
                stage,
                steps,
                time,
            } => write!(
                f,
                "stage {stage} of step {step} at time {time} is no position of the snapshot's plan \
                 of {steps} steps"
            ),
            Self::UnknownLabel { label, count } => {
                write!(f, "label {label} does not exist, labels are 0..{count}")
            }
            Self::NotACovariance { index, value } => write!(
                f,
                "a covariance must be symmetric and positive semi-definite: off by {value} at index {index}"
            ),
        }
    }
}

impl std::error::Error for Error {}

/// Why a run stopped: what the crate refuses, or the denoiser's own error.
///
/// It is a `std::error::Error` whatever the denoiser's error is, so that `?` propagates it.
#[derive(Clone, Debug, PartialEq)]
pub enum RunError<E> {
    /// The crate refused.
    Sampler(Error),
    /// The denoiser failed, with its own error.
    Denoiser(E),
}

impl<E> From<Error> for RunError<E> {
    fn from(error: Error) -> Self {
        Self::Sampler(error)
    }
}

impl<E: fmt::Display> fmt::Display for RunError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sampler(error) => error.fmt(f),
            // The alternate form shows what lies behind the errors that have one.
            Self::Denoiser(error) if f.alternate() => write!(f, "the denoiser failed: {error:#}"),
            Self::Denoiser(error) => write!(f, "the denoiser failed: {error}"),
        }
    }
}

/// For every error that can be shown, boxed and `anyhow` ones too, which are no `Error`s
/// themselves: `?` propagates them all. The model's error is part of the text;
/// [`RunError::Denoiser`] holds it.
impl<E: fmt::Debug + fmt::Display> std::error::Error for RunError<E> {}

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

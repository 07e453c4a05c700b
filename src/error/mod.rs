//! The errors of this crate, each with the values that caused it.

mod check;
mod display;
mod run;
mod text;

pub use run::RunError;

pub(crate) use check::*;
#[cfg(any(feature = "diffusers", feature = "proptest"))]
pub(crate) use text::Number;
#[cfg(feature = "diffusers")]
pub(crate) use text::Shortened;

/// The enum: its variants as they are written in Rust, but with what a value is behind the value.
macro_rules! errors {
    (
        $(#[$attribute:meta])*
        pub enum $name:ident {
            $(
                $(#[$condition:meta])*
                $variant:ident $({ $($value:ident: $type:ty => $what:literal),+ $(,)? })?
            ),+ $(,)?
        }
    ) => {
        $(#[$attribute])*
        pub enum $name {
            $(
                $(#[$condition])*
                $variant $({ $(#[doc = $what] $value: $type),+ })?
            ),+
        }

        #[cfg(test)]
        impl $name {
            /// One error of each variant, all of its numbers and texts these.
            fn with(number: f64, text: &str) -> Vec<Self> {
                vec![$($name::$variant $({
                    $($value: <$type as text::Extreme>::extreme(number, text)),+
                })?),+]
            }
        }
    };
}

errors! {
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
        time: f64 => "The time requested.",
        alpha: f64 => "The amplitude.",
        sigma: f64 => "The noise.",
    },
    /// A named parameter lies outside its range.
    InvalidParameter {
        name: &'static str => "Which parameter.",
        value: f64 => "Its value.",
        requirement: &'static str => "What it must be.",
    },
    /// An entry of a list of numbers lies outside its range.
    InvalidEntry {
        name: &'static str => "Which list.",
        index: usize => "The entry's position.",
        value: f64 => "Its value.",
        requirement: &'static str => "What it must be.",
    },
    /// A list has the wrong length.
    WrongLength {
        name: &'static str => "Which list.",
        expected: usize => "The length that was needed.",
        found: usize => "The length that was given.",
    },
    /// A time outside the schedule.
    TimeOutOfRange {
        time: f64 => "The time requested.",
        last: f64 => "The schedule's last time; the first is 0.",
    },
    /// A λ = ln(α/σ) that the schedule, or a list of levels, does not reach.
    LambdaOutOfRange {
        lambda: f64 => "The λ requested.",
        noisy: f64 => "λ at the noisy end.",
        clean: f64 => "λ at the clean end.",
    },
    /// λ is infinite at an end of the schedule, so that a grid in λ or ρ needs an explicit cut.
    UnboundedLambda {
        noisy: f64 => "λ at the noisy end.",
        clean: f64 => "λ at the clean end.",
    },
    /// The number of steps is 0, or more than the schedule's table has.
    StepCount {
        steps: usize => "The number requested.",
        min: usize => "The least that is possible.",
        max: usize => "The most that is possible; `usize::MAX` where there is no such limit.",
    },
    /// This spacing cannot give this number of steps on this table.
    SpacingImpossible {
        spacing: &'static str => "The spacing.",
        steps: usize => "The number of steps requested.",
        table: usize => "The table's length T.",
        knot: f64 => "The knot that would be needed.",
    },
    /// This spacing is defined on a table of T knots only, and the schedule is continuous.
    SpacingNeedsTable {
        spacing: &'static str => "The spacing.",
    },
    /// Noise must decrease strictly from each knot to the next.
    NoiseNotDecreasing {
        knot: usize => "The first knot that does not have less noise than the one before it.",
        lambda_before: f64 => "λ of the knot before it.",
        lambda: f64 => "λ of the knot.",
    },
    /// The posterior's standard deviation γ must lie in [0, σ_s] of the edge's target.
    GammaOutOfRange {
        gamma: f64 => "γ, as given or as the policy computed it.",
        sigma_to: f64 => "σ_s.",
        from: f64 => "The time of the edge's start.",
        to: f64 => "The time of the edge's target.",
    },
    /// η needs a γ beyond σ_s on this edge.
    EtaOutOfRange {
        eta: f64 => "η, as given.",
        max: f64 => "The largest η of the edge, 1/√(1 − r²).",
        from: f64 => "The time of the edge's start.",
        to: f64 => "The time of the edge's target.",
    },
    /// A coefficient of the edge overflows: α or σ of its two levels differ by too many orders of
    /// magnitude.
    EdgeOverflow {
        coefficient: &'static str => "Which one: that on the state, on the data or on the noise.",
        value: f64 => "Its value.",
        from: f64 => "The time of the edge's start.",
        to: f64 => "The time of the edge's target.",
    },
    /// A coefficient between predictions overflows: α or σ is too small or too large.
    ConversionOverflow {
        prediction: &'static str => "The prediction.",
        alpha: f64 => "α of the level.",
        sigma: f64 => "σ of the level.",
        time: f64 => "The time of the level.",
    },
    /// A cost of the likelihood bound overflows.
    CostOverflow {
        name: &'static str => "Which cost.",
        value: f64 => "Its value.",
    },
    /// A list is empty that needs at least one entry.
    EmptyList {
        name: &'static str => "Which list.",
    },
    /// A section of a grid that is empty or reaches beyond the grid.
    SectionOutOfRange {
        start: usize => "The first step requested.",
        end: usize => "The end of the range, exclusive.",
        steps: usize => "The number of steps of the grid.",
    },
    /// The replaced end of a grid does not have less noise than the knot before it.
    EndNotBelow {
        before: f64 => "The time of the knot before it.",
        end: f64 => "The time of the end that was given.",
    },
    /// An edge between levels for which the formula is not defined: it leaves the clean level,
    /// leads the wrong way, or leads from α = 0 to α = 0; `requirement` says which.
    DegenerateEdge {
        from: f64 => "The time of the edge's start.",
        to: f64 => "The time of the edge's target.",
        requirement: &'static str => "What would have been needed.",
    },
    /// Two edges that do not share the knot between them.
    EdgesDoNotMeet {
        end: f64 => "The time at which the first edge ends.",
        start: f64 => "The time at which the second edge starts.",
    },
    /// A knot of a run that lies outside a [`BrownianPath`](crate::noise::BrownianPath).
    KnotOutsidePath {
        lambda: f64 => "λ of the knot.",
        noisy: f64 => "λ at the path's noisy end.",
        clean: f64 => "λ at the path's clean end.",
    },
    /// Two knots of a run within one cell of a [`BrownianPath`](crate::noise::BrownianPath), or as
    /// close across a border.
    KnotsTooClose {
        from: f64 => "λ of the noisier knot.",
        to: f64 => "λ of the other.",
        cell: f64 => "The length of a cell in λ.",
    },
    /// A run that draws noise upwards or over the same levels twice, which one path cannot give.
    PathRetraced {
        from: f64 => "λ that the run had reached.",
        to: f64 => "λ to which it goes from there, not above.",
    },
    /// A step of a batch before one of its samples has joined it
    /// ([`SampleNoise::joining_at`](crate::noise::SampleNoise::joining_at)).
    StepBeforeJoining {
        sample: usize => "The sample: position on axis 0.",
        joined: u32 => "The batch's step at which it joins.",
        step: u64 => "The step.",
    },
    /// The prediction says nothing about x₀ or ε at this level: ε, score and EDM at α = 0, score
    /// and EDM at σ = 0.
    PredictionUndefined {
        prediction: &'static str => "The prediction.",
        alpha: f64 => "α of the level.",
        sigma: f64 => "σ of the level.",
        time: f64 => "The time of the level.",
    },
    /// The model declares another prediction than the one the run was started for.
    PredictionMismatch {
        expected: &'static str => "What the run was started for.",
        found: &'static str => "What the model declares.",
    },
    /// γ = 0 or v_p = 0 has no likelihood bound: the KL of a point mass from a density, or the
    /// reverse, is infinite.
    DeterministicLikelihood {
        from: f64 => "The time of the edge's start.",
        to: f64 => "The time of the edge's target.",
    },
    /// A step of a plan that is no posterior with noise, so that the plan has no likelihood bound.
    StepNotPosterior {
        step: usize => "The step.",
        from: f64 => "The time of its start.",
        to: f64 => "The time that it reaches.",
        requirement: &'static str => "What it would have to do.",
    },
    /// The moments of a sampler that clips are not those of a Gaussian: clipping is not linear.
    ClippedMoments,
    /// The moments of guidance that is not linear at a step: its weights depend on the state.
    NonLinearGuidance {
        guidance: &'static str => "The form.",
        step: usize => "The step, counted from 0.",
    },
    /// The distribution of a result by quadrature has its limits.
    ModesUnsupported {
        what: &'static str => "What is too many.",
        found: usize => "How many there are.",
        supported: &'static str => "How many there may be.",
    },
    /// A product of powers of Gaussian densities that has no integral: guidance that is too strong in
    /// a direction in which what it guides away from is narrower.
    NoTiltedDensity {
        axis: usize => "The axis.",
        precision: f64 => "Its precision, which must be positive.",
    },
    /// The moments of a plan with given history slots: their distribution is not known.
    GivenHistory {
        given: usize => "The number of given slots.",
    },
    /// A plan that does not lead to less noise starts from data: it has no initial distribution.
    StartsFromData {
        from: f64 => "The time of the plan's start.",
        to: f64 => "The time of the plan's end.",
    },
    /// A path without a schedule has no levels between its knots.
    PathWithoutSchedule {
        lambda: f64 => "The λ requested.",
    },
    /// A level was requested by its time of a path that has no schedule.
    TimeWithoutSchedule {
        time: f64 => "The time requested.",
    },
    /// A knot of the grid is not the schedule's level at its time.
    ScheduleMismatch {
        time: f64 => "The knot's time.",
        grid_lambda: f64 => "λ of the knot.",
        schedule_lambda: f64 => "λ of the schedule at this time; NaN where it has no such time.",
    },
    /// D or E is used in a stage that does not evaluate the model.
    DataWithoutEvaluation {
        step: usize => "The step.",
        stage: usize => "The stage within it.",
    },
    /// A step without stages, with too many, or without the stage requested.
    StageCount {
        step: usize => "The step.",
        found: usize => "The number of its stages.",
        max: usize => "The most that is possible, or the number needed.",
    },
    /// A history slot that the plan does not have.
    SlotOutOfRange {
        step: usize => "The step.",
        stage: usize => "The stage within it.",
        slot: usize => "The slot.",
        slots: usize => "The number of slots.",
    },
    /// A history slot is read before anything was stored in it.
    SlotNotWritten {
        step: usize => "The step.",
        stage: usize => "The stage within it.",
        slot: usize => "The slot.",
    },
    /// A history slot enters one update twice.
    SlotReadTwice {
        step: usize => "The step.",
        stage: usize => "The stage within it.",
        slot: usize => "The slot.",
    },
    /// More history slots than a plan can have.
    TooManySlots {
        found: usize => "The number requested.",
        max: usize => "The most that is possible.",
    },
    /// A folded coefficient overflows the element type.
    CoefficientOverflow {
        step: usize => "The step.",
        value: f64 => "The coefficient.",
    },
    /// No output, or more than one update can combine.
    OutputCount {
        found: usize => "The number of outputs.",
        max: usize => "The most that is possible.",
    },
    /// A form of guidance wants more outputs than the model has.
    TooFewOutputs {
        guidance: &'static str => "The form.",
        wanted: usize => "The outputs that it wants.",
        found: usize => "The outputs of the model.",
    },
    /// Several models taken as one do not make the same prediction.
    ModelsDisagree {
        model: usize => "The first model that differs from model 0.",
        expected: &'static str => "What model 0 predicts.",
        found: &'static str => "What this one predicts.",
    },
    /// A stage that the step does not have.
    NoSuchStage {
        step: usize => "The step.",
        stage: usize => "The stage requested.",
        stages: usize => "The number of its stages.",
    },
    /// A form of guidance around another with which it has no meaning.
    NestedGuidance {
        outer: &'static str => "The form outside.",
        inner: &'static str => "The form inside.",
    },
    /// A form of guidance that keeps a memory, or two estimates, was called outside a run.
    StatefulGuidance {
        guidance: &'static str => "The form.",
    },
    /// A combination reads the guidance memory of a run that has none: no form of guidance that
    /// keeps one has run.
    MemoryMissing {
        weight: f64 => "The weight of the memory.",
    },
    /// A form of guidance needs inner products that it was not given.
    ProductsMissing {
        guidance: &'static str => "The form.",
    },
    /// Arrays whose shapes must agree do not.
    ShapeMismatch {
        name: &'static str => "Which array.",
        expected: Vec<usize> => "The shape that was needed.",
        found: Vec<usize> => "The shape that was given.",
    },
    /// A 0-dimensional array has no sample axis.
    NoSampleAxis,
    /// Levels of positions along an axis that the arrays do not have, or along that of the samples.
    WrongAxis {
        axis: usize => "The axis requested.",
        axes: usize => "The number of axes.",
    },
    /// A position that would go back to a noisier knot.
    PositionGoesBack {
        position: usize => "The position.",
        step: usize => "The step.",
        from: usize => "The knot that it leaves.",
        to: usize => "The knot that it would reach.",
    },
    /// A position that does not begin with noise alone, in a run that is given no data.
    PositionNeedsData {
        position: usize => "The position.",
        time: f64 => "The time of the level at which it begins.",
    },
    /// What looks at whole samples has no meaning where their positions have different levels.
    NotPerPosition {
        name: &'static str => "What looks at whole samples.",
    },
    /// The model does not say that it reads the level of each position
    /// ([`Denoiser::reads_positions`](crate::Denoiser::reads_positions)).
    PositionsNotRead {
        axis: usize => "The axis along which the levels differ.",
    },
    /// The model does not say that it takes rows at levels of their own
    /// ([`Denoiser::reads_rows`](crate::Denoiser::reads_rows)).
    RowsNotRead,
    /// Noise that a run has to draw more than once, from a source that is no pure function of its key
    /// ([`NoiseSource::as_pure`](crate::noise::NoiseSource::as_pure)).
    NoiseNotRepeatable,
    /// A run's own array no longer has its shape or standard layout: somebody who was lent it has
    /// changed them.
    LayoutChanged {
        name: &'static str => "Which array.",
    },
    /// More elements than an array can hold, or than there is memory for.
    TooLarge {
        shape: Vec<usize> => "The shape requested.",
    },
    /// More outputs, history slots or guidance terms than one update can combine.
    TooManyTerms {
        found: usize => "The number needed.",
        max: usize => "The most that is possible.",
    },
    /// An output was given, or a step taken, after the plan's last.
    RunFinished {
        steps: usize => "The number of steps in the plan.",
    },
    /// An edit that belongs between two steps, of a run that stands within one.
    WithinStep {
        step: usize => "The step.",
        stage: usize => "The stage that comes next in it.",
    },
    /// The solution of an implicit step was not found to the tolerance.
    NotConverged {
        step: usize => "The step of the plan, counted from 0 at its start.",
        sample: usize => "The sample: position on axis 0.",
        residual: f64 => "What is left.",
        tolerance: f64 => "What was asked for.",
    },
    /// An adaptive run needs more evaluations than it may make.
    EvaluationLimit {
        limit: usize => "The limit.",
        time: f64 => "The time of the level that the run had reached.",
        lambda: f64 => "λ of that level.",
    },
    /// An adaptive run asks for a step that is too short for the schedule's levels: the two solvers
    /// differ by more than the tolerances over every step that can be taken.
    StepUnderflow {
        time: f64 => "The time of the level that the run had reached.",
        lambda: f64 => "λ of that level.",
        step: f64 => "The step in λ.",
    },
    /// The model's output or the new state is not finite. The state is left as the failed step
    /// wrote it; the step and the model's outputs stay readable.
    NonFinite {
        step: usize => "The step, counted from 0 at the noisy end.",
        sample: usize => "The sample: position on axis 0.",
        element: usize => "The element within the sample, in row-major order.",
        array: &'static str => "Which array holds it.",
        value: f64 => "Its value.",
    },
    /// A [tensor](crate::tensor) library says that a tensor is not finite, and no element on the host
    /// is.
    NonFiniteTensor {
        step: usize => "The step, counted from 0 at the noisy end.",
        array: &'static str => "Which tensor.",
    },
    /// The model returned without writing all of its output.
    OutputNotWritten {
        step: usize => "The step, counted from 0 at the noisy end.",
        output: usize => "The output, counted from 0.",
        sample: usize => "The sample: position on axis 0.",
        element: usize => "The first such element within the sample, in row-major order.",
    },
    /// An array given at the start of a run is not finite.
    NonFiniteStart {
        array: &'static str => "Which array.",
        sample: usize => "The sample: position on axis 0.",
        element: usize => "The element within the sample, in row-major order.",
        value: f64 => "Its value.",
    },
    /// A snapshot was taken from a run of another plan.
    SnapshotOfAnotherPlan {
        expected: u64 => "The fingerprint of the plan.",
        found: u64 => "The fingerprint in the snapshot.",
        time: f64 => "The time at which the snapshot was taken.",
    },
    /// A snapshot was taken from a run with another prediction, clip or source of noise.
    SnapshotOfAnother {
        what: &'static str => "What differs: \"prediction\", \"clip\" or \"noise\".",
        expected: String => "That of the run to be resumed.",
        found: String => "That of the snapshot.",
        time: f64 => "The time at which the snapshot was taken.",
    },
    /// A snapshot's step, stage and level are no position of its plan.
    SnapshotMisplaced {
        step: usize => "The step.",
        stage: usize => "The stage within it.",
        steps: usize => "The number of steps in the plan.",
        time: f64 => "The time of its level.",
    },
    /// A file that does not begin as a stored one.
    StoredFile {
        expected: u64 => "Its first 8 bytes, as a little-endian word.",
        found: u64 => "The first 8 bytes of the file.",
    },
    /// A stored form of a version that this crate does not know.
    StoredVersion {
        found: u32 => "The version stored.",
        known: u32 => "The version that this crate reads and writes.",
    },
    /// A stored form is not what was written: its checksum is another.
    StoredChecksum {
        name: &'static str => "What was stored.",
        expected: u64 => "The checksum of what was read.",
        found: u64 => "The checksum that was stored with it.",
    },
    /// A stored form without a checksum, in a format in which none may be left out.
    StoredWithoutChecksum {
        name: &'static str => "What was stored.",
        expected: u64 => "The checksum of what was read.",
    },
    /// A stored array has elements of another type.
    StoredElement {
        expected: &'static str => "The type wanted.",
        found: &'static str => "The type stored.",
    },
    /// A stored level whose ln α or ln σ is not the logarithm of its α or σ.
    StoredLogarithm {
        name: &'static str => "Which of the two.",
        log: f64 => "The logarithm, as stored.",
        value: f64 => "α or σ, as stored.",
        time: f64 => "The time of the level.",
    },
    /// A function, which is no data, cannot be stored.
    FunctionNotStored {
        name: &'static str => "What is a function.",
    },
    /// A label that no component or data point carries.
    UnknownLabel {
        label: usize => "The label requested.",
        count: usize => "The number of labels; they are 0..count.",
    },
    /// A name that nothing known has, in any spelling.
    UnknownName {
        kind: &'static str => "What was to be named.",
        name: String => "The name requested.",
        nearest: Vec<&'static str> => "The known names spelled most like it, the nearest first.",
    },
    /// A name that is known from elsewhere, of something that is not a sampler here.
    NotASampler {
        name: String => "The name requested.",
        closest: &'static str => "What comes closest here.",
        reason: &'static str => "Why it is not a sampler.",
    },
    /// The name of a sampler that says nothing of the grid.
    NoSpacing {
        name: &'static str => "The sampler.",
    },
    /// The text of a configuration is not the JSON of an object.
    ConfigurationSyntax {
        line: usize => "The line, from 1.",
        column: usize => "The column, from 1; 0 before the first.",
        problem: String => "What is wrong.",
    },
    /// A field of a configuration has the wrong type or lies out of range.
    InvalidField {
        class: &'static str => "The scheduler's class; empty where it is not known.",
        field: &'static str => "The field.",
        value: String => "Its value, as JSON.",
        requirement: &'static str => "What it must be.",
    },
    /// A field of a configuration asks for what is not here.
    UnsupportedField {
        class: &'static str => "The scheduler's class.",
        field: &'static str => "The field.",
        value: String => "Its value, as JSON.",
        reason: &'static str => "Why it is not here.",
        closest: &'static str => "What comes closest.",
    },
    /// A configuration needs something that only the caller knows, and the request does not say it.
    RequestIncomplete {
        class: &'static str => "The scheduler's class.",
        what: &'static str => "What is missing.",
        reason: &'static str => "What it is needed for.",
    },
    /// A request asks a configuration for what it cannot give.
    RequestRefused {
        class: &'static str => "The scheduler's class.",
        what: &'static str => "What was requested.",
        reason: &'static str => "Why it cannot be had.",
    },
    /// A matrix that must be symmetric and positive semi-definite is not.
    NotACovariance {
        index: usize => "The row of the offending entry or the index of the eigenvalue.",
        value: f64 => "The asymmetry or the negative eigenvalue.",
    },
    /// Two Gaussians must share their axes, or one of them must be isotropic.
    AxesDiffer {
        axis: usize => "The first axis in which they differ.",
    },
}
}

impl std::error::Error for Error {}

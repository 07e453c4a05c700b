//! The errors of this crate, each with the values that caused it.

mod check;
mod display;
mod run;

pub use run::RunError;

pub(crate) use check::*;

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
    /// A step of a batch before one of its samples has joined it
    /// ([`SampleNoise::joining_at`](crate::noise::SampleNoise::joining_at)).
    StepBeforeJoining {
        /// The sample: position on axis 0.
        sample: usize,
        /// The batch's step at which it joins.
        joined: u32,
        /// The step.
        step: u64,
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
    /// The moments of a plan with given history slots: their distribution is not known.
    GivenHistory {
        /// The number of given slots.
        given: usize,
    },
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
    /// A level was requested by its time of a path that has no schedule.
    TimeWithoutSchedule {
        /// The time requested.
        time: f64,
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
    /// A form of guidance wants more outputs than the model has.
    TooFewOutputs {
        /// The form.
        guidance: &'static str,
        /// The outputs that it wants.
        wanted: usize,
        /// The outputs of the model.
        found: usize,
    },
    /// Several models taken as one do not make the same prediction.
    ModelsDisagree {
        /// The first model that differs from model 0.
        model: usize,
        /// What model 0 predicts.
        expected: &'static str,
        /// What this one predicts.
        found: &'static str,
    },
    /// A stage that the step does not have.
    NoSuchStage {
        /// The step.
        step: usize,
        /// The stage requested.
        stage: usize,
        /// The number of its stages.
        stages: usize,
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
    /// A combination reads the guidance memory of a run that has none: no form of guidance that
    /// keeps one has run.
    MemoryMissing {
        /// The weight of the memory.
        weight: f64,
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
    /// An edit that belongs between two steps, of a run that stands within one.
    WithinStep {
        /// The step.
        step: usize,
        /// The stage that comes next in it.
        stage: usize,
    },
    /// The solution of an implicit step was not found to the tolerance.
    NotConverged {
        /// The step of the plan, counted from 0 at its start.
        step: usize,
        /// The sample: position on axis 0.
        sample: usize,
        /// What is left.
        residual: f64,
        /// What was asked for.
        tolerance: f64,
    },
    /// An adaptive run needs more evaluations than it may make.
    EvaluationLimit {
        /// The limit.
        limit: usize,
        /// The time of the level that the run had reached.
        time: f64,
        /// λ of that level.
        lambda: f64,
    },
    /// An adaptive run asks for a step that is too short for the schedule's levels: the two solvers
    /// differ by more than the tolerances over every step that can be taken.
    StepUnderflow {
        /// The time of the level that the run had reached.
        time: f64,
        /// λ of that level.
        lambda: f64,
        /// The step in λ.
        step: f64,
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
    /// A [tensor](crate::tensor) library says that a tensor is not finite, and no element on the host
    /// is.
    NonFiniteTensor {
        /// The step, counted from 0 at the noisy end.
        step: usize,
        /// Which tensor.
        array: &'static str,
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
    /// A stored form of a version that this crate does not know.
    StoredVersion {
        /// The version stored.
        found: u32,
        /// The version that this crate reads and writes.
        known: u32,
    },
    /// A stored form is not what was written: its checksum is another.
    StoredChecksum {
        /// What was stored.
        name: &'static str,
        /// The checksum of what was read.
        expected: u64,
        /// The checksum that was stored with it.
        found: u64,
    },
    /// A stored form without a checksum, in a format in which none may be left out.
    StoredWithoutChecksum {
        /// What was stored.
        name: &'static str,
        /// The checksum of what was read.
        expected: u64,
    },
    /// A stored array has elements of another type.
    StoredElement {
        /// The type wanted.
        expected: &'static str,
        /// The type stored.
        found: &'static str,
    },
    /// A stored level whose ln α or ln σ is not the logarithm of its α or σ.
    StoredLogarithm {
        /// Which of the two.
        name: &'static str,
        /// The logarithm, as stored.
        log: f64,
        /// α or σ, as stored.
        value: f64,
        /// The time of the level.
        time: f64,
    },
    /// A function, which is no data, cannot be stored.
    FunctionNotStored {
        /// What is a function.
        name: &'static str,
    },
    /// A label that no component or data point carries.
    UnknownLabel {
        /// The label requested.
        label: usize,
        /// The number of labels; they are 0..count.
        count: usize,
    },
    /// A name that nothing known has, in any spelling.
    UnknownName {
        /// What was to be named.
        kind: &'static str,
        /// The name requested.
        name: String,
        /// The known names that are spelled most like it, the nearest first.
        nearest: Vec<&'static str>,
    },
    /// A name that is known from elsewhere, of something that is not a sampler here.
    NotASampler {
        /// The name requested.
        name: String,
        /// What comes closest here.
        closest: &'static str,
        /// Why it is not a sampler.
        reason: &'static str,
    },
    /// The name of a sampler that says nothing of the grid.
    NoSpacing {
        /// The sampler.
        name: &'static str,
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

impl std::error::Error for Error {}

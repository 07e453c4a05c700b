//! Models, samplers and comparisons that the tests share.

use std::convert::Infallible;

use diffusion_sampler::{
    Denoiser, Grid, KeyedNoise, NoiseLevel, Prediction, Query, Real, Sampler, Trajectory,
    denoiser::{Guided, Models, WithClassifier},
    guidance::{ClassifierFree, ClassifierGuidance, GuidanceWeight},
    plan::Step,
    schedule::TableSchedule,
    solver::{Solver, catalogue},
};
use ndarray::{Array, ArrayRef, Dimension};

pub(crate) fn schedule() -> TableSchedule {
    TableSchedule::linear(1000, 1e-4, 0.02).unwrap()
}

pub(crate) fn grid(steps: usize) -> Grid {
    Grid::trailing(&schedule(), steps).unwrap()
}

pub(crate) fn sampler(solver: &dyn Solver, steps: usize) -> Sampler {
    Sampler::new(&schedule(), &grid(steps), solver).unwrap()
}

/// Every built-in solver that runs from noise.
pub(crate) fn solvers() -> Vec<(&'static str, Box<dyn Solver>)> {
    catalogue()
        .into_iter()
        .filter(|entry| !entry.inverts)
        .map(|entry| (entry.name, entry.solver))
        .collect()
}

/// Those whose steps all begin with an evaluation where they start: no churn.
pub(crate) fn evaluating_first() -> Vec<(&'static str, Box<dyn Solver>)> {
    let mut solvers = solvers();
    solvers.retain(|(_, solver)| {
        let plan = sampler(solver, 6).plan().clone();
        let first = |step: &Step| step.stages[0].evaluate == Some(step.from);
        plan.steps().iter().all(first)
    });
    assert!(solvers.len() > 8, "{}", solvers.len());
    solvers
}

/// The solver of this name in the catalogue.
pub(crate) fn solver(name: &str) -> Box<dyn Solver> {
    let mut entries = catalogue().into_iter();
    entries.find(|entry| entry.name == name).unwrap().solver
}

/// Two models under classifier-free guidance.
pub(crate) type Pair<C, U> = Guided<Models<(C, U)>, ClassifierFree>;

pub(crate) fn pair<C, U>(conditional: C, unconditional: U, weight: GuidanceWeight) -> Pair<C, U> {
    let models = Models((conditional, unconditional));
    Guided::new(models, ClassifierFree::new(weight))
}

/// A model under classifier guidance.
pub(crate) fn classified<M, C>(
    model: M,
    classifier: C,
    weight: GuidanceWeight,
) -> Guided<WithClassifier<M, C>, ClassifierGuidance> {
    let model = WithClassifier::new(model, classifier);
    Guided::new(model, ClassifierGuidance::new(weight))
}

/// An elementwise model that is not linear, so that no error cancels: what it returns depends on x
/// and the level.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Smooth(pub(crate) Prediction);

impl Smooth {
    pub(crate) fn at<A: Real>(x: A, level: &NoiseLevel) -> A {
        let (alpha, sigma) = (A::cast(level.alpha()), A::cast(level.sigma()));
        sigma * x / (A::one() + alpha * x * x) + alpha * A::cast(0.1)
    }
}

impl<A: Real, D: Dimension> Denoiser<A, D> for Smooth {
    type Error = Infallible;

    fn prediction(&self) -> Prediction {
        self.0
    }

    fn denoise(
        &mut self,
        x: &ArrayRef<A, D>,
        query: &Query<'_>,
        out: &mut ArrayRef<A, D>,
    ) -> Result<(), Infallible> {
        let level = query.level();
        out.zip_mut_with(x, |out, &x| *out = Self::at(x, &level));
        Ok(())
    }
}

/// The bits of all elements in row-major order.
pub(crate) fn bits<A: Real, D: Dimension>(array: &ArrayRef<A, D>) -> Vec<u64> {
    array.iter().map(|value| value.widen().to_bits()).collect()
}

/// The largest absolute difference, in units of the larger of 1 and the second array's largest
/// element.
pub(crate) fn difference<A: Real, B: Real, D: Dimension>(
    a: &ArrayRef<A, D>,
    b: &ArrayRef<B, D>,
) -> f64 {
    assert_eq!(a.shape(), b.shape());
    let scale = b.iter().fold(1.0, |top, v| f64::max(top, v.widen().abs()));
    a.iter()
        .zip(b)
        .map(|(a, b)| (a.widen() - b.widen()).abs() / scale)
        .fold(0.0, |top, d| if d.is_nan() { d } else { f64::max(top, d) })
}

/// Drives a run to its end by ask and tell.
pub(crate) fn drive<A: Real, D: Dimension>(run: &mut Trajectory<A, D, KeyedNoise>) -> Array<A, D> {
    while let Some(question) = run.ask().unwrap() {
        let output = question.x.mapv(|x| Smooth::at(x, &question.level()));
        run.tell(&output).unwrap();
    }
    run.state().to_owned()
}

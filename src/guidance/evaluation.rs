//! Where in a run the model is evaluated.

use crate::level::NoiseLevel;
use crate::prediction::Prediction;

/// One evaluation of the model for one sample: what a guidance may depend on before it sees
/// outputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    level: NoiseLevel,
    target: Option<NoiseLevel>,
    step: Option<usize>,
    prediction: Prediction,
}

impl Evaluation {
    /// An evaluation at `level` of a model that makes `prediction`, outside any run.
    pub fn new(level: NoiseLevel, prediction: Prediction) -> Self {
        Self {
            level,
            target: None,
            step: None,
            prediction,
        }
    }

    /// The same in step `step` of a run, which leads to `target`.
    #[must_use]
    pub fn in_step(self, step: usize, target: NoiseLevel) -> Self {
        Self {
            step: Some(step),
            target: Some(target),
            ..self
        }
    }

    /// The level at which the model is evaluated.
    pub fn level(&self) -> &NoiseLevel {
        &self.level
    }

    /// The level that the step reaches, in a run.
    pub fn target(&self) -> Option<&NoiseLevel> {
        self.target.as_ref()
    }

    /// The step, counted from 0, in a run.
    pub fn step(&self) -> Option<usize> {
        self.step
    }

    /// What the model predicts.
    pub fn prediction(&self) -> Prediction {
        self.prediction
    }
}

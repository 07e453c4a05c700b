//! How the exact estimates of several Gaussians combine, where guidance is linear.

use crate::error::Error;
use crate::guidance::{Combination, Evaluation, Guidance, MAX_OUTPUTS, output_count};
use crate::level::NoiseLevel;
use crate::plan::Plan;
use crate::prediction::Prediction;

/// state·x + Σ weights_i·D_i, with D_i the exact estimate of Gaussian i.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Weights {
    pub(super) state: f64,
    pub(super) of: [f64; MAX_OUTPUTS],
}

/// D, and D' where E = (x − αD')/σ is not D's own.
pub(super) type Rows = (Weights, Option<Weights>);

impl Weights {
    /// D_0 alone.
    pub(super) fn first() -> Self {
        let mut of = [0.0; MAX_OUTPUTS];
        of[0] = 1.0;
        Self { state: 0.0, of }
    }
}

/// The rows of every stage of a plan, `None` for those without the model, for a model that makes
/// `prediction` and has `found` outputs.
pub(super) fn rows_of(
    plan: &Plan,
    guidance: &dyn Guidance,
    prediction: Prediction,
    found: usize,
) -> Result<Vec<Option<Rows>>, Error> {
    let mut rows = Vec::new();
    for (index, step) in plan.steps().iter().enumerate() {
        for stage in &step.stages {
            let row = stage.evaluate.map(|level| {
                let at = Evaluation::new(level, prediction).in_step(index, step.to);
                rows_at(guidance, &at, found)
            });
            crate::memory::push(&mut rows, row.transpose()?)?;
        }
    }
    Ok(rows)
}

/// Which Gaussians have a weight anywhere.
pub(super) fn used(rows: &[Option<Rows>]) -> [bool; MAX_OUTPUTS] {
    let mut used = [false; MAX_OUTPUTS];
    for (data, noise) in rows.iter().flatten() {
        for row in std::iter::once(data).chain(noise) {
            for (used, weight) in used.iter_mut().zip(row.of) {
                *used |= weight != 0.0;
            }
        }
    }
    used
}

/// The rows at one evaluation.
fn rows_at(guidance: &dyn Guidance, at: &Evaluation, found: usize) -> Result<Rows, Error> {
    let enough = |wanted: usize| {
        output_count(wanted)?;
        if wanted <= found {
            return Ok(());
        }
        Err(Error::TooFewOutputs {
            guidance: guidance.name(),
            wanted,
            found,
        })
    };
    enough(guidance.wanted(at)?)?;
    let not_linear = Error::NonLinearGuidance {
        guidance: guidance.name(),
        step: at.step().unwrap_or(0),
    };
    if guidance.needs_products(at) || guidance.memory(at).is_some() {
        return Err(not_linear);
    }
    let combination = guidance.combine(at, None)?;
    enough(combination.outputs())?;
    if combination.memory() != 0.0 {
        return Err(not_linear);
    }
    let (level, prediction) = (at.level(), at.prediction());
    let space = combination.space().unwrap_or(prediction);
    prediction.convert_to(space, level)?;
    let back = space.data(level)?;
    let row = |weights: &[f64]| weighted((back.x, back.output), weights);
    let mut data = row(combination.models());
    add_gradients(&mut data, level, &combination)?;
    Ok((data, combination.noise().map(row)))
}

/// D = p·x + q Σ w_i v_i with v_i = (D_i − p·x)/q: p(1 − Σw)x + Σ w_i D_i.
fn weighted((p, q): (f64, f64), weights: &[f64]) -> Weights {
    let (mut of, mut left, mut size) = ([0.0; MAX_OUTPUTS], 1.0, 1.0);
    if q == 0.0 {
        // The state alone says what x₀ is, as at σ = 0.
        return Weights { state: p, of };
    }
    for (slot, &weight) in of.iter_mut().zip(weights) {
        *slot = weight;
        left -= weight;
        size += weight.abs();
    }
    // Weights that sum to one but for rounding leave the state out.
    let state = if left.abs() <= 1e-14 * size {
        0.0
    } else {
        p * left
    };
    Weights { state, of }
}

/// D ← D + Σ w_k (σ²/α) g_k, where g_k = (α/σ²)(D_k − D_0) is the gradient of the logarithm of the
/// two marginal densities' ratio.
fn add_gradients(
    row: &mut Weights,
    level: &NoiseLevel,
    combination: &Combination,
) -> Result<(), Error> {
    let gradients = combination.gradients();
    if gradients.is_empty() {
        return Ok(());
    }
    if level.alpha() == 0.0 {
        return Err(Error::PredictionUndefined {
            prediction: "classifier-guided",
            alpha: 0.0,
            sigma: level.sigma(),
            time: level.time(),
        });
    }
    let behind = row.of.iter_mut().skip(combination.models().len());
    for (slot, weight) in behind.zip(gradients) {
        *slot += weight;
    }
    row.of[0] -= gradients.iter().sum::<f64>();
    Ok(())
}

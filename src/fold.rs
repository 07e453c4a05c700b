//! From a plan's update to the kernel's scalars: D is folded into the coefficients of x and of the model's outputs.

use crate::clip::{Clip, ClipNoise};
use crate::combination::Combination;
use crate::error::Error;
use crate::kernel::{Clipped, Form, Row};
use crate::level::NoiseLevel;
use crate::plan::Update;
use crate::prediction::Prediction;

/// D = Σ_j w_j D_j + Σ_k w_k (σ²/α) g_k as a kernel row over x and the outputs.
pub(crate) fn data_row(
    prediction: Prediction,
    level: &NoiseLevel,
    combination: &Combination,
) -> Result<Row, Error> {
    let data = prediction.data(level)?;
    let mut row = Row::ZERO;
    row.x = data.x;
    let (models, gradients) = row.inputs.split_at_mut(combination.models().len());
    for (input, weight) in models.iter_mut().zip(combination.models()) {
        *input = data.output * weight;
    }
    if !combination.gradients().is_empty() {
        if level.alpha() == 0.0 {
            return Err(Error::PredictionUndefined {
                prediction: "classifier-guided",
                alpha: 0.0,
                sigma: level.sigma(),
                time: level.time(),
            });
        }
        let scale = level.sigma() * level.sigma() / level.alpha();
        for (input, weight) in gradients.iter_mut().zip(combination.gradients()) {
            *input = scale * weight;
        }
    }
    Ok(row)
}

/// The D of one evaluation, and how it is clipped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Estimate {
    pub(crate) row: Row,
    /// The number of model outputs: history slots are the kernel's inputs behind them.
    pub(crate) outputs: usize,
    pub(crate) alpha: f64,
    pub(crate) clip: Option<Clip>,
}

impl Estimate {
    /// No evaluation: no outputs, and D enters nowhere.
    pub(crate) const NONE: Self = Self {
        row: Row::ZERO,
        outputs: 0,
        alpha: 1.0,
        clip: None,
    };
}

/// a·row.
fn scaled(row: &Row, factor: f64) -> Row {
    Row {
        x: factor * row.x,
        inputs: row.inputs.map(|c| factor * c),
    }
}

/// The kernel's form of an update. History slots enter behind the outputs in their order in the update, except the slot
/// that is also written, which is the kernel's y.
pub(crate) fn form(update: &Update, estimate: &Estimate) -> Form {
    let stored = update.store.map(|store| store.slot);
    let data = &estimate.row;
    let clip = estimate.clip.filter(|_| estimate.outputs > 0);
    // What of D is left unclipped, and what is clipped.
    let (unclipped, clipped) = match clip {
        None => (update.data, 0.0),
        Some(clip) => match clip.noise() {
            ClipNoise::Recompute => (0.0, update.data),
            // x is moved to α·clamp(D) + σE: E stays the model's own.
            ClipNoise::Keep => {
                let moved = update.state * estimate.alpha;
                (-moved, update.data + moved)
            }
        },
    };
    let mut x = scaled(data, unclipped);
    x.x += update.state;
    let mut x_from_y = 0.0;
    let mut position = estimate.outputs;
    for &(slot, weight) in &update.history {
        if Some(slot) == stored {
            x_from_y = weight;
        } else {
            x.inputs[position] = weight;
            position += 1;
        }
    }
    let y = update.store.map(|store| {
        let mut row = scaled(data, if clip.is_some() { 0.0 } else { store.data });
        row.x += store.state;
        row
    });
    let clip = clip.map(|clip| Clipped {
        data: *data,
        low: clip.low(),
        high: clip.high(),
        into_x: clipped,
        into_y: update.store.map_or(0.0, |store| store.data),
    });
    Form {
        x,
        x_from_y,
        noise: update.noise,
        y,
        clip,
    }
}

/// The form that writes the estimate of x₀ itself over a copy of x.
pub(crate) fn data_form(estimate: &Estimate) -> Form {
    let update = Update {
        data: 1.0,
        ..Update::default()
    };
    form(&update, estimate)
}

//! The calls of the network that a plan makes, as a scheduler lists them.

use diffusion_sampler::plan::{Plan, Step};
use diffusion_sampler::{NoiseLevel, Prediction, Sampler};

use super::{Refused, Result};

/// One call of the network.
pub(super) struct Call {
    pub(super) level: NoiseLevel,
    pub(super) timestep: usize,
    /// The step of which it is the first call.
    pub(super) opens: Option<usize>,
    /// Whether the caller may edit the state before it.
    pub(super) editable: bool,
}

/// The calls of a plan, all of which a scheduler can ask for.
pub(super) fn calls(plan: &Plan, prediction: Prediction, rounding: bool) -> Result<Vec<Call>> {
    let mut calls = Vec::new();
    for (step, whole) in plan.steps().iter().enumerate() {
        let mut first = true;
        for (stage, part) in whole.stages.iter().enumerate() {
            let Some(level) = part.evaluate else { continue };
            // A network that says nothing at a level is refused here, and not when a run begins.
            prediction.data(&level)?;
            calls.push(Call {
                level,
                timestep: whole_time(level.model_time(), calls.len(), rounding)?,
                opens: first.then_some(step),
                editable: first && !plan.reads_earlier_state(step, stage),
            });
            first = false;
        }
    }
    Ok(calls)
}

/// The network's time as a scheduler has it.
fn whole_time(time: f64, call: usize, rounding: bool) -> Result<usize> {
    let nearest = time.round_ties_even();
    // 1000σ of a flow is whole but for its last bits.
    let near = (time - nearest).abs() <= 1e-9 * nearest.max(1.0);
    if nearest < 0.0 || !(near || (rounding && nearest.is_finite())) {
        return Err(Refused::TimeNotWhole { call, time });
    }
    Ok(nearest as usize)
}

/// The same sampler from its first call of the network on: a scheduler is given a state only with
/// the network's answer. Noise that is added before that call is part of the initial distribution.
pub(super) fn from_first_call(sampler: &Sampler) -> Result<Sampler> {
    let plan = sampler.plan();
    if plan.given() > 0 {
        return Err(Refused::GivenHistory {
            slots: plan.given(),
        });
    }
    if plan.start().lambda() >= plan.end().lambda() {
        let (from, to) = (plan.start().time(), plan.end().time());
        return Err(diffusion_sampler::Error::StartsFromData { from, to }.into());
    }
    let [first, rest @ ..] = plan.steps() else {
        return Ok(sampler.clone());
    };
    let before = first
        .stages
        .iter()
        .take_while(|stage| stage.evaluate.is_none());
    let updates: Vec<_> = before.map(|stage| &stage.update).collect();
    if updates
        .iter()
        .all(|update| update.state == 1.0 && update.noise == 0.0)
    {
        return Ok(sampler.clone());
    }
    let stages = first.stages.get(updates.len()..).unwrap_or_default();
    let level = stages.first().and_then(|stage| stage.evaluate);
    let (Some(from), true) = (level, updates.iter().all(|update| update.store.is_none())) else {
        return Err(Refused::BeforeFirstCall);
    };
    let variance = updates
        .iter()
        .fold(sampler.start_variance(), |variance, update| {
            update.state * update.state * variance + update.noise * update.noise
        });
    let first = Step {
        from,
        to: first.to,
        stages: stages.to_vec(),
    };
    let steps = std::iter::once(first).chain(rest.iter().cloned()).collect();
    let made = Sampler::from_plan(Plan::new(steps, plan.slots())?, variance)?;
    Ok(match sampler.clip() {
        Some(clip) => made.with_clip(clip),
        None => made,
    })
}

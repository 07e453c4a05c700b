//! DPM-2 in ρ, and its ancestral form.

use std::sync::Arc;

use super::betas::{self, Betas};
use super::classes::Class;
use super::euler::predicted;
use super::fields;
use super::reading::Reading;
use super::recipe::Recipe;
use super::rhos::{self, Rules};
use crate::error::Error;
use crate::plan::Plan;
use crate::posterior::Kappa;
use crate::solver::{Dpm2, Path, Solver};

/// The fields of both.
const FIELDS: &[&[&str]] = &[
    fields::TABLE,
    fields::SPACING,
    fields::RAMPS,
    &["prediction_type"],
];

pub(super) const CLASS: Class = Class {
    names: &["KDPM2DiscreteScheduler"],
    fields: FIELDS,
    read: |reading| read(reading, Dpm2::new()),
};

pub(super) const ANCESTRAL: Class = Class {
    names: &["KDPM2AncestralDiscreteScheduler"],
    fields: FIELDS,
    read: |reading| read(reading, Dpm2::new().with_kappa(Kappa::Ddpm)),
};

const RULES: Rules = Rules {
    ramps: true,
    ends_of_karras: true,
    rounded_karras: true,
    takes_times: false,
};

fn read(reading: &Reading<'_>, solver: Dpm2) -> Result<Recipe, Error> {
    let table = betas::table(reading, Betas::LATENT_LINEAR)?;
    let prediction = predicted(reading, false)?;
    rhos::recipe(reading, table, RULES, prediction, |_| {
        Ok(Arc::new(TimesBetween(solver)))
    })
}

/// The second call of a step is told the schedule's time, also where it is made at a knot, of which
/// the list has another time: the ancestral form's midpoint is the next knot.
#[derive(Clone, Debug)]
struct TimesBetween(Dpm2);

impl Solver for TimesBetween {
    fn plan(&self, path: &Path<'_>) -> Result<Plan, Error> {
        let plan = self.0.plan(path)?;
        let mut steps = plan.steps().to_vec();
        let later = steps
            .iter_mut()
            .flat_map(|step| step.stages.iter_mut().skip(1));
        for level in later.filter_map(|stage| stage.evaluate.as_mut()) {
            let own = path.at_lambda(level.lambda())?;
            *level = level.with_model_time(own.model_time());
        }
        Plan::new(steps, plan.slots())
    }

    fn order(&self) -> usize {
        self.0.order()
    }
}

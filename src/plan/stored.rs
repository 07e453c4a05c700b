//! A plan as it is stored, and its parts.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Kept, Plan, Stage, Step, Store, Update};
use crate::error::Error;
use crate::level::NoiseLevel;
use crate::stored::{Checksum, Finite, Version, finite, present};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form<'a> {
    version: Version,
    slots: usize,
    given: usize,
    #[serde(deserialize_with = "crate::stored::lent")]
    steps: Cow<'a, [Step]>,
    checksum: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Step", deny_unknown_fields)]
struct StepForm {
    from: NoiseLevel,
    to: NoiseLevel,
    stages: Vec<Stage>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Stage", deny_unknown_fields)]
struct StageForm {
    #[serde(deserialize_with = "present")]
    evaluate: Option<NoiseLevel>,
    update: Update,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Update", deny_unknown_fields)]
struct UpdateForm {
    #[serde(with = "finite")]
    state: f64,
    #[serde(with = "finite")]
    data: f64,
    #[serde(with = "history")]
    history: Vec<(usize, f64)>,
    #[serde(with = "finite")]
    noise: f64,
    #[serde(deserialize_with = "present")]
    store: Option<Store>,
}

/// What a history slot adds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Term {
    slot: usize,
    weight: Finite,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Store", deny_unknown_fields)]
struct StoreForm {
    slot: usize,
    kept: Kept,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Kept", rename_all = "snake_case", deny_unknown_fields)]
enum KeptForm {
    Data,
    Noise,
    State,
    Linear {
        #[serde(with = "finite")]
        state: f64,
        #[serde(with = "finite")]
        data: f64,
    },
}

crate::stored::with_checksum!("plan": Plan => Form<'_>);
crate::stored::remote!(
    Step => StepForm,
    Stage => StageForm,
    Update => UpdateForm,
    Store => StoreForm,
    Kept => KeptForm,
);

impl<'a> From<&'a Plan> for Form<'a> {
    fn from(plan: &'a Plan) -> Self {
        Self {
            version: Version,
            slots: plan.slots,
            given: plan.given,
            steps: Cow::Borrowed(&plan.steps),
            checksum: Some(plan.checksum()),
        }
    }
}

impl TryFrom<Form<'_>> for Plan {
    type Error = Error;

    fn try_from(form: Form<'_>) -> Result<Self, Error> {
        Self::with_given(form.steps.into_owned(), form.slots, form.given)
    }
}

impl Plan {
    /// Of the fingerprint, and all levels with their α and σ, which the fingerprint leaves out.
    pub(crate) fn checksum(&self) -> u64 {
        let mut sum = Checksum::new();
        sum.word(self.fingerprint());
        for step in &self.steps {
            let stages = step.stages.iter();
            let evaluated = stages.filter_map(|stage| stage.evaluate.as_ref());
            for level in [&step.from, &step.to].into_iter().chain(evaluated) {
                level.add_to(&mut sum);
            }
        }
        sum.value()
    }
}

mod history {
    use super::*;

    pub(super) fn serialize<S: Serializer>(
        history: &[(usize, f64)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(history.iter().map(|&(slot, weight)| Term {
            slot,
            weight: Finite(weight),
        }))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<(usize, f64)>, D::Error> {
        let terms = Vec::<Term>::deserialize(deserializer)?;
        Ok(terms
            .iter()
            .map(|term| (term.slot, term.weight.0))
            .collect())
    }
}

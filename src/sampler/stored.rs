//! A sampler as it is stored.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::Sampler;
use crate::clip::Clip;
use crate::error::Error;
use crate::plan::Plan;
use crate::stored::{Checksum, Finite, Version, present};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form<'a> {
    version: Version,
    plan: Cow<'a, Plan>,
    start_variance: Finite,
    #[serde(deserialize_with = "present")]
    clip: Option<Clip>,
    checksum: Option<u64>,
}

crate::stored::with_checksum!("sampler": Sampler => Form<'_>);

impl<'a> From<&'a Sampler> for Form<'a> {
    fn from(sampler: &'a Sampler) -> Self {
        Self {
            version: Version,
            plan: Cow::Borrowed(&sampler.plan),
            start_variance: Finite(sampler.start_variance),
            clip: sampler.clip,
            checksum: Some(sampler.checksum()),
        }
    }
}

impl TryFrom<Form<'_>> for Sampler {
    type Error = Error;

    fn try_from(form: Form<'_>) -> Result<Self, Error> {
        let sampler = Self::from_plan(form.plan.into_owned(), form.start_variance.0)?;
        let clip = form.clip;
        Ok(Self { clip, ..sampler })
    }
}

impl Sampler {
    /// Of the plan, the initial variance and the clip.
    fn checksum(&self) -> u64 {
        let mut sum = Checksum::new();
        sum.word(self.plan.fingerprint());
        sum.word(self.plan.checksum());
        sum.number(self.start_variance);
        match self.clip {
            None => sum.word(0),
            Some(clip) => clip.add_to(&mut sum),
        }
        sum.value()
    }
}

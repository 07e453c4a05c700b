//! A snapshot as it is stored.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Snapshot;
use crate::clip::Clip;
use crate::error::{Error, require_shape};
use crate::level::NoiseLevel;
use crate::plan::MAX_SLOTS;
use crate::prediction::Prediction;
use crate::stored::{ArrayForm, Checksum, Element, StoredArray, Version, check, present};

#[derive(Serialize, Deserialize)]
#[serde(
    deny_unknown_fields,
    bound(serialize = "A: Element", deserialize = "A: Element")
)]
struct Form<'a, A: Element> {
    version: Version<2>,
    plan: u64,
    prediction: Prediction,
    #[serde(deserialize_with = "present")]
    clip: Option<Clip>,
    #[serde(deserialize_with = "present")]
    noise: Option<u64>,
    step: usize,
    stage: usize,
    level: NoiseLevel,
    state: ArrayForm<'a, A>,
    history: Vec<ArrayForm<'a, A>>,
    #[serde(deserialize_with = "present")]
    memory: Option<ArrayForm<'a, A>>,
    checksum: Option<u64>,
}

impl<T: StoredArray> Serialize for Snapshot<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut form = Form::of::<T, S::Error>(self)?;
        form.checksum = Some(form.sum());
        form.serialize(serializer)
    }
}

impl<'de, T: StoredArray> Deserialize<'de> for Snapshot<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let required = !deserializer.is_human_readable();
        let form = Form::<T::Element>::deserialize(deserializer)?;
        form.check(required).map_err(D::Error::custom)?;
        form.into_snapshot().map_err(D::Error::custom)
    }
}

impl<'a, A: Element> Form<'a, A> {
    fn of<T, E>(snapshot: &'a Snapshot<T>) -> Result<Self, E>
    where
        T: StoredArray<Element = A>,
        E: serde::ser::Error,
    {
        let history = snapshot.history.iter().map(ArrayForm::of);
        Ok(Self {
            version: Version,
            plan: snapshot.plan,
            prediction: snapshot.prediction,
            clip: snapshot.clip,
            noise: snapshot.noise,
            step: snapshot.step,
            stage: snapshot.stage,
            level: snapshot.level,
            state: ArrayForm::of(&snapshot.state)?,
            history: history.collect::<Result<_, _>>()?,
            memory: snapshot.memory.as_ref().map(ArrayForm::of).transpose()?,
            checksum: None,
        })
    }

    fn into_snapshot<T: StoredArray<Element = A>>(self) -> Result<Snapshot<T>, T::Error> {
        let history = self.history.into_iter().map(ArrayForm::into_array);
        Ok(Snapshot {
            plan: self.plan,
            prediction: self.prediction,
            clip: self.clip,
            noise: self.noise,
            step: self.step,
            stage: self.stage,
            level: self.level,
            state: self.state.into_array()?,
            history: history.collect::<Result<_, _>>()?,
            memory: self.memory.map(ArrayForm::into_array).transpose()?,
        })
    }

    /// What can be said without the plan; [`Sampler::resume`](crate::Sampler::resume) says the
    /// rest.
    fn check(&self, required: bool) -> Result<(), Error> {
        if self.history.len() > MAX_SLOTS {
            return Err(Error::TooManySlots {
                found: self.history.len(),
                max: MAX_SLOTS,
            });
        }
        for (name, array) in self.arrays() {
            array.check()?;
            require_shape(name, self.state.shape(), array.shape())?;
        }
        check("snapshot", self.sum(), self.checksum, required)
    }

    fn arrays(&self) -> impl Iterator<Item = (&'static str, &ArrayForm<'a, A>)> {
        let history = self.history.iter().map(|slot| ("history", slot));
        let memory = self.memory.iter().map(|memory| ("guidance memory", memory));
        std::iter::once(("state", &self.state))
            .chain(history)
            .chain(memory)
    }

    fn sum(&self) -> u64 {
        let mut sum = Checksum::new();
        sum.word(self.plan);
        self.prediction.add_to(&mut sum);
        match self.clip {
            None => sum.word(0),
            Some(clip) => clip.add_to(&mut sum),
        }
        sum.word(u64::from(self.noise.is_some()));
        for word in [self.noise.unwrap_or(0), self.step as u64, self.stage as u64] {
            sum.word(word);
        }
        self.level.add_to(&mut sum);
        sum.word(self.history.len() as u64);
        sum.word(u64::from(self.memory.is_some()));
        for (_, array) in self.arrays() {
            array.add_to(&mut sum);
        }
        sum.value()
    }
}

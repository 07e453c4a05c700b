//! Sources of noise as they are stored, and the keys of rows.
//!
//! A source more is a form with its settings, `From` the source for the form, `TryFrom` the form
//! for the source by way of its constructors, a line in `through!`, and a row in the table of
//! `stored`.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{BrownianPath, Interval, KeyedNoise, NoiseKey, PerSample, SampleNoise, Stream};
use crate::error::{Error, require};
use crate::stored::{Extended, Finite, present};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyedForm {
    seed: u64,
    first_sample: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PathForm {
    normals: KeyedNoise,
    interval: Interval,
    tau_squared: Finite,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IntervalForm {
    from: Extended,
    to: Extended,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Stream", rename_all = "snake_case")]
enum StreamForm {
    Start,
    Step(u8),
    Forward,
    User(u8),
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "NoiseKey", deny_unknown_fields)]
struct KeyForm {
    row: u64,
    step: u32,
    stream: Stream,
    #[serde(deserialize_with = "present")]
    interval: Option<Interval>,
    path: u8,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SampleForm<S> {
    source: S,
    sample: u64,
    joined: u32,
    taken: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(
    remote = "PerSample",
    deny_unknown_fields,
    bound(serialize = "S: Serialize", deserialize = "S: Deserialize<'de>")
)]
struct PerSampleForm<S> {
    #[serde(deserialize_with = "crate::stored::listed")]
    samples: Vec<SampleNoise<S>>,
}

crate::stored::through!(
    KeyedNoise => KeyedForm,
    BrownianPath => PathForm,
    Interval => IntervalForm,
);
crate::stored::remote!(Stream => StreamForm, NoiseKey => KeyForm);

impl From<&KeyedNoise> for KeyedForm {
    fn from(noise: &KeyedNoise) -> Self {
        Self {
            seed: noise.seed,
            first_sample: noise.first_sample,
        }
    }
}

impl TryFrom<KeyedForm> for KeyedNoise {
    type Error = Error;

    fn try_from(form: KeyedForm) -> Result<Self, Error> {
        Self::new(form.seed).with_first_sample(form.first_sample)
    }
}

impl From<&BrownianPath> for PathForm {
    fn from(path: &BrownianPath) -> Self {
        Self {
            normals: path.normals,
            interval: path.interval,
            tau_squared: Finite(path.rate),
        }
    }
}

impl TryFrom<PathForm> for BrownianPath {
    type Error = Error;

    fn try_from(form: PathForm) -> Result<Self, Error> {
        // The range of τ: τ itself does not come back from its square to the bit.
        let (low, high) = (1e-6 * 1e-6, 100.0 * 100.0);
        let Finite(rate) = form.tau_squared;
        let valid = (low..=high).contains(&rate);
        require(valid, "tau squared", rate, "from 1e-12 to 1e4")?;
        let path = Self::new(0).with_interval(form.interval)?;
        let normals = form.normals;
        Ok(Self {
            normals,
            rate,
            ..path
        })
    }
}

impl From<&Interval> for IntervalForm {
    fn from(interval: &Interval) -> Self {
        Self {
            from: Extended(interval.from()),
            to: Extended(interval.to()),
        }
    }
}

impl From<IntervalForm> for Interval {
    fn from(form: IntervalForm) -> Self {
        Self::new(form.from.0, form.to.0)
    }
}

impl<S: Serialize> Serialize for SampleNoise<S> {
    fn serialize<T: Serializer>(&self, serializer: T) -> Result<T::Ok, T::Error> {
        let form = SampleForm {
            source: &self.source,
            sample: self.sample,
            joined: self.joined,
            taken: self.taken,
        };
        form.serialize(serializer)
    }
}

impl<'de, S: Deserialize<'de>> Deserialize<'de> for SampleNoise<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = SampleForm::deserialize(deserializer)?;
        let noise = Self::new(form.source).with_sample(form.sample);
        let noise = noise.map_err(D::Error::custom)?;
        Ok(noise.joining_at(form.joined).having_taken(form.taken))
    }
}

impl<S: Serialize> Serialize for PerSample<S> {
    fn serialize<T: Serializer>(&self, serializer: T) -> Result<T::Ok, T::Error> {
        PerSampleForm::serialize(self, serializer)
    }
}

impl<'de, S: Deserialize<'de>> Deserialize<'de> for PerSample<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        PerSampleForm::deserialize(deserializer)
    }
}

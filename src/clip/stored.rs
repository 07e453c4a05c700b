//! A clip as it is stored.

use serde::{Deserialize, Serialize};

use super::{Clip, ClipNoise, Range};
use crate::error::Error;
use crate::stored::{Checksum, Finite};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    range: RangeForm,
    noise: ClipNoise,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum RangeForm {
    Static { low: Finite, high: Finite },
    Dynamic { ratio: Finite, max: Finite },
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "ClipNoise", rename_all = "snake_case")]
enum NoiseForm {
    Recompute,
    Keep,
}

crate::stored::through!(Clip => Form);
crate::stored::remote!(ClipNoise => NoiseForm);

impl From<&Clip> for Form {
    fn from(clip: &Clip) -> Self {
        let range = match clip.range {
            Range::Static { low, high } => RangeForm::Static {
                low: Finite(low),
                high: Finite(high),
            },
            Range::Dynamic { ratio, max } => RangeForm::Dynamic {
                ratio: Finite(ratio),
                max: Finite(max),
            },
        };
        let noise = clip.noise;
        Self { range, noise }
    }
}

impl TryFrom<Form> for Clip {
    type Error = Error;

    fn try_from(form: Form) -> Result<Self, Error> {
        let clip = match form.range {
            RangeForm::Static { low, high } => Self::new(low.0, high.0),
            RangeForm::Dynamic { ratio, max } => Self::dynamic(ratio.0, max.0),
        }?;
        let noise = form.noise;
        Ok(Self { noise, ..clip })
    }
}

impl Clip {
    /// The kind of range from 1, its numbers, whether the noise is kept.
    pub(crate) fn add_to(&self, sum: &mut Checksum) {
        let (kind, numbers) = match self.range {
            Range::Static { low, high } => (1, [low, high]),
            Range::Dynamic { ratio, max } => (2, [ratio, max]),
        };
        sum.word(kind);
        for number in numbers {
            sum.number(number);
        }
        sum.word(u64::from(self.noise == ClipNoise::Keep));
    }
}

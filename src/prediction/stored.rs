//! A prediction as it is stored.

use serde::{Deserialize, Serialize};

use super::Prediction;
use crate::stored::{Checksum, finite};

#[derive(Serialize, Deserialize)]
#[serde(remote = "Prediction", rename_all = "snake_case", deny_unknown_fields)]
enum Form {
    Noise,
    Data,
    Velocity,
    Score,
    Flow,
    Edm {
        #[serde(with = "finite")]
        data_std: f64,
    },
    EdmVelocity {
        #[serde(with = "finite")]
        data_std: f64,
    },
    Linear {
        #[serde(with = "finite")]
        data: f64,
        #[serde(with = "finite")]
        noise: f64,
    },
}

crate::stored::remote!(Prediction => Form);

impl Prediction {
    /// The kind from 1, in the order of the form's, and its two numbers, 0 where it has none.
    pub(crate) fn add_to(&self, sum: &mut Checksum) {
        let (kind, numbers) = match *self {
            Self::Noise => (1, [0.0; 2]),
            Self::Data => (2, [0.0; 2]),
            Self::Velocity => (3, [0.0; 2]),
            Self::Score => (4, [0.0; 2]),
            Self::Flow => (5, [0.0; 2]),
            Self::Edm { data_std } => (6, [data_std, 0.0]),
            Self::EdmVelocity { data_std } => (7, [data_std, 0.0]),
            Self::Linear { data, noise } => (8, [data, noise]),
        };
        sum.word(kind);
        for number in numbers {
            sum.number(number);
        }
    }
}

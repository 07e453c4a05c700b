//! A prediction as it is stored.

use serde::{Deserialize, Serialize};

use super::Prediction;
use crate::stored::finite;

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

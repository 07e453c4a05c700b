//! The policies of an edge as they are stored.

use serde::{Deserialize, Serialize};

use super::{Kappa, ReverseVariance};
use crate::stored::finite;

#[derive(Serialize, Deserialize)]
#[serde(remote = "Kappa", rename_all = "snake_case")]
enum KappaForm {
    Ddim,
    Ddpm,
    Eta(#[serde(with = "finite")] f64),
    Tau(#[serde(with = "finite")] f64),
    Gamma(#[serde(with = "finite")] f64),
    Fresh,
    CappedEta(#[serde(with = "finite")] f64),
    FlowEta(#[serde(with = "finite")] f64),
    Ancestral(#[serde(with = "finite")] f64),
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "ReverseVariance", rename_all = "snake_case")]
enum VarianceForm {
    Posterior,
    FixedLarge,
    Explicit(#[serde(with = "finite")] f64),
}

crate::stored::remote!(Kappa => KappaForm, ReverseVariance => VarianceForm);

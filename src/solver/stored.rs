//! Solvers as they are stored.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::first_order::Kappas;
use super::{Belm, BelmInversion, DdimInversion, FirstOrder, Lcm, Tcd};
use crate::error::Error;
use crate::posterior::{Kappa, ReverseVariance};
use crate::stored::Finite;

/// Stores solvers as their fields, all of them, each in the form that is named here. What is read is
/// a solver made of the fields by its own checks, as the expression says.
macro_rules! options {
    ($($solver:ident { $($(#[$how:meta])* $option:ident: $form:ty),+ $(,)? } => $make:expr;)+) => {$(
        const _: () = {
            #[derive(serde::Serialize, serde::Deserialize)]
            #[serde(deny_unknown_fields)]
            struct Form {
                $($(#[$how])* $option: $form,)+
            }

            crate::stored::through!($solver => Form);

            impl From<&$solver> for Form {
                fn from(solver: &$solver) -> Self {
                    let $solver { $($option),+ } = <$solver as Clone>::clone(solver);
                    Self { $($option: $option.into()),+ }
                }
            }

            impl TryFrom<Form> for $solver {
                type Error = crate::error::Error;

                fn try_from(form: Form) -> Result<Self, Self::Error> {
                    let Form { $($option),+ } = form;
                    $make
                }
            }
        };
    )+};
}

use options;

mod around;
mod multistep;
mod single_step;
mod slopes;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FirstForm<'a> {
    kappa: KappaForm<'a>,
    reverse_variance: ReverseVariance,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KappaForm<'a> {
    Same(Kappa),
    PerEdge(Cow<'a, [Kappa]>),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum InversionForm {
    DdimInversion,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum LcmForm {
    TimestepScaling(Finite),
    WithoutBoundary,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum BelmForm {
    Belm { pair: bool },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum BelmInversionForm {
    BelmInversion { pair: bool },
}

crate::stored::through!(
    Lcm => LcmForm,
    Belm => BelmForm,
    BelmInversion => BelmInversionForm,
    FirstOrder => FirstForm<'_>,
    DdimInversion => InversionForm,
);
options! {
    Tcd { gamma: Finite } => Self::new(gamma.0);
}

impl<'a> From<&'a FirstOrder> for FirstForm<'a> {
    fn from(solver: &'a FirstOrder) -> Self {
        let kappa = match &solver.kappas {
            Kappas::Same(kappa) => KappaForm::Same(*kappa),
            Kappas::PerEdge(kappas) => KappaForm::PerEdge(Cow::Borrowed(kappas)),
        };
        let reverse_variance = solver.reverse_variance;
        Self {
            kappa,
            reverse_variance,
        }
    }
}

impl From<FirstForm<'_>> for FirstOrder {
    fn from(form: FirstForm<'_>) -> Self {
        let solver = match form.kappa {
            KappaForm::Same(kappa) => Self::new(kappa),
            KappaForm::PerEdge(kappas) => Self::per_edge(kappas.into_owned()),
        };
        solver.with_reverse_variance(form.reverse_variance)
    }
}

impl From<&DdimInversion> for InversionForm {
    fn from(_: &DdimInversion) -> Self {
        Self::DdimInversion
    }
}

impl From<InversionForm> for DdimInversion {
    fn from(_: InversionForm) -> Self {
        Self::new()
    }
}

impl From<&Lcm> for LcmForm {
    fn from(solver: &Lcm) -> Self {
        match solver.timestep_scaling {
            Some(scaling) => Self::TimestepScaling(Finite(scaling)),
            None => Self::WithoutBoundary,
        }
    }
}

impl TryFrom<LcmForm> for Lcm {
    type Error = Error;

    fn try_from(form: LcmForm) -> Result<Self, Error> {
        match form {
            LcmForm::TimestepScaling(scaling) => Self::new().with_timestep_scaling(scaling.0),
            LcmForm::WithoutBoundary => Ok(Self::new().without_boundary()),
        }
    }
}

impl From<&Belm> for BelmForm {
    fn from(solver: &Belm) -> Self {
        let pair = solver.pair;
        Self::Belm { pair }
    }
}

impl From<BelmForm> for Belm {
    fn from(BelmForm::Belm { pair }: BelmForm) -> Self {
        Self { pair }
    }
}

impl From<&BelmInversion> for BelmInversionForm {
    fn from(solver: &BelmInversion) -> Self {
        let pair = solver.pair;
        Self::BelmInversion { pair }
    }
}

impl From<BelmInversionForm> for BelmInversion {
    fn from(BelmInversionForm::BelmInversion { pair }: BelmInversionForm) -> Self {
        Self { pair }
    }
}

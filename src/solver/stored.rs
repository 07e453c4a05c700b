//! Solvers as they are stored.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::first_order::{Kappas, Variance};
use super::{Belm, BelmInversion, DdimInversion, FirstOrder, Lcm, Tcd};
use crate::error::{Error, require_non_negative};
use crate::level::NoiseLevel;
use crate::posterior::{AnalyticVariance, DataErrors, Kappa, ReverseVariance};
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
    reverse_variance: VarianceForm<'a>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KappaForm<'a> {
    Same(Kappa),
    PerEdge(Cow<'a, [Kappa]>),
}

/// A [`ReverseVariance`], as it is stored alone, or what follows from a model's errors.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum VarianceForm<'a> {
    Posterior,
    FixedLarge,
    Explicit(Finite),
    Analytic(AnalyticForm<'a>),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AnalyticForm<'a> {
    dim: usize,
    levels: Cow<'a, [NoiseLevel]>,
    errors: Vec<Finite>,
    #[serde(deserialize_with = "crate::stored::present")]
    largest: Option<Finite>,
    final_noise: bool,
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
        Self {
            kappa,
            reverse_variance: VarianceForm::from(&solver.variance),
        }
    }
}

impl TryFrom<FirstForm<'_>> for FirstOrder {
    type Error = Error;

    fn try_from(form: FirstForm<'_>) -> Result<Self, Error> {
        let solver = match form.kappa {
            KappaForm::Same(kappa) => Self::new(kappa),
            KappaForm::PerEdge(kappas) => Self::per_edge(kappas.into_owned()),
        };
        let policy = |policy| Ok(solver.clone().with_reverse_variance(policy));
        match form.reverse_variance {
            VarianceForm::Posterior => policy(ReverseVariance::Posterior),
            VarianceForm::FixedLarge => policy(ReverseVariance::FixedLarge),
            VarianceForm::Explicit(variance) => policy(ReverseVariance::Explicit(variance.0)),
            VarianceForm::Analytic(form) => {
                let variance = AnalyticVariance::try_from(form)?;
                Ok(solver.with_analytic_variance(variance))
            }
        }
    }
}

impl<'a> From<&'a Variance> for VarianceForm<'a> {
    fn from(variance: &'a Variance) -> Self {
        match variance {
            Variance::Policy(ReverseVariance::Posterior) => Self::Posterior,
            Variance::Policy(ReverseVariance::FixedLarge) => Self::FixedLarge,
            Variance::Policy(ReverseVariance::Explicit(v)) => Self::Explicit(Finite(*v)),
            Variance::Analytic(analytic) => Self::Analytic(AnalyticForm {
                dim: analytic.errors.dim(),
                levels: Cow::Borrowed(analytic.errors.levels()),
                errors: analytic
                    .errors
                    .errors()
                    .iter()
                    .copied()
                    .map(Finite)
                    .collect(),
                largest: analytic.largest.map(Finite),
                final_noise: analytic.final_noise,
            }),
        }
    }
}

impl TryFrom<AnalyticForm<'_>> for AnalyticVariance {
    type Error = Error;

    fn try_from(form: AnalyticForm<'_>) -> Result<Self, Error> {
        let errors = form.errors.iter().map(|error| error.0).collect();
        let errors = DataErrors::new(form.dim, 0.0, form.levels.into_owned(), errors)?;
        let largest = form.largest.map(|largest| largest.0);
        if let Some(largest) = largest {
            require_non_negative("largest data error", largest)?;
        }
        Ok(Self {
            largest,
            final_noise: form.final_noise,
            ..Self::new(errors)?
        })
    }
}

impl From<&DdimInversion> for InversionForm {
    fn from(_: &DdimInversion) -> Self {
        Self::DdimInversion
    }
}

impl From<InversionForm> for DdimInversion {
    fn from(_: InversionForm) -> Self {
        // Equivalent mutant: replace body with Default::default(): the body is that.
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

//! Solvers as they are stored.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::first_order::Kappas;
use super::{DdimInversion, DpmSolverPlusPlus, FirstOrder, Heun, SecondOrderForm};
use crate::error::Error;
use crate::posterior::{Kappa, ReverseVariance};
use crate::stored::Finite;

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
#[serde(deny_unknown_fields)]
struct MultistepForm {
    order: usize,
    tau: Finite,
    form: SecondOrderForm,
    guarded: bool,
    bounded: bool,
    published: bool,
    lower_order_final: bool,
    warmed_up: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "SecondOrderForm", rename_all = "snake_case")]
enum OrderForm {
    Midpoint,
    Exact,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum HeunForm {
    Heun,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum InversionForm {
    DdimInversion,
}

crate::stored::through!(
    FirstOrder => FirstForm<'_>,
    DpmSolverPlusPlus => MultistepForm,
    Heun => HeunForm,
    DdimInversion => InversionForm,
);
crate::stored::remote!(SecondOrderForm => OrderForm);

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

impl From<&DpmSolverPlusPlus> for MultistepForm {
    fn from(solver: &DpmSolverPlusPlus) -> Self {
        Self {
            order: solver.order,
            tau: Finite(solver.tau),
            form: solver.form,
            guarded: solver.guarded,
            bounded: solver.bounded,
            published: solver.published,
            lower_order_final: solver.lower_order_final,
            warmed_up: solver.warmed_up,
        }
    }
}

impl TryFrom<MultistepForm> for DpmSolverPlusPlus {
    type Error = Error;

    fn try_from(form: MultistepForm) -> Result<Self, Error> {
        let solver = Self::multistep(form.order)?.with_tau(form.tau.0)?;
        Ok(Self {
            guarded: form.guarded,
            bounded: form.bounded,
            published: form.published,
            lower_order_final: form.lower_order_final,
            warmed_up: form.warmed_up,
            ..solver.with_form(form.form)
        })
    }
}

impl From<&Heun> for HeunForm {
    fn from(_: &Heun) -> Self {
        Self::Heun
    }
}

impl From<HeunForm> for Heun {
    fn from(_: HeunForm) -> Self {
        Self::new()
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

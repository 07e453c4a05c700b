//! Solvers as they are stored.

mod single_step;

use std::borrow::Cow;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::extrapolation::Bounds;
use super::first_order::Kappas;
use super::restart::Interval;
use super::{
    Belm, BelmInversion, DdimInversion, DpmSolverPlusPlus, FirstOrder, Lcm, Restart,
    SecondOrderForm, Solver, Tcd,
};
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
#[serde(deny_unknown_fields)]
struct TcdForm {
    gamma: Finite,
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

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RestartForm<S> {
    inner: S,
    intervals: Vec<IntervalForm>,
    least_steps: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IntervalForm {
    rho_min: Finite,
    rho_max: Finite,
    repeats: usize,
    steps: usize,
}

crate::stored::through!(
    Lcm => LcmForm,
    Tcd => TcdForm,
    Belm => BelmForm,
    BelmInversion => BelmInversionForm,
    FirstOrder => FirstForm<'_>,
    DpmSolverPlusPlus => MultistepForm,
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
            guarded: solver.bounds.guarded,
            bounded: !solver.bounds.unbounded,
            published: solver.published,
            lower_order_final: solver.bounds.lower_order_final,
            warmed_up: solver.warmed_up,
        }
    }
}

impl TryFrom<MultistepForm> for DpmSolverPlusPlus {
    type Error = Error;

    fn try_from(form: MultistepForm) -> Result<Self, Error> {
        let solver = Self::multistep(form.order)?.with_tau(form.tau.0)?;
        Ok(Self {
            published: form.published,
            warmed_up: form.warmed_up,
            bounds: Bounds {
                guarded: form.guarded,
                unbounded: !form.bounded,
                lower_order_final: form.lower_order_final,
            },
            ..solver.with_form(form.form)
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

impl From<&Tcd> for TcdForm {
    fn from(solver: &Tcd) -> Self {
        let gamma = Finite(solver.gamma);
        Self { gamma }
    }
}

impl TryFrom<TcdForm> for Tcd {
    type Error = Error;

    fn try_from(form: TcdForm) -> Result<Self, Error> {
        Self::new(form.gamma.0)
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

impl<S: Serialize> Serialize for Restart<S> {
    fn serialize<W: Serializer>(&self, serializer: W) -> Result<W::Ok, W::Error> {
        let intervals = self.intervals.iter().map(IntervalForm::from).collect();
        let inner = &self.inner;
        RestartForm {
            inner,
            intervals,
            least_steps: self.least_steps,
        }
        .serialize(serializer)
    }
}

impl<'de, S: Solver + Deserialize<'de>> Deserialize<'de> for Restart<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = RestartForm::<S>::deserialize(deserializer)?;
        let solver = Self::new(form.inner).on_grids_from(form.least_steps);
        form.intervals
            .into_iter()
            .try_fold(solver, |solver, interval| {
                let IntervalForm {
                    rho_min,
                    rho_max,
                    repeats,
                    steps,
                } = interval;
                solver.with_interval(rho_min.0, rho_max.0, repeats, steps)
            })
            .map_err(D::Error::custom)
    }
}

impl From<&Interval> for IntervalForm {
    fn from(interval: &Interval) -> Self {
        Self {
            rho_min: Finite(interval.rho_min),
            rho_max: Finite(interval.rho_max),
            repeats: interval.repeats,
            steps: interval.steps,
        }
    }
}

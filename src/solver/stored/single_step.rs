//! Single-step solvers as they are stored.

use serde::{Deserialize, Serialize};

use super::super::coordinate::Coordinate;
use super::super::{
    Churn, Dpm2, DpmFast, DpmSolverSinglestep, Euler, GroupedSinglestep, Heun, HeunPlusPlus,
    SecondOrderForm,
};
use crate::error::Error;
use crate::posterior::Kappa;
use crate::stored::{Extended, Finite, present};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChurnForm {
    amount: Finite,
    least: Finite,
    most: Extended,
    noise: Finite,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum HeunForm {
    Heun,
    HeunWith {
        flow_time: bool,
        #[serde(deserialize_with = "present")]
        churn: Option<Churn>,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EulerForm {
    #[serde(deserialize_with = "present")]
    churn: Option<Churn>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlusPlusForm {
    flow_time: bool,
    #[serde(deserialize_with = "present")]
    churn: Option<Churn>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Dpm2Form {
    flow_time: bool,
    kappa: Kappa,
    #[serde(deserialize_with = "present")]
    churn: Option<Churn>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SinglestepForm {
    order: usize,
    kappa: Kappa,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FastForm {
    #[serde(deserialize_with = "present")]
    evaluations: Option<usize>,
    kappa: Kappa,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupedForm {
    order: usize,
    form: SecondOrderForm,
    noise: bool,
    lower_order_final: bool,
}

crate::stored::through!(
    Churn => ChurnForm,
    Euler => EulerForm,
    Heun => HeunForm,
    HeunPlusPlus => PlusPlusForm,
    Dpm2 => Dpm2Form,
    DpmSolverSinglestep => SinglestepForm,
    DpmFast => FastForm,
    GroupedSinglestep => GroupedForm,
);

fn in_flow_time(coordinate: Coordinate) -> bool {
    coordinate == Coordinate::FlowTime
}

fn coordinate(flow_time: bool) -> Coordinate {
    if flow_time {
        Coordinate::FlowTime
    } else {
        Coordinate::Rho
    }
}

impl From<&Churn> for ChurnForm {
    fn from(churn: &Churn) -> Self {
        Self {
            amount: Finite(churn.amount),
            least: Finite(churn.least),
            most: Extended(churn.most),
            noise: Finite(churn.noise),
        }
    }
}

impl TryFrom<ChurnForm> for Churn {
    type Error = Error;

    fn try_from(form: ChurnForm) -> Result<Self, Error> {
        Self::new(form.amount.0)?
            .between(form.least.0, form.most.0)?
            .with_noise(form.noise.0)
    }
}

impl From<&Heun> for HeunForm {
    fn from(solver: &Heun) -> Self {
        if *solver == Heun::new() {
            return Self::Heun;
        }
        Self::HeunWith {
            flow_time: in_flow_time(solver.coordinate),
            churn: solver.churn,
        }
    }
}

impl From<HeunForm> for Heun {
    fn from(form: HeunForm) -> Self {
        match form {
            HeunForm::Heun => Self::new(),
            HeunForm::HeunWith { flow_time, churn } => Self {
                coordinate: coordinate(flow_time),
                churn,
            },
        }
    }
}

impl From<&Euler> for EulerForm {
    fn from(solver: &Euler) -> Self {
        let churn = solver.churn;
        Self { churn }
    }
}

impl From<EulerForm> for Euler {
    fn from(form: EulerForm) -> Self {
        let churn = form.churn;
        Self { churn }
    }
}

impl From<&HeunPlusPlus> for PlusPlusForm {
    fn from(solver: &HeunPlusPlus) -> Self {
        Self {
            flow_time: in_flow_time(solver.coordinate),
            churn: solver.churn,
        }
    }
}

impl From<PlusPlusForm> for HeunPlusPlus {
    fn from(form: PlusPlusForm) -> Self {
        Self {
            coordinate: coordinate(form.flow_time),
            churn: form.churn,
        }
    }
}

impl From<&Dpm2> for Dpm2Form {
    fn from(solver: &Dpm2) -> Self {
        Self {
            flow_time: in_flow_time(solver.coordinate),
            kappa: solver.kappa,
            churn: solver.churn,
        }
    }
}

impl From<Dpm2Form> for Dpm2 {
    fn from(form: Dpm2Form) -> Self {
        Self {
            coordinate: coordinate(form.flow_time),
            kappa: form.kappa,
            churn: form.churn,
        }
    }
}

impl From<&DpmSolverSinglestep> for SinglestepForm {
    fn from(solver: &DpmSolverSinglestep) -> Self {
        let DpmSolverSinglestep { order, kappa } = *solver;
        Self { order, kappa }
    }
}

impl TryFrom<SinglestepForm> for DpmSolverSinglestep {
    type Error = Error;

    fn try_from(form: SinglestepForm) -> Result<Self, Error> {
        Ok(Self::order(form.order)?.with_kappa(form.kappa))
    }
}

impl From<&DpmFast> for FastForm {
    fn from(solver: &DpmFast) -> Self {
        let DpmFast { evaluations, kappa } = *solver;
        Self { evaluations, kappa }
    }
}

impl TryFrom<FastForm> for DpmFast {
    type Error = Error;

    fn try_from(form: FastForm) -> Result<Self, Error> {
        let solver = match form.evaluations {
            Some(evaluations) => Self::evaluations(evaluations)?,
            None => Self::new(),
        };
        Ok(solver.with_kappa(form.kappa))
    }
}

impl From<&GroupedSinglestep> for GroupedForm {
    fn from(solver: &GroupedSinglestep) -> Self {
        Self {
            order: solver.order,
            form: solver.form,
            noise: solver.noise,
            lower_order_final: solver.lower_order_final,
        }
    }
}

impl TryFrom<GroupedForm> for GroupedSinglestep {
    type Error = Error;

    fn try_from(form: GroupedForm) -> Result<Self, Error> {
        Ok(Self {
            form: form.form,
            noise: form.noise,
            lower_order_final: form.lower_order_final,
            ..Self::order(form.order)?
        })
    }
}

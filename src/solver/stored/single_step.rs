//! Single-step solvers as they are stored.

use serde::{Deserialize, Serialize};

use super::super::coordinate::Coordinate;
use super::super::{
    CfgPlusPlusSinglestep, Churn, Dpm2, DpmFast, DpmPlusPlusSde, DpmSolverPlusPlusSinglestep,
    DpmSolverSinglestep, Euler, ExponentialRungeKutta, GroupedSinglestep, Heun, HeunPlusPlus,
    SecondOrderForm,
};
use crate::error::Error;
use crate::posterior::Kappa;
use crate::stored::{Extended, Finite, present};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum HeunForm {
    Heun,
    HeunWith {
        flow_time: Coordinate,
        #[serde(deserialize_with = "present")]
        churn: Option<Churn>,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlusPlusForm {
    order: usize,
    nodes: Vec<Finite>,
    kappa: Kappa,
    noise_scale: Finite,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExponentialForm {
    order: usize,
    nodes: Vec<Finite>,
    form: SecondOrderForm,
    tau: Finite,
    noise_scale: Finite,
}

crate::stored::through!(
    Heun => HeunForm,
    DpmSolverPlusPlusSinglestep => PlusPlusForm,
    ExponentialRungeKutta => ExponentialForm,
);

super::options! {
    Churn { amount: Finite, least: Finite, most: Extended, noise: Finite } =>
        Self::new(amount.0)?.between(least.0, most.0)?.with_noise(noise.0);
    Euler { #[serde(deserialize_with = "present")] churn: Option<Churn> } => Ok(Self { churn });
    HeunPlusPlus {
        #[serde(rename = "flow_time")] coordinate: Coordinate,
        #[serde(deserialize_with = "present")] churn: Option<Churn>,
    } => Ok(Self { coordinate, churn });
    Dpm2 {
        #[serde(rename = "flow_time")] coordinate: Coordinate,
        kappa: Kappa,
        #[serde(deserialize_with = "present")] churn: Option<Churn>,
    } => Ok(Self { coordinate, kappa, churn });
    DpmSolverSinglestep { order: usize, kappa: Kappa } => Ok(Self::order(order)?.with_kappa(kappa));
    DpmFast {
        #[serde(deserialize_with = "present")] evaluations: Option<usize>,
        kappa: Kappa,
    } => {
        let solver = evaluations.map_or(Ok(Self::new()), Self::evaluations)?;
        Ok(solver.with_kappa(kappa))
    };
    GroupedSinglestep {
        order: usize,
        form: SecondOrderForm,
        noise: bool,
        lower_order_final: bool,
    } => Ok(Self { form, noise, lower_order_final, ..Self::order(order)? });
    DpmPlusPlusSde { node: Finite, eta: Finite, noise_scale: Finite } => Self::new()
        .with_node(node.0)?
        .with_eta(eta.0)?
        .with_noise_scale(noise_scale.0);
    CfgPlusPlusSinglestep { kappa: Kappa, noise_scale: Finite } =>
        Self::new(kappa).with_noise_scale(noise_scale.0);
}

impl From<&Heun> for HeunForm {
    fn from(solver: &Heun) -> Self {
        if *solver == Heun::new() {
            return Self::Heun;
        }
        Self::HeunWith {
            flow_time: solver.coordinate,
            churn: solver.churn,
        }
    }
}

impl From<HeunForm> for Heun {
    fn from(form: HeunForm) -> Self {
        match form {
            HeunForm::Heun => Self::new(),
            HeunForm::HeunWith { flow_time, churn } => Self {
                coordinate: flow_time,
                churn,
            },
        }
    }
}

impl From<&DpmSolverPlusPlusSinglestep> for PlusPlusForm {
    fn from(solver: &DpmSolverPlusPlusSinglestep) -> Self {
        Self {
            order: solver.tableau.stages(),
            nodes: out(solver.tableau.nodes()),
            kappa: solver.kappa,
            noise_scale: Finite(solver.noise_scale),
        }
    }
}

impl TryFrom<PlusPlusForm> for DpmSolverPlusPlusSinglestep {
    type Error = Error;

    fn try_from(form: PlusPlusForm) -> Result<Self, Error> {
        Self::order(form.order)?
            .with_nodes(&back(&form.nodes))?
            .with_kappa(form.kappa)
            .with_noise_scale(form.noise_scale.0)
    }
}

impl From<&ExponentialRungeKutta> for ExponentialForm {
    fn from(solver: &ExponentialRungeKutta) -> Self {
        Self {
            order: solver.tableau.stages(),
            nodes: out(solver.tableau.nodes()),
            form: solver.tableau.form,
            tau: Finite(solver.tau),
            noise_scale: Finite(solver.noise_scale),
        }
    }
}

impl TryFrom<ExponentialForm> for ExponentialRungeKutta {
    type Error = Error;

    fn try_from(form: ExponentialForm) -> Result<Self, Error> {
        Self::seeds(form.order)?
            .with_nodes(&back(&form.nodes))?
            .with_form(form.form)
            .with_tau(form.tau.0)?
            .with_noise_scale(form.noise_scale.0)
    }
}

fn out(nodes: &[f64]) -> Vec<Finite> {
    nodes.iter().copied().map(Finite).collect()
}

fn back(nodes: &[Finite]) -> Vec<f64> {
    nodes.iter().map(|node| node.0).collect()
}
